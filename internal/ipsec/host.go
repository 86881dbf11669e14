package ipsec

import "net/netip"

// HostOf is what counts as one host where shares are limited: an IPv4 address, or
// the first of an IPv6 /64, of which one host may have all.
func HostOf(a netip.Addr) netip.Addr {
	if a = a.Unmap(); a.Is4() {
		return a
	}
	p, _ := a.Prefix(64) // no IPv6 address has fewer bits
	return p.Addr()
}
