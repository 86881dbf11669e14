package ikev1

import (
	"fmt"
	"math/bits"
	"net/netip"

	"cygnet/internal/ike"
	"cygnet/internal/ikev1/wire"
	"cygnet/internal/ipsec"
	"cygnet/internal/octet"
)

// sides are what a pair of IPsec SAs protects, as we see it. Quick Mode names
// one subnet, protocol and port on each side; what a peer asks for is granted
// whole or not at all.
type sides struct{ local, remote ipsec.TS }

// String is like 10.1.0.0/24 === 10.2.0.0/24.
func (s sides) String() string { return s.local.String() + " === " + s.remote.String() }

func (s sides) equal(t sides) bool { return sameTS(s.local, t.local) && sameTS(s.remote, t.remote) }

// within reports whether every packet of s is one of t.
func (s sides) within(t sides) bool {
	return insideTS(s.local, t.local) && insideTS(s.remote, t.remote)
}

func sameTS(a, b ipsec.TS) bool { return insideTS(a, b) && insideTS(b, a) }

func insideTS(in, out ipsec.TS) bool {
	return in.Start.Is4() == out.Start.Is4() && !in.Start.Less(out.Start) && !out.End.Less(in.End) &&
		(out.Proto == 0 || out.Proto == in.Proto) &&
		(out.Ports.Any() || !in.Ports.Any() && out.Ports.Lo <= in.Ports.Lo && in.Ports.Hi <= out.Ports.Hi)
}

// selectors returns what the inbound SA may deliver, from the peer's side to
// ours.
func (s sides) selectors() []ipsec.Selector {
	var all []ipsec.Selector
	if min(s.local.Proto, s.remote.Proto) != 0 && s.local.Proto != s.remote.Proto {
		return nil // no packet has two protocols
	}
	for _, src := range s.remote.Prefixes() {
		for _, dst := range s.local.Prefixes() {
			if src.Addr().Is4() == dst.Addr().Is4() {
				all = append(all, ipsec.Selector{Src: src, Dst: dst, Proto: max(s.local.Proto, s.remote.Proto), SrcPorts: s.remote.Ports, DstPorts: s.local.Ports})
			}
		}
	}
	return all
}

func hostTS(a netip.Addr) ipsec.TS {
	a = a.Unmap()
	return ipsec.TSOf(netip.PrefixFrom(a, a.BitLen()), 0, ipsec.Ports{})
}

// hosts are the two gateways themselves: what a Quick Mode without IDs means.
func (s *SA) hosts() sides { return sides{hostTS(s.local.Addr()), hostTS(s.remote.Addr())} }

// sidesOf are the sides of a connection. A host that is known by address only
// when it calls stands for the address it calls from.
func (s *SA) sidesOf(c *ike.Conn) (sides, error) {
	l, err := endTS(&c.Local, s.local.Addr())
	if err != nil {
		return sides{}, fmt.Errorf("our side: %w", err)
	}
	r, err := endTS(&c.Remote, s.remote.Addr())
	if err != nil {
		return sides{}, fmt.Errorf("the peer's side: %w", err)
	}
	return sides{l, r}, nil
}

func endTS(e *ike.End, seen netip.Addr) (ipsec.TS, error) {
	if e.Host && (len(e.TS) == 0 || e.TS[0].Start.IsUnspecified()) {
		t := hostTS(seen)
		if len(e.TS) > 0 {
			t.Proto, t.Ports = e.TS[0].Proto, e.TS[0].Ports
		}
		return t, nil
	}
	if len(e.TS) != 1 {
		return ipsec.TS{}, fmt.Errorf("%d subnets, but IKEv1 carries one for each side: write one connection for each", len(e.TS))
	}
	return e.TS[0], nil
}

// clientIDs are the ID payloads for sides, the local one first; none where both
// are the gateways themselves (freeswan.md 6.1).
func (s *SA) clientIDs(want sides) ([]wire.ID, error) {
	if want.equal(s.hosts()) {
		return nil, nil
	}
	l, err := clientID(want.local)
	if err != nil {
		return nil, err
	}
	r, err := clientID(want.remote)
	if err != nil {
		return nil, err
	}
	return []wire.ID{l, r}, nil
}

