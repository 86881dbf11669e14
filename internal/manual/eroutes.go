package manual

import (
	"fmt"
	"slices"

	"cygnet/internal/ipsec"
)

// AddEroute adds an eroute, or with replace puts it in the place of one that
// was made by hand. Its SA need not exist: until it does, packets are dropped.
func (t Table) AddEroute(s ipsec.Selector, target ipsec.SAID, replace bool, w World) (Table, Change, error) {
	if err := checkTarget(target); err != nil {
		return t, Change{}, err
	}
	t = t.clone()
	i := t.erouteOf(s)
	if i >= 0 && replace {
		t.eroutes[i].target = target
		return t, Change{}, nil
	}
	if owner, used := t.claimed(s, w); used {
		return t, Change{}, fmt.Errorf("%w%s", ErrErouteInUse, of(owner))
	}
	t.eroutes = append(t.eroutes, eroute{s, target})
	return t, Change{}, nil
}

// DeleteEroute deletes an eroute that was made by hand; those of connections go
// with them.
func (t Table) DeleteEroute(s ipsec.Selector, w World) (Table, Change, error) {
	i := t.erouteOf(s)
	if i < 0 {
		if owner, used := t.claimed(s, w); used {
			return t, Change{}, fmt.Errorf("this eroute is connection %q's: take that down", owner)
		}
		return t, Change{}, ErrNoEroute
	}
	t = t.clone()
	t.eroutes = slices.Delete(t.eroutes, i, i+1)
	return t, Change{}, nil
}

// ClearEroutes deletes all eroutes that were made by hand.
func (t Table) ClearEroutes() (Table, Change) {
	t = t.clone()
	t.eroutes = nil
	return t, Change{}
}

func (t Table) erouteOf(s ipsec.Selector) int {
	return slices.IndexFunc(t.eroutes, func(e eroute) bool { return e.selector == s })
}

// claimed reports whether exactly that selector is used, and by which
// connection. The drop of a connection by hand that is down is in nobody's way
// (R17.3).
func (t Table) claimed(s ipsec.Selector, w World) (owner string, used bool) {
	if t.erouteOf(s) >= 0 {
		return "", true
	}
	for _, c := range t.conns {
		for _, p := range c.plan.Policies {
			if c.up && p.Selector == s {
				return p.Owner, true
			}
		}
	}
	for _, p := range w.Policies {
		if p.Selector == s {
			return p.Owner, true
		}
	}
	return "", false
}

// shunts are the magic SAs that an eroute may name.
var shunts = []ipsec.Action{ipsec.Pass, ipsec.Drop, ipsec.Reject, ipsec.Hold, ipsec.Trap}

func shuntOf(id ipsec.SAID) (ipsec.Action, bool) {
	if id.Proto == ipsec.Tun && id.SPI == 0 { // %passthrough
		return ipsec.Pass, true
	}
	for _, a := range shunts {
		if id.Proto == ipsec.Int && a.SAID().SPI == id.SPI {
			return a, true
		}
	}
	return ipsec.Drop, false
}

func checkTarget(id ipsec.SAID) error {
	if _, shunt := shuntOf(id); shunt {
		return nil
	}
	if id.Proto == ipsec.Int {
		return fmt.Errorf("%s is no shunt that can be set", id)
	}
	return checkSPI(id)
}

// policy is what an eroute means now.
func (t Table) policy(e eroute) ipsec.Policy {
	if a, shunt := shuntOf(e.target); shunt {
		return ipsec.Policy{Selector: e.selector, Action: a}
	}
	bundle := []ipsec.SAID{e.target}
	if g := t.group(e.target); g[0] == e.target {
		bundle = g
	}
	return ipsec.Policy{Selector: e.selector, Action: ipsec.Protect, Bundle: bundle}
}
