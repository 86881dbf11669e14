package interop

import (
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"cygnet/internal/lab/labtest"
	"cygnet/internal/pki/pkitest"
)

// The responder stands on the router between the two.
const (
	responderHost = "nic"
	responderAddr = "101.101.101.1:8080"
)

// certificatesWithOCSP are those of an authority whose leaf for east names the
// responder. The responder's own certificate makes it one (RFC 6960, 4.2.2.2).
func certificatesWithOCSP(t *testing.T) (a *authority, responder *pkitest.Cert) {
	a = newAuthority(t, pkitest.P256)
	a.east = a.sub.Leaf(t, today(pkitest.Spec{Subject: "C=CH, O=Lab, CN=east", DNS: []string{"east.lab"}, Kind: pkitest.P256, AIA: []string{"http://" + responderAddr + "/"}}))
	responder = a.sub.Leaf(t, today(pkitest.Spec{Subject: "C=CH, O=Lab, CN=responder", Kind: pkitest.P256, ExtUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}}))
	return a, responder
}

// index is a line of the file that `openssl ca` keeps of a certificate.
func index(c *pkitest.Cert, revoked bool) string {
	const form = "060102150405Z"
	state, since := "V", ""
	if revoked {
		state, since = "R", time.Now().Add(-time.Hour).UTC().Format(form)+",keyCompromise"
	}
	serial := fmt.Sprintf("%X", c.SerialNumber)
	if len(serial)%2 == 1 {
		serial = "0" + serial
	}
	return fmt.Sprintf("%s\t%s\t%s\t%s\tunknown\t/C=CH/O=Lab/CN=east\n", state, c.NotAfter.UTC().Format(form), since, serial)
}

// serveOCSP starts OpenSSL's responder for the authority.
func serveOCSP(r *rig, a *authority, responder *pkitest.Cert, index string) {
	r.t.Helper()
	_, err := exec.LookPath("openssl")
	labtest.Need(r.t, err == nil, "openssl, as an OCSP responder")
	dir := r.t.TempDir()
	for name, text := range map[string]string{
		"index.txt": index, "ca.pem": pkitest.PEM(a.sub), "responder.pem": pkitest.PEM(responder), "key.pem": responder.KeyPEM(r.t),
	} {
		r.must(os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	_, port, err := net.SplitHostPort(responderAddr)
	r.must(err)
	cmd := exec.Command("openssl", "ocsp", "-port", port, "-index", "index.txt", "-CA", "ca.pem", "-rsigner", "responder.pem", "-rkey", "key.pem", "-ndays", "1", "-text")
	cmd.Dir = dir
	p, err := r.lab.Host(responderHost).Start(cmd, filepath.Join(dir, "log"))
	r.must(err)
	r.lab.Defer(func() error { p.Stop(time.Second); return nil })
	r.t.Cleanup(func() {
		if r.t.Failed() {
			log, err := os.ReadFile(filepath.Join(dir, "log"))
			r.t.Logf("openssl's log: %s %v", log, err)
		}
	})
	// A connection that closes without a word would wedge OpenSSL 3.0's responder.
	r.within(10*time.Second, "the OCSP responder listens", func() bool {
		log, err := os.ReadFile(filepath.Join(dir, "log"))
		return err == nil && strings.Contains(string(log), "waiting for OCSP client connections")
	})
}

// serveResponse answers every request on the router with these octets.
func serveResponse(r *rig, der []byte) {
	r.t.Helper()
	var l net.Listener
	r.must(r.lab.Host(responderHost).Do(func() (err error) {
		l, err = net.Listen("tcp", responderAddr)
		return err
	}))
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/ocsp-response")
		w.Write(der)
	})}
	go s.Serve(l)
	r.lab.Defer(s.Close)
}

