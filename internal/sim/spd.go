package sim

import (
	"cmp"
	"net/netip"
	"slices"

	"cygnet/internal/ipsec"
)

// spd is the outbound SPD of a plane, by destination: a packet has few prefixes
// that it could be for, whatever the number of policies.
type spd struct {
	to      map[netip.Prefix][]ipsec.Policy // best first, see better
	lengths [129]int                        // how many policies have a destination so long
	size    int
}

// better orders policies by rank; of those of one rank the lower selector is first.
func better(a, b ipsec.Policy) int {
	return cmp.Or(cmp.Compare(rank(b.Selector), rank(a.Selector)), a.Selector.Compare(b.Selector))
}

// rank orders selectors: the longer source first, then the longer destination,
// then protocol and ports (freeswan.md 5.4).
func rank(s ipsec.Selector) int {
	r := (s.Src.Bits()*256 + s.Dst.Bits()) * 8
	if s.Proto != 0 {
		r += 4
	}
	if !s.SrcPorts.Any() {
		r++
	}
	if !s.DstPorts.Any() {
		r++
	}
	return r
}

// set adds a policy, or replaces that of the same selector.
func (s *spd) set(p ipsec.Policy) {
	if s.to == nil {
		s.to = map[netip.Prefix][]ipsec.Policy{}
	}
	list := s.to[p.Selector.Dst]
	i, have := slices.BinarySearchFunc(list, p, better)
	if have {
		list[i] = p
		return
	}
	s.to[p.Selector.Dst] = slices.Insert(list, i, p)
	s.lengths[p.Selector.Dst.Bits()]++
	s.size++
}

// remove takes away the policy of a selector.
func (s *spd) remove(sel ipsec.Selector) {
	list := s.to[sel.Dst]
	i, have := slices.BinarySearchFunc(list, ipsec.Policy{Selector: sel}, better)
	if !have {
		return
	}
	s.lengths[sel.Dst.Bits()]--
	s.size--
	if list = slices.Delete(list, i, i+1); len(list) > 0 {
		s.to[sel.Dst] = list
	} else {
		delete(s.to, sel.Dst)
	}
}

// find returns the policy for a packet: the best of those that match it.
func (s *spd) find(f ipsec.Flow) (best ipsec.Policy, ok bool) {
	for n, count := range s.lengths {
		if count == 0 {
			continue
		}
		dst, err := f.Dst.Prefix(n)
		if err != nil {
			continue
		}
		list := s.to[dst]
		if i := slices.IndexFunc(list, func(p ipsec.Policy) bool { return p.Selector.Contains(f) }); i >= 0 && (!ok || better(list[i], best) < 0) {
			best, ok = list[i], true
		}
	}
	return best, ok
}

// all lists the policies by selector.
func (s *spd) all() []ipsec.Policy {
	list := make([]ipsec.Policy, 0, s.size)
	for _, some := range s.to {
		list = append(list, some...)
	}
	slices.SortFunc(list, func(a, b ipsec.Policy) int { return a.Selector.Compare(b.Selector) })
	return list
}

// ranked lists them in the order in which they are tried.
func (s *spd) ranked() []ipsec.Policy {
	list := s.all()
	slices.SortFunc(list, better)
	return list
}

// reverse is a packet of the answering direction.
func reverse(f ipsec.Flow) ipsec.Flow {
	f.Src, f.Dst, f.SrcPort, f.DstPort = f.Dst, f.Src, f.DstPort, f.SrcPort
	return f
}
