package interop

import (
	"encoding/pem"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"cygnet/internal/lab/labtest"
	"cygnet/internal/pki/pkitest"
)

// authority is a CA for one test: a root, and an authority below it that has
// issued both ends' certificates.
type authority struct{ root, sub, west, east *pkitest.Cert }

// today gives a certificate of pkitest, whose own time is another, a year around
// the real one.
func today(s pkitest.Spec) pkitest.Spec {
	s.From, s.Until = time.Now().AddDate(0, -6, 0), time.Now().AddDate(0, 6, 0)
	return s
}

func newAuthority(t *testing.T, kind pkitest.KeyKind) *authority {
	a := &authority{root: pkitest.Root(t, today(pkitest.Spec{Subject: "C=CH, O=Lab, CN=Lab Root", Kind: kind}))}
	a.sub = a.root.Sub(t, today(pkitest.Spec{Subject: "C=CH, O=Lab, CN=Lab Issuer", Kind: kind}))
	a.west = a.sub.Leaf(t, today(pkitest.Spec{Subject: "C=CH, O=Lab, CN=west", DNS: []string{"west.lab"}, Kind: kind}))
	a.east = a.sub.Leaf(t, today(pkitest.Spec{Subject: "C=CH, O=Lab, CN=east", DNS: []string{"east.lab"}, Kind: kind}))
	return a
}

// crl is a list of the issuing authority from now on, as a file.
func (a *authority) crl(t *testing.T, revoked ...*pkitest.Cert) string {
	der := a.sub.CRL(t, pkitest.ListSpec{From: time.Now().Add(-time.Minute), Until: time.Now().AddDate(0, 0, 7), Revoked: revoked})
	return string(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}))
}

// certified makes a plan whose ends prove themselves by certificates. Each knows
// the root and sends the authority between.
func (a *authority) certified(t *testing.T, p plan) plan {
	spoil := p.spoil
	p.files = map[string]string{
		"ipsec.d/cacerts/root.pem": pkitest.PEM(a.root),
		"ipsec.d/certs/west.pem":   pkitest.PEM(a.west, a.sub),
		"ipsec.d/private/west.pem": a.west.KeyPEM(t),
	}
	p.spoil = func(x *parts) {
		x.secrets = ""
		x.conf = strings.Replace(x.conf, "\tauthby=secret\n", "\tauthby=rsasig\n\tleftcert=west.pem\n\trightrsasigkey=%cert\n", 1)
		x.swanctl = strings.ReplaceAll(x.swanctl, "auth = psk", "auth = pubkey")
		x.swanctl = strings.Replace(x.swanctl, "local {", "local {\n\t\t\tcerts = east.pem", 1)
		x.files["x509/east.pem"] = pkitest.PEM(a.east)
		x.files["private/east.pem"] = a.east.KeyPEM(t)
		x.files["x509ca/root.pem"] = pkitest.PEM(a.root)
		x.files["x509ca/sub.pem"] = pkitest.PEM(a.sub)
		if spoil != nil {
			spoil(x)
		}
	}
	return p
}

// R5.6, R4.5: certificates of every kind of key, with an authority between, in
// both roles.
func TestCertificates(t *testing.T) {
	for _, k := range []struct {
		name string
		kind pkitest.KeyKind
	}{{"rsa", pkitest.RSA2048}, {"p256", pkitest.P256}, {"p384", pkitest.P384}, {"ed25519", pkitest.Ed25519}} {
		t.Run(k.name, func(t *testing.T) {
			a := newAuthority(t, k.kind)
			sides(t, func(t *testing.T, byUs bool) {
				r := start(t, a.certified(t, plan{}))
				r.initiate(byUs)
				r.traffic()
			})
		})
	}
}

// By IKEv1 too, which knows RSA only.
func TestCertificatesVersion1(t *testing.T) {
	a := newAuthority(t, pkitest.RSA2048)
	sides(t, func(t *testing.T, byUs bool) {
		r := start(t, a.certified(t, plan{ike: "aes256-sha256-modp2048", esp: "aes256-sha256", conn: "pfs=no", spoil: v1}))
		r.initiate(byUs)
		r.within(5*time.Second, "our side up", func() bool {
			return strings.Contains(r.ipsec(0, "auto", "--status"), "IPsec SA established")
		})
		r.traffic()
	})
}

