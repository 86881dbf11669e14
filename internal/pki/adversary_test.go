package pki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/pki/pkitest"
)

// The rows X509 of adversary.md, as far as they are about certificates alone.

func TestAdv_X509_01_HostNames(t *testing.T) {
	l := newLab(t)
	onlyCN := l.root.Leaf(t, pkitest.Spec{Subject: "CN=cn.example.org"})
	for _, c := range []struct {
		id   string
		leaf *pkitest.Cert
		step Step
	}{
		{"@GW.example.org", l.gw, 0},
		{"@gw.EXAMPLE.org", l.gw, 0},
		{"@gw.example.or", l.gw, StepIdentity},
		{"@gw.example.org.evil", l.gw, StepIdentity},
		{"@host.wild.example.org", l.gw, StepIdentity},
		{"@*.wild.example.org", l.gw, StepIdentity},
		{"@cn.example.org", onlyCN, StepIdentity},
	} {
		_, err := l.store.Verify(now, pkitest.Payloads(c.leaf, l.sub), id(t, c.id), Policy{})
		want(t, c.id, err, c.step)
	}
}

func TestAdv_X509_02_DistinguishedNames(t *testing.T) {
	l := newLab(t)
	// The same characters in other string types.
	attribute := func(oid asn1.ObjectIdentifier, tag int, v string) pkix.RelativeDistinguishedNameSET {
		return pkix.RelativeDistinguishedNameSET{{Type: oid, Value: asn1.RawValue{Tag: tag, Bytes: []byte(v)}}}
	}
	der, err := asn1.Marshal(pkix.RDNSequence{
		attribute(asn1.ObjectIdentifier{2, 5, 4, 6}, asn1.TagPrintableString, "CH"),
		attribute(asn1.ObjectIdentifier{2, 5, 4, 10}, asn1.TagUTF8String, "Lab"),
		attribute(asn1.ObjectIdentifier{2, 5, 4, 3}, asn1.TagUTF8String, "gw.example.org"),
	})
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		id   ike.ID
		step Step
	}{
		"equal":       {id(t, "C=CH, O=Lab, CN=gw.example.org"), 0},
		"other types": {ike.ID{Kind: ike.IDDN, Data: string(der)}, 0},
		"re-ordered":  {id(t, "O=Lab, C=CH, CN=gw.example.org"), StepIdentity},
		"prefix":      {id(t, "C=CH, O=Lab"), StepIdentity},
		"longer":      {id(t, "C=CH, O=Lab, CN=gw.example.org, OU=x"), StepIdentity},
		"other case":  {id(t, "C=CH, O=lab, CN=gw.example.org"), StepIdentity},
		"cut DER":     {ike.ID{Kind: ike.IDDN, Data: string(l.gw.RawSubject[:len(l.gw.RawSubject)-3])}, StepIdentity},
		"empty name":  {ike.ID{Kind: ike.IDDN, Data: "\x30\x00"}, StepIdentity},
		"nothing":     {ike.ID{Kind: ike.IDDN}, StepIdentity},
	} {
		_, err := l.store.Verify(now, pkitest.Payloads(l.gw, l.sub), c.id, Policy{})
		want(t, what, err, c.step)
	}
	nameless := l.root.Leaf(t, pkitest.Spec{DNS: []string{"x.example.org"}})
	_, err = l.store.Verify(now, pkitest.Payloads(nameless), ike.ID{Kind: ike.IDDN, Data: "\x30\x00"}, Policy{})
	want(t, "empty name of a certificate without one", err, StepIdentity)
	_, err = l.store.Verify(now, pkitest.Payloads(nameless), id(t, "@x.example.org"), Policy{})
	want(t, "alternative name of a certificate without a subject", err, 0)
}

func TestAdv_X509_03_Addresses(t *testing.T) {
	l := newLab(t)
	mapped := ike.ID{Kind: ike.IDIPv6, Data: string(netip.MustParseAddr("::ffff:192.0.2.1").AsSlice())}
	for what, c := range map[string]struct {
		id   ike.ID
		step Step
	}{
		"IPv4":                   {id(t, "192.0.2.1"), 0},
		"IPv6":                   {id(t, "2001:db8::1"), 0},
		"another":                {id(t, "192.0.2.2"), StepIdentity},
		"text in a DNS name":     {id(t, "192.0.2.7"), StepIdentity},
		"IPv4 as IPv6":           {mapped, StepIdentity},
		"address as host name":   {ike.ID{Kind: ike.IDFQDN, Data: "192.0.2.1"}, StepIdentity},
		"four octets, five long": {ike.ID{Kind: ike.IDIPv4, Data: "\xc0\x00\x02\x01\x00"}, StepIdentity},
	} {
		_, err := l.store.Verify(now, pkitest.Payloads(l.gw, l.sub), c.id, Policy{})
		want(t, what, err, c.step)
	}
}

