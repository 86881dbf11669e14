package demo

import (
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
)

// patience is how long a step may take before its progress is shown.
const patience = time.Second

// bar shows on the terminal that a step is under way, once it has lasted longer
// than patience: a moving mark, or how much of a file is through.
type bar struct {
	label   string
	started time.Time

	mu    sync.Mutex
	shown *progressbar.ProgressBar
	over  bool
	tick  *time.Ticker
}

func startBar(label string) Progress {
	b := &bar{label: label, started: time.Now(), tick: time.NewTicker(200 * time.Millisecond)}
	ended := make(chan struct{})
	go func() {
		for {
			select {
			case <-b.tick.C:
				b.show(0, -1)
			case <-ended:
				return
			}
		}
	}()
	return func(done, total int64) {
		if done < 0 {
			close(ended)
			b.end()
			return
		}
		b.show(done, total)
	}
}

func (b *bar) show(done, total int64) {
	if time.Since(b.started) < patience {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over {
		return
	}
	if b.shown == nil {
		b.shown = progressbar.NewOptions64(total,
			progressbar.OptionSetWriter(os.Stderr),
			progressbar.OptionSetDescription(b.label),
			progressbar.OptionShowBytes(total > 0),
			progressbar.OptionThrottle(100*time.Millisecond),
		)
	}
	switch {
	case total > 0:
		b.shown.ChangeMax64(total)
		b.shown.Set64(done)
	default:
		b.shown.Add(0) // draws it again
	}
}

func (b *bar) end() {
	b.tick.Stop()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.over = true
	if b.shown != nil {
		b.shown.Clear()
	}
}
