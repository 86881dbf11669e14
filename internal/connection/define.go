package connection

import (
	"fmt"
	"slices"

	"cygnet/internal/ike"
)

// add defines new connections. A name that exists is refused as a whole.
func (t *Table) add(e Add) {
	for _, d := range e.List {
		if t.find(key{d.Name, 0}) != nil {
			t.refuse(e.Waiter, codeDuplicate, fmt.Sprintf("attempt to redefine connection %q", d.Name))
			return
		}
	}
	for _, d := range e.List {
		t.define(d)
	}
	t.answer(e.Waiter)
}

func (t *Table) define(d *Description) *conn {
	c := &conn{Description: d}
	t.insert(c)
	t.log(nil, fmt.Sprintf("added connection description %q", d.Name))
	if !d.Oriented {
		t.log(d.Conn, "no address of this machine is one of its ends: it waits until one is")
	}
	return c
}

// replace exchanges descriptions. The claims of the old versions on routes and
// eroutes pass to the new ones, so the SPD goes from the one to the other in a
// single step (R17.8).
func (t *Table) replace(e Replace) {
	t.exchange(e.Name, e.List, e.Keep)
	t.answer(e.Waiter)
}

func (t *Table) exchange(name string, list []*Description, keep bool) {
	old := t.named(name)
	for _, d := range list { // a name may now mean what another alias made
		if c := t.find(key{d.Name, 0}); c != nil && !slices.Contains(old, c) {
			old = append(old, c)
		}
	}
	claims := map[string]State{}
	for _, c := range old {
		if c.Instance == 0 && keep && slices.ContainsFunc(list, c.equal) {
			t.adopt(c, list)
			list = slices.DeleteFunc(slices.Clone(list), c.equal)
			old = slices.DeleteFunc(slices.Clone(old), func(x *conn) bool { return x == c || x.base == c })
			continue
		}
	}
	for _, c := range old {
		if c.Instance == 0 {
			claims[c.Name] = c.state
		} else if slices.ContainsFunc(list, func(d *Description) bool { return d.Oriented && d.Virtual == c.Virtual }) {
			t.lay(c) // its caller has to come again
		}
		t.undefine(c)
	}
	for _, d := range list {
		c := t.define(d)
		t.become(c, inherit(d, claims[d.Name]))
	}
}

// inherit is the state in which the new version of a connection starts.
func inherit(d *Description, old State) State {
	switch {
	case !old.Routed() || !d.Oriented || d.Template:
		return Unrouted
	case old == Dropped && d.Negotiable():
		return Dropped
	}
	return Trapped
}

// remove deletes a connection with its instances.
func (t *Table) remove(e Delete) {
	list := t.named(e.Name)
	if len(list) == 0 {
		t.unknown(e.Waiter, e.Name)
		return
	}
	for _, c := range list {
		t.undefine(c)
	}
	t.raise(e.Name)
	t.answer(e.Waiter)
}

// undefine ends everything that was built on c and forgets it.
func (t *Table) undefine(c *conn) {
	t.log(c.Conn, "deleting connection")
	t.callDown(c)
	t.cancel(c)
	t.closeChildren(c)
	if c.state.Routed() && len(c.Updown) > 0 {
		t.script(c, "unroute")
	}
	t.release(c, &ike.Failure{Reason: ike.ReasonDeleted, Why: "the connection was deleted"})
	t.evict(c)
}

// reorient takes over what changed when addresses of this machine did. A
// connection that was routed stays so when our end of it vanishes, and its
// packets are dropped until the end is back: another interface may still lead
// to where they must not go in clear.
func (t *Table) reorient(e Reorient) {
	for _, d := range e.List {
		c := t.find(key{d.Name, 0})
		switch {
		case c == nil:
		case !d.Oriented && t.sails(c):
			t.drift(c)
		case !d.Oriented && c.state.Routed():
			t.strand(c)
		case c.equal(d) && c.adrift:
			c.adrift = false
		case !c.equal(d) && t.sails(c) && c.onlyMoved(d):
			t.move(c, d)
		case c.equal(d) && c.stranded:
			c.stranded = false
			t.resume(c, Trapped)
		case !c.equal(d):
			t.adapt(c, d)
		}
	}
}

// strand takes a connection down because our end of it is gone.
func (t *Table) strand(c *conn) {
	if c.stranded {
		return
	}
	t.log(c.Conn, "no address of this machine is one of its ends any more")
	c.stranded = c.state != Dropped // or a user wants it so
	t.callDown(c)
	if c.Negotiable() {
		t.become(c, Dropped)
	}
	t.settle()
	t.cancel(c)
	t.release(c, &ike.Failure{Reason: ike.ReasonOther, Why: "our end of the connection is gone"})
	t.closeChildren(c)
}

// adapt exchanges the description for one with another address.
func (t *Table) adapt(c *conn, d *Description) {
	state := c.state
	if c.stranded {
		state = Trapped
	}
	if !c.Oriented && d.Oriented && routes(d) {
		state = Trapped
	}
	up := c.up || !c.Oriented && starts(d)
	t.exchange(d.Name, []*Description{d}, false)
	n := t.find(key{d.Name, 0})
	if !d.Oriented || d.Template {
		n.up = up
		return
	}
	t.log(d.Conn, fmt.Sprintf("our end is now %s", d.Local.Addr))
	n.up = up
	t.resume(n, inherit(d, state))
}

// resume puts c into a state and brings it up if it shall be.
func (t *Table) resume(c *conn, s State) {
	t.become(c, s)
	if c.up {
		t.again(c)
	}
}
