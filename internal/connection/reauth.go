package connection

import (
	"fmt"
	"net/netip"
	"slices"
)

// reauthenticate makes an IKE SA that shall take the place of sa, with a Child
// SA for each connection that rides on it. The old ones stay until the new ones
// carry the traffic; if nothing comes of it, they stay as long as they may.
func (t *Table) reauthenticate(sa *ikeSA) { t.renew(sa, netip.Addr{}) }

// renew does that with a peer elsewhere, if gateway is valid.
func (t *Table) renew(sa *ikeSA, gateway netip.Addr) {
	if sa.up == nil || sa.doomed || slices.ContainsFunc(t.at.peer[sa.peer], func(x *ikeSA) bool { return x.reauths == sa.serial }) {
		return
	}
	var riders []*conn
	for _, ch := range t.ridersOf(sa) {
		if c := ch.conn; !ch.closing && !ch.replaced && c.joined == nil && !c.Template && !slices.Contains(riders, c) {
			riders = append(riders, c)
		}
	}
	if len(riders) == 0 {
		return
	}
	first := riders[0]
	if slices.Contains(riders, sa.conn) {
		first = sa.conn
	}
	n := &ikeSA{conn: first, peer: first.Remote.Addr, ours: true, reauths: sa.serial, waiting: riders}
	for _, c := range riders {
		c.joined = n
	}
	t.record(n)
	t.log(first.Conn, fmt.Sprintf("reauthenticating: a new IKE SA takes the place of #%d", sa.serial))
	t.settle()
	t.do(StartIKE{Conn: first.Conn, Gateway: gateway})
}

// endVain ends an IKE SA that was to take the place of another and brings nothing:
// as long as it stands there would be no second attempt.
func (t *Table) endVain(sa *ikeSA) {
	if sa.reauths != 0 && sa.up != nil && !sa.doomed && len(sa.waiting) == 0 && len(t.ridersOf(sa)) == 0 {
		t.endIKE(sa)
	}
}

// reauthenticated is called before a Child SA of c is taken into use. What c had
// on the IKE SA that its own takes the place of is replaced by it; with the last
// of them that IKE SA goes.
func (t *Table) reauthenticated(c *conn, serial uint32) {
	sa := t.ikeBySerial(serial)
	if sa == nil || sa.reauths == 0 {
		return
	}
	for _, ch := range c.children {
		if ch.ike == sa.reauths {
			ch.replaced = true
		}
	}
}

// overtaken reports whether a new Child SA of c, on the IKE SA of that number, is of
// no use: a rekeying was under way there when reauthentication has brought another
// pair on the IKE SA that takes its place.
func (t *Table) overtaken(c *conn, serial uint32) bool {
	return slices.ContainsFunc(c.children, func(ch *child) bool {
		sa := t.ikeBySerial(ch.ike)
		return sa != nil && sa.reauths != 0 && sa.reauths == serial && !ch.closing && !ch.replaced
	})
}

// awaitPeer keeps what we send on the pair that carries it now, when the peer
// makes another on a new IKE SA before it breaks the old one: it has no SA to
// receive on until our answer is there. Its Delete of the old one ends the
// waiting. A peer that says INITIAL_CONTACT has no other pair, and there is
// nothing to wait for.
func (t *Table) awaitPeer(c *conn, ch *child) {
	old, sa := c.using(), t.ikeBySerial(ch.ike)
	if ch.up.Initiator || c.Stranger != nil || c.Version != 2 || old == nil || old.ike == ch.ike || old.closing || sa == nil || sa.up == nil || sa.up.InitialContact {
		return
	}
	if was := t.ikeBySerial(old.ike); was != nil && !was.doomed {
		ch.use = false
		ch.ready.ring = func() { t.peerUses(ch) }
		t.alarms.set(&ch.ready, t.now.Add(peerInstalls))
	}
}
