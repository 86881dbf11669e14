package pki

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"cygnet/internal/ike"
	"cygnet/internal/pki/pkitest"
)

// withLists is the lab's store with CRLs.
func (l *lab) withLists(t testing.TB, lists ...[]byte) *Store {
	t.Helper()
	s, _ := loadAll(map[string]string{"cacerts/ca.pem": pkitest.PEM(l.root), "crls/all.pem": crlPEM(lists...)}, Options{})
	return s
}

func TestAdv_X509_12_RevocationLists(t *testing.T) {
	l := newLab(t)
	other := l.root.Leaf(t, pkitest.Spec{Subject: "CN=other"})
	impostor := pkitest.Root(t, pkitest.Spec{Subject: "C=CH, O=Lab, CN=Sub"})
	delta := pkix.Extension{Id: oidDelta, Critical: true, Value: []byte{2, 1, 1}}
	scope := pkix.Extension{Id: oidDistribution, Critical: true, Value: []byte{0x30, 3, 0x81, 1, 0xff}} // onlyContainsUserCerts
	rootList := l.root.CRL(t, pkitest.ListSpec{})
	old := pkitest.ListSpec{From: now.AddDate(0, 0, -9), Until: now.AddDate(0, 0, -2)}
	revokedBy := func(s pkitest.ListSpec) pkitest.ListSpec { s.Revoked = []*pkitest.Cert{l.gw}; return s }
	for what, c := range map[string]struct {
		lists       [][]byte
		strict, lax Step
		warn        bool
	}{
		"none":                          {nil, StepUnknown, 0, false},
		"both fresh":                    {[][]byte{rootList, l.sub.CRL(t, pkitest.ListSpec{})}, 0, 0, false},
		"the intermediate's only":       {[][]byte{l.sub.CRL(t, pkitest.ListSpec{})}, StepUnknown, 0, false},
		"another is revoked":            {[][]byte{rootList, l.sub.CRL(t, pkitest.ListSpec{Revoked: []*pkitest.Cert{other}})}, 0, 0, false},
		"revoked":                       {[][]byte{rootList, l.sub.CRL(t, revokedBy(pkitest.ListSpec{}))}, StepRevoked, StepRevoked, false},
		"intermediate revoked":          {[][]byte{l.root.CRL(t, pkitest.ListSpec{Revoked: []*pkitest.Cert{l.sub}}), l.sub.CRL(t, pkitest.ListSpec{})}, StepRevoked, StepRevoked, false},
		"expired":                       {[][]byte{rootList, l.sub.CRL(t, old)}, StepUnknown, 0, true},
		"expired, but revoked":          {[][]byte{rootList, l.sub.CRL(t, revokedBy(old))}, StepRevoked, StepRevoked, false},
		"from the future":               {[][]byte{rootList, l.sub.CRL(t, pkitest.ListSpec{From: now.Add(time.Hour)})}, StepUnknown, 0, false},
		"the clock is a little late":    {[][]byte{rootList, l.sub.CRL(t, pkitest.ListSpec{From: now.Add(time.Minute)})}, 0, 0, false},
		"same name, other key":          {[][]byte{rootList, impostor.CRL(t, pkitest.ListSpec{})}, StepUnknown, 0, false},
		"revoked by same name, other":   {[][]byte{rootList, impostor.CRL(t, revokedBy(pkitest.ListSpec{}))}, StepUnknown, 0, false},
		"wrong issuer":                  {[][]byte{rootList, l.root.CRL(t, revokedBy(pkitest.ListSpec{}))}, StepUnknown, 0, false},
		"delta alone clears nobody":     {[][]byte{rootList, l.sub.CRL(t, pkitest.ListSpec{Extra: []pkix.Extension{delta}})}, StepUnknown, 0, false},
		"delta revokes":                 {[][]byte{rootList, l.sub.CRL(t, pkitest.ListSpec{}), l.sub.CRL(t, revokedBy(pkitest.ListSpec{From: now, Extra: []pkix.Extension{delta}}))}, StepRevoked, StepRevoked, false},
		"delta takes back nothing":      {[][]byte{rootList, l.sub.CRL(t, revokedBy(pkitest.ListSpec{})), l.sub.CRL(t, pkitest.ListSpec{From: now, Reason: removeFromCRL, Revoked: []*pkitest.Cert{l.gw}, Extra: []pkix.Extension{delta}})}, StepRevoked, StepRevoked, false},
		"delta that takes back":         {[][]byte{rootList, l.sub.CRL(t, pkitest.ListSpec{}), l.sub.CRL(t, pkitest.ListSpec{From: now, Reason: removeFromCRL, Revoked: []*pkitest.Cert{l.gw}, Extra: []pkix.Extension{delta}})}, 0, 0, false},
		"only some certificates":        {[][]byte{rootList, l.sub.CRL(t, pkitest.ListSpec{Extra: []pkix.Extension{scope}})}, StepUnknown, 0, false},
		"the newer list counts":         {[][]byte{rootList, l.sub.CRL(t, revokedBy(pkitest.ListSpec{From: now.AddDate(0, 0, -3)})), l.sub.CRL(t, pkitest.ListSpec{From: now})}, 0, 0, false},
		"the newer list counts, turned": {[][]byte{rootList, l.sub.CRL(t, pkitest.ListSpec{From: now.AddDate(0, 0, -3)}), l.sub.CRL(t, revokedBy(pkitest.ListSpec{From: now}))}, StepRevoked, StepRevoked, false},
	} {
		s := l.withLists(t, c.lists...)
		chain := pkitest.Payloads(l.gw, l.sub)
		_, err := s.Verify(now, chain, id(t, "@gw.example.org"), Policy{Strict: StrictYes})
		want(t, what+", strict", err, c.strict)
		leaf, err := s.Verify(now, chain, id(t, "@gw.example.org"), Policy{})
		want(t, what+", relaxed", err, c.lax)
		if err == nil && (len(leaf.Warnings) > 0) != c.warn {
			t.Errorf("%s: warnings %q", what, leaf.Warnings)
		}
		assertPrintable(t, err)
	}
}

