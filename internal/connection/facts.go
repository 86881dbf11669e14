package connection

import (
	"fmt"
	"slices"
	"time"

	"cygnet/internal/ike"
)

// reported takes in a fact from a machine. Whoever waits for a connection that
// it concerns hears of it.
func (t *Table) reported(e Reported) {
	r := e.Report
	c := t.byConn[r.Conn]
	t.report = r
	t.tell(r, c)
	switch f := r.Fact.(type) {
	case ike.IKEUp:
		t.ikeUp(r, c, f)
	case ike.IKEDown:
		if sa := t.ikeBySerial(r.Serial); sa != nil {
			t.ikeDown(sa, f)
		}
	case ike.Redirected:
		if sa := t.ikeBySerial(r.Serial); sa != nil {
			t.redirected(sa, f.To)
		}
	case ike.Alive:
		if sa := t.ikeBySerial(r.Serial); sa != nil {
			t.alive(sa)
		}
	case ike.ReauthDue:
		if sa := t.ikeBySerial(r.Serial); sa != nil {
			t.reauthenticate(sa)
		}
	case ike.ChildUp:
		t.childUp(r, c, f)
	case ike.ChildUse:
		if _, ch := t.childBySerial(r.Serial); ch != nil {
			t.peerUses(ch)
		}
	case ike.ChildDown:
		t.childDown(r.Serial, f)
	case ike.Failed:
		t.failed(e, c, f)
	}
}

// peerUses notes that the peer is ready to receive on a Child SA.
func (t *Table) peerUses(ch *child) {
	ch.use = true
	t.alarms.set(&ch.ready, time.Time{})
	t.touch(ch.conn)
}

// ikeUp records an established IKE SA: one of ours, one that a peer has made,
// or the successor of either.
func (t *Table) ikeUp(r ike.Report, c *conn, up ike.IKEUp) {
	sa, old := t.ikeBySerial(r.Serial), t.ikeBySerial(up.Rekeyed)
	if sa == nil {
		switch {
		case c != nil:
			sa = &ikeSA{serial: r.Serial, conn: c, peer: c.Remote.Addr}
		case old != nil: // its connection is deleted, others ride on it
			sa = &ikeSA{serial: r.Serial}
		default: // its connection was deleted while it was negotiated
			t.do(ToMachine{r.Serial, ike.Delete{}})
			return
		}
		t.record(sa)
	}
	t.at.prove(sa, &up)
	sa.since, sa.named = t.now, r.Conn
	if sa.first.IsZero() {
		sa.first = t.now
	}
	if old != nil {
		t.succeed(old, sa)
		return
	}
	t.supersede(sa)
	if sa.conn.Stranger != nil {
		t.guardIdle(sa, strangerVain)
	}
}

// succeed moves what rides on old to its successor.
func (t *Table) succeed(old, sa *ikeSA) {
	sa.conn, sa.ours = old.conn, old.ours
	t.at.repeer(sa, old.peer)
	sa.first = old.first
	sa.waiting = append(sa.waiting, old.waiting...)
	for _, c := range old.waiting {
		c.joined = sa
	}
	old.waiting, old.doomed = nil, true
	for _, x := range t.at.peer[old.peer] {
		if x.reauths == old.serial {
			x.reauths = sa.serial
		}
	}
	t.at.transfer(old.serial, sa.serial)
}

// ikeDown forgets an IKE SA and settles what hung on it.
func (t *Table) ikeDown(sa *ikeSA, down ike.IKEDown) {
	if down.Rekeyed {
		t.forget(sa)
		return
	}
	why := down.Why
	if why == nil {
		why = &ike.Failure{Reason: ike.ReasonDeleted, Why: "the IKE SA was deleted", ByPeer: down.ByPeer}
	}
	for _, ch := range t.ridersOf(sa) {
		if t.at.children[ch.serial] == ch { // or it went with another
			ch.conn.note(Blame{Why: down.Why, At: t.now, Ours: sa.ours})
			t.childDown(ch.serial, ike.ChildDown{IKE: sa.serial, Why: down.Why, ByPeer: down.ByPeer})
		}
	}
	t.ikeGone(sa, why)
	t.unlease()
}

