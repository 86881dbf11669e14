package suite

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"slices"
	"strings"
	"testing"
)

// Signatures made by OpenSSL. Names that begin with "bad:" must be refused
// under every policy, "sha1:" and "short:" under the zero one.
// adversary.md CRY-10, CRY-11, CRY-12, CRY-13.
func TestVerifyForeignSignatures(t *testing.T) {
	lax := SignaturePolicy{SHA1: true, ShortRSA: true}
	good := 0
	for _, v := range vectors(t, "signatures.txt") {
		key, err := x509.ParsePKIXPublicKey(v.hex(t, "key"))
		if err != nil {
			t.Fatal(err)
		}
		method, octets, sig := v.hex(t, "method")[0], v.hex(t, "octets"), v.hex(t, "signature")
		strictErr, laxErr := VerifySignature(key, method, octets, sig), lax.Verify(key, method, octets, sig)
		kind, _, marked := strings.Cut(v["name"], ":")
		if (strictErr == nil) == marked {
			t.Errorf("%s, strict: %v", v["name"], strictErr)
		}
		if (laxErr == nil) == (kind == "bad" && marked) {
			t.Errorf("%s, lax: %v", v["name"], laxErr)
		}
		if laxErr != nil {
			continue
		}
		good++
		octets[0] ^= 1
		if lax.Verify(key, method, octets, sig) == nil {
			t.Errorf("%s verifies other octets", v["name"])
		}
		octets[0] ^= 1
		for i := range sig {
			sig[i] ^= 1
			if lax.Verify(key, method, octets, sig) == nil {
				t.Errorf("%s verifies with octet %d flipped", v["name"], i)
			}
			if lax.Verify(key, method, octets, sig[:i]) == nil {
				t.Errorf("%s verifies when cut to %d", v["name"], i)
			}
			sig[i] ^= 1
		}
	}
	if good < 15 {
		t.Errorf("only %d good signatures", good)
	}
}

func TestVerifyRefusesOtherMethods(t *testing.T) {
	key := testKeys(t)[0]
	for _, m := range []uint8{0, 2, 3, 12, 13, 15, 201, 255} {
		if err := VerifySignature(key.Public(), m, []byte("x"), make([]byte, 256)); err == nil {
			t.Errorf("method %d verifies", m)
		}
	}
	if err := VerifySignature("a string", MethodDigital, nil, slices.Concat([]byte{7}, schemes[9].id)); err == nil {
		t.Error("a string is a key")
	}
	if err := VerifySignature(ed25519.PublicKey("short"), MethodDigital, nil, slices.Concat([]byte{7}, schemes[9].id)); err == nil {
		t.Error("a short Ed25519 key verifies")
	}
	if err := VerifySignature(key.Public(), MethodDigital, nil, nil); err == nil {
		t.Error("an empty payload verifies")
	}
	if err := VerifySignature(key.Public(), MethodDigital, nil, []byte{255, 0x30}); err == nil {
		t.Error("a length beyond the payload verifies")
	}
}

// RFC 4754, 3: each method is one curve with one hash. A key of another curve
// that signs with the method's hash is refused.
func TestRawMethodsNameTheCurve(t *testing.T) {
	key := testKeys(t)[1].(*ecdsa.PrivateKey) // P-256
	for _, method := range []uint8{MethodECDSA384, MethodECDSA521} {
		r, s, err := ecdsa.Sign(rand.Reader, key, digest(rawHash(method), []byte("octets")))
		if err != nil {
			t.Fatal(err)
		}
		raw := slices.Concat(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32)))
		if VerifySignature(key.Public(), method, []byte("octets"), raw) == nil {
			t.Errorf("method %d verifies with a key of P-256", method)
		}
	}
}

// vectors.md V-D1: the AUTH payload of an Ed25519 key over V-A's octets.
func TestEd25519Auth(t *testing.T) {
	d, m, a := one(t, "exchange.txt", "AUTH_payload_body"), one(t, "exchange.txt", "m1"), one(t, "exchange.txt", "SKEYSEED")
	octets := slices.Concat(m.hex(t, "m1"), a.hex(t, "Nr"), a.hex(t, "MACedIDi"))
	key := ed25519.NewKeyFromSeed(d.hex(t, "seed"))
	body := d.hex(t, "AUTH_payload_body")

	method, data, err := SignDigital(rand.Reader, key, octets, []uint16{HashSHA256, HashIdentity})
	if err != nil || method != body[0] {
		t.Fatalf("method %d, %v", method, err)
	}
	same(t, "AUTH", data, body[4:])
	if err := VerifySignature(key.Public(), body[0], octets, body[4:]); err != nil {
		t.Error(err)
	}
}

