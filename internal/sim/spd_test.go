package sim

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"cygnet/internal/ipsec"
)

// randomSelector is one of a few hundred, so that they overlap and recur.
func randomSelector(r *rand.Rand) ipsec.Selector {
	net := func() netip.Prefix {
		if r.IntN(6) == 0 {
			return netip.PrefixFrom(netip.MustParseAddr("2001:db8::"), []int{0, 32, 128}[r.IntN(3)]).Masked()
		}
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(r.IntN(2)), 0, byte(r.IntN(2))}), []int{0, 8, 16, 24, 32}[r.IntN(5)]).Masked()
	}
	s := ipsec.Selector{Src: net(), Dst: net()}
	if r.IntN(2) == 0 {
		s.Proto = 17
		if r.IntN(2) == 0 {
			s.DstPorts = ipsec.Ports{Lo: uint16(1 + r.IntN(3)), Hi: 3}
		}
	}
	return s
}

// The policy that is found for a packet is the first that matches it of the list in
// order, whatever was set and removed before.
func TestSPDFindsTheBest(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var s spd
	list := map[ipsec.Selector]ipsec.Policy{}
	hits := 0
	for range 1000 {
		sel := randomSelector(r)
		if r.IntN(3) == 0 {
			s.remove(sel)
			delete(list, sel)
		} else {
			p := ipsec.Policy{Selector: sel, Action: []ipsec.Action{ipsec.Pass, ipsec.Drop, ipsec.Trap}[r.IntN(3)], Owner: "x"}
			s.set(p)
			list[sel] = p
		}
		like := randomSelector(r)
		f := ipsec.Flow{Src: like.Src.Addr(), Dst: like.Dst.Addr(), Proto: like.Proto, DstPort: uint16(r.IntN(4))}
		var matching []ipsec.Policy
		for _, p := range list {
			if p.Selector.Contains(f) {
				matching = append(matching, p)
			}
		}
		got, ok := s.find(f)
		if ok != (len(matching) > 0) {
			t.Fatalf("%s finds %v, %v of %v", f, got, ok, matching)
		}
		if !ok {
			continue
		}
		hits++
		if best := slices.MinFunc(matching, better); got.Selector != best.Selector || got.Action != best.Action {
			t.Fatalf("%s finds %v of %v", f, got, matching)
		}
	}
	if n := len(s.ranked()); s.size != len(list) || n != len(list) {
		t.Errorf("%d policies, %d listed, want %d", s.size, n, len(list))
	}
	if hits < 300 {
		t.Errorf("only %d packets had a policy", hits)
	}
}
