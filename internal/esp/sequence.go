package esp

import (
	"sync/atomic"

	"cygnet/internal/ipsec"
)

// sequence hands out the sequence numbers of an outbound SA, RFC 4303 section
// 3.3.3. Its methods are safe for concurrent use.
type sequence struct {
	last atomic.Uint64 // the last number handed out
	end  uint64        // the last number there is
}

// lastSequence is where an SA ends. The first packet has number 1, so a limit
// of packets is a limit of numbers.
func lastSequence(sa ipsec.SA) uint64 {
	last := uint64(1<<32 - 1)
	if sa.Transform.ESN {
		last = 1<<64 - 1
	}
	if n := sa.Life.HardPackets; n > 0 {
		last = min(last, n)
	}
	return last
}

// Last returns the last sequence number handed out, 0 before the first.
func (q *sequence) Last() uint64 { return q.last.Load() }

// Reserve hands out the n sequence numbers first to first+n-1, to nobody else
// ever again. ErrExhausted when fewer than n are left; the rest stays, and a
// smaller n may still get it.
//
// It compares and swaps rather than adding and taking back: a concurrent
// caller between the two could be given a number that, once taken back, is
// handed out again, and with it the same AEAD nonce.
func (q *sequence) Reserve(n int) (first uint64, err error) {
	for {
		last := q.last.Load()
		if n < 0 || uint64(n) > q.end-last {
			return 0, ErrExhausted
		}
		if q.last.CompareAndSwap(last, last+uint64(n)) {
			return last + 1, nil
		}
	}
}
