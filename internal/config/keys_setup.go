package config

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"cygnet/internal/ike"
)

// newSetup returns the defaults of config setup (freeswan.md 2.7, and 2.11 for
// the 1.x dialect).
func newSetup(d Dialect) Setup {
	s := Setup{
		Keys:        make(map[string]Pos),
		Interfaces:  []Interface{{"ipsec0", "%defaultroute"}},
		MayBeAbsent: true, HideTOS: true, Pluto: true, RestartCrash: true,
		Syslog: "daemon.error", AllowLegacy: true, AllowManual: true, Walls: true,
		IKEPort: 500, NATPort: 4500, KeepAlive: 20 * time.Second,
		ShuntLifetime: 15 * time.Minute, Helpers: -1, LogTime: true, FetchWait: 2 * time.Second,
		DNS: newDNS(),
	}
	if d == Dialect1 {
		s.Interfaces, s.PlutoWait, s.UniqueIDs, s.RPFilter = nil, true, UniqueNo, -1
	}
	return s
}

// setupKeys are the parameters of config setup, freeswan.md 2.7, 2.11, 2.12.
var setupKeys = append([]keyword[Setup]{
	{name: "interfaces", kind: "%defaultroute, %none or a list of ipsecN=device", def: "%defaultroute",
		doc: "Which physical devices the virtual ones guard.", field: interfacesField},
	{name: "interfaces-optional", kind: "yes or no", def: "yes", doc: "Devices may be absent at start and come later; no: then the start fails.", field: yesNo(func(s *Setup) *bool { return &s.MayBeAbsent })},
	{name: "myid", kind: "identity", doc: "What %myid stands for.", field: identity(func(s *Setup) *Identity { return &s.MyID })},
	{name: "listen", kind: "address", doc: "Listen for IKE on this address only.", use: refused, why: "every attached device is listened on", field: addressField(func(s *Setup) *netip.Addr { return &s.Listen })},
	{name: "uniqueids", kind: "yes (replace), no, keep or never", def: "yes", doc: "Whether a new IKE SA of an identity replaces older ones from elsewhere; keep: it is refused; never: as no, and INITIAL_CONTACT is not heeded.",
		field: enum(func(s *Setup) *UniqueIDs { return &s.UniqueIDs }, word[UniqueIDs]{"yes", UniqueReplace, ""}, word[UniqueIDs]{"replace", UniqueReplace, ""},
			word[UniqueIDs]{"no", UniqueNo, ""}, word[UniqueIDs]{"keep", UniqueKeep, ""}, word[UniqueIDs]{"never", UniqueNever, ""})},
	{name: "overridemtu", kind: "number", def: "0", doc: "MTU of the virtual devices; 0: computed.", field: integer(func(s *Setup) *int { return &s.OverrideMTU }, 0, 65535)},
	{name: "fragicmp", kind: "yes, no or strict", def: "yes", doc: "Tell senders of packets too big for the tunnel (ICMP); strict: and drop those.", field: enum(func(s *Setup) *FragICMP { return &s.FragICMP }, word[FragICMP]{"yes", FragYes, ""}, word[FragICMP]{"no", FragNo, ""}, word[FragICMP]{"strict", FragStrict, ""})},
	{name: "hidetos", kind: "yes or no", def: "yes", doc: "Outer TOS is 0 rather than a copy of the inner.", field: yesNo(func(s *Setup) *bool { return &s.HideTOS })},
	{name: "plutoload", kind: "list of conns, %search or %none", doc: "1.x: connections to load at start.", field: autoload(func(s *Setup) *Autoload { return &s.AutoLoad })},
	{name: "plutostart", kind: "list of conns, %search or %none", doc: "1.x: connections to initiate at start.", field: autoload(func(s *Setup) *Autoload { return &s.AutoStart })},
	{name: "logfile", aliases: []string{"plutostderrlog"}, kind: "file", doc: "Where a background daemon logs.", field: text(func(s *Setup) *string { return &s.LogFile })},
	{name: "logtime", aliases: []string{"plutostderrlogtime"}, kind: "yes or no", def: "yes", doc: "Lines of the log file begin with the time and their number.", field: yesNo(func(s *Setup) *bool { return &s.LogTime })},
	{name: "plutodebug", kind: "none, all or list of areas", def: "none", doc: "What the daemon logs in detail.", field: classes(func(s *Setup) *[]string { return &s.PlutoDebug }, plutoClasses)},
	{name: "klipsdebug", kind: "none, all or list of classes", def: "none", doc: "What the data plane logs in detail.", field: classes(func(s *Setup) *[]string { return &s.KLIPSDebug }, klipsClasses)},
	{name: "secretsfile", kind: "file", doc: "The secrets, if not ipsec.secrets beside ipsec.conf.", field: text(func(s *Setup) *string { return &s.SecretsFile })},
	{name: "ipsecdir", kind: "directory", doc: "Certificates, policies and the like, if not ipsec.d beside ipsec.conf.", field: text(func(s *Setup) *string { return &s.IPsecDir })},
	{name: "secretsperm", kind: "strict or warn", def: "strict", doc: "Whether secrets files that others may read are refused.",
		field: enum(func(s *Setup) *bool { return &s.SecretsWarn }, word[bool]{"strict", false, ""}, word[bool]{"warn", true, ""})},
	{name: "allow-legacy", kind: "yes or no", def: "yes", doc: "Connections may name obsolete algorithms.", field: yesNo(func(s *Setup) *bool { return &s.AllowLegacy })},
	{name: "allow-manual", kind: "yes or no", def: "yes", doc: "Manual keying is permitted.", field: yesNo(func(s *Setup) *bool { return &s.AllowManual })},
	{name: "inbound-clear", kind: "drop or allow", def: "drop", doc: "What happens to clear packets that a connection should protect.",
		field: enum(func(s *Setup) *bool { return &s.InboundClear }, word[bool]{"drop", false, ""}, word[bool]{"allow", true, ""})},
	{name: "keep-alive", kind: "duration", def: "20s", doc: "Interval of NAT keepalives.", use: harmless, why: "NAT keepalives are sent every 20 seconds", field: span(func(s *Setup) *time.Duration { return &s.KeepAlive }, time.Second)},
	{name: "dhcprelay", kind: "addresses", doc: "Relay DHCP between tunnels for UDP ports 67 and 68 and these servers (RFC 3456).", field: addresses(func(s *Setup) *[]netip.Addr { return &s.DHCPRelay })},
	{name: "ikeport", kind: "port", def: "500", doc: "UDP port of IKE.", field: port(func(s *Setup) *uint16 { return &s.IKEPort })},
	{name: "nat-ikeport", aliases: []string{"nat-port"}, kind: "port", def: "4500", doc: "UDP port of IKE and ESP behind NAT.", field: port(func(s *Setup) *uint16 { return &s.NATPort })},
	{name: "ddos-mode", kind: "auto, busy or unlimited", def: "auto", doc: "When initiators must return a cookie.",
		field: enum(func(s *Setup) *DDoSMode { return &s.DDoS }, word[DDoSMode]{"auto", DDoSAuto, ""}, word[DDoSMode]{"busy", DDoSBusy, ""}, word[DDoSMode]{"unlimited", DDoSUnlimited, ""})},
	{name: "max-halfopen-ike", kind: "number", def: "0", doc: "Half-open IKE SAs before cookies are asked for; 0: built-in.", field: integer(func(s *Setup) *int { return &s.MaxHalfOpen }, 0, 1<<20)},
	{name: "nhelpers", kind: "number", def: "-1", doc: "Workers for expensive computations; -1: one per processor.", field: integer(func(s *Setup) *int { return &s.Helpers }, 0, 1024, word[int]{"-1", -1, ""})},
	{name: "oe", kind: "auto, yes, responder or no", def: "auto", doc: "Opportunistic encryption; auto: if our own address publishes our key.",
		field: enum(func(s *Setup) *OEMode { return &s.OE }, word[OEMode]{"auto", OEAuto, ""}, word[OEMode]{"yes", OEYes, ""}, word[OEMode]{"on", OEYes, ""},
			word[OEMode]{"responder", OEResponder, ""}, word[OEMode]{"no", OENo, ""}, word[OEMode]{"off", OENo, ""})},

	{name: "syslog", kind: "facility.priority", def: "daemon.error", doc: "Label of set-up messages.", field: syslogField},
	{name: "dumpdir", kind: "directory", doc: "Permit core dumps, there.", field: text(func(s *Setup) *string { return &s.DumpDir })},
	{name: "statusgroup", kind: "group", doc: "Members of this group may use the commands that only look, as ipsec status. Read at the start.", field: text(func(s *Setup) *string { return &s.StatusGroup })},
	{name: "metrics", kind: "loopback address:port", doc: "Serve metrics to Prometheus there, over HTTP. Read at the start.", field: metricsField},
	{name: "plutorestartoncrash", kind: "yes or no", def: "yes", doc: "Start the daemon again after a crash.", use: harmless, why: "that is the service manager's affair", field: yesNo(func(s *Setup) *bool { return &s.RestartCrash })},
	{name: "plutowait", kind: "yes or no", def: "no", doc: "Finish one start-up negotiation before the next.", field: yesNo(func(s *Setup) *bool { return &s.PlutoWait })},
	{name: "rp_filter", kind: "%unchanged, 0, 1 or 2", def: "0", doc: "Reverse path filter of guarded devices.", field: integer(func(s *Setup) *int { return &s.RPFilter }, 0, 2, word[int]{"%unchanged", -1, ""})},
	{name: "global-redirect-to", kind: "address", doc: "Send everybody who calls by IKEv2, and goes, to that gateway (RFC 5685).", field: addressField(func(s *Setup) *netip.Addr { return &s.RedirectTo })},
	{name: "shuntlifetime", kind: "duration", def: "15m", doc: "How long a failed destination is remembered.", use: harmless, why: "that depends on what has failed", field: span(func(s *Setup) *time.Duration { return &s.ShuntLifetime }, time.Second)},
	{name: "forwardcontrol", kind: "yes or no", def: "no", doc: "Switch IP forwarding on at start and off at stop.", field: yesNo(func(s *Setup) *bool { return &s.ForwardCtl })},
	{name: "pluto", kind: "yes or no", def: "yes", doc: "Start the key daemon; no: manual keying only.", field: yesNo(func(s *Setup) *bool { return &s.Pluto })},
	{name: "prepluto", kind: "command", doc: "Run before the daemon starts.", field: text(func(s *Setup) *string { return &s.PrePluto })},
	{name: "postpluto", kind: "command", doc: "Run after the daemon has started and loaded.", field: text(func(s *Setup) *string { return &s.PostPluto })},
	{name: "manualstart", kind: "list of conns", doc: "Manual connections to bring up at start.", field: list(func(s *Setup) *[]string { return &s.ManualStart }, "")},

	setupOption("plutoopts", "words", "", "Extra words on the daemon's command line.", refused, "they are not passed on"),
	{name: "nocrsend", kind: "yes or no", def: "no", doc: "Do not ask peers for certificates.", field: yesNo(func(s *Setup) *bool { return &s.NoCertRequest })},
	{name: "strictcrlpolicy", aliases: []string{"crl-strict", "ocsp-strict"}, kind: "no, ifuri or yes", def: "no", doc: "A certificate counts only while it is known not to be revoked; ifuri: if it says where that can be learned.",
		field: enum(func(s *Setup) *StrictCRL { return &s.StrictCRL }, word[StrictCRL]{"no", StrictNo, ""}, word[StrictCRL]{"yes", StrictYes, ""}, word[StrictCRL]{"ifuri", StrictIfURI, ""})},
	{name: "crlcheckinterval", kind: "duration", def: "0", doc: "Fetch the CRLs that certificates name, this often at most; 0: only those that ca sections name are fetched.", field: span(func(s *Setup) *time.Duration { return &s.CRLInterval }, time.Second)},
	{name: "ocsp-enable", kind: "yes or no", def: "no", doc: "Ask the OCSP responders that certificates name.", field: yesNo(func(s *Setup) *bool { return &s.OCSP })},
	{name: "curl-timeout", aliases: []string{"crl-timeout", "ocsp-timeout"}, kind: "duration", def: "2s", doc: "How long a negotiation waits for a CRL or OCSP answer.", field: span(func(s *Setup) *time.Duration { return &s.FetchWait }, time.Second)},
	setupOption("curl-iface", "device", "", "Where CRLs are fetched.", harmless, "the system's routes say where"),
	setupOption("cachecrls", "yes or no", "no", "Keep CRLs on disk.", harmless, "they are kept in memory, and fetched again after a start"),
	setupOption("nat_traversal", "yes or no", "yes", "NAT traversal.", harmless, "it is always on; encapsulation=no in a conn switches it off there"),
	setupOption("virtual_private", "list", "", "Private networks that peers may have.", harmless, "no connection asks for virtual networks"),
	setupOption("force_keepalive", "yes or no", "no", "Keepalives without NAT.", harmless, "they are sent where a NAT is found"),
	setupOption("disable_port_floating", "yes or no", "no", "Do not move to port 4500.", harmless, "IKEv2 moves when a NAT is found"),
	setupOption("protostack", "name", "", "Data plane.", harmless, "the data plane is the program's own"),
	setupOption("ikev1-policy", "accept, drop or reject", "drop", "What IKEv1 initiators get.", harmless, "IKEv1 is answered where a connection has keyexchange=ikev1, and dropped otherwise"),
	{name: "listen-tcp", kind: "yes or no", def: "no", doc: "IKE and ESP over TCP too (RFC 9329), on the port of nat-ikeport.", field: yesNo(func(s *Setup) *bool { return &s.ListenTCP })},
	setupOption("packetdefault", "no, yes, pass, drop or reject", "no", "1.x: what befalls packets without a connection.", harmless, "conn packetdefault says that"),
	setupOption("opportunistic", "yes or no", "no", "1.x: opportunistic encryption.", harmless, "oe= says that, and a file of 1.x has no policy groups"),
	setupOption("no_eroute_pass", "yes or no", "no", "1.x: packets without a tunnel go in the clear.", refused, "what should be protected never leaves in the clear"),
	setupOption("plutobackgroundload", "yes or no", "no", "1.x: load connections in the background.", harmless, "loading takes no time"),
	setupOption("dump", "yes or no", "no", "1.x: permit core dumps.", harmless, "core dumps hold keys and are not made"),
	setupOption("perpeerlog", "yes or no", "no", "One log per peer.", harmless, "there is one log"),
	setupOption("perpeerlogdir", "directory", "", "Where logs per peer would go.", harmless, "there is one log"),
	setupOption("logappend", "yes or no", "yes", "Append to the log file.", harmless, "it is always appended to"),
	setupOption("logip", "yes or no", "yes", "Peers' addresses in the log.", harmless, "they are always shown"),
	setupOption("audit-log", "yes or no", "no", "Linux audit records.", harmless, "there are none"),
	{name: "seccomp", kind: "enabled or disabled", def: "enabled", doc: "The daemon and its scripts run with few capabilities, without ways to more, and without system calls that open the kernel; disabled: as they were started. Read at the start.",
		field: enum(func(s *Setup) *bool { return &s.Walls }, word[bool]{"enabled", true, ""}, word[bool]{"tolerant", true, ""}, word[bool]{"disabled", false, ""})},
	setupOption("statsbin", "program", "", "Program told of changes.", refused, "it is not run"),
	setupOption("drop-oppo-null", "yes or no", "no", "Ignore anonymous peers.", refused, "oe-min-auth= in the policy groups says who is let in"),
	setupOption("ike-socket-bufsize", "number", "", "Buffer of the IKE socket.", harmless, "the system's size is used"),
	setupOption("ike-socket-errqueue", "yes or no", "yes", "Watch ICMP errors.", harmless, "they are not needed"),
	setupOption("xfrmlifetime", "duration", "", "Lifetime of kernel acquires.", harmless, "there is no kernel data plane"),
	setupOption("expire-shunt-interval", "duration", "", "How often failed destinations are looked at.", harmless, "each failure has a time of its own"),
	setupOption("charondebug", "list", "", "strongSwan's log levels.", harmless, "use plutodebug"),
	setupOption("policy-names", "yes or no", "no", "Names in policy group files.", refused, "host names in them are not looked up"),
	setupOption("oe-forward", "yes or no", "no", "Keys of strangers by the names that programs resolve.", harmless, "only reverse names are asked about"),
	setupOption("oe-prefix", "yes or no", "no", "Records of whole networks in the DNS.", harmless, "each address has a record of its own, or a wildcard"),
	setupOption("oe-stop", "word", "", "What becomes of OE policies at stop.", refused, "policies end with an orderly stop, as connections do"),
	setupOption("oe-mark", "word", "", "Mark of OE traffic.", refused, "packets of strangers are not marked"),
}, dnsKeys...)

