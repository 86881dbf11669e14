package keys

import (
	"crypto"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"cygnet/internal/config"
	"cygnet/internal/ike"
	"cygnet/internal/pki"
	"cygnet/internal/pki/pkitest"
	"cygnet/internal/suite"
)

var certNow = pkitest.Now

func loadCerts(t *testing.T, files map[string]string) *pki.Store {
	t.Helper()
	all := map[string]string{}
	for name, text := range files {
		all["/etc/ipsec.d/"+name] = text
	}
	s, problems := pki.Load(config.MapFS{Files: all}, "/etc/ipsec.d", certNow, pki.Options{})
	for _, p := range problems {
		t.Error(p)
	}
	return s
}

// two are gateways with certificates of one authority, and what each has on
// disk.
type two struct {
	root, sub  *pkitest.Cert
	west, east *pkitest.Cert
	files      map[string]string // of west
}

func newTwo(t *testing.T, kind pkitest.KeyKind) *two {
	x := &two{root: pkitest.Root(t, pkitest.Spec{Subject: "C=CH, CN=Root"})}
	x.sub = x.root.Sub(t, pkitest.Spec{Subject: "C=CH, CN=Sub"})
	x.west = x.sub.Leaf(t, pkitest.Spec{Subject: "C=CH, CN=west", DNS: []string{"west.example.org"}, Kind: kind})
	x.east = x.sub.Leaf(t, pkitest.Spec{Subject: "C=CH, CN=east", DNS: []string{"east.example.org", "b.example.org"}, Mail: []string{"Bob@example.org"}, Kind: kind, CDP: []string{"http://crl.example.org/sub"}})
	x.files = map[string]string{"cacerts/root.pem": pkitest.PEM(x.root), "certs/west.pem": pkitest.PEM(x.west, x.sub), "private/west.pem": x.west.KeyPEM(t)}
	return x
}

// proof runs both jobs: west proves itself to east, whose ring is given.
func proof(t *testing.T, x *two, kind string, east *Ring, conn *ike.Conn, remote ike.ID) (ike.Verified, error) {
	t.Helper()
	west := New(Options{SHA1: kind == "v1"})
	west.SetCertificates(Certificates{Store: loadCerts(t, x.files)})
	ours := &ike.Conn{Name: "we", Local: ike.End{ID: remote, Certs: ike.Certs{File: "west.pem"}}}
	if kind == "v1" {
		hash := make([]byte, 20)
		r, err := ike.ProveV1{Conn: ours, Hash: hash}.Run(ike.Env{Keys: west})
		if err != nil {
			t.Fatal(err)
		}
		v, err := ike.VerifyV1{Conn: conn, Hash: hash, Remote: remote, Signature: r.(ike.Signature).Data, Certs: r.(ike.Signature).Certs, Now: certNow}.Run(ike.Env{Keys: east})
		got, _ := v.(ike.Verified)
		return got, err
	}
	octets := []byte("what west signs")
	r, err := ike.Prove{Conn: ours, Method: ike.AuthPubkey, Octets: octets, Local: remote, Hashes: suite.SignatureHashes()}.Run(ike.Env{Keys: west})
	if err != nil {
		t.Fatal(err)
	}
	v, err := ike.Verify{Conn: conn, Octets: octets, Remote: remote, Auth: r.(ike.Signature), Now: certNow}.Run(ike.Env{Keys: east})
	got, _ := v.(ike.Verified)
	return got, err
}

// R5.6 at the level of jobs: west's certificate, with an authority between,
// proves it to east, for every kind of key and both versions of IKE.
func TestCertificatesProve(t *testing.T) {
	for name, kind := range map[string]pkitest.KeyKind{"P-256": pkitest.P256, "P-384": pkitest.P384, "RSA": pkitest.RSA2048, "Ed25519": pkitest.Ed25519, "v1": pkitest.RSA2048} {
		x := newTwo(t, kind)
		east := New(Options{})
		east.SetCertificates(Certificates{Store: loadCerts(t, map[string]string{"cacerts/root.pem": pkitest.PEM(x.root)})})
		west := id(t, "@west.example.org")
		conn := &ike.Conn{Name: "we", Remote: ike.End{ID: west, Certs: ike.Certs{Accept: true}}}
		v, err := proof(t, x, name, east, conn, west)
		if err != nil || !v.Proves(west) || v.CA.String() != "C=CH, CN=Sub" || !strings.Contains(v.How, "C=CH, CN=west") || !v.Until.Equal(x.west.NotAfter) {
			t.Errorf("%s: %+v, %v", name, v, err)
		}
	}
}

