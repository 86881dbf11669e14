package ike

import (
	"crypto"
	"net/netip"
	"slices"
	"time"

	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

// AuthMethod is how an end proves its identity.
type AuthMethod uint8

// The methods. AuthPubkey is any public key signature: RSA, ECDSA or Ed25519
// as the key has it.
const (
	AuthNever  AuthMethod = iota // the connection never negotiates
	AuthPSK                      // pre-shared key
	AuthPubkey                   // public key signature
	AuthNULL                     // RFC 7619
	AuthEAPTLS                   // EAP-TLS, RFC 5216 and 9190
	AuthEAPMSCHAPv2
)

// End is one end of a connection, after orientation: Local or Remote.
type End struct {
	Addr netip.Addr   // unspecified (0.0.0.0 or ::) means %any: known only when the peer calls
	Port uint16       // IKE port; 0 means 500
	ID   ID           // never IDNone on a usable local end; IDNone on a remote end means any
	Auth []AuthMethod // acceptable methods, preferred first
	Keys []PublicKey  // of the remote end: keys the configuration binds to its ID
	DNS  bool         // of the remote end: where Keys is empty, those that the DNS has for its ID
	TS   []ipsec.TS   // what this end protects; for a host its address
	Host bool         // TS is only the host's own address (no subnet=)

	Certs Certs // X.509

	// EAPName is that end's name inside EAP; empty: its ID. AskName, of a remote
	// end, has it asked for, as the ID says nothing about who it is.
	EAPName string
	AskName bool
}

// PublicKey is a key that an identity may sign with.
type PublicKey struct {
	Key    crypto.PublicKey // *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
	Origin string           // where it came from, for diagnostics: "ipsec.conf", "dns", …
}

// Tristate is yes, no, or left to the protocol.
type Tristate uint8

// The three states.
const (
	Auto Tristate = iota
	Yes
	No
)

// DPDAction is what to do with a connection whose peer is gone.
type DPDAction uint8

// The actions, named as dpdaction= has them.
const (
	DPDHold DPDAction = iota
	DPDClear
	DPDRestart
)

// Conn is what one connection (or instance of one) wants of IKE: an entry of
// the PAD joined with its SPD selectors, RFC 4301 sections 4.4.1 and 4.4.3.
// It is immutable once made; machines and tables share the pointer.
type Conn struct {
	Name     string
	Instance int // 0: the connection itself; n: its n-th instance, shown as "name"[n]
	Template bool
	Version  uint8 // 1 or 2

	Local, Remote End

	IKE []suite.Proposal // preferred first
	ESP []suite.Proposal // KE holds the PFS groups

	AH       []suite.Proposal // IKEv1 only: AH around the ESP of ESP; AH alone stands in ESP
	Compress bool             // offer IPComp; what the peer offers is accepted anyway

	Mode         ipsec.Mode
	PFS          bool
	Encap        Tristate // Yes: always ESP-in-UDP; No: never
	Narrow       bool     // a smaller selector than ours may be agreed on as responder
	Replay       int      // packets
	TFC          int      // octets, or ipsec.ToMTU; see ipsec.SA
	RefuseTFC    bool     // the peer is told to send no TFC padding
	CheckArrival bool     // inner packets must match the selectors

	IKELife     time.Duration
	ChildLife   time.Duration
	RekeyMargin time.Duration
	RekeyFuzz   int // percent
	Rekey       bool
	Reauth      bool // IKEv2: who began authenticates anew instead of rekeying the IKE SA
	LifeBytes   uint64
	LifePackets uint64

	KeyingTries int // 0: no limit

	Stranger *Stranger // opportunistic: nobody wrote who the peer is; nil otherwise

	// TCP is whether we begin over TCP (RFC 9329), and TCPPort the peer's port
	// there; 0: 4500. As responder both are possible, if anybody listens.
	TCP     TCP
	TCPPort uint16

	// MOBIKE, RFC 4555: who began the IKE SA may change its address. MobileFrom
	// are the addresses that a peer may move to; empty means any.
	MOBIKE     bool
	MobileFrom []netip.Prefix

	// Configuration payload, RFC 7296 section 3.15. RequestIP are the addresses
	// that we ask the peer for: 0.0.0.0 and :: mean any one of that family.
	// Local.TS is not used then. FromPool means that the peer asks us and gets what ikev2.Config.Pool
	// gives; Remote.TS is not used.
	RequestIP []netip.Addr
	FromPool  bool

	Childless Childless

	Resume bool // RFC 5723: tickets are given, asked for, and used

	// Redirect, RFC 5685. RedirectTo is where peers of this connection are sent.
	// With AcceptRedirect we go where the peer sends us; RedirectWithin are the
	// addresses that may be, any if there are none.
	RedirectTo     netip.Addr
	AcceptRedirect bool
	RedirectWithin []netip.Addr

	PPK    PPKUse   // RFC 8784
	PPKIDs []string // names of the PPKs that may be used; none means any that ipsec.secrets has for the ends

	Fragmentation Tristate // IKEv2, RFC 7383; No: neither announced nor used
	FragmentSize  int      // octets of an IP packet above which IKE messages are cut; 0: the default

	RetransmitFirst time.Duration // first wait; doubles
	RetransmitTotal time.Duration // then the attempt has failed

	DPDDelay  time.Duration // 0: no liveness checks
	DPDAction DPDAction
}

// MayRedirect reports whether the peer may send us there.
func (c *Conn) MayRedirect(to netip.Addr) bool {
	return c.AcceptRedirect && (len(c.RedirectWithin) == 0 || slices.Contains(c.RedirectWithin, to))
}

// Title is how the connection is named in output: "name" or "name"[n] with
// the peer's address.
func (c *Conn) Title() string { return title(c.Name, c.Instance, c.Remote.Addr) }

// Childless is childless=: whether an IKE SA begins with a Child SA, RFC 6023.
type Childless uint8

// The values of childless=, as strongSwan has them.
const (
	ChildlessAllow  Childless = iota // the peer may begin without
	ChildlessPrefer                  // so do we, where the peer can
	ChildlessForce                   // and nothing else
	ChildlessNever
)

// PAD is the peer authorization database, RFC 4301 section 4.4.3, as a
// machine asks it. Implementations are pure and answer at once.
type PAD interface {
	// Between lists the connections that a peer at remote speaking to local
	// may mean, before it has said who it is; best first. Templates (%any)
	// come after fixed peers.
	Between(local, remote netip.Addr) []*Conn
	// Identified narrows that list to those whose remote identity admits
	// peer and whose local identity is want (any, if want is IDNone).
	Identified(local, remote netip.Addr, peer, want ID) []*Conn
	// Instantiate returns c itself, or for a template a new instance for
	// that authenticated peer. It is called once per accepted peer.
	Instantiate(c *Conn, remote netip.AddrPort, peer ID) *Conn
	// Siblings lists every connection (instantiated) that the authenticated
	// peer of c may use for Child SAs, c first.
	Siblings(c *Conn) []*Conn
}
