package esp

import (
	"crypto/aes"
	"crypto/cipher"
	"fmt"
	"testing"

	"golang.org/x/crypto/chacha20poly1305"
)

// BenchmarkSeal and BenchmarkOpen measure a packet beside the bare AEAD of the
// standard library over the same octets, in one run and taking turns, and
// report the ratio: 1.00 is no cost of ours at all.
func BenchmarkSeal(b *testing.B) { benchmark(b, true) }

// BenchmarkOpen is BenchmarkSeal for the way in; the window is included.
func BenchmarkOpen(b *testing.B) { benchmark(b, false) }

func benchmark(b *testing.B, seal bool) {
	for _, name := range []string{"gcm16-128", "gcm16-256", "gcm16-256-esn", "chacha20", "gmac-128", "aes128-sha1", "aes128-sha256", "3des-md5"} {
		for _, ts := range testSuites {
			if ts.name != name {
				continue
			}
			for _, size := range []int{64, 1400} {
				b.Run(fmt.Sprintf("%s/%d", name, size), func(b *testing.B) {
					if seal {
						benchSeal(b, ts, size)
					} else {
						benchOpen(b, ts, size)
					}
				})
			}
		}
	}
}

// burst is how many packets one side does before it is the other's turn; the
// machine's frequency and neighbours then hit both alike.
const burst = 64

func benchSeal(b *testing.B, ts testSuite, size int) {
	out, _ := ts.pair(b)
	s := &Scratch{Borrow: true}
	payload := octets(size+300, 1)[:size]
	dst := make([]byte, out.SealedLen(size))
	raw := rawAEAD(b, ts)
	nonce, text, sealed := make([]byte, 12), octets(size+4, 1), make([]byte, 0, size+32)
	var ours, bare stopwatch
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for range b.N/burst + 1 {
		ours.start()
		first, _ := out.Reserve(burst)
		for i := range uint64(burst) {
			out.Seal(s, dst, first+i, 4, payload, 0)
		}
		ours.stop()
		bare.start()
		if raw != nil {
			for range burst {
				nonce[11]++
				raw.Seal(sealed, nonce, text, dst[:8])
			}
		}
		bare.stop()
	}
	report(b, &ours, &bare, raw != nil)
}

func benchOpen(b *testing.B, ts testSuite, size int) {
	out, in := ts.pair(b)
	s := &Scratch{Borrow: true}
	payload := octets(size+300, 1)[:size] // two octets of padding make size+4
	pkts := make([][]byte, burst)
	for i := range pkts {
		pkts[i] = make([]byte, out.SealedLen(size))
	}
	raw := rawAEAD(b, ts)
	nonce := make([]byte, 12)
	rawPkts := make([][]byte, burst)
	var ours, bare stopwatch
	b.SetBytes(int64(size))
	for range b.N/burst + 1 {
		first, _ := out.Reserve(burst)
		for i := range pkts {
			out.Seal(s, pkts[i], first+uint64(i), 4, payload, 0)
			if raw != nil {
				rawPkts[i] = raw.Seal(rawPkts[i][:0], nonce, payload[:size+4:size+4], nonce[:8])
			}
		}
		ours.start()
		for _, pkt := range pkts {
			seq, _ := in.Sequence(pkt)
			if _, _, err := in.Open(s, pkt, seq); err != nil {
				b.Fatal(err)
			}
			in.Accept(seq)
		}
		ours.stop()
		bare.start()
		if raw != nil {
			for _, pkt := range rawPkts {
				if _, err := raw.Open(pkt[:0], nonce, pkt, nonce[:8]); err != nil {
					b.Fatal(err)
				}
			}
		}
		bare.stop()
	}
	report(b, &ours, &bare, raw != nil)
}

// rawAEAD is the cipher of ts without ESP; nil where it is no AEAD.
func rawAEAD(b *testing.B, ts testSuite) cipher.AEAD {
	key := octets(ts.key, 1)
	switch ts.encr {
	case 20:
		block, err := aes.NewCipher(key[:ts.bits/8])
		if err != nil {
			b.Fatal(err)
		}
		raw, _ := cipher.NewGCM(block)
		return raw
	case 28:
		raw, _ := chacha20poly1305.New(key[:32])
		return raw
	}
	return nil
}

func report(b *testing.B, ours, bare *stopwatch, hasRaw bool) {
	n := float64(b.N/burst+1) * burst
	b.ReportMetric(float64(ours.total)/n, "ns/op")
	if hasRaw {
		b.ReportMetric(float64(bare.total)/n, "raw-ns/op")
		b.ReportMetric(float64(ours.total)/float64(bare.total), "ours/raw")
	}
}
