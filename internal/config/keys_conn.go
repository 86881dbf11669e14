package config

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
	"cygnet/internal/rawkey"
)

// newConn returns the defaults of a connection (freeswan.md 2.8 to 2.10, part
// 7, and 2.11 for the 1.x dialect).
func newConn(d Dialect) Conn {
	c := Conn{
		Keys:    make(map[string]Pos),
		Version: 2, PFS: true, Rekey: true, CheckArrival: true, MOBIKE: true, TCPPort: 4500,
		KeyLife: 8 * time.Hour, IKELifetime: 8 * time.Hour, RekeyMargin: 9 * time.Minute, RekeyFuzz: 100,
		DPDDelay: 30 * time.Second, DPDTimeout: 120 * time.Second,
		ReplayWindow: 128, Negotiation: ipsec.Hold, OE: Opportunistic{Idle: 5 * time.Minute},
		AuthBy: []ike.AuthMethod{ike.AuthPubkey},
	}
	if d == Dialect1 {
		c.KeyingTries, c.CheckArrival, c.AuthBy = 3, false, []ike.AuthMethod{ike.AuthPSK}
	}
	return c
}

const (
	noKernel = "there is no kernel data plane"
	noMark   = "packets are chosen by address, protocol and port only"
	noXAUTH  = "users are not asked for passwords"
)

