package ikev1

import (
	"slices"

	"cygnet/internal/ike"
)

// up makes the ISAKMP SA an established one.
func (s *step) up() {
	contact := s.hs.contact
	s.hs = nil
	s.state = stateUp
	s.giveUp = zeroTime
	s.lastHeard = s.now
	life := lifeOf(s.conn.IKELife, defaultIKE)
	mayRekey := s.conn.Rekey
	if l := s.chosen.life; l > 0 {
		life = min(life, l)
		if !mayRekey && !s.first { // freeswan.md 6.6: the dictated life
			life = l
		}
	}
	s.replaceAt, s.endAt = s.lifetimes(s.conn, life, s.first, mayRekey)
	if s.natLocal {
		s.keepAliveAt = s.firstKeepAlive()
	}
	s.leaveGate()
	s.isUp = true
	replaced := s.takeOver(contact)
	s.report(ike.IKEUp{
		Local: s.local, Remote: s.remote, LocalID: s.localID, RemoteID: s.remoteID, PeerCerts: s.peerCerts, Suite: s.chosen.String(),
		Encap: s.encap, Rekeyed: replaced, InitialContact: contact, State: s.upName(),
	})
}

// leaveGate tells the gate that its half-open ISAKMP SA is none any more.
func (s *SA) leaveGate() {
	if s.settled != nil {
		s.settled()
		s.settled = nil
	}
}

// fail ends an attempt. The failure of a caller who never proved who it is
// concerns no connection, and that of a replacement only its predecessor.
func (s *step) fail(why *ike.Failure) {
	switch p := s.predecessor; {
	case p != nil && p.state == stateDead: // and nobody else wants to know
	case p != nil:
		s.in(p).replaceFailed(why)
		s.wake(p)
	case s.first:
		s.report(ike.Failed{Why: why})
		s.wants = slices.DeleteFunc(s.wants, func(w want) bool { return w.conn == s.conn && w.old == nil })
	case s.state != stateRefused:
		s.reportOf(nil, s.serial, ike.Failed{Why: why})
	}
	s.abandonWants(why, func(want) bool { return true })
	s.die()
}

// lose is the end of the ISAKMP SA alone. Its children live on, and the machine
// with them, until the last is gone.
func (s *step) lose(byPeer bool) {
	s.abandonQuicks(&ike.Failure{Reason: ike.ReasonDeleted, Why: "the ISAKMP SA was deleted", ByPeer: byPeer})
	if len(s.children) == 0 && len(s.wants) == 0 && s.successor == nil {
		s.down(nil, byPeer)
		s.die()
		return
	}
	s.state = stateBare
	s.replaceAt, s.endAt, s.keepAliveAt = zeroTime, zeroTime, zeroTime
	s.keys.wipe()
	s.block = nil
}

// abandonQuicks ends the Quick Modes under way.
func (s *step) abandonQuicks(why *ike.Failure) {
	for _, q := range slices.Clone(s.quicks) {
		if q.state == quickDone {
			s.forgetQuick(q)
		} else {
			s.quickFailed(q, why)
		}
	}
}

// down reports the end of the ISAKMP SA and takes its children out of the data
// plane.
func (s *step) down(why *ike.Failure, byPeer bool) {
	said := why
	if said == nil {
		said = &ike.Failure{Reason: ike.ReasonDeleted, Why: "the ISAKMP SA was deleted", ByPeer: byPeer}
	}
	for _, c := range slices.Clone(s.children) {
		s.dropChild(c, why, byPeer)
	}
	s.abandonQuicks(said)
	s.abandonWants(said, func(want) bool { return true })
	if s.isUp {
		s.isUp = false
		s.report(ike.IKEDown{Why: why, ByPeer: byPeer, Rekeyed: s.heir != nil})
	}
}

// die is the last thing a machine does.
func (s *step) die() {
	if s.state == stateDead {
		return
	}
	for _, g := range s.graves {
		s.remove(g.ids...)
	}
	s.graves = nil
	for _, q := range s.quicks {
		s.forgetQuick(q)
	}
	s.keys.wipe()
	if s.hs != nil {
		s.hs.shared.Wipe()
	}
	clear(s.jobs)
	s.hs, s.block, s.main, s.used = nil, nil, mainWindow{}, nil
	s.leaveGate()
	s.state = stateDead
	s.unregister()
	if n := s.successor; n != nil && n.state != stateDead {
		n.closing = true
		s.wake(n)
	}
	s.emit(ike.Done{})
}

// close ends the ISAKMP SA and everything that it answers for, and says so to
// the peer.
func (s *step) close(why *ike.Failure) {
	gone := slices.Clone(s.children)
	voice := s.voice()
	if voice != nil && voice != s.SA {
		s.in(voice).tellDeletes(gone, false)
	}
	if s.protected() {
		s.tellDeletes(gone, true)
	}
	for _, o := range s.kin() { // those that it has taken over from
		if o.home() == s.SA {
			o.closing = true
			s.wake(o)
		}
	}
	s.down(why, false)
	s.die()
}

// expire is the end of an ISAKMP SA's lifetime.
func (s *step) expire() {
	s.tellDeletes(nil, true)
	s.lose(false)
}

// delete is the command of that name.
func (s *step) delete(ev ike.Delete) {
	if ev.Child != 0 {
		for _, o := range append([]*SA{s.SA}, s.kin()...) {
			if c := o.childBySerial(ev.Child); c != nil {
				s.in(o).deleteChild(c, nil)
				s.wake(o)
				return
			}
		}
		return
	}
	if s.isUp {
		s.close(nil)
		return
	}
	if s.state == stateMainI3 { // the peer may hold it for established
		s.tellDeletes(nil, true)
	}
	s.fail(&ike.Failure{Reason: ike.ReasonDeleted, Why: "deleted while negotiating"})
}

// addChild is the command of that name.
func (s *step) addChild(ev ike.AddChild) {
	w := want{conn: ev.Conn, trigger: ev.Trigger}
	if h := s.home(); h != s.SA {
		s.in(h).want(w)
		s.wake(h)
		return
	}
	if s.hs != nil && s.first && ev.Conn == s.conn && s.predecessor == nil {
		for i := range s.wants {
			if s.wants[i].conn == ev.Conn {
				s.wants[i].trigger = ev.Trigger // this is the first child itself
				return
			}
		}
	}
	s.want(w)
}

// rekey is the command of that name.
func (s *step) rekey(ev ike.Rekey) {
	h := s.home()
	switch {
	case !h.isUp:
	case ev.Child == 0 && h == s.SA:
		s.replace()
	case ev.Child == 0:
		h.replaceAt = s.now
		s.wake(h)
	default:
		if c := h.childBySerial(ev.Child); c != nil && !c.replaced {
			s.in(h).rekeyChild(c)
			s.wake(h)
		}
	}
}
