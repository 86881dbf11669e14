package connection

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"cygnet/internal/config"
	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
)

// child is one Child SA pair of a connection.
type child struct {
	conn          *conn
	named         *ike.Conn // what its machine calls that, from before a move perhaps
	serial, ike   uint32
	root          uint32 // serial of the first of those that replaced each other
	up            ike.ChildUp
	since         time.Time
	use           bool      // the peer is ready to receive on it
	ready         alarm     // it surely is, if nothing has shown it before
	replaced      bool      // a newer Child SA was made of it
	closing       bool      // its deletion has been asked for
	surplus       alarm     // it is to be deleted because another serves the same
	tunIn, tunOut ipsec.SPI // IP-in-IP SAs of the books, as KLIPS counts them
}

// using returns the Child SA that carries what we send: the newest that the
// peer is known to be ready for, else the newest.
func (c *conn) using() *child {
	var found *child
	for _, ch := range c.children {
		if found == nil || ch.use || !found.use {
			found = ch
		}
	}
	return found
}

// childUp takes a new Child SA into use.
func (t *Table) childUp(r ike.Report, c *conn, up ike.ChildUp) {
	unasked := up.Initiator && up.Rekeyed == 0 && c != nil && (c.joined == nil || c.joined.serial != up.IKE)
	if c == nil || unasked { // deleted, replaced or taken down while it was negotiated
		t.do(ToMachine{up.IKE, ike.Delete{Child: r.Serial}})
		return
	}
	ch := &child{conn: c, named: r.Conn, serial: r.Serial, ike: up.IKE, up: up, since: t.now, use: up.Use}
	if up.Mode == ipsec.Tunnel {
		ch.tunIn, ch.tunOut = t.nextTun, t.nextTun+1
		t.nextTun += 2
	}
	if ch.root = r.Serial; up.Rekeyed != 0 {
		ch.root = up.Rekeyed
	}
	for _, old := range c.children {
		if old.serial == up.Rekeyed {
			old.replaced, ch.root = true, old.root
		}
	}
	late := t.overtaken(c, up.IKE)
	if late {
		ch.replaced, ch.use = true, false
	}
	t.awaitPeer(c, ch)
	t.reauthenticated(c, up.IKE)
	c.children = append(c.children, ch)
	t.at.addChild(ch)
	t.touch(c)
	if up.Initiator && c.joined != nil && c.joined.serial == up.IKE {
		c.leave() // else the peer was faster, and what we asked for is still to come
	}
	c.tries, c.last, c.blockedUntil = 0, nil, time.Time{}
	t.retryAt(c, time.Time{})
	c.cleared()
	if sa := t.ikeBySerial(up.IKE); sa != nil {
		t.assign(c, sa.up, up.TSRemote)
	}
	if c.flow != nil {
		t.tunnelUp(c)
	} else {
		t.enroute(c)
	}
	t.checkSurplus(c)
	t.dropOthers(c, up.IKE)
	if late {
		t.dropIdle(t.ikeBySerial(up.IKE))
	}
	t.release(c, nil)
}

// enroute gives c's packets to its SA: eroute, script, route (freeswan.md
// 6.13).
func (t *Table) enroute(c *conn) {
	before := c.state
	if before == Erouted {
		t.settle()
		return
	}
	if x := t.routeConflict(c); x != nil && !before.Routed() {
		t.become(c, Keyed)
		t.log(c.Conn, fmt.Sprintf("cannot route -- route already in use for %s", x.Title()))
		return
	}
	t.become(c, Erouted)
	if len(c.Updown) > 0 && !c.scriptUp {
		c.scriptUp = true
		t.settleSPD()
		t.script(c, "up")
	}
	t.claimed(c, before)
	t.settle()
}

// checkSurplus plans the end of a pair that two ends made twice by initiating
// at the same time.
func (t *Table) checkSurplus(c *conn) {
	surplus := c.surplus()
	if surplus == nil || surplus.surplus.isSet() {
		return
	}
	at := t.now.Add(surplusDelay)
	for _, ch := range c.children {
		// Not before it is known whether the peer has both.
		if sa := t.ikeBySerial(ch.ike); sa != nil && !sa.probed.IsZero() {
			at = atLeast(at, sa.probed.Add(c.RetransmitTotal+surplusDelay))
		}
	}
	surplus.surplus.ring = func() { t.dropSurplus(c, surplus) }
	t.alarms.set(&surplus.surplus, at)
}

// alive says that the peer has the IKE SA it was asked about: of the pairs that
// both have, the surplus one can go soon.
func (t *Table) alive(sa *ikeSA) {
	sa.probed = time.Time{}
	for _, ch := range slices.Clone(t.at.riders[sa.serial]) {
		if surplus := ch.conn.surplus(); surplus != nil {
			t.alarms.set(&surplus.surplus, time.Time{})
			t.checkSurplus(ch.conn)
		}
	}
}

// surplus returns the pair that is ours to delete because another serves the
// same. Both ends see the same pairs with in and out exchanged, so the order of
// their lowest SPIs is the same for both. The highest stays, and who initiated it
// deletes the lowest: having the answer, that end alone knows that both have the
// pair that stays. Pairs that rekeying the same one has made twice do not count:
// the exchanges themselves decide between them (RFC 7296, 2.8.1), and until that
// is known nobody can say which one will be left.
func (c *conn) surplus() *child {
	var fresh []*child
	for _, ch := range c.children {
		if !ch.replaced && !ch.closing {
			fresh = append(fresh, ch)
		}
	}
	for i, ch := range fresh {
		if slices.ContainsFunc(fresh[i+1:], func(x *child) bool { return x.root == ch.root }) {
			return nil
		}
	}
	if len(fresh) < 2 {
		return nil
	}
	slices.SortFunc(fresh, func(a, b *child) int { return cmp.Compare(a.low(), b.low()) })
	if !fresh[len(fresh)-1].up.Initiator {
		return nil
	}
	return fresh[0]
}

