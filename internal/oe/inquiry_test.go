package oe

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

var (
	dest   = netip.MustParseAddr("192.0.2.10")
	gwA    = netip.MustParseAddr("192.0.2.1")
	gwD    = netip.MustParseAddr("192.0.2.4")
	start  = time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)
	revOf  = ReverseName(dest)
	revOfA = ReverseName(gwA)
)

// zone is a resolver that knows everything at once, and what it was asked.
type zone struct {
	answers map[Query]Answer
	asked   []Query
}

func (z *zone) Lookup(_ context.Context, name string, rrtype uint16) (Answer, error) {
	q := Query{name, rrtype}
	z.asked = append(z.asked, q)
	if a, ok := z.answers[q]; ok {
		return a, nil
	}
	return Answer{Security: Secure, Expires: start.Add(5 * time.Minute)}, nil
}

// secure is a Secure answer that lives for a minute.
func secure(raw ...[]byte) Answer {
	return Answer{Security: Secure, Found: true, Raw: raw, Expires: start.Add(time.Minute), ProofEnd: start.Add(time.Hour)}
}

// with is the answer at another level of security.
func (a Answer) with(s Security, why string) Answer {
	a.Security, a.Why = s, why
	if s < Insecure {
		a.Raw, a.Found = nil, false
	}
	return a
}

// ik is the RDATA of an IPSECKEY.
func ik(precedence uint16, gateway string, key crypto.PublicKey) []byte {
	rec := Record{Precedence: precedence, Key: key}
	if a, err := netip.ParseAddr(gateway); err == nil {
		rec.Gateway.Addr = a
	} else if gateway != "" {
		rec.Gateway.Name = Name(gateway)
	}
	b, err := rec.AppendIPSECKEY(nil)
	if err != nil {
		panic(err)
	}
	return b
}

func txt(precedence uint16, gateway string, key crypto.PublicKey) []byte {
	rec := Record{Precedence: precedence, Key: key}
	if name, ok := strings.CutPrefix(gateway, "@"); ok {
		rec.Gateway.Name = Name(name)
	} else {
		rec.Gateway.Addr = netip.MustParseAddr(gateway)
	}
	b, err := rec.AppendTXT(nil)
	if err != nil {
		panic(err)
	}
	return b
}

func find(z *zone, i *Inquiry) Finding { return Resolve(context.Background(), z, i) }

// offers is a finding in one line each.
func offers(f Finding) string {
	var b strings.Builder
	if f.Cause != CauseNone {
		fmt.Fprintf(&b, "%s: %s\n", f.Cause, f.Why)
	}
	for _, o := range f.Offers {
		fmt.Fprintf(&b, "%d %s %s\n", o.Precedence, o.title(), o.Level)
	}
	return b.String()
}