// ikeGone fails the attempts that waited for an IKE SA.
func (t *Table) ikeGone(sa *ikeSA, why *ike.Failure) {
	t.forget(sa)
	for _, c := range slices.Clone(sa.waiting) {
		t.attemptFailed(c, why)
	}
	for _, c := range slices.Clone(t.conns) {
		if c.base != nil {
			t.reap(c)
		}
	}
}

// failed settles an attempt that did not succeed: that of the IKE SA with all
// that wait for it, or that of one Child SA. A machine reports the former for
// each who waited; after the first, the others may be trying again elsewhere.
func (t *Table) failed(e Reported, c *conn, f ike.Failed) {
	sa := t.ikeBySerial(e.IKE)
	if sa == nil || !sa.ours || c != nil && c.joined != sa { // ours are noted by attemptFailed
		t.noteAt(c, Blame{Why: f.Why, At: t.now, Peer: e.Report.Peer})
	}
	switch {
	case sa == nil:
	case sa.up == nil && !f.Child:
		t.ikeGone(sa, f.Why)
	case c != nil && c.joined == sa:
		t.attemptFailed(c, f.Why)
		t.endVain(sa)
	}
}

// deleteState ends one SA by its number.
func (t *Table) deleteState(e DeleteState) {
	if sa := t.ikeBySerial(e.Serial); sa != nil {
		t.endIKE(sa)
	} else if _, ch := t.childBySerial(e.Serial); ch != nil {
		t.do(ToMachine{ch.ike, ike.Delete{Child: ch.serial}})
	} else {
		t.refuse(e.Waiter, codeUnknown, fmt.Sprintf("no state #%d", e.Serial))
		return
	}
	t.answer(e.Waiter)
}

// crash ends every IKE SA with a peer.
func (t *Table) crash(e Crash) {
	for _, sa := range t.byAddress(e.Peer) {
		if sa.serial != 0 {
			t.endIKE(sa)
		}
	}
	t.answer(e.Waiter)
}

// rekey replaces the SA of a number, or the newest of each connection that a
// name means.
func (t *Table) rekey(e Rekey) {
	if e.Serial != 0 {
		t.rekeyState(e)
		return
	}
	list := t.named(e.Name)
	if len(list) == 0 {
		t.unknown(e.Waiter, e.Name)
		return
	}
	done := false
	for _, c := range list {
		if ch := c.using(); ch != nil {
			t.do(ToMachine{ch.ike, ike.Rekey{Child: ch.serial}})
			done = true
		}
	}
	if !done {
		t.refuse(e.Waiter, codeSerious, fmt.Sprintf("%q is not up", e.Name))
		return
	}
	t.answer(e.Waiter)
}

// rekeyState replaces one SA by its number.
func (t *Table) rekeyState(e Rekey) {
	sa := t.ikeBySerial(e.Serial)
	_, ch := t.childBySerial(e.Serial)
	switch {
	case sa != nil && sa.up == nil:
		t.refuse(e.Waiter, codeSerious, fmt.Sprintf("state #%d is not established yet", e.Serial))
		return
	case sa != nil:
		t.do(ToMachine{sa.serial, ike.Rekey{}})
	case ch != nil:
		t.do(ToMachine{ch.ike, ike.Rekey{Child: ch.serial}})
	default:
		t.refuse(e.Waiter, codeUnknown, fmt.Sprintf("no state #%d", e.Serial))
		return
	}
	t.answer(e.Waiter)
}

// Alone reports whether no IKE SA with the peer of a connection stands, so that
// INITIAL_CONTACT is true (RFC 7296, 2.4).
func (t *Table) Alone(c *ike.Conn) bool {
	return !slices.ContainsFunc(t.at.proven[c.Remote.ID], func(sa *ikeSA) bool {
		return !sa.doomed && sa.up.LocalID == c.Local.ID
	})
}