func setupOption(name, kind, def, doc string, u use, why string, aliases ...string) keyword[Setup] {
	return keyword[Setup]{name: name, aliases: aliases, kind: kind, def: def, doc: doc, use: u, why: why,
		field: option(func(s *Setup) *map[string]string { return &s.Options }, name)}
}

var interfacesField = field[Setup]{
	parse: func(s *Setup, v value) error {
		s.Interfaces = nil
		if v.text == "%none" {
			return nil
		}
		for _, w := range strings.Fields(v.text) {
			i, err := parseInterface(w)
			if err != nil {
				return err
			}
			for _, other := range s.Interfaces {
				if other.Virtual == i.Virtual || other.Physical == i.Physical {
					return fmt.Errorf("%q names a device that %s=%s names already", w, other.Virtual, other.Physical)
				}
			}
			s.Interfaces = append(s.Interfaces, i)
		}
		return nil
	},
	print: func(s *Setup) string {
		if len(s.Interfaces) == 0 {
			return "%none"
		}
		var words []string
		for _, i := range s.Interfaces {
			if i == (Interface{"ipsec0", "%defaultroute"}) {
				words = append(words, "%defaultroute")
				continue
			}
			words = append(words, i.Virtual+"="+i.Physical)
		}
		return strings.Join(words, " ")
	},
}

