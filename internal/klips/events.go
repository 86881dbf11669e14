package klips

import (
	"sync"
	"sync/atomic"

	"cygnet/internal/ipsec"
)

// events carries what the data plane reports to a reader that may be slow,
// without ever making a worker wait.
type events struct {
	mu     sync.Mutex
	queue  []ipsec.Event
	wake   chan struct{}
	out    chan ipsec.Event
	done   chan struct{}
	ended  chan struct{}
	missed atomic.Uint64
}

func newEvents() *events {
	e := &events{wake: make(chan struct{}, 1), out: make(chan ipsec.Event), done: make(chan struct{}), ended: make(chan struct{})}
	go e.run()
	return e
}

// add queues ev. It reports false when ev was dropped, which happens only to
// events that will be repeated.
func (e *events) add(ev ipsec.Event) bool {
	e.mu.Lock()
	if len(e.queue) >= maxEvents && repeats(ev) {
		e.mu.Unlock()
		e.missed.Add(1)
		return false
	}
	e.queue = append(e.queue, ev)
	e.mu.Unlock()
	select {
	case e.wake <- struct{}{}:
	default:
	}
	return true
}

// repeats says that ev comes again as long as its cause lasts. The others
// come at most three times per SA, which bounds the queue.
func repeats(ev ipsec.Event) bool {
	switch ev.(type) {
	case ipsec.Acquire, ipsec.PeerMoved, ipsec.Strays:
		return true
	}
	return false
}

func (e *events) run() {
	defer close(e.ended)
	defer close(e.out)
	for {
		select {
		case <-e.wake:
		case <-e.done:
			return
		}
		e.mu.Lock()
		list := e.queue
		e.queue = nil
		e.mu.Unlock()
		for _, ev := range list {
			select {
			case e.out <- ev:
			case <-e.done:
				return
			}
		}
	}
}

func (e *events) close() {
	close(e.done)
	<-e.ended
}
