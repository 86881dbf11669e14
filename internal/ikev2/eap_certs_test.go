package ikev2

import (
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"cygnet/internal/config"
	"cygnet/internal/ike"
	"cygnet/internal/pki"
	"cygnet/internal/pki/pkitest"
)

// X509-21: a certificate that was shown inside EAP-TLS can be found revoked like
// any other while its tunnels are up, also after a rekeying. Where both ends have
// proven themselves so, each knows the other's chain.
func TestAdv_X509_21_EAPTLS(t *testing.T) {
	root := pkitest.Root(t, pkitest.Spec{Subject: "CN=Root"})
	for _, alone := range []bool{false, true} {
		p := newPair(t, 71)
		useEAP(p, root, ike.AuthEAPTLS)
		if alone {
			p.west.conns[0].Remote.Auth, p.east.conns[0].Local.Auth = []ike.AuthMethod{ike.AuthEAPTLS}, []ike.AuthMethod{ike.AuthEAPTLS}
		}
		p.up()
		p.pass(9 * time.Hour)
		for _, n := range []*node{p.west, p.east} {
			ups := facts[ike.IKEUp](n)
			if len(ups) < 2 {
				t.Fatalf("alone %v: %s knows of %d IKE SAs: no rekeying was seen", alone, n.name, len(ups))
			}
			for i, up := range ups {
				if len(up.PeerCerts) == 0 {
					t.Errorf("alone %v: %s has no chain in IKE SA %d", alone, n.name, i)
					continue
				}
				if why := revokedBy(t, root, up.PeerCerts); !strings.Contains(why, "is revoked") {
					t.Errorf("alone %v: %s: %q", alone, n.name, why)
				}
			}
		}
	}
}

// revokedBy is what a store says of a chain once root has revoked its first
// certificate. The store has nothing against the chain before.
func revokedBy(t *testing.T, root *pkitest.Cert, chain [][]byte) string {
	t.Helper()
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"/d/cacerts/root.pem": pkitest.PEM(root)}
	load := func() *pki.Store {
		store, problems := pki.Load(config.MapFS{Files: files}, "/d", pkitest.Now, pki.Options{})
		for _, p := range problems {
			t.Error(p)
		}
		return store
	}
	if why := load().Revoked(pkitest.Now, chain); why != "" {
		t.Errorf("revoked by nobody: %s", why)
	}
	list := root.CRL(t, pkitest.ListSpec{Revoked: []*pkitest.Cert{{Certificate: leaf}}})
	files["/d/crls/root.pem"] = string(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: list}))
	return load().Revoked(pkitest.Now, chain)
}
