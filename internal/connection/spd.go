package connection

import (
	"cmp"
	"net/netip"
	"slices"

	"cygnet/internal/ipsec"
)

// settle tells what SPD and routes must be, if that has changed. Policies come
// first: a route never leads into a device before its policy is there.
func (t *Table) settle() {
	if !t.dirty || t.batching {
		return
	}
	t.settleSPD()
	t.dirty = false
	if want := t.desiredRoutes(); !slices.Equal(want, t.routes) {
		t.routes = want
		t.do(Routes{slices.Clone(want)})
	}
}

func (t *Table) settleSPD() {
	if want := t.desired(); !slices.EqualFunc(want, t.policies, samePolicy) {
		t.policies = want
		t.do(Policies{slices.Clone(want)})
	}
}

func samePolicy(a, b ipsec.Policy) bool {
	return a.Selector == b.Selector && a.Action == b.Action && a.Owner == b.Owner && a.ClearIn == b.ClearIn && slices.Equal(a.Bundle, b.Bundle)
}

// claim is one policy that a connection would like, and its right to it.
type claim struct {
	ipsec.Policy
	by *conn
}

// desired is the whole SPD. Of several claims to one selector the most
// entitled wins; the others are eclipsed (freeswan.md 5.5).
func (t *Table) desired() []ipsec.Policy {
	var claims []claim
	for _, c := range t.conns {
		claims = append(claims, t.claims(c)...)
	}
	slices.SortStableFunc(claims, func(a, b claim) int {
		return cmp.Or(compareSelectors(a.Selector, b.Selector),
			cmp.Compare(b.by.state.entitlement(), a.by.state.entitlement()),
			compareSeniority(a.by, b.by))
	})
	claims = slices.CompactFunc(claims, func(a, b claim) bool { return a.Selector == b.Selector })
	list := make([]ipsec.Policy, len(claims))
	for i, c := range claims {
		list[i] = c.Policy
	}
	return t.merged(mergeSorted(list, t.restingPolicies(list)))
}

// compareSeniority puts the earlier connection first; of two peers with an
// address of a pool the later one, which has it now.
func compareSeniority(a, b *conn) int {
	if shared(a, b) {
		return cmp.Compare(b.seq, a.seq)
	}
	return cmp.Compare(a.seq, b.seq)
}

// claims lists the policies of one connection.
func (t *Table) claims(c *conn) []claim {
	if !c.state.Routed() {
		return nil
	}
	var list []claim
	seen := map[ipsec.Selector]bool{}
	add := func(s ipsec.Selector, a ipsec.Action, bundle []ipsec.SAID) {
		if !seen[s] {
			seen[s] = true
			list = append(list, claim{ipsec.Policy{Selector: s, Action: a, Bundle: bundle, Owner: c.key().owner(), ClearIn: t.clearIn(c)}, c})
		}
	}
	if ch := c.using(); c.state == Erouted && ch != nil {
		for _, s := range product(ch.up.TSLocal, ch.up.TSRemote) {
			add(s, ipsec.Protect, ch.up.Outs())
		}
	}
	for _, s := range c.Selectors() { // what a narrowed SA does not cover is dropped
		add(s, c.action(c.state), nil)
	}
	return list
}

func compareSelectors(a, b ipsec.Selector) int {
	return cmp.Or(
		comparePrefixes(a.Src, b.Src), comparePrefixes(a.Dst, b.Dst), cmp.Compare(a.Proto, b.Proto),
		cmp.Compare(a.SrcPorts.Lo, b.SrcPorts.Lo), cmp.Compare(a.SrcPorts.Hi, b.SrcPorts.Hi),
		cmp.Compare(a.DstPorts.Lo, b.DstPorts.Lo), cmp.Compare(a.DstPorts.Hi, b.DstPorts.Hi))
}

func comparePrefixes(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

// desiredRoutes is the whole set of routes, by prefix. A connection whose own
// script routes has none here.
func (t *Table) desiredRoutes() []KernelRoute {
	type want struct {
		KernelRoute
		by *conn
	}
	var wants []want
	for _, c := range t.conns {
		if !c.state.Routed() || c.Stranger != nil { // the routes of groups carry those
			continue
		}
		for _, r := range c.Routes() {
			wants = append(wants, want{r, c})
		}
	}
	slices.SortStableFunc(wants, func(a, b want) int {
		return cmp.Or(comparePrefixes(a.Prefix, b.Prefix), cmp.Compare(a.by.seq, b.by.seq))
	})
	wants = slices.CompactFunc(wants, func(a, b want) bool { return a.Prefix == b.Prefix })
	var list []KernelRoute
	for _, w := range wants {
		list = append(list, w.KernelRoute)
	}
	list = mergeRoutes(list, t.restingRoutes())
	if t.oe.rules == nil {
		return list
	}
	return mergeRoutes(list, t.oe.rules.routes)
}
