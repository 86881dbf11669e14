package ike

import (
	"crypto"
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"
	"time"

	"cygnet/internal/suite"
)

func parsed(t *testing.T, text string) ID {
	t.Helper()
	id, err := ParseID(text)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestAdmits(t *testing.T) {
	for _, c := range []struct {
		configured, peer string
		yes              bool
	}{
		{"%any", "@east", true},
		{"@east", "@EAST", true},
		{"@east", "@west", false},
		{"@*", "@east", false},
		{"C=CH, O=Lab, CN=*", "C=CH, O=Lab, CN=gw", true},
		{"C=CH, O=*, CN=*", "C=CH, O=Lab, CN=gw", true},
		{"C=CH, O=Lab, CN=*", "C=CH, O=lab, CN=gw", false},
		{"C=CH, O=Lab, CN=*", "C=DE, O=Lab, CN=gw", false},
		{"C=CH, O=Lab, CN=*", "C=CH, O=Lab, OU=gw", false},
		{"C=CH, O=Lab, CN=*", "C=CH, O=Lab, CN=gw, OU=x", false},
		{"C=CH, O=Lab, CN=*", "C=CH, O=Lab", false},
		{"C=CH, O=Lab, CN=*", "O=Lab, C=CH, CN=gw", false},
		{"C=CH, CN=a*", "C=CH, CN=ab", false}, // only a whole value
		{"CN=*", "@gw", false},
		{"CN=gw", "CN=*", false}, // not the other way round
		{"CN=*", "CN=*", true},
		{"CN=*", "CN=gw+OU=x", false},
		{"CN=*+OU=x", "CN=gw", false},
		{"CN=*+OU=x", "CN=gw+OU=x", true},
	} {
		a, b := parsed(t, c.configured), parsed(t, c.peer)
		if got := a.Admits(b); got != c.yes {
			t.Errorf("%s admits %s: %v", c.configured, c.peer, got)
		}
	}
	if (ID{IDDN, "rubbish"}).Wild() || parsed(t, "@*").Wild() || !parsed(t, "O=x, CN=*").Wild() {
		t.Error("what is wild")
	}
	if parsed(t, "CN=*").Admits(ID{IDDN, "rubbish"}) {
		t.Error("rubbish is admitted")
	}
}

// certified is a store that knows certificates.
type certified struct {
	store
	key   crypto.PublicKey
	err   error
	asked []CertRequest
	now   time.Time
}

func (s *certified) Certified(_ *Conn, _ ID, certs []Cert, now time.Time, holds func(crypto.PublicKey) error) (Certified, error) {
	s.now = now
	if s.err != nil || len(certs) == 0 {
		return Certified{}, errors.Join(s.err, errors.New("no certificate"))
	}
	return Certified{Key: s.key, Origin: "certificate", Issuer: ID{IDDN, "ca"}, Until: now}, holds(s.key)
}

func (s *certified) Certificates(_ *Conn, asked []CertRequest) []Cert {
	s.asked = asked
	return []Cert{{CertX509, []byte("ours")}}
}

func (s *certified) Authorities(*Conn) ([]byte, bool) { return nil, false }

// Certificates count only where the connection takes them, and a key of the
// configuration comes first.
func TestVerifyByCertificate(t *testing.T) {
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	other := ed25519.NewKeyFromSeed(append(make([]byte, 31), 1))
	method, data, err := suite.SignDigital(nil, key, []byte("octets"), []uint16{5})
	if err != nil {
		t.Fatal(err)
	}
	east := ID{IDFQDN, "east"}
	now := time.Unix(1e9, 0)
	for _, c := range []struct {
		name  string
		certs Certs
		raw   []PublicKey
		keys  certified
		how   string
		says  string
	}{
		{"accepted", Certs{Accept: true}, nil, certified{key: key.Public()}, "certificate", ""},
		{"pinned", Certs{File: "east.pem"}, nil, certified{key: key.Public()}, "certificate", ""},
		{"not asked for", Certs{}, nil, certified{key: key.Public()}, "", "no public key known"},
		{"of somebody else", Certs{Accept: true}, nil, certified{key: other.Public()}, "", "does not verify"},
		{"refused", Certs{Accept: true}, nil, certified{err: errors.New("revoked")}, "", "revoked"},
		{"raw key first", Certs{Accept: true}, []PublicKey{{key.Public(), "ipsec.conf"}}, certified{err: errors.New("revoked")}, "ipsec.conf", ""},
		{"raw key wrong", Certs{Accept: true}, []PublicKey{{other.Public(), "ipsec.conf"}}, certified{key: key.Public()}, "certificate", ""},
		{"both wrong", Certs{Accept: true}, []PublicKey{{other.Public(), "ipsec.conf"}}, certified{err: errors.New("revoked")}, "", "wrong key?"},
	} {
		c.keys.store.public = c.raw
		conn := &Conn{Remote: End{ID: east, Certs: c.certs, Keys: c.raw}}
		job := Verify{Conn: conn, Octets: []byte("octets"), Remote: east, Auth: Signature{Method: method, Data: data, Certs: []Cert{{CertX509, []byte("x")}}}, Now: now}
		r, err := job.Run(Env{Keys: &c.keys})
		v, _ := r.(Verified)
		if v.Proves(east) != (c.how != "") || v.How != c.how || (err == nil) != (c.how != "") {
			t.Errorf("%s: %+v, %v", c.name, v, err)
		}
		if err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.name, err)
		}
		if v.How == "certificate" && (v.CA != ID{IDDN, "ca"} || !v.Until.Equal(now) || !c.keys.now.Equal(now)) {
			t.Errorf("%s: %+v", c.name, v)
		}
	}
}

// Our certificates come with our signature, and only with that.
func TestProveWithCertificates(t *testing.T) {
	s := &certified{store: store{key: ed25519.NewKeyFromSeed(make([]byte, 32)), psk: "secret"}}
	asked := []CertRequest{{CertX509, make([]byte, 20)}}
	r, err := Prove{Conn: &Conn{}, Method: AuthPubkey, Octets: []byte("x"), Hashes: []uint16{5}, Asked: asked}.Run(Env{Keys: s})
	if sig, _ := r.(Signature); err != nil || len(sig.Certs) != 1 || len(s.asked) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	r, err = Prove{Conn: &Conn{}, Method: AuthPSK, PRF: suite.PRFByName("sha2_256"), Asked: asked}.Run(Env{Keys: s})
	if sig, _ := r.(Signature); err != nil || len(sig.Certs) != 0 {
		t.Errorf("PSK: %+v, %v", r, err)
	}
}