// Wrong authority, no authority, revoked, somebody else's name: no proof.
func TestAdv_X509_05_06_10_NoProof(t *testing.T) {
	x := newTwo(t, pkitest.P256)
	other := pkitest.Root(t, pkitest.Spec{Subject: "CN=Other"})
	root := map[string]string{"cacerts/root.pem": pkitest.PEM(x.root)}
	revoked := map[string]string{"cacerts/root.pem": pkitest.PEM(x.root),
		"crls/sub.pem": string(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: x.sub.CRL(t, pkitest.ListSpec{Revoked: []*pkitest.Cert{x.west}})}))}
	named := map[string]string{"cacerts/root.pem": pkitest.PEM(x.root), "cacerts/other.pem": pkitest.PEM(other), "cacerts/sub.pem": pkitest.PEM(x.sub), "certs/me.pem": pkitest.PEM(other.Leaf(t, pkitest.Spec{Subject: "CN=me"})), "certs/west.pem": pkitest.PEM(x.west)}
	west := "@west.example.org"
	for _, c := range []struct {
		name   string
		files  map[string]string
		remote ike.End
		local  string
		claims string
		strict pki.Strict
		step   pki.Step
		ok     bool
	}{
		{name: "sound", files: root, remote: ike.End{ID: id(t, west), Certs: ike.Certs{Accept: true}}, claims: west, ok: true},
		{name: "anybody", files: root, remote: ike.End{Certs: ike.Certs{Accept: true}}, claims: west, ok: true},
		{name: "by wildcard", files: root, remote: ike.End{ID: id(t, "C=CH, CN=*"), Certs: ike.Certs{Accept: true}}, claims: "C=CH, CN=west", ok: true},
		{name: "wildcard, not in the certificate", files: root, remote: ike.End{ID: id(t, "C=CH, CN=*"), Certs: ike.Certs{Accept: true}}, claims: "C=CH, CN=boss", step: pki.StepIdentity},
		{name: "wildcard of another country", files: root, remote: ike.End{ID: id(t, "C=DE, CN=*"), Certs: ike.Certs{Accept: true}}, claims: "C=CH, CN=west"},
		{name: "certificates not wanted", files: root, remote: ike.End{ID: id(t, west)}, claims: west},
		{name: "X509-05: not its name", files: root, remote: ike.End{ID: id(t, "@boss.example.org"), Certs: ike.Certs{Accept: true}}, claims: "@boss.example.org", step: pki.StepIdentity},
		{name: "X509-10: its name, but not the one asked for", files: root, remote: ike.End{ID: id(t, "@boss.example.org"), Certs: ike.Certs{Accept: true}}, claims: west},
		{name: "X509-06: another authority", files: named, remote: ike.End{ID: id(t, west), Certs: ike.Certs{Accept: true, CA: id(t, "CN=Other")}}, claims: west, step: pki.StepCA},
		{name: "the authority", files: named, remote: ike.End{ID: id(t, west), Certs: ike.Certs{Accept: true, CA: id(t, "C=CH, CN=Sub")}}, claims: west, ok: true},
		{name: "%same, other", files: named, local: "me.pem", remote: ike.End{ID: id(t, west), Certs: ike.Certs{Accept: true, SameCA: true}}, claims: west, step: pki.StepCA},
		{name: "%same", files: named, local: "west.pem", remote: ike.End{ID: id(t, west), Certs: ike.Certs{Accept: true, SameCA: true}}, claims: west, ok: true},
		{name: "%same without ours", files: named, remote: ike.End{ID: id(t, west), Certs: ike.Certs{Accept: true, SameCA: true}}, claims: west},
		{name: "no authority", files: nil, remote: ike.End{ID: id(t, west), Certs: ike.Certs{Accept: true}}, claims: west, step: pki.StepChain},
		{name: "revoked", files: revoked, remote: ike.End{ID: id(t, west), Certs: ike.Certs{Accept: true}}, claims: west, step: pki.StepRevoked},
		{name: "strict", files: root, strict: pki.StrictYes, remote: ike.End{ID: id(t, west), Certs: ike.Certs{Accept: true}}, claims: west, step: pki.StepUnknown},
		{name: "pinned", files: named, remote: ike.End{ID: id(t, west), Certs: ike.Certs{File: "west.pem"}}, claims: west, ok: true},
		{name: "pinned, another's", files: named, remote: ike.End{Certs: ike.Certs{File: "me.pem"}}, claims: "CN=me"},
	} {
		east := New(Options{})
		east.SetCertificates(Certificates{Store: loadCerts(t, c.files), Strict: c.strict})
		conn := &ike.Conn{Name: "we", Remote: c.remote, Local: ike.End{Certs: ike.Certs{File: c.local}}}
		claims := id(t, c.claims)
		v, err := proof(t, x, "", east, conn, claims)
		if v.Proves(claims) != c.ok || (err == nil) != c.ok || pki.StepOf(err) != c.step {
			t.Errorf("%s: %+v, step %v, %v", c.name, v, pki.StepOf(err), err)
		}
	}
	// Case before the @ counts in certificates.
	east := New(Options{})
	east.SetCertificates(Certificates{Store: loadCerts(t, root)})
	conn := &ike.Conn{Name: "we", Remote: ike.End{ID: id(t, "bob@example.org"), Certs: ike.Certs{Accept: true}}}
	_, err := east.Certified(conn, id(t, "Bob@example.org"), pkitest.Payloads(x.east, x.sub), certNow, func(crypto.PublicKey) error { return nil })
	if err == nil {
		t.Error("Bob is taken for bob")
	}
}