func clientID(t ipsec.TS) (wire.ID, error) {
	id := wire.ID{Proto: t.Proto}
	if !t.Ports.Any() {
		if t.Ports.Lo != t.Ports.Hi {
			return id, fmt.Errorf("IKEv1 has no word for the ports of %s", t)
		}
		id.Port = t.Ports.Lo
	}
	p := t.Prefixes()
	if len(p) != 1 {
		return id, fmt.Errorf("IKEv1 subnets are prefixes, %s is not one", t)
	}
	a := p[0].Addr()
	kind, subnet := ike.IDIPv4, wire.IDIPv4Subnet
	if a.Is6() {
		kind, subnet = ike.IDIPv6, wire.IDIPv6Subnet
	}
	id.Kind, id.Data = uint8(kind), a.AsSlice()
	if !p[0].IsSingleIP() {
		id.Kind = subnet
		id.Data = append(id.Data, mask(p[0].Bits(), a.BitLen()/8)...)
	}
	return id, nil
}

// mask is a netmask of n one bits in size octets.
func mask(n, size int) []byte {
	m := make([]byte, size)
	for i := range n {
		m[i/8] |= 0x80 >> (i % 8)
	}
	return m
}

// clientTS is what an ID payload of Quick Mode stands for. Names mean nothing
// there, and ranges are refused as FreeS/WAN did.
func clientTS(id wire.ID) (ipsec.TS, error) {
	ports := ipsec.Ports{}
	if id.Port != 0 {
		ports = ipsec.Ports{Lo: id.Port, Hi: id.Port}
	}
	switch id.Kind {
	case uint8(ike.IDIPv4), uint8(ike.IDIPv6):
		a, _ := netip.AddrFromSlice(id.Data)
		return ipsec.TSOf(netip.PrefixFrom(a, a.BitLen()), id.Proto, ports), nil
	case wire.IDIPv4Subnet, wire.IDIPv6Subnet:
		n := len(id.Data) / 2
		a, _ := netip.AddrFromSlice(id.Data[:n])
		ones, ok := maskBits(id.Data[n:])
		if !ok {
			return ipsec.TS{}, fmt.Errorf("client ID with the mask %x", id.Data[n:])
		}
		p := netip.PrefixFrom(a, ones)
		if p.Masked() != p {
			return ipsec.TS{}, fmt.Errorf("client ID %s has host bits", p)
		}
		return ipsec.TSOf(p, id.Proto, ports), nil
	}
	return ipsec.TS{}, fmt.Errorf("client ID of type %d", id.Kind)
}

// maskBits counts the one bits of a netmask; ok is false if it has holes.
func maskBits(m []byte) (n int, ok bool) {
	r := octet.NewReader(m)
	hole := false
	for r.Len() > 0 {
		b := r.Uint8()
		ones := bits.LeadingZeros8(^b)
		if hole && b != 0 || b<<ones != 0 {
			return 0, false
		}
		n += ones
		hole = hole || ones < 8
	}
	return n, true
}

// asked reads the client IDs of a QI1 in our view: the initiator's first.
func (s *SA) asked(ids []wire.ID) (sides, error) {
	switch len(ids) {
	case 0:
		return s.hosts(), nil
	case 2:
		r, err := clientTS(ids[0])
		if err != nil {
			return sides{}, err
		}
		l, err := clientTS(ids[1])
		return sides{l, r}, err
	}
	return sides{}, fmt.Errorf("one client ID alone") // RFC 2409, 5.5: both or none
}

// natOriginal is what a peer's sides mean on our side of a NAT in transport
// mode: a host stands for the address that its packets have here (RFC 3947,
// 5.2 leaves the translation to us).
func (s *SA) natOriginal(asked sides) sides {
	swap := func(t ipsec.TS, nat bool, seen netip.Addr) ipsec.TS {
		h := hostTS(seen)
		if nat && t.Start == t.End && t.Start.Is4() == h.Start.Is4() {
			t.Start, t.End = h.Start, h.End
		}
		return t
	}
	return sides{swap(asked.local, s.natLocal, s.local.Addr()), swap(asked.remote, s.natRemote, s.remote.Addr())}
}

// describe is FreeS/WAN's way to write down who wants to speak to whom:
// CLIENT===US...PEER===CLIENT.
func (s *SA) describe(want sides) string {
	us := fmt.Sprintf("%s[%s]", s.local.Addr(), s.localID)
	if !sameTS(want.local, hostTS(s.local.Addr())) {
		us = want.local.String() + "===" + us
	}
	peer := fmt.Sprintf("%s[%s]", s.remote.Addr(), s.remoteID)
	if !sameTS(want.remote, hostTS(s.remote.Addr())) {
		peer += "===" + want.remote.String()
	}
	return us + "..." + peer
}
