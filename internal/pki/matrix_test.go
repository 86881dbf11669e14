package pki

import (
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"cygnet/internal/ike"
	"cygnet/internal/pki/pkitest"
)

// The matrix: every kind of chain, with every identity, under every policy and
// with every set of CRLs. What must come out is said by rules about the
// descriptions below, which know nothing of DER.

// chainKind is a chain as it was made.
type chainKind struct {
	name  string
	certs []*pkitest.Cert // as sent
	// sound says that everything but identity, authority and revocation holds.
	sound bool
	// path are the authorities above the end entity, and certs the number of
	// certificates in need of a CRL, by their issuers.
	path    []string
	issuers []string
	names   []string // what the certificate says, by type
	revoked string   // the issuer whose list has one of the chain on it
	uris    bool
}

// matrixLab has every authority that a policy may name.
type matrixLab struct {
	root, sub, below, other *pkitest.Cert
	kinds                   []chainKind
	gone, goneSub           *pkitest.Cert // revoked
}

// What the end entities are called.
var matrixNames = []string{"dn:C=CH, O=Lab, CN=gw", "dns:gw.example.org", "dns:*.wild.example.org", "mail:admin@example.org", "ip:192.0.2.1", "ip:2001:db8::1"}

func matrixLeaf() pkitest.Spec {
	return pkitest.Spec{Subject: "C=CH, O=Lab, CN=gw", DNS: []string{"gw.example.org", "*.wild.example.org"}, Mail: []string{"admin@example.org"},
		IP: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}}
}

