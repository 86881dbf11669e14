package authority

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"cygnet/internal/config"
	"cygnet/internal/ike"
	"cygnet/internal/pki"
)

var now = time.Date(2030, 3, 1, 12, 0, 0, 0, time.UTC)

func key(t *testing.T) crypto.Signer {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func id(t *testing.T, text string) ike.ID {
	i, err := ike.ParseID(text)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func pemOf(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// What is issued here passes the judgement of package pki, until it is revoked.
func TestIssueAndRevoke(t *testing.T) {
	a, err := New(rand.Reader, key(t), id(t, "C=CH, O=Lab, CN=Lab CA"), now, 3650)
	if err != nil {
		t.Fatal(err)
	}
	k := key(t)
	names := []ike.ID{id(t, "@west.example.org"), id(t, "bob@example.org"), id(t, "192.0.2.1"), id(t, "2001:db8::1")}
	request, err := Request(rand.Reader, k, id(t, "C=CH, CN=west"), names)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := a.Sign(request, now, 365, []string{"http://crl.example.org/lab.crl"})
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"/d/cacerts/lab.pem": pemOf("CERTIFICATE", a.Cert.Raw)}
	judge := func() error {
		t.Helper()
		store, problems := pki.Load(config.MapFS{Files: files}, "/d", now, pki.Options{})
		for _, p := range problems {
			t.Error(p)
		}
		var last error
		for _, name := range append(names, id(t, "C=CH, CN=west")) {
			if _, err := store.Verify(now, []ike.Cert{{Encoding: ike.CertX509, Data: cert.Raw}}, name, pki.Policy{}); err != nil {
				last = err
			}
		}
		return last
	}
	if err := judge(); err != nil {
		t.Error(err)
	}
	for _, revoked := range [][]Revoked{nil, {{Serial: cert.SerialNumber, Since: now}}} {
		der, err := a.CRL(revoked, now, 30)
		if err != nil {
			t.Fatal(err)
		}
		files["/d/crls/lab.pem"] = pemOf("X509 CRL", der)
		if err := judge(); (pki.StepOf(err) == pki.StepRevoked) != (len(revoked) > 0) {
			t.Errorf("%d revoked: %v", len(revoked), err)
		}
	}
	late, err := a.Sign(request, now.AddDate(9, 11, 0), 365, nil)
	if err != nil || late.NotAfter.After(a.Cert.NotAfter) {
		t.Errorf("a certificate outlives its CA: %v, %v", late.NotAfter, err)
	}
	if _, err := Read(rand.Reader, a.Cert, k); err == nil {
		t.Error("a CA with another's key")
	}
	if _, err := Read(rand.Reader, cert, k); err == nil {
		t.Error("a CA that is an end entity")
	}
	if b, err := Read(rand.Reader, a.Cert, a.Key); err != nil || b.Cert != a.Cert {
		t.Error(err)
	}
}

func TestRequestsRefused(t *testing.T) {
	k := key(t)
	for _, c := range []struct {
		subject, name, says string
	}{
		{"@west", "", "distinguished name"},
		{"", "", "must name somebody"},
		{"CN=x", "CN=y", "alternative name"},
	} {
		var subject ike.ID
		var names []ike.ID
		if c.subject != "" {
			subject = id(t, c.subject)
		}
		if c.name != "" {
			names = []ike.ID{id(t, c.name)}
		}
		if _, err := Request(rand.Reader, k, subject, names); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	a, err := New(rand.Reader, k, id(t, "CN=CA"), now, 10)
	if err != nil {
		t.Fatal(err)
	}
	request, err := Request(rand.Reader, key(t), id(t, "CN=x"), nil)
	if err != nil {
		t.Fatal(err)
	}
	request[len(request)-1] ^= 1
	if _, err := a.Sign(request, now, 1, nil); err == nil {
		t.Error("a request with a broken signature is signed")
	}
	if _, err := a.Sign([]byte("rubbish"), now, 1, nil); err == nil {
		t.Error("rubbish is signed")
	}
	if _, err := New(rand.Reader, k, id(t, "@ca"), now, 10); err == nil {
		t.Error("a CA without a distinguished name")
	}
}
