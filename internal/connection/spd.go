package connection

import (
	"cmp"
	"net/netip"
	"slices"

	"cygnet/internal/ipsec"
)

// settle tells what has changed in what SPD and routes must be. Policies come
// first: a route never leads into a device before its policy is there.
func (t *Table) settle() {
	if !t.dirty || t.batching {
		return
	}
	t.settleSPD()
	t.dirty = false
	if c := t.routes.update(routeOrder, t.beside(), t.desiredRoutes, t.staked.routeTo); !c.empty() {
		t.do(Routes{c.gone, c.set})
	}
}

func (t *Table) settleSPD() {
	t.stake()
	if c := t.spd.update(spdOrder, t.beside(), t.desired, t.staked.claimTo); !c.empty() {
		t.do(Policies{c.gone, c.set})
	}
}

// beside reports whether SPD and routes have more in them than connections claim.
func (t *Table) beside() bool { return t.oe.rules != nil || len(t.resting) > 0 }

func samePolicy(a, b ipsec.Policy) bool {
	return a.Selector == b.Selector && a.Action == b.Action && a.Owner == b.Owner && a.ClearIn == b.ClearIn && slices.Equal(a.Bundle, b.Bundle)
}

// desired is the whole SPD.
func (t *Table) desired() []ipsec.Policy {
	list := t.staked.policies()
	return t.merged(mergeSorted(list, t.restingPolicies(list)))
}

// desiredRoutes is the whole set of routes, by prefix.
func (t *Table) desiredRoutes() []KernelRoute {
	list := mergeRoutes(t.staked.kernelRoutes(), t.restingRoutes())
	if t.oe.rules == nil {
		return list
	}
	return mergeRoutes(list, t.oe.rules.routes)
}

func comparePrefixes(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}
