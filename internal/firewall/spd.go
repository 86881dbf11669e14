package firewall

import (
	"cmp"
	"slices"

	"cygnet/internal/ipsec"
)

// FromSPD makes a list for State.Inbound or Outbound of the policies of an
// SPD: those that drop says yes to are dropped, the others pass. It is in the
// order in which the SPD decides, the most specific source first, then the
// destination, protocol and ports (freeswan.md 5.4).
func FromSPD(spd []ipsec.Policy, drop func(ipsec.Policy) bool) []Policy {
	list := make([]Policy, len(spd))
	for i, p := range spd {
		list[i] = Policy{Selector: p.Selector, Drop: drop(p)}
	}
	slices.SortStableFunc(list, func(a, b Policy) int {
		return cmp.Or(
			cmp.Compare(b.Src.Bits(), a.Src.Bits()),
			cmp.Compare(b.Dst.Bits(), a.Dst.Bits()),
			cmp.Compare(anyProto(a.Selector), anyProto(b.Selector)),
			cmp.Compare(width(a.SrcPorts), width(b.SrcPorts)),
			cmp.Compare(width(a.DstPorts), width(b.DstPorts)))
	})
	return list
}

func anyProto(s ipsec.Selector) int {
	if s.Proto == 0 {
		return 1
	}
	return 0
}

// width is how many ports a range has; any port, which packets without ports
// have too, is the widest.
func width(p ipsec.Ports) int {
	if p.Any() {
		return 1 << 16
	}
	return int(p.Hi) - int(p.Lo) + 1
}
