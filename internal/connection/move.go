package connection

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"

	"cygnet/internal/ike"
)

// Moving to another address of ours without an end of the tunnel, by MOBIKE
// (RFC 4555). It is possible where we began and the peer knows how; everywhere
// else a connection starts anew.

// sails reports whether the SAs of c can be taken to another address.
func (t *Table) sails(c *conn) bool {
	if c.Local.Host && !c.Asks() || len(c.children) == 0 {
		return false // what it protects is the address itself
	}
	return !slices.ContainsFunc(c.children, func(ch *child) bool {
		sa := t.ikeBySerial(ch.ike)
		return sa == nil || sa.up == nil || !sa.ours || !sa.up.MOBIKE || sa.doomed
	})
}

// onlyMoved reports whether d is c from another address.
func (c *conn) onlyMoved(d *Description) bool {
	return d.Oriented && !d.Template && c.Local.Addr.Is4() == d.Local.Addr.Is4() && reflect.DeepEqual(anywhere(c.Description), anywhere(d))
}

// anywhere is a description without what follows from our address.
func anywhere(d *Description) *Description {
	e, k := *d, *d.Conn
	e.Conn, e.Assigned = &k, Assigned{}
	e.Virtual, e.Physical, e.Oriented = "", "", true
	e.NextHop = netip.Addr{}
	if k.Local.ID == addressID(k.Local.Addr) {
		k.Local.ID = ike.ID{}
	}
	if k.Local.Host {
		k.Local.TS = nil
	}
	k.Local.Addr = netip.Addr{}
	return &e
}

// move takes c with its SAs to another address.
func (t *Table) move(c *conn, d *Description) {
	moved := *d
	moved.Assigned = c.Assigned
	c.former = append(c.former, c.Conn) // machines name it still
	t.forgetFormer(c)
	c.Description, c.adrift = &moved, false
	t.touch(c)
	t.byConn[c.Conn] = c
	t.log(c.Conn, fmt.Sprintf("our end is now %s: its SAs move there", d.Local.Addr))
	t.settle()
	told := map[uint32]bool{}
	for _, ch := range c.children {
		if !told[ch.ike] {
			told[ch.ike] = true
			t.do(ToMachine{ch.ike, ike.Move{Local: d.Local.Addr}})
		}
	}
}

// forgetFormer lets go of what c was before all but the last few moves, except
// what the machines of its SAs were made with: they name it to their end.
func (t *Table) forgetFormer(c *conn) {
	if len(c.former) <= formerKept {
		return
	}
	named := map[*ike.Conn]bool{}
	for _, ch := range c.children {
		named[ch.named] = true
	}
	for _, sa := range t.at.peer[c.Remote.Addr] {
		named[sa.named] = true
	}
	last := len(c.former) - formerKept
	kept := make([]*ike.Conn, 0, len(c.former))
	for i, k := range c.former {
		if i >= last || named[k] {
			kept = append(kept, k)
		} else {
			delete(t.byConn, k)
		}
	}
	c.former = kept
}

// drift leaves the SAs of a connection alone although our end of it has
// vanished: it may be back soon elsewhere. Nothing gets out meanwhile, for
// there is no device to leave by. When the SAs end first it is as if they had
// not been spared.
func (t *Table) drift(c *conn) {
	if !c.adrift {
		c.adrift = true
		t.log(c.Conn, "no address of this machine is one of its ends any more: waiting for another")
	}
}
