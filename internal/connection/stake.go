package connection

import (
	"cmp"
	"slices"

	"cygnet/internal/ipsec"
)

// A table of a thousand connections changes by one connection at a time, and tells
// the whole SPD each time. What the connections claim is kept from one time to
// the next, in order, with what it was made of: only a connection for which that
// has changed is asked again.

// claim is one policy that a connection would like, and its right to it.
type claim struct {
	ipsec.Policy
	by *conn
}

// basis is all that the claims of a connection, and their rank, are made of. A
// Description and what a child was made with never change.
type basis struct {
	*Description
	state   State
	child   *child
	clearIn bool
}

// basis is the zero value for a connection that claims nothing.
func (t *Table) basis(c *conn) basis {
	if !c.state.Routed() {
		return basis{}
	}
	b := basis{Description: c.Description, state: c.state, clearIn: t.clearIn(c)}
	if c.state == Erouted {
		b.child = c.using()
	}
	return b
}

// stake brings the claims of all connections up to date.
func (t *Table) stake() {
	var changed []*conn
	for _, c := range t.conns {
		b := t.basis(c)
		if b == c.basis {
			continue
		}
		if b.state.Routed() != c.basis.state.Routed() || b.Description != c.basis.Description {
			t.ways = nil
		}
		c.basis, changed = b, append(changed, c)
	}
	switch {
	case len(changed) == 0:
	case len(changed) > 8 && len(changed) > len(t.conns)/8:
		t.staked = t.allClaims()
	default:
		// First all old ones go, whose rank is not what it was.
		t.staked = slices.DeleteFunc(t.staked, func(x claim) bool { return slices.Contains(changed, x.by) })
		for _, c := range changed {
			for _, x := range c.claims() {
				i, _ := slices.BinarySearchFunc(t.staked, x, compareClaims)
				t.staked = slices.Insert(t.staked, i, x)
			}
		}
	}
}

// unstake drops the claims of a connection that leaves the table.
func (t *Table) unstake(c *conn) {
	if c.basis.Description != nil {
		t.staked = slices.DeleteFunc(t.staked, func(x claim) bool { return x.by == c })
		t.ways = nil
	}
}

// allClaims makes the claims of all connections from scratch.
func (t *Table) allClaims() []claim {
	var all []claim
	for _, c := range t.conns {
		all = append(all, c.claims()...)
	}
	slices.SortFunc(all, compareClaims)
	return all
}

// claims lists the policies of one connection.
func (c *conn) claims() []claim {
	b := c.basis
	if !b.state.Routed() {
		return nil
	}
	var list []claim
	add := func(s ipsec.Selector, a ipsec.Action, bundle []ipsec.SAID) {
		if !slices.ContainsFunc(list, func(x claim) bool { return x.Selector == s }) {
			list = append(list, claim{ipsec.Policy{Selector: s, Action: a, Bundle: bundle, Owner: c.key().owner(), ClearIn: b.clearIn}, c})
		}
	}
	if b.child != nil {
		for _, s := range product(b.child.up.TSLocal, b.child.up.TSRemote) {
			add(s, ipsec.Protect, b.child.up.Outs())
		}
	}
	for _, s := range b.Selectors() { // what a narrowed SA does not cover is dropped
		add(s, b.action(b.state), nil)
	}
	return list
}

// compareClaims orders claims by selector, and those to one selector by right.
func compareClaims(a, b claim) int {
	return cmp.Or(compareSelectors(a.Selector, b.Selector),
		cmp.Compare(b.by.basis.state.entitlement(), a.by.basis.state.entitlement()),
		compareSeniority(a.by, b.by))
}

// compareSeniority puts the earlier connection first; of peers with addresses of
// a pool, which come after those that have theirs by the file, the later one,
// which has it now.
func compareSeniority(a, b *conn) int {
	pool := func(c *conn) string {
		if !c.FromPool {
			return ""
		}
		return "of " + c.Virtual
	}
	if p := pool(a); p != "" && p == pool(b) {
		return cmp.Compare(b.seq, a.seq)
	}
	return cmp.Or(cmp.Compare(pool(a), pool(b)), cmp.Compare(a.seq, b.seq))
}
