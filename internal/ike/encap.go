package ike

import (
	"net/netip"
	"slices"

	"cygnet/internal/ipsec"
)

// The ports of IKE, RFC 7296 section 2.23.
const (
	portIKE  = 500
	portNATT = 4500
)

// EncapPorts returns the UDP ports that ESP travels between when the IKE SA
// has these ends: the same, but never 500 (RFC 3948 section 2.1).
func EncapPorts(local, remote netip.AddrPort) ipsec.Encap {
	e := ipsec.Encap{LocalPort: local.Port(), RemotePort: remote.Port()}
	if e.LocalPort == portIKE {
		e.LocalPort = portNATT
	}
	if e.RemotePort == portIKE {
		e.RemotePort = portNATT
	}
	return e
}

// ForcesEncap reports whether ESP goes in UDP with or without a NAT. That is the
// default, because UDP is what gets through and is fastest (datapath.md item 1).
// Who calls may mean any connection of its address: one that must not go in UDP,
// as AH cannot, decides for all unless c says yes. But a connection for callers
// from anywhere does not decide for a peer whose address is that of another.
func ForcesEncap(c *Conn, pad PAD, began bool, local, remote netip.Addr) bool {
	switch {
	case c.Encap != Auto:
		return c.Encap == Yes
	case began:
		return true
	}
	all := pad.Between(local, remote)
	known := slices.ContainsFunc(all, func(o *Conn) bool { return o.Remote.Addr == remote })
	return !slices.ContainsFunc(all, func(o *Conn) bool { return o.Encap == No && (o.Remote.Addr == remote || !known) })
}

// AHThroughNAT is why AH is refused where ESP would travel in UDP: AH covers
// the addresses, which a NAT changes, and has no encapsulation (RFC 3948,
// section 1).
const AHThroughNAT = "AH cannot pass a NAT, and does not go in UDP: use phase2=esp"