func TestAdv_X509_04_MailAddresses(t *testing.T) {
	l := newLab(t)
	for what, c := range map[string]struct {
		id   ike.ID
		step Step
	}{
		"equal":                {id(t, "Admin@Example.org"), 0},
		"other case of host":   {id(t, "Admin@example.ORG"), 0},
		"other case of person": {id(t, "admin@example.org"), StepIdentity},
		"as host name":         {ike.ID{Kind: ike.IDFQDN, Data: "Admin@Example.org"}, StepIdentity},
		"host name as mail":    {ike.ID{Kind: ike.IDUser, Data: "GW.example.org"}, StepIdentity},
		"key ID":               {ike.ID{Kind: ike.IDKeyID, Data: "Admin@Example.org"}, StepIdentity},
		"NULL":                 {ike.ID{Kind: ike.IDNULL}, StepIdentity},
		"none":                 {ike.ID{}, StepIdentity},
	} {
		_, err := l.store.Verify(now, pkitest.Payloads(l.gw, l.sub), c.id, Policy{})
		want(t, what, err, c.step)
	}
}

func TestAdv_X509_06_AnotherAuthority(t *testing.T) {
	l := newLab(t)
	other := pkitest.Root(t, pkitest.Spec{Subject: "C=CH, O=Other, CN=Root"})
	both := trusting(t, l.root, other, l.sub)
	chain := pkitest.Payloads(l.gw, l.sub)
	gw := id(t, "@gw.example.org")
	for ca, step := range map[string]Step{
		"C=CH, O=Lab, CN=Root":   0,
		"C=CH, O=Lab, CN=Sub":    0,
		"C=CH, O=Other, CN=Root": StepCA,
		"C=CH, O=Lab":            StepCA,
		// The end entity is not its own authority.
		"C=CH, O=Lab, CN=gw.example.org": StepCA,
	} {
		_, err := both.Verify(now, chain, gw, Policy{CA: id(t, ca)})
		want(t, ca, err, step)
	}
	_, err := trusting(t, other).Verify(now, chain, gw, Policy{})
	want(t, "authority that is not trusted", err, StepChain)
	_, err = load(t, nil).Verify(now, chain, gw, Policy{})
	want(t, "none trusted", err, StepChain)
}

func TestAdv_X509_07_WhoMaySign(t *testing.T) {
	l := newLab(t)
	gw := gateway()
	ee := l.root.Leaf(t, pkitest.Spec{Subject: "CN=End Entity", Usage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign})
	short := l.root.Sub(t, pkitest.Spec{Subject: "CN=Short", MaxPath: -1})
	below := short.Sub(t, pkitest.Spec{Subject: "CN=Below"})
	mute := l.root.Sub(t, pkitest.Spec{Subject: "CN=Mute", Usage: x509.KeyUsageCRLSign})
	plain := l.root.Sub(t, pkitest.Spec{Subject: "CN=Plain", NotBasic: true})
	self := pkitest.Self(t, gw)
	spec := gw
	spec.Subject = "C=CH, O=Lab, CN=Root" // issuer and subject the same: CVE-2004-0590
	sameName := l.root.Leaf(t, spec)
	liar := pkitest.Root(t, pkitest.Spec{Subject: "C=CH, O=Lab, CN=Root"}) // our root's name, another key
	for what, c := range map[string]struct {
		certs []*pkitest.Cert
		step  Step
	}{
		"below an end entity":          {[]*pkitest.Cert{ee.Leaf(t, gw), ee}, StepUsage},
		"path too long":                {[]*pkitest.Cert{below.Leaf(t, gw), below, short}, StepChain},
		"path just right":              {[]*pkitest.Cert{short.Leaf(t, gw), short}, 0},
		"no certSign":                  {[]*pkitest.Cert{mute.Leaf(t, gw), mute}, StepUsage},
		"no basic constraints":         {[]*pkitest.Cert{plain.Leaf(t, gw), plain}, StepUsage},
		"self-signed":                  {[]*pkitest.Cert{self}, StepChain},
		"root's name, its signature":   {[]*pkitest.Cert{sameName}, 0},
		"root's name, not its key":     {[]*pkitest.Cert{liar.Leaf(t, gw), liar}, StepChain},
		"the authority itself":         {[]*pkitest.Cert{l.sub}, StepUsage},
		"the root itself":              {[]*pkitest.Cert{l.root}, StepUsage},
		"an authority that also signs": {[]*pkitest.Cert{l.root.Sub(t, with(gw, func(s *pkitest.Spec) { s.Usage = x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign }))}, StepUsage},
		"no digitalSignature":          {[]*pkitest.Cert{l.root.Leaf(t, with(gw, func(s *pkitest.Spec) { s.Usage = x509.KeyUsageKeyEncipherment }))}, StepUsage},
		"nonRepudiation will do":       {[]*pkitest.Cert{l.root.Leaf(t, with(gw, func(s *pkitest.Spec) { s.Usage = x509.KeyUsageContentCommitment }))}, 0},
		"no key usage at all":          {[]*pkitest.Cert{l.root.Leaf(t, with(gw, func(s *pkitest.Spec) { s.Usage = pkitest.NoUsage }))}, 0},
		"intermediate before the leaf": {[]*pkitest.Cert{l.sub, l.gw}, 0},
		"root sent as well":            {[]*pkitest.Cert{l.gw, l.sub, l.root}, 0},
		"intermediate missing":         {[]*pkitest.Cert{l.gw}, StepChain},
	} {
		_, err := l.store.Verify(now, pkitest.Payloads(c.certs...), id(t, "@gw.example.org"), Policy{})
		want(t, what, err, c.step)
	}
}