func TestGatewaysOfADestination(t *testing.T) {
	k, k2 := edKey(1), edKey(2)
	r := rsaKey(2048, 0xc5)
	ours := func(raw ...[]byte) map[Query]Answer { return map[Query]Answer{{revOf, TypeIPSECKEY}: secure(raw...)} }
	legacy := func(raw ...[]byte) map[Query]Answer { return map[Query]Answer{{revOf, TypeTXT}: secure(raw...)} }
	also := func(m map[Query]Answer, q Query, a Answer) map[Query]Answer { m[q] = a; return m }
	both := Options{TXT: true}
	for name, c := range map[string]struct {
		answers map[Query]Answer
		opts    Options
		want    string
	}{
		"address":          {ours(ik(10, "192.0.2.1", k)), both, "10 192.0.2.1 secure\n"},
		"itself":           {ours(ik(10, "", k)), both, "10 192.0.2.10 secure\n"},
		"two gateways":     {ours(ik(20, "192.0.2.4", k2), ik(10, "192.0.2.1", k)), both, "10 192.0.2.1 secure\n20 192.0.2.4 secure\n"},
		"TXT":              {legacy(txt(10, "192.0.2.1", r)), both, "10 192.0.2.1 secure\n"},
		"TXT not read":     {legacy(txt(10, "192.0.2.1", r)), Options{}, "no-record: 10.2.0.192.in-addr.arpa. IPSECKEY: no record\n"},
		"IPSECKEY wins":    {also(legacy(txt(5, "192.0.2.4", r)), Query{revOf, TypeIPSECKEY}, secure(ik(10, "192.0.2.1", k))), both, "10 192.0.2.1 secure\n"},
		"A22 TXT with @":   {legacy(txt(10, "@gwa.example.test", r)), both, "unusable-key: 10.2.0.192.in-addr.arpa.: gateway @gwa.example.test. of a TXT: the gateway's address is not specified\n"},
		"broken neighbour": {legacy(txtData("X-IPsec-Server(70000)=192.0.2.1"), txtData("v=spf1"), txt(10, "192.0.2.1", r)), both, "10 192.0.2.1 secure\n"},
		"only a broken one": {legacy(txtData("X-IPsec-Server(70000)=192.0.2.1"), txtData("v=spf1")), both,
			"malformed: 10.2.0.192.in-addr.arpa. TXT: malformed: precedence \"70000\" of a TXT is no number up to 65535\n"},
		"by name": {also(ours(ik(10, "gwa.example.test", k)), Query{"gwa.example.test.", TypeA}, secure(gwA.AsSlice())), both, "10 gwa.example.test. secure\n"},
		"name insecure": {also(ours(ik(10, "gwa.example.test", k)), Query{"gwa.example.test.", TypeA}, secure(gwA.AsSlice()).with(Insecure, "")), both,
			"insecure: address of the gateway: gwa.example.test. A: the answer is not protected by DNSSEC\n"},
		"name of no address": {also(ours(ik(10, "gwa.example.test", k)), Query{"gwa.example.test.", TypeA}, secure([]byte{1})), both,
			"malformed: gwa.example.test. A: no address in the answer\n"},
		"keyless": {also(ours(ik(10, "192.0.2.1", nil)), Query{revOfA, TypeIPSECKEY}, secure(ik(1, "", k), ik(2, "192.0.2.1", k2), ik(3, "192.0.2.4", k2))), both,
			"10 192.0.2.1 secure\n10 192.0.2.1 secure\n"},
		"keyless for ever": {ours(ik(10, "", nil)), both, "unusable-key: 10.2.0.192.in-addr.arpa.: no key of gateway 192.0.2.10 at its own name\n"},
		"keyless with KEY": {also(ours(ik(10, "192.0.2.1", nil)), Query{revOfA, TypeKEY}, secure(keyRR(r))), Options{TXT: true, KEY: true}, "10 192.0.2.1 secure\n"},
		"unknown key":      {ours([]byte{10, 1, 5, 192, 0, 2, 1, 1, 2, 3}), both, "unusable-key: 10.2.0.192.in-addr.arpa. IPSECKEY: not usable: key of algorithm 5\n"},
		"bogus":            {map[Query]Answer{{revOf, TypeIPSECKEY}: secure(ik(10, "", k)).with(Bogus, "EDE 6")}, both, "bogus: 10.2.0.192.in-addr.arpa. IPSECKEY: DNSSEC validation failed (EDE 6)\n"},
		"dns":              {map[Query]Answer{{revOf, TypeIPSECKEY}: {Why: "SERVFAIL"}}, both, "dns: 10.2.0.192.in-addr.arpa. IPSECKEY: SERVFAIL\n"},
		"insecure":         {map[Query]Answer{{revOf, TypeIPSECKEY}: secure(ik(10, "", k)).with(Insecure, "")}, both, "insecure: 10.2.0.192.in-addr.arpa. IPSECKEY: the answer is not protected by DNSSEC\n"},
		"insecure none":    {map[Query]Answer{{revOf, TypeIPSECKEY}: {Security: Insecure}}, Options{AcceptInsecure: true}, "insecure: 10.2.0.192.in-addr.arpa. IPSECKEY: the answer is not protected by DNSSEC\n"},
		"weak":             {map[Query]Answer{{revOf, TypeIPSECKEY}: secure(ik(10, "", k)).with(Insecure, "")}, Options{AcceptInsecure: true}, "10 192.0.2.10 weak\n"},
		"bogus TXT beside": {also(ours(ik(10, "192.0.2.1", k)), Query{revOf, TypeTXT}, Answer{Security: Bogus}), both, "10 192.0.2.1 secure\n"},
		"bogus TXT alone":  {map[Query]Answer{{revOf, TypeTXT}: {Security: Bogus, Why: "forged"}}, both, "bogus: 10.2.0.192.in-addr.arpa. TXT: DNSSEC validation failed (forged)\n"},
	} {
		z := &zone{answers: c.answers}
		f := find(z, Gateways(dest, c.opts))
		if got := offers(f); got != c.want {
			t.Errorf("%s: got\n%swant\n%s", name, got, c.want)
		}
		if (f.Cause == CauseNone) != (len(f.Offers) > 0) {
			t.Errorf("%s: cause %s with %d offers", name, f.Cause, len(f.Offers))
		}
	}
}

