package ikev1

import (
	"strings"
	"testing"

	"cygnet/internal/config"
	"cygnet/internal/ike"
	"cygnet/internal/ikev1/wire"
	store "cygnet/internal/keys"
	"cygnet/internal/pki"
	"cygnet/internal/pki/pkitest"
)

// useCerts gives both ends a certificate below an intermediate authority.
func (p *pair) useCerts(root *pkitest.Cert) {
	p.now = pkitest.Now
	for _, n := range []*node{p.west, p.east} {
		sub := root.Sub(p.t, pkitest.Spec{Subject: "CN=Sub of " + n.name})
		leaf := sub.Leaf(p.t, pkitest.Spec{Subject: "CN=" + n.name, DNS: []string{n.name}, Kind: pkitest.RSA2048})
		n.useStore(map[string]string{"cacerts/root.pem": pkitest.PEM(root), "certs/own.pem": pkitest.PEM(leaf, sub), "private/own.pem": leaf.KeyPEM(p.t)}, store.Certificates{})
		c := n.conns[0]
		c.Local.Auth, c.Remote.Auth = []ike.AuthMethod{ike.AuthPubkey}, []ike.AuthMethod{ike.AuthPubkey}
		c.Local.Certs, c.Remote.Certs = ike.Certs{File: "own.pem"}, ike.Certs{Accept: true}
	}
}

func (n *node) useStore(files map[string]string, c store.Certificates) {
	all := map[string]string{}
	for name, text := range files {
		all["/ipsec.d/"+name] = text
	}
	known, problems := pki.Load(config.MapFS{Files: all}, "/ipsec.d", pkitest.Now, pki.Options{})
	for _, p := range problems {
		n.p.t.Error(p)
	}
	ring := store.New(store.Options{})
	c.Store = known
	ring.SetCertificates(c)
	n.store, n.cfg.Authority = ring, ring.AuthorityV1
}

// R5.6 by IKEv1: both ends prove themselves by certificates and ask for them;
// who sends his only if asked is asked; a DN with a wildcard admits.
func TestCertificates(t *testing.T) {
	p := newPair(t, 1)
	p.useCerts(pkitest.Root(t, pkitest.Spec{Subject: "CN=Root"}))
	p.west.conns[0].Local.ID, p.west.conns[0].Local.Certs.Send = mustID("CN=west"), ike.CertSendIfAsked
	p.east.conns[0].Remote.ID = mustID("CN=*")
	w, e := p.up()
	if e.remoteID != mustID("CN=west") || len(e.peerCerts) != 3 || len(w.peerCerts) != 3 {
		t.Errorf("east knows west as %v by %d certificates, west knows %d", e.remoteID, len(e.peerCerts), len(w.peerCerts))
	}
	asked := 0
	for _, d := range p.sent {
		if h := headOf(d); h.Flags&ike.FlagEncryption == 0 {
			m, err := wire.Parse(d.Msg)
			if err != nil {
				t.Fatal(err)
			}
			asked += len(m.CERTREQs())
		}
	}
	if asked != 2 {
		t.Errorf("%d requests for certificates", asked)
	}
	if ups := facts[ike.IKEUp](p.east); len(ups) != 1 || len(ups[0].PeerCerts) != 3 {
		t.Errorf("east reports %+v", ups)
	}
}

// X509-05, X509-06 by IKEv1: no SA, and east says why.
func TestCertificatesRefused(t *testing.T) {
	for name, c := range map[string]struct {
		change func(p *pair, root *pkitest.Cert)
		says   string
	}{
		"not its name": {func(p *pair, _ *pkitest.Cert) {
			p.west.conns[0].Local.ID = mustID("@boss")
			p.east.conns[0].Remote.ID = mustID("@boss")
		}, "it is not for '@boss'"},
		"another authority": {func(p *pair, _ *pkitest.Cert) {
			p.east.useStore(map[string]string{"cacerts/x.pem": pkitest.PEM(pkitest.Root(t, pkitest.Spec{Subject: "CN=Other"}))}, store.Certificates{})
		}, "no chain to a CA of ours"},
		"no certificate": {func(p *pair, _ *pkitest.Cert) { p.west.conns[0].Local.Certs.Send = ike.CertSendNever }, "sent no certificate"},
		"revocation not known": {func(p *pair, root *pkitest.Cert) {
			p.east.useStore(map[string]string{"cacerts/root.pem": pkitest.PEM(root)}, store.Certificates{Strict: pki.StrictYes})
		}, "may be revoked"},
	} {
		p := newPair(t, 1)
		root := pkitest.Root(t, pkitest.Spec{Subject: "CN=Root"})
		p.useCerts(root)
		c.change(p, root)
		p.west.initiate()
		p.settle()
		if len(p.west.plane)+len(p.east.plane) > 0 {
			t.Errorf("%s: an SA", name)
		}
		if f := p.east.failure(); f == nil || !strings.Contains(f.Why, c.says) {
			t.Errorf("%s: east says %+v", name, f)
		}
	}
}
