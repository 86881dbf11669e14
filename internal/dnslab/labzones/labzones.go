// Package labzones has the zones of the tested DNS laboratory (opportunistic.md
// 8.6) for dnslab: two sites, forward names, and a /24 of 198.18.0.0/16 for each
// way in which a zone can be broken, with keys made from their names.
package labzones

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math/big"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"cygnet/internal/dnslab"
	"cygnet/internal/rawkey"
)

// HostKey is the key of a fleet host, 198.19.x.y, and of some others.
func HostKey(a netip.Addr) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("opportunistic-lab " + a.String()))
	return ed25519.NewKeyFromSeed(seed[:])
}

// Ed is the public key that belongs to a name.
func Ed(name string) ed25519.PublicKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:]).Public().(ed25519.PublicKey)
}

// RSA is a key of that length that nobody has the private half of.
func RSA(name string, bits int) *rsa.PublicKey {
	var n []byte
	for i := 0; len(n) < bits/8; i++ {
		h := sha256.Sum256([]byte(name + strconv.Itoa(i)))
		n = append(n, h[:]...)
	}
	n = n[:bits/8]
	n[0] |= 0x80
	n[len(n)-1] |= 1
	return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: 65537}
}

// P256 is a point that belongs to a name.
func P256(name string) *ecdsa.PublicKey {
	h := sha256.Sum256([]byte(name))
	priv, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), h[:])
	if err != nil {
		panic(err)
	}
	return &priv.PublicKey
}

// rec is the line of an IPSECKEY.
func rec(owner string, precedence, kind int, gw string, key crypto.PublicKey) string {
	field, alg, err := rawkey.DNSKey(key)
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf("%s IN IPSECKEY %d %d %d %s %s\n", owner, precedence, kind, alg, gw, base64.StdEncoding.EncodeToString(field))
}

func txt(owner, gw string, key *rsa.PublicKey) string {
	line, err := rawkey.TXTRecord(10, gw, key)
	if err != nil {
		panic(err)
	}
	return owner + line + "\n"
}

// Names of the zones that tests speak of.
const (
	SiteA = "2.0.192.in-addr.arpa."
	V6    = "8.b.d.0.1.0.0.2.ip6.arpa."
)

// Zones are all of them.
func Zones() []dnslab.Zone {
	gwA, gwB, gwD, evil := RSA("gwA", 3072), RSA("gwB", 3072), RSA("gwD", 3072), RSA("evil", 3072)
	fwd := "example.test."
	a := []string{
		"1 IN PTR gwa." + fwd + "\n", rec("1", 10, 1, "192.0.2.1", gwA), txt("1", "192.0.2.1", gwA),
		"1 IN KEY 16896 4 1 " + base64.StdEncoding.EncodeToString(rawkey.MarshalRSA(gwA)) + "\n",
		"10 IN PTR alice." + fwd + "\n", rec("10", 10, 1, "192.0.2.1", gwA),
		rec("11", 10, 1, "192.0.2.1", gwA), rec("11", 20, 1, "192.0.2.4", gwD),
		rec("12", 10, 1, "192.0.2.2", evil),
		rec("13", 10, 3, "gwa."+fwd, gwA),
		txt("14", "192.0.2.1", gwA), txt("15", "@gwa."+fwd, gwA),
		rec("16", 10, 1, "192.0.2.1", Ed("gwE")), rec("17", 10, 1, "192.0.2.1", P256("gwP")),
		"18 IN IPSECKEY 10 1 5 192.0.2.1 AQIDBA==\n",
		"22 IN PTR plain." + fwd + "\n",
		"24 IN TXT \"v=spf1 -all\"\n24 IN TXT \"X-IPsec-Server(70000)=192.0.2.1 AQ==\"\n", txt("24", "192.0.2.1", gwA),
		rec("25", 10, 1, "192.0.2.1", gwA), rec("25", 10, 1, "192.0.2.1", Ed("gwE")),
		rec("26", 10, 0, ".", Ed("gwE2")),
	}
	for i := range 5 {
		a = append(a, rec("20", (i+1)*10, 1, "192.0.2.1", RSA(fmt.Sprint("big", i), 4096)))
	}
	for i := 128; i < 256; i++ {
		a = append(a, fmt.Sprintf("%d IN CNAME %d.128-25\n", i, i))
	}
	zones := []dnslab.Zone{
		{Name: SiteA, Text: strings.Join(a, "")},
		{Name: "128-25." + SiteA, Text: rec("130", 10, 1, "192.0.2.129", Ed("gwE")) + rec("131", 10, 1, "192.0.2.129", Ed("gwE"))},
		{Name: "113.0.203.in-addr.arpa.", Text: rec("1", 10, 1, "203.0.113.1", gwB) + rec("20", 10, 1, "203.0.113.1", gwB)},
		{Name: V6, Text: rec("*.0.0.0.0.b.0.0.0", 10, 2, "2001:db8:b::1", Ed("gwE")) + rec("*.0.0.0.0.a.0.0.0", 10, 2, "2001:db8:a::1", Ed("gwE")) +
			rec("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.a.0.0.0", 10, 2, "2001:db8:a::1", Ed("gwE"))},
		{Name: "test."},
		{Name: fwd, Text: "gwa IN A 192.0.2.1\n" + rec("gwa", 10, 0, ".", gwA) + txt("gwa", "@gwa."+fwd, gwA) + rec("road", 10, 0, ".", Ed("gwE2")) +
			"alice IN A 192.0.2.10\nevil IN A 203.0.113.20\n" + rec("evil", 10, 0, ".", evil)},
		{Name: "18.198.in-addr.arpa."},
		{Name: "9.18.198.in-addr.arpa.", Dynamic: (&hostile{seen: map[string]int{}}).answer},
		{Name: "19.198.in-addr.arpa.", Dynamic: fleet},
	}
	for n, fault := range map[int]dnslab.Fault{1: dnslab.WrongDS, 2: dnslab.Altered, 3: dnslab.Expired, 4: dnslab.Silent, 5: dnslab.ServFail, 6: dnslab.Stripped, 7: dnslab.Sound, 8: dnslab.Sound} {
		zones = append(zones, dnslab.Zone{
			Name: fmt.Sprintf("%d.18.198.in-addr.arpa.", n), Fault: fault, Unsigned: n == 8, NSEC3: n == 7,
			Text: rec("10", 10, 1, fmt.Sprintf("198.18.%d.1", n), gwB) + txt("11", fmt.Sprintf("198.18.%d.1", n), gwB) + rec("12", 10, 0, ".", Ed("self")) + "22 IN PTR plain." + fwd + "\n",
		})
	}
	return zones
}