// A list that is not even read: too long, by SHA-1, with what is not understood.
func TestAdv_X509_12_ListsRefused(t *testing.T) {
	weak := pkitest.Root(t, pkitest.Spec{Subject: "CN=Weak", Kind: pkitest.RSA2048})
	critical := pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}
	for what, der := range map[string][]byte{
		"50 MiB":   make([]byte, 50<<20),
		"SHA-1":    weak.CRL(t, pkitest.ListSpec{Algorithm: x509.SHA1WithRSA}),
		"critical": weak.CRL(t, pkitest.ListSpec{Extra: []pkix.Extension{critical}}),
		"rubbish":  []byte("CRL"),
	} {
		if _, err := parseCRL(der); err == nil {
			t.Errorf("%s: read", what)
		}
	}
	s, problems := loadAll(map[string]string{"cacerts/a.pem": pkitest.PEM(weak), "crls/big.crl": string(make([]byte, maxCRL+1)), "crls/bad.crl": "x", "crls/none.pem": "-----BEGIN NOTHING-----\n"}, Options{})
	if _, _, n, _ := s.Len(); n != 0 || len(problems) != 3 {
		t.Errorf("%d lists, problems %v", n, problems)
	}
}

func TestAdv_X509_12_Responders(t *testing.T) {
	l := newLab(t)
	signing := []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}
	responder := l.sub.Leaf(t, pkitest.Spec{Subject: "CN=responder", ExtUsage: signing})
	plain := l.sub.Leaf(t, pkitest.Spec{Subject: "CN=anybody"})
	expired := l.sub.Leaf(t, pkitest.Spec{Subject: "CN=old", ExtUsage: signing, Until: now.AddDate(0, 0, -1)})
	foreign := l.root.Leaf(t, pkitest.Spec{Subject: "CN=foreign", ExtUsage: signing})
	sibling := l.root.Sub(t, pkitest.Spec{Subject: "CN=Sibling"})
	twin := sibling.Leaf(t, pkitest.Spec{Subject: "CN=twin", Serial: 5})
	five := l.sub.Leaf(t, with(gateway(), func(s *pkitest.Spec) { s.Serial = 5 }))
	rootList := l.root.CRL(t, pkitest.ListSpec{})
	for what, c := range map[string]struct {
		leaf        *pkitest.Cert
		response    []byte
		strict, lax Step
	}{
		"good, by the authority":     {l.gw, l.sub.OCSP(t, l.gw, pkitest.ResponseSpec{}), 0, 0},
		"good, by a responder":       {l.gw, l.sub.OCSP(t, l.gw, pkitest.ResponseSpec{Responder: responder}), 0, 0},
		"revoked":                    {l.gw, l.sub.OCSP(t, l.gw, pkitest.ResponseSpec{Status: ocsp.Revoked, Responder: responder}), StepRevoked, StepRevoked},
		"revoked, long ago":          {l.gw, l.sub.OCSP(t, l.gw, pkitest.ResponseSpec{Status: ocsp.Revoked, From: now.AddDate(0, 0, -9), Until: now.AddDate(0, 0, -8)}), StepRevoked, StepRevoked},
		"unknown":                    {l.gw, l.sub.OCSP(t, l.gw, pkitest.ResponseSpec{Status: ocsp.Unknown}), StepUnknown, 0},
		"stale":                      {l.gw, l.sub.OCSP(t, l.gw, pkitest.ResponseSpec{From: now.AddDate(0, 0, -2), Until: now.Add(-time.Second)}), StepUnknown, 0},
		"from the future":            {l.gw, l.sub.OCSP(t, l.gw, pkitest.ResponseSpec{From: now.Add(time.Hour), Until: now.Add(2 * time.Hour)}), StepUnknown, 0},
		"about another":              {l.gw, l.sub.OCSP(t, plain, pkitest.ResponseSpec{}), StepUnknown, 0},
		"by itself":                  {l.gw, l.sub.OCSP(t, l.gw, pkitest.ResponseSpec{Responder: l.gw}), StepUnknown, 0},
		"by any certificate":         {l.gw, l.sub.OCSP(t, l.gw, pkitest.ResponseSpec{Responder: plain}), StepUnknown, 0},
		"by an expired responder":    {l.gw, l.sub.OCSP(t, l.gw, pkitest.ResponseSpec{Responder: expired}), StepUnknown, 0},
		"by another CA's responder":  {l.gw, l.sub.OCSP(t, l.gw, pkitest.ResponseSpec{Responder: foreign}), StepUnknown, 0},
		"same serial, other issuer":  {five, sibling.OCSP(t, twin, pkitest.ResponseSpec{}), StepUnknown, 0},
		"other issuer's, re-labeled": {five, l.sub.OCSP(t, twin, pkitest.ResponseSpec{Issuer: sibling, Responder: responder}), StepUnknown, 0},
		"rubbish":                    {l.gw, []byte{0x30, 3, 10, 1, 0}, StepUnknown, 0},
		"too long":                   {l.gw, make([]byte, maxResponse+1), StepUnknown, 0},
	} {
		s := l.withLists(t, rootList)
		chain := append(pkitest.Payloads(c.leaf, l.sub), ike.Cert{Encoding: ike.CertOCSP, Data: c.response})
		_, err := s.Verify(now, chain, id(t, "@gw.example.org"), Policy{Strict: StrictYes})
		want(t, what+", strict", err, c.strict)
		_, err = s.Verify(now, chain, id(t, "@gw.example.org"), Policy{})
		want(t, what+", relaxed", err, c.lax)
		assertPrintable(t, err)
		// The same response, fetched instead of sent.
		more, err := s.WithResponse(now, c.response, c.leaf.Certificate, l.sub.Certificate)
		if kept := err == nil; kept != (c.strict == 0 || c.strict == StepRevoked || what == "unknown") {
			t.Errorf("%s: fetched: %v", what, err)
		} else if kept {
			_, err = more.Verify(now, pkitest.Payloads(c.leaf, l.sub), id(t, "@gw.example.org"), Policy{Strict: StrictYes})
			want(t, what+", fetched", err, c.strict)
		}
	}
	// A CRL that revokes is not outdone by a response.
	s := l.withLists(t, rootList, l.sub.CRL(t, pkitest.ListSpec{Revoked: []*pkitest.Cert{l.gw}}))
	_, err := s.Verify(now, append(pkitest.Payloads(l.gw, l.sub), ike.Cert{Encoding: ike.CertOCSP, Data: l.sub.OCSP(t, l.gw, pkitest.ResponseSpec{})}), id(t, "@gw.example.org"), Policy{})
	want(t, "both", err, StepRevoked)
}

