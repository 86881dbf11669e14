package ikev2

import (
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
)

// Deadline implements ike.Machine. It is computed from the state, so that no
// timer can be stale.
func (s *SA) Deadline() time.Time {
	var d time.Time
	before := func(t time.Time) {
		if !t.IsZero() && (d.IsZero() || t.Before(d)) {
			d = t
		}
	}
	if s.state == stateDead {
		return d
	}
	before(s.giveUp)
	before(s.kick)
	if p := s.win.pending; p != nil {
		before(p.again)
		before(p.giveUp)
	}
	if len(s.graves) > 0 && !s.telling() {
		before(s.graves[0].at)
	}
	before(s.asking.until)
	before(s.answering.until)
	if s.state != stateUp {
		return d
	}
	before(s.replaceAt)
	before(s.endAt)
	before(s.auth.at)
	before(s.auth.end)
	before(s.probeAt())
	before(s.keepAliveAt)
	if s.follow != nil {
		before(s.follow.until)
	}
	for _, c := range s.children {
		before(c.replaceAt)
		before(c.endAt)
	}
	if s.active == nil && s.win.pending == nil && !s.peerRekeys {
		for _, w := range s.tasks {
			before(w.after)
		}
	}
	return d
}

// timeUp does what is due, in a fixed order.
func (s *step) timeUp() {
	due := func(t time.Time) bool { return !t.IsZero() && !s.now.Before(t) }
	s.kick = time.Time{}
	for len(s.inbox) > 0 {
		ev := s.inbox[0]
		s.inbox = s.inbox[1:]
		if _, again := ev.(ike.TimeUp); !again {
			s.dispatch(ev)
		}
	}
	if due(s.giveUp) {
		s.outOfTime()
	}
	if p := s.win.pending; p != nil && (due(p.again) || due(p.giveUp)) {
		s.retransmit()
	}
	s.digGraves()
	for _, a := range []*assembly{&s.asking, &s.answering} {
		if due(a.until) {
			*a = assembly{}
		}
	}
	if s.state != stateUp {
		return
	}
	for _, c := range append([]*child(nil), s.children...) {
		switch {
		case due(c.endAt):
			s.childLimit(c, true)
		case due(c.replaceAt):
			c.replaceAt = time.Time{}
			s.childLimit(c, false)
		}
	}
	if s.follow != nil && due(s.follow.until) {
		s.dropFollowUps()
	}
	if due(s.keepAliveAt) {
		s.emit(ike.KeepAlive{Local: s.local, Remote: s.remote})
		s.keepAliveAt = s.now.Add(keepAliveEvery)
	}
	if due(s.probeAt()) {
		s.probe()
	}
	s.authDue()
	switch {
	case s.state != stateUp:
	case due(s.endAt):
		s.close(&ike.Failure{Reason: ike.ReasonOther, Why: "the IKE SA's lifetime is over"})
	case due(s.replaceAt):
		s.replaceAt = time.Time{}
		s.queue(&rekeyTask{})
	}
}

// probeAt is when silence calls for a liveness check. Anything outstanding is
// one already.
func (s *SA) probeAt() time.Time {
	if s.conn == nil || s.conn.DPDDelay <= 0 || s.win.pending != nil || s.active != nil || len(s.tasks) > 0 {
		return time.Time{}
	}
	return s.lastHeard.Add(ike.Patience(s.ownSPI(), s.conn.DPDDelay))
}

// firstKeepAlive is when a NAT hears of us first, at the latest after the time
// that a mapping is sure to live.
func (s *step) firstKeepAlive() time.Time {
	return s.now.Add(ike.Phase(s.ownSPI(), keepAliveEvery))
}