func keyRR(k crypto.PublicKey) []byte {
	b, err := Record{Key: k}.AppendKEY(nil)
	if err != nil {
		panic(err)
	}
	return b
}

// C07: an insecure record that names a foreign gateway is refused even where
// insecure keys are accepted: it may only delegate to its own address.
func TestC07InsecureRecordNamesAForeignGateway(t *testing.T) {
	z := &zone{answers: map[Query]Answer{{revOf, TypeIPSECKEY}: secure(ik(10, "192.0.2.1", edKey(1))).with(Insecure, "")}}
	f := find(z, Gateways(dest, Options{AcceptInsecure: true}))
	if want := "insecure: 10.2.0.192.in-addr.arpa.: the answer is not protected by DNSSEC and names another gateway, 192.0.2.1\n"; offers(f) != want {
		t.Errorf("got %s", offers(f))
	}
}

// C13: gateways that must never be contacted.
func TestC13HostileGateways(t *testing.T) {
	own := []netip.Addr{netip.MustParseAddr("198.51.100.7")}
	for _, gw := range []string{"0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "255.255.255.255", "240.0.0.1", "169.254.1.1", "198.51.100.7", "2001:db8::1"} {
		z := &zone{answers: map[Query]Answer{{revOf, TypeIPSECKEY}: secure(ik(10, gw, edKey(1)))}}
		if f := find(z, Gateways(dest, Options{Own: own})); f.Cause != CauseUnusableKey || len(f.Offers) > 0 {
			t.Errorf("%s: %s", gw, offers(f))
		}
	}
	six := netip.MustParseAddr("2001:db8::99")
	for _, gw := range []string{"::", "::1", "ff02::1", "fe80::1", "192.0.2.1"} {
		z := &zone{answers: map[Query]Answer{{ReverseName(six), TypeIPSECKEY}: secure(ik(10, gw, edKey(1)))}}
		if f := find(z, Gateways(six, Options{})); f.Cause != CauseUnusableKey || len(f.Offers) > 0 {
			t.Errorf("%s: %s", gw, offers(f))
		}
	}
}

// C14: of 64 records 16 are considered, and no candidate has more than 8 keys.
func TestC14FloodOfRecords(t *testing.T) {
	var raw [][]byte
	for n := range 64 {
		raw = append(raw, ik(uint16(n), "192.0.2.1", edKey(byte(n))))
	}
	f := find(&zone{answers: map[Query]Answer{{revOf, TypeIPSECKEY}: secure(raw...)}}, Gateways(dest, Options{}))
	c, err := f.Candidates(bytes.NewReader(make([]byte, 8)))
	if err != nil || len(f.Offers) != 16 || len(c) != 1 || len(c[0].Keys) != 8 {
		t.Errorf("%d offers, %+v, %v", len(f.Offers), c, err)
	}
	if len(f.Ignored) != 1 || !strings.Contains(f.Ignored[0], "48 records beyond the first 16") {
		t.Errorf("%q", f.Ignored)
	}
	f = find(&zone{answers: map[Query]Answer{{revOf, TypeIPSECKEY}: secure(raw...)}}, KeysOfAddr(gwA, Options{}))
	if f.Cause != CauseNoRecord {
		t.Errorf("records of another name: %s", offers(f))
	}
}

// A record can send us to six questions and no further.
func TestQueriesAreBounded(t *testing.T) {
	var raw [][]byte
	for n := range 16 {
		raw = append(raw, ik(10, fmt.Sprintf("gw%d.example.test", n), nil))
	}
	z := &zone{answers: map[Query]Answer{{revOf, TypeIPSECKEY}: secure(raw...)}}
	f := find(z, Gateways(dest, Options{TXT: true}))
	if len(z.asked) != 6 || len(f.Steps) != 6 || f.Cause != CauseDNS {
		t.Errorf("%d asked: %v; %s", len(z.asked), z.asked, offers(f))
	}
}

