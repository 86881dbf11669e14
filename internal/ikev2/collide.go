package ikev2

import (
	"bytes"
	"time"

	"cygnet/internal/ipsec"
)

// rival is what the peer made by rekeying the same SA while our request for it
// was out, RFC 7296 sections 2.8.1 and 2.8.2. Of the two new SAs the one whose
// exchange has the lowest of the four nonces is redundant, and its initiator
// closes it.
type rival struct {
	low   []byte
	child *child // one of the two
	sa    *SA
	end   time.Time // of the life of the child that it replaces
}

// beats reports whether the rival stands against our exchange. No rival beats
// nothing.
func (r *rival) beats(ni, nr []byte) bool {
	return r != nil && (r.child != nil || r.sa != nil) && bytes.Compare(lowest(ni, nr), r.low) < 0
}

// collideChild notes that the peer has rekeyed old into c while we may be about
// to do the same.
func (s *step) collideChild(old, c *child, a *agreement) {
	t, ok := s.active.(*createTask)
	if !ok || t.old != old {
		return
	}
	if !t.sent {
		s.finish(t) // nobody knows of it yet
		s.release(t.offer)
		return
	}
	t.rival = &rival{low: lowest(a.ni, a.nr), child: c, end: old.endAt}
}

// crosses reports whether a rekeying of the peer's has to wait because we are
// rekeying the same pair, and either takes additional key exchanges. RFC 7296, 2.8.1
// compares the nonces of two rekeyings that are complete. Rather than let two half
// done ones cross, that of who began the IKE SA goes on and the other one is refused;
// of ours that nobody knows yet, only we know.
func (s *step) crosses(a *agreement) bool {
	t, ok := s.active.(*createTask)
	if !ok || a.replaces == nil || t.old != a.replaces || len(a.chosen.Additional()) == 0 && t.more == nil {
		return false
	}
	if t.sent {
		return s.first
	}
	s.release(t.offer)
	s.later(&createTask{conn: t.conn, old: t.old}, 1)
	return false
}

// rivalGone takes back what collideChild noted: the peer has found that its
// pair is the redundant one, and deleted it before we have the answer to ours.
func (s *step) rivalGone(c *child) {
	t, ok := s.active.(*createTask)
	if !ok || t.rival == nil || t.rival.child != c {
		return
	}
	if t.old.state == childReplaced {
		t.old.state, t.old.endAt = childUp, t.rival.end
	}
	t.rival = nil
}

// stillborn notes that the peer deletes a pair that we do not have: it may be
// the one that we have asked for, if the answer was lost and the Delete was not.
func (s *step) stillborn(spi ipsec.SPI) {
	if t, ok := s.active.(*createTask); ok && t.sent && len(t.stillborn) < maxStillborn {
		t.stillborn = append(t.stillborn, spi)
	}
}

// creating reports whether the peer may have made a pair for us of which we do
// not know yet.
func (s *SA) creating() bool {
	t, ok := s.active.(*createTask)
	return ok && t.sent
}