// X.509 with strongSwan, X509-12: what a live OCSP responder says about its
// certificate decides, in either role. Whoever wants certainty (strictcrlpolicy=)
// refuses where the responder does not know, is silent, or has only said what is
// out of date; others take the certificate, with a warning.
func TestAdv_X509_12_LiveOCSP(t *testing.T) {
	a, responder := certificatesWithOCSP(t)
	stranger := a.sub.Leaf(t, today(pkitest.Spec{Subject: "C=CH, O=Lab, CN=else", Kind: pkitest.P256}))
	stale := a.sub.OCSP(t, a.east, pkitest.ResponseSpec{Status: ocsp.Good, From: time.Now().Add(-48 * time.Hour), Until: time.Now().Add(-time.Hour), Responder: responder})
	openssl := func(lines string) func(r *rig) {
		return func(r *rig) { serveOCSP(r, a, responder, lines) }
	}
	for _, c := range []struct {
		name   string
		serve  func(r *rig) // nil: nobody listens
		strict string
		refuse string // in our log, when the peer is refused
		warn   string // when it is not
	}{
		{name: "good", serve: openssl(index(a.east, false)), strict: "ifuri"},
		{name: "good/lax", serve: openssl(index(a.east, false)), strict: "no"},
		{name: "revoked", serve: openssl(index(a.east, true)), strict: "no", refuse: "it is revoked: its OCSP responder says so since "},
		{name: "unknown", serve: openssl(index(stranger, false)), strict: "ifuri", refuse: "its OCSP responder does not know it"},
		{name: "unknown/lax", serve: openssl(index(stranger, false)), strict: "no", warn: "its OCSP responder does not know it"},
		{name: "stale", serve: func(r *rig) { serveResponse(r, stale) }, strict: "ifuri", refuse: "the OCSP response expired at "},
		{name: "stale/lax", serve: func(r *rig) { serveResponse(r, stale) }, strict: "no", warn: "the OCSP response expired at "},
		{name: "unreachable", strict: "ifuri", refuse: "it may be revoked"},
		{name: "unreachable/lax", strict: "no", warn: "connection refused"},
	} {
		t.Run(c.name, func(t *testing.T) {
			sides(t, func(t *testing.T, byUs bool) {
				p := a.certified(t, plan{spoil: func(x *parts) {
					x.conf = strings.Replace(x.conf, "config setup\n", "config setup\n\tocsp-enable=yes\n\tstrictcrlpolicy="+c.strict+"\n", 1)
				}})
				p.before = c.serve
				r := start(t, p)
				if c.refuse != "" {
					r.refused(byUs, c.refuse)
					return
				}
				r.initiate(byUs)
				r.traffic()
				if log := r.log(); !strings.Contains(log, c.warn) || strings.Contains(log, "may be revoked") != (c.warn != "") {
					t.Errorf("our log does not say %q, or warns of nothing:\n%s", c.warn, log)
				}
			})
		})
	}
}

// The responder of a ca section is asked without ocsp-enable=, and about
// certificates that name none.
func TestConfiguredOCSP(t *testing.T) {
	a, responder := certificatesWithOCSP(t)
	a.east = a.sub.Leaf(t, today(pkitest.Spec{Subject: "C=CH, O=Lab, CN=east", DNS: []string{"east.lab"}, Kind: pkitest.P256}))
	for _, revoked := range []bool{false, true} {
		t.Run(fmt.Sprintf("revoked=%t", revoked), func(t *testing.T) {
			p := a.certified(t, plan{spoil: func(x *parts) {
				x.conf = strings.Replace(x.conf, "conn net\n", "ca lab\n\tcacert=issuer.pem\n\tocspuri=http://"+responderAddr+"/\n\nconn net\n", 1)
				x.conf = strings.Replace(x.conf, "config setup\n", "config setup\n\tstrictcrlpolicy=ifuri\n", 1)
			}})
			p.files["ipsec.d/cacerts/issuer.pem"] = pkitest.PEM(a.sub)
			p.before = func(r *rig) { serveOCSP(r, a, responder, index(a.east, revoked)) }
			r := start(t, p)
			if revoked {
				r.refused(true, "its OCSP responder says so since ")
				return
			}
			r.initiate(true)
			r.traffic()
		})
	}
}