// The questions of one inquiry go out together, and what is not needed any more
// is not waited for.
func TestInquiryDoesNotWaitForWhatItDoesNotNeed(t *testing.T) {
	i := Gateways(dest, Options{TXT: true})
	first, ok1 := i.Next()
	second, ok2 := i.Next()
	if _, more := i.Next(); !ok1 || !ok2 || more || first.Type != TypeIPSECKEY || second.Type != TypeTXT {
		t.Fatalf("%v %v", first, second)
	}
	i.Answered(Query{"else.", 1}, Answer{})
	if i.Done() {
		t.Error("done by a stranger's answer")
	}
	i.Answered(first, secure(ik(10, "", edKey(1))))
	if !i.Done() || len(i.Finding().Offers) != 1 || len(i.Finding().Steps) != 1 {
		t.Errorf("%+v", i.Finding())
	}
	i.Answered(second, Answer{Security: Bogus})
	if i.Finding().Cause != CauseNone {
		t.Error("an answer after the end changes the finding")
	}
	late := Gateways(dest, Options{TXT: true})
	q, _ := late.Next()
	late.Answered(q, Answer{Security: Secure})
	if f := late.Finding(); f.Cause != CauseDNS || !strings.Contains(f.Why, "no answer in time") || !late.Done() {
		t.Errorf("at the deadline: %s", offers(f))
	}
}

// What a finding rests on decides how long it holds: the sooner of both lives.
func TestLifeOfAFinding(t *testing.T) {
	z := &zone{answers: map[Query]Answer{{revOf, TypeIPSECKEY}: secure(ik(10, "gwa.example.test", edKey(1)))}}
	a := secure(gwA.AsSlice())
	a.Expires, a.ProofEnd = start.Add(time.Second), start.Add(2*time.Hour)
	z.answers[Query{"gwa.example.test.", TypeA}] = a
	f := find(z, Gateways(dest, Options{}))
	if !f.Expires.Equal(start.Add(time.Second)) || !f.ProofEnd.Equal(start.Add(time.Hour)) {
		t.Errorf("%s, %s", f.Expires, f.ProofEnd)
	}
}

// The responder's rows of opportunistic.md 6.2; A10 to A13 turn on these.
func TestMaySpeak(t *testing.T) {
	k, other := edKey(1), edKey(2)
	answers := map[Query]Answer{
		{revOf, TypeIPSECKEY}:                       secure(ik(10, "192.0.2.1", k), ik(20, "gwn.example.test", other)),
		{"gwn.example.test.", TypeA}:                secure(gwD.AsSlice()),
		{ReverseName(gwD), TypeIPSECKEY}:            secure(ik(10, "", other)),
		{"11.2.0.192.in-addr.arpa.", TypeIPSECKEY}:  secure(ik(10, "192.0.2.4", nil)),
		{"12.2.0.192.in-addr.arpa.", TypeIPSECKEY}:  secure(ik(10, "192.0.2.1", k)).with(Insecure, ""),
		{"13.2.0.192.in-addr.arpa.", TypeIPSECKEY}:  secure(ik(10, "", k)).with(Insecure, ""),
		{"14.2.0.192.in-addr.arpa.", TypeTXT}:       secure(txt(10, "@gw.example.test", rsaKey(2048, 0xc5))),
		{"15.2.0.192.in-addr.arpa.", TypeIPSECKEY}:  secure(ik(10, "", k)),
		{"16.2.0.192.in-addr.arpa.", TypeIPSECKEY}:  {Security: Bogus, Why: "forged"},
		{"17.2.0.192.in-addr.arpa.", TypeIPSECKEY}:  {Why: "SERVFAIL"},
		{"99.2.0.192.in-addr.arpa.", TypeIPSECKEY}:  secure(ik(10, "192.0.2.1", k)),
		{"gw.example.test.", TypeIPSECKEY}:          secure(ik(10, "", k)),
		{"other.example.test.", TypeIPSECKEY}:       secure(ik(10, "", other)),
		{"unrelated.example.test.", TypeIPSECKEY}:   secure(ik(10, "", other)),
		{"100.2.0.192.in-addr.arpa.", TypeIPSECKEY}: secure(ik(10, "gw.example.test", nil)),
	}
	for _, c := range []struct {
		client string
		peer   Speaker
		key    crypto.PublicKey
		weak   bool
		want   Cause
	}{
		{"192.0.2.10", Speaker{Addr: gwA}, k, false, CauseNone},
		{"192.0.2.10", Speaker{Addr: gwA}, other, false, CauseUnlisted},             // A11: another key
		{"192.0.2.10", Speaker{Addr: gwD}, k, false, CauseUnlisted},                 // A10: the key of another gateway
		{"192.0.2.10", Speaker{Addr: gwD}, other, false, CauseNone},                 // named by a name with his address
		{"192.0.2.10", Speaker{Name: "GWN.example.test"}, other, false, CauseNone},  // by his name itself
		{"192.0.2.10", Speaker{Name: "gwn.example.test."}, k, false, CauseUnlisted}, // with another's key
		{"192.0.2.11", Speaker{Addr: gwD}, other, false, CauseNone},                 // keyless: his own record has it
		{"192.0.2.11", Speaker{Addr: gwD}, k, false, CauseUnlisted},                 // and it is another
		{"192.0.2.12", Speaker{Addr: gwA}, k, false, CauseInsecure},                 // nobody validated
		{"192.0.2.12", Speaker{Addr: gwA}, k, true, CauseInsecure},                  // not even then: not itself
		{"192.0.2.13", Speaker{Addr: netip.MustParseAddr("192.0.2.13")}, k, true, CauseNone},
		{"192.0.2.14", Speaker{Name: "gw.example.test"}, rsaKey(2048, 0xc5), false, CauseNone},
		{"192.0.2.14", Speaker{Name: "other.example.test"}, rsaKey(2048, 0xc5), false, CauseUnlisted},
		{"192.0.2.15", Speaker{Addr: gwA}, k, false, CauseUnlisted}, // itself, not him
		{"192.0.2.16", Speaker{Addr: gwA}, k, false, CauseBogus},
		{"192.0.2.17", Speaker{Addr: gwA}, k, false, CauseDNS},
		{"192.0.2.18", Speaker{Addr: gwA}, k, false, CauseNoRecord}, // A13
		{"::ffff:192.0.2.99", Speaker{Addr: netip.MustParseAddr("::ffff:192.0.2.1")}, k, false, CauseNone},
		{"192.0.2.100", Speaker{Name: "gw.example.test"}, k, false, CauseNone},
		{"192.0.2.100", Speaker{Name: "gw.example.test"}, nil, false, CauseUnlisted}, // no key proves nothing
	} {
		o := Options{TXT: true, AcceptInsecure: c.weak}
		f := find(&zone{answers: answers}, MaySpeak(netip.MustParseAddr(c.client), c.peer, c.key, o))
		if f.Cause != c.want || (f.Cause == CauseNone) != (len(f.Offers) > 0) || (f.Cause != CauseNone) != (f.Why != "") {
			t.Errorf("%s for %s: %s, %d offers", c.peer, c.client, offers(f), len(f.Offers))
		}
	}
}

