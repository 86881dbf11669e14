package manual

import (
	"fmt"
	"maps"
	"slices"

	"cygnet/internal/connection"
	"cygnet/internal/ipsec"
)

// Table is what has been put into the data plane by hand. It is a value: an
// operation returns the table as it will be and what must change for that, and
// whoever cannot carry that out keeps the old one. The zero value is empty.
type Table struct {
	sas     map[ipsec.SAID]ipsec.SA
	groups  [][]ipsec.SAID // innermost first, two SAs and more
	eroutes []eroute       // of no connection
	conns   []conn
}

// eroute is a policy whose bundle is what its SA heads now.
type eroute struct {
	selector ipsec.Selector
	target   ipsec.SAID
}

// conn is a connection that is routed, or up as well.
type conn struct {
	plan *Plan
	up   bool
}

// World is what IKE's connections have in the data plane.
type World struct {
	Taken    func(ipsec.SAID) bool
	Policies []ipsec.Policy
}

// Change is what an operation needs, in this order, so that nothing that is
// protected is ever in the clear: Add, then policies and routes as the new
// table has them, then Delete, then Scripts.
type Change struct {
	Add     []ipsec.SA // SAs that are there already are replaced
	Delete  []ipsec.SAID
	Scripts []connection.Updown
}

func (t Table) clone() Table {
	c := Table{sas: maps.Clone(t.sas), groups: slices.Clone(t.groups), eroutes: slices.Clone(t.eroutes), conns: slices.Clone(t.conns)}
	if c.sas == nil {
		c.sas = map[ipsec.SAID]ipsec.SA{}
	}
	return c
}

// find is the index of a connection by name, or -1.
func (t Table) find(name string) int {
	return slices.IndexFunc(t.conns, func(c conn) bool { return c.plan.Desc.Name == name })
}

// Up brings a planned connection up. It fails without any effect when the
// connection is up, or one of its SAs or selectors is another's.
func (t Table) Up(p *Plan, w World) (Table, Change, error) {
	name := p.Desc.Name
	t = t.clone()
	i := t.find(name)
	if i >= 0 && t.conns[i].up {
		return t, Change{}, fmt.Errorf("%q: %w", name, ErrUp)
	}
	for _, sa := range slices.Concat(p.Out, p.In) {
		if t.has(sa.ID) || w.Taken(sa.ID) {
			return t, Change{}, fmt.Errorf("%q: %s: %w%s", name, sa.ID, ErrSAInUse, t.userOf(sa.ID))
		}
	}
	for _, pol := range p.Policies {
		if owner, used := t.claimed(pol.Selector, w); used {
			return t, Change{}, fmt.Errorf("%q: %s: %w%s", name, pol.Selector, ErrErouteInUse, of(owner))
		}
	}
	var c Change
	if i < 0 {
		c.script(p, "prepare", "route")
	} else {
		t.conns = slices.Delete(t.conns, i, i+1)
	}
	t.conns = append(t.conns, conn{p, true})
	for _, list := range [][]ipsec.SA{p.Out, p.In} {
		var ids []ipsec.SAID
		for _, sa := range list {
			t.sas[sa.ID] = sa
			ids = append(ids, sa.ID)
		}
		if len(ids) > 1 {
			t.groups = append(t.groups, ids)
		}
		c.Add = append(c.Add, t.formed(ids)...)
	}
	c.script(p, "up")
	return t, c, nil
}

// Down takes a connection down. It stays routed, and what it protected is
// dropped from then on (R17.1, R17.2).
func (t Table) Down(name string) (Table, Change, error) {
	t = t.clone()
	i := t.find(name)
	if i < 0 || !t.conns[i].up {
		return t, Change{}, fmt.Errorf("%q: %w", name, ErrNotUp)
	}
	p := t.conns[i].plan
	t.conns[i].up = false
	var c Change
	for _, sa := range slices.Concat(p.Out, p.In) {
		if t.has(sa.ID) {
			c.Delete = append(c.Delete, t.remove(sa.ID)...)
		}
	}
	c.script(p, "down")
	return t, c, nil
}

// Route routes a connection without keys: its packets are dropped. One that is
// routed already is left as it is.
func (t Table) Route(p *Plan) (Table, Change) {
	t = t.clone()
	var c Change
	if t.find(p.Desc.Name) < 0 {
		t.conns = append(t.conns, conn{p, false})
		c.script(p, "prepare", "route")
	}
	return t, c
}

// Unroute undoes Route. One that is up is refused (R17.5); one that is not
// routed is not there already.
func (t Table) Unroute(name string) (Table, Change, error) {
	t = t.clone()
	i := t.find(name)
	var c Change
	switch {
	case i < 0:
		return t, c, nil
	case t.conns[i].up:
		return t, c, fmt.Errorf("%q: %w", name, ErrRouteBusy)
	}
	c.script(t.conns[i].plan, "unroute")
	t.conns = slices.Delete(t.conns, i, i+1)
	return t, c, nil
}

// script adds calls of the connection's own updown command, if it has one.
func (c *Change) script(p *Plan, verbs ...string) {
	if len(p.Desc.Updown) == 0 {
		return
	}
	for _, v := range verbs {
		c.Scripts = append(c.Scripts, connection.Updown{Desc: p.Desc, Verb: p.Desc.Verb(v)})
	}
}

// UpNow lists the connections by hand that are up, as this machine sees them.
func (t Table) UpNow() []*connection.Description {
	var list []*connection.Description
	for _, c := range t.conns {
		if c.up {
			list = append(list, c.plan.Desc)
		}
	}
	return list
}

// Routed lists the connections by hand that are routed or up, in the order they
// came.
func (t Table) Routed() []string {
	var list []string
	for _, c := range t.conns {
		list = append(list, c.plan.Desc.Name)
	}
	return list
}

// Merge is the SPD of IKE's connections and ours together. Of one selector what
// is up by hand wins, then IKE's, then the drop of what is routed by hand and
// down.
func (t Table) Merge(auto []ipsec.Policy) []ipsec.Policy {
	var list []ipsec.Policy
	seen := map[ipsec.Selector]bool{}
	add := func(p ipsec.Policy) {
		if !seen[p.Selector] {
			seen[p.Selector] = true
			list = append(list, p)
		}
	}
	for _, e := range t.eroutes {
		add(t.policy(e))
	}
	for _, c := range t.conns {
		for _, p := range c.plan.Policies {
			if c.up {
				add(p)
			}
		}
	}
	for _, p := range auto {
		add(p)
	}
	for _, c := range t.conns {
		for _, p := range c.plan.Policies {
			add(ipsec.Policy{Selector: p.Selector, Action: ipsec.Drop, Owner: p.Owner})
		}
	}
	return list
}

// Routes are the kernel's routes of IKE's connections and ours together, one
// for each prefix.
func (t Table) Routes(auto []connection.KernelRoute) []connection.KernelRoute {
	list := slices.Clone(auto)
	for _, c := range t.conns {
		for _, r := range c.plan.Desc.Routes() {
			if !slices.ContainsFunc(list, func(have connection.KernelRoute) bool { return have.Prefix == r.Prefix }) {
				list = append(list, r)
			}
		}
	}
	return list
}
