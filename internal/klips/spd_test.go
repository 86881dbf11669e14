package klips

import (
	"context"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"cygnet/internal/ipsec"
)

// Few addresses, so that prefixes overlap in every way.
func drawAddr(t *rapid.T, label string, v6 bool) netip.Addr {
	x := byte(rapid.IntRange(0, 255).Draw(t, label))
	if v6 {
		return netip.AddrFrom16([16]byte{0xfd, 15: x})
	}
	return netip.AddrFrom4([4]byte{10, 0, 0, x})
}

func drawPrefix(t *rapid.T, label string, v6 bool) netip.Prefix {
	bits := rapid.SampledFrom([]int{0, 8, 24, 25, 28, 31, 32}).Draw(t, label+" bits")
	if v6 && bits > 0 {
		bits += 96
	}
	p, _ := drawAddr(t, label, v6).Prefix(bits)
	return p
}

func drawPorts(t *rapid.T, label string) ipsec.Ports {
	return rapid.SampledFrom([]ipsec.Ports{{}, {Lo: 0, Hi: 65535}, {Lo: 1, Hi: 1}, {Lo: 2, Hi: 2}, {Lo: 1, Hi: 2}, {Lo: 1, Hi: 65535}}).Draw(t, label)
}

func drawSelector(t *rapid.T) ipsec.Selector {
	v6 := rapid.Bool().Draw(t, "v6")
	s := ipsec.Selector{Src: drawPrefix(t, "src", v6), Dst: drawPrefix(t, "dst", v6)}
	if s.Proto = rapid.SampledFrom([]uint8{0, 6, 17}).Draw(t, "proto"); s.Proto != 0 {
		s.SrcPorts, s.DstPorts = drawPorts(t, "sports"), drawPorts(t, "dports")
	}
	return s
}

// better is the rule of freeswan.md 5.4 in its own words: longest source
// first, then destination, then protocol, then ports.
func better(a, b ipsec.Selector) bool {
	if a.Src.Bits() != b.Src.Bits() {
		return a.Src.Bits() > b.Src.Bits()
	}
	if a.Dst.Bits() != b.Dst.Bits() {
		return a.Dst.Bits() > b.Dst.Bits()
	}
	if (a.Proto != 0) != (b.Proto != 0) {
		return a.Proto != 0
	}
	for _, p := range [][2]ipsec.Ports{{a.SrcPorts, b.SrcPorts}, {a.DstPorts, b.DstPorts}} {
		if x, y := width(p[0]), width(p[1]); x != y {
			return x < y
		}
	}
	return false
}

// TestLookupAgainstModel compares the tries with a search through all
// policies, for random SPDs and packets, fragments included.
// R2.8: the most specific policy decides.
func TestLookupAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var want []ipsec.Policy
		for range rapid.IntRange(0, 40).Draw(t, "policies") {
			p := ipsec.Policy{Selector: normal(drawSelector(t)), Action: ipsec.Drop}
			if !slices.ContainsFunc(want, func(q ipsec.Policy) bool { return q.Selector == p.Selector }) {
				want = append(want, p)
			}
		}
		s, err := newSnapshot(want, &snapshot{})
		if err != nil {
			t.Fatal(err)
		}
		for range 50 {
			v6 := rapid.Bool().Draw(t, "packet v6")
			f := ipsec.Flow{Src: drawAddr(t, "from", v6), Dst: drawAddr(t, "to", v6),
				Proto: rapid.SampledFrom([]uint8{1, 6, 17}).Draw(t, "of"), Fragment: rapid.Bool().Draw(t, "fragment")}
			if !f.Fragment {
				f.SrcPort, f.DstPort = uint16(rapid.IntRange(0, 3).Draw(t, "sport")), uint16(rapid.IntRange(0, 3).Draw(t, "dport"))
			}
			var best *ipsec.Policy
			for i := range want {
				if want[i].Selector.Contains(f) && (best == nil || better(want[i].Selector, best.Selector)) {
					best = &want[i]
				}
			}
			got := s.lookup(f)
			switch {
			case (got == nil) != (best == nil):
				t.Fatalf("%s: got %v, want %v", f, got, best)
			case got != nil && better(best.Selector, got.policy.Selector):
				t.Fatalf("%s: got %s, want %s", f, got.policy.Selector, best.Selector)
			case got != nil && !got.policy.Selector.Contains(f):
				t.Fatalf("%s: got %s, which does not match", f, got.policy.Selector)
			}
		}
	})
}

// TestSourceFirst is the consequence that freeswan.md 5.4 wants tested.
func TestSourceFirst(t *testing.T) {
	s, err := newSnapshot([]ipsec.Policy{
		{Selector: ipsec.Selector{Src: netip.MustParsePrefix("10.1.0.5/32"), Dst: netip.MustParsePrefix("0.0.0.0/0")}, Owner: "extruded"},
		{Selector: ipsec.Selector{Src: netip.MustParsePrefix("10.1.0.0/24"), Dst: netip.MustParsePrefix("10.2.0.7/32")}, Owner: "net"},
	}, &snapshot{})
	if err != nil {
		t.Fatal(err)
	}
	e := s.lookup(ipsec.Flow{Src: inner4[0], Dst: inner4[1], Proto: 17})
	if e == nil || e.policy.Owner != "extruded" {
		t.Errorf("got %+v", e)
	}
}

func TestBadPolicies(t *testing.T) {
	p := New(Options{})
	defer p.Close()
	net4, net6 := netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")
	good := ipsec.Policy{Selector: ipsec.Selector{Src: net4, Dst: net4}}
	if err := p.SetPolicies(context.Background(), []ipsec.Policy{good}); err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]ipsec.Policy{
		"no selector":   {{}},
		"two families":  {{Selector: ipsec.Selector{Src: net4, Dst: net6}}},
		"no bundle":     {{Selector: good.Selector, Action: ipsec.Protect}},
		"same selector": {good, good},
		"ports":         {{Selector: ipsec.Selector{Src: net4, Dst: net4, Proto: 6, SrcPorts: ipsec.Ports{Lo: 2, Hi: 1}}}},
	} {
		if err := p.SetPolicies(context.Background(), bad); err == nil {
			t.Errorf("%s: accepted", name)
		}
		if got := p.Policies(); len(got) != 1 || got[0].Selector != good.Selector {
			t.Errorf("%s: the old SPD is gone: %+v", name, got)
		}
	}
}