// The signature of a connection with leftcert= is by the key of that
// certificate or by none.
func TestSignWithCertificate(t *testing.T) {
	x := newTwo(t, pkitest.P256)
	other := private("", edKey(t))
	conn := &ike.Conn{Name: "we", Local: ike.End{ID: id(t, "@west.example.org"), Certs: ike.Certs{File: "west.pem"}}}
	for _, c := range []struct {
		name    string
		files   map[string]string
		secrets []config.Secret
		ok      bool
	}{
		{"in private", x.files, []config.Secret{other}, true},
		{"in ipsec.secrets", map[string]string{"certs/west.pem": pkitest.PEM(x.west)}, []config.Secret{psk("", "x"), other, private("@nobody", x.west.Key)}, true},
		{"nowhere", map[string]string{"certs/west.pem": pkitest.PEM(x.west)}, []config.Secret{other}, false},
		{"no certificate", map[string]string{"private/west.pem": x.west.KeyPEM(t)}, []config.Secret{other}, false},
		{"nothing at all", nil, nil, false},
	} {
		r := New(Options{})
		r.Set(&config.Secrets{Entries: c.secrets})
		r.SetCertificates(Certificates{Store: loadCerts(t, c.files)})
		sig, err := r.Sign(conn, []byte("octets"), suite.SignatureHashes())
		if (err == nil) != c.ok || !c.ok && !errors.Is(err, ErrNoKeyOfCertificate) {
			t.Errorf("%s: %v", c.name, err)
		}
		if err == nil {
			if err := suite.VerifySignature(x.west.PublicKey, sig.Method, []byte("octets"), sig.Data); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
		}
	}
	if _, err := New(Options{}).SignHash(conn, make([]byte, 20)); !errors.Is(err, ErrNoKeyOfCertificate) {
		t.Errorf("IKEv1: %v", err)
	}
}

// fetcher serves what it has and remembers who asked.
type fetcher struct {
	pages map[string][]byte
	asked []string
}

func (f *fetcher) Fetch(x pki.Fetch) ([]byte, error) {
	f.asked = append(f.asked, x.URI)
	if page, ok := f.pages[x.URI]; ok {
		return page, nil
	}
	return nil, errors.New("404")
}