func with(s pkitest.Spec, change func(*pkitest.Spec)) pkitest.Spec {
	change(&s)
	return s
}

func TestAdv_X509_08_NameConstraints(t *testing.T) {
	l := newLab(t)
	// Forms of names that nobody here checks, critical or not.
	odd := func(critical bool, tag int, value []byte) pkix.Extension {
		base := asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tag, IsCompound: tag == 4, Bytes: value}
		tree := mustDER(t, []asn1.RawValue{base})
		list := asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 1, IsCompound: true, Bytes: tree}
		return pkix.Extension{Id: oidNameConstraints, Critical: critical, Value: mustDER(t, []asn1.RawValue{list})}
	}
	name := pkitest.Name(t, "C=CH, O=Lab")
	for what, c := range map[string]struct {
		sub  pkitest.Spec
		leaf pkitest.Spec
		step Step
	}{
		"permitted":                        {pkitest.Spec{Permit: []string{"example.org"}}, pkitest.Spec{DNS: []string{"gw.example.org"}}, 0},
		"permitted in other case":          {pkitest.Spec{Permit: []string{"EXAMPLE.org"}}, pkitest.Spec{DNS: []string{"gw.example.org"}}, 0},
		"not permitted":                    {pkitest.Spec{Permit: []string{"example.com"}}, pkitest.Spec{DNS: []string{"gw.example.org"}}, StepConstraint},
		"excluded":                         {pkitest.Spec{Exclude: []string{"example.org"}}, pkitest.Spec{DNS: []string{"gw.example.org"}}, StepConstraint},
		"excluded, certificate upper case": {pkitest.Spec{Exclude: []string{"example.org"}}, pkitest.Spec{DNS: []string{"GW.EXAMPLE.ORG"}}, StepConstraint},
		"excluded, constraint upper case":  {pkitest.Spec{Exclude: []string{"EXAMPLE.ORG"}}, pkitest.Spec{DNS: []string{"gw.example.org"}}, StepConstraint},
		"another name is excluded":         {pkitest.Spec{Exclude: []string{"example.com"}}, pkitest.Spec{DNS: []string{"gw.example.org", "www.example.com"}}, StepConstraint},
		"address excluded":                 {pkitest.Spec{ExcludeIP: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}, pkitest.Spec{DNS: []string{"gw.example.org"}, IP: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}, StepConstraint},
		"mail excluded":                    {pkitest.Spec{ExcludeMail: []string{"example.org"}}, pkitest.Spec{DNS: []string{"gw.example.org"}, Mail: []string{"a@EXAMPLE.org"}}, StepConstraint},
		"directory name, critical":         {pkitest.Spec{Extra: []pkix.Extension{odd(true, 4, name)}}, pkitest.Spec{DNS: []string{"gw.example.org"}}, StepExtension},
		"directory name, not critical":     {pkitest.Spec{Extra: []pkix.Extension{odd(false, 4, name)}}, pkitest.Spec{DNS: []string{"gw.example.org"}}, StepConstraint},
		"registered ID, not critical":      {pkitest.Spec{Extra: []pkix.Extension{odd(false, 8, []byte{42})}}, pkitest.Spec{DNS: []string{"gw.example.org"}}, StepConstraint},
	} {
		c.sub.Subject = "CN=Constrained"
		sub := l.root.Sub(t, c.sub)
		leaf := sub.Leaf(t, c.leaf)
		_, err := l.store.Verify(now, pkitest.Payloads(leaf, sub), id(t, "@gw.example.org"), Policy{})
		want(t, what, err, c.step)
	}
}