// connKeys are the parameters of a connection that have no side.
var connKeys = append(oeKeys, []keyword[Conn]{
	{name: "type", kind: "tunnel, transport, passthrough, drop or reject", def: "tunnel", doc: "What becomes of the packets.",
		field: enum(func(c *Conn) *Type { return &c.Type }, word[Type]{"tunnel", TypeTunnel, ""}, word[Type]{"transport", TypeTransport, ""},
			word[Type]{"passthrough", TypePassthrough, ""}, word[Type]{"pass", TypePassthrough, ""}, word[Type]{"drop", TypeDrop, ""}, word[Type]{"reject", TypeReject, ""})},
	{name: "auto", kind: "ignore, add, route (ondemand), start (up), keep or manual", def: "ignore", doc: "What happens when the daemon starts.",
		field: enum(func(c *Conn) *Startup { return &c.Auto }, word[Startup]{"ignore", AutoIgnore, ""}, word[Startup]{"add", AutoAdd, ""},
			word[Startup]{"route", AutoRoute, ""}, word[Startup]{"ondemand", AutoRoute, ""}, word[Startup]{"start", AutoStart, ""}, word[Startup]{"up", AutoStart, ""},
			word[Startup]{"keep", AutoKeep, ""}, word[Startup]{"manual", AutoManual, ""})},
	{name: "keyexchange", aliases: []string{"ikev2"}, kind: "ike, ikev2 or ikev1", def: "ikev2", doc: "Version of IKE.",
		field: enum(func(c *Conn) *uint8 { return &c.Version }, word[uint8]{"ikev2", 2, ""}, word[uint8]{"ike", 2, ""}, word[uint8]{"yes", 2, ""}, word[uint8]{"insist", 2, ""},
			word[uint8]{"propose", 2, ""}, word[uint8]{"permit", 2, ""}, word[uint8]{"ikev1", 1, ""}, word[uint8]{"no", 1, ""}, word[uint8]{"never", 1, ""})},
	{name: "authby", kind: "secret, rsasig, null, some joined by |, or never", def: "rsasig", doc: "How the ends prove who they are.", field: authField(func(c *Conn) *[]ike.AuthMethod { return &c.AuthBy })},
	{name: "ppk", kind: "no, yes or insist", def: "no", doc: "Mix a post-quantum preshared key of ipsec.secrets into the keys: where the peer has it too, or else nothing.", field: enum(func(c *Conn) *ike.PPKUse { return &c.PPK },
		word[ike.PPKUse]{"no", ike.PPKNo, ""}, word[ike.PPKUse]{"never", ike.PPKNo, ""}, word[ike.PPKUse]{"yes", ike.PPKPermit, ""}, word[ike.PPKUse]{"permit", ike.PPKPermit, ""},
		word[ike.PPKUse]{"propose", ike.PPKPermit, ""}, word[ike.PPKUse]{"insist", ike.PPKInsist, ""})},
	{name: "ppk-ids", kind: "names joined by commas", doc: "Which preshared keys those may be; nothing: any of the ends.", field: ppkIDs},
	{name: "session-resumption", kind: "yes or no", def: "no", doc: "IKEv2: take a broken IKE SA up again by a ticket, without authenticating anew (RFC 5723).", field: yesNo(func(c *Conn) *bool { return &c.Resume })},
	{name: "send-redirect", kind: "yes or no", def: "no", doc: "Send peers of this connection to the gateway of redirect-to= (RFC 5685).", field: yesNo(func(c *Conn) *bool { return &c.SendRedirect })},
	{name: "redirect-to", kind: "address", doc: "Where send-redirect= sends them.", field: addressField(func(c *Conn) *netip.Addr { return &c.RedirectTo })},
	{name: "accept-redirect", kind: "yes or no", def: "no", doc: "Go to the gateway that the peer names, which must prove to be the same identity.", field: yesNo(func(c *Conn) *bool { return &c.AcceptRedirect })},
	{name: "accept-redirect-to", kind: "addresses", doc: "Gateways that the peer may name; nothing: any.", field: addresses(func(c *Conn) *[]netip.Addr { return &c.RedirectWithin })},
	{name: "childless", kind: "allow, prefer, force or never", def: "allow", doc: "Whether an IKE SA may begin without a Child SA, whose first one then has a key exchange of its own.", field: enum(func(c *Conn) *ike.Childless { return &c.Childless },
		word[ike.Childless]{"allow", ike.ChildlessAllow, ""}, word[ike.Childless]{"prefer", ike.ChildlessPrefer, ""}, word[ike.Childless]{"force", ike.ChildlessForce, ""}, word[ike.Childless]{"never", ike.ChildlessNever, ""})},
	{name: "eap_identity", kind: "name or %any", doc: "Name in EAP; nothing: that of leftid=; %any: the peer is asked for it.", field: eapIdentity},
	{name: "ike", kind: "proposals", doc: "Algorithms of the IKE SA.", field: text(func(c *Conn) *string { return &c.IKE.Text })},
	{name: "esp", aliases: []string{"phase2alg"}, kind: "proposals", doc: "Algorithms that protect the packets.", field: text(func(c *Conn) *string { return &c.ESP.Text })},
	{name: "ah", kind: "proposals", doc: "Algorithms of AH.", field: text(func(c *Conn) *string { return &c.AH.Text })},
	{name: "phase2", aliases: []string{"auth"}, kind: "esp, ah or ah+esp", def: "esp", doc: "Protocol that protects the packets; auth=ah means ah+esp.", field: phase2Field()},
	{name: "legacy", kind: "no or freeswan", def: "no", doc: "Use the algorithms of FreeS/WAN, which are obsolete.",
		field: enum(func(c *Conn) *bool { return &c.Legacy }, word[bool]{"no", false, ""}, word[bool]{"freeswan", true, ""})},
	{name: "pfs", kind: "yes or no", def: "yes", doc: "New key exchange for every Child SA.", field: yesNo(func(c *Conn) *bool { return &c.PFS })},
	{name: "pfsgroup", kind: "group", doc: "Group of that exchange, if not the IKE SA's.", field: text(func(c *Conn) *string { return &c.PFSGroup })},
	{name: "compress", kind: "yes or no", def: "no", doc: "Offer to compress packets, IPComp; what the peer offers is accepted anyway.", field: yesNo(func(c *Conn) *bool { return &c.Compress })},
	{name: "keylife", aliases: []string{"lifetime", "salifetime", "ipseclifetime", "ipsec-lifetime"}, kind: "duration", def: "8h", doc: "Life of a Child SA, at most 24h.", field: span(func(c *Conn) *time.Duration { return &c.KeyLife }, time.Second)},
	{name: "ikelifetime", kind: "duration", def: "8h", doc: "Life of an IKE SA, at most 24h.", field: span(func(c *Conn) *time.Duration { return &c.IKELifetime }, time.Second)},
	{name: "rekeymargin", aliases: []string{"margintime", "rekeywindow", "rekeystart"}, kind: "duration", def: "9m", doc: "How long before its end an SA is replaced.", field: span(func(c *Conn) *time.Duration { return &c.RekeyMargin }, time.Second)},
	{name: "rekeyfuzz", kind: "percent", def: "100%", doc: "By how much the margin grows at random.", field: percent(func(c *Conn) *int { return &c.RekeyFuzz })},
	{name: "rekey", kind: "yes or no", def: "yes", doc: "Replace SAs that end.", field: yesNo(func(c *Conn) *bool { return &c.Rekey })},
	{name: "keyingtries", aliases: []string{"rekeytries"}, kind: "number or %forever", def: "%forever", doc: "How often a negotiation is tried.", field: integer(func(c *Conn) *int { return &c.KeyingTries }, 0, 1<<30, word[int]{"%forever", 0, ""})},
	{name: "lifebytes", aliases: []string{"ipsec-max-bytes"}, kind: "number", def: "0", doc: "Octets after which a Child SA ends; 0: no limit.", field: amount(func(c *Conn) *uint64 { return &c.LifeBytes })},
	{name: "lifepackets", aliases: []string{"ipsec-max-packets"}, kind: "number", def: "0", doc: "Packets after which a Child SA ends; 0: no limit.", field: amount(func(c *Conn) *uint64 { return &c.LifePackets })},
	{name: "retransmit-interval", kind: "milliseconds", def: "0s", doc: "First wait for an answer; it doubles. 0: built-in.", field: span(func(c *Conn) *time.Duration { return &c.RetransmitAt }, time.Millisecond)},
	{name: "retransmit-timeout", kind: "duration", def: "0s", doc: "Longest wait for an answer. 0: built-in.", field: span(func(c *Conn) *time.Duration { return &c.RetransmitEnd }, time.Second)},
	{name: "dpddelay", kind: "duration", def: "30s", doc: "Silence after which the peer is asked whether it lives, at the latest; each IKE SA has its own moment in the second half of it, so that many do not ask at once; 0: never.", field: span(func(c *Conn) *time.Duration { return &c.DPDDelay }, time.Second)},
	{name: "dpdtimeout", kind: "duration", def: "2m", doc: "IKEv1: silence after which the peer is dead.", field: span(func(c *Conn) *time.Duration { return &c.DPDTimeout }, time.Second)},
	{name: "dpdaction", kind: "hold, clear, restart or none", doc: "What becomes of the connection of a dead peer.",
		field: enum(func(c *Conn) *DPDAction { return &c.DPDAction }, word[DPDAction]{"", DPDDefault, ""}, word[DPDAction]{"hold", DPDHold, ""}, word[DPDAction]{"trap", DPDHold, ""},
			word[DPDAction]{"clear", DPDClear, ""}, word[DPDAction]{"restart", DPDRestart, ""}, word[DPDAction]{"none", DPDNone, ""})},
	{name: "encapsulation", aliases: []string{"forceencaps"}, kind: "auto, yes or no", def: "auto", doc: "ESP inside UDP: where a NAT is found, always, never.", field: tristate(func(c *Conn) *ike.Tristate { return &c.Encapsulation }, word[ike.Tristate]{"auto", ike.Auto, ""})},
	{name: "esn", kind: "either, yes or no", def: "either", doc: "Sequence numbers of 64 bits.", field: tristate(func(c *Conn) *ike.Tristate { return &c.ESN }, word[ike.Tristate]{"either", ike.Auto, ""})},
	{name: "replay-window", kind: "packets", def: "128", doc: "How far packets may be out of order.", field: integer(func(c *Conn) *int { return &c.ReplayWindow }, 32, 4096)},
	{name: "narrowing", kind: "yes or no", def: "no", doc: "The peer may ask for less than the subnets here.", field: yesNo(func(c *Conn) *bool { return &c.Narrowing })},
	{name: "disablearrivalcheck", kind: "yes or no", def: "no", doc: "Accept any inner address from the tunnel.", field: noYes(func(c *Conn) *bool { return &c.CheckArrival })},
	{name: "failureshunt", kind: "none, passthrough, drop or reject", def: "none", doc: "What befalls packets after a failed negotiation.",
		field: enum(func(c *Conn) *Failure { return &c.Failure }, word[Failure]{"none", FailNone, ""}, word[Failure]{"passthrough", FailPass, ""}, word[Failure]{"pass", FailPass, ""},
			word[Failure]{"drop", FailDrop, ""}, word[Failure]{"reject", FailReject, ""})},
	{name: "negotiationshunt", kind: "hold, drop or pass", def: "hold", doc: "What befalls packets during a negotiation.",
		field: enum(func(c *Conn) *ipsec.Action { return &c.Negotiation }, word[ipsec.Action]{"hold", ipsec.Hold, ""}, word[ipsec.Action]{"drop", ipsec.Drop, ""},
			word[ipsec.Action]{"pass", ipsec.Pass, ""}, word[ipsec.Action]{"passthrough", ipsec.Pass, ""})},
	{name: "hostaddrfamily", aliases: []string{"connaddrfamily"}, kind: "ipv4 or ipv6", doc: "What %any, %defaultroute and host names mean.",
		field: enum(func(c *Conn) *int { return &c.Family }, word[int]{"", 0, ""}, word[int]{"ipv4", 4, ""}, word[int]{"ipv6", 6, ""}, word[int]{"inet", 4, ""}, word[int]{"inet6", 6, ""})},
	{name: "tfc", aliases: []string{"tfc_padding"}, kind: "octets or mtu", def: "0", doc: "Pad packets in tunnels to this size (IKEv2).", field: integer(func(c *Conn) *int { return &c.TFC }, 0, 65535, word[int]{"mtu", ipsec.ToMTU, "%mtu"})},
	{name: "send-no-esp-tfc", kind: "yes or no", def: "no", doc: "Ask the peer for no TFC padding.", field: yesNo(func(c *Conn) *bool { return &c.RefuseTFC })},
	{name: "metric", kind: "number", def: "0", doc: "Metric of the routes.", field: integer(func(c *Conn) *int { return &c.Metric }, 0, 1<<30)},
	{name: "mtu", kind: "number", def: "0", doc: "MTU of the routes; 0: the device's.", field: integer(func(c *Conn) *int { return &c.MTU }, 0, 65535)},

	{name: "fragmentation", kind: "yes, no or force", def: "yes", doc: "IKEv2: cut IKE messages that are too long for the path (RFC 7383); force: to the smallest size that every path takes.",
		field: enum(func(c *Conn) *ike.Tristate { return &c.Fragmentation }, word[ike.Tristate]{"yes", ike.Auto, ""}, word[ike.Tristate]{"accept", ike.Auto, ""}, word[ike.Tristate]{"force", ike.Yes, ""}, word[ike.Tristate]{"no", ike.No, ""})},
	{name: "mobike", kind: "yes or no", def: "yes", doc: "IKEv2: the end that began may change its address (RFC 4555).", field: yesNo(func(c *Conn) *bool { return &c.MOBIKE })},
	{name: "modecfgdns", aliases: []string{"modecfgdns1", "modecfgdns2"}, kind: "addresses", doc: "Name servers that peers with an address of ours are told.", field: addresses(func(c *Conn) *[]netip.Addr { return &c.DNS })},
	{name: "modecfgdomains", aliases: []string{"modecfgdomain"}, kind: "domains", doc: "Domains that those servers are for; none: all.", field: domains(func(c *Conn) *[]string { return &c.Domains })},
	{name: "reauth", aliases: []string{"reauthby"}, kind: "yes or no", def: "no", doc: "IKEv2: the end that began authenticates anew when ikelifetime= is over, instead of rekeying; the new SAs come before the old ones go.", field: yesNo(func(c *Conn) *bool { return &c.Reauth })},
	{name: "priority", kind: "number", def: "0", doc: "Which policy wins; 0: the more specific.", use: refused, why: "the more specific policy always wins", field: integer(func(c *Conn) *int { return &c.Priority }, 0, 1<<31-1)},

	// Manual keying, freeswan.md 2.10.
	{name: "spi", kind: "0x and digits", doc: "Manual: SPI of all SAs.", field: spi(func(c *Conn) *ipsec.SPI { return &c.Manual.SPI })},
	{name: "spibase", kind: "0x and digits, the last 0", doc: "Manual: SPIs count from here.", field: spi(func(c *Conn) *ipsec.SPI { return &c.Manual.SPIBase })},
	{name: "espenckey", kind: "key data", doc: "Manual: encryption key.", field: secret(func(c *Conn) *ipsec.Secret { return &c.Manual.Keys.ESPEnc })},
	{name: "espauthkey", kind: "key data", doc: "Manual: ESP integrity key.", field: secret(func(c *Conn) *ipsec.Secret { return &c.Manual.Keys.ESPAuth })},
	{name: "ahkey", kind: "key data", doc: "Manual: AH key.", field: secret(func(c *Conn) *ipsec.Secret { return &c.Manual.Keys.AHSecret })},
	{name: "espreplay_window", kind: "0 to 64", def: "0", doc: "Manual: replay window of ESP.", field: integer(func(c *Conn) *int { return &c.Manual.ESPReplay }, 0, 64)},
	{name: "ahreplay_window", kind: "0 to 64", def: "0", doc: "Manual: replay window of AH.", field: integer(func(c *Conn) *int { return &c.Manual.AHReplay }, 0, 64)},
	{name: "allow-noauth", kind: "yes or no", def: "no", doc: "Manual: ESP without integrity.", field: yesNo(func(c *Conn) *bool { return &c.Manual.AllowNoAuth })},

	connOption("aggressive", "yes or no", "no", "IKEv1 Aggressive Mode.", refused, "Aggressive Mode gives the hash of the secret to anybody and is not implemented", "aggrmode"),
	connOption("closeaction", "none, clear, hold or restart", "none", "What becomes of a connection that the peer ends.", refused, "it then waits for traffic or the peer"),
	connOption("inactivity", "duration", "0", "End Child SAs without traffic.", harmless, "they stay"),
	connOption("clientaddrfamily", "ipv4 or ipv6", "", "Family of the subnets.", harmless, "the subnets say it"),
	connOption("marginbytes", "number", "0", "Octets before the limit at which a Child SA is replaced.", harmless, "rekeyfuzz decides"),
	connOption("marginpackets", "number", "0", "Packets before the limit at which a Child SA is replaced.", harmless, "rekeyfuzz decides"),
	connOption("mark", "mark/mask", "", "Packets with this mark.", refused, noMark),
	connOption("mark-in", "mark/mask", "", "Inbound packets with this mark.", refused, noMark),
	connOption("mark-out", "mark/mask", "", "Outbound packets with this mark.", refused, noMark),
	connOption("vti-interface", "device", "", "Route through a VTI device.", refused, noKernel),
	connOption("vti-routing", "yes or no", "", "Routes through the VTI device.", refused, noKernel),
	connOption("vti-shared", "yes or no", "no", "Share the VTI device.", refused, noKernel),
	connOption("ipsec-interface", "yes, no or number", "no", "Route through an XFRM device.", refused, noKernel),
	connOption("nic-offload", "yes, no or auto", "no", "Encrypt in the network card.", harmless, noKernel),
	connOption("reqid", "number", "", "Number of the kernel policy.", harmless, noKernel),
	connOption("overlapip", "yes or no", "no", "Peers may have the same subnet.", harmless, "the more specific, then the earlier one wins"),
	connOption("sareftrack", "yes, no or conntrack", "", "SA references on sockets.", harmless, noKernel),
	connOption("loopback", "yes or no", "no", "Both ends are this machine.", harmless, "it does not matter here"),
	connOption("labeled_ipsec", "yes or no", "no", "Security labels.", refused, "packets are not labelled"),
	connOption("policy-label", "label", "", "Security label.", refused, "packets are not labelled", "sec-label"),
	connOption("nm-configured", "yes or no", "no", "NetworkManager is in charge.", harmless, "it is not told"),
	connOption("remote_peer_type", "cisco or ietf", "ietf", "Peer's kind.", harmless, "IKEv2 peers are one kind"),
	connOption("sha2-truncbug", "yes or no", "no", "SHA2-256 with an ICV of 96 bits.", refused, "the ICV always has 128 bits"),
	connOption("ms-dh-downgrade", "yes or no", "no", "Accept a weaker group when rekeying.", refused, "the group may not change"),
	connOption("dns-match-id", "yes or no", "no", "The peer's identity must match its DNS name.", refused, "it is not looked up"),
	connOption("require-id-on-certificate", "yes or no", "yes", "A certificate must name the identity.", refused, "whoever has any certificate could be anybody"),
	connOption("initial-contact", "yes or no", "yes", "Tell the peer that older SAs are gone.", harmless, "it is told"),
	connOption("decap-dscp", "yes or no", "no", "Copy the outer DSCP inside.", harmless, "the inner one stays"),
	connOption("encap-dscp", "yes or no", "yes", "Copy the inner DSCP outside.", harmless, "see hidetos in config setup"),
	connOption("nopmtudisc", "yes or no", "no", "No path MTU discovery.", harmless, "the path MTU is discovered"),
	connOption("nat-keepalive", "yes or no", "yes", "NAT keepalives.", harmless, "they are sent where a NAT is found"),
	{name: "enable-tcp", kind: "no, yes or fallback", def: "no", doc: "IKEv2 and its ESP over TCP (RFC 9329) when we begin: always, or when UDP has no answer.",
		field: enum(func(c *Conn) *ike.TCP { return &c.TCP }, word[ike.TCP]{"no", ike.TCPNo, ""}, word[ike.TCP]{"yes", ike.TCPYes, ""}, word[ike.TCP]{"fallback", ike.TCPFallback, ""})},
	{name: "tcp-remoteport", kind: "port", def: "4500", doc: "The peer's TCP port.", field: port(func(c *Conn) *uint16 { return &c.TCPPort })},
	connOption("pq", "require, prefer or never", "prefer", "Post-quantum key exchange.", refused, "name the exchange in ike=", "intermediate"),
	connOption("xauth", "client or server", "client", "Who asks for the password.", refused, noXAUTH),
	connOption("xauthby", "file, pam or alwaysok", "file", "Where passwords are looked up.", refused, noXAUTH),
	connOption("xauthfail", "hard or soft", "hard", "What a wrong password does.", refused, noXAUTH),
	connOption("xauth_identity", "identity", "", "Identity inside XAUTH.", refused, noXAUTH),
	connOption("modeconfig", "pull or push", "pull", "Who begins Mode Config.", harmless, "with IKEv2 the client asks"),
	connOption("modecfgpull", "yes or no", "no", "Ask for Mode Config.", harmless, "with IKEv2 the client always asks"),
	connOption("modecfgbanner", "text", "", "Greeting for the peer.", harmless, "IKEv2 has none"),
	connOption("modecfgwins", "addresses", "", "WINS servers for the peer.", harmless, "IKEv2 has none", "modecfgwins1", "modecfgwins2"),
	connOption("cisco-unity", "yes or no", "no", "Cisco's vendor IDs.", harmless, "IKEv2 has none"),
	connOption("fake-strongswan", "yes or no", "no", "Pretend to be strongSwan.", harmless, "nobody is imitated"),
	connOption("send-vendorid", "yes or no", "no", "Send our vendor ID.", harmless, "none is sent"),
	connOption("me_peerid", "identity", "", "strongSwan's mediation.", refused, "there is no mediation", "mediation", "mediated_by"),
	connOption("oe-mode", "tunnel or transport", "tunnel", "Mode with strangers.", harmless, "it is tunnel mode"),
	connOption("_plutodevel", "word", "", "A developer's.", harmless, "it never had a documented one"),
}...)

