package ikev2

import (
	"net/netip"
	"strings"

	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
	"cygnet/internal/ipsec"
)

// The Configuration payload, RFC 7296 sections 2.19 and 3.15: a peer asks for an
// address inside, and for name servers, in IKE_AUTH.

// Lease is what an end gets for the life of its IKE SA and those that replace
// it.
type Lease struct {
	Addrs   []netip.Addr
	DNS     []netip.Addr
	Domains []string // that DNS is for (RFC 8598); none means all
}

// Pool gives out addresses. It is called from where the machines are, and
// answers at once. Each Lease is followed by one Release; an identity that
// calls again before may get the same addresses, which are then its own until
// the last Release.
type Pool interface {
	// Lease gives addresses of the families in want, if it can those that
	// want names. No address at all is an error.
	Lease(c *ike.Conn, peer ike.ID, want []netip.Addr) (Lease, error)
	Release(c *ike.Conn, peer ike.ID, l Lease)
}

// selectors are the addresses as traffic selectors.
func (l Lease) selectors() (ts []ipsec.TS) {
	for _, a := range l.Addrs {
		ts = append(ts, hostTS(a, 0, 0, true))
	}
	return ts
}

// everything is what a peer that has no address yet asks for (2.19).
func everything(want []netip.Addr) (ts []ipsec.TS) {
	for _, v6 := range []bool{false, true} {
		if !asksFamily(want, v6) {
			continue
		}
		all := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		if v6 {
			all = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		}
		ts = append(ts, ipsec.TSOf(all, 0, ipsec.Ports{}))
	}
	return ts
}

func asksFamily(want []netip.Addr, v6 bool) bool {
	for _, a := range want {
		if a.Is6() == v6 {
			return true
		}
	}
	return false
}

// configRequest asks for addresses and name servers.
func configRequest(want []netip.Addr) wire.CP {
	cp := wire.CP{Kind: wire.CFGRequest}
	for _, a := range want {
		cp.Attributes = append(cp.Attributes, addrAttr(a, true))
	}
	for _, v6 := range []bool{false, true} {
		if asksFamily(want, v6) {
			kind := wire.AttrIP4DNS
			if v6 {
				kind = wire.AttrIP6DNS
			}
			cp.Attributes = append(cp.Attributes, wire.Attribute{Kind: kind})
		}
	}
	return wire.CP{Kind: cp.Kind, Attributes: append(cp.Attributes, wire.Attribute{Kind: wire.AttrDNSDomain})}
}

// addrAttr is INTERNAL_IP4_ADDRESS or INTERNAL_IP6_ADDRESS. In a request an
// unspecified address is an empty value, any one.
func addrAttr(a netip.Addr, request bool) wire.Attribute {
	at := wire.Attribute{Kind: wire.AttrIP4Address}
	if a.Is6() {
		at.Kind = wire.AttrIP6Address
	}
	if request && a.IsUnspecified() {
		return at
	}
	at.Value = a.AsSlice()
	if a.Is6() {
		at.Value = append(at.Value, 128) // prefix length
	}
	return at
}

// addrOf reads an address attribute; the zero Addr is one that says nothing.
func addrOf(at wire.Attribute) netip.Addr {
	v := at.Value
	if len(v) == 17 {
		v = v[:16]
	}
	a, _ := netip.AddrFromSlice(v)
	return a
}

// wanted is what a request asks for.
func wanted(cp wire.CP) (want []netip.Addr) {
	for _, at := range cp.Attributes {
		var any netip.Addr
		switch at.Kind {
		case wire.AttrIP4Address:
			any = netip.IPv4Unspecified()
		case wire.AttrIP6Address:
			any = netip.IPv6Unspecified()
		default:
			continue
		}
		if a := addrOf(at); a.IsValid() {
			any = a
		}
		if len(want) < maxAddrs {
			want = append(want, any)
		}
	}
	return want
}

// asksAddress reports whether the peer asks for an address inside.
func asksAddress(ps wire.Payloads) bool {
	cp, ok := ps.CP()
	return ok && cp.Kind == wire.CFGRequest && len(wanted(cp)) > 0
}