func mustDER(t testing.TB, v any) []byte {
	t.Helper()
	b, err := asn1.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAdv_X509_09_Purpose(t *testing.T) {
	l := newLab(t)
	private := asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1}
	for what, c := range map[string]struct {
		sub, leaf pkitest.Spec
		step      Step
	}{
		"none":                     {step: 0},
		"any":                      {leaf: pkitest.Spec{ExtUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}},
		"IKE":                      {leaf: pkitest.Spec{OtherUsage: []asn1.ObjectIdentifier{oidIPsecIKE}}},
		"IKE intermediate":         {leaf: pkitest.Spec{OtherUsage: []asn1.ObjectIdentifier{oidIKEIntermediate}}},
		"server":                   {leaf: pkitest.Spec{ExtUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}},
		"client":                   {leaf: pkitest.Spec{ExtUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}},
		"code and server":          {leaf: pkitest.Spec{ExtUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning, x509.ExtKeyUsageServerAuth}}},
		"code":                     {leaf: pkitest.Spec{ExtUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}}, step: StepUsage},
		"OCSP":                     {leaf: pkitest.Spec{ExtUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}}, step: StepUsage},
		"something private":        {leaf: pkitest.Spec{OtherUsage: []asn1.ObjectIdentifier{private}}, step: StepUsage},
		"authority for code":       {sub: pkitest.Spec{ExtUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}}, step: StepUsage},
		"authority for servers":    {sub: pkitest.Spec{ExtUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}},
		"server under client only": {sub: pkitest.Spec{ExtUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, leaf: pkitest.Spec{ExtUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, step: StepUsage},
		"critical and unknown":     {leaf: pkitest.Spec{Extra: []pkix.Extension{{Id: private, Critical: true, Value: []byte{5, 0}}}}, step: StepExtension},
		"unknown, not critical":    {leaf: pkitest.Spec{Extra: []pkix.Extension{{Id: private, Value: []byte{5, 0}}}}},
		"authority critical":       {sub: pkitest.Spec{Extra: []pkix.Extension{{Id: private, Critical: true, Value: []byte{5, 0}}}}, step: StepExtension},
	} {
		c.sub.Subject, c.leaf.DNS = "CN=Purposeful", []string{"gw.example.org"}
		sub := l.root.Sub(t, c.sub)
		_, err := l.store.Verify(now, pkitest.Payloads(sub.Leaf(t, c.leaf), sub), id(t, "@gw.example.org"), Policy{})
		want(t, what, err, c.step)
	}
}

func TestAdv_X509_11_Time(t *testing.T) {
	l := newLab(t)
	at := func(year int) time.Time { return time.Date(year, 6, 1, 0, 0, 0, 0, time.UTC) }
	name := id(t, "@gw.example.org")
	check := func(what string, when time.Time, leaf pkitest.Spec, step Step) {
		t.Helper()
		leaf.DNS = []string{"gw.example.org"}
		_, err := l.store.Verify(when, pkitest.Payloads(l.root.Leaf(t, leaf)), name, Policy{})
		want(t, what, err, step)
	}
	until := now.Add(time.Hour)
	check("last second", until, pkitest.Spec{Until: until}, 0)
	check("a second later", until.Add(time.Second), pkitest.Spec{Until: until}, StepTime)
	check("first second", now, pkitest.Spec{From: now}, 0)
	check("a second early", now.Add(-time.Second), pkitest.Spec{From: now}, StepTime)
	check("1950, the first of UTCTime", now, pkitest.Spec{From: at(1950)}, 0)
	check("2049, the last of UTCTime", now, pkitest.Spec{Until: at(2049)}, 0)
	check("2050, GeneralizedTime", now, pkitest.Spec{Until: at(2050)}, 0)
	check("no well-defined end", now, pkitest.Spec{Until: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)}, 0)
	check("no time at all", time.Time{}, pkitest.Spec{}, StepTime)

	// Without a time it is not today, whatever the certificates allow.
	ever := pkitest.Root(t, pkitest.Spec{Subject: "CN=Ever", From: at(0), Until: at(9998)})
	leaf := ever.Leaf(t, with(gateway(), func(s *pkitest.Spec) { s.From, s.Until = at(0), at(9998) }))
	_, err := trusting(t, ever).Verify(time.Time{}, pkitest.Payloads(leaf), name, Policy{})
	want(t, "no time, always valid", err, StepTime)

	// What DER forbids: fractions of a second, times without Z.
	good := l.root.Leaf(t, pkitest.Spec{DNS: []string{"gw.example.org"}, Until: at(2055)})
	i := bytes.Index(good.Raw, []byte("20550601000000Z"))
	if i < 0 {
		t.Fatal("no GeneralizedTime found")
	}
	for _, text := range []string{"205506010000.0Z", "205506010000000", "20550601000060Z", "20551301000000Z"} {
		bad := bytes.Clone(good.Raw)
		copy(bad[i:], text)
		_, err := l.store.Verify(now, []ike.Cert{{Encoding: ike.CertX509, Data: bad}}, name, Policy{})
		want(t, text, err, StepParse)
	}
	old := l.root.Sub(t, pkitest.Spec{Subject: "CN=Old", Until: now.AddDate(0, 0, -1)})
	_, err = l.store.Verify(now, pkitest.Payloads(old.Leaf(t, gateway()), old), name, Policy{})
	want(t, "expired authority", err, StepTime)
	if err != nil && !strings.Contains(err.Error(), "CN=Old") {
		t.Errorf("it is not said whose certificate expired: %v", err)
	}
}

