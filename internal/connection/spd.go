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

// desired is the whole SPD. Of several claims to one selector the most
// entitled wins; the others are eclipsed (freeswan.md 5.5).
func (t *Table) desired() []ipsec.Policy {
	t.stake()
	list := make([]ipsec.Policy, 0, len(t.staked))
	for _, c := range t.staked {
		if n := len(list); n == 0 || list[n-1].Selector != c.Selector {
			list = append(list, c.Policy)
		}
	}
	return t.merged(mergeSorted(list, t.restingPolicies(list)))
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

// desiredRoutes is the whole set of routes, by prefix.
func (t *Table) desiredRoutes() []KernelRoute {
	t.stake()
	if t.ways == nil {
		t.ways = t.connRoutes()
	}
	list := mergeRoutes(t.ways, t.restingRoutes())
	if t.oe.rules == nil {
		return list
	}
	return mergeRoutes(list, t.oe.rules.routes)
}

// connRoutes are the routes of connections. One whose own script routes has none
// here.
func (t *Table) connRoutes() []KernelRoute {
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
	list := []KernelRoute{}
	for _, w := range wants {
		list = append(list, w.KernelRoute)
	}
	return list
}