func newMatrixLab(t testing.TB) *matrixLab {
	m := &matrixLab{}
	m.root = pkitest.Root(t, pkitest.Spec{Subject: "CN=Root"})
	m.other = pkitest.Root(t, pkitest.Spec{Subject: "CN=Other"})
	m.sub = m.root.Sub(t, pkitest.Spec{Subject: "CN=Sub"})
	m.below = m.sub.Sub(t, pkitest.Spec{Subject: "CN=Below"})
	gw := matrixLeaf()
	add := func(name string, sound bool, path, issuers []string, certs ...*pkitest.Cert) *chainKind {
		m.kinds = append(m.kinds, chainKind{name: name, certs: certs, sound: sound, path: path, issuers: issuers, names: matrixNames})
		return &m.kinds[len(m.kinds)-1]
	}
	direct, via := []string{"CN=Root"}, []string{"CN=Sub", "CN=Root"}
	byRoot := func(name string, sound bool, change func(*pkitest.Spec)) *chainKind {
		return add(name, sound, direct, direct, m.root.Leaf(t, with(gw, change)))
	}
	bySub := func(name string, sound bool, sub pkitest.Spec) *chainKind {
		sub.Subject = "CN=Sub"
		s := m.root.Sub(t, sub)
		return add(name, sound, direct, via, s.Leaf(t, gw), s)
	}
	leaf := m.sub.Leaf(t, gw)
	byRoot("direct", true, func(*pkitest.Spec) {})
	byRoot("P-384", true, func(s *pkitest.Spec) { s.Kind = pkitest.P384 })
	byRoot("Ed25519", true, func(s *pkitest.Spec) { s.Kind = pkitest.Ed25519 })
	byRoot("RSA", true, func(s *pkitest.Spec) { s.Kind = pkitest.RSA2048 })
	byRoot("tells where its CRL is", true, func(s *pkitest.Spec) { s.CDP = []string{"http://crl.example.org"} }).uris = true
	add("intermediate", true, via, via, leaf, m.sub)
	add("intermediate first", true, via, via, m.sub, leaf)
	add("with the root", true, via, via, m.root, m.sub, leaf)
	add("two intermediates", true, []string{"CN=Below", "CN=Sub", "CN=Root"}, []string{"CN=Below", "CN=Sub", "CN=Root"}, m.below.Leaf(t, gw), m.sub, m.below)
	add("beside a stranger", true, via, via, m.other.Leaf(t, pkitest.Spec{Subject: "CN=x"}), leaf, m.sub)
	add("intermediate missing", false, nil, nil, m.below.Leaf(t, gw))
	add("another intermediate", false, nil, nil, m.below.Leaf(t, gw), m.sub)
	add("the authority", false, nil, nil, m.sub)
	add("self-signed", false, nil, nil, pkitest.Self(t, gw))
	add("stranger's", false, nil, nil, pkitest.Root(t, pkitest.Spec{Subject: "CN=Root"}).Leaf(t, gw))
	add("nothing", false, nil, nil)
	add("the other root", true, []string{"CN=Other"}, []string{"CN=Other"}, m.other.Leaf(t, gw))
	byRoot("expired", false, func(s *pkitest.Spec) { s.Until = now.AddDate(0, 0, -1) })
	byRoot("not yet", false, func(s *pkitest.Spec) { s.From = now.AddDate(0, 0, 1) })
	byRoot("for code", false, func(s *pkitest.Spec) { s.ExtUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning} })
	byRoot("for IKE", true, func(s *pkitest.Spec) { s.OtherUsage = []asn1.ObjectIdentifier{oidIKEIntermediate} })
	byRoot("for servers", true, func(s *pkitest.Spec) { s.ExtUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })
	byRoot("only encipherment", false, func(s *pkitest.Spec) { s.Usage = x509.KeyUsageKeyEncipherment })
	byRoot("unknown and critical", false, func(s *pkitest.Spec) {
		s.Extra = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}}}
	})
	short := new(big.Int).SetBit(big.NewInt(1), 1023, 1)
	byRoot("short key", false, func(s *pkitest.Spec) { s.Public = &rsa.PublicKey{N: short, E: 65537} })
	bySub("intermediate expired", false, pkitest.Spec{Until: now.AddDate(0, 0, -1)})
	bySub("intermediate no CA", false, pkitest.Spec{NotBasic: true})
	bySub("intermediate may not sign", false, pkitest.Spec{Usage: x509.KeyUsageDigitalSignature})
	bySub("intermediate for code", false, pkitest.Spec{ExtUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}})
	bySub("constrained to others", false, pkitest.Spec{Permit: []string{"example.com"}})
	// A second Sub is not the one in cacerts, nor has it a CRL.
	k := bySub("namesake, constrained to ours", true, pkitest.Spec{Permit: []string{"example.org"}})
	k.issuers = []string{"a namesake", "CN=Root"}
	k = add("revoked", true, direct, direct, m.root.Leaf(t, gw))
	k.revoked, m.gone = "CN=Root", k.certs[0]
	goneSub := m.root.Sub(t, pkitest.Spec{Subject: "CN=Gone"})
	k = add("intermediate revoked", true, direct, []string{"CN=Gone", "CN=Root"}, goneSub.Leaf(t, gw), goneSub)
	k.revoked, m.goneSub = "CN=Root", goneSub
	nameless := add("other names", true, direct, direct, m.root.Leaf(t, pkitest.Spec{Subject: "CN=gw.example.org", DNS: []string{"192.0.2.1", "admin@example.org"}}))
	nameless.names = []string{"dn:CN=gw.example.org", "dns:192.0.2.1", "dns:admin@example.org"}
	return m
}

// The identities that peers claim, and how a certificate would say them; none if
// it cannot.
var matrixIDs = []struct{ text, says string }{
	{"C=CH, O=Lab, CN=gw", "dn:C=CH, O=Lab, CN=gw"},
	{"O=Lab, C=CH, CN=gw", ""},
	{"C=CH, O=Lab", ""},
	{"CN=gw.example.org", "dn:CN=gw.example.org"},
	{"@gw.example.org", "dns:gw.example.org"},
	{"@GW.Example.ORG", "dns:gw.example.org"},
	{"@gw.example", ""},
	{"@host.wild.example.org", ""},
	{"@*.wild.example.org", ""},
	{"@192.0.2.1", "dns:192.0.2.1"},
	{"@admin\\x40example.org", "dns:admin@example.org"},
	{"admin@example.org", "mail:admin@example.org"},
	{"admin@EXAMPLE.org", "mail:admin@example.org"},
	{"Admin@example.org", ""},
	{"192.0.2.1", "ip:192.0.2.1"},
	{"192.0.2.2", ""},
	{"2001:db8::1", "ip:2001:db8::1"},
	{"@#67772e6578616d706c65", ""},
	{"%null", ""},
}