func TestKeysOfAPeer(t *testing.T) {
	k, other := edKey(1), edKey(2)
	r := rsaKey(2048, 0xc5)
	z := &zone{answers: map[Query]Answer{
		{revOfA, TypeIPSECKEY}:                   secure(ik(10, "192.0.2.1", k), ik(20, "192.0.2.4", other)),
		{"road.example.test.", TypeIPSECKEY}:     secure(ik(10, "", k), ik(10, "192.0.2.9", other)),
		{"old.example.test.", TypeTXT}:           secure(txt(10, "@old.example.test", r), txt(10, "@new.example.test", rsaKey(2048, 0xd5))),
		{"ancient.example.test.", TypeKEY}:       secure(keyRR(r)),
		{"nokey.example.test.", TypeIPSECKEY}:    secure(ik(10, "192.0.2.9", nil)),
		{"unsigned.example.test.", TypeIPSECKEY}: secure(ik(10, "", k)).with(Insecure, ""),
	}}
	name := func(n string, o Options) Finding { return find(z, KeysOfName(n, o)) }
	for what, c := range map[string]struct {
		f    Finding
		want string
	}{
		"address":      {find(z, KeysOfAddr(gwA, Options{})), "10 192.0.2.1 secure\n"},
		"no record":    {find(z, KeysOfAddr(gwD, Options{})), "no-record: 4.2.0.192.in-addr.arpa. IPSECKEY: no record\n"},
		"name":         {name("Road.example.test", Options{}), "10 road.example.test. named\n10 road.example.test. named\n"},
		"TXT of him":   {name("old.example.test.", Options{TXT: true}), "10 old.example.test. named\n"},
		"KEY not read": {name("ancient.example.test", Options{TXT: true}), "no-record: ancient.example.test. IPSECKEY: no record\n"},
		"KEY":          {name("ancient.example.test", Options{TXT: true, KEY: true}), "0 ancient.example.test. named\n"},
		"keyless":      {name("nokey.example.test", Options{}), "unusable-key: nokey.example.test.: a record without a key\n"},
		"unsigned":     {name("unsigned.example.test", Options{}), "insecure: unsigned.example.test. IPSECKEY: the answer is not protected by DNSSEC\n"},
		"weak":         {name("unsigned.example.test", Options{AcceptInsecure: true}), "10 unsigned.example.test. weak\n"},
	} {
		if got := offers(c.f); got != c.want {
			t.Errorf("%s: got\n%swant\n%s", what, got, c.want)
		}
	}
}

