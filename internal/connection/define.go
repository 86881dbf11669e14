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
			list = slices.DeleteFunc(slices.Clone(list), c.equal)
			old = slices.DeleteFunc(slices.Clone(old), func(x *conn) bool { return x == c || x.base == c })
			continue
		}
	}
	for _, c := range old {
		if c.Instance == 0 {
			claims[c.Name] = c.state
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
	t.release(c, &ike.Failure{Reason: ike.ReasonDeleted, Why: "the connection was deleted"}, codeSerious)
	t.evict(c)
}

// reorient takes over what changed when addresses of this machine did.
func (t *Table) reorient(e Reorient) {
	for _, d := range e.List {
		c := t.find(key{d.Name, 0})
		if c == nil || c.equal(d) {
			continue
		}
		up, state := c.up, c.state
		t.exchange(d.Name, []*Description{d}, false)
		n := t.find(key{d.Name, 0})
		if !c.Oriented && d.Oriented {
			t.log(d.Conn, "an address of this machine is now one of its ends")
			if routes(d) && state == Unrouted && !d.Template {
				t.become(n, Trapped)
			}
			up = up || starts(d)
		}
		if up && d.Oriented && !d.Template {
			n.up = true
			t.initiate(n, nil)
		}
	}
}