func parseInterface(w string) (Interface, error) {
	if w == "%defaultroute" {
		return Interface{"ipsec0", w}, nil
	}
	virtual, physical, ok := strings.Cut(w, "=")
	number, isOurs := strings.CutPrefix(virtual, "ipsec")
	if !ok || !isOurs || !digits(number) || len(number) > 3 {
		return Interface{}, fmt.Errorf("%q is not ipsecN=device", w)
	}
	// 15 octets is IFNAMSIZ without its final zero.
	if physical != "%defaultroute" && (physical == "" || len(physical) > 15 || !nameChars(physical, ".:@")) {
		return Interface{}, fmt.Errorf("%q is not the name of a device", physical)
	}
	return Interface{virtual, physical}, nil
}

func autoload(at func(*Setup) *Autoload) field[Setup] {
	return field[Setup]{
		parse: func(s *Setup, v value) error {
			*at(s) = Autoload{}
			switch v.text {
			case "%search":
				at(s).Search = true
			case "%none":
			default:
				for _, name := range strings.Fields(v.text) {
					if !sectionName(name) || name == "%default" {
						return fmt.Errorf("%q is not the name of a connection", name)
					}
					at(s).Names = append(at(s).Names, name)
				}
			}
			return nil
		},
		print: func(s *Setup) string {
			if at(s).Search {
				return "%search"
			}
			return strings.Join(at(s).Names, " ")
		},
	}
}

