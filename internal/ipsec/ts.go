package ipsec

import (
	"fmt"
	"net/netip"
)

// Prefixes returns the fewest prefixes that together cover exactly the
// addresses of t, in order: one for a subnet, up to 62 (IPv4) or 254 (IPv6)
// for the oddest range. It is nil when Start comes after End or the families
// differ.
func (t TS) Prefixes() []netip.Prefix {
	var out []netip.Prefix
	if t.Start.Is4() != t.End.Is4() {
		return nil
	}
	for from := t.Start; !t.End.Less(from); {
		p := widest(from, t.End)
		out = append(out, p)
		from = lastOf(p).Next()
		if !from.IsValid() { // past the last address there is
			break
		}
	}
	return out
}

// widest is the largest prefix that begins at from and does not pass end.
func widest(from, end netip.Addr) netip.Prefix {
	best := netip.PrefixFrom(from, from.BitLen())
	for bits := from.BitLen() - 1; bits >= 0; bits-- {
		p := netip.PrefixFrom(from, bits)
		if p.Masked().Addr() != from || end.Less(lastOf(p)) {
			break
		}
		best = p
	}
	return best
}

// lastOf is the last address of a prefix.
func lastOf(p netip.Prefix) netip.Addr { return TSOf(p, 0, Ports{}).End }

// String is like 10.1.0.0/16, 10.0.0.1-10.0.0.9 or 10.1.0.1/32:80 proto 6.
func (t TS) String() string {
	s := t.Start.String() + "-" + t.End.String()
	if t.Start.IsValid() && t.Start.Is4() == t.End.Is4() {
		if p := widest(t.Start, t.End); lastOf(p) == t.End {
			s = p.String()
		}
	}
	s += t.Ports.suffix()
	if t.Proto != 0 {
		s += fmt.Sprintf(" proto %d", t.Proto)
	}
	return s
}
