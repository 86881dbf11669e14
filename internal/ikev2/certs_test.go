package ikev2

import (
	"strings"
	"testing"

	"cygnet/internal/config"
	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
	"cygnet/internal/keys"
	"cygnet/internal/pki"
	"cygnet/internal/pki/pkitest"
)

// useCerts gives both ends a certificate below an intermediate authority.
func useCerts(p *pair, root *pkitest.Cert) {
	p.now = pkitest.Now
	for _, n := range []*node{p.west, p.east} {
		sub := root.Sub(p.t, pkitest.Spec{Subject: "CN=Sub of " + n.name})
		leaf := sub.Leaf(p.t, pkitest.Spec{Subject: "CN=" + n.name, DNS: []string{n.name}})
		n.useStore(map[string]string{"cacerts/root.pem": pkitest.PEM(root), "certs/own.pem": pkitest.PEM(leaf, sub), "private/own.pem": leaf.KeyPEM(p.t)}, keys.Certificates{})
		c := n.conns[0]
		c.Local.Auth, c.Remote.Auth = []ike.AuthMethod{ike.AuthPubkey}, []ike.AuthMethod{ike.AuthPubkey}
		c.Local.Certs, c.Remote.Certs = ike.Certs{File: "own.pem"}, ike.Certs{Accept: true}
	}
}

func (n *node) useStore(files map[string]string, c keys.Certificates) {
	all := map[string]string{}
	for name, text := range files {
		all["/ipsec.d/"+name] = text
	}
	store, problems := pki.Load(config.MapFS{Files: all}, "/ipsec.d", pkitest.Now, pki.Options{})
	for _, p := range problems {
		n.p.t.Error(p)
	}
	ring := keys.New(keys.Options{})
	c.Store = store
	ring.SetCertificates(c)
	n.store, n.cfg.Authorities = ring, ring.Authorities
}

// Both ends prove themselves by certificates, and both ask for them.
func TestCertificates(t *testing.T) {
	for _, name := range []string{"@west", "CN=*", "%any"} {
		p := newPair(t, 1)
		useCerts(p, pkitest.Root(t, pkitest.Spec{Subject: "CN=Root"}))
		id, err := ike.ParseID(name)
		if err != nil {
			t.Fatal(err)
		}
		p.east.conns[0].Remote.ID = id
		if name == "CN=*" {
			p.west.conns[0].Local.ID, _ = ike.ParseID("CN=west")
		}
		w, e := p.up()
		p.check(1)
		if e.remoteID != p.west.conns[0].Local.ID {
			t.Errorf("%s: east knows west as %v", name, e.remoteID)
		}
		certs, asked := 0, 0
		for _, d := range p.sent {
			h, _ := ike.ParseHeader(d.Msg)
			switch {
			case h.Exchange == ike.SAInit && h.Response():
				m, err := wire.Parse(d.Msg)
				if err != nil {
					t.Fatal(err)
				}
				asked += len(m.CERTREQs())
			case h.Exchange == ike.Auth:
				ps := open(t, w, d.Msg, d.from == p.west)
				certs, asked = certs+len(ps.CERTs()), asked+len(ps.CERTREQs())
			}
		}
		if certs != 4 || asked != 2 {
			t.Errorf("%s: %d certificates, %d requests", name, certs, asked)
		}
	}
}

// X509-05, X509-06, X509-23 and revocation on the wire: AUTHENTICATION_FAILED
// and no SA, and the reason is known only at home.
func TestAdv_X509_05_06_Refused(t *testing.T) {
	for name, c := range map[string]struct {
		change func(p *pair, root *pkitest.Cert)
		says   string
	}{
		"not its name": {func(p *pair, _ *pkitest.Cert) {
			p.west.conns[0].Local.ID, _ = ike.ParseID("@boss")
			p.east.conns[0].Remote.ID = p.west.conns[0].Local.ID
		}, "it is not for '@boss'"},
		"another authority": {func(p *pair, _ *pkitest.Cert) {
			p.east.useStore(map[string]string{"cacerts/x.pem": pkitest.PEM(pkitest.Root(t, pkitest.Spec{Subject: "CN=Other"}))}, keys.Certificates{})
		}, "no chain to a CA of ours"},
		"not the authority that is named": {func(p *pair, root *pkitest.Cert) {
			p.east.conns[0].Remote.Certs.CA, _ = ike.ParseID("CN=Sub of west")
		}, "not by 'CN=Sub of west'"},
		"no certificate": {func(p *pair, _ *pkitest.Cert) { p.west.conns[0].Local.Certs.Send = ike.CertSendNever }, "sent no certificate"},
		"revocation not known": {func(p *pair, root *pkitest.Cert) {
			p.east.useStore(map[string]string{"cacerts/root.pem": pkitest.PEM(root)}, keys.Certificates{Strict: pki.StrictYes})
		}, "may be revoked"},
	} {
		p := newPair(t, 1)
		root := pkitest.Root(t, pkitest.Spec{Subject: "CN=Root"})
		useCerts(p, root)
		c.change(p, root)
		p.west.initiate()
		p.settle()
		if len(p.west.plane)+len(p.east.plane) > 0 {
			t.Errorf("%s: an SA", name)
		}
		if why := p.east.failure().Why; !strings.Contains(why, c.says) {
			t.Errorf("%s: east says %q", name, why)
		}
		if why := p.west.failure().Why; !strings.Contains(why, "AUTHENTICATION_FAILED") || strings.Contains(why, c.says) {
			t.Errorf("%s: west says %q", name, why)
		}
	}
}

// X509-21: who has proven himself by a certificate gets no ticket, with which he
// could come back after its revocation.
func TestAdv_X509_21_NoTicket(t *testing.T) {
	for _, certs := range []bool{false, true} {
		p := newPair(t, 1)
		if certs {
			useCerts(p, pkitest.Root(t, pkitest.Spec{Subject: "CN=Root"}))
		}
		p.west.conns[0].Resume, p.east.conns[0].Resume = true, true
		p.up()
		if n := len(p.west.cfg.tickets); (n == 0) != certs {
			t.Errorf("certificates %v: %d tickets", certs, n)
		}
	}
}
