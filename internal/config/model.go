// Package config turns ipsec.conf, ipsec.secrets and policy group files into
// typed values, with errors that carry file, line and keyword. It decides
// nothing about peers and knows no daemon: commands and pluto call it, from
// any goroutine, and share its results read-only. Only os.go touches the file
// system; everything else reads through FS, so parsing is pure.
package config

import (
	"crypto"
	"net/netip"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
	"cygnet/internal/pool"
	"cygnet/internal/suite"
)

// Pos is a place in a configuration file. The zero value stands for what no
// file says: a default, or an implicit connection.
type Pos struct {
	File string
	Line int
}

// File is a whole configuration, includes expanded.
type File struct {
	Name    string // of the main file
	Dialect Dialect
	Setup   Setup
	// Conns are the sound connections in file order, leftsubnets= expanded,
	// then the implicit ones.
	Conns []*Conn
	CAs   []*CA // the sections ca, in file order
	// Errors holds the first error of each connection that is therefore
	// missing from Conns, and every error outside connections.
	Errors   []Problem
	Warnings []Problem

	replaced  []string  // built-in connections that a section stands for
	fragments []Problem // why sections that only also= uses are no connections
}

// Conn returns the sound connection of that name, or nil. Problem says why.
func (f *File) Conn(name string) *Conn {
	for _, c := range f.Conns {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// Named returns the connections that a user means by name: the one of that
// name, or all that leftsubnets= made of it (name/1x1, name/1x2, …).
func (f *File) Named(name string) []*Conn {
	var found []*Conn
	for _, c := range f.Conns {
		if c.Name == name || c.Alias == name {
			found = append(found, c)
		}
	}
	return found
}

// Problem returns the error of the connection called name, or, if it has none
// of its own, the first error outside connections; nil if there is none.
func (f *File) Problem(name string) *Problem {
	var general *Problem
	list := append(f.Errors[:len(f.Errors):len(f.Errors)], f.fragments...)
	for i := range list {
		p := &list[i]
		if p.Conn == name && name != "" {
			return p
		}
		if p.Conn == "" && general == nil {
			general = p
		}
	}
	return general
}

// Dialect is the generation of FreeS/WAN whose defaults apply.
type Dialect uint8

// The dialects.
const (
	Dialect2 Dialect = iota // version 2, and what successors write
	Dialect1                // plutoload=, plutostart= and their time
)

// Setup is the section config setup.
type Setup struct {
	Where Pos            // of its header
	Keys  map[string]Pos // where each keyword stood that was given a value

	Interfaces   []Interface  // none: no device is attached
	MayBeAbsent  bool         // interfaces-optional=: those may come later
	MyID         Identity     // unset: derived
	Listen       netip.Addr   // invalid: all of Interfaces
	DHCPRelay    []netip.Addr // dhcprelay=: servers
	OverrideMTU  int          // 0: computed
	FragICMP     FragICMP
	HideTOS      bool
	ForwardCtl   bool
	RPFilter     int // -1: unchanged
	AutoLoad     Autoload
	AutoStart    Autoload
	Pluto        bool
	PlutoWait    bool
	PrePluto     string
	PostPluto    string
	RestartCrash bool
	UniqueIDs    UniqueIDs
	OE           OEMode
	ManualStart  []string

	LogFile     string // empty: the journal or standard error
	LogTime     bool
	Syslog      string // facility.priority
	KLIPSDebug  []string
	PlutoDebug  []string
	DumpDir     string
	Walls       bool   // seccomp=: the daemon limits itself (package walls)
	StatusGroup string // its members may use the commands that only look; empty: root alone
	SecretsFile string // empty: beside ipsec.conf
	IPsecDir    string // empty: ipsec.d beside ipsec.conf

	AllowLegacy  bool // obsolete algorithms may be named by connections
	AllowManual  bool
	InboundClear bool // inbound-clear=allow: what arrives in the clear is not compared with the SPD
	SecretsWarn  bool // secretsperm=warn: loose permissions are only a warning

	StrictCRL     StrictCRL
	CRLInterval   time.Duration // crlcheckinterval=; 0: no CRLs that certificates name
	FetchWait     time.Duration // how long a negotiation waits for what is fetched
	OCSP          bool          // OCSP responders that certificates name are asked
	NoCertRequest bool

	IKEPort       uint16
	NATPort       uint16
	ListenTCP     bool
	KeepAlive     time.Duration // of NAT mappings
	DDoS          DDoSMode
	MaxHalfOpen   int // IKE_SA_INITs without cookie; 0: the daemon's default
	ShuntLifetime time.Duration
	RedirectTo    netip.Addr     // global-redirect-to=
	Metrics       netip.AddrPort // metrics=; invalid: none are served
	Helpers       int            // crypto workers; -1: as many as processors

	DNS DNS

	Options map[string]string // keywords of later work, which have no type yet
}

// Interface attaches a virtual device to a physical one.
type Interface struct {
	Virtual  string // ipsec0, …
	Physical string // eth0, …; %defaultroute: the device of the default route
}

// Autoload is plutoload= or plutostart= of the 1.x dialect.
type Autoload struct {
	Search bool     // every connection whose auto= says so
	Names  []string // and these
}

// UniqueIDs says what a new IKE SA of an identity does to older ones.
type UniqueIDs uint8

// The values of uniqueids=.
const (
	UniqueReplace UniqueIDs = iota // yes
	UniqueNo
	UniqueKeep  // the newcomer is refused
	UniqueNever // even INITIAL_CONTACT is ignored
)

// FragICMP says what happens to packets too big for a tunnel that must not be
// fragmented (freeswan.md 5.8).
type FragICMP uint8

// The values of fragicmp=.
const (
	FragYes    FragICMP = iota // the sender is told, the packet goes in outer fragments
	FragNo                     // the sender is not told
	FragStrict                 // the sender is told, the packet is dropped
)

// OEMode is oe=, see opportunistic.md section 13.
type OEMode uint8

// The values of oe=.
const (
	OEAuto OEMode = iota
	OEYes
	OEResponder
	OENo
)

// DDoSMode is ddos-mode=.
type DDoSMode uint8

// The values of ddos-mode=.
const (
	DDoSAuto DDoSMode = iota
	DDoSBusy
	DDoSUnlimited
)

// Type is type=: what a connection does with the packets it covers.
type Type uint8

// The types.
const (
	TypeTunnel Type = iota
	TypeTransport
	TypePassthrough
	TypeDrop
	TypeReject
)

// Shunt returns what a shunt connection does, and whether t is one.
func (t Type) Shunt() (ipsec.Action, bool) {
	switch t {
	case TypePassthrough:
		return ipsec.Pass, true
	case TypeDrop:
		return ipsec.Drop, true
	case TypeReject:
		return ipsec.Reject, true
	}
	return ipsec.Drop, false
}

// Startup is auto=: what happens to a connection when the daemon starts.
type Startup uint8

// The values of auto=.
const (
	AutoIgnore Startup = iota
	AutoAdd            // loaded
	AutoRoute          // and routed, so that traffic starts it
	AutoStart          // and initiated
	AutoKeep           // as add; once up, it is kept up
	AutoManual         // ipsec manual --up
)

// Failure is failureshunt=: what replaces the trap when negotiation failed.
type Failure uint8

// The values of failureshunt=.
const (
	FailNone Failure = iota // the trap stays
	FailPass
	FailDrop
	FailReject
)

// Proposals is ike=, esp= or ah=.
type Proposals struct {
	Text string           // as written; empty: not given
	List []suite.Proposal // parsed; empty: the defaults, or manual keying
}

// Conn is one connection. Left and right are as the file has them: which of
// them we are is decided later, from our addresses.
type Conn struct {
	Name     string
	Alias    string // the name in the file, when leftsubnets= made several of it
	Where    Pos    // of its header
	Implicit bool   // built in, not from a file
	// Keys tells where each keyword stood that was given a value, by its
	// lower-case name as in the keyword table (synonyms resolved, left and
	// right kept), defaults and also= included.
	Keys map[string]Pos

	Type        Type
	Left, Right End
	Auto        Startup
	Version     uint8 // of IKE: 1 or 2
	IKE         Proposals
	ESP, AH     Proposals // as Phase2 wants them; of manual keying only the text counts
	Phase2      Phase2
	Legacy      bool     // legacy=freeswan: the old algorithms, in the old order
	Obsolete    []string // algorithms named here that are out of use; naming is consent

	PFS      bool
	PFSGroup string // pfsgroup=; empty: as esp=, ah= or the IKE SA says
	Compress bool

	IKELifetime   time.Duration
	KeyLife       time.Duration
	RekeyMargin   time.Duration
	RekeyFuzz     int // percent
	Rekey         bool
	Reauth        bool
	KeyingTries   int // 0: no limit
	LifeBytes     uint64
	LifePackets   uint64
	RetransmitAt  time.Duration // first wait; 0: the default of the IKE version
	RetransmitEnd time.Duration // then the attempt has failed; 0: likewise

	DPDDelay   time.Duration // 0: no liveness checks
	DPDTimeout time.Duration // IKEv1 only; IKEv2 goes by its retransmissions
	DPDAction  DPDAction

	Encapsulation ike.Tristate
	Fragmentation ike.Tristate
	TCP           ike.TCP // enable-tcp=
	TCPPort       uint16  // tcp-remoteport=
	MOBIKE        bool
	DNS           []netip.Addr // modecfgdns=
	Domains       []string     // modecfgdomains=
	ESN           ike.Tristate // Auto: offer both, prefer ESN
	ReplayWindow  int          // packets
	TFC           int          // tfc=: octets, or ipsec.ToMTU
	RefuseTFC     bool         // send-no-esp-tfc=
	Narrowing     bool
	CheckArrival  bool // inner packets must match the selectors

	Failure     Failure
	Negotiation ipsec.Action // Hold or Drop or Pass, while negotiating

	Priority int // 0: by prefix lengths
	Metric   int
	MTU      int // 0: computed

	AuthBy []ike.AuthMethod // authby=; each end's Auth says what counts
	// EAPIdentity is eap_identity=: the name in EAP of the end that proves itself
	// so; %any has the peer asked for it.
	EAPIdentity string
	PPK         ike.PPKUse // ppk=
	Childless   ike.Childless

	Resume         bool // session-resumption=
	SendRedirect   bool
	RedirectTo     netip.Addr
	AcceptRedirect bool
	RedirectWithin []netip.Addr // accept-redirect-to=; none: any
	PPKIDs         []string     // ppk-ids=, preferred first

	// Family is what %any and host names mean: 4, 6, or 0 for either.
	Family int

	OE      Opportunistic
	Manual  Manual
	Options map[string]string // keywords of later work, which have no type yet
}

// Shunt returns what a shunt connection does, and whether c is one.
func (c *Conn) Shunt() (ipsec.Action, bool) { return c.Type.Shunt() }

// Mode is the encapsulation of its SAs.
func (c *Conn) Mode() ipsec.Mode {
	if c.Type == TypeTransport {
		return ipsec.Transport
	}
	return ipsec.Tunnel
}

// Group reports whether c has one instance per entry of a policy group file.
func (c *Conn) Group() bool {
	return c.Left.Host.group() || c.Right.Host.group()
}

// Opportunistic reports whether the peer and its key are found in DNS.
func (c *Conn) Opportunistic() bool {
	return c.Left.Host.opportunistic() || c.Right.Host.opportunistic()
}

// DPDAction says what becomes of a connection whose peer is gone.
type DPDAction uint8

// The values of dpdaction=. DPDDefault is clear for %any, restart for
// auto=start, else hold.
const (
	DPDDefault DPDAction = iota
	DPDHold
	DPDClear
	DPDRestart
	DPDNone
)

// dpd resolves DPDDefault.
func (c *Conn) dpd() ike.DPDAction {
	switch c.DPDAction {
	case DPDClear:
		return ike.DPDClear
	case DPDRestart:
		return ike.DPDRestart
	case DPDDefault:
		if c.Left.Host.Kind == HostAny || c.Right.Host.Kind == HostAny {
			return ike.DPDClear
		}
		if c.Auto == AutoStart {
			return ike.DPDRestart
		}
	}
	return ike.DPDHold
}

// Liveness returns how often to look whether the peer lives (0: never), and
// what to do when it does not.
func (c *Conn) Liveness() (time.Duration, ike.DPDAction) {
	if c.DPDAction == DPDNone {
		return 0, ike.DPDHold
	}
	return c.DPDDelay, c.dpd()
}

// HostKind says how an end's address is given.
type HostKind uint8

// The kinds of left= and leftnexthop=.
const (
	HostUnset HostKind = iota
	HostAddr
	HostName               // to be resolved when the connection is loaded
	HostDefaultRoute       // %defaultroute
	HostAny                // %any, 0.0.0.0
	HostDirect             // %direct; leftnexthop= only
	HostOpportunistic      // %opportunistic
	HostGroup              // %group
	HostOpportunisticGroup // %opportunisticgroup
)

// Host is left= or leftnexthop=.
type Host struct {
	Kind HostKind
	Addr netip.Addr // HostAddr; for HostAny unspecified, of the family wanted
	Name string     // HostName
}

func (h Host) group() bool { return h.Kind == HostGroup || h.Kind == HostOpportunisticGroup }

func (h Host) opportunistic() bool {
	return h.Kind == HostOpportunistic || h.Kind == HostOpportunisticGroup
}

// IdentityKind says how an identity is given.
type IdentityKind uint8

// The kinds of leftid=.
const (
	IdentityUnset    IdentityKind = iota // the address of that end
	IdentityID                           // ID holds it
	IdentityAny                          // %any: whoever the key belongs to
	IdentityMyID                         // %myid
	IdentityFromCert                     // %fromcert
	IdentityName                         // a host name to be resolved to an address
	IdentityNull                         // %null, RFC 7619
)

// Identity is leftid= or myid=.
type Identity struct {
	Kind IdentityKind
	ID   ike.ID
	Name string // IdentityName
}

// KeyKind says where an end's public keys come from.
type KeyKind uint8

// The sources of leftrsasigkey=.
const (
	KeyGiven       KeyKind = iota // Key.Public
	KeyNone                       // %none
	KeyDNSOnDemand                // %dnsondemand, the default
	KeyDNSOnLoad                  // %dnsonload, %dns
	KeyCert                       // %cert
)

// Key is one public key of an end.
type Key struct {
	Kind   KeyKind
	Public crypto.PublicKey // *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
	Text   string           // as written, 0s or 0x form
	Where  Pos
	slot   int // which keyword gave it
}

// End is one end of a connection as the file describes it.
type End struct {
	Host    Host
	NextHop Host
	// Subnets are leftsubnet= (a comma list has several); none means the
	// host itself.
	Subnets []netip.Prefix
	Proto   uint8 // leftprotoport=; 0: any
	Ports   ipsec.Ports
	ID      Identity
	Auth    []ike.AuthMethod // preferred first
	Keys    []Key            // none: the default, KeyDNSOnDemand
	Cert    Certificate
	Updown  []string // command and arguments; none: the built-in one
	// Firewall is leftfirewall=: open the forwarding firewall while up.
	Firewall bool
	ProxyARP bool   // leftproxyarp=: answer ARP for the peer's addresses
	IKEPort  uint16 // leftikeport=; 0: 500

	// SourceIP is leftsourceip= of an end with a subnet. Ask is what an end
	// without one asks the other for; unspecified addresses mean any one of
	// their family. Pool is what that end may be given: leftaddresspool=, and
	// addresses of leftsourceip=, which are both as long as nobody has said
	// which end we are.
	SourceIP               netip.Addr
	Ask                    []netip.Addr
	Pool                   []pool.Range
	ModeClient, ModeServer bool // leftmodecfgclient=, leftmodecfgserver=
	// DHCP is leftsourceip=%dhcp: the address comes by a tunnel for DHCP alone.
	DHCP   bool
	Within []netip.Prefix // leftsubnetwithin=: the peer has some part of it

	Manual  ManualKeys        // of the SA toward this end, instead of Conn.Manual.Keys
	Options map[string]string // keywords of later work, which have no type yet

	sets    []netip.Prefix // leftsubnets=, until it is expanded into connections
	sources []source       // leftsourceip= as written
	pools   []pool.Range   // leftaddresspool= as written
}

// Given returns the keys written in the configuration.
func (e *End) Given() []ike.PublicKey {
	var keys []ike.PublicKey
	for _, k := range e.Keys {
		if k.Kind == KeyGiven {
			keys = append(keys, ike.PublicKey{Key: k.Public, Origin: "ipsec.conf"})
		}
	}
	return keys
}

// Manual holds the keywords of manual keying, freeswan.md 2.10.
type Manual struct {
	SPI, SPIBase ipsec.SPI  // 0: not given
	ESP, AH      string     // transform names; empty: none
	Keys         ManualKeys // of both directions, unless an End has its own
	ESPReplay    int        // packets
	AHReplay     int
	AllowNoAuth  bool

	Example string   // the parameter whose key stands in a manual; empty: none does
	Exposed *Problem // a file that holds keys may be read by others; nil: none
}

// ManualKeys are the keys and SPIs of one direction.
type ManualKeys struct {
	ESPSPI, AHSPI             ipsec.SPI
	ESPEnc, ESPAuth, AHSecret ipsec.Secret
}