func (ch *child) low() ipsec.SPI { return min(ch.up.In.SPI, ch.up.Out.SPI) }

// dropSurplus deletes a surplus pair, or its IKE SA if that serves for nothing
// else and is not the only one with its peer.
func (t *Table) dropSurplus(c *conn, ch *child) {
	if c.surplus() != ch { // not any more
		t.checkSurplus(c)
		return
	}
	t.log(c.Conn, fmt.Sprintf("both ends initiated at once: deleting the surplus Child SA #%d", ch.serial))
	ch.closing = true
	if sa := t.ikeBySerial(ch.ike); sa == nil || !t.dropIdle(sa) {
		t.do(ToMachine{ch.ike, ike.Delete{Child: ch.serial}})
	}
}

// dropIdle deletes an IKE SA that carries nothing any more and is not the only
// one with its peer.
func (t *Table) dropIdle(sa *ikeSA) bool {
	if sa.doomed || sa.up == nil || t.used(sa) || !t.suitableBut(sa) {
		return false
	}
	sa.doomed = true
	t.endIKE(sa)
	return true
}

// dropOthers does that with all IKE SAs with c's peer but one, which has just
// got a Child SA.
func (t *Table) dropOthers(c *conn, serial uint32) {
	for _, sa := range slices.Clone(t.at.peer[c.Remote.Addr]) {
		if sa.serial != serial && sa.fits(c) {
			t.dropIdle(sa)
		}
	}
}

// used reports whether an IKE SA carries a Child SA that stays, or shall. One
// that was replaced does not stay.
func (t *Table) used(sa *ikeSA) bool {
	return len(sa.waiting) > 0 || slices.ContainsFunc(t.at.riders[sa.serial], func(ch *child) bool { return !ch.closing && !ch.replaced })
}

func (t *Table) suitableBut(sa *ikeSA) bool {
	return slices.ContainsFunc(t.at.peer[sa.conn.Remote.Addr], func(x *ikeSA) bool {
		return x != sa && x.up != nil && !x.doomed && x.fits(sa.conn)
	})
}

// closeChildren deletes all Child SAs of c, by way of their IKE SA where it
// serves for nothing else.
func (t *Table) closeChildren(c *conn) {
	for _, ch := range c.children {
		ch.closing = true
		t.alarms.set(&ch.surplus, time.Time{})
	}
	told := map[uint32]bool{}
	for _, sa := range slices.Clone(t.ikes) {
		mine := sa.conn == c || slices.ContainsFunc(c.children, func(ch *child) bool { return ch.ike == sa.serial })
		if mine && sa.up != nil && !t.used(sa) {
			sa.doomed, told[sa.serial] = true, true
			t.endIKE(sa)
		}
	}
	for _, ch := range c.children {
		if !told[ch.ike] {
			t.do(ToMachine{ch.ike, ike.Delete{Child: ch.serial}})
		}
	}
}

// childDown forgets a Child SA. When it was the last one, the trap is back,
// and what shall be up is tried again.
func (t *Table) childDown(serial uint32, down ike.ChildDown) {
	c, ch := t.childBySerial(serial)
	if c == nil {
		return
	}
	if silent(down.Why) {
		if sa := t.ikeBySerial(ch.ike); sa != nil {
			sa.doomed = true // nothing new shall ride on it
		}
	}
	c.children = without(c.children, ch)
	t.dropChild(ch)
	t.touch(c)
	if sa := t.ikeBySerial(ch.ike); sa != nil {
		t.dropIdle(sa)
	}
	if len(c.children) > 0 {
		t.checkSurplus(c)
		return
	}
	if c.Stranger != nil {
		t.tunnelDown(c)
		return
	}
	t.callDown(c)
	switch c.state {
	case Keyed:
		t.become(c, Unrouted)
	case Erouted:
		t.become(c, Trapped)
	}
	if !ch.closing {
		t.revive(c, down, serial)
	}
	t.settle()
	if c.base != nil {
		t.reap(c)
	}
}

func silent(why *ike.Failure) bool { return why != nil && why.Reason == ike.ReasonSilent }

// revive plans a new attempt where one is called for: dpdaction= decides when
// the peer fell silent; after a Delete of the peer's, or an expiry, a
// connection marked UP is replaced (freeswan.md 6.6).
func (t *Table) revive(c *conn, down ike.ChildDown, serial uint32) {
	if c.adrift {
		c.adrift = false
		t.strand(c)
		return
	}
	if c.base != nil || c.joined != nil || c.retry.isSet() {
		return
	}
	switch {
	case silent(down.Why):
		switch c.DPDAction {
		case ike.DPDRestart:
			t.log(c.Conn, "the peer is silent: initiating anew")
			c.up = true
			t.retryAt(c, t.now)
		case ike.DPDClear:
			c.up = false
		}
	case c.up && !c.DontRekey && (down.ByPeer || down.Why != nil || c.Auto == config.AutoStart || c.Auto == config.AutoKeep):
		t.log(c.Conn, fmt.Sprintf("IPsec SA #%d is gone: replacing it in %d seconds", serial, int(replaceDelay.Seconds())))
		t.retryAt(c, t.now.Add(replaceDelay))
	}
}
