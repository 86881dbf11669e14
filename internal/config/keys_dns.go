package config

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// DNSSEC says which answers of the DNS may give keys, and who proves them.
type DNSSEC uint8

// The values of dnssec=.
const (
	DNSSECAD       DNSSEC = iota // ad, require: the resolver validates
	DNSSECValidate               // validate: signatures are checked here
	DNSSECPrefer                 // prefer: as ad, but insecure answers give keys of the lowest level
	DNSSECOff                    // off: nothing is validated, as prefer with every answer insecure
)

// DNS is what config setup says about asking the DNS, opportunistic.md 8.
type DNS struct {
	Resolvers []netip.AddrPort // none: those of resolv.conf that are on this machine
	Trust     bool             // resolvers elsewhere are trusted too
	DNSSEC    DNSSEC
	Anchors   []string // files, beside the root's
	RootKey   string   // file; empty: the system's
	TXT       bool     // TXT X-IPsec-Server is read
	KEY       bool     // KEY is read
	MaxRSA    int      // bits of a stranger's key
}

// dnsKeys are the parameters of config setup about the DNS.
var dnsKeys = []keyword[Setup]{
	{name: "resolver", kind: "list of addresses, each perhaps with @port", doc: "DNS servers to ask; none: those of /etc/resolv.conf that are on this machine.", field: resolverField},
	{name: "resolver-trust", kind: "yes or no", def: "no", doc: "A resolver that is not on this machine may vouch for DNSSEC too: the way to it is protected otherwise.", field: yesNo(func(s *Setup) *bool { return &s.DNS.Trust })},
	{name: "dnssec", aliases: []string{"dnssec-enable"}, kind: "ad (require), validate, prefer or off", def: "ad",
		doc: "Which DNS answers may give keys: ad: those that a validating resolver vouches for; validate: those whose signatures are checked here; prefer: as ad, and unsigned ones at the level weak; off: all of them, at the level weak.",
		field: enum(func(s *Setup) *DNSSEC { return &s.DNS.DNSSEC }, word[DNSSEC]{"ad", DNSSECAD, ""}, word[DNSSEC]{"require", DNSSECAD, ""}, word[DNSSEC]{"yes", DNSSECAD, ""},
			word[DNSSEC]{"validate", DNSSECValidate, ""}, word[DNSSEC]{"prefer", DNSSECPrefer, ""}, word[DNSSEC]{"off", DNSSECOff, ""}, word[DNSSEC]{"no", DNSSECOff, ""})},
	{name: "dnssec-rootkey-file", kind: "file", doc: "Trust anchor of the DNS root for dnssec=validate; none: /usr/share/dns/root.key.", field: text(func(s *Setup) *string { return &s.DNS.RootKey })},
	{name: "dnssec-anchors", kind: "list of files", doc: "Further trust anchors, for zones that the public DNS does not lead to; *.key in ipsec.d/dnssec are read too.", field: list(func(s *Setup) *[]string { return &s.DNS.Anchors }, "")},
	{name: "oe-rsa-max", kind: "2048 to 8192", def: "4096", doc: "Longest RSA key, in bits, that a stranger's DNS record may have.", field: integer(func(s *Setup) *int { return &s.DNS.MaxRSA }, 2048, 8192)},
	{name: "oe-legacy-txt", kind: "yes or no", def: "yes", doc: "Read TXT records X-IPsec-Server where there is no IPSECKEY.", field: yesNo(func(s *Setup) *bool { return &s.DNS.TXT })},
	{name: "oe-legacy-key", kind: "yes or no", def: "no", doc: "Read KEY records at a gateway's own name where it has no other.", field: yesNo(func(s *Setup) *bool { return &s.DNS.KEY })},
}

func newDNS() DNS { return DNS{TXT: true, MaxRSA: 4096} }

var resolverField = field[Setup]{
	parse: func(s *Setup, v value) error {
		s.DNS.Resolvers = nil
		for _, w := range strings.Fields(v.text) {
			at, err := resolverAddr(w)
			if err != nil {
				return err
			}
			s.DNS.Resolvers = append(s.DNS.Resolvers, at)
		}
		return nil
	},
	print: func(s *Setup) string {
		var words []string
		for _, r := range s.DNS.Resolvers {
			w := r.Addr().String()
			if r.Port() != dnsPort {
				w += "@" + strconv.Itoa(int(r.Port()))
			}
			words = append(words, w)
		}
		return strings.Join(words, " ")
	},
}

const dnsPort = 53

func resolverAddr(text string) (netip.AddrPort, error) {
	addr, number, hasPort := strings.Cut(text, "@")
	port := uint64(dnsPort)
	a, err := netip.ParseAddr(addr)
	if err == nil && hasPort {
		port, err = strconv.ParseUint(number, 10, 16)
	}
	if err != nil || port == 0 || a.IsUnspecified() {
		return netip.AddrPort{}, mendable{fmt.Errorf("%q is not the address of a DNS server", text), "write it as 127.0.0.1, or 127.0.0.1@5353 for another port than 53"}
	}
	return netip.AddrPortFrom(a, uint16(port)), nil
}

// AsksDNS reports whether the keys of an end come from the DNS:
// leftrsasigkey=%dnsondemand, which is also the default, or %dnsonload.
func (e *End) AsksDNS(other *End) bool {
	for _, k := range e.Keys {
		if k.Kind != KeyDNSOnDemand && k.Kind != KeyDNSOnLoad {
			return false
		}
	}
	return e.Cert.File == "" && !e.AcceptsCertificate(other)
}

// AsksDNSOnLoad reports whether they are looked up when the connection is loaded
// (freeswan.md R5.4).
func (e *End) AsksDNSOnLoad() bool {
	for _, k := range e.Keys {
		if k.Kind == KeyDNSOnLoad {
			return true
		}
	}
	return false
}
