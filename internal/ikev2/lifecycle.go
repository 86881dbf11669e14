package ikev2

import (
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
	"cygnet/internal/suite"
)

// up makes the IKE SA an established one. rekeyed is the serial of the one it
// replaces.
func (s *step) up(rekeyed uint32, initialContact bool) {
	s.state = stateUp
	var began time.Time
	if s.hs != nil {
		began = s.hs.came
	}
	s.hs, s.openerBefore = nil, nil
	s.ready()
	s.startAuthClock()
	if s.watchesPath() {
		s.queue(&moveTask{})
	}
	s.isUp = true
	s.confirmStream(s.way())
	s.report(ike.IKEUp{
		Local: s.local, Remote: s.remote, LocalID: s.localID, RemoteID: s.remoteID,
		Suite: s.chosen.String(), Encap: s.encap, Stream: s.tcp != tcpNone, MOBIKE: s.mobike, Rekeyed: rekeyed, InitialContact: initialContact, Began: began,
		PeerCerts: s.peerCerts, Proof: s.stranger.proof, Virtual: s.virtual.Addrs, DNS: s.virtual.DNS, DNSDomains: s.virtual.Domains,
	})
}

// ready starts the clocks of an established IKE SA.
func (s *step) ready() {
	s.giveUp = time.Time{}
	s.lastHeard = s.now
	s.replaceAt, s.endAt = s.lifetimes(s.conn, s.conn.IKELife, s.first)
	if s.keepsAlive() {
		s.keepAliveAt = s.firstKeepAlive()
	}
	if s.gate != nil {
		s.gate.settled(s.now, s.SA)
		s.gate = nil
	}
}

// goesOn gives a half-open IKE SA more time when its peer is heard of. That is the
// gate's affair until the time is up: what proves nothing changes nothing here.
func (s *step) goesOn() {
	if s.gate != nil {
		s.gate.goesOn(s.SA, s.now)
	}
}

// leaveGate tells the gate that its half-open IKE SA is none any more.
func (s *SA) leaveGate() {
	if s.gate != nil {
		s.gate.release(s)
		s.gate = nil
	}
}

// fail ends an attempt.
func (s *step) fail(why *ike.Failure) {
	s.failed(why)
	s.die()
}

// failed tells everybody who waits for the attempt that it came to nothing. The
// failure of a caller who never proved who it is concerns no connection.
func (s *step) failed(why *ike.Failure) {
	c := s.conn
	if !s.first {
		c = nil
	}
	s.reportOf(c, s.serial, ike.Failed{Why: why})
	if s.hs != nil && s.hs.offer != nil {
		s.release(s.hs.offer)
		s.hs.offer = nil
	}
	s.abandonTasks(why)
}

// end finishes after the last answer was sent, which is repeated on request for
// a while. why is nil for an orderly end.
func (s *step) end(why *ike.Failure, byPeer bool) {
	if s.established() {
		s.down(why, byPeer)
	} else {
		s.failed(why)
	}
	s.state = stateLinger
	s.win.pending = nil
	s.giveUp = s.now.Add(lingerLife)
	s.forget()
}

// down reports the end of the IKE SA and its children, and takes them out of
// the data plane.
func (s *step) down(why *ike.Failure, byPeer bool) {
	for _, c := range append([]*child(nil), s.children...) {
		s.dropChild(c, why, byPeer)
	}
	if why == nil {
		why = &ike.Failure{Reason: ike.ReasonDeleted, Why: "the IKE SA was deleted", ByPeer: byPeer}
		s.abandonTasks(why)
		why = nil
	} else {
		s.abandonTasks(why)
	}
	if s.isUp {
		s.isUp = false
		s.report(ike.IKEDown{Why: why, ByPeer: byPeer, Rekeyed: s.successor != nil})
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
	s.hangUp()
	s.forget()
	s.state = stateDead
	s.win = window{}
	s.emit(ike.Done{})
}

// forget wipes keys and drops what is in progress.
func (s *step) forget() {
	s.keys.wipe()
	clear(s.jobs)
	s.hs = nil
	s.endLease()
	s.openerBefore = nil
	s.dropFollowUps()
	s.asking, s.answering = assembly{}, assembly{}
	s.leaveGate()
}

// close ends an established IKE SA by our Delete. The children go at once; the
// peer is told, and Done follows when it has answered or does not.
func (s *step) close(why *ike.Failure) {
	if s.state != stateUp && s.state != stateReplaced {
		return
	}
	s.down(why, false)
	s.bye(0)
}

// bye tells the peer that the IKE SA is gone, with an error if there was one.
func (s *step) bye(notify uint16) {
	s.enter(stateClosing)
	s.giveUp = time.Time{}
	s.dropFollowUps()
	if p := s.win.pending; p != nil {
		// One request at a time: its answer opens the way for ours.
		p.giveUp = earliest(p.giveUp, s.now.Add(byeTotal))
	}
	s.queue(&byeTask{notify: notify})
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// delete is the command of that name.
func (s *step) delete(ev ike.Delete) {
	if ev.Child != 0 {
		if c := s.childBySerial(ev.Child); c != nil {
			s.deleteChild(c, nil)
		}
		return
	}
	deleted := &ike.Failure{Reason: ike.ReasonDeleted, Why: "deleted while negotiating"}
	switch s.state {
	case stateUp:
		if t, ok := s.active.(*rekeyTask); ok && t.sent {
			s.deleteWanted, s.moved = true, ev.Moved // the peer may move everything to the successor meanwhile
			return
		}
		s.cfg.tickets.drop(s.conn)
		s.moved = ev.Moved
		s.close(nil)
	case stateAuthI: // the peer may hold this IKE SA for established
		s.failed(deleted)
		clear(s.jobs) // what they bring belongs to the handshake
		s.hs = nil
		s.bye(0)
	case stateNew, stateKeyI, stateInitI, stateMidI, stateKeyR, stateInitR, stateAuthR, stateEAPR:
		s.fail(deleted)
	}
}

// addChild is the command of that name.
func (s *step) addChild(ev ike.AddChild) {
	switch s.state {
	case stateReplaced:
		s.tellSuccessor(ev)
	case stateClosing, stateLinger:
		s.reportOf(ev.Conn, s.serial, ike.Failed{Why: &ike.Failure{Reason: ike.ReasonDeleted, Why: "the IKE SA is being deleted"}})
	default:
		if s.first && s.hs != nil && s.hs.offer == nil && ev.Conn == s.conn {
			s.hs.trigger = ev.Trigger // this is the first child itself
			return
		}
		s.queue(&createTask{conn: ev.Conn, trigger: ev.Trigger})
	}
}

// rekey is the command of that name.
func (s *step) rekey(ev ike.Rekey) {
	if s.state != stateUp {
		return
	}
	if ev.Child == 0 {
		s.rekeyIKE()
		return
	}
	if c := s.childBySerial(ev.Child); c != nil && c.state == childUp {
		s.rekeyChild(c)
	}
}

// byeTask deletes the IKE SA it runs in.
//
//	HDR, SK {[N(error),] D} -->
//	<-- HDR, SK {}
type byeTask struct{ notify uint16 }

func (t *byeTask) begin(s *step) {
	d := wire.Delete{Protocol: suite.ProtoIKE}
	if t.notify != 0 {
		s.request(ike.Informational, wire.NewNotify(t.notify, nil), d)
	} else {
		s.request(ike.Informational, d)
	}
}

func (t *byeTask) answer(s *step, _ wire.Payloads) {
	s.finish(t)
	s.down(nil, false)
	s.die()
}

func (t *byeTask) abandon(*step, *ike.Failure) {}
