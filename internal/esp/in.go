package esp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"

	"cygnet/internal/ipsec"
)

// In is the receiving end of an ESP SA. Open and Stats are safe for concurrent
// use; Sequence, Accept, Top and Bits are serialised by the caller.
type In struct {
	transform
	sizes  sizes
	esn    bool
	window Window
	stats  counters
}

// NewIn makes the receiving end of sa. The error says what does not fit together.
func NewIn(sa ipsec.SA) (*In, error) {
	t, z, err := newTransform(sa, nil)
	if err == nil {
		err = checkReplay(sa)
	}
	if err != nil {
		return nil, fmt.Errorf("inbound SA %s: %w", sa.ID, err)
	}
	return &In{transform: t, sizes: z, esn: sa.Transform.ESN, window: NewWindow(sa.Replay)}, nil
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

// MinLen returns the octets of the smallest packet that Open can accept.
func (i *In) MinLen() int { return i.sizes.sealed(0) }

// Sequence returns the sequence number of pkt, with ESN the whole 64 bits by
// the most likely guess, after looking whether the window could accept it: the
// cheap test before the expensive one, RFC 4303 section 3.4.3. When ok is
// false the packet is shorter than MinLen or replayed, which is counted.
func (i *In) Sequence(pkt []byte) (seq uint64, ok bool) {
	if len(pkt) < 8 || len(pkt) < i.sizes.head+2+i.sizes.icv {
		i.stats.short.Add(1)
		return 0, false
	}
	low := binary.BigEndian.Uint32(pkt[4:])
	seq = uint64(low)
	if i.esn {
		if seq, ok = i.window.Extend(low); !ok {
			i.stats.late.Add(1)
			return seq, false
		}
	}
	return seq, i.refused(i.window.Check(seq)) == nil
}

// Open verifies pkt, which starts at its SPI, and decrypts it in place. seq is
// what Sequence returned. The payload is a part of pkt, without padding; next
// is its protocol (59 is a dummy packet, to be discarded, RFC 4303 section
// 2.6). In tunnel mode zeros may follow the inner packet (section 2.7).
// ErrShort, ErrAuth and ErrPad leave pkt in no useful state and are counted.
func (i *In) Open(s *Scratch, pkt []byte, seq uint64) (payload []byte, next uint8, err error) {
	if len(pkt) < i.sizes.head+2+i.sizes.icv || (len(pkt)-i.sizes.head-i.sizes.icv)%i.sizes.block != 0 {
		i.stats.short.Add(1)
		return nil, 0, ErrShort
	}
	if !i.open(s, pkt, seq) {
		i.stats.auth.Add(1)
		return nil, 0, ErrAuth
	}
	payload, next, ok := cutTrailer(pkt[i.sizes.head : len(pkt)-i.sizes.icv])
	if !ok {
		i.stats.pad.Add(1)
		return nil, 0, ErrPad
	}
	return payload, next, nil
}

// Accept moves the window over seq once Open has verified its packet, and
// reports whether it is the newest so far. ErrReplay or ErrLate when another
// copy or 8192 others came between; then the packet is not delivered.
func (i *In) Accept(seq uint64) (newest bool, err error) {
	if err := i.refused(i.window.Check(seq)); err != nil {
		return false, err
	}
	if top := i.window.Top(); seq > top && seq-top > i.stats.gap.Load() {
		i.stats.gap.Store(seq - top)
	}
	return i.window.Update(seq), nil
}

func (i *In) refused(err error) error {
	switch err {
	case ErrReplay:
		i.stats.replay.Add(1)
	case ErrLate:
		i.stats.late.Add(1)
	}
	return err
}

// Top returns the largest sequence number accepted.
func (i *In) Top() uint64 { return i.window.Top() }

// Bits returns the newest 64 bits of the replay window, bit 0 for Top.
func (i *In) Bits() uint64 { return i.window.Bits() }

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
func (i *In) Stats() Stats { return i.stats.read() }

func (c *counters) read() Stats {
	return Stats{
		Short:  c.short.Load(),
		Replay: c.replay.Load(),
		Late:   c.late.Load(),
		Auth:   c.auth.Load(),
		Pad:    c.pad.Load(),
		MaxGap: c.gap.Load(),
	}
}