// Equal precedence is a matter of chance, unequal is not; the offers of one
// gateway stay together.
func TestCandidatesInOrder(t *testing.T) {
	k := edKey(1)
	f := Finding{Offers: []Offer{
		{Addr: gwA, Precedence: 10, Key: k, Level: LevelSecure}, {Addr: gwD, Precedence: 10, Key: k, Level: LevelSecure, Name: "d."},
		{Addr: dest, Precedence: 5, Key: edKey(3), Level: LevelSecure}, {Addr: gwA, Precedence: 10, Key: edKey(2), Level: LevelSecure}, {Addr: gwA, Precedence: 11, Key: k, Level: LevelSecure},
	}}
	order := func(random string) (addrs []netip.Addr) {
		c, err := f.Candidates(strings.NewReader(random))
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range c {
			addrs = append(addrs, g.Addr)
			if g.Addr == gwA && len(g.Keys) != 2 || g.Addr == gwD && !reflect.DeepEqual(g.Names, []string{"d."}) {
				t.Errorf("%+v", g)
			}
		}
		return addrs
	}
	if got := order("aaaaaaaa" + "bbbbbbbb" + "cccccccc"); !reflect.DeepEqual(got, []netip.Addr{dest, gwA, gwD}) {
		t.Errorf("%v", got)
	}
	if got := order("bbbbbbbb" + "aaaaaaaa" + "cccccccc"); !reflect.DeepEqual(got, []netip.Addr{dest, gwD, gwA}) {
		t.Errorf("%v", got)
	}
	if _, err := f.Candidates(strings.NewReader("short")); err == nil {
		t.Error("no randomness, and yet an order")
	}
}

type closed struct{}

func (closed) Lookup(context.Context, string, uint16) (Answer, error) {
	return Answer{}, errors.New("closed")
}

func TestAResolverThatFails(t *testing.T) {
	if f := Resolve(context.Background(), closed{}, Gateways(dest, Options{TXT: true})); f.Cause != CauseDNS || f.Why == "" {
		t.Errorf("%+v", f)
	}
}

func TestWords(t *testing.T) {
	if CauseBogus.String() != "bogus" || CauseUnlisted.String() != "unlisted" || Cause(99).String() != "cause 99" || Level(99).String() != "level 99" {
		t.Error("words of causes and levels")
	}
}

// Whatever the DNS answers, an inquiry ends, asks at most six questions, and
// has offers or a cause.
func FuzzInquiry(f *testing.F) {
	f.Add([]byte{3, 1}, ik(10, "192.0.2.1", edKey(1)), []byte("x"))
	f.Add([]byte{3, 3}, ik(10, "gwa.example.test", nil), gwA.AsSlice())
	f.Add([]byte{2, 0, 1}, txt(10, "@a.b", rsaKey(2048, 1)), ik(1, "", nil))
	f.Fuzz(func(t *testing.T, plan, one, two []byte) {
		for _, i := range []*Inquiry{
			Gateways(dest, Options{TXT: true, KEY: true, AcceptInsecure: true}), MaySpeak(dest, Speaker{Addr: gwA, Name: "a.b"}, edKey(1), Options{TXT: true}),
			KeysOfAddr(gwA, Options{KEY: true}), KeysOfName("a.b", Options{TXT: true}),
		} {
			n := 0
			for q, ok := i.Next(); ok; q, ok = i.Next() {
				a := Answer{Security: Secure, Found: true, Raw: [][]byte{one, two}}
				if n < len(plan) {
					a.Security, a.Found = Security(plan[n]%4), plan[n]&4 == 0
				}
				n++
				i.Answered(q, a)
			}
			got := i.Finding()
			if n > 6 || (got.Cause == CauseNone) != (len(got.Offers) > 0) || (got.Cause == CauseNone) != (got.Why == "") {
				t.Fatalf("%d questions: %+v", n, got)
			}
			for _, o := range got.Offers {
				if o.Key == nil {
					t.Fatalf("an offer without a key: %+v", o)
				}
			}
		}
	})
}
