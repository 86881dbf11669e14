package ikev2

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"cygnet/internal/ipsec"
)

// A small world in which every packet can be tried: 16 addresses, 4 ports, two
// protocols.
type packet struct {
	addr  netip.Addr
	proto uint8
	port  uint16
}

func packets() (all []packet) {
	for a := range 16 {
		for _, proto := range []uint8{6, 17} {
			for port := range uint16(4) {
				all = append(all, packet{netip.AddrFrom4([4]byte{10, 0, 0, byte(a)}), proto, port + 1})
			}
		}
	}
	return all
}

func (p packet) in(list []ipsec.TS) bool {
	for _, t := range list {
		if !p.addr.Less(t.Start) && !t.End.Less(p.addr) && (t.Proto == 0 || t.Proto == p.proto) && t.Ports.Contains(p.port) {
			return true
		}
	}
	return false
}

func randomTS(r *rand.Rand) (list []ipsec.TS) {
	for range 1 + r.IntN(3) {
		a, b := r.IntN(16), r.IntN(16)
		if a > b {
			a, b = b, a
		}
		t := ipsec.TS{Start: netip.AddrFrom4([4]byte{10, 0, 0, byte(a)}), End: netip.AddrFrom4([4]byte{10, 0, 0, byte(b)})}
		if r.IntN(2) == 0 {
			t.Proto = 6
		}
		if r.IntN(2) == 0 {
			lo, hi := uint16(1+r.IntN(4)), uint16(1+r.IntN(4))
			if lo > hi {
				lo, hi = hi, lo
			}
			t.Ports = ipsec.Ports{Lo: lo, Hi: hi}
		}
		list = append(list, t)
	}
	return list
}

// TestSelectorsModel compares intersection and coverage with trying every
// packet.
func TestSelectorsModel(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	all := packets()
	covers := 0
	for range 20000 {
		a, b := randomTS(r), randomTS(r)
		x := intersect(a, b)
		subset := true
		for _, p := range all {
			if p.in(x) != (p.in(a) && p.in(b)) {
				t.Fatalf("%v in %s and %s, intersection %s", p, textOf(a), textOf(b), textOf(x))
			}
			if p.in(a) && !p.in(b) {
				subset = false
			}
		}
		if covered(a, b) {
			covers++
			if !subset {
				t.Fatalf("%s is said to cover %s", textOf(b), textOf(a))
			}
		}
		if !covered(x, a) || !covered(x, b) {
			t.Fatalf("the intersection %s is not within %s and %s", textOf(x), textOf(a), textOf(b))
		}
	}
	if covers < 500 {
		t.Errorf("only %d of the random lists cover one another", covers)
	}
}

func TestCoverage(t *testing.T) {
	ts := func(texts ...string) (out []ipsec.TS) {
		for _, x := range texts {
			out = append(out, parseTS(x)...)
		}
		return out
	}
	port := func(lo, hi uint16) []ipsec.TS {
		x := ts("10.0.0.0/24")[0]
		x.Proto, x.Ports = 6, ipsec.Ports{Lo: lo, Hi: hi}
		return []ipsec.TS{x}
	}
	for _, c := range []struct {
		name         string
		inner, outer []ipsec.TS
		want         bool
	}{
		{"two halves are the whole", ts("10.0.0.0/24"), ts("10.0.0.0/25", "10.0.0.128/25"), true},
		{"one half is not", ts("10.0.0.0/24"), ts("10.0.0.0/25"), false},
		{"ports meet", port(10, 30), append(port(1, 20), port(21, 65535)...), true},
		{"a port is missing", port(10, 30), append(port(1, 20), port(22, 65535)...), false},
		{"one protocol of any", port(1, 2), ts("10.0.0.0/8"), true},
		{"any of one protocol", ts("10.0.0.0/24"), port(0, 0xffff), false},
		{"families", ts("10.0.0.0/24"), ts("::/0"), false},
		{"all of IPv6", ts("2001:db8::/32"), ts("::/0"), true},
		{"nothing is in anything", nil, nil, true},
	} {
		if got := covered(c.inner, c.outer); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// Selectors that a data plane could not keep are refused, not cut.
func TestSelectorLimit(t *testing.T) {
	odd := ipsec.TS{Start: netip.MustParseAddr("0.0.0.1"), End: netip.MustParseAddr("255.255.255.254")}
	s := sides{local: []ipsec.TS{odd}, remote: []ipsec.TS{odd}}
	if all, ok := s.selectors(); !ok || len(all) != 62*62 {
		t.Errorf("%d selectors, %v", len(all), ok)
	}
	s.remote = append(s.remote, odd)
	if _, ok := s.selectors(); ok {
		t.Error("more than the limit")
	}
	s = sides{local: parseTS("10.0.0.0/8"), remote: parseTS("::/0")}
	if _, ok := s.selectors(); ok {
		t.Error("two families have no packet in common")
	}
	tcp, udp := parseTS("10.0.0.0/8"), parseTS("10.0.0.0/8")
	tcp[0].Proto, udp[0].Proto = 6, 17
	if _, ok := (sides{local: tcp, remote: udp}).selectors(); ok {
		t.Error("no packet has two protocols")
	}
}
