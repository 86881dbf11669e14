package klips

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/gaissmai/bart"

	"cygnet/internal/ipsec"
)

// effort walks as lookup does, and counts the rules and prefixes that it meets.
func (s *snapshot) effort(f ipsec.Flow) (found *entry, steps int) {
	src, _ := s.sources.Lookup(f.Src)
	for ; src != nil; src = src.parent {
		dst, _ := src.destinations.Lookup(f.Dst)
		for steps++; dst != nil; dst = dst.parent {
			steps++
			for _, e := range dst.rules {
				if steps++; e.policy.Selector.Contains(f) {
					return e, steps
				}
			}
		}
	}
	return nil, steps
}

// tunnels makes an SPD of n eroutes from one net of ours to n nets of peers,
// beside one from everywhere to a net that covers them all.
func tunnels(t testing.TB, n int) *snapshot {
	want := []ipsec.Policy{{Selector: ipsec.Selector{Src: netip.MustParsePrefix("0.0.0.0/0"), Dst: netip.MustParsePrefix("10.0.0.0/8")}, Action: ipsec.Drop}}
	for i := range n {
		want = append(want, ipsec.Policy{
			Selector: ipsec.Selector{Src: netip.MustParsePrefix("10.1.0.0/24"), Dst: netip.PrefixFrom(numbered(i), 24)},
			Action:   ipsec.Protect, Bundle: []ipsec.SAID{{Dst: netip.MustParseAddr("192.0.2.1"), Proto: ipsec.ESP, SPI: ipsec.SPI(0x1000 + i)}},
		})
	}
	s, err := newSnapshot(want, &snapshot{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// numbered is the first address of the i-th /24 from 10.2.0.0 on.
func numbered(i int) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], 0x0a020000+uint32(i)<<8)
	return netip.AddrFrom4(b)
}

// R1.8, R1.7: what a lookup costs does not depend on how many connections there
// are: of one, ten, a thousand or ten thousand it looks at the same number. (The
// tries under it go by the octets of an address, of which there are four.)
// BenchmarkLookup shows the same in nanoseconds.
func TestLookupCostsTheSame(t *testing.T) {
	costs := map[int]int{}
	for _, n := range []int{1, 10, 1000, 10000} {
		s := tunnels(t, n)
		for _, i := range []int{0, n / 2, n - 1} {
			f := ipsec.Flow{Src: netip.MustParseAddr("10.1.0.10"), Dst: numbered(i).Next(), Proto: 6, SrcPort: 40000, DstPort: 443}
			e, steps := s.effort(f)
			if e == nil || e != s.lookup(f) || int(e.policy.Bundle[0].SPI) != 0x1000+i {
				t.Fatalf("of %d tunnels, %s finds %+v", n, f, e)
			}
			costs[n] = max(costs[n], steps)
		}
		if miss, steps := s.effort(ipsec.Flow{Src: netip.MustParseAddr("10.1.0.10"), Dst: netip.MustParseAddr("203.0.113.1")}); miss != nil || steps > 4 {
			t.Errorf("of %d tunnels, a flow without one costs %d steps", n, steps)
		}
	}
	for n, c := range costs {
		if c != costs[1] {
			t.Errorf("a lookup among %d costs %d steps, and in one %d", n, c, costs[1])
		}
	}
}

// R1.7: and a flow in one of ten tunnels looks up the SPD once, as it does with
// a single tunnel: its further packets find their policy without it.
func TestFlowsLookUpOnce(t *testing.T) {
	for _, n := range []int{1, 10} {
		s, c := tunnels(t, n), flowCache{}
		p := &Plane{}
		keys := make([]key, n)
		for i := range keys {
			packet, _ := parse(udp(netip.MustParseAddrPort("10.1.0.10:40000"), netip.AddrPortFrom(numbered(i).Next(), 443), 100))
			keys[i] = packet.key
			if c.find(p, s, &keys[i]) == nil {
				t.Fatal("no policy")
			}
		}
		s.sources = bart.Table[*source]{} // who looks here again finds nothing
		for i := range keys {
			for range 100 {
				if e := c.find(p, s, &keys[i]); e == nil || int(e.policy.Bundle[0].SPI) != 0x1000+i {
					t.Fatalf("of %d flows, #%d was looked up again", n, i)
				}
			}
		}
	}
}
