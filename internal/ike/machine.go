// Package ike is what IKEv1 and IKEv2 share: the header, identities, the shape
// of a connection as IKE sees it, and Machine, the pure state machine with its
// events, actions, jobs and reports. Nothing here does I/O or reads a clock.
package ike

import (
	"net/netip"
	"time"

	"cygnet/internal/ipsec"
)

// Machine is one IKE SA of either version, as the runtime sees it. It is
// called from one goroutine at a time and keeps no reference to out.
type Machine interface {
	// Step consumes one event and appends to out what must happen next, in
	// that order.
	Step(now time.Time, ev Event, out []Action) []Action
	// Deadline is when Step wants a TimeUp event; the zero time means never.
	Deadline() time.Time
	// Serial is the state number users see as #n.
	Serial() uint32
	// SPIs returns the IKE SPIs of initiator and responder; the second is
	// zero until known.
	SPIs() (initiator, responder uint64)
	// Initiator reports whether we sent the first message of this IKE SA.
	Initiator() bool
}

// Event is something that happens to a Machine.
type Event interface{ event() }

// Received is a datagram for this machine. Msg starts at the IKE header (the
// non-ESP marker is gone) and belongs to the machine from now on.
type Received struct {
	Local, Remote netip.AddrPort
	Msg           []byte
	Stream        bool // came by TCP
}

// StreamLost says that a TCP connection is over which we had opened.
type StreamLost struct{ Local, Remote netip.AddrPort }

// TimeUp says that Deadline has come.
type TimeUp struct{}

// JobDone brings the result of a StartJob.
type JobDone struct {
	ID     uint64
	Result any
	Err    error
}

// Initiate starts the IKE SA, with the connection's child as its first.
// It is the first event of an initiator. Trigger is as in AddChild.
type Initiate struct{ Trigger *ipsec.Flow }

// AddChild asks for a Child SA of conn in this IKE SA. Before the IKE SA is
// established it waits in line. Trigger, if not nil, is the packet that made
// it necessary (its selectors go first, RFC 7296 section 2.9).
type AddChild struct {
	Conn    *Conn
	Trigger *ipsec.Flow
}

// Rekey asks for the replacement of a Child SA (by serial) or, when Child is
// 0, of the IKE SA.
type Rekey struct{ Child uint32 }

// Delete asks for the end of a Child SA or, when Child is 0, of the IKE SA
// with all its children. The peer is told.
type Delete struct {
	Child uint32
	// Moved says that another IKE SA carries what this one did: what the peer
	// has sent before it knows is still received. Else nothing is.
	Moved bool
}

// Probe asks for a liveness check now. With Tell the answer is reported, as Alive:
// by IKEv2, whose checks are exchanges.
type Probe struct{ Tell bool }

// Move says that this machine has another address now, from which the peer of
// an IKE SA can be reached; ports stay. It does something where both ends have
// MOBIKE and we began; see Conn.MOBIKE.
type Move struct{ Local netip.Addr }

// Plane passes on what the data plane reported about one of our SAs:
// ipsec.Expire, ipsec.FirstUse, ipsec.Lost or ipsec.PeerMoved.
type Plane struct{ Event ipsec.Event }

// Refused says that the data plane did not take an SA that Install asked for.
// The machine gives its Child SA up. It comes after the actions of the Step that
// asked have been done.
type Refused struct {
	ID  ipsec.SAID
	Why string
}

func (Received) event()   {}
func (TimeUp) event()     {}
func (StreamLost) event() {}
func (JobDone) event()    {}
func (Initiate) event()   {}
func (AddChild) event()   {}
func (Rekey) event()      {}
func (Delete) event()     {}
func (Probe) event()      {}
func (Move) event()       {}
func (Plane) event()      {}
func (Refused) event()    {}

// Action is something that must happen.
type Action interface{ action() }

// Send transmits one IKE message. The runtime adds the non-ESP marker when
// Local's port is not 500.
type Send struct {
	Local, Remote netip.AddrPort
	Msg           []byte
	Stream        bool // by TCP: lost where there is no connection to Remote
	Dial          bool // with Stream: the runtime opens one first, where there is none
}

// StreamGood says that a TCP connection is that of an authentic peer, and is to
// stay.
type StreamGood struct{ Local, Remote netip.AddrPort }

// HangUp closes a TCP connection that we have opened, when what was sent by it has
// left.
type HangUp struct{ Local, Remote netip.AddrPort }

// StartJob runs Job outside the machine, which then gets JobDone with ID.
type StartJob struct {
	ID  uint64
	Job Job
}

// Install puts one SA into the data plane. Actions that follow may rely on it.
type Install struct{ SA ipsec.SA }

// Remove takes one SA (or SPI reservation) out of the data plane.
type Remove struct{ ID ipsec.SAID }

// Adopt hands the runtime a new machine: the successor of a rekeyed IKE SA. A
// machine may be handed over again, because its predecessor changed it: its
// Deadline must then be read anew.
type Adopt struct{ Machine Machine }

// KeepAlive transmits one NAT-keepalive packet, RFC 3948 section 2.3: the
// octet 0xFF without a non-ESP marker.
type KeepAlive struct{ Local, Remote netip.AddrPort }

// Done says that this machine will never act again and must be dropped.
type Done struct{}

func (Send) action()       {}
func (StartJob) action()   {}
func (HangUp) action()     {}
func (StreamGood) action() {}
func (Install) action()    {}
func (Remove) action()     {}
func (Adopt) action()      {}
func (KeepAlive) action()  {}
func (Done) action()       {}
func (Report) action()     {}

// SPISource hands out inbound SPIs of the data plane; ipsec.Backend's
// ReserveSPI behind a smaller face.
type SPISource interface {
	ReserveSPI(dst netip.Addr, p ipsec.Proto) (ipsec.SPI, error)
}