// fleet is 198.19.0.0/16: each address is a host with its own key.
func fleet(name string, rrtype uint16) dnslab.Reply {
	l := dns.SplitDomainName(name)
	slices.Reverse(l)
	if len(l) != 6 {
		return dnslab.Reply{}
	}
	a, err := netip.ParseAddr(strings.Join(l[2:], "."))
	if err != nil || rrtype != dns.TypeIPSECKEY {
		return dnslab.Reply{Types: []uint16{dns.TypeIPSECKEY}}
	}
	return dnslab.Reply{Set: []dns.RR{dnslab.IPSECKEY(name, 60, data(10, 0, 4, nil, HostKey(a).Public().(ed25519.PublicKey)))}}
}

func data(prec, kind, alg byte, gw, key []byte) []byte {
	return slices.Concat([]byte{prec, kind, alg}, gw, key)
}

// hostile is 198.18.9.0/24: one misbehaviour per host number.
type hostile struct{ seen map[string]int }

func (h *hostile) answer(name string, rrtype uint16) dnslab.Reply {
	label, zone, _ := strings.Cut(name, ".")
	gw := []byte{198, 18, 9, 1}
	good := HostKey(netip.AddrFrom4([4]byte(gw))).Public().(ed25519.PublicKey)
	one := func(rdata []byte) dnslab.Reply {
		return dnslab.Reply{Set: []dns.RR{dnslab.IPSECKEY(name, 60, rdata)}}
	}
	n, err := strconv.Atoi(label)
	if link, ok := strings.CutPrefix(label, "c"); ok { // the endless chain of 19
		n, err := strconv.Atoi(link)
		if err == nil {
			return dnslab.Reply{Set: []dns.RR{cname(name, fmt.Sprintf("c%d.%s", n+1, zone))}}
		}
	}
	switch {
	case err != nil:
		return dnslab.Reply{}
	case n == 24 && rrtype == dns.TypeTXT:
		return dnslab.Reply{Set: []dns.RR{longTXT(name)}}
	case n == 18:
		return dnslab.Reply{Set: []dns.RR{cname(name, name)}}
	case n == 19:
		return dnslab.Reply{Set: []dns.RR{cname(name, "c1."+zone)}}
	case n == 20 && rrtype == dns.TypeIPSECKEY:
		return dnslab.Reply{Set: []dns.RR{dnslab.IPSECKEY("99."+zone, 60, data(10, 1, 4, gw, good))}, Lonely: true}
	case n >= 21 && n <= 23 && rrtype == dns.TypeIPSECKEY:
		return dnslab.Reply{RCode: []int{dns.RcodeServerFailure, dns.RcodeRefused, dns.RcodeFormatError}[n-21]}
	case rrtype != dns.TypeIPSECKEY:
		return dnslab.Reply{Types: []uint16{dns.TypeIPSECKEY}}
	}
	h.seen[name]++
	switch n {
	case 1: // a kind of gateway that nobody knows
		return one([]byte{10, 200, 2, 1, 2, 3, 4})
	case 2: // shorter than its fixed part
		return one([]byte{10, 200})
	case 3: // no key
		return one(data(10, 1, 0, gw, nil))
	case 4: // RSA announced, key missing
		return one(data(10, 1, 2, gw, nil))
	case 5: // RSA-512, exponent 3
		return one(data(10, 1, 2, gw, append([]byte{1, 3}, bytes.Repeat([]byte{0xc5}, 64)...)))
	case 6: // Ed25519 of 31 octets
		return one(data(10, 1, 4, gw, good[:31]))
	case 7, 8, 9, 10: // gateways that must never be contacted
		return one(data(10, 1, 4, [][]byte{{0, 0, 0, 0}, {127, 0, 0, 1}, {224, 0, 0, 1}, {255, 255, 255, 255}}[n-7], good))
	case 11: // a flood
		var set []dns.RR
		for i := range 64 {
			set = append(set, dnslab.IPSECKEY(name, 60, data(byte(i), 1, 4, []byte{198, 18, 9, byte(i)}, good)))
		}
		return dnslab.Reply{Set: set}
	case 12, 13: // slow
		r := one(data(10, 1, 4, gw, good))
		r.Delay = []time.Duration{3 * time.Second, 20 * time.Second}[n-12]
		return r
	case 14: // loses the first two questions
		if h.seen[name] <= 2 {
			return dnslab.Reply{Drop: true}
		}
	case 15: // another key each time
		if h.seen[name]%2 == 0 {
			good = HostKey(netip.AddrFrom4([4]byte{198, 18, 9, 2})).Public().(ed25519.PublicKey)
		}
		return dnslab.Reply{Set: []dns.RR{dnslab.IPSECKEY(name, 1, data(10, 1, 4, gw, good))}}
	case 16:
		return dnslab.Reply{Set: []dns.RR{dnslab.IPSECKEY(name, 0, data(10, 1, 4, gw, good))}}
	case 17:
		return dnslab.Reply{Set: []dns.RR{dnslab.IPSECKEY(name, 1<<31-1, data(10, 1, 4, gw, good))}}
	case 24:
		return dnslab.Reply{Types: []uint16{dns.TypeTXT}}
	case 25: // RSA-16384
		return one(data(10, 1, 2, gw, append([]byte{3, 1, 0, 1}, bytes.Repeat([]byte{0xc7}, 2048)...)))
	case 26: // the gateway is the root
		return one(data(10, 3, 4, []byte{0}, good))
	case 27: // a key although there is none
		return one(data(10, 1, 0, gw, good))
	}
	return one(data(10, 1, 4, gw, good))
}

