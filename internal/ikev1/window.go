package ikev1

import (
	"crypto/sha256"
	"fmt"
	"time"

	"cygnet/internal/ike"
)

// IKEv1 has no message numbers: what has come before is told by its octets, and
// answered with the same octets (freeswan.md 6.5).

// mainWindow is that of Main Mode.
type mainWindow struct {
	seen    [sha256.Size]byte // digest of the last message that was acted on
	reply   []byte            // our answer to it, nil while there is none
	replays ike.Bucket
	pending *pending
}

// pending is a message of ours that waits for its answer.
type pending struct {
	msg    []byte
	again  time.Time // when to send it again
	wait   time.Duration
	most   time.Duration // where doubling ends
	count  int           // retransmissions so far
	giveUp time.Time     // when to stop waiting
	state  string        // for reports
}

// patience are the retransmission times of a connection, with defaults.
func patience(c *ike.Conn) (first, total time.Duration) {
	first, total = defaultRetransmitFirst, defaultRetransmitTotal
	if c != nil && c.RetransmitFirst > 0 {
		first = c.RetransmitFirst
	}
	if c != nil && c.RetransmitTotal > 0 {
		total = c.RetransmitTotal
	}
	return first, total
}

// expect makes a pending message. The first one of Main Mode is repeated for
// longer where the connection tries for ever.
func (s *step) expect(c *ike.Conn, msg []byte, state string) *pending {
	first, total := patience(c)
	if s.state == stateMainI1 && s.predecessor == nil && c.KeyingTries == 0 {
		total += patientTries * maxWaits * first
	}
	return &pending{
		msg: msg, wait: first, most: maxWaits * first, state: state,
		again: s.now.Add(s.jitter(first)), giveUp: s.now.Add(total),
	}
}

// next is when a pending message wants attention.
func (p *pending) next() time.Time {
	if p.again.Before(p.giveUp) {
		return p.again
	}
	return p.giveUp
}

// retransmit sends a pending message again, or returns true when its time is
// over. Waiting times double up to a point, and the last one lasts until the
// end.
func (s *step) retransmit(p *pending, c *ike.Conn, serial uint32) (over bool) {
	if !s.now.Before(p.giveUp) {
		return true
	}
	p.count++
	p.wait = min(2*p.wait, p.most)
	wait := s.jitter(p.wait)
	if rest := p.giveUp.Sub(s.now); rest < wait+p.wait/2 {
		wait = rest
	}
	p.again = s.now.Add(wait)
	s.send(p.msg)
	s.reportOf(c, serial, ike.Retransmit{State: p.state, Count: p.count, Wait: wait})
	return false
}

// silentText is the classic line about silence.
func (p *pending) silentText() string {
	t := fmt.Sprintf("max number of retransmissions (%d) reached %s", p.count, p.state)
	switch p.state {
	case "STATE_MAIN_I1":
		t += ".  No response (or no acceptable response) to our first IKE message"
	case "STATE_MAIN_I3":
		t += ".  Possible authentication failure: no acceptable response to our first encrypted message"
	case quickI1.Name:
		t += ".  No acceptable response to our first Quick Mode message: perhaps peer likes no proposal"
	}
	return t
}

// jitter varies d by a few percent either way.
func (s *step) jitter(d time.Duration) time.Duration { return ike.Jitter(s.cfg.Rand, d) }
