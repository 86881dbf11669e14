package connection

import (
	"cmp"
	"net/netip"
	"slices"

	"cygnet/internal/ipsec"
)

// A table of a thousand connections changes by one connection at a time. What the
// connections claim, of the SPD and of the routes, is kept from one time to the
// next, in order, with what it was made of: only a connection for which that may
// have changed is asked again, and only what its claims are about is decided anew.

// claim is one policy that a connection would like, and its right to it.
type claim struct {
	ipsec.Policy
	by *conn
}

// way is one prefix that a connection wants routed. Its own script may do that.
type way struct {
	KernelRoute
	by   *conn
	ours bool // to be set up by us
}

// basis is all that the claims of a connection, and their rank, are made of. A
// Description and what a child was made with never change.
type basis struct {
	*Description
	state   State
	child   *child
	clearIn bool
}

// stakes are the claims of all connections, in order.
type stakes struct {
	claims []*claim // see compareClaims
	ways   []*way   // see compareWays
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

// touch says that the claims of a connection may have changed.
func (t *Table) touch(c *conn) {
	t.dirty = true
	if !c.touched && !c.gone {
		c.touched = true
		t.touched = append(t.touched, c)
	}
}

// stake brings the claims of all connections up to date.
func (t *Table) stake() {
	many := len(t.touched) > 8 && len(t.touched) > len(t.conns)/8
	for _, c := range t.touched {
		c.touched = false
		b := t.basis(c)
		switch {
		case b == c.basis:
		case many:
			c.basis = b
		default:
			t.restake(c, b)
		}
	}
	t.touched = t.touched[:0]
	if many {
		t.staked = t.allClaims()
		t.spd.whole, t.routes.whole = true, true
	}
}

// restake exchanges the claims of one connection. The old ones go first: their
// rank is that of the old basis.
func (t *Table) restake(c *conn, b basis) {
	rerouted := b.state.Routed() != c.basis.state.Routed() || b.Description != c.basis.Description
	t.withdraw(c, rerouted)
	c.basis = b
	c.claims = c.makeClaims()
	for _, x := range c.claims {
		t.staked.claims = insertSorted(t.staked.claims, x, compareClaims)
		t.spd.stale = append(t.spd.stale, x.Selector)
	}
	if rerouted {
		c.ways = c.makeWays()
		for _, x := range c.ways {
			t.staked.ways = insertSorted(t.staked.ways, x, compareWays)
			t.routes.stale = append(t.routes.stale, x.Prefix)
		}
	}
}

// withdraw takes the claims of a connection out, and its ways if it shall.
func (t *Table) withdraw(c *conn, ways bool) {
	for _, x := range c.claims {
		t.staked.claims = removeSorted(t.staked.claims, x, compareClaims)
		t.spd.stale = append(t.spd.stale, x.Selector)
	}
	c.claims = nil
	if ways {
		for _, x := range c.ways {
			t.staked.ways = removeSorted(t.staked.ways, x, compareWays)
			t.routes.stale = append(t.routes.stale, x.Prefix)
		}
		c.ways = nil
	}
}

// removeSorted takes x out of a list in which others may have its rank.
func removeSorted[T comparable](list []T, x T, compare func(a, b T) int) []T {
	i, _ := slices.BinarySearchFunc(list, x, compare)
	for list[i] != x {
		i++
	}
	return slices.Delete(list, i, i+1)
}

// unstake drops the claims of a connection that leaves the table.
func (t *Table) unstake(c *conn) {
	if c.touched {
		t.touched = without(t.touched, c)
	}
	c.touched, c.gone = false, true
	t.withdraw(c, true)
	c.basis = basis{}
}

// allClaims makes the claims of all connections from scratch.
func (t *Table) allClaims() (all stakes) {
	for _, c := range t.conns {
		c.claims, c.ways = c.makeClaims(), c.makeWays()
		all.claims = append(all.claims, c.claims...)
		all.ways = append(all.ways, c.ways...)
	}
	slices.SortFunc(all.claims, compareClaims)
	slices.SortStableFunc(all.ways, compareWays)
	return all
}

// makeClaims lists the policies of one connection.
func (c *conn) makeClaims() []*claim {
	b := c.basis
	if !b.state.Routed() {
		return nil
	}
	var list []*claim
	add := func(s ipsec.Selector, a ipsec.Action, bundle []ipsec.SAID) {
		if !slices.ContainsFunc(list, func(x *claim) bool { return x.Selector == s }) {
			list = append(list, &claim{ipsec.Policy{Selector: s, Action: a, Bundle: bundle, Owner: c.key().owner(), ClearIn: b.clearIn}, c})
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

// makeWays lists the prefixes that one connection wants routed. Those of flows
// are carried by the routes of their groups.
func (c *conn) makeWays() []*way {
	b := c.basis
	if !b.state.Routed() || b.Stranger != nil {
		return nil
	}
	var list []*way
	routes := b.Routes() // of all prefixes or of none
	for i, p := range b.remotePrefixes() {
		w := &way{KernelRoute{Prefix: p}, c, len(routes) > 0}
		if w.ours {
			w.KernelRoute = routes[i]
		}
		list = append(list, w)
	}
	return list
}

// compareClaims orders claims by selector, and those to one selector by right.
func compareClaims(a, b *claim) int {
	return cmp.Or(ipsec.Selector.Compare(a.Selector, b.Selector),
		cmp.Compare(b.by.basis.state.entitlement(), a.by.basis.state.entitlement()),
		compareSeniority(a.by, b.by))
}

// compareSeniority puts the earlier connection first; of peers with addresses of
// a pool, which come after those that have theirs by the file, the later one,
// which has it now.
func compareSeniority(a, b *conn) int {
	pool := func(c *conn) string {
		if !c.basis.FromPool {
			return ""
		}
		return "of " + c.basis.Virtual
	}
	if p := pool(a); p != "" && p == pool(b) {
		return cmp.Compare(b.seq, a.seq)
	}
	return cmp.Or(cmp.Compare(pool(a), pool(b)), cmp.Compare(a.seq, b.seq))
}

// compareWays orders ways by prefix, and those of one prefix by the age of their
// connections.
func compareWays(a, b *way) int {
	return cmp.Or(comparePrefixes(a.Prefix, b.Prefix), cmp.Compare(a.by.seq, b.by.seq))
}

// claimTo returns the policy that has a selector: of several claims to it, that of
// the most entitled connection; the others are eclipsed (freeswan.md 5.5).
func (s stakes) claimTo(sel ipsec.Selector) (ipsec.Policy, bool) {
	i, ok := slices.BinarySearchFunc(s.claims, sel, func(x *claim, sel ipsec.Selector) int { return ipsec.Selector.Compare(x.Selector, sel) })
	if !ok {
		return ipsec.Policy{}, false
	}
	return s.claims[i].Policy, true
}

// policies lists those of all selectors.
func (s stakes) policies() []ipsec.Policy {
	list := make([]ipsec.Policy, 0, len(s.claims))
	for _, x := range s.claims {
		if n := len(list); n == 0 || list[n-1].Selector != x.Selector {
			list = append(list, x.Policy)
		}
	}
	return list
}

// to lists the ways to a prefix.
func (s stakes) to(p netip.Prefix) []*way {
	i, _ := slices.BinarySearchFunc(s.ways, p, func(x *way, p netip.Prefix) int { return comparePrefixes(x.Prefix, p) })
	n := i
	for n < len(s.ways) && s.ways[n].Prefix == p {
		n++
	}
	return s.ways[i:n]
}

// routeTo returns the route that we set up to a prefix, if we do: that of the
// earliest connection.
func (s stakes) routeTo(p netip.Prefix) (KernelRoute, bool) {
	for _, x := range s.to(p) {
		if x.ours {
			return x.KernelRoute, true
		}
	}
	return KernelRoute{}, false
}

// kernelRoutes lists those to all prefixes.
func (s stakes) kernelRoutes() []KernelRoute {
	list := make([]KernelRoute, 0, len(s.ways))
	for _, x := range s.ways {
		if n := len(list); x.ours && (n == 0 || list[n-1].Prefix != x.Prefix) {
			list = append(list, x.KernelRoute)
		}
	}
	return list
}