func connOption(name, kind, def, doc string, u use, why string, aliases ...string) keyword[Conn] {
	return keyword[Conn]{name: name, aliases: aliases, kind: kind, def: def, doc: doc, use: u, why: why,
		field: option(func(c *Conn) *map[string]string { return &c.Options }, name)}
}

// authWords are the texts of authby= and leftauth=. Every public key method is
// one: the key decides how it signs.
var authWords = []word[ike.AuthMethod]{
	{"rsasig", ike.AuthPubkey, ""}, {"secret", ike.AuthPSK, ""}, {"never", ike.AuthNever, ""},
	{"pubkey", ike.AuthPubkey, ""}, {"rsa", ike.AuthPubkey, ""}, {"ecdsasig", ike.AuthPubkey, ""}, {"ecdsa", ike.AuthPubkey, ""}, {"eddsa", ike.AuthPubkey, ""}, {"ed25519", ike.AuthPubkey, ""},
	{"rsa-sha2", ike.AuthPubkey, ""}, {"rsa-sha2_256", ike.AuthPubkey, ""}, {"rsa-sha2_384", ike.AuthPubkey, ""}, {"rsa-sha2_512", ike.AuthPubkey, ""},
	{"ecdsa-sha2", ike.AuthPubkey, ""}, {"ecdsa-sha2_256", ike.AuthPubkey, ""}, {"ecdsa-sha2_384", ike.AuthPubkey, ""}, {"ecdsa-sha2_512", ike.AuthPubkey, ""},
	{"psk", ike.AuthPSK, ""},
	{"null", ike.AuthNULL, ""}, {"rsa-sha1", 0, "SHA-1 signatures are worth nothing"}, {"xauthpsk", 0, noXAUTH}, {"xauthrsasig", 0, noXAUTH}, {"eap-tls", ike.AuthEAPTLS, ""}, {"eap-mschapv2", ike.AuthEAPMSCHAPv2, ""},
	{"eap", 0, "it does not name the method: write eap-mschapv2 or eap-tls"}, {"eaponly", 0, "EAP alone is eap-tls at both ends"},
}

