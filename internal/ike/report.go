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
	Encap             bool      // the path has a NAT, or one side asked for encapsulation
	Stream            bool      // over TCP (RFC 9329)
	Rekeyed           uint32    // serial of the IKE SA that this one replaces; 0: new peer contact
	MOBIKE            bool      // who began may change its address (RFC 4555)
	InitialContact    bool      // the peer said that it holds nothing else with us
	Began             time.Time // when the peer's first message came; zero: we began, or it replaces another
	State             string    // IKEv1: the state that was reached, STATE_MAIN_I4 or STATE_MAIN_R3
	Proof             Proof     // of a stranger

	// What the Configuration payload has settled; empty without one. Virtual are
	// the addresses inside of the end that asked, which is Conn.RequestIP's.
	Virtual    []netip.Addr
	DNS        []netip.Addr
	DNSDomains []string // that DNS is for; none means all

	// PeerCerts is the chain in DER by which the peer has proved itself, its own
	// certificate first; none without certificates.
	PeerCerts [][]byte
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

	// All SAs of each direction, innermost first, where In and Out are not
	// the only ones: IPComp inside ESP, AH around it.
	InBundle, OutBundle []ipsec.SAID

	State string // IKEv1: the state that was reached, STATE_QUICK_I2 or STATE_QUICK_R2
}

// Ins lists the inbound SAs, innermost first.
func (f ChildUp) Ins() []ipsec.SAID {
	if len(f.InBundle) > 0 {
		return f.InBundle
	}
	return []ipsec.SAID{f.In}
}

// Outs lists the outbound SAs, innermost first: what a policy needs.
func (f ChildUp) Outs() []ipsec.SAID {
	if len(f.OutBundle) > 0 {
		return f.OutBundle
	}
	return []ipsec.SAID{f.Out}
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
// whoever waits as well. Why is what was refused to a peer, if that is it.
type Note struct {
	Text    string
	Serious bool
	Why     *Failure
}

// Redirected says that the peer sends us to another gateway, RFC 5685.
type Redirected struct{ To netip.Addr }

// String says where to.
func (f Redirected) String() string { return "the peer sends us to " + f.To.String() }

// Alive says that the peer has answered the liveness check of a Probe with Tell.
type Alive struct{}

// String says so.
func (Alive) String() string { return "the peer is alive" }

// ReauthDue says that a new IKE SA is to take the place of this one, because
// its authentication will not count much longer.
type ReauthDue struct{}

// String says so.
func (ReauthDue) String() string { return "reauthenticating" }

// String is like "STATE_V2_PARENT_I1: sent IKE_SA_INIT request".
func (f State) String() string { return f.Name + ": " + f.Text }

// String keeps the phrases "IKE SA established" and, of IKEv1, "ISAKMP SA
// established", which scripts look for.
func (f IKEUp) String() string {
	what := "IKE SA"
	if f.State != "" {
		what = f.State + ": ISAKMP SA"
	}
	t := fmt.Sprintf("%s established with %s at %s {%s}", what, f.RemoteID, f.Remote, f.Suite)
	if f.Stream {
		t += " in TCP"
	} else if f.Encap {
		t += " in UDP"
	}
	if f.Rekeyed != 0 {
		t += fmt.Sprintf(", replaces #%d", f.Rekeyed)
	}
	return t
}

// String says who ended the IKE SA, and why.
func (f IKEDown) String() string {
	switch {
	case f.Rekeyed:
		return "IKE SA replaced"
	case f.Why != nil:
		return "IKE SA deleted: " + f.Why.Why
	case f.ByPeer:
		return "received Delete SA payload: deleting IKE SA"
	}
	return "deleting IKE SA"
}

// String keeps the phrase "IPsec SA established" and the SPIs of FreeS/WAN's
// last line: {ESP=>0xOUT <0xIN ...}, ESPinUDP when encapsulated.
func (f ChildUp) String() string {
	t := fmt.Sprintf("IPsec SA established %s mode {%s %s}", f.Mode, f.spis(), f.Suite)
	if f.Rekeyed != 0 {
		t += fmt.Sprintf(", replaces #%d", f.Rekeyed)
	}
	if f.State != "" {
		t = f.State + ": " + t
	}
	return t
}

// spis lists the SAs of both directions, the outermost first.
func (f ChildUp) spis() string {
	in, out := f.Ins(), f.Outs()
	if len(in) != len(out) {
		in, out = []ipsec.SAID{f.In}, []ipsec.SAID{f.Out}
	}
	t := ""
	for i := len(in) - 1; i >= 0; i-- {
		proto := protoWord(in[i].Proto)
		if in[i].Proto == ipsec.ESP && f.Encap != (ipsec.Encap{}) {
			proto = "ESPinUDP"
			if f.Encap.Stream {
				proto = "ESPinTCP"
			}
		}
		if t != "" {
			t += " "
		}
		t += fmt.Sprintf("%s=>0x%08x <0x%08x", proto, uint32(out[i].SPI), uint32(in[i].SPI))
	}
	return t
}

// protoWord is how Pluto writes a protocol before SPIs.
func protoWord(p ipsec.Proto) string {
	switch p {
	case ipsec.AH:
		return "AH"
	case ipsec.Comp:
		return "IPCOMP"
	}
	return "ESP"
}

// String says that traffic moves.
func (ChildUse) String() string { return "IPsec SA in use: the peer is ready" }

// String says who ended the Child SA, and why.
func (f ChildDown) String() string {
	spis := fmt.Sprintf("{%s=>0x%08x <0x%08x}", protoWord(f.Out.Proto), uint32(f.Out.SPI), uint32(f.In.SPI))
	switch {
	case f.Replaced:
		return "IPsec SA replaced " + spis
	case f.Why != nil:
		return "IPsec SA deleted: " + f.Why.Why + " " + spis
	case f.ByPeer:
		return fmt.Sprintf("received Delete SA(0x%08x) payload: deleting IPsec SA", uint32(f.Out.SPI))
	}
	return "deleting IPsec SA " + spis
}

// String is the classic line about a resent request.
func (f Retransmit) String() string {
	return fmt.Sprintf("%s: retransmission %d; will wait %.1fs for response", f.State, f.Count, f.Wait.Seconds())
}

// String is the failure's line.
func (f Failed) String() string {
	if f.Why == nil {
		return "failed"
	}
	return f.Why.Why
}

// String is the note itself.
func (f Note) String() string { return f.Text }

func (State) fact()      {}
func (IKEUp) fact()      {}
func (IKEDown) fact()    {}
func (ChildUp) fact()    {}
func (ChildUse) fact()   {}
func (ChildDown) fact()  {}
func (Retransmit) fact() {}
func (Failed) fact()     {}
func (Note) fact()       {}
func (Alive) fact()      {}
func (ReauthDue) fact()  {}
func (Redirected) fact() {}

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
	Detail       Detail
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

// Refusal reports that a peer's first message was refused. If only one of the
// connections between the two addresses can have been meant, it is that one's.
func Refusal(peer netip.AddrPort, conns []*Conn, why *Failure) Report {
	r := Report{Peer: peer, Fact: Note{Text: why.Why, Why: why}}
	if len(conns) == 1 && !conns[0].Template {
		r.Conn = conns[0]
	}
	return r
}
