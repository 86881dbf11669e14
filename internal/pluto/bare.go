package pluto

import (
	"cmp"
	"net/netip"
	"slices"

	"cygnet/internal/firewall"
	"cygnet/internal/ipsec"
)

// IPv6 in IP, beside ipsec.Tun, which is IPv4 in IP.
const protoIPv6 = 41

// bare lists what the packet filter must let pass between the ends of SAs that
// have neither ESP nor AH around them: IP-in-IP, and IPComp with the packets
// that do not shrink (RFC 3173 section 2.2). A policy between the gateways
// themselves would otherwise take them for clear packets. ESP and AH pass by
// themselves.
func bare(sas []ipsec.SAStatus) []firewall.Policy {
	var list []firewall.Policy
	for _, s := range sas {
		if s.Dir != ipsec.In {
			continue
		}
		ids := s.Bundle
		if len(ids) == 0 {
			ids = []ipsec.SAID{s.ID}
		}
		if slices.ContainsFunc(ids, func(id ipsec.SAID) bool { return id.Proto == ipsec.ESP || id.Proto == ipsec.AH }) {
			continue
		}
		local, remote := netip.PrefixFrom(s.ID.Dst, s.ID.Dst.BitLen()), netip.PrefixFrom(s.Src, s.Src.BitLen())
		protos := []uint8{uint8(ipsec.Tun), protoIPv6}
		if ids[len(ids)-1].Proto == ipsec.Comp {
			protos = append(protos, uint8(ipsec.Comp))
		}
		for _, proto := range protos {
			list = append(list, firewall.Policy{Selector: ipsec.Selector{Src: local, Dst: remote, Proto: proto}})
		}
	}
	slices.SortFunc(list, func(a, b firewall.Policy) int {
		return cmp.Or(a.Src.Addr().Compare(b.Src.Addr()), a.Dst.Addr().Compare(b.Dst.Addr()), cmp.Compare(a.Proto, b.Proto))
	})
	return slices.Compact(list)
}