// R5.6: a peer's certificate of another CA is refused, and one on the CRL too:
// before, and while its tunnel stands.
func TestCertificatesRefused(t *testing.T) {
	a := newAuthority(t, pkitest.P256)
	t.Run("other CA", func(t *testing.T) {
		other := newAuthority(t, pkitest.P256)
		sides(t, func(t *testing.T, byUs bool) {
			r := start(t, a.certified(t, plan{spoil: func(x *parts) {
				x.files["x509/east.pem"] = pkitest.PEM(other.east)
				x.files["private/east.pem"] = other.east.KeyPEM(t)
				x.files["x509ca/other.pem"] = pkitest.PEM(other.sub)
			}}))
			r.refused(byUs, "no chain to a CA of ours")
		})
	})
	t.Run("revoked", func(t *testing.T) {
		sides(t, func(t *testing.T, byUs bool) {
			p := a.certified(t, plan{})
			p.files["ipsec.d/crls/lab.pem"] = a.crl(t, a.east)
			r := start(t, p)
			r.refused(byUs, "revoked")
		})
	})
	t.Run("revoked while up", func(t *testing.T) {
		r := start(t, a.certified(t, plan{}))
		r.initiate(false)
		r.traffic()
		r.must(r.west.Write("ipsec.d/crls/lab.pem", a.crl(t, a.east)))
		r.ipsec(0, "auto", "--rereadcrls")
		r.within(5*time.Second, "charon without SAs", func() bool { n, _ := r.charonSAs(); return n == 0 })
		r.refused(false, "revoked")
		if out := r.ipsec(0, "auto", "--listcrls"); !strings.Contains(out, "CN=Lab Issuer, unverified") && !strings.Contains(out, "CN=Lab Issuer, ok") {
			t.Errorf("listcrls:\n%s", out)
		}
	})
}

// refused brings the tunnel up in vain; our log says why.
func (r *rig) refused(byUs bool, why string) {
	r.t.Helper()
	if byUs {
		r.ipsec(11, "auto", "--up", "net")
	} else if out, err := r.east.Swanctl(r.t.Context(), "--initiate", "--child", "net", "--timeout", "20"); err == nil {
		r.t.Fatalf("charon is not refused:\n%s", out)
	}
	if log := r.log(); !strings.Contains(log, why) {
		r.t.Errorf("our log does not say %q:\n%s", why, log)
	}
	if n, _ := r.charonSAs(); n > 0 {
		r.t.Error("charon has an SA")
	}
}

// names is a plan's identities as charon would have them.
func names(local, remote string) func(x *parts) {
	return func(x *parts) {
		x.swanctl = strings.NewReplacer("id = east.lab", fmt.Sprintf("id = %q", local), "id = west.lab", fmt.Sprintf("id = %q", remote)).Replace(x.swanctl)
	}
}

// Identities that stand in certificates: distinguished names, which leftid= has
// by default with a certificate, a wildcard, and the peer's own certificate in
// our files.
func TestCertificateIdentities(t *testing.T) {
	a := newAuthority(t, pkitest.P256)
	const west, east = "C=CH, O=Lab, CN=west", "C=CH, O=Lab, CN=east"
	for _, c := range []struct{ name, leftid, right string }{
		{"from certificate", "", "rightid=\"" + east + "\"\n\trightca=\"C=CH, O=Lab, CN=Lab Root\""},
		{"wildcard", "leftid=%fromcert", "rightid=\"C=CH, O=Lab, CN=*\"\n\trightca=%same"},
		{"pinned", "leftid=\"" + west + "\"", "rightcert=east.pem"},
	} {
		t.Run(c.name, func(t *testing.T) {
			sides(t, func(t *testing.T, byUs bool) {
				p := a.certified(t, plan{spoil: func(x *parts) {
					names(east, west)(x)
					x.conf = strings.NewReplacer("\tleftid="+westID+"\n", "\t"+c.leftid+"\n", "\trightid="+eastID+"\n", "\t"+c.right+"\n", "\trightrsasigkey=%cert\n", "").Replace(x.conf)
					if c.name != "pinned" {
						x.conf = strings.Replace(x.conf, "\tleftcert", "\trightrsasigkey=%cert\n\tleftcert", 1)
					}
					x.conf = strings.ReplaceAll(x.conf, "\t\n", "")
				}})
				p.files["ipsec.d/certs/east.pem"] = pkitest.PEM(a.east)
				p.files["ipsec.d/cacerts/sub.pem"] = pkitest.PEM(a.sub)
				r := start(t, p)
				r.initiate(byUs)
				r.traffic()
			})
		})
	}
}

