package ike

import (
	"fmt"
	"net/netip"
	"time"

	"cygnet/internal/ipsec"
)

// Report is a typed fact for the connection table, the log and whoever waits
// on the control socket. Cores never log; they report.
type Report struct {
	Conn   *Conn  // nil before a connection is known
	Serial uint32 // of the IKE SA or Child SA it is about
	Peer   netip.AddrPort
	Fact   Fact
}

// Fact is what a Report says. String is one line of text for people; peers'
// octets in it are escaped.
type Fact interface {
	fact()
	String() string
}

// State says that an exchange reached a step. Code is the classic number
// (100+state); Name is like STATE_V2_PARENT_I1.
type State struct {
	Code int
	Name string
	Text string
}

// IKEUp says that an IKE SA is established and authenticated.
type IKEUp struct {
	Local, Remote     netip.AddrPort
	LocalID, RemoteID ID
	Suite             string
	Encap             bool   // the path has a NAT, or one side asked for encapsulation
	Rekeyed           uint32 // serial of the IKE SA that this one replaces; 0: new peer contact
	InitialContact    bool   // the peer said that it holds nothing else with us
}

// IKEDown says that an IKE SA is gone.
type IKEDown struct {
	Why     *Failure // nil: deleted on request or rekeyed
	ByPeer  bool
	Rekeyed bool // its successor goes on; children moved there
}

// ChildUp says that a Child SA pair is installed. Outbound traffic shall move
// to Out now if Use is set, else on the later ChildUse.
type ChildUp struct {
	IKE              uint32 // serial
	In, Out          ipsec.SAID
	TSLocal          []ipsec.TS
	TSRemote         []ipsec.TS
	Suite            string
	Encap            ipsec.Encap
	Mode             ipsec.Mode
	Rekeyed          uint32 // serial of the Child SA it replaces, or 0
	Use              bool
	Initiator        bool
	ReplaceAt, EndAt time.Time
}

// ChildUse says that the peer is known to be ready to receive on a Child SA
// whose ChildUp had Use unset.
type ChildUse struct{}

// ChildDown says that a Child SA is gone.
type ChildDown struct {
	IKE      uint32
	In       ipsec.SAID
	Out      ipsec.SAID
	Why      *Failure // nil: deleted on request or replaced
	ByPeer   bool
	Replaced bool // a newer Child SA took over
}

// Retransmit says that a request was sent again.
type Retransmit struct {
	State string
	Count int
	Wait  time.Duration
}

// Failed says that an exchange or attempt failed. Child is true when the IKE
// SA lives on.
type Failed struct {
	Why   *Failure
	Child bool
}

// Note is anything else worth a line in the log. Serious lines go to
// whoever waits as well.
type Note struct {
	Text    string
	Serious bool
}

func (State) fact()      {}
func (IKEUp) fact()      {}
func (IKEDown) fact()    {}
func (ChildUp) fact()    {}
func (ChildUse) fact()   {}
func (ChildDown) fact()  {}
func (Retransmit) fact() {}
func (Failed) fact()     {}
func (Note) fact()       {}

// Reason is why an attempt failed, coarse enough for an exit code.
type Reason uint8

// The reasons.
const (
	ReasonOther    Reason = iota
	ReasonProposal        // no common algorithm
	ReasonAuth            // wrong or missing key, wrong identity
	ReasonSilent          // the peer does not answer
	ReasonTS              // no common traffic selectors
	ReasonPlane           // the data plane refused
	ReasonProtocol        // the peer broke the protocol, or said that we did
	ReasonDeleted         // deleted while negotiating
)

var reasonNames = [...]string{"other", "proposal", "authentication", "silent", "selectors", "data-plane", "protocol", "deleted"}

// String is a symbolic name for --json.
func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return fmt.Sprintf("reason%d", uint8(r))
}

// Failure is a typed failure. Why is one line: what differed, and the mend.
type Failure struct {
	Reason       Reason
	Why          string
	Notify       uint16 // the notify type involved, 0 if none
	ByPeer       bool   // the peer refused us, rather than we it
	Ours, Theirs string // what each side offered, for `ipsec why`
}

// Error implements error.
func (f *Failure) Error() string { return f.Why }

// title renders a connection's name; see Conn.Title.
func title(name string, instance int, peer netip.Addr) string {
	if instance == 0 {
		return fmt.Sprintf("%q", name)
	}
	return fmt.Sprintf("%q[%d] %s", name, instance, peer)
}
