package interop

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"strings"
	"testing"

	"cygnet/internal/lab"
	"cygnet/internal/lab/labtest"
	"cygnet/internal/pki/pkitest"
)

// What strongSwan's log must say, so that a test proves what it is about.
func (r *rig) charonSaid(text string) {
	r.t.Helper()
	if !strings.Contains(r.east.Log(), text) {
		r.t.Errorf("charon's log has no %q: the test tests nothing", text)
	}
}

// Signatures by RSA-PSS (RFC 7427, RFC 4055) from both ends, and nothing else
// accepted by charon.
func TestRSAPSS(t *testing.T) {
	a := newAuthority(t, pkitest.RSA2048)
	sides(t, func(t *testing.T, byUs bool) {
		r := start(t, a.certified(t, plan{options: []string{"rsa_pss = yes"}, spoil: func(x *parts) {
			x.swanctl = strings.Replace(x.swanctl, "remote {\n\t\t\tauth = pubkey", "remote {\n\t\t\tauth = ike:rsa/pss-sha256", 1)
		}}))
		r.initiate(byUs)
		r.traffic()
		if n := strings.Count(r.east.Log(), "RSA_EMSA_PSS"); n < 2 {
			t.Errorf("charon's log tells of %d signatures by PSS", n)
		}
	})
}

// padded makes a certificate long by an extension that nobody knows.
func padded(s pkitest.Spec, octets int) pkitest.Spec {
	s.Extra = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1}, Value: make([]byte, octets)}}
	return today(s)
}

// A chain of more than 4 kB crosses in IKE fragments (RFC 7383), both ways, and
// in no fragment of IP.
func TestFragmentedChain(t *testing.T) {
	a := &authority{root: pkitest.Root(t, today(pkitest.Spec{Subject: "C=CH, O=Lab, CN=Lab Root", Kind: pkitest.RSA2048}))}
	a.sub = a.root.Sub(t, padded(pkitest.Spec{Subject: "C=CH, O=Lab, CN=Lab Issuer", Kind: pkitest.RSA2048}, 1500))
	leaf := func(name string) *pkitest.Cert {
		return a.sub.Leaf(t, padded(pkitest.Spec{Subject: "C=CH, O=Lab, CN=" + name, DNS: []string{name + ".lab"}, Kind: pkitest.RSA2048}, 1500))
	}
	a.west, a.east = leaf("west"), leaf("east")
	if n := len(a.west.Raw) + len(a.sub.Raw); n < 4096 {
		t.Fatalf("the chain has only %d octets", n)
	}
	sides(t, func(t *testing.T, byUs bool) {
		r := start(t, a.certified(t, plan{}))
		r.initiate(byUs)
		r.traffic()
		r.charonSaid("received fragment #4 of")
		r.charonSaid("splitting IKE message")
		if n := r.counts().Foreign(); n > 0 { // only a first fragment of IP has the ports of IKE
			t.Errorf("%d fragments of IP", n)
		}
	})
}

// Under load our gateway asks for a cookie too, and charon brings it.
func TestCookieAsked(t *testing.T) {
	r := start(t, plan{spoil: func(x *parts) {
		x.conf = strings.Replace(x.conf, "config setup\n", "config setup\n\tddos-mode=busy\n", 1)
	}})
	r.initiate(false)
	r.charonSaid("N(COOKIE)")
	r.traffic()
}

// ML-KEM-768 beside X25519 (RFC 9242, RFC 9370), from a newer strongSwan: what
// we offer by default, and where it is demanded. The IKE SA is renewed with it, too.
func TestMLKEM(t *testing.T) {
	labtest.Need(t, lab.StrongSwan6() != "" && !lab.Inside(), "strongSwan 6 (scripts/setup-strongswan6.sh, as root)")
	const both = "aes256gcm16-prfsha384-x25519-ke1_mlkem768"
	for _, c := range []struct{ name, ike, esp, conn string }{
		{"default", "", "", ""},
		{"named", both, "aes256gcm16-x25519", ""},
		{"children", both, "aes256gcm16-x25519-ke1_mlkem768", ""},
		{"children that need not", both, "aes256gcm16-x25519-ke1_mlkem768,aes256gcm16-x25519", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			sides(t, func(t *testing.T, byUs bool) {
				r := start(t, plan{root: lab.StrongSwan6(), ike: c.ike, esp: c.esp, conn: c.conn, spoil: func(x *parts) {
					if c.ike == "" {
						x.swanctl = strings.Replace(x.swanctl, "version = 2", "version = 2\n\t\tproposals = "+both+",default", 1)
					}
				}})
				r.initiate(byUs)
				r.traffic()
				r.charonSaid("selected proposal: IKE:AES_GCM_16_256/PRF_HMAC_SHA2_384/CURVE_25519/KE1_ML_KEM_768")
				if c.esp != "" {
					r.rekeyed(true, func() { r.swanctl("--rekey", "--child", "net") })
					r.rekeyed(true, func() { r.ipsec(0, "whack", "--rekey", "--name", "net") })
				}
				if n := strings.Count(r.log(), "/X25519/ML_KEM_768}, replaces #") + strings.Count(r.log(), "/X25519/ML_KEM_768/ESN}, replaces #"); strings.HasPrefix(c.name, "children") && n != 2 {
					t.Errorf("the Child SA was renewed %d times with ML-KEM", n)
				}
				r.rekeyed(false, func() { r.swanctl("--rekey", "--ike", "net") })
				r.rekeyed(false, func() { r.ipsec(0, "whack", "--rekeystate", r.ikeSerial()) })
				if n := strings.Count(r.log(), "X25519/ML_KEM_768} in UDP, replaces #"); n != 2 {
					t.Errorf("the IKE SA was renewed %d times with ML-KEM", n)
				}
				r.traffic()
			})
		})
	}
}
