// Package firewall is the packet filter of this machine as pluto needs it:
// forwarding opened for leftfirewall=yes and kept from NAT, packets refused
// that arrive in the clear although a connection protects them, packets kept
// from leaving in the clear while nothing protects them, and the MSS of TCP
// connections lowered. Linux is the real one, in nftables; Fake is one in
// memory, for tests.
//
// All of it is in one table of our own. There is one thing that a table of
// one's own cannot do: a packet that we accept is still dropped by a forward
// chain of somebody else. Therefore accepted packets get a mark, and one rule
// that accepts the mark stands at the head of each such chain, with a comment
// by which we know it again. Without our table nothing sets the mark, and the
// rule does nothing.
//
// The package knows nothing of connections and decides nothing. All methods
// are safe for concurrent use.
package firewall

import (
	"net/netip"

	"cygnet/internal/ipsec"
)

// Firewall is the packet filter of one network namespace.
type Firewall interface {
	// Set makes want all that we want of the filter, in one transaction. When
	// that is so already, it writes nothing.
	Set(want State) error
	// Open opens forwarding for pairs until Shut of the same name, from this or
	// another process: it is what scripts use, beside a daemon's Set. It
	// replaces what the name had before.
	Open(name string, pairs []Pair) error
	// Shut undoes Open. A name that has nothing open is no error.
	Shut(name string) error
	// Counters tells what our rules have met, by name, since the first Set.
	Counters() ([]Counter, error)
	// Remove takes away all that is ours, whichever process made it.
	Remove() error
	// Changes delivers a value after others have changed the filter: Set may
	// then have something to do. Several changes may be one value.
	Changes() <-chan struct{}
	// Close lets go of the filter and leaves it as it is.
	Close() error
}

// State is all that is wanted. The zero value wants nothing.
type State struct {
	// Devices are all tunnel devices of ours, ipsec0 and so on. What comes
	// and goes by them is never in the clear.
	Devices []string
	// Forward is what leftfirewall=yes opens.
	Forward []Pair
	// Inbound tells which packets may arrive in the clear. Selectors are
	// those of the SPD, outbound, and packets are compared with their
	// reverse; the first that matches decides, and what none matches passes.
	// IKE and ESP addressed to this machine and neighbour discovery pass
	// whatever it says.
	Inbound []Policy
	// Outbound tells which packets may leave in the clear, likewise.
	Outbound []Policy
	// Clamp lowers the MSS of TCP connections; the first that matches decides.
	Clamp []Clamp
}

// Pair is two nets that may talk through a tunnel device.
type Pair struct {
	Device        string
	Local, Remote netip.Prefix // masked, of one family
}

// Policy passes or drops clear packets.
type Policy struct {
	ipsec.Selector
	// Device is the physical device by which the packets come or go. Empty
	// means any for Outbound. For Inbound it means: wherever the answer would
	// go by a device of ours, which spares neighbours on a local net that lies
	// inside a larger protected one.
	Device string
	Drop   bool
}

// Clamp is an upper bound of the MSS that TCP connections between two nets
// announce, in both directions.
type Clamp struct {
	Pair
	Size uint16 // octets; 0: what fits the MTU of the route, of what we send
}

// Counter is what the rules of one purpose have met.
type Counter struct {
	Name           string // one of the constants, or the same with what it concerns
	Packets, Bytes uint64
}

// The names of counters.
const (
	CountInbound  = "in_no_ipsec"  // dropped: arrived in the clear against a policy
	CountOutbound = "out_no_ipsec" // dropped: about to leave in the clear
	CountForward  = "forwarded"    // opened by leftfirewall=
	CountScripts  = "forwarded_by_script"
	CountNoNAT    = "nat_exempt"  // connections, not packets
	CountClamp    = "mss_clamped" // TCP SYN packets
)