// authField is a list of methods. Public keys go first whatever the order, as
// FreeS/WAN's first proposal had them (freeswan.md 6.2).
func authField[T any](at func(*T) *[]ike.AuthMethod) field[T] {
	return field[T]{
		parse: func(t *T, v value) error {
			var has [ike.AuthEAPMSCHAPv2 + 1]bool
			for _, text := range strings.FieldsFunc(v.text, func(r rune) bool { return r == '|' || r == ',' }) {
				w, ok := lookup(authWords, strings.TrimSpace(text))
				if !ok {
					return mendable{fmt.Errorf("illegal %s value %q", v.name, text), "secret, rsasig, or secret|rsasig"}
				}
				if w.notYet != "" {
					return notYet{w.notYet}
				}
				has[w.value] = true
			}
			var methods []ike.AuthMethod
			for _, m := range []ike.AuthMethod{ike.AuthPubkey, ike.AuthPSK, ike.AuthEAPTLS, ike.AuthEAPMSCHAPv2, ike.AuthNULL, ike.AuthNever} {
				if has[m] {
					methods = append(methods, m)
				}
			}
			if len(methods) == 0 || has[ike.AuthNever] && len(methods) > 1 {
				return fmt.Errorf("illegal %s value %q", v.name, v.text)
			}
			*at(t) = methods
			return nil
		},
		print: func(t *T) string {
			var texts []string
			for _, m := range *at(t) {
				for _, w := range authWords {
					if w.value == m {
						texts = append(texts, w.text)
						break
					}
				}
			}
			return strings.Join(texts, "|")
		},
	}
}

