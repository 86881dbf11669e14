package connection

import (
	"net/netip"

	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
)

// Action is something that must be done, in the order given.
type Action interface{ action() }

// StartIKE makes an initiator for Conn and answers Started. Trigger, if not
// nil, is the packet that made it necessary.
type StartIKE struct {
	Gateway netip.Addr // to be called instead of Conn's peer, which has sent us there
	Conn    *ike.Conn
	Trigger *ipsec.Flow
}

// ToMachine hands an event to the IKE SA of that number.
type ToMachine struct {
	Serial uint32
	Event  ike.Event
}

// Policies changes the desired outbound SPD, in which each selector occurs once.
type Policies struct {
	Gone []ipsec.Selector
	Set  []ipsec.Policy // new, or another than before
}

// Apply changes a list that Apply has made of all that was told before, in place.
// It is sorted.
func (p Policies) Apply(list []ipsec.Policy) []ipsec.Policy {
	return spdOrder.apply(list, change[ipsec.Selector, ipsec.Policy]{p.Gone, p.Set})
}

// Routes changes the set of kernel routes we want, one for each prefix.
type Routes struct {
	Gone []netip.Prefix
	Set  []KernelRoute
}

// Apply changes a list as Policies.Apply does.
func (r Routes) Apply(list []KernelRoute) []KernelRoute {
	return routeOrder.apply(list, change[netip.Prefix, KernelRoute]{r.Gone, r.Set})
}

// KernelRoute sends a prefix into a tunnel device.
type KernelRoute struct {
	Prefix  netip.Prefix
	Device  string
	NextHop netip.Addr // invalid: none
	Source  netip.Addr // preferred source; invalid: the system's choice
	MTU     int        // 0: the device's
	Metric  int
}

// Updown runs a user's leftupdown= command.
type Updown struct {
	Desc *Description
	Verb string // base with suffix, as up-client-v6
}

// Log is a line for the log. Conn is nil where it is about none.
type Log struct {
	Conn    *ike.Conn
	Serial  uint32
	Text    string
	Serious bool
}

// Reply is a line for a waiting user. On the Final one Why is nil or says why
// it failed, and Code is a class of whack (freeswan.md 4.4).
type Reply struct {
	Waiter uint64
	Code   int
	Text   string
	Final  bool
	Why    *ike.Failure
	OK     bool // of the Final reply
}

func (StartIKE) action()  {}
func (ToMachine) action() {}
func (Policies) action()  {}
func (Routes) action()    {}
func (Updown) action()    {}
func (Log) action()       {}
func (Reply) action()     {}

// Classes of Reply.Code that the table itself gives.
const (
	codeComment    = 0
	codeLog        = 2
	codeSerious    = 3
	codeSuccess    = 4
	codeRetransmit = 10
	codeDuplicate  = 20
	codeUnknown    = 21
	codeOrient     = 22
	codeRoute      = 25
	codeRouteBusy  = 26
	codeNoPeer     = 29
	codeNever      = 30
	codeGaveUp     = 31
	codeNotify     = 200
)
