package connection

import "fmt"

// route routes all that a name means.
func (t *Table) route(e Route) {
	list := t.named(e.Name)
	if len(list) == 0 {
		t.unknown(e.Waiter, e.Name)
		return
	}
	for _, c := range list {
		if c.Instance != 0 {
			continue
		}
		if code, why := t.unroutable(c); code != 0 {
			t.refuse(e.Waiter, code, why)
			return
		}
	}
	for _, c := range list {
		t.routeOne(c)
	}
	t.answer(e.Waiter)
}

// unroutable says why c cannot be routed, with its class; 0 if it can.
func (t *Table) unroutable(c *conn) (int, string) {
	switch {
	case !c.Oriented:
		return codeOrient, fmt.Sprintf("%s: we have no ipsecN interface for either end of this connection", c.Title())
	case c.Template:
		return codeRoute, fmt.Sprintf("cannot route template policy of %s", c.PolicyWords(c.up))
	}
	if x := t.routeConflict(c); x != nil {
		return codeRoute, fmt.Sprintf("%s: cannot route -- route already in use for %s", c.Title(), x.Title())
	}
	return 0, ""
}

// routeConflict returns a connection whose route to the same prefix goes
// elsewhere, or nil: routes are shared only with the same device and next hop
// (freeswan.md 6.7).
func (t *Table) routeConflict(c *conn) *conn {
	t.stake()
	var first *conn
	for _, p := range c.remotePrefixes() {
		for _, w := range t.staked.to(p) {
			x := w.by
			if x == c || x.Virtual == c.Virtual && x.Hop() == c.Hop() || shared(c, x) {
				continue
			}
			if first == nil || byKey(x, first) < 0 {
				first = x
			}
		}
	}
	return first
}

// routeOne gives c its shunt and its route, or re-arms the shunt.
func (t *Table) routeOne(c *conn) {
	before := c.state
	switch c.state {
	case Unrouted, Dropped, Failed:
		t.become(c, Trapped)
	case Initiating:
		t.become(c, Held)
	case Keyed:
		t.become(c, Erouted)
	}
	t.claimed(c, before)
}

// claimed runs the scripts that go with a route, if c has just got one.
func (t *Table) claimed(c *conn, before State) {
	if len(c.Updown) == 0 || before.Routed() || !c.state.Routed() {
		return
	}
	t.script(c, "prepare")
	t.settle()
	t.script(c, "route")
}

// unroute takes route and shunt away. What is up must be taken down first.
func (t *Table) unroute(e Unroute) {
	list := t.named(e.Name)
	if len(list) == 0 {
		t.unknown(e.Waiter, e.Name)
		return
	}
	for _, c := range list {
		if c.state == Erouted {
			t.refuse(e.Waiter, codeRouteBusy, fmt.Sprintf("%s: cannot unroute: route busy", c.Title()))
			return
		}
	}
	for _, c := range list {
		before := c.state
		switch {
		case c.state == Held:
			t.become(c, Initiating)
		case c.state.Routed():
			t.become(c, Unrouted)
			t.unassign(c)
		}
		if before.Routed() && len(c.Updown) > 0 {
			t.settle()
			t.script(c, "unroute")
		}
	}
	t.raise(e.Name)
	t.answer(e.Waiter)
}