// strictcrlpolicy=ifuri.
func TestStrictIfURI(t *testing.T) {
	l := newLab(t)
	silent := l.root.Leaf(t, gateway())
	tells := l.root.Leaf(t, with(gateway(), func(s *pkitest.Spec) { s.CDP = []string{"http://crl.example.org/a"} }))
	for what, c := range map[string]struct {
		leaf   *pkitest.Cert
		strict Strict
		step   Step
		warn   int
	}{
		"no, silent": {silent, StrictNo, 0, 0}, "no, tells": {tells, StrictNo, 0, 1},
		"ifuri, silent": {silent, StrictIfURI, 0, 0}, "ifuri, tells": {tells, StrictIfURI, StepUnknown, 0},
		"yes, silent": {silent, StrictYes, StepUnknown, 0}, "yes, tells": {tells, StrictYes, StepUnknown, 0},
	} {
		leaf, err := l.store.Verify(now, pkitest.Payloads(c.leaf), id(t, "@gw.example.org"), Policy{Strict: c.strict})
		want(t, what, err, c.step)
		if err == nil && len(leaf.Warnings) != c.warn {
			t.Errorf("%s: warnings %q", what, leaf.Warnings)
		}
	}
}

// Only a certificate that chains to an authority of ours can have anything
// fetched, and only by http and https (MS-17).
func TestAdv_X509_13_WhatMayBeFetched(t *testing.T) {
	l := newLab(t)
	uris := []string{"file:///etc/shadow", "ldap://ldap.example.org/cn=x", "gopher://x", "http://" + strings.Repeat("x", maxURI), "HTTP://crl.example.org/1", "https://crl.example.org/2", "http://crl.example.org/3"}
	spec := with(gateway(), func(s *pkitest.Spec) { s.CDP, s.AIA = uris, []string{"http://ocsp.example.org"} })
	leaf := l.sub.Leaf(t, spec)
	stranger := pkitest.Root(t, pkitest.Spec{Subject: "CN=Stranger"})
	if p, err := l.store.Chain(now, pkitest.Payloads(stranger.Leaf(t, spec), stranger), id(t, "@gw.example.org"), ike.ID{}); p != nil || StepOf(err) != StepChain {
		t.Fatalf("a path for a stranger: %v, %v", p, err)
	}
	p, err := l.store.Chain(now, pkitest.Payloads(leaf, l.sub), id(t, "@gw.example.org"), ike.ID{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range p.Wanted(l.store, now) {
		got = append(got, fmt.Sprintf("%s %v", f.URI, f.OCSP()))
	}
	wanted := "[http://ocsp.example.org true HTTP://crl.example.org/1 false https://crl.example.org/2 false]"
	if fmt.Sprint(got) != wanted {
		t.Errorf("wanted %v", got)
	}
	// What comes back is looked at like a file, and must be by the issuer.
	crl := p.Wanted(l.store, now)[1]
	for what, answer := range map[string][]byte{"rubbish": []byte("<html>"), "stranger's": stranger.CRL(t, pkitest.ListSpec{}), "root's": l.root.CRL(t, pkitest.ListSpec{})} {
		if _, err := crl.Add(l.store, now, answer); err == nil {
			t.Errorf("%s is taken", what)
		}
	}
	// WithCRL makes another store; the old one does not change.
	more, err := crl.Add(l.store, now, l.sub.CRL(t, pkitest.ListSpec{}))
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Wanted(more, now)) != 0 || len(p.Wanted(l.store, now)) != 3 {
		t.Error("the wrong store has learned")
	}
}

// Revocation while an SA is up: the next authentication fails.
func TestAdv_X509_21_RevokedLater(t *testing.T) {
	l := newLab(t)
	chain := pkitest.Payloads(l.gw, l.sub)
	name := id(t, "@gw.example.org")
	before := l.withLists(t, l.sub.CRL(t, pkitest.ListSpec{}))
	_, err := before.Verify(now, chain, name, Policy{})
	want(t, "before", err, 0)
	after, err := before.WithCRL(l.sub.CRL(t, pkitest.ListSpec{From: now, Revoked: []*pkitest.Cert{l.gw}}), l.sub.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	_, err = after.Verify(now.Add(time.Minute), chain, name, Policy{})
	want(t, "after", err, StepRevoked)
}

// A pinned certificate needs no authority, but everything else.
func TestPinned(t *testing.T) {
	l := newLab(t)
	self := pkitest.Self(t, gateway())
	late := pkitest.Self(t, with(gateway(), func(s *pkitest.Spec) { s.Until = now.AddDate(0, 0, 1) }))
	files := map[string]string{"cacerts/r.pem": pkitest.PEM(l.root, l.sub), "certs/self.pem": pkitest.PEM(self), "certs/late.pem": pkitest.PEM(late), "certs/gw.pem": pkitest.PEM(l.gw),
		"crls/sub.pem": crlPEM(l.sub.CRL(t, pkitest.ListSpec{Revoked: []*pkitest.Cert{l.gw}}))}
	s := load(t, files)
	name := id(t, "@gw.example.org")
	for what, c := range map[string]struct {
		file string
		id   ike.ID
		at   time.Time
		step Step
	}{
		"itself": {"self.pem", name, now, 0}, "somebody else": {"self.pem", id(t, "@x.example.org"), now, StepIdentity},
		"in time": {"late.pem", name, now, 0}, "too late": {"late.pem", name, now.AddDate(0, 0, 2), StepTime},
		"revoked": {"gw.pem", name, now, StepRevoked}, "not there": {"none.pem", name, now, StepNone}, "no time": {"self.pem", name, time.Time{}, StepTime},
	} {
		leaf, err := s.Pinned(c.at, c.file, c.id)
		want(t, what, err, c.step)
		if err == nil && (leaf.Key == nil || !strings.HasPrefix(leaf.String(), "pinned certificate of 'C=CH")) {
			t.Errorf("%s: %v", what, leaf)
		}
	}
}
