package pki

import (
	"encoding/pem"
	"net/netip"
	"testing"

	"cygnet/internal/config"
	"cygnet/internal/ike"
	"cygnet/internal/pki/pkitest"
)

var now = pkitest.Now

const dir = "/etc/ipsec.d"

// load reads a store from files below ipsec.d, and wants no problem with them.
func load(t testing.TB, files map[string]string) *Store {
	t.Helper()
	s, problems := loadAll(files, Options{})
	for _, p := range problems {
		t.Errorf("load: %v", p)
	}
	return s
}

func loadAll(files map[string]string, opts Options) (*Store, []config.Problem) {
	all := map[string]string{}
	for name, text := range files {
		all[dir+"/"+name] = text
	}
	return Load(config.MapFS{Files: all}, dir, now, opts)
}

// trusting is a store that trusts some authorities.
func trusting(t testing.TB, cas ...*pkitest.Cert) *Store {
	t.Helper()
	return load(t, map[string]string{"cacerts/ca.pem": pkitest.PEM(cas...)})
}

func crlPEM(lists ...[]byte) string {
	var out []byte
	for _, l := range lists {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: l})...)
	}
	return string(out)
}

func id(t testing.TB, text string) ike.ID {
	t.Helper()
	v, err := ike.ParseID(text)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// lab is a root, an authority below it, and a gateway with every kind of name.
type lab struct {
	root, sub, gw *pkitest.Cert
	store         *Store
}

func newLab(t testing.TB) *lab {
	l := &lab{}
	l.root = pkitest.Root(t, pkitest.Spec{Subject: "C=CH, O=Lab, CN=Root"})
	l.sub = l.root.Sub(t, pkitest.Spec{Subject: "C=CH, O=Lab, CN=Sub"})
	l.gw = l.sub.Leaf(t, gateway())
	l.store = trusting(t, l.root)
	return l
}

func gateway() pkitest.Spec {
	return pkitest.Spec{
		Subject: "C=CH, O=Lab, CN=gw.example.org",
		DNS:     []string{"GW.example.org", "*.wild.example.org", "192.0.2.7"},
		Mail:    []string{"Admin@Example.org"},
		IP:      []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")},
	}
}

// want checks the step at which an error refused; 0 for none.
func want(t testing.TB, what string, err error, step Step) {
	t.Helper()
	switch got := StepOf(err); {
	case step == 0 && err != nil:
		t.Errorf("%s: refused: %v", what, err)
	case step != 0 && err == nil:
		t.Errorf("%s: accepted", what)
	case got != step:
		t.Errorf("%s: refused at %v, not at %v: %v", what, got, step, err)
	}
}
