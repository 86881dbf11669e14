package keys

import (
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"strings"
	"testing"

	"cygnet/internal/config"
	"cygnet/internal/ike"
	"cygnet/internal/rawkey"
	"cygnet/internal/suite"
)

// R6.4: one private key without an index serves a thousand connections to a
// thousand peers: all of them sign with it, and what they sign can be verified
// with its public half.
func TestOneKeyForAll(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	var secrets strings.Builder
	if err := (rawkey.Block{Key: key, Comment: "test"}).WriteEntry(&secrets, ""); err != nil {
		t.Fatal(err)
	}
	ring := New(Options{Note: func(s string) { t.Errorf("noted: %s", s) }})
	ring.Set(config.ParseSecrets(config.MapFS{Files: map[string]string{"s": secrets.String()}}, "s", config.SecretsOptions{}))
	for i := range 1000 {
		c := &ike.Conn{Name: fmt.Sprint("c", i)}
		c.Local.ID, _ = ike.ParseID(fmt.Sprintf("@west-%d", i%7))
		c.Remote.ID, _ = ike.ParseID(fmt.Sprintf("@peer-%d", i))
		octets := fmt.Appendf(nil, "what connection %d signs", i)
		sig, err := ring.Sign(c, octets, suite.SignatureHashes())
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		if err := suite.VerifySignature(&key.PublicKey, sig.Method, octets, sig.Data); err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
	}
}