func addressField[T any](at func(*T) *netip.Addr) field[T] {
	return field[T]{
		parse: func(t *T, v value) error {
			a, err := ParseAddress(v.text)
			if err == nil && a.IsUnspecified() {
				err = errors.New("the unspecified address means nothing here")
			}
			*at(t) = a
			return err
		},
		print: func(t *T) string {
			if !at(t).IsValid() {
				return ""
			}
			return at(t).String()
		},
	}
}

// identity is leftid= and myid=, freeswan.md 3.3.
func identity[T any](at func(*T) *Identity) field[T] {
	return field[T]{
		parse: func(t *T, v value) (err error) {
			*at(t), err = parseIdentity(v.text)
			return err
		},
		print: func(t *T) string { return at(t).String() },
	}
}

func parseIdentity(text string) (Identity, error) {
	switch text {
	case "%any", "%any6":
		return Identity{Kind: IdentityAny}, nil
	case "%myid":
		return Identity{Kind: IdentityMyID}, nil
	case "%fromcert":
		return Identity{Kind: IdentityFromCert}, nil
	case "%null":
		return Identity{}, notYet{"an end that authenticates by null has no other identity anyway"}
	}
	if a, err := ParseAddress(text); err == nil {
		if a.IsUnspecified() {
			return Identity{Kind: IdentityAny}, nil
		}
		return Identity{Kind: IdentityID, ID: ike.IDOfAddr(a)}, nil
	}
	id, err := ike.ParseID(text)
	var host *ike.HostNameError
	if errors.As(err, &host) {
		return Identity{Kind: IdentityName, Name: host.Name}, nil
	}
	if err != nil {
		return Identity{}, err
	}
	return Identity{Kind: IdentityID, ID: id}, nil
}

// String is the text that leftid= has; empty for the end's own address.
func (i Identity) String() string {
	switch i.Kind {
	case IdentityID:
		return i.ID.String()
	case IdentityAny:
		return "%any"
	case IdentityMyID:
		return "%myid"
	case IdentityFromCert:
		return "%fromcert"
	case IdentityName:
		return i.Name
	case IdentityNull:
		return "%null"
	}
	return ""
}
