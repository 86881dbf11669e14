package connection

import (
	"slices"
	"testing"

	"cygnet/internal/ipsec"
)

// fromScratch is the SPD and the routes of a table in which nothing is kept from
// one change to the next.
func fromScratch(t *Table) ([]ipsec.Policy, []KernelRoute) {
	s := *t
	s.conns, s.staked = nil, stakes{}
	for _, c := range t.conns {
		one := *c
		one.basis = s.basis(c)
		s.conns = append(s.conns, &one)
	}
	s.staked = s.allClaims()
	return s.desired(), s.desiredRoutes()
}

// checkScratch holds that the SPD and the routes, which are changed bit by bit, are
// what they would be from scratch.
func (w *world) checkScratch() {
	w.t.Helper()
	t := w.table
	policies, routes := fromScratch(t)
	if !slices.EqualFunc(policies, t.spd.list, samePolicy) {
		w.t.Errorf("the SPD is\n%v\nand from scratch\n%v", t.spd.list, policies)
	}
	if !slices.Equal(routes, t.routes.list) {
		w.t.Errorf("the routes are\n%v\nand from scratch\n%v", t.routes.list, routes)
	}
}

// Of two connections with one selector the one that carries has it; when the other
// takes over, and when it is deleted, the order follows although only one of them
// has changed.
func TestStakeFollowsOneConnection(t *testing.T) {
	w := newWorld(t)
	for _, n := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"} {
		net := "10.2.0.0/24"
		if n > "c" {
			net = "10.3." + string('0'+n[0]-'d') + ".0/24"
		}
		w.add(describe(n, "10.1.0.0/24", net))
		w.step(Route{Name: n})
	}
	owner := func() string {
		i := slices.IndexFunc(w.policies, func(p ipsec.Policy) bool { return p.Selector.Dst.String() == "10.2.0.0/24" })
		if i < 0 {
			return ""
		}
		return w.policies[i].Owner
	}
	first := owner()
	for _, n := range []string{"b", "a", "c"} {
		w.step(Up{Name: n})
	}
	w.step(Delete{Name: first})
	second := owner()
	w.step(Delete{Name: second})
	if last := owner(); first == "" || first == second || second == last || last == "" {
		t.Errorf("the selector was of %q, %q and %q", first, second, last)
	}
}
