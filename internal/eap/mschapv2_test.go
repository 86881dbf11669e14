package eap

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"cygnet/internal/ipsec"
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// RFC 1320, appendix A.5.
func TestMD4(t *testing.T) {
	for text, want := range map[string]string{
		"":               "31d6cfe0d16ae931b73c59d7e0c089c0",
		"a":              "bde52cb31de33e46245e05fbdbd6fb24",
		"abc":            "a448017aaf21d8525fc10ae87aa6729d",
		"message digest": "d9130a8164549fe818874806e1c7014b",
		"12345678901234567890123456789012345678901234567890123456789012345678901234567890": "e33b4ddc9c38f2199c3e7b164fcc0536",
	} {
		if got := md4([]byte(text)); hex.EncodeToString(got[:]) != want {
			t.Errorf("%q: %x", text, got)
		}
	}
}

// RFC 2759, 9.2, and RFC 3079, 3.5.3.
func TestMSCHAPv2Vectors(t *testing.T) {
	hash := passwordHash(ipsec.NewSecret([]byte("clientPass")))
	again := md4(hash[:])
	server, peer := unhex("5b5d7c7d7b3f2f3e3c2c602132262628"), unhex("21402324255e262a28295f2b3a337c7e")
	challenge := challengeHash(peer, server, "User")
	nt := ntResponse(challenge, hash)
	master := masterKey(hash, nt)
	for _, c := range []struct {
		what string
		got  []byte
		want string
	}{
		{"NtPasswordHash", hash[:], "44ebba8d5312b8d611474411f56989ae"},
		{"PasswordHashHash", again[:], "41c00c584bd2d91c4017a2a12fa59f3f"},
		{"Challenge", challenge, "d02e4386bce91226"},
		{"Challenge with a domain", challengeHash(peer, server, `REALM\User`), "d02e4386bce91226"},
		{"NT-Response", nt, "82309ecd8d708b5ea08faa3981cd83544233114a3d85d6df"},
		{"Master Key", master, "fdece3717a8c838cb388e527ae3cdd31"},
		{"SendStartKey128 of the server", startKey(master, toClient), "8b7cdc149b993a1ba118cb153f56dccb"},
	} {
		if !bytes.Equal(c.got, unhex(c.want)) {
			t.Errorf("%s: %x, want %s", c.what, c.got, c.want)
		}
	}
	if got := authenticator(hash, nt, challenge); got != "S=407A5589115FD0D6209F510FE9C04566932CDA56" {
		t.Error(got)
	}
}

// counter is a poor source of randomness, which is enough here.
type counter struct{ n byte }

func (c *counter) Read(b []byte) (int, error) {
	for i := range b {
		c.n += 7
		b[i] = c.n
	}
	return len(b), nil
}

