package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cygnet/internal/config"
	"cygnet/internal/ike"
	"cygnet/internal/pki"
)

// `ipsec ca` from beginning to end: what it prints is what package pki accepts,
// until it prints a list with it.
func TestCA(t *testing.T) {
	conf := gateway(t)
	put := func(name, text string) string {
		t.Helper()
		path := filepath.Join(conf, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ca := func(code int, args ...string) result {
		t.Helper()
		r := runIpsec(t, append([]string{"ca"}, args...)...)
		if r.code != code {
			t.Fatalf("ca %s: exit %d\n%s%s", strings.Join(args, " "), r.code, r.out, r.err)
		}
		return r
	}
	const name = "C=CH, O=Lab, CN=west"
	ca(1, "crl") // there is none yet
	ca(0, "init", "--name", "C=CH, O=Lab, CN=Lab CA")
	if r := ca(1, "init", "--name", "CN=Other"); !strings.Contains(r.err, "exists already") {
		t.Errorf("a second authority: %s", r.err)
	}
	request := ca(0, "request", "--name", name, "--san", "@west.example.org", "--san", "192.0.2.1", "west").out
	if strings.Contains(request, "PRIVATE") {
		t.Error("the request holds the key")
	}
	for _, f := range []string{"ipsec.d/ca/ca.key", "ipsec.d/private/west.pem"} {
		if st, err := os.Stat(filepath.Join(conf, f)); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", f, st, err)
		}
	}
	ca(1, "request", "--name", name, "west")
	signed := ca(0, "sign", put("west.csr", request))
	if !strings.Contains(signed.err, "'@west.example.org'") {
		t.Errorf("sign does not say whom it names: %s", signed.err)
	}
	file := put("ipsec.d/certs/west.pem", signed.out)
	root, err := os.ReadFile(filepath.Join(conf, "ipsec.d/ca/ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	put("ipsec.d/cacerts/lab.pem", string(root))
	judge := func() pki.Step {
		t.Helper()
		store, problems := pki.Load(config.OS{}, filepath.Join(conf, "ipsec.d"), time.Now(), pki.Options{})
		for _, p := range problems {
			t.Error(p)
		}
		cert := store.Certificate("west.pem")
		if _, ok := store.PrivateKey(cert.PublicKey); !ok {
			t.Error("the certificate is not for the key in private")
		}
		id, err := ike.ParseID("@west.example.org")
		if err != nil {
			t.Fatal(err)
		}
		_, err = store.Verify(time.Now(), []ike.Cert{{Encoding: ike.CertX509, Data: cert.Raw}}, id, pki.Policy{})
		return pki.StepOf(err)
	}
	put("ipsec.d/crls/lab.pem", ca(0, "crl").out)
	if step := judge(); step != 0 {
		t.Errorf("refused: %s", step)
	}
	put("ipsec.d/crls/lab.pem", ca(0, "revoke", file).out)
	if step := judge(); step != pki.StepRevoked {
		t.Errorf("after its revocation: %s", step)
	}
	put("ipsec.d/crls/lab.pem", ca(0, "revoke", file).out) // once more does no harm
	if step := judge(); step != pki.StepRevoked {
		t.Errorf("after the second: %s", step)
	}
	put("ipsec.d/ca/revoked", "rubbish\n")
	if r := ca(6, "crl"); !strings.Contains(r.err, "revoked:1:") {
		t.Errorf("a spoiled list: %s", r.err)
	}
	for _, args := range [][]string{
		{"init", "--name", "@ca", "--dir", filepath.Join(conf, "other")}, {"init", "--name", "C", "--dir", filepath.Join(conf, "other")},
		{"request", "x"}, {"request", "--name", name, "../x"}, {"request", "--name", name, "--san", "host", "x"}, {"request", "--name", name, "--keytype", "dsa", "x"},
	} {
		if r := runIpsec(t, append([]string{"ca"}, args...)...); r.code == 0 || r.err == "" {
			t.Errorf("ca %v: exit %d, %q", args, r.code, r.err)
		}
	}
	ca(1, "sign", file) // no request
}
