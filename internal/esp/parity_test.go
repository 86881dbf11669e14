package esp

import (
	"bytes"
	"crypto/rand"
	"net/netip"
	"testing"

	"cygnet/internal/ipsec"
)

// R11.2: 192 bits are written down for 3DES, 168 of them count: two ends whose
// keys differ in parity bits only understand each other, and any other bit
// makes a difference.
func TestParityBitsDoNotCount(t *testing.T) {
	key := make([]byte, 24)
	rand.Read(key)
	sa := func(dir ipsec.Direction, flip byte) ipsec.SA {
		k := bytes.Clone(key)
		for i := range k {
			k[i] ^= flip
		}
		return ipsec.SA{Dir: dir,
			ID:        ipsec.SAID{Dst: netip.MustParseAddr("192.0.2.1"), Proto: ipsec.ESP, SPI: 0x200},
			Transform: ipsec.Transform{Encr: 3, Integ: 2}, // 3DES, HMAC-SHA1-96
			EncrKey:   ipsec.NewSecret(k), IntegKey: ipsec.NewSecret(make([]byte, 20)),
		}
	}
	out, err := NewOut(sa(ipsec.Out, 0), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	payload := []byte("what one end says to the other")
	var s Scratch
	packet := out.Seal(&s, make([]byte, out.SealedLen(len(payload))), 1, 4, payload, 0)
	for _, flip := range []byte{0, 1, 2, 0x80} {
		in, err := NewIn(sa(ipsec.In, flip))
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := in.Open(&s, bytes.Clone(packet), 1)
		if understood := err == nil && bytes.Equal(got, payload); understood != (flip <= 1) {
			t.Errorf("with bits %#02x of each octet flipped: %q, %v", flip, got, err)
		}
	}
}
