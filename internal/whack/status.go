package whack

import (
	"net/netip"

	"cygnet/internal/ipsec"
)

// Schema is the version of the JSON documents here. Fields may be added under
// the same number; it rises when one changes its meaning or goes away.
const Schema = 1

// Status is the whole state of a daemon, for `ipsec auto --status`. Text and
// JSON are made from the same value.
type Status struct {
	Schema     int          `json:"schema"`
	Version    string       `json:"version"`
	PID        int          `json:"pid"`
	Interfaces []Interface  `json:"interfaces"`
	MyID       string       `json:"myid"` // empty: none
	Debug      []string     `json:"debug"`
	Conns      []ConnStatus `json:"connections"` // by name, templates first, then instance
	States     []SAState    `json:"states"`      // in the same order, newest first
	Pending    []Pending    `json:"pending"`
	Captive    int64        `json:"captive,omitempty"` // seconds that a captive portal is still borne with
}

// Interface is one attachment of a virtual device.
type Interface struct {
	Virtual  string     `json:"virtual"`
	Physical string     `json:"physical"`
	Addr     netip.Addr `json:"address"`
}

// EndStatus is one end of a connection, ours first everywhere.
type EndStatus struct {
	Addr    netip.Addr     `json:"address,omitzero"` // zero: not known yet
	Word    string         `json:"word,omitempty"`   // %any and the like, where Addr is not known
	ID      string         `json:"id"`
	NextHop netip.Addr     `json:"nexthop,omitzero"`
	Clients []netip.Prefix `json:"clients"`
	Host    bool           `json:"host"` // the only client is the end itself
	Proto   uint8          `json:"protocol,omitempty"`
	Port    uint16         `json:"port,omitempty"`
}

// ConnStatus is one connection or instance.
type ConnStatus struct {
	Name        string     `json:"name"`
	Instance    int        `json:"instance,omitempty"`
	Peer        netip.Addr `json:"peer,omitzero"` // of an instance
	Local       EndStatus  `json:"local"`
	Remote      EndStatus  `json:"remote"`
	Oriented    bool       `json:"oriented"`
	Routing     string     `json:"routing"` // unrouted, prospective erouted, …
	Owner       uint32     `json:"eroute_owner,omitempty"`
	IKELife     int        `json:"ike_life"` // seconds
	ChildLife   int        `json:"ipsec_life"`
	RekeyMargin int        `json:"rekey_margin"`
	RekeyFuzz   int        `json:"rekey_fuzz"` // percent
	KeyingTries int        `json:"keyingtries"`
	Policy      string     `json:"policy"`
	Prio        [2]int     `json:"prio"`
	Interface   string     `json:"interface,omitempty"`
	Version     int        `json:"ike_version"`
	Obsolete    []string   `json:"obsolete,omitempty"` // weak algorithms that the connection names, each with the reason
	NewestIKE   uint32     `json:"newest_ike"`
	NewestChild uint32     `json:"newest_ipsec"`
	LastFailure string     `json:"last_failure,omitempty"`
}

// SAState is one IKE SA or Child SA.
type SAState struct {
	Serial   uint32         `json:"serial"`
	Conn     string         `json:"connection"`
	Instance int            `json:"instance,omitempty"`
	Peer     netip.AddrPort `json:"peer"`
	Name     string         `json:"state"`
	Text     string         `json:"text"`
	Event    string         `json:"event,omitempty"`    // EVENT_SA_REPLACE and so on
	EventIn  int            `json:"event_in,omitempty"` // seconds
	Newest   bool           `json:"newest"`
	Owner    bool           `json:"eroute_owner,omitempty"`

	// Of an IKE SA.
	IKE      bool   `json:"ike"`
	SPIi     string `json:"spi_i,omitempty"` // hexadecimal
	SPIr     string `json:"spi_r,omitempty"`
	LocalID  string `json:"local_id,omitempty"`
	RemoteID string `json:"remote_id,omitempty"`

	// Of a Child SA.
	Parent   uint32     `json:"parent,omitempty"`
	SAOut    ipsec.SAID `json:"-"`
	SAIn     ipsec.SAID `json:"-"`
	TunOut   ipsec.SAID `json:"-"` // tunnel mode: the IP-in-IP SAs of the books
	TunIn    ipsec.SAID `json:"-"`
	Out      string     `json:"sa_out,omitempty"`
	In       string     `json:"sa_in,omitempty"`
	Suite    string     `json:"suite,omitempty"`
	Mode     string     `json:"mode,omitempty"`
	Encap    bool       `json:"encapsulated,omitempty"`
	TCP      bool       `json:"tcp,omitempty"` // encapsulated in TCP
	LocalTS  []string   `json:"local_ts,omitempty"`
	RemoteTS []string   `json:"remote_ts,omitempty"`
	Used     int        `json:"used_ago,omitempty"` // seconds, rounded up; 0: never
	InBytes  uint64     `json:"in_bytes,omitempty"`
	OutBytes uint64     `json:"out_bytes,omitempty"`
}

