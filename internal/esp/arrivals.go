package esp

import (
	"errors"
	"fmt"
	"sync/atomic"

	"cygnet/internal/ipsec"
)

// arrivals is what an inbound SA remembers of the packets so far. Stats is
// safe for concurrent use, the rest is serialised by the caller.
type arrivals struct {
	esn    bool
	window Window
	stats  counters
}

var errESNWindow = errors.New("extended sequence numbers need a replay window")

func checkReplay(sa ipsec.SA) error {
	if sa.Replay < 0 || sa.Replay > MaxWindow {
		return fmt.Errorf("replay window of %d packets is outside 0 to %d", sa.Replay, MaxWindow)
	}
	// RFC 4303, A2: the high half is guessed from the window, so without
	// one there is nothing to guess from.
	if sa.Transform.ESN && sa.Replay == 0 {
		return errESNWindow
	}
	return nil
}

// expect extends the low half of a sequence number and tests it against the
// window without remembering it.
func (a *arrivals) expect(low uint32) (seq uint64, ok bool) {
	seq = uint64(low)
	if a.esn {
		if seq, ok = a.window.Extend(low); !ok {
			a.stats.late.Add(1)
			return seq, false
		}
	}
	return seq, a.refused(a.window.Check(seq)) == nil
}

// Accept moves the window over seq once Open has verified its packet, and
// reports whether it is the newest so far. ErrReplay or ErrLate when another
// copy, or a window full of others, came between; then the packet must not be
// delivered.
func (a *arrivals) Accept(seq uint64) (newest bool, err error) {
	if err := a.refused(a.window.Check(seq)); err != nil {
		return false, err
	}
	if top := a.window.Top(); seq > top && seq-top > a.stats.gap.Load() {
		a.stats.gap.Store(seq - top)
	}
	return a.window.Update(seq), nil
}

func (a *arrivals) refused(err error) error {
	switch err {
	case ErrReplay:
		a.stats.replay.Add(1)
	case ErrLate:
		a.stats.late.Add(1)
	}
	return err
}

// Top returns the largest sequence number accepted.
func (a *arrivals) Top() uint64 { return a.window.Top() }

// Bits returns the newest 64 bits of the replay window, bit 0 for Top.
func (a *arrivals) Bits() uint64 { return a.window.Bits() }

// Stats is what an inbound SA has refused, in packets.
type Stats struct {
	Short  uint64 // too short, or not a whole number of cipher blocks
	Replay uint64 // seen before
	Late   uint64 // left of the window
	Auth   uint64 // bad ICV
	Pad    uint64 // bad padding under a good ICV
	MaxGap uint64 // the largest step of the window to the right (max_seq_diff)
}

type counters struct{ short, replay, late, auth, pad, gap atomic.Uint64 }

// Stats returns the counters.
func (a *arrivals) Stats() Stats {
	c := &a.stats
	return Stats{
		Short:  c.short.Load(),
		Replay: c.replay.Load(),
		Late:   c.late.Load(),
		Auth:   c.auth.Load(),
		Pad:    c.pad.Load(),
		MaxGap: c.gap.Load(),
	}
}