// matrixPolicies are rightca= and strictcrlpolicy=.
var matrixCAs = []string{"", "CN=Root", "CN=Sub", "CN=Other", "CN=Nobody"}

// listState says which issuers have a fresh CRL, an old one, or none.
type listState struct {
	name       string
	fresh, old []string
}

var matrixLists = []listState{
	{"no lists", nil, nil},
	{"root's", []string{"CN=Root"}, nil},
	{"root's and sub's", []string{"CN=Root", "CN=Sub"}, nil},
	{"old lists", nil, []string{"CN=Root", "CN=Sub"}},
	{"all", []string{"CN=Root", "CN=Sub", "CN=Below", "CN=Other"}, nil},
}

// expected is the oracle.
func expected(k chainKind, says, ca string, strict Strict, lists listState) bool {
	switch {
	case !k.sound:
		return false
	case says == "" || !slices.Contains(k.names, says):
		return false
	case ca != "" && !slices.Contains(k.path, ca):
		return false
	case k.revoked != "" && slices.Contains(append(lists.fresh, lists.old...), k.revoked):
		return false
	}
	allKnown := true
	for _, i := range k.issuers {
		allKnown = allKnown && slices.Contains(lists.fresh, i)
	}
	switch strict {
	case StrictYes:
		return allKnown
	case StrictIfURI:
		return allKnown || !k.uris
	}
	return true
}

func (m *matrixLab) store(t testing.TB, lists listState) *Store {
	t.Helper()
	var ders [][]byte
	for _, ca := range []*pkitest.Cert{m.root, m.sub, m.below, m.other} {
		spec := pkitest.ListSpec{}
		if ca == m.root {
			spec.Revoked = []*pkitest.Cert{m.gone, m.goneSub}
		}
		name := ike.ID{Kind: ike.IDDN, Data: string(ca.RawSubject)}.String()
		if slices.Contains(lists.fresh, name) {
			ders = append(ders, ca.CRL(t, spec))
		}
		if slices.Contains(lists.old, name) {
			spec.From, spec.Until = now.AddDate(0, 0, -20), now.AddDate(0, 0, -10)
			ders = append(ders, ca.CRL(t, spec))
		}
	}
	files := map[string]string{"cacerts/root.pem": pkitest.PEM(m.root), "cacerts/other.pem": pkitest.PEM(m.other), "cacerts/sub.pem": pkitest.PEM(m.sub)}
	if len(ders) > 0 {
		files["crls/all.pem"] = crlPEM(ders...)
	}
	s, _ := loadAll(files, Options{})
	return s
}

func TestMatrix(t *testing.T) {
	m := newMatrixLab(t)
	count, accepted, wrong := 0, 0, 0
	for _, lists := range matrixLists {
		s := m.store(t, lists)
		for _, k := range m.kinds {
			certs := pkitest.Payloads(k.certs...)
			for _, who := range matrixIDs {
				name := id(t, who.text)
				for _, ca := range matrixCAs {
					var policy Policy
					if ca != "" {
						policy.CA = id(t, ca)
					}
					for _, policy.Strict = range []Strict{StrictNo, StrictIfURI, StrictYes} {
						count++
						leaf, err := s.Verify(now, certs, name, policy)
						must := expected(k, who.says, ca, policy.Strict, lists)
						if must {
							accepted++
						}
						if (err == nil) != must {
							if wrong++; wrong < 20 {
								t.Errorf("%s, %s, CA %q, strict %d, %s: accepted %v, must be %v: %v", k.name, who.text, ca, policy.Strict, lists.name, err == nil, must, err)
							}
						}
						if err == nil && (leaf.ID != name || leaf.Key == nil || leaf.Anchor.IsZero()) {
							t.Fatalf("%s: odd leaf %v", k.name, leaf)
						}
						if err != nil && (StepOf(err) == 0 || strings.TrimSpace(err.Error()) == "") {
							t.Fatalf("%s: untyped error %v", k.name, err)
						}
					}
				}
			}
		}
	}
	t.Logf("%d combinations, %d to be accepted, %d wrong", count, accepted, wrong)
	if count < 5000 || accepted < 500 || count-accepted < 500 {
		t.Errorf("%d combinations, %d of them to be accepted: the matrix has shrunk", count, accepted)
	}
}
