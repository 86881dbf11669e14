package ikev2

import (
	"fmt"
	"net/netip"
	"slices"

	"cygnet/internal/ike"
)

// Addresses is a Pool of whole prefixes. An identity that comes back gets what
// it had, as long as nobody else has needed it.
type Addresses struct {
	Prefixes []netip.Prefix
	DNS      []netip.Addr
	Domains  []string

	held  map[ike.ID]*holding
	owner map[netip.Addr]ike.ID // who has or had an address
}

// holding is what one identity has; uses counts its leases.
type holding struct {
	lease Lease
	uses  int
}

// Lease implements Pool.
func (p *Addresses) Lease(_ *ike.Conn, peer ike.ID, want []netip.Addr) (Lease, error) {
	if p.held == nil {
		p.held, p.owner = map[ike.ID]*holding{}, map[netip.Addr]ike.ID{}
	}
	h := p.held[peer]
	if h == nil {
		h = &holding{}
	}
	for _, v6 := range []bool{false, true} {
		if asksFamily(want, v6) && !asksFamily(h.lease.Addrs, v6) {
			if a, ok := p.free(peer, v6, want); ok {
				h.lease.Addrs = append(h.lease.Addrs, a)
				p.owner[a] = peer
			}
		}
	}
	if !slices.ContainsFunc(h.lease.Addrs, func(a netip.Addr) bool { return asksFamily(want, a.Is6()) }) {
		return Lease{}, fmt.Errorf("the pool has no address left")
	}
	h.uses++
	p.held[peer] = h
	l := Lease{Domains: p.Domains}
	for _, a := range h.lease.Addrs {
		if asksFamily(want, a.Is6()) {
			l.Addrs = append(l.Addrs, a)
		}
	}
	for _, a := range p.DNS {
		if asksFamily(want, a.Is6()) {
			l.DNS = append(l.DNS, a)
		}
	}
	return l, nil
}

// Release implements Pool.
func (p *Addresses) Release(_ *ike.Conn, peer ike.ID, _ Lease) {
	if h := p.held[peer]; h != nil && h.uses > 0 {
		h.uses--
	}
}

// free finds an address for a peer: what it asks for, one that nobody ever had,
// or one whose owner does not use it now.
func (p *Addresses) free(peer ike.ID, v6 bool, want []netip.Addr) (netip.Addr, bool) {
	for _, a := range want {
		if a.Is6() == v6 && p.has(a) && p.takes(a, peer, true) {
			return a, true
		}
	}
	for _, steal := range []bool{false, true} {
		for _, prefix := range p.Prefixes {
			if prefix.Addr().Is6() != v6 {
				continue
			}
			for a := first(prefix); usable(prefix, a); a = a.Next() {
				if p.takes(a, peer, steal) {
					return a, true
				}
			}
		}
	}
	return netip.Addr{}, false
}

// takes reports whether peer may have a, and takes it away from an owner that
// does not use it.
func (p *Addresses) takes(a netip.Addr, peer ike.ID, steal bool) bool {
	owner, had := p.owner[a]
	if !had || owner == peer {
		return true
	}
	if !steal || p.held[owner].uses > 0 {
		return false
	}
	for _, b := range p.held[owner].lease.Addrs {
		delete(p.owner, b)
	}
	delete(p.held, owner)
	return true
}

func (p *Addresses) has(a netip.Addr) bool {
	for _, prefix := range p.Prefixes {
		if usable(prefix, a) && !a.Less(first(prefix)) {
			return true
		}
	}
	return false
}

// first is the first address for a host: that of the net itself is none, but
// where the net is a single host.
func first(p netip.Prefix) netip.Addr {
	a := p.Masked().Addr()
	if p.IsSingleIP() {
		return a
	}
	return a.Next()
}

// usable leaves out what is beyond the prefix, and the broadcast address.
func usable(p netip.Prefix, a netip.Addr) bool {
	return p.Contains(a) && (a.Is6() || p.IsSingleIP() || p.Contains(a.Next()))
}