func TestAdv_X509_14_HashAndURL(t *testing.T) {
	l := newLab(t)
	url := ike.Cert{Encoding: ike.CertHashURL, Data: append(make([]byte, 20), "http://192.0.2.1/cert.der"...)}
	bundle := url
	bundle.Encoding = ike.CertBundle
	for _, c := range []ike.Cert{url, bundle} {
		_, err := l.store.Verify(now, []ike.Cert{c}, id(t, "@gw.example.org"), Policy{})
		want(t, "hash and URL", err, StepHashURL)
		if err != nil && !strings.Contains(err.Error(), "hash and URL") {
			t.Errorf("no reason given: %v", err)
		}
	}
	_, err := l.store.Verify(now, append(pkitest.Payloads(l.gw, l.sub), url), id(t, "@gw.example.org"), Policy{})
	want(t, "beside the real ones", err, 0)
}

func TestAdv_X509_15_Mazes(t *testing.T) {
	l := newLab(t)
	gw := gateway()
	name := id(t, "@gw.example.org")
	// Ten authorities of one name, one of which has signed.
	var twins []*pkitest.Cert
	for range 10 {
		twins = append(twins, l.root.Sub(t, pkitest.Spec{Subject: "CN=Twin"}))
	}
	leaf := twins[9].Leaf(t, gw)
	_, err := l.store.Verify(now, pkitest.Payloads(append([]*pkitest.Cert{leaf}, twins...)...), name, Policy{})
	want(t, "ten twins", err, 0)
	_, err = l.store.Verify(now, pkitest.Payloads(append([]*pkitest.Cert{leaf}, twins[:9]...)...), name, Policy{})
	want(t, "nine wrong twins", err, StepChain)

	// Two that have signed each other, and a loop of one.
	a := pkitest.Root(t, pkitest.Spec{Subject: "CN=A"})
	b := pkitest.Root(t, pkitest.Spec{Subject: "CN=B"})
	ab := a.Sub(t, pkitest.Spec{Subject: "CN=B", Key: b.Key})
	ba := b.Sub(t, pkitest.Spec{Subject: "CN=A", Key: a.Key})
	_, err = l.store.Verify(now, pkitest.Payloads(a.Leaf(t, gw), ab, ba, a, b), name, Policy{})
	want(t, "loop", err, StepChain)
	_, err = trusting(t, b).Verify(now, pkitest.Payloads(a.Leaf(t, gw), ab, ba), name, Policy{})
	want(t, "cross certificate", err, 0)

	// Every authority has signed every other: paths without end.
	var mesh []*pkitest.Cert
	roots := []*pkitest.Cert{a, b, pkitest.Root(t, pkitest.Spec{Subject: "CN=C"}), pkitest.Root(t, pkitest.Spec{Subject: "CN=D"})}
	for i, x := range roots {
		for j, y := range roots {
			if i != j {
				mesh = append(mesh, x.Sub(t, pkitest.Spec{Subject: "CN=" + string(rune('A'+j)), Key: y.Key}))
			}
		}
	}
	_, err = l.store.Verify(now, pkitest.Payloads(append(mesh, a.Leaf(t, gw))...), name, Policy{})
	want(t, "mesh", err, StepChain)

	// Deep chains: refused by their number, or by their length.
	deep := []*pkitest.Cert{l.root}
	for i := range 99 {
		deep = append(deep, deep[i].Sub(t, pkitest.Spec{Subject: fmt.Sprintf("CN=Deep %d", i)}))
	}
	for n, step := range map[int]Step{6: 0, 7: StepBounds, 14: StepBounds, 99: StepBounds} {
		chain := slices.Clone(deep[1 : n+1])
		slices.Reverse(chain)
		_, err = l.store.Verify(now, pkitest.Payloads(append([]*pkitest.Cert{deep[n].Leaf(t, gw)}, chain...)...), name, Policy{})
		want(t, fmt.Sprintf("%d between", n), err, step)
	}
}