// X509-13, X509-21: nothing is fetched for a stranger, nor for somebody who only
// shows a certificate; what was fetched counts for the next one too.
func TestAdv_X509_13_21_Fetch(t *testing.T) {
	x := newTwo(t, pkitest.P256)
	const uri = "http://crl.example.org/sub"
	f := &fetcher{pages: map[string][]byte{}}
	var notes []string
	r := New(Options{Note: func(text string) { notes = append(notes, text) }})
	r.SetCertificates(Certificates{Store: loadCerts(t, map[string]string{"cacerts/root.pem": pkitest.PEM(x.root)}), Strict: pki.StrictIfURI, Fetch: f, Lists: true})
	name := id(t, "@east.example.org")
	conn := &ike.Conn{Name: "we", Remote: ike.End{ID: name, Certs: ike.Certs{Accept: true}}}
	holds, lacks := func(crypto.PublicKey) error { return nil }, func(crypto.PublicKey) error { return errors.New("no") }
	try := func(certs []ike.Cert, holds func(crypto.PublicKey) error) error {
		_, err := r.Certified(conn, name, certs, certNow, holds)
		return err
	}
	r.certs.Load().Lists = false
	if err := try(pkitest.Payloads(x.east, x.sub), holds); pki.StepOf(err) != pki.StepUnknown || len(f.asked) > 0 {
		t.Errorf("with crlcheckinterval=0 %v was fetched: %v", f.asked, err)
	}
	r.certs.Load().Lists = true
	stranger := pkitest.Root(t, pkitest.Spec{Subject: "CN=Stranger"})
	evil := stranger.Leaf(t, pkitest.Spec{DNS: []string{"east.example.org"}, CDP: []string{"http://169.254.169.254/"}, AIA: []string{"http://127.0.0.1/"}})
	if err := try(pkitest.Payloads(evil, stranger), holds); pki.StepOf(err) != pki.StepChain || len(f.asked) > 0 {
		t.Errorf("a stranger had %v fetched: %v", f.asked, err)
	}
	chain := pkitest.Payloads(x.east, x.sub)
	if err := try(chain, lacks); err == nil || len(f.asked) > 0 {
		t.Errorf("somebody without the key had %v fetched: %v", f.asked, err)
	}
	if err := try(chain, holds); pki.StepOf(err) != pki.StepUnknown || !slices.Equal(f.asked, []string{uri}) || len(notes) != 1 {
		t.Errorf("404: %v, asked %v, notes %v", err, f.asked, notes)
	}
	f.pages[uri] = stranger.CRL(t, pkitest.ListSpec{})
	if err := try(chain, holds); pki.StepOf(err) != pki.StepUnknown {
		t.Errorf("a stranger's list: %v", err)
	}
	f.pages[uri], f.asked = x.sub.CRL(t, pkitest.ListSpec{}), nil
	if err := try(chain, holds); err != nil || len(f.asked) != 1 {
		t.Errorf("a good list: %v, asked %v", err, f.asked)
	}
	if err := try(chain, holds); err != nil || len(f.asked) != 1 {
		t.Errorf("the second time: %v, asked %v", err, f.asked)
	}
	// A week later the list has run out, and there the certificate is revoked.
	f.pages[uri] = x.sub.CRL(t, pkitest.ListSpec{From: certNow.AddDate(0, 0, 7), Revoked: []*pkitest.Cert{x.east}})
	_, err := r.Certified(conn, name, chain, certNow.AddDate(0, 0, 8), holds)
	if pki.StepOf(err) != pki.StepRevoked || len(f.asked) != 2 {
		t.Errorf("a week later: %v, asked %v", err, f.asked)
	}
}

