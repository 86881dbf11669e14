package connection

import (
	"net/netip"

	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
)

// Event is something that happens to a Table. Those that carry a Waiter come
// from a user: 0 means that nobody waits, else Replies with that number follow
// until one is Final.
type Event interface{ event() }

// Add defines connections, all that one name in the file made.
type Add struct {
	Waiter uint64
	Name   string
	List   []*Description
}

// Replace is Delete, if there is such a connection, and Add, without a gap:
// where the old version was routed and the new one covers the same, packets
// never meet plain routing. What did not change at all is left alone if Keep.
type Replace struct {
	Waiter uint64
	Name   string
	List   []*Description
	Keep   bool
}

// Delete forgets a connection and all that was built on it.
type Delete struct {
	Waiter uint64
	Name   string
}

// Up initiates a connection. With Async the answer comes at once.
type Up struct {
	Waiter uint64
	Name   string
	Async  bool
}

// Down deletes the SAs of a connection; route and eroute stay, see ruling A-1.
type Down struct {
	Waiter uint64
	Name   string
}

// Route routes a connection into its device, with a trap or its shunt.
type Route struct {
	Waiter uint64
	Name   string
}

// Unroute undoes Route.
type Unroute struct {
	Waiter uint64
	Name   string
}

// Batch is several events at one moment. SPD and routes are brought in line once,
// after the last: a thousand connections cost a thousand times what one does.
type Batch struct{ List []Event }

// Rekey replaces the newest Child SA of a connection now or, where a Serial is
// given instead of a name, that IKE SA or Child SA.
type Rekey struct {
	Waiter uint64
	Name   string
	Serial uint32
}

// Abandon says that a waiter has gone.
type Abandon struct{ Waiter uint64 }

// DeleteState ends one IKE SA or Child SA, by its number.
type DeleteState struct {
	Waiter uint64
	Serial uint32
}

// Crash ends everything with a peer.
type Crash struct {
	Waiter uint64
	Peer   netip.Addr
}

// Acquire says that a packet met the trap of Owner, as Policy.Owner had it.
type Acquire struct {
	Owner string
	Flow  ipsec.Flow
}

// Started answers StartIKE: the machine exists and is called #Serial. With
// Err it does not exist.
type Started struct {
	Conn   *ike.Conn
	Serial uint32
	Err    *ike.Failure
}

// Reported is a fact from the machine of IKE SA #IKE.
type Reported struct {
	IKE    uint32
	Report ike.Report
}

// Reorient gives descriptions made anew after addresses of this machine have
// changed. It replaces those that differ.
type Reorient struct{ List []*Description }

// UpdownDone tells how a user's script ended.
type UpdownDone struct {
	Name     string
	Instance int
	Verb     string
	Err      string // empty: well
}

// TimeUp says that Deadline has come.
type TimeUp struct{}

func (Add) event()         {}
func (Replace) event()     {}
func (Delete) event()      {}
func (Up) event()          {}
func (Down) event()        {}
func (Batch) event()       {}
func (Route) event()       {}
func (Unroute) event()     {}
func (Rekey) event()       {}
func (Abandon) event()     {}
func (DeleteState) event() {}
func (Crash) event()       {}
func (Acquire) event()     {}
func (Started) event()     {}
func (Reported) event()    {}
func (Reorient) event()    {}
func (UpdownDone) event()  {}
func (TimeUp) event()      {}