// outOfTime ends a state that may only last for a while.
func (s *step) outOfTime() {
	s.giveUp = time.Time{}
	if s.gate != nil {
		if until := s.gate.until(s.SA); s.now.Before(until) {
			s.giveUp = until
			return
		}
	}
	switch s.state {
	case stateKeyR, stateInitR, stateAuthR, stateEAPR:
		s.fail(&ike.Failure{Reason: ike.ReasonSilent, Why: "the peer did not go on after IKE_SA_INIT"})
	case stateLinger:
		s.die()
	case stateUp: // lost against another rekeying, and nobody deleted it
		s.close(nil)
	case stateReplaced:
		s.queue(&byeTask{})
	}
}

// silence is what follows a request that was never answered.
func (s *step) silence() {
	p := s.win.pending
	s.win.pending = nil
	switch s.state {
	case stateInitI:
		if s.hs.resume != nil {
			s.cfg.tickets.put(s.hs.resume.ticket) // it has not been used: there may be no path
			s.fullInstead("the peer does not answer to our ticket")
			return
		}
		why := s.hs.refused
		switch {
		case why != nil:
		case s.hs.puzzled:
			why = unsolved()
		default:
			why = &ike.Failure{Reason: ike.ReasonSilent, Why: "max number of retransmissions reached " + p.state + ".  No response (or no acceptable response) to our first IKE message"}
		}
		s.fail(why)
	case stateMidI, stateAuthI:
		s.fail(&ike.Failure{Reason: ike.ReasonSilent, Why: "max number of retransmissions reached " + p.state + ".  Possible authentication failure: no acceptable response to our first encrypted message"})
	case stateClosing:
		s.die()
	case stateReplaced:
		s.down(nil, false)
		s.die()
	default:
		s.lost()
	}
}

// lost gives up an established IKE SA whose peer is silent.
func (s *step) lost() {
	why := &ike.Failure{Reason: ike.ReasonSilent, Why: "the peer does not answer: " + s.remote.String() + " is gone"}
	if t, ok := s.active.(*rekeyTask); ok && t.rival != nil {
		t.lose(s) // the peer's own rekeying went through
		return
	}
	s.end(why, false)
	s.die()
}

// lifetimes computes when an SA made now is to be replaced and ends,
// freeswan.md 6.6: the initiator of the SA goes first, at L - m*(1+U*f), the
// responder at L - m/2 if nothing happened until then. A margin that leaves
// nothing of a short life is cut to a fifth of it, rather than letting the SA
// expire under traffic as FreeS/WAN did.
func (s *step) lifetimes(c *ike.Conn, life time.Duration, initiator bool) (replace, end time.Time) {
	if life <= 0 {
		return time.Time{}, time.Time{}
	}
	end = s.now.Add(life)
	if !c.Rekey {
		return time.Time{}, end
	}
	m, f := c.RekeyMargin, float64(c.RekeyFuzz)/100
	if widest := time.Duration(float64(m) * (1 + f)); widest >= life {
		m = time.Duration(float64(life) / (5 * (1 + f)))
	}
	if initiator {
		m = time.Duration(float64(m) * (1 + s.fraction()*f))
	} else {
		m /= 2
	}
	return s.now.Add(max(life-m, minRekey)), end
}

// grave holds replaced SAs for as long as packets may be under way.
type grave struct {
	at  time.Time
	ids []ipsec.SAID
}

// bury removes SAs from the data plane after the grace.
func (s *step) bury(ids ...ipsec.SAID) {
	s.graves = append(s.graves, grave{s.now.Add(grace), ids})
}

// telling reports whether the peer has yet to hear that the IKE SA is gone: as long
// as it may send on what it has, that is received.
func (s *SA) telling() bool { return s.state == stateClosing && s.win.pending != nil }

// digGraves removes what has lain long enough.
func (s *step) digGraves() {
	for !s.telling() && len(s.graves) > 0 && !s.now.Before(s.graves[0].at) {
		s.remove(s.graves[0].ids...)
		s.graves = s.graves[1:]
	}
}

func (s *step) remove(ids ...ipsec.SAID) {
	for _, id := range ids {
		s.emit(ike.Remove{ID: id})
	}
}
