package ikev1

import (
	"slices"
	"time"

	"cygnet/internal/ike"
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
	before(s.startAt)
	before(s.wakeAt)
	before(s.giveUp)
	if p := s.main.pending; p != nil {
		before(p.next())
	}
	for _, g := range s.graves {
		before(g.at)
	}
	for _, q := range s.quicks {
		before(q.until)
		if q.pending != nil {
			before(q.pending.next())
		}
	}
	for _, c := range s.children {
		before(c.endAt)
		if !c.rekeying {
			before(c.replaceAt)
		}
	}
	if s.state == stateUp && s.opening() < maxQuicks || s.state == stateBare && s.successor == nil {
		for _, w := range s.wants {
			before(w.after)
		}
	}
	if s.protected() {
		before(s.endAt)
		before(s.replaceAt)
		before(s.probeAt())
		if s.state == stateUp {
			before(s.keepAliveAt)
		}
	}
	return d
}

// timeUp does what is due, in a fixed order.
func (s *step) timeUp() {
	due := func(t time.Time) bool { return !t.IsZero() && !s.now.Before(t) }
	s.wakeAt = zeroTime
	switch {
	case s.closing && !s.isUp:
		s.fail(&ike.Failure{Reason: ike.ReasonDeleted, Why: "deleted while negotiating"})
		return
	case due(s.startAt) && s.state == stateNew:
		s.begin()
		return
	case due(s.giveUp):
		s.outOfTime()
		return
	}
	if p := s.main.pending; p != nil && due(p.next()) && s.retransmit(p, s.conn, s.serial) {
		s.mainSilent(p)
		return
	}
	s.digGraves()
	if s.isUp {
		s.established(due)
	}
}

// established does what is due in a machine that is or was up.
func (s *step) established(due func(time.Time) bool) {
	for _, q := range slices.Clone(s.quicks) {
		switch {
		case due(q.until):
			s.forgetQuick(q)
		case q.pending != nil && due(q.pending.next()) && s.retransmit(q.pending, q.conn, q.serial):
			s.quickSilent(q)
		}
	}
	for _, c := range slices.Clone(s.children) {
		switch {
		case due(c.endAt):
			s.childLimit(c, true)
		case due(c.replaceAt) && !c.rekeying:
			c.replaceAt = zeroTime
			s.childLimit(c, false)
		}
	}
	if s.protected() {
		s.isakmpTimes(due)
	}
	switch {
	case !s.isUp:
	case s.closing:
		s.close(nil)
	case s.state == stateBare && len(s.children) == 0 && len(s.wants) == 0 && s.successor == nil:
		s.down(nil, false)
		s.die()
	}
}

// firstKeepAlive is when a NAT hears of us first, at the latest after the time
// that a mapping is sure to live.
func (s *step) firstKeepAlive() time.Time {
	return s.now.Add(ike.Phase(s.ownSPI(), keepAliveEvery))
}

// isakmpTimes does what is due in an ISAKMP SA that lives.
func (s *step) isakmpTimes(due func(time.Time) bool) {
	if due(s.keepAliveAt) {
		s.keepAliveAt = zeroTime
		if s.state == stateUp {
			s.emit(ike.KeepAlive{Local: s.local, Remote: s.remote})
			s.keepAliveAt = s.now.Add(keepAliveEvery)
		}
	}
	if due(s.probeAt()) {
		if s.dpd.tries >= dpdTries {
			s.lost()
			return
		}
		s.probe()
	}
	switch {
	case s.peerGone:
		s.lose(true)
	case due(s.endAt):
		s.expire()
	case due(s.replaceAt):
		s.replaceAt = zeroTime
		// Only what is still needed is replaced (freeswan.md 6.6).
		if len(s.children)+len(s.wants)+s.opening() > 0 {
			s.replace()
		}
	}
}

// lost gives up a peer that does not answer.
func (s *step) lost() {
	s.down(&ike.Failure{Reason: ike.ReasonSilent, Why: "DPD: the peer does not answer: " + s.remote.String() + " is gone"}, false)
	s.die()
}

// outOfTime ends a state that may only last for a while.
func (s *step) outOfTime() {
	s.giveUp = zeroTime
	why := &ike.Failure{Reason: ike.ReasonSilent, Why: "max number of retransmissions (0) reached " + s.stateName()}
	if s.state == stateMainR2 {
		why.Why = "the peer did not go on after our second message; perhaps its pre-shared key differs"
	}
	s.fail(why)
}

// mainSilent is what follows a message of Main Mode that was never answered. If
// something was, but of no use, that is the reason.
func (s *step) mainSilent(p *pending) {
	why := s.hs.refused
	if why == nil {
		why = &ike.Failure{Reason: ike.ReasonSilent, Why: p.silentText()}
		if s.state == stateMainI3 {
			why.Reason = ike.ReasonAuth
		}
	}
	s.fail(why)
}

// lifetimes computes when an SA made now is to be replaced and ends,
// freeswan.md 6.6: its initiator goes first, at L - m*(1+U*f), the responder at
// L - m/2 if nothing happened until then. A margin that leaves nothing of a
// short life is cut to a fifth of it, rather than letting the SA expire under
// traffic as FreeS/WAN did. With rekey=no it just ends; FreeS/WAN looked at the
// traffic of the last minutes first, which a machine does not see.
func (s *step) lifetimes(c *ike.Conn, life time.Duration, initiator, rekey bool) (replace, end time.Time) {
	end = s.now.Add(life)
	if !rekey {
		return zeroTime, end
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
