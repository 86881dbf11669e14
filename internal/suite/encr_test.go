package suite

import (
	"bytes"
	"testing"
)

// Every cipher against its answers, both directions; then every single
// flipped bit must be noticed by an AEAD.
func TestEncr(t *testing.T) {
	seen := map[uint16]int{}
	for _, a := range encrAnswers {
		e := EncrByID(a.id)
		if e == nil {
			t.Fatalf("answer for unknown cipher %d", a.id)
		}
		seen[a.id]++
		if !e.AEAD {
			if err := a.testBlock(e); err != nil {
				t.Errorf("%s: %v", e.Name, err)
			}
			continue
		}
		if err := a.testAEAD(e); err != nil {
			t.Errorf("%s: %v", e.Name, err)
		}
		flipEveryBit(t, e, a)
	}
	for _, e := range Encrs() {
		if e.ID != encrNull.ID && seen[e.ID] == 0 {
			t.Errorf("%s has no answers", e.Name)
		}
	}
}

func flipEveryBit(t *testing.T, e *Encr, a encrAnswer) {
	c, err := e.NewAEAD(unhex(a.key))
	if err != nil {
		t.Fatal(err)
	}
	if c.NonceSize() != e.Salt+e.IV || c.Overhead() != e.ICV {
		t.Errorf("%s: nonce %d, overhead %d do not fit the descriptor", e.Name, c.NonceSize(), c.Overhead())
	}
	nonce, ad := unhex(a.iv), unhex(a.ad)
	sealed := c.Seal(nil, nonce, unhex(a.plain), ad)
	for _, b := range [][]byte{nonce, ad, sealed} {
		for i := range b {
			b[i] ^= 0x40
			if _, err := c.Open(nil, nonce, sealed, ad); err == nil {
				t.Fatalf("%s accepts octet %d flipped", e.Name, i)
			}
			b[i] ^= 0x40
		}
	}
	if _, err := c.Open(nil, nonce, sealed[:e.ICV-1], ad); err == nil {
		t.Errorf("%s opens less than an ICV", e.Name)
	}
}

// Ciphers must work in place, as packets are opened.
func TestEncrInPlace(t *testing.T) {
	for _, a := range encrAnswers {
		e := EncrByID(a.id)
		if !e.AEAD {
			continue
		}
		c, err := e.NewAEAD(unhex(a.key))
		if err != nil {
			t.Fatal(err)
		}
		buf := append(make([]byte, 0, 4096), unhex(a.plain)...)
		sealed := c.Seal(buf[:0], unhex(a.iv), buf, unhex(a.ad))
		plain, err := c.Open(sealed[:0], unhex(a.iv), sealed, unhex(a.ad))
		if err != nil || !bytes.Equal(plain, unhex(a.plain)) {
			t.Errorf("%s in place: %v", e.Name, err)
		}
	}
}

func TestEncrRefusesKeySizes(t *testing.T) {
	for _, e := range Encrs() {
		for _, n := range []int{0, 1, 15, 17, 31, 33, 64} {
			key := make([]byte, n)
			if e.NewAEAD != nil {
				if _, err := e.NewAEAD(key); err == nil {
					t.Errorf("%s takes %d octets of key", e.Name, n)
				}
			}
			if e.NewBlock != nil {
				if _, err := e.NewBlock(key); err == nil {
					t.Errorf("%s takes %d octets of key", e.Name, n)
				}
			}
		}
	}
}

func TestKeyLen(t *testing.T) {
	for _, c := range []struct {
		choice EncrChoice
		want   int
		text   string
	}{
		{EncrChoice{&aesGCM16, 256}, 36, "AES_GCM_16_256"},
		{EncrChoice{&aesGCM16, 128}, 20, "AES_GCM_16_128"},
		{EncrChoice{&chacha20Poly1305, 256}, 36, "CHACHA20_POLY1305"},
		{EncrChoice{&aesCBC, 192}, 24, "AES_CBC_192"},
		{EncrChoice{&des3CBC, 192}, 24, "3DES_CBC"},
		{EncrChoice{&encrNull, 0}, 0, "NULL"},
		{EncrChoice{}, 0, "NONE"},
	} {
		if got := c.choice.KeyLen(); got != c.want {
			t.Errorf("%v takes %d octets, want %d", c.choice, got, c.want)
		}
		if c.choice.String() != c.text {
			t.Errorf("%v, want %s", c.choice, c.text)
		}
	}
}