func cname(from, to string) dns.RR {
	return &dns.CNAME{Hdr: dns.RR_Header{Name: from, Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: 60}, Target: to}
}

// longTXT is 8 kB with a NUL inside.
func longTXT(name string) dns.RR {
	t := &dns.TXT{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 60}, Txt: []string{"X-IPsec-Server(10)=198.18.9.1", `\000`}}
	for range 32 {
		t.Txt = append(t.Txt, strings.Repeat("A", 250))
	}
	return t
}

// Question is a name of the laboratory with the type to ask for.
type Question struct {
	Name string
	Type uint16
}

// Questions are those on which a validator has to agree with unbound: the 55 of
// the laboratory.
func Questions() []Question {
	var out []Question
	add := func(t uint16, suffix string, hosts ...any) {
		for _, h := range hosts {
			out = append(out, Question{fmt.Sprint(h) + "." + suffix, t})
		}
	}
	h := "18.198.in-addr.arpa."
	add(dns.TypeIPSECKEY, SiteA, 1, 10, 11, 12, 13, 16, 17, 18, 20, 22, 23, 25, 26, 130, 140)
	add(dns.TypeKEY, SiteA, 1)
	add(dns.TypeTXT, SiteA, 14, 15, 24)
	add(dns.TypeIPSECKEY, "example.test.", "gwa", "nobody")
	add(dns.TypeIPSECKEY, "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.b.0.0.0."+V6, "5.f")
	add(dns.TypeIPSECKEY, "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.a.0.0.0."+V6, "5.f", "1.0")
	add(dns.TypeIPSECKEY, h, "10.7", "22.7", "23.7", "10.8", "23.8", "10.1", "10.2", "10.3", "10.5", "10.6")
	add(dns.TypeIPSECKEY, "9."+h, 1, 2, 3, 4, 5, 6, 7, 11, 16, 17, 18, 20, 21, 22, 25, 26, 27, 100)
	add(dns.TypeTXT, "9."+h, 24)
	add(dns.TypeIPSECKEY, "19.198.in-addr.arpa.", "1.0", "254.255")
	return out
}