// configure answers the peer's request in IKE_AUTH, if the connection gives
// addresses. Without one there is no Child SA, but the IKE SA stays.
func (s *step) configure(ps wire.Payloads) ([]wire.Payload, *no) {
	if !s.conn.FromPool {
		return nil, nil
	}
	cp, ok := ps.CP()
	want := wanted(cp)
	if !ok || cp.Kind != wire.CFGRequest || len(want) == 0 {
		return nil, refuseWith(ike.NotifyFailedCPRequired, &ike.Failure{Reason: ike.ReasonTS, Why: "the peer does not ask for an address inside, which the connection is about"})
	}
	if s.cfg.Pool == nil {
		return nil, refuseWith(ike.NotifyInternalAddressFailure, &ike.Failure{Reason: ike.ReasonOther, Why: "there is no pool of addresses"})
	}
	l, err := s.cfg.Pool.Lease(s.conn, s.remoteID, want)
	if err != nil {
		return nil, refuseWith(ike.NotifyInternalAddressFailure, &ike.Failure{Reason: ike.ReasonOther, Why: "no address for the peer: " + err.Error()})
	}
	s.virtual, s.leased = l, true
	return []wire.Payload{configReply(l)}, nil
}

func configReply(l Lease) wire.CP {
	cp := wire.CP{Kind: wire.CFGReply}
	for _, a := range l.Addrs {
		cp.Attributes = append(cp.Attributes, addrAttr(a, false))
	}
	for _, a := range l.DNS {
		kind := wire.AttrIP4DNS
		if a.Is6() {
			kind = wire.AttrIP6DNS
		}
		cp.Attributes = append(cp.Attributes, wire.Attribute{Kind: kind, Value: a.AsSlice()})
	}
	for _, d := range l.Domains {
		cp.Attributes = append(cp.Attributes, wire.Attribute{Kind: wire.AttrDNSDomain, Value: []byte(d)})
	}
	return cp
}

// endLease gives back what we gave.
func (s *step) endLease() {
	if s.leased {
		s.leased = false
		s.cfg.Pool.Release(s.conn, s.remoteID, s.virtual)
	}
}

// configured takes the answer to our request. The traffic selectors must be
// those of the addresses, or packets of others could come out of the tunnel.
func (s *step) configured(ps wire.Payloads, a *agreement) *refusal {
	want := s.conn.RequestIP
	if len(want) == 0 {
		return nil
	}
	cp, ok := ps.CP()
	l := leaseOf(cp, want)
	switch {
	case !ok || cp.Kind != wire.CFGReply || len(l.Addrs) == 0:
		return &refusal{why: &ike.Failure{Reason: ike.ReasonTS, Why: "the peer gives us no address inside"}}
	case !covered(a.sides.local, l.selectors()):
		return &refusal{why: &ike.Failure{Reason: ike.ReasonTS, Why: "the peer's traffic selectors are not those of the addresses that it gives us", Theirs: a.sides.String()}}
	}
	s.virtual = l
	return nil
}

// leaseOf reads a reply. What was not asked for, or is no address of a host, is
// left out.
func leaseOf(cp wire.CP, want []netip.Addr) (l Lease) {
	add := func(list *[]netip.Addr, a netip.Addr) {
		host := a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback()
		if host && asksFamily(want, a.Is6()) && len(*list) < maxAddrs {
			*list = append(*list, a)
		}
	}
	for _, at := range cp.Attributes {
		switch at.Kind {
		case wire.AttrIP4Address, wire.AttrIP6Address:
			add(&l.Addrs, addrOf(at))
		case wire.AttrIP4DNS, wire.AttrIP6DNS:
			add(&l.DNS, addrOf(at))
		case wire.AttrDNSDomain:
			if d, ok := domain(at.Value); ok && len(l.Domains) < maxAddrs {
				l.Domains = append(l.Domains, d)
			}
		}
	}
	return l
}

// domain takes a name of letters, digits, hyphens and dots; it will stand in
// files and on command lines.
func domain(b []byte) (string, bool) {
	name := strings.TrimSuffix(strings.ToLower(string(b)), ".")
	if name == "" || len(name) > 253 {
		return "", false
	}
	for _, label := range strings.Split(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return "", false
		}
		if strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return "", false
		}
	}
	return name, true
}
