package pki

import (
	"testing"

	"cygnet/internal/config"
	"cygnet/internal/ike"
	"cygnet/internal/pki/pkitest"
)

// steadyLab is a lab that is the same in every process: the one that fuzzes and
// those that run.
func steadyLab(t testing.TB) *lab {
	l := &lab{}
	l.root = pkitest.Root(t, pkitest.Spec{Subject: "C=CH, O=Lab, CN=Root", Key: pkitest.Fixed(t, 1), Serial: 1})
	l.sub = l.root.Sub(t, pkitest.Spec{Subject: "C=CH, O=Lab, CN=Sub", Key: pkitest.Fixed(t, 2), Serial: 2})
	l.gw = l.sub.Leaf(t, with(gateway(), func(s *pkitest.Spec) { s.Key, s.Serial = pkitest.Fixed(t, 3), 3 }))
	l.store = trusting(t, l.root)
	return l
}

// Whatever a peer sends: no panic, an error of our kind, one printable line, and
// never a yes for a key that no authority has signed.
func FuzzChain(f *testing.F) {
	l := steadyLab(f)
	f.Add(l.gw.Raw, l.sub.Raw, uint8(ike.CertX509), uint8(ike.IDFQDN), "gw.example.org")
	f.Add(l.sub.Raw, l.gw.Raw, uint8(ike.CertX509), uint8(ike.IDDN), string(l.gw.RawSubject))
	f.Add(l.gw.Raw, l.sub.OCSP(f, l.gw, pkitest.ResponseSpec{}), uint8(ike.CertOCSP), uint8(ike.IDIPv4), "\xc0\x00\x02\x01")
	f.Add([]byte{0x30, 0x84, 0xff, 0xff, 0xff, 0xff}, []byte("http://x"), uint8(ike.CertHashURL), uint8(ike.IDUser), "Admin@example.org")
	s := trusting(f, l.root, l.sub)
	f.Fuzz(func(t *testing.T, a, b []byte, encoding, kind uint8, name string) {
		want := ike.ID{Kind: ike.IDKind(kind), Data: name}
		leaf, err := s.Verify(now, []ike.Cert{{Encoding: ike.CertX509, Data: a}, {Encoding: ike.CertEncoding(encoding), Data: b}}, want, Policy{})
		if err == nil {
			if string(a) != string(l.gw.Raw) && string(b) != string(l.gw.Raw) && !l.signed(a, b) {
				t.Fatalf("accepted %x", a)
			}
			if leaf.ID != want {
				t.Fatalf("another identity: %v", leaf.ID)
			}
			return
		}
		if StepOf(err) == 0 {
			t.Fatalf("untyped: %v", err)
		}
		assertPrintable(t, err)
	})
}

// signed reports whether one of the two is a certificate with a signature by the
// lab. ECDSA has two signatures for each one that was made.
func (l *lab) signed(ders ...[]byte) bool {
	for _, der := range ders {
		if c, err := parse(der); err == nil && (issued(l.root.Certificate, c) || issued(l.sub.Certificate, c)) {
			return true
		}
	}
	return false
}

func FuzzCRL(f *testing.F) {
	l := steadyLab(f)
	f.Add(l.sub.CRL(f, pkitest.ListSpec{Revoked: []*pkitest.Cert{l.gw}}))
	f.Add(l.root.CRL(f, pkitest.ListSpec{}))
	f.Add([]byte{0x30, 0x80, 0, 0})
	f.Fuzz(func(t *testing.T, der []byte) {
		c, err := parseCRL(der)
		if err != nil {
			assertPrintable(t, err)
			return
		}
		for _, ca := range []*pkitest.Cert{l.root, l.sub} {
			if more, err := l.store.WithCRL(der, ca.Certificate); err == nil {
				if v := more.byCRL(now, l.gw.Certificate, ca.Certificate); v.state == good && !c.from(ca.Certificate) {
					t.Fatal("a list of nobody clears")
				}
			}
		}
	})
}

func FuzzOCSP(f *testing.F) {
	l := steadyLab(f)
	f.Add(l.sub.OCSP(f, l.gw, pkitest.ResponseSpec{}))
	f.Add(l.sub.OCSP(f, l.gw, pkitest.ResponseSpec{Responder: l.gw}))
	f.Add([]byte{0x30, 3, 10, 1, 6})
	f.Fuzz(func(t *testing.T, der []byte) {
		if _, err := readResponse(now, der, l.gw.Certificate, l.sub.Certificate); err != nil {
			assertPrintable(t, err)
		}
	})
}

// Files: no panic, and every one that is not used is told of.
func FuzzLoad(f *testing.F) {
	l := steadyLab(f)
	f.Add(pkitest.PEM(l.root))
	f.Add(string(l.gw.Raw))
	f.Add(l.gw.KeyPEM(f))
	f.Add(crlPEM(l.root.CRL(f, pkitest.ListSpec{})))
	f.Fuzz(func(t *testing.T, text string) {
		files := map[string]string{}
		for _, d := range []string{"cacerts", "certs", "crls", "private"} {
			files[dir+"/"+d+"/x"] = text
		}
		s, problems := Load(config.MapFS{Files: files}, dir, now, Options{})
		cas, ends, crls, private := s.Len()
		if used := min(cas, 1) + min(ends, 1) + min(crls, 1) + min(private, 1); used+len(problems) < 3 {
			t.Fatalf("%d used, problems %v", used, problems)
		}
	})
}