func TestAuthoritiesOfConnections(t *testing.T) {
	x := newTwo(t, pkitest.P256)
	store := loadCerts(t, map[string]string{"cacerts/root.pem": pkitest.PEM(x.root, x.sub), "certs/west.pem": pkitest.PEM(x.west)})
	r := New(Options{})
	if _, ok := r.Authorities(nil); ok {
		t.Error("an empty ring asks for certificates")
	}
	r.SetCertificates(Certificates{Store: store})
	for name, c := range map[string]struct {
		conn *ike.Conn
		n    int
		ok   bool
	}{
		"anybody":       {nil, 40, true},
		"any of ours":   {&ike.Conn{Remote: ike.End{Certs: ike.Certs{Accept: true}}}, 40, true},
		"one":           {&ike.Conn{Remote: ike.End{Certs: ike.Certs{Accept: true, CA: id(t, "C=CH, CN=Sub")}}}, 20, true},
		"%same":         {&ike.Conn{Local: ike.End{Certs: ike.Certs{File: "west.pem"}}, Remote: ike.End{Certs: ike.Certs{Accept: true, SameCA: true}}}, 20, true},
		"%same of none": {&ike.Conn{Remote: ike.End{Certs: ike.Certs{Accept: true, SameCA: true}}}, 0, false},
		"unknown":       {&ike.Conn{Remote: ike.End{Certs: ike.Certs{Accept: true, CA: id(t, "CN=x")}}}, 0, false},
		"not wanted":    {&ike.Conn{}, 0, false},
		"pinned":        {&ike.Conn{Remote: ike.End{Certs: ike.Certs{Accept: true, File: "west.pem"}}}, 0, false},
	} {
		if h, ok := r.Authorities(c.conn); ok != c.ok || len(h) != c.n {
			t.Errorf("%s: %d octets, %v", name, len(h), ok)
		}
	}
	r.SetCertificates(Certificates{Store: store, NoRequest: true})
	if _, ok := r.Authorities(nil); ok {
		t.Error("nocrsend=yes, and yet it asks")
	}
}

// X509-11 and X509-20 through a ring: no certificate without a clock, and a key
// is the certificate's or it is nobody's.
func TestAdv_X509_11_20_Ring(t *testing.T) {
	x := newTwo(t, pkitest.RSA2048)
	r := New(Options{})
	r.SetCertificates(Certificates{Store: loadCerts(t, map[string]string{"cacerts/root.pem": pkitest.PEM(x.root)})})
	name := id(t, "@east.example.org")
	conn := &ike.Conn{Remote: ike.End{ID: name, Certs: ike.Certs{Accept: true}}}
	var seen crypto.PublicKey
	holds := func(k crypto.PublicKey) error { seen = k; return nil }
	if _, err := r.Certified(conn, name, pkitest.Payloads(x.east, x.sub), time.Time{}, holds); err == nil || seen != nil {
		t.Error("it counts without a clock")
	}
	for _, at := range []time.Time{x.east.NotAfter.Add(time.Second), x.east.NotBefore.Add(-time.Second)} {
		if _, err := r.Certified(conn, name, pkitest.Payloads(x.east, x.sub), at, holds); pki.StepOf(err) != pki.StepTime || seen != nil {
			t.Errorf("at %s: %v", at, err)
		}
	}
	got, err := r.Certified(conn, name, pkitest.Payloads(x.east, x.sub), certNow, holds)
	if err != nil || !x.east.PublicKey.(*rsa.PublicKey).Equal(got.Key) || !x.east.PublicKey.(*rsa.PublicKey).Equal(seen) {
		t.Errorf("%v", err)
	}
}

