package ipsec

import (
	"context"
	"errors"
	"net/netip"
)

// Errors of every Backend, to be tested with errors.Is.
var (
	ErrExists      = errors.New("SA already in use")
	ErrNotFound    = errors.New("SA not found")
	ErrUnsupported = errors.New("not supported by this data plane")
)

// Backend is a data plane: userspace (klips), kernel (xfrm) or simulated. All
// methods are safe for concurrent use and quick enough for pluto's loop.
type Backend interface {
	// ReserveSPI returns an SPI that no other inbound SA of (dst, p) has, at
	// or above MinAutoSPI, and keeps it from others until DeleteSA.
	ReserveSPI(ctx context.Context, dst netip.Addr, p Proto) (SPI, error)
	// AddSA installs sa, replacing an SA of the same SAID in one step. It takes
	// what it needs of the keys before it returns, so that the caller may wipe
	// them.
	AddSA(ctx context.Context, sa SA) error
	// DeleteSA removes an SA or a reservation; ErrNotFound where there is none.
	DeleteSA(ctx context.Context, id SAID) error
	// SetPolicies makes want the whole outbound SPD, atomically: no packet
	// sees a state between. Packets held under a selector whose policy
	// changes are sent again under the new one.
	SetPolicies(ctx context.Context, want []Policy) error
	// Usage tells what an SA has carried so far.
	Usage(ctx context.Context, id SAID) (Usage, error)
	// Events returns the channel of what the data plane reports. It is
	// closed by Close.
	Events() <-chan Event
	Close() error
}

// Event is something a data plane reports.
type Event interface{ backendEvent() }

// Acquire says that a packet met a Trap and is now held.
type Acquire struct {
	Owner string // of the policy
	Flow  Flow
}

// Expire says that an SA reached a limit of its Lifetime.
type Expire struct {
	ID   SAID
	Hard bool
}

// FirstUse says that an inbound SA has authenticated its first packet, so the
// peer sends on it (RFC 7296 section 2.8).
type FirstUse struct{ ID SAID }

// Lost says that an SA is no longer in the data plane although nobody has deleted
// it. A backend that is told of such things reports it; pluto looks for itself as
// well.
type Lost struct{ ID SAID }

// PeerMoved says that an authenticated packet, the newest of its SA, came
// from another address or port than the SA's (NAT rebinding, RFC 7296 2.23).
type PeerMoved struct {
	ID   SAID
	From netip.AddrPort
}

// Strays says that packets arrived for which there is no SA (RFC 4303 section
// 3.4.2): Count of them since the last report, of which the first named ID and
// came from From. It comes once a second at most.
type Strays struct {
	ID    SAID
	From  netip.Addr
	Count uint64
}

func (Acquire) backendEvent()   {}
func (Expire) backendEvent()    {}
func (FirstUse) backendEvent()  {}
func (Lost) backendEvent()      {}
func (PeerMoved) backendEvent() {}
func (Strays) backendEvent()    {}

// PolicyStatus is one policy with what it has done, for `ipsec eroute`.
type PolicyStatus struct {
	Policy
	Packets uint64
}

// SAStatus is one SA with what it has done, for `ipsec spi`. Keys are absent.
type SAStatus struct {
	SA             // EncrKey and IntegKey are zero
	Usage          Usage
	Age            int64  // seconds since AddSA
	Seq            uint64 // last sent, or highest received
	Window         []uint64
	ReplayErrs     uint64
	AuthErrs       uint64
	PadErrs        uint64
	PolicyErrs     uint64
	MaxSeqDiff     uint64
	PathMTU        int
	EffectiveMTU   int
	CompressedFrom uint64 // IPComp: octets before
	CompressedTo   uint64 // IPComp: octets after
}

// Counter is a named count of packets that went nowhere, with the reason in
// words of the metrics label: no_eroute, no_sa, replay, auth, policy, …
type Counter struct {
	Reason string
	Count  uint64
}

// Inspector is implemented by backends that can show their tables.
type Inspector interface {
	Policies() []PolicyStatus // most specific first
	SAs() []SAStatus          // by destination, protocol, SPI
	Drops() []Counter         // in fixed order, zero counts included
}