func TestAdv_X509_16_Keys(t *testing.T) {
	l := newLab(t)
	rsaKey := func(bits int, e int, even bool) *rsa.PublicKey {
		n := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
		n.SetBit(n, 3, 1)
		if !even {
			n.SetBit(n, 0, 1)
		}
		return &rsa.PublicKey{N: n, E: e}
	}
	name := id(t, "@gw.example.org")
	for what, key := range map[string]*rsa.PublicKey{
		"512 bits": rsaKey(512, 65537, false), "1024 bits": rsaKey(1024, 65537, false), "2047 bits": rsaKey(2047, 65537, false),
		"8193 bits": rsaKey(8193, 65537, false), "16384 bits": rsaKey(16384, 65537, false),
		"e 1": rsaKey(2048, 1, false), "e 2": rsaKey(2048, 2, false), "e even": rsaKey(2048, 65536, false),
		"e 2^32+1": rsaKey(2048, 1<<32+1, false), "n even": rsaKey(2048, 65537, true),
	} {
		leaf := l.root.Leaf(t, pkitest.Spec{DNS: []string{"gw.example.org"}, Public: key})
		_, err := l.store.Verify(now, pkitest.Payloads(leaf), name, Policy{})
		want(t, what, err, StepKey)
		// As an authority's key: nothing is checked with it.
		sub := l.root.Sub(t, pkitest.Spec{Subject: "CN=Weak", Public: key})
		_, err = l.store.Verify(now, pkitest.Payloads(l.gw, sub), name, Policy{})
		want(t, what+" of an authority", err, StepChain)
	}
	// e = 0 and e = 2^64 do not get as far as a key.
	good := pkitest.Root(t, pkitest.Spec{Kind: pkitest.RSA2048, DNS: []string{"gw.example.org"}})
	for what, e := range map[string]*big.Int{"e 0": big.NewInt(0), "e negative": big.NewInt(-3), "e 2^64": new(big.Int).Lsh(big.NewInt(1), 64)} {
		type key struct{ N, E *big.Int }
		bits := mustDER(t, key{good.PublicKey.(*rsa.PublicKey).N, e})
		spki := mustDER(t, struct {
			Algorithm pkix.AlgorithmIdentifier
			Key       asn1.BitString
		}{pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}, Parameters: asn1.NullRawValue}, asn1.BitString{Bytes: bits, BitLength: 8 * len(bits)}})
		_, err := l.store.Verify(now, []ike.Cert{{Encoding: ike.CertX509, Data: replaceKey(t, good.Raw, spki)}}, name, Policy{})
		want(t, what, err, StepParse)
	}
	// An EC key that brings its own curve (CVE-2017-... family): prime, a, b, G.
	spki := mustDER(t, struct {
		Algorithm struct {
			OID   asn1.ObjectIdentifier
			Curve struct{ Version, Prime, Order *big.Int }
		}
		Key asn1.BitString
	}{Algorithm: struct {
		OID   asn1.ObjectIdentifier
		Curve struct{ Version, Prime, Order *big.Int }
	}{asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}, struct{ Version, Prime, Order *big.Int }{big.NewInt(1), big.NewInt(23), big.NewInt(7)}},
		Key: asn1.BitString{Bytes: []byte{4, 1, 2}, BitLength: 24}})
	_, err := l.store.Verify(now, []ike.Cert{{Encoding: ike.CertX509, Data: replaceKey(t, l.gw.Raw, spki)}}, name, Policy{})
	want(t, "explicit curve", err, StepParse)
	// Weak signatures.
	weak := pkitest.Root(t, pkitest.Spec{Subject: "CN=Weak", Kind: pkitest.RSA2048})
	leaf := weak.Leaf(t, pkitest.Spec{DNS: []string{"gw.example.org"}, Algorithm: x509.SHA1WithRSA})
	_, err = trusting(t, weak).Verify(now, pkitest.Payloads(leaf), name, Policy{})
	want(t, "SHA-1", err, StepAlgorithm)
	md5 := bytes.ReplaceAll(leaf.Raw, []byte("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05"), []byte("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x04"))
	_, err = trusting(t, weak).Verify(now, []ike.Cert{{Encoding: ike.CertX509, Data: md5}}, name, Policy{})
	want(t, "MD5", err, StepAlgorithm)
	sub := weak.Sub(t, pkitest.Spec{Subject: "CN=Weak Sub", Algorithm: x509.SHA1WithRSA})
	_, err = trusting(t, weak).Verify(now, pkitest.Payloads(sub.Leaf(t, gateway()), sub), name, Policy{})
	want(t, "SHA-1 in between", err, StepAlgorithm)
	for _, kind := range []pkitest.KeyKind{pkitest.P256, pkitest.P384, pkitest.RSA2048, pkitest.Ed25519} {
		root := pkitest.Root(t, pkitest.Spec{Subject: "CN=Sound", Kind: kind})
		leaf, err := trusting(t, root).Verify(now, pkitest.Payloads(root.Leaf(t, with(gateway(), func(s *pkitest.Spec) { s.Kind = kind }))), name, Policy{})
		want(t, fmt.Sprintf("kind %d", kind), err, 0)
		if err == nil && leaf.Key == nil {
			t.Error("no key")
		}
	}
}

// replaceKey puts another SubjectPublicKeyInfo into a certificate; the
// signature no longer holds.
func replaceKey(t testing.TB, der, spki []byte) []byte {
	t.Helper()
	var outer, tbs []asn1.RawValue
	if _, err := asn1.Unmarshal(der, &outer); err != nil {
		t.Fatal(err)
	}
	if _, err := asn1.Unmarshal(outer[0].FullBytes, &tbs); err != nil {
		t.Fatal(err)
	}
	tbs[6] = asn1.RawValue{FullBytes: spki}
	outer[0] = asn1.RawValue{FullBytes: mustDER(t, tbs)}
	return mustDER(t, outer)
}

