package connection

import (
	"cmp"
	"slices"

	"cygnet/internal/ipsec"
)

// merged completes the policies of connections by those of flows that have
// failed or wait, and of rules. Both lists are by selector. Where several want
// the same selector, a connection comes first, then a flow, then a rule
// (opportunistic.md 2.4).
func (t *Table) merged(conns []ipsec.Policy) []ipsec.Policy {
	if t.oe.rules == nil {
		return conns
	}
	var wide []ipsec.Policy // of connections with any source
	for _, p := range conns {
		if p.Selector.Src.Bits() == 0 {
			wide = append(wide, p)
		}
	}
	beside := func(s ipsec.Selector) bool {
		return slices.ContainsFunc(wide, func(p ipsec.Policy) bool { return within(s.Dst, p.Selector.Dst) })
	}
	first := mergeSorted(conns, t.flowPolicies())
	rules := make([]ipsec.Policy, 0, len(t.oe.rules.plain))
	for _, p := range t.oe.rules.plain {
		if !p.beside || !beside(p.Selector) {
			rules = append(rules, p.Policy)
		}
	}
	return mergeSorted(first, rules)
}

// mergeSorted merges two lists by selector; a wins over b.
func mergeSorted(a, b []ipsec.Policy) []ipsec.Policy {
	if len(b) == 0 {
		return a
	}
	list := make([]ipsec.Policy, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		switch c := ipsec.Selector.Compare(a[0].Selector, b[0].Selector); {
		case c < 0:
			list, a = append(list, a[0]), a[1:]
		case c > 0:
			list, b = append(list, b[0]), b[1:]
		default:
			b = b[1:]
		}
	}
	return append(append(list, a...), b...)
}

// flowPolicies are the policies of flows without a tunnel, by selector. Packets
// that wait are held by the trap of their rule.
func (t *Table) flowPolicies() []ipsec.Policy {
	var list []ipsec.Policy
	for _, f := range t.oe.flows {
		a, ok := f.action()
		if ok {
			list = append(list, ipsec.Policy{Selector: f.sel, Action: a, Owner: f.rule.name, ClearIn: !f.rule.Strict()})
		}
	}
	slices.SortFunc(list, func(a, b ipsec.Policy) int { return ipsec.Selector.Compare(a.Selector, b.Selector) })
	return list
}

// action is what befalls the packets of a flow, if that is not what its rule
// says or a tunnel carries them.
func (f *flow) action() (ipsec.Action, bool) {
	switch {
	case f.waits() && f.ours && f.rule.Hold == ipsec.Pass:
		return ipsec.Pass, true
	case f.settled():
		return f.rule.verdict(f.failed.kind), true
	}
	return 0, false
}

// clearIn reports whether the peer of a connection may still send in the clear:
// it has a moment to switch to a new tunnel, where the group lets clear packets
// in at all (opportunistic.md 2.7).
func (t *Table) clearIn(c *conn) bool {
	return c.flow != nil && !c.flow.rule.Strict() && t.now.Before(c.flow.since.Add(clearGrace))
}

// mergeRoutes adds the routes of rules to those of connections; both are by
// prefix.
func mergeRoutes(a, b []KernelRoute) []KernelRoute {
	var list []KernelRoute
	for len(a) > 0 && len(b) > 0 {
		switch c := cmp.Compare(comparePrefixes(a[0].Prefix, b[0].Prefix), 0); {
		case c < 0:
			list, a = append(list, a[0]), a[1:]
		case c > 0:
			list, b = append(list, b[0]), b[1:]
		default:
			b = b[1:]
		}
	}
	return append(append(list, a...), b...)
}