// spi is an SPI of manual keying: 0x100 to 0xfff (R10.11).
func spi[T any](at func(*T) *ipsec.SPI) field[T] {
	return field[T]{
		parse: func(t *T, v value) error {
			hex, ok := strings.CutPrefix(strings.ToLower(v.text), "0x")
			n, err := strconv.ParseUint(hex, 16, 32)
			if !ok || err != nil {
				return fmt.Errorf("parameter %q must be 0x and hexadecimal digits", v.name)
			}
			if s := ipsec.SPI(n); s < ipsec.MinSPI || s >= ipsec.MinAutoSPI {
				return fmt.Errorf("parameter %q is 0x%x, outside 0x%x to 0x%x, which are for manual keying", v.name, n, uint32(ipsec.MinSPI), uint32(ipsec.MinAutoSPI-1))
			}
			*at(t) = ipsec.SPI(n)
			return nil
		},
		print: func(t *T) string {
			if *at(t) == 0 {
				return ""
			}
			return fmt.Sprintf("0x%x", uint32(*at(t)))
		},
	}
}

// secret is key data that must not be printed. Print shows its length only.
func secret[T any](at func(*T) *ipsec.Secret) field[T] {
	return field[T]{
		parse: func(t *T, v value) error {
			b, err := rawkey.Data(v.text)
			if err != nil {
				return err
			}
			*at(t) = ipsec.NewSecret(b)
			return nil
		},
		print: func(t *T) string {
			if at(t).Len() == 0 {
				return ""
			}
			return "[" + at(t).String() + "]"
		},
	}
}