// There is no cache that re-encodings could fill: a store stays what it is.
func TestAdv_X509_17_Reencodings(t *testing.T) {
	l := newLab(t)
	name := id(t, "@gw.example.org")
	before := fmt.Sprint(l.store.Len())
	again := 0
	for i := range 1000 {
		der := bytes.Clone(l.gw.Raw)
		der[i%len(der)] ^= byte(1 + i/len(der))
		leaf, err := l.store.Verify(now, append([]ike.Cert{{Encoding: ike.CertX509, Data: der}}, pkitest.Payloads(l.sub)...), name, Policy{})
		if err == nil {
			again++
			if !l.gw.PublicKey.(*ecdsa.PublicKey).Equal(leaf.Key) {
				t.Fatalf("octet %d: another key", i)
			}
		}
	}
	if again > 0 {
		t.Errorf("%d changed certificates pass", again)
	}
	if after := fmt.Sprint(l.store.Len()); after != before {
		t.Errorf("the store grew from %s to %s", before, after)
	}
}

func TestAdv_X509_18_OtherEncodings(t *testing.T) {
	l := newLab(t)
	var odd []ike.Cert
	for _, e := range []ike.CertEncoding{0, 1, 2, 7, 8, 9, 10, 11, 15, 201} {
		odd = append(odd, ike.Cert{Encoding: e, Data: l.gw.Raw})
	}
	_, err := l.store.Verify(now, odd, id(t, "@gw.example.org"), Policy{})
	want(t, "only others", err, StepNone)
	_, err = l.store.Verify(now, append(odd, pkitest.Payloads(l.sub, l.gw)...), id(t, "@gw.example.org"), Policy{})
	want(t, "others first", err, 0)
	_, err = l.store.Verify(now, nil, id(t, "@gw.example.org"), Policy{})
	want(t, "nothing", err, StepNone)
}

func TestAdv_X509_19_DER(t *testing.T) {
	l := newLab(t)
	gw := l.gw.Raw
	deep := []byte{}
	for range 10000 {
		deep = append(deep, 0x30, 0x80)
	}
	for what, der := range map[string][]byte{
		"indefinite":       append(append([]byte{0x30, 0x80}, gw[4:]...), 0, 0),
		"non-minimal":      append([]byte{0x30, 0x83, 0, gw[2], gw[3]}, gw[4:]...),
		"4 GiB":            append([]byte{0x30, 0x84, 0xff, 0xff, 0xff, 0xff}, gw[4:]...),
		"too long a tag":   append([]byte{0x3f, 0x80, 0x80, 0x80, 0x80, 0x10}, gw[2:]...),
		"trailing octet":   append(bytes.Clone(gw), 0),
		"cut":              gw[:len(gw)-1],
		"10,000 deep":      deep,
		"one octet":        {0x30},
		"nothing":          {},
		"wrapped in bytes": append([]byte{4, 0x82, byte(len(gw) >> 8), byte(len(gw))}, gw...),
	} {
		_, err := l.store.Verify(now, append([]ike.Cert{{Encoding: ike.CertX509, Data: der}}, pkitest.Payloads(l.sub)...), id(t, "@gw.example.org"), Policy{})
		want(t, what, err, StepParse)
	}
	// Beside a good chain it harms nobody.
	_, err := l.store.Verify(now, append([]ike.Cert{{Encoding: ike.CertX509, Data: deep}}, pkitest.Payloads(l.gw, l.sub)...), id(t, "@gw.example.org"), Policy{})
	want(t, "rubbish first", err, 0)
}

func TestAdv_X509_20_KeysThatResemble(t *testing.T) {
	p256 := pkitest.Self(t, pkitest.Spec{Subject: "CN=a"})
	ed := pkitest.Self(t, pkitest.Spec{Subject: "CN=b", Kind: pkitest.Ed25519})
	r := pkitest.Self(t, pkitest.Spec{Subject: "CN=c", Kind: pkitest.RSA2048})
	s := load(t, map[string]string{"private/a.pem": p256.KeyPEM(t), "private/c.pem": r.KeyPEM(t)})
	prefix := *r.PublicKey.(*rsa.PublicKey)
	prefix.N = new(big.Int).Rsh(prefix.N, 8)
	otherE := *r.PublicKey.(*rsa.PublicKey)
	otherE.E = 3
	for what, c := range map[string]struct {
		key any
		ok  bool
	}{
		"P-256": {p256.PublicKey, true}, "RSA": {r.PublicKey, true}, "Ed25519": {ed.PublicKey, false},
		"RSA prefix": {&prefix, false}, "RSA other e": {&otherE, false}, "nothing": {nil, false},
	} {
		if _, ok := s.PrivateKey(c.key); ok != c.ok {
			t.Errorf("%s: found %v", what, ok)
		}
	}
}