// CRLs of ca sections are fetched whether anybody calls or not, and then end
// what was good before (X509-21).
func TestRefresh(t *testing.T) {
	x := newTwo(t, pkitest.P256)
	const uri = "http://10.0.0.1/sub.crl"
	f := &fetcher{pages: map[string][]byte{}}
	var notes []string
	r := New(Options{Note: func(text string) { notes = append(notes, text) }})
	store, problems := pki.Load(config.MapFS{Files: map[string]string{"/d/cacerts/root.pem": pkitest.PEM(x.root), "/lab/sub.pem": pkitest.PEM(x.sub)}}, "/d", certNow,
		pki.Options{Authorities: []pki.Authority{{Name: "lab", File: "/lab/sub.pem", CRLs: []string{uri}}}})
	for _, p := range problems {
		t.Error(p)
	}
	if r.Refresh(certNow) {
		t.Error("an empty ring learned something")
	}
	r.SetCertificates(Certificates{Store: store, Fetch: f})
	if r.Refresh(certNow) || len(notes) != 1 {
		t.Errorf("404 is news: %v", notes)
	}
	conn := &ike.Conn{Name: "we", Remote: ike.End{ID: id(t, "@east.example.org"), Certs: ike.Certs{Accept: true}}}
	got, err := r.Certified(conn, conn.Remote.ID, pkitest.Payloads(x.east, x.sub), certNow, func(crypto.PublicKey) error { return nil })
	if err != nil || len(got.Chain) != 3 {
		t.Fatalf("%d certificates, %v", len(got.Chain), err)
	}
	if why := r.Store().Revoked(certNow, got.Chain); why != "" {
		t.Error(why)
	}
	f.pages[uri] = x.sub.CRL(t, pkitest.ListSpec{Revoked: []*pkitest.Cert{x.east}})
	if !r.Refresh(certNow) {
		t.Error("a list is no news")
	}
	why := r.Store().Revoked(certNow, got.Chain)
	if !strings.Contains(why, "CN=east") || !strings.Contains(why, "revoked") {
		t.Errorf("revoked: %q", why)
	}
	// Reading the files again does not forget what was fetched.
	again, _ := pki.Load(config.MapFS{Files: map[string]string{"/d/cacerts/root.pem": pkitest.PEM(x.root, x.sub)}}, "/d", certNow, pki.Options{})
	if again.Inherit(store).Revoked(certNow, got.Chain) != "" || again.Inherit(r.Store()).Revoked(certNow, got.Chain) != why {
		t.Error("what was fetched is not inherited")
	}
	if pki := again.Revoked(certNow, [][]byte{x.east.Raw}); pki != "" {
		t.Error(pki)
	}
	if got := again.Inherit(r.Store()).Revoked(certNow, [][]byte{x.east.Raw}); got != why {
		t.Errorf("a pinned certificate: %q", got)
	}
}

// Who issued our certificate must be here, or at the peer.
func TestMissing(t *testing.T) {
	x := newTwo(t, pkitest.P256)
	for _, c := range []struct {
		files map[string]string
		want  string
	}{
		{map[string]string{"certs/w.pem": pkitest.PEM(x.west)}, "C=CH, CN=Sub"},
		{map[string]string{"certs/w.pem": pkitest.PEM(x.west, x.sub)}, ""},
		{map[string]string{"certs/w.pem": pkitest.PEM(x.west, x.sub), "cacerts/r.pem": pkitest.PEM(x.root)}, ""},
		{map[string]string{"certs/w.pem": pkitest.PEM(x.west), "cacerts/s.pem": pkitest.PEM(x.sub)}, ""},
	} {
		if got := loadCerts(t, c.files).Missing("w.pem"); got != c.want {
			t.Errorf("%d files: %q, want %q", len(c.files), got, c.want)
		}
	}
}

func TestAuthorityV1(t *testing.T) {
	x := newTwo(t, pkitest.P256)
	r := New(Options{})
	named := ike.End{Certs: ike.Certs{Accept: true, CA: id(t, "C=CH, CN=Root")}}
	if _, ok := r.AuthorityV1(&ike.Conn{Remote: named}); ok {
		t.Error("an empty ring asks for certificates")
	}
	r.SetCertificates(Certificates{Store: loadCerts(t, map[string]string{"cacerts/root.pem": pkitest.PEM(x.root)})})
	for i, c := range []struct {
		remote ike.End
		name   string
		ok     bool
	}{{ike.End{}, "", false}, {ike.End{Certs: ike.Certs{Accept: true}}, "", true}, {ike.End{Certs: ike.Certs{File: "x.pem"}}, "", false}, {named, named.Certs.CA.Data, true}} {
		if name, ok := r.AuthorityV1(&ike.Conn{Remote: c.remote}); string(name) != c.name || ok != c.ok {
			t.Errorf("%d: %q, %v", i, name, ok)
		}
	}
}