func users(name string) (string, ipsec.Secret, error) {
	switch name = strings.TrimPrefix(name, `CORP\`); name {
	case "carol", "päivi":
		return name, ipsec.NewSecret([]byte("Ar3etTnp")), nil
	case "empty":
		return name, ipsec.Secret{}, nil
	}
	return "", ipsec.Secret{}, fmt.Errorf("no EAP secret of user %q", name)
}

// converse lets two ends talk until one of them has an outcome, and returns the
// last replies.
func converse(t *testing.T, server, peer Talk) (s, p Reply) {
	t.Helper()
	var err error
	if s, err = server.Next(nil); err != nil {
		t.Fatal(err)
	}
	for range 200 {
		if p, err = peer.Next(s.Packet); err != nil {
			t.Fatal(err)
		}
		if s.Outcome != Going || p.Outcome != Going {
			return s, p
		}
		if s, err = server.Next(p.Packet); err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("the two never end")
	return s, p
}

func TestMSCHAPv2(t *testing.T) {
	for _, c := range []struct {
		user, password string
		ok             bool
	}{
		{"carol", "Ar3etTnp", true}, {"päivi", "Ar3etTnp", true}, {`CORP\carol`, "Ar3etTnp", true},
		{"carol", "ar3etTnp", false}, {"dave", "Ar3etTnp", false}, {"empty", "", false},
	} {
		var said string
		s, p := converse(t,
			NewServer(7, func(name string) { said = name }, MSCHAPv2Server("gw", &counter{}, users)),
			NewPeer(c.user, MSCHAPv2Peer(c.user, ipsec.NewSecret([]byte(c.password)), &counter{n: 3})))
		if said != c.user {
			t.Errorf("%s: identity %q", c.user, said)
		}
		if c.ok {
			if s.Outcome != Succeeded || p.Outcome != Succeeded || !s.MSK.Equal(p.MSK) || s.MSK.Len() != mskLen || s.Name != strings.TrimPrefix(c.user, `CORP\`) {
				t.Errorf("%s: %+v, %+v", c.user, s, p)
			}
		} else if s.Outcome != Failed || p.Outcome != Failed || s.MSK.Len()+p.MSK.Len() > 0 {
			t.Errorf("%s: %+v, %+v", c.user, s, p)
		}
	}
}

// A server that does not know the password, or never asks for it, is not
// believed.
func TestMSCHAPv2WrongServer(t *testing.T) {
	password := ipsec.NewSecret([]byte("Ar3etTnp"))
	challenge := Packet{Code: Request, ID: 1, Type: TypeMSCHAPv2, Data: mschap{op: opChallenge, id: 1, value: make([]byte, 16), text: []byte("gw")}.append(nil)}
	proof := Packet{Code: Request, ID: 2, Type: TypeMSCHAPv2, Data: mschap{op: opSuccess, id: 1, text: []byte("S=0000000000000000000000000000000000000000 M=OK")}.append(nil)}
	success := Packet{Code: Success, ID: 3}
	for name, packets := range map[string][]Packet{
		"success at once":             {success},
		"success after the challenge": {challenge, success},
		"wrong proof":                 {challenge, proof, success},
		"proof without a challenge":   {proof, success},
		"cut proof":                   {challenge, {Code: Request, ID: 2, Type: TypeMSCHAPv2, Data: mschap{op: opSuccess, id: 1, text: []byte("S=")}.append(nil)}, success},
	} {
		peer := NewPeer("carol", MSCHAPv2Peer("carol", password, &counter{}))
		for _, p := range packets {
			if r, err := peer.Next(p.Append(nil)); err == nil && r.Outcome == Succeeded {
				t.Errorf("%s: believed", name)
			}
		}
	}
}

// A peer that wants another method gets it, if the server has it.
func TestNak(t *testing.T) {
	password := ipsec.NewSecret([]byte("Ar3etTnp"))
	other := ServerMethod{99, &mschapServer{name: "gw", rand: &counter{}, users: users}}
	s, p := converse(t, NewServer(1, nil, other, MSCHAPv2Server("gw", &counter{}, users)), NewPeer("carol", MSCHAPv2Peer("carol", password, &counter{})))
	if s.Outcome != Succeeded || p.Outcome != Succeeded {
		t.Errorf("%+v, %+v", s, p)
	}
	s, p = converse(t, NewServer(1, nil, other), NewPeer("carol", MSCHAPv2Peer("carol", password, &counter{})))
	if s.Outcome != Failed || p.Outcome != Failed {
		t.Errorf("%+v, %+v", s, p)
	}
}

// Each answer must be to what was asked last.
func TestServerOutOfTurn(t *testing.T) {
	for name, p := range map[string]Packet{
		"old identifier": {Code: Response, ID: 4, Type: TypeMSCHAPv2},
		"a request":      {Code: Request, ID: 5, Type: TypeMSCHAPv2},
		"a success":      {Code: Success, ID: 5},
		"other type":     {Code: Response, ID: 5, Type: TypeTLS, Data: []byte{0}},
		"identity":       {Code: Response, ID: 5, Type: TypeIdentity, Data: []byte("carol")},
	} {
		s := NewServer(5, nil, MSCHAPv2Server("gw", &counter{}, users))
		if _, err := s.Next(nil); err != nil {
			t.Fatal(err)
		}
		if r, err := s.Next(p.Append(nil)); err == nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// V2C-47, R: whatever a peer sends, nothing panics and nothing succeeds.
func FuzzServer(f *testing.F) {
	f.Add([]byte{2, 5, 0, 6, 26, 3})
	f.Add(Packet{Code: Response, ID: 5, Type: TypeMSCHAPv2, Data: mschap{op: opResponse, id: 14, value: make([]byte, responseLen), text: []byte("carol")}.append(nil)}.Append(nil))
	f.Add(Packet{Code: Response, ID: 5, Type: TypeNak, Data: []byte{13}}.Append(nil))
	f.Add(Packet{Code: Response, ID: 5, Type: TypeTLS, Data: []byte{0xc0, 0, 0, 0, 3, 1}}.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, s := range []*Server{
			NewServer(5, nil, MSCHAPv2Server("gw", &counter{}, users), TLSServer(&echo{})),
			NewServer(5, nil, TLSServer(&echo{})),
			NewServer(5, func(string) {}, TLSServer(&echo{})),
		} {
			s.Next(nil)
			if r, err := s.Next(b); err == nil && r.Outcome == Succeeded {
				t.Fatal("a single packet succeeds")
			}
		}
	})
}

// What parses is written the same.
func FuzzPacket(f *testing.F) {
	f.Add(Packet{Code: Request, ID: 1, Type: TypeIdentity, Data: []byte("who?")}.Append(nil))
	f.Add(Packet{Code: Success, ID: 1}.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := Parse(b); err == nil && !bytes.Equal(p.Append(nil), b) {
			t.Fatalf("%x became %x", b, p.Append(nil))
		}
		if m, err := parseMSCHAP(b); err == nil && len(b) > 1 && (m.value == nil || len(m.value) > 0) && !bytes.Equal(m.append(nil), b) {
			t.Fatalf("%x became %x", b, m.append(nil))
		}
	})
}
