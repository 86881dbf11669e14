package ike

import (
	"crypto/ed25519"
	"errors"
	"io"
	"strings"
	"testing"

	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

// store is a KeyStore with one of everything.
type store struct {
	psk    string
	err    error
	public []PublicKey
	key    ed25519.PrivateKey
}

func (s store) PSK(*Conn, ID, ID) (ipsec.Secret, error) {
	return ipsec.NewSecret([]byte(s.psk)), s.err
}

func (s store) Public(*Conn, ID) ([]PublicKey, error) { return s.public, s.err }

func (s store) Sign(_ *Conn, octets []byte, hashes []uint16) (Signature, error) {
	m, d, err := suite.SignDigital(nil, s.key, octets, hashes)
	return Signature{Method: m, Data: d}, err
}

// Only the very proof of the very identity counts.
func TestVerify(t *testing.T) {
	prf := suite.PRFByName("sha2_256")
	if prf == nil {
		t.Fatal("no PRF")
	}
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	other := ed25519.NewKeyFromSeed(append(make([]byte, 31), 1))
	east, west := ID{IDFQDN, "east"}, ID{IDFQDN, "west"}
	octets := []byte("what east signed")
	psk := store{psk: "a secret of two"}
	keyed := store{key: key, public: []PublicKey{{other.Public(), "old"}, {key.Public(), "ipsec.conf"}}}
	prove := func(s store, m AuthMethod) Signature {
		r, err := Prove{Method: m, PRF: prf, Octets: octets, Local: east, Remote: west, Hashes: []uint16{5}}.Run(Env{Keys: s})
		if err != nil {
			t.Fatal(err)
		}
		return r.(Signature)
	}
	mac, sig := prove(psk, AuthPSK), prove(keyed, AuthPubkey)
	flipped := func(s Signature) Signature {
		s.Data = append([]byte(nil), s.Data...)
		s.Data[len(s.Data)-1] ^= 1
		return s
	}
	for _, c := range []struct {
		name  string
		keys  store
		auth  Signature
		what  []byte
		proof bool
		says  string
	}{
		{"PSK", psk, mac, octets, true, ""},
		{"PSK, one bit off", psk, flipped(mac), octets, false, "differ"},
		{"PSK, cut short", psk, Signature{Method: 2, Data: mac.Data[:31]}, octets, false, "differ"},
		{"PSK, nothing", psk, Signature{Method: 2}, octets, false, "differ"},
		{"PSK, other octets", psk, mac, []byte("something else"), false, "differ"},
		{"PSK, other secret", store{psk: "another"}, mac, octets, false, "differ"},
		{"PSK, empty secret", store{}, mac, octets, false, "empty"},
		{"PSK, none", store{err: errors.New("no entry")}, mac, octets, false, "no entry"},
		{"key, the second of two", keyed, sig, octets, true, ""},
		{"key, one bit off", keyed, flipped(sig), octets, false, "wrong key?"},
		{"key, other octets", keyed, sig, []byte("something else"), false, "wrong key?"},
		{"key, only another known", store{public: keyed.public[:1]}, sig, octets, false, "1 tried"},
		{"key, none known", store{}, sig, octets, false, "no public key known for @east"},
		{"key, no such method", keyed, Signature{Method: 201, Data: sig.Data}, octets, false, "wrong key?"},
		{"NULL", keyed, Signature{Method: 13}, octets, false, "must prove who it is"},
	} {
		r, err := Verify{PRF: prf, Octets: c.what, Local: west, Remote: east, Auth: c.auth}.Run(Env{Keys: c.keys})
		v, _ := r.(Verified)
		if v.Proves(east) != c.proof || v.Proves(west) || (err == nil) != c.proof {
			t.Errorf("%s: %v, %v", c.name, v, err)
		}
		if err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if (Verified{}).Proves(ID{}) {
		t.Error("the zero value proves something")
	}
	if _, err := (Prove{Method: AuthNULL, Local: east}).Run(Env{}); err == nil {
		t.Error("there is a way to prove nothing")
	}
}

// The two halves of a key exchange meet, and a bad half is an error.
func TestKeyJobs(t *testing.T) {
	env := Env{Rand: counter{}}
	for _, k := range suite.KEs() {
		r, err := MakeKey{k}.Run(env)
		if err != nil {
			t.Fatalf("%s: %v", k.Name, err)
		}
		private := r.(suite.Private)
		r, err = AnswerKey{k, private.Public()}.Run(env)
		if err != nil {
			t.Fatalf("%s: %v", k.Name, err)
		}
		a := r.(Answered)
		r, err = FinishKey{private, a.Public}.Run(env)
		if err != nil || !r.(ipsec.Secret).Equal(a.Shared) {
			t.Errorf("%s: the two differ: %v", k.Name, err)
		}
		if _, err := (AnswerKey{k, private.Public()[1:]}).Run(env); err == nil {
			t.Errorf("%s: a short value is answered", k.Name)
		}
	}
}

// counter is a poor source of randomness, which is enough here.
type counter struct{}

func (counter) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(7*i + 3)
	}
	return len(b), nil
}

var _ io.Reader = counter{}
