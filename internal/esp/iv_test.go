package esp

import (
	"bytes"
	"crypto/rand"
	"math"
	"net/netip"
	"testing"

	"cygnet/internal/ipsec"
)

// The IVs of a CBC suite are not told by anything seen before (RFC 3602 section
// 3): each is new, none is the last block of the packet before, every bit is 1 in
// half of them and changes in half of the steps, and an SA with the same key has
// others.
func TestAdv_CRY_22_IVs(t *testing.T) {
	const packets = 100_000
	sa := ipsec.SA{
		ID: ipsec.SAID{Dst: netip.MustParseAddr("192.0.2.2"), Proto: ipsec.ESP, SPI: 0x1234}, Src: netip.MustParseAddr("192.0.2.1"),
		Transform: ipsec.Transform{Encr: 12, KeyBits: 128, Integ: 12},
		EncrKey:   ipsec.NewSecret(bytes.Repeat([]byte{7}, 16)), IntegKey: ipsec.NewSecret(bytes.Repeat([]byte{9}, 32)),
	}
	seen := map[[16]byte]bool{}
	for range 2 {
		out, err := NewOut(sa, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		var s Scratch
		var last, before [16]byte
		var ones, changes [128]int
		payload, dst := make([]byte, 30), make([]byte, 256)
		for n := range packets {
			seq, err := out.Reserve(1)
			if err != nil {
				t.Fatal(err)
			}
			pkt := out.Seal(&s, dst, seq, 4, payload, 0)
			iv := [16]byte(pkt[8:24])
			if seen[iv] || iv == last {
				t.Fatalf("packet %d: IV %x has been seen before", n, iv)
			}
			seen[iv] = true
			for bit := range ones {
				mask := byte(0x80) >> (bit % 8)
				if iv[bit/8]&mask != 0 {
					ones[bit]++
				}
				if (iv[bit/8]^before[bit/8])&mask != 0 {
					changes[bit]++
				}
			}
			before, last = iv, [16]byte(pkt[len(pkt)-16-16:])
		}
		// Six standard deviations: chance alone fails once in 10^6 runs.
		limit := 6 * math.Sqrt(packets) / 2
		for bit := range ones {
			if math.Abs(float64(ones[bit])-packets/2) > limit || math.Abs(float64(changes[bit])-packets/2) > limit {
				t.Errorf("bit %d is 1 in %d of %d IVs and changes %d times", bit, ones[bit], packets, changes[bit])
			}
		}
	}
}