// The CRL that a ca section names is fetched at start, and decides; a peer whose
// certificate it revokes later loses its tunnel when it is fetched again.
func TestFetchedCRL(t *testing.T) {
	a := newAuthority(t, pkitest.P256)
	const server = "101.101.101.101:8080"
	p := a.certified(t, plan{spoil: func(x *parts) {
		x.conf = strings.Replace(x.conf, "conn net\n", "ca lab\n\tcacert=issuer.pem\n\tcrluri=http://"+server+"/lab.crl\n\nconn net\n", 1)
		x.conf = strings.Replace(x.conf, "config setup\n", "config setup\n\tstrictcrlpolicy=yes\n", 1)
	}})
	p.files["ipsec.d/cacerts/issuer.pem"] = pkitest.PEM(a.sub)
	p.files["www/lab.crl"] = a.crl(t)
	p.files["ipsec.d/crls/root.pem"] = rootCRL(t, a)
	p.before = func(r *rig) {
		_, python := exec.LookPath("python3")
		labtest.Need(t, python == nil, "python3, as a web server")
		web, err := r.lab.Host("west").Start(exec.Command("python3", "-m", "http.server", "--bind", "101.101.101.101", "--directory", r.west.Confs()+"/www", "8080"), r.west.Confs()+"/www.log")
		r.must(err)
		r.lab.Defer(func() error { web.Stop(time.Second); return nil })
		r.within(10*time.Second, "web server", func() bool {
			res, err := r.lab.Host("west").Run(t.Context(), nil, "python3", "-c", "import urllib.request; urllib.request.urlopen('http://"+server+"/lab.crl')")
			return err == nil && res.Exit == 0
		})
	}
	r := start(t, p)
	r.within(10*time.Second, "a fetched CRL", func() bool { return strings.Contains(r.ipsec(0, "auto", "--listcrls"), "(fetched)") })
	r.initiate(true)
	r.traffic()
	r.must(r.west.Write("www/lab.crl", a.crl(t, a.east)))
	r.ipsec(0, "auto", "--rereadcrls")
	r.within(90*time.Second, "charon without SAs", func() bool { n, _ := r.charonSAs(); return n == 0 })
	r.refused(false, "is revoked")
}

func rootCRL(t *testing.T, a *authority) string {
	der := a.root.CRL(t, pkitest.ListSpec{From: time.Now().Add(-time.Minute), Until: time.Now().AddDate(0, 0, 7)})
	return string(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}))
}

// What is wrong with our own certificate is said when the connection is loaded,
// with the file and the mend, and not only when the peer refuses it.
func TestCertificateAdvice(t *testing.T) {
	a := newAuthority(t, pkitest.P256)
	old := a.sub.Leaf(t, pkitest.Spec{Subject: "CN=west", DNS: []string{"west.lab"}, From: time.Now().AddDate(-2, 0, 0), Until: time.Now().AddDate(-1, 0, 0)})
	p := a.certified(t, plan{spoil: func(x *parts) { x.conf = strings.ReplaceAll(x.conf, "leftcert=west.pem", "leftcert=old.pem") }})
	delete(p.files, "ipsec.d/certs/west.pem") // which the issuing authority's is in
	p.files["ipsec.d/certs/old.pem"] = pkitest.PEM(old)
	r := start(t, p)
	for _, says := range []string{
		`"net": certificate "old.pem" has no private key here, so that we cannot prove to be its owner: put the key file into ipsec.d/private`,
		`"net": certificate "old.pem" expired on ` + old.NotAfter.UTC().Format(time.DateTime),
		`"net": certificate "old.pem" was issued by 'C=CH, O=Lab, CN=Lab Issuer', whose certificate is in none of our files`,
		`/ipsec.d/certs/old.pem: certificate of 'CN=west': expired at `,
	} {
		if log := r.log(); !strings.Contains(log, says) {
			t.Errorf("our log does not say %q:\n%s", says, log)
		}
	}
	r.refused(true, "unable to locate the private key of my certificate \"old.pem\"")
	r.ipsec(0, "auto", "--delete", "net")
	r.must(r.west.Write("ipsec.conf", strings.Replace(p.conf(r), "leftid="+westID, "leftid=@boss.lab", 1)))
	if out := r.ipsec(6, "auto", "--add", "net"); !strings.Contains(out, `certificate "old.pem" is not for '@boss.lab': it names 'CN=west', '@west.lab'; write one of them as id=`) {
		t.Errorf("add: %s", out)
	}
}

// conf is the text of our ipsec.conf by a plan.
func (p plan) conf(r *rig) string {
	x := r.texts(p)
	p.spoil(x)
	return x.conf
}
