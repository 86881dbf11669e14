package ike

import (
	"net/netip"

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

// AHThroughNAT is why AH is refused where ESP would travel in UDP: AH covers
// the addresses, which a NAT changes, and has no encapsulation (RFC 3948,
// section 1).
const AHThroughNAT = "AH cannot pass a NAT, and does not go in UDP: use phase2=esp"
