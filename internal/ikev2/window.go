package ikev2

import (
	"crypto/sha256"
	"time"

	"cygnet/internal/ike"
)

// window keeps the message IDs of one IKE SA, RFC 7296 sections 2.1 to 2.3,
// with a window of one request in each direction.
type window struct {
	// As requester.
	nextID  uint32
	pending *pending // the request without an answer, or nil

	// As responder.
	expect   uint32            // ID of the peer's next request
	busy     bool              // that request has come and is being worked on
	asked    [sha256.Size]byte // digest of the last request
	from     way               // by which the last request came
	exchange ike.ExchangeType  // of the last request
	reply    datagrams         // our answer to it, nil before there was one
	replays  ike.Bucket
	asks     ike.Bucket
	ignored  int // requests in a row that came too fast
}

// pending is a request that waits for its answer.
type pending struct {
	id       uint32
	exchange ike.ExchangeType
	msg      datagrams
	again    time.Time // when to send it again
	wait     time.Duration
	count    int       // retransmissions so far
	giveUp   time.Time // when to stop waiting
	state    string    // for reports
}

// verdict is what to do with a request, by its message ID.
type verdict uint8

const (
	drop           verdict = iota // out of the window, being worked on, or not what it pretends to repeat
	replay                        // the last one again: the same answer goes out
	accept                        // the next one
	replayFragment                // a fragment of what may be the last one again
)

// judge decides without looking inside. Message IDs that are reused for other
// octets are dropped: the first answer stands.
func (w *window) judge(id uint32, msg []byte) verdict {
	switch {
	case id == w.expect && !w.busy:
		return accept
	case id+1 == w.expect && w.reply != nil && sha256.Sum256(msg) == w.asked:
		return replay
	case id+1 == w.expect && w.reply != nil && isFragment(msg):
		return replayFragment
	}
	return drop
}

// take notes that a verified request is being worked on.
func (w *window) take(in inbound, x ike.ExchangeType) {
	w.busy, w.asked, w.exchange = true, sha256.Sum256(in.msg), x
	w.from = in.way()
}

// answered notes the answer and opens the window for the next request.
func (w *window) answered(reply datagrams) {
	w.busy, w.reply = false, reply
	w.expect++
}

// retransmission times of a connection, with defaults.
func patience(c *ike.Conn) (first, total time.Duration) {
	first, total = defaultRetransmitFirst, defaultRetransmitTotal
	if c != nil && c.RetransmitFirst > 0 {
		first = max(c.RetransmitFirst, leastRetransmitFirst)
	}
	if c != nil && c.RetransmitTotal > 0 {
		total = max(c.RetransmitTotal, leastRetransmitTotal)
	}
	return first, total
}

// expectReply makes msg the pending request.
func (s *step) expectReply(id uint32, x ike.ExchangeType, msg datagrams) {
	first, total := patience(s.conn)
	if s.state == stateClosing {
		total = min(total, byeTotal)
	}
	wait := s.jitter(first)
	s.win.pending = &pending{
		id: id, exchange: x, msg: msg, wait: first,
		again: s.now.Add(wait), giveUp: s.now.Add(total), state: s.stateName(),
	}
}

// retransmit sends the pending request again, or gives up when its time is
// over. Waiting times double, up to a point.
func (s *step) retransmit() {
	p := s.win.pending
	if !s.now.Before(p.giveUp) {
		s.silence()
		return
	}
	p.count++
	p.wait = max(min(2*p.wait, maxWait), p.wait)
	wait := s.jitter(p.wait)
	if rest := p.giveUp.Sub(s.now); wait > rest {
		wait = rest
	}
	p.again = s.now.Add(wait)
	s.fallBack(p)
	s.transmit(s.way(), p.msg)
	s.report(ike.Retransmit{State: p.state, Count: p.count, Wait: wait})
}

// replay sends the last response once more, the way the request came this time:
// a NAT may have moved the peer before anything is authenticated.
func (s *step) replay(w way) {
	if s.win.replays.Take(s.now, replayBurst, replayPerSec) {
		s.transmit(w, s.win.reply)
	}
}

// jitter varies d by a few percent either way.
func (s *step) jitter(d time.Duration) time.Duration { return ike.Jitter(s.cfg.Rand, d) }

func clone(b []byte) []byte { return append([]byte(nil), b...) }
