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

// Encap is UDP encapsulation of ESP, RFC 3948, seen from us.
type Encap struct{ LocalPort, RemotePort uint16 }

// Lifetime bounds an SA. Zero fields mean no limit. At the soft limit the
// backend sends Expire{Hard: false} once, at the hard limit it stops using the
// SA and sends Expire{Hard: true}.
type Lifetime struct {
	SoftBytes, HardBytes     uint64
	SoftPackets, HardPackets uint64
	HardTime                 time.Duration // since AddSA; soft times are IKE's affair
}

// SA is one unidirectional security association, RFC 4301 section 4.4.2.
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
	Owner     string // the connection's name, for reports
	DF        bool   // outer IPv4 header carries DF
}

// Policy is one entry of the outbound SPD; users see it as an eroute.
type Policy struct {
	Selector Selector
	Action   Action
	Bundle   []SAID // Protect only: innermost first
	Owner    string // connection (instance) that wanted it, for reports and Acquire
}

// Usage is what an SA has carried.
type Usage struct {
	Bytes, Packets uint64 // inner octets
	LastUsed       time.Time
}