// Pending is a Child SA that waits for its IKE SA.
type Pending struct {
	Serial uint32 `json:"serial"` // of the IKE SA
	Conn   string `json:"connection"`
}

// Traffic is what each connection's newest SA has carried, for
// `ipsec trafficstatus`.
type Traffic struct {
	Schema int         `json:"schema"`
	Conns  []ConnBytes `json:"connections"`
}

// ConnBytes is one line of Traffic.
type ConnBytes struct {
	Serial   uint32     `json:"serial"`
	Name     string     `json:"connection"`
	Instance int        `json:"instance,omitempty"`
	Peer     netip.Addr `json:"peer"`
	AddTime  int64      `json:"established"` // Unix seconds
	InBytes  uint64     `json:"in_bytes"`
	OutBytes uint64     `json:"out_bytes"`
	ID       string     `json:"remote_id"`
}

// Eroutes is the outbound SPD, for `ipsec eroute`.
type Eroutes struct {
	Schema  int      `json:"schema"`
	Eroutes []Eroute `json:"eroutes"`
}

// Eroute is one entry of it.
type Eroute struct {
	Packets  uint64       `json:"packets"`
	Src      netip.Prefix `json:"source"`
	Dst      netip.Prefix `json:"destination"`
	Proto    uint8        `json:"protocol,omitempty"`
	SrcPort  uint16       `json:"source_port,omitempty"`
	DstPort  uint16       `json:"destination_port,omitempty"`
	SAID     ipsec.SAID   `json:"-"`
	Target   string       `json:"said"` // SAID as text
	Bundle   []string     `json:"bundle,omitempty"`
	Owner    string       `json:"connection,omitempty"`
	Selector string       `json:"selector"`
}

// SAs is the SAD, for `ipsec spi`.
type SAs struct {
	Schema int  `json:"schema"`
	SAs    []SA `json:"sas"`
}

// SA is one entry of it. Keys are never listed.
type SA struct {
	Said        string     `json:"said"`
	Transform   string     `json:"transform"` // ESP_AES_GCM_16 and the like
	Dir         string     `json:"dir"`       // in, out
	Src         netip.Addr `json:"source"`
	Mode        string     `json:"mode"`
	Policy      []string   `json:"policy,omitempty"` // NET->NET of an inbound SA
	EncrBits    int        `json:"encr_key_bits,omitempty"`
	IntegBits   int        `json:"auth_key_bits,omitempty"`
	DigestBits  int        `json:"digest_bits,omitempty"` // of the hash, all of it
	ICVBits     int        `json:"icv_bits,omitempty"`    // what travels of it
	Replay      int        `json:"replay_window"`
	Seq         uint64     `json:"seq"`
	Window      string     `json:"window,omitempty"` // hexadecimal, the newest packet last
	ESN         bool       `json:"esn"`
	Age         int64      `json:"age"` // seconds
	Idle        int64      `json:"idle"`
	Used        bool       `json:"used"`
	Bytes       uint64     `json:"bytes"`
	Packets     uint64     `json:"packets"`
	SoftBytes   uint64     `json:"soft_bytes,omitempty"`
	HardBytes   uint64     `json:"hard_bytes,omitempty"`
	SoftPackets uint64     `json:"soft_packets,omitempty"`
	HardPackets uint64     `json:"hard_packets,omitempty"`
	HardTime    int64      `json:"hard_time,omitempty"`     // seconds
	Encap       string     `json:"encapsulation,omitempty"` // udp:4500->4500 or tcp:…
	Before      uint64     `json:"octets_before_compression,omitempty"`
	After       uint64     `json:"octets_after_compression,omitempty"`
	Owner       string     `json:"connection,omitempty"`
	Errors      []Drop     `json:"errors,omitempty"`
}

// Drop is a count of packets that went nowhere, with the reason.
type Drop struct {
	Reason string `json:"reason"`
	Count  uint64 `json:"count"`
}

// Look is the short overview of `ipsec look`.
type Look struct {
	Schema  int      `json:"schema"`
	Host    string   `json:"host"`
	Time    string   `json:"time"` // RFC 3339
	Eroutes []Eroute `json:"eroutes"`
	SAs     []SA     `json:"sas"`
	Drops   []Drop   `json:"drops"`
	Filter  []Drop   `json:"filter,omitempty"` // what rules of ours in the packet filter have let pass
	Devices []Device `json:"devices"`
	Routes  []string `json:"routes"` // the kernel's routes, as `ip route` prints them
}

// Device is one line of ipsec_tncfg.
type Device struct {
	Virtual      string `json:"virtual"`
	Physical     string `json:"physical"`
	MTU          int    `json:"mtu"`
	EffectiveMTU int    `json:"effective_mtu"`
	PhysicalMTU  int    `json:"physical_mtu"`
}
