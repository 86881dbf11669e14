package suite

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"math/big"
	"testing"
)

// RFC 2409, 5.1: the block inside the signature is 00 01 FF .. FF 00 | hash.
func TestSignHash(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	hash := bytes.Repeat([]byte{0xab}, 20)
	sig, err := SignHash(rand.Reader, key, hash)
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 256)
	new(big.Int).Exp(new(big.Int).SetBytes(sig), big.NewInt(int64(key.E)), key.N).FillBytes(block)
	want := append([]byte{0, 1}, bytes.Repeat([]byte{0xff}, 256-3-len(hash))...)
	want = append(append(want, 0), hash...)
	if !bytes.Equal(block, want) {
		t.Errorf("block %x", block)
	}
	var p SignaturePolicy
	if err := p.VerifyHash(&key.PublicKey, hash, sig); err != nil {
		t.Error(err)
	}
	digestInfo, err := key.Sign(rand.Reader, digest(crypto.SHA1, hash), crypto.SHA1)
	if err != nil {
		t.Fatal(err)
	}
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	shortSig, err := SignHash(rand.Reader, short, hash)
	if err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"other hash":          p.VerifyHash(&key.PublicKey, bytes.Repeat([]byte{0xac}, 20), sig),
		"no hash":             p.VerifyHash(&key.PublicKey, nil, sig),
		"flipped bit":         p.VerifyHash(&key.PublicKey, hash, append([]byte{sig[0] ^ 1}, sig[1:]...)),
		"cut":                 p.VerifyHash(&key.PublicKey, hash, sig[:255]),
		"DigestInfo":          p.VerifyHash(&key.PublicKey, digest(crypto.SHA1, hash), digestInfo),
		"other key":           p.VerifyHash(&other.PublicKey, hash, sig),
		"short key":           p.VerifyHash(&short.PublicKey, hash, shortSig),
		"key of another kind": p.VerifyHash(ed25519.PublicKey(make([]byte, 32)), hash, sig),
	} {
		if err == nil {
			t.Errorf("%s: verifies", name)
		}
	}
	if err := (SignaturePolicy{ShortRSA: true}).VerifyHash(&short.PublicKey, hash, shortSig); err != nil {
		t.Errorf("short key, allowed: %v", err)
	}
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	if _, err := SignHash(rand.Reader, ed, hash); err == nil {
		t.Error("signed with Ed25519")
	}
}
