package ipsec

import (
	"net/netip"
	"time"
)

// Mode is how the protected packet is carried, RFC 4301 section 3.2.
type Mode uint8

// The modes.
const (
	Tunnel Mode = iota
	Transport
)

// String is tunnel or transport, as ipsec.conf has it.
func (m Mode) String() string {
	if m == Transport {
		return "transport"
	}
	return "tunnel"
}

// Direction says whether an SA protects what we send or what we receive.
type Direction uint8

// The directions, named as `ipsec spi` lists them.
const (
	Out Direction = iota
	In
)

// String is out or in.
func (d Direction) String() string {
	if d == In {
		return "in"
	}
	return "out"
}

// Transform says how an SA protects, in IKEv2 transform numbers (IANA), which
// package suite maps to implementations.
type Transform struct {
	Encr    uint16 // ENCR_*, 0 for AH
	KeyBits int    // of the encryption key without salt; 0 where the cipher has one size
	Integ   uint16 // AUTH_*, 0 with an AEAD
	ESN     bool   // extended sequence numbers, RFC 4304
}

// Encap is encapsulation of ESP in UDP, RFC 3948, or in TCP, RFC 9329, seen from
// us. The zero value is none.
type Encap struct {
	LocalPort, RemotePort uint16
	Stream                bool // in TCP, over the connection of the IKE SA
}

// Lifetime bounds an SA. Zero fields mean no limit. At the soft limit the
// backend sends Expire{Hard: false} once, at the hard limit it stops using the
// SA and sends Expire{Hard: true}.
type Lifetime struct {
	SoftBytes, HardBytes     uint64
	SoftPackets, HardPackets uint64
	HardTime                 time.Duration // since AddSA; soft times are IKE's affair
}

// MaxBundle is how many SAs one packet may go through under one policy
// (freeswan.md 4.10).
const MaxBundle = 4

// SA is one unidirectional security association, RFC 4301 section 4.4.2.
//
// A bundle applies several to one packet: Policy.Bundle says which going out,
// Bundle below which coming in. A bundle adds one IP header at most. It is a
// tunnel when its innermost SA is of protocol tun or in tunnel mode; the
// others then protect what came of that, whatever their Mode. So tun alone is
// plain IP-in-IP, tun and esp are the same packet as esp in tunnel mode.
type SA struct {
	ID        SAID // ID.Dst is the outer destination
	Src       netip.Addr
	Dir       Direction
	Mode      Mode
	Transform Transform
	EncrKey   Secret // with the salt of AEADs appended, as RFC 4106 has it
	IntegKey  Secret
	Encap     Encap // zero: raw ESP
	Replay    int   // window in packets; 0 switches replay protection off (manual keying only)
	Life      Lifetime

	// Selectors, on an inbound SA, are the inner packets it may deliver, in
	// the direction they travel (source: the peer's side). None: anything, as
	// disablearrivalcheck=yes asks.
	Selectors []Selector
	// Bundle, on an inbound SA, is the bundle it belongs to, innermost first and
	// itself included, as the sender has it in Policy.Bundle. An arriving packet
	// must have gone through all of it, in that order, but that IPComp is left
	// out of packets that do not shrink (RFC 3173 section 2.2). None: the SA
	// stands alone. On an outbound SA it is for reports only, since policies
	// say what is applied.
	Bundle []SAID
	Owner  string // the connection's name, for reports
	DF     bool   // outer IPv4 header carries DF

	// Original, on an inbound SA in transport mode that a NAT is on the way of, is
	// what the peer's transport checksums cover: the addresses as the peer sees
	// them. Zero: not known.
	Original Original

	// TFC, on an outbound ESP SA in tunnel mode, is the octets that inner packets
	// are padded to with zeros that tell nothing (RFC 4303 section 2.7), but never
	// beyond what the path carries in one piece; ToMTU: as far as that. 0: not at
	// all. Longer packets, and SAs of a bundle, are left as they are.
	TFC int
}

// Original is the pair of addresses of a packet before a NAT changed them.
type Original struct{ Src, Dst netip.Addr }

// ToMTU is the SA.TFC that makes every packet as long as the path permits.
const ToMTU = -1

// Policy is one entry of the outbound SPD; users see it as an eroute.
type Policy struct {
	Selector Selector
	Action   Action
	Bundle   []SAID // Protect only: innermost first, MaxBundle at most, to one destination
	Owner    string // connection (instance) that wanted it, for reports and Acquire
	ClearIn  bool   // what arrives in the clear the other way round is accepted, whatever the action
}

// Usage is what an SA has carried.
type Usage struct {
	Bytes, Packets uint64 // inner octets
	LastUsed       time.Time
}