func testKeys(t testing.TB) []crypto.Signer {
	t.Helper()
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	keys := []crypto.Signer{r}
	for _, c := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		k, err := ecdsa.GenerateKey(c, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k)
	}
	_, e, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return append(keys, e)
}

// Which method and scheme a key signs with, by what the peer announced.
func TestSignDigital(t *testing.T) {
	all := SignatureHashes()
	names := []string{"rsa", "p256", "p384", "p521", "ed25519"}
	keys := testKeys(t)
	for _, c := range []struct {
		key    string
		hashes []uint16
		method uint8
		scheme string // of method 14
	}{
		{"rsa", all, 14, "RSA-PSS with SHA2-256"},
		{"rsa", []uint16{4, 3}, 14, "RSA-PSS with SHA2-384"},
		{"rsa", []uint16{5}, 1, ""},
		{"rsa", []uint16{1}, 1, ""}, // SHA-1 announced: never in method 14
		{"rsa", nil, 1, ""},
		{"p256", all, 14, "ECDSA with SHA2-256"},
		{"p256", []uint16{4}, 14, "ECDSA with SHA2-512"},
		{"p256", nil, 9, ""},
		{"p384", all, 14, "ECDSA with SHA2-384"},
		{"p384", nil, 10, ""},
		{"p521", all, 14, "ECDSA with SHA2-512"},
		{"p521", nil, 11, ""},
		{"ed25519", all, 14, "Ed25519"},
		{"ed25519", []uint16{2, 3, 4}, 0, ""},
		{"ed25519", nil, 0, ""},
	} {
		key := keys[slices.Index(names, c.key)]
		octets := []byte("octets")
		method, data, err := SignDigital(rand.Reader, key, octets, c.hashes)
		if (err != nil) != (c.method == 0) || method != c.method {
			t.Errorf("%s with %v: method %d, %v", c.key, c.hashes, method, err)
			continue
		}
		if err != nil {
			continue
		}
		if method == MethodDigital {
			if s := schemeOf(data[1 : 1+data[0]]); s == nil || s.name != c.scheme {
				t.Errorf("%s with %v signs with %+v", c.key, c.hashes, s)
			}
		}
		if err := (SignaturePolicy{SHA1: true}).Verify(key.Public(), method, octets, data); err != nil {
			t.Errorf("%s with %v: own signature: %v", c.key, c.hashes, err)
		}
		for i, other := range keys {
			if names[i] != c.key && VerifySignature(other.Public(), method, octets, data) == nil {
				t.Errorf("signature of %s verifies with %s", c.key, names[i])
			}
		}
	}
}

// The identifiers as RFC 7427, appendix A prints them.
func TestIdentifiers(t *testing.T) {
	for name, want := range map[string]string{
		"RSA with SHA2-256":   "300d06092a864886f70d01010b0500",
		"ECDSA with SHA2-256": "300a06082a8648ce3d040302",
		"ECDSA with SHA2-512": "300a06082a8648ce3d040304",
		"Ed25519":             "300506032b6570",
		"RSA-PSS with SHA2-256": "304106092a864886f70d01010a3034a00f300d06096086480165030402010500" +
			"a11c301a06092a864886f70d010108300d06096086480165030402010500a203020120",
	} {
		i := slices.IndexFunc(schemes, func(s scheme) bool { return s.name == name })
		if i < 0 {
			t.Fatal(name)
		}
		same(t, name, schemes[i].id, unhex(want))
	}
	for _, s := range schemes {
		if len(s.id) != int(s.id[1])+2 || len(s.id) > 127 {
			t.Errorf("%s: length octet", s.name)
		}
	}
}

func FuzzVerify(f *testing.F) {
	keys := testKeys(f)
	for i, k := range keys {
		method, data, err := SignDigital(rand.Reader, k, []byte("octets"), SignatureHashes())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(i, method, data)
	}
	f.Fuzz(func(t *testing.T, i int, method uint8, data []byte) {
		if i < 0 || i >= len(keys) {
			return
		}
		// The seeds sign other octets, so nothing may verify.
		if (SignaturePolicy{SHA1: true}).Verify(keys[i].Public(), method, []byte("other octets"), data) == nil {
			t.Fatalf("a made-up signature verifies: %d %x", method, data)
		}
	})
}