func TestAdv_X509_22_Names(t *testing.T) {
	l := newLab(t)
	san := func(names ...string) pkix.Extension {
		var list []asn1.RawValue
		for _, n := range names {
			list = append(list, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 2, Bytes: []byte(n)})
		}
		return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: mustDER(t, list)}
	}
	many := make([]string, 2000)
	for i := range many {
		many[i] = fmt.Sprintf("h%d.example.org", i)
	}
	for what, c := range map[string]struct {
		names []string
		id    ike.ID
		step  Step
	}{
		"2,000":             {many, id(t, "@h0.example.org"), StepBounds},
		"256":               {many[:256], id(t, "@h255.example.org"), 0},
		"257":               {many[:257], id(t, "@h0.example.org"), StepBounds},
		"64 KiB":            {[]string{strings.Repeat("a", 64<<10)}, id(t, "@h0.example.org"), StepBounds},
		"NUL in it":         {[]string{"gw.example.org\x00.evil.example"}, id(t, "@gw.example.org"), StepIdentity},
		"NUL in both":       {[]string{"gw.example.org\x00.evil"}, ike.ID{Kind: ike.IDFQDN, Data: "gw.example.org\x00.evil"}, 0},
		"right-to-left":     {[]string{"gw.example.org\u202e"}, id(t, "@gw.example.org"), StepParse},
		"blank at the end":  {[]string{"gw.example.org "}, id(t, "@gw.example.org"), StepIdentity},
		"dot at the end":    {[]string{"gw.example.org."}, id(t, "@gw.example.org"), StepIdentity},
		"empty":             {[]string{""}, ike.ID{Kind: ike.IDFQDN}, StepIdentity},
		"Kelvin sign is no": {[]string{"k.example.org"}, ike.ID{Kind: ike.IDFQDN, Data: "\u212a.example.org"}, StepIdentity},
	} {
		leaf := l.unchecked(t, san(c.names...))
		_, err := l.store.Verify(now, []ike.Cert{{Encoding: ike.CertX509, Data: leaf}}, c.id, Policy{})
		want(t, what, err, c.step)
		assertPrintable(t, err)
	}
	// Names in errors are one line of ASCII, and not long.
	evil := l.root.Leaf(t, pkitest.Spec{Subject: `CN=a\0anext line\1b[31m\e2\80\ae` + strings.Repeat("x", 500)})
	_, err := l.store.Verify(now, pkitest.Payloads(evil), id(t, "@gw.example.org"), Policy{})
	want(t, "odd subject", err, StepIdentity)
	assertPrintable(t, err)
	_, err = load(t, nil).Verify(now, pkitest.Payloads(evil), ike.ID{Kind: ike.IDFQDN, Data: "\n\x1b[2J" + strings.Repeat("y", 900)}, Policy{})
	assertPrintable(t, err)
}

// unchecked makes an end entity's certificate with an extension that
// crypto/x509 may be unable to read again.
func (l *lab) unchecked(t testing.TB, x pkix.Extension) []byte {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(77), NotBefore: now.AddDate(0, -1, 0), NotAfter: now.AddDate(0, 1, 0), ExtraExtensions: []pkix.Extension{x}}
	der, err := x509.CreateCertificate(zeros{}, template, l.root.Certificate, l.gw.PublicKey, l.root.Key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func assertPrintable(t testing.TB, err error) {
	t.Helper()
	if err == nil {
		return
	}
	text := err.Error()
	if len(text) > 3*maxText {
		t.Errorf("error of %d octets", len(text))
	}
	for i := range len(text) {
		if text[i] < ' ' || text[i] >= 0x7f {
			t.Fatalf("octet %#x in %q", text[i], text)
		}
	}
}

// What a peer sends never stays, and never stands for an authority of ours.
func TestAdv_X509_23_NamesakeOfAnAuthority(t *testing.T) {
	l := newLab(t)
	vip := pkitest.Root(t, pkitest.Spec{Subject: "CN=VIP"})
	s := trusting(t, l.root, vip)
	// An authority below the root calls its own authority VIP.
	namesake := l.sub.Sub(t, pkitest.Spec{Subject: "CN=VIP"})
	leaf := namesake.Leaf(t, gateway())
	chain := pkitest.Payloads(leaf, namesake, l.sub)
	name := id(t, "@gw.example.org")
	_, err := s.Verify(now, chain, name, Policy{})
	want(t, "it does chain to the root", err, 0)
	_, err = s.Verify(now, chain, name, Policy{CA: id(t, "CN=VIP")})
	want(t, "but not to the VIP that we mean", err, StepCA)
	_, err = s.Verify(now, pkitest.Payloads(leaf), name, Policy{})
	want(t, "without what came with it before", err, StepChain)
	_, err = s.Verify(now, pkitest.Payloads(l.gw), name, Policy{})
	want(t, "another below what came before", err, StepChain)
	_, err = s.Verify(now, pkitest.Payloads(vip.Leaf(t, gateway()), namesake, l.sub), name, Policy{CA: id(t, "CN=VIP")})
	want(t, "the VIP that we mean, its namesake beside it", err, 0)
}
