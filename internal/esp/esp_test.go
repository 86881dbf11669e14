package esp

import (
	"bytes"
	"crypto/aes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"

	"cygnet/internal/ipsec"
)

// testSuite is one suite that this package must carry.
type testSuite struct {
	name     string
	encr     uint16
	bits     int
	key      int // octets, with salt
	integ    uint16
	integKey int
	esn      bool
}

var testSuites = []testSuite{
	{"gcm16-128", 20, 128, 20, 0, 0, false},
	{"gcm16-256", 20, 256, 36, 0, 0, false},
	{"gcm16-256-esn", 20, 256, 36, 0, 0, true},
	{"gcm12-128", 19, 128, 20, 0, 0, false},
	{"gcm8-128", 18, 128, 20, 0, 0, false},
	{"chacha20", 28, 0, 36, 0, 0, false},
	{"chacha20-esn", 28, 0, 36, 0, 0, true},
	{"gmac-128", 21, 128, 20, 0, 0, false},
	{"gmac-256-esn", 21, 256, 36, 0, 0, true},
	{"aes128-sha256", 12, 128, 16, 12, 32, false},
	{"aes256-sha512-esn", 12, 256, 32, 14, 64, true},
	{"aes192-sha384", 12, 192, 24, 13, 48, false},
	{"aes128-sha1", 12, 128, 16, 2, 20, false},
	{"3des-md5", 3, 0, 24, 1, 16, false},
	{"3des-sha1-esn", 3, 0, 24, 2, 20, true},
	{"null-sha256", 11, 0, 0, 12, 32, false},
	{"null-md5-esn", 11, 0, 0, 1, 16, true},
	{"aes128-none", 12, 128, 16, 0, 0, false},
}

// octets returns n octets that depend on seed only.
func octets(n int, seed uint64) []byte {
	b := make([]byte, n)
	var key [32]byte
	binary.BigEndian.PutUint64(key[:], seed)
	rand.NewChaCha8(key).Read(b)
	return b
}

func (ts testSuite) sa(dir ipsec.Direction) ipsec.SA {
	return ipsec.SA{
		ID:        ipsec.SAID{Proto: ipsec.ESP, SPI: 0xd1d2d3d4},
		Dir:       dir,
		Transform: ipsec.Transform{Encr: ts.encr, KeyBits: ts.bits, Integ: ts.integ, ESN: ts.esn},
		EncrKey:   ipsec.NewSecret(octets(ts.key, 1)),
		IntegKey:  ipsec.NewSecret(octets(ts.integKey, 2)),
		Replay:    64,
	}
}

func (ts testSuite) pair(t testing.TB) (*Out, *In) {
	t.Helper()
	out, err := NewOut(ts.sa(ipsec.Out), bytes.NewReader(octets(16, 3)))
	if err != nil {
		t.Fatal(err)
	}
	in, err := NewIn(ts.sa(ipsec.In))
	if err != nil {
		t.Fatal(err)
	}
	return out, in
}

// forAll runs f as a subtest for each suite.
func forAll(t *testing.T, f func(t *testing.T, out *Out, in *In)) {
	for _, ts := range testSuites {
		t.Run(ts.name, func(t *testing.T) {
			out, in := ts.pair(t)
			f(t, out, in)
		})
	}
}

// deliver is the whole inbound path of one packet.
func deliver(in *In, s *Scratch, pkt []byte) (payload []byte, next uint8, err error) {
	seq, ok := in.Sequence(pkt)
	if !ok {
		return nil, 0, ErrReplay
	}
	payload, next, err = in.Open(s, pkt, seq)
	if err == nil {
		_, err = in.Accept(seq)
	}
	return payload, next, err
}

func seal(t testing.TB, out *Out, payload []byte, next uint8) []byte {
	t.Helper()
	seq, err := out.Reserve(1)
	if err != nil {
		t.Fatal(err)
	}
	return out.Seal(new(Scratch), make([]byte, out.SealedLen(len(payload))), seq, next, payload, 0)
}

// Every payload length to 130, by all three ways in which Seal takes a
// payload, yields the same packet, and it opens to what went in.
func TestSealOpen(t *testing.T) {
	forAll(t, func(t *testing.T, out *Out, in *In) {
		s := new(Scratch)
		for n := range 131 {
			seq, _ := out.Reserve(1)
			size := out.SealedLen(n)
			payload := octets(n, uint64(n))

			apart := out.Seal(s, make([]byte, size), seq, 41, payload[:n:n], 0)

			inPlace := make([]byte, size)
			copy(inPlace[out.HeadLen():], payload)
			inPlace = out.Seal(s, inPlace, seq, 41, inPlace[out.HeadLen():][:n], 0)

			roomy := append(bytes.Clone(payload), octets(40, 7)...)
			before := bytes.Clone(roomy)
			s.Borrow = true
			borrowed := out.Seal(s, make([]byte, size), seq, 41, roomy[:n], 0)
			s.Borrow = false
			if !bytes.Equal(roomy, before) {
				t.Fatalf("%d octets: borrowed octets not restored", n)
			}

			if !bytes.Equal(apart, inPlace) || !bytes.Equal(apart, borrowed) {
				t.Fatalf("%d octets: the three ways differ:\n%x\n%x\n%x", n, apart, inPlace, borrowed)
			}
			if len(apart) != size {
				t.Fatalf("%d octets: sealed to %d, SealedLen says %d", n, len(apart), size)
			}
			got, next, err := deliver(in, s, apart)
			if err != nil || next != 41 || !bytes.Equal(got, payload) {
				t.Fatalf("%d octets: opened to %x, next %d, %v", n, got, next, err)
			}
		}
	})
}

// A payload whose capacity reaches into dst must not be borrowed from.
func TestBorrowStopsAtDst(t *testing.T) {
	out, in := testSuites[0].pair(t)
	s := &Scratch{Borrow: true}
	buf := make([]byte, 400)
	payload := octets(101, 5)
	copy(buf, payload)
	pkt := out.Seal(s, buf[101:], 1, 4, buf[:101], 0)
	got, _, err := deliver(in, s, pkt)
	if err != nil || !bytes.Equal(got, payload) || !bytes.Equal(buf[:101], payload) {
		t.Fatalf("opened to %x, %v", got, err)
	}
}

func TestSizes(t *testing.T) {
	// The overheads that datapath.md 7.16 and freeswan.md M1 give for 1500.
	for _, c := range []struct {
		suite string
		outer int // IP, UDP
		want  int
	}{
		{"gcm16-256", 20 + 8, 1438},
		{"gcm16-256", 40 + 8, 1418},
		{"aes128-sha1", 20 + 8, 1422},
		{"3des-md5", 20, 1446},
	} {
		for _, ts := range testSuites {
			if ts.name != c.suite {
				continue
			}
			out, _ := ts.pair(t)
			if got := out.MaxPayload(1500 - c.outer); got != c.want {
				t.Errorf("%s with %d outer octets: MaxPayload %d, want %d", c.suite, c.outer, got, c.want)
			}
		}
	}
	forAll(t, func(t *testing.T, out *Out, in *In) {
		for limit := range 300 {
			n := out.MaxPayload(limit)
			if n >= 0 && out.SealedLen(n) > limit || out.SealedLen(max(n+1, 0)) <= limit {
				t.Fatalf("MaxPayload(%d) = %d is not the largest", limit, n)
			}
		}
		if in.MinLen() != out.SealedLen(0) {
			t.Fatalf("MinLen %d, an empty payload seals to %d", in.MinLen(), out.SealedLen(0))
		}
	})
}

// Payloads of different length become packets of equal length.
func TestPadding(t *testing.T) {
	forAll(t, func(t *testing.T, out *Out, in *In) {
		s := new(Scratch)
		want := out.SealedLen(220)
		for n := range 221 {
			pad, ok := out.PadFor(n, want)
			if !ok {
				if want-out.SealedLen(n) <= 255-out.sizes.align {
					t.Fatalf("%d octets cannot become %d", n, want)
				}
				continue
			}
			seq, _ := out.Reserve(1)
			payload := octets(n, 9)
			pkt := out.Seal(s, make([]byte, want), seq, 4, payload, pad)
			if len(pkt) != want {
				t.Fatalf("%d octets became %d, want %d", n, len(pkt), want)
			}
			if got, _, err := deliver(in, s, pkt); err != nil || !bytes.Equal(got, payload) {
				t.Fatalf("%d octets: %x, %v", n, got, err)
			}
		}
		if _, ok := out.PadFor(0, out.SealedLen(0)+1); ok {
			t.Error("PadFor promises what alignment forbids")
		}
		if got := len(out.Seal(s, make([]byte, 500), out.Last()+1, 4, nil, 9999)); got > out.HeadLen()+257+32 {
			t.Errorf("an immodest pad made %d octets", got)
		}
	})
}

func TestVectors(t *testing.T) {
	blocks := readBlocks(t)
	for _, name := range []string{"V-E1", "V-E1b", "V-E2", "V-E3", "V-E4", "V-E5", "V-R", "V-S", "K1", "K2", "K3", "K4", "K7"} {
		t.Run(name, func(t *testing.T) {
			b := blocks[name]
			if b == nil {
				t.Fatal("missing in testdata/rfc.txt")
			}
			num := func(k string) uint64 {
				n, err := strconv.ParseUint(b[k], 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				return n
			}
			pkt := unhex(t, b["packet"])
			sa := ipsec.SA{
				ID:        ipsec.SAID{Proto: ipsec.ESP, SPI: ipsec.SPI(binary.BigEndian.Uint32(pkt))},
				Dir:       ipsec.In,
				Transform: ipsec.Transform{Encr: uint16(num("encr")), Integ: uint16(num("integ")), ESN: num("esn") == 1},
				EncrKey:   ipsec.NewSecret(unhex(t, b["key"])),
				IntegKey:  ipsec.NewSecret(unhex(t, b["mac"])),
				Replay:    64,
			}
			checkVector(t, sa, pkt, num("seq"), uint8(num("next")), b["payload"])
		})
	}
}

// checkVector opens pkt, seals the result again with the same IV, and sees
// that each flipped bit is noticed.
func checkVector(t *testing.T, sa ipsec.SA, pkt []byte, seq uint64, next uint8, want string) (payload []byte) {
	t.Helper()
	in, err := NewIn(sa)
	if err != nil {
		t.Fatal(err)
	}
	in.window.Update(seq - 1)
	s := new(Scratch)
	payload, gotNext, err := deliver(in, s, bytes.Clone(pkt))
	if err != nil || gotNext != next || in.Top() != seq {
		t.Fatalf("open: next %d, top %d, %v", gotNext, in.Top(), err)
	}
	if want != "" && hex.EncodeToString(payload) != want {
		t.Errorf("opened to\n%x, want\n%s", payload, want)
	}

	sa.Dir = ipsec.Out
	out, err := NewOut(sa, bytes.NewReader(make([]byte, 16)))
	if err != nil {
		t.Fatal(err)
	}
	z := out.sizes
	iv := pkt[8:z.head]
	again := make([]byte, len(pkt))
	pad := len(pkt) - out.SealedLen(len(payload))
	switch tr := out.transform.(type) {
	case *cbc:
		tr.seed = fixedIV{iv}
		again = out.Seal(s, again, seq, next, payload, pad)
	default: // the IV is always the sequence number, so only an equal one can be compared
		if binary.BigEndian.Uint64(iv) != seq {
			again = pkt
			break
		}
		again = out.Seal(s, again, seq, next, payload, pad)
	}
	if !bytes.Equal(again, pkt) {
		t.Errorf("sealed again to\n%x, want\n%x", again, pkt)
	}

	if z.icv == 0 {
		return payload
	}
	for bit := range len(pkt) * 8 {
		if bit/8 >= 200 {
			break
		}
		bad := bytes.Clone(pkt)
		bad[bit/8] ^= 1 << (bit % 8)
		badSeq := seq&^0xffffffff | uint64(binary.BigEndian.Uint32(bad[4:]))
		if _, _, err := in.Open(s, bad, badSeq); err != ErrAuth {
			t.Fatalf("bit %d flipped: %v", bit, err)
		}
	}
	return payload
}

// fixedIV is a cipher.Block whose output is a chosen IV.
type fixedIV struct{ iv []byte }

func (f fixedIV) BlockSize() int          { return 16 }
func (f fixedIV) Encrypt(dst, src []byte) { copy(dst, f.iv) }
func (f fixedIV) Decrypt(dst, src []byte) { panic("not an IV generator's affair") }

// What Linux sent: echo requests and replies of known sizes.
func TestKernelPackets(t *testing.T) {
	later := map[uint16]string{5: "XCBC", 8: "CMAC", 13: "CTR", 14: "CCM", 16: "CCM", 23: "Camellia"}
	seen := 0
	for _, suite := range readKernel(t, "kernel-esp.txt") {
		t.Run(suite.name, func(t *testing.T) {
			for _, k := range suite.sas {
				_, err := NewIn(k.sa)
				if errors.Is(err, ipsec.ErrUnsupported) && (later[k.sa.Transform.Encr] != "" || later[k.sa.Transform.Integ] != "") {
					t.Skip(err)
				}
				var top uint64
				for i, pkt := range k.pkts {
					seq := uint64(binary.BigEndian.Uint32(pkt[4:]))
					if seq < top { // the low half rolled over
						seq += 1 << 32
					}
					top = seq
					payload := checkVector(t, k.sa, pkt, seq, 1, "")
					if size := []int{0, 3, 40, 56, 57, 1200}[i]; len(payload) != 8+size || checksum(payload) != 0xffff {
						t.Errorf("packet %d: %x is not an echo of %d octets", i, payload, size)
					}
				}
			}
			seen++
		})
	}
	if seen < 23 {
		t.Errorf("only %d suites compared", seen)
	}
}

// checksum is the one's complement sum, RFC 1071.
func checksum(b []byte) uint16 {
	var sum uint32
	for i, c := range b {
		sum += uint32(c) << (8 * (1 - i%2))
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}

// A CBC IV is the AES encryption of the sequence number under the seed.
func TestIVSeed(t *testing.T) {
	for _, ts := range testSuites {
		if ts.encr != 12 && ts.encr != 3 {
			continue
		}
		out, _ := ts.pair(t)
		b, _ := aes.NewCipher(octets(16, 3))
		for range 3 {
			pkt := seal(t, out, []byte("payload"), 4)
			var want [16]byte
			want[15] = pkt[7]
			b.Encrypt(want[:], want[:])
			if iv := pkt[8:out.HeadLen()]; !bytes.Equal(iv, want[:len(iv)]) {
				t.Errorf("%s: IV %x, want %x", ts.name, iv, want)
			}
		}
		if _, err := NewOut(ts.sa(ipsec.Out), nil); !errors.Is(err, errNoSeed) {
			t.Errorf("%s without randomness: %v", ts.name, err)
		}
		if _, err := NewOut(ts.sa(ipsec.Out), bytes.NewReader(nil)); err == nil {
			t.Errorf("%s with a dry source: no error", ts.name)
		}
	}
}

func TestNewErrors(t *testing.T) {
	good := testSuites[0].sa(ipsec.In)
	for _, c := range []struct {
		name string
		bend func(*ipsec.SA)
		want string
	}{
		{"AH", func(sa *ipsec.SA) { sa.ID.Proto = ipsec.AH }, "inbound SA ah0xd1d2d3d4@invalid IP: protocol ah is not ESP"},
		{"no transform", func(sa *ipsec.SA) { sa.Transform.Encr = 0 }, "inbound SA esp0xd1d2d3d4@invalid IP: ESP without encryption transform"},
		{"unknown", func(sa *ipsec.SA) { sa.Transform.Encr = 999 }, "inbound SA esp0xd1d2d3d4@invalid IP: encryption transform 999: not supported by this data plane"},
		{"unknown integrity", func(sa *ipsec.SA) { sa.Transform.Integ = 999 }, "inbound SA esp0xd1d2d3d4@invalid IP: integrity transform 999: not supported by this data plane"},
		{"both", func(sa *ipsec.SA) { sa.Transform.Integ = 12; sa.IntegKey = ipsec.NewSecret(make([]byte, 32)) }, "inbound SA esp0xd1d2d3d4@invalid IP: an AEAD takes no integrity transform"},
		{"NULL and none", func(sa *ipsec.SA) {
			sa.Transform = ipsec.Transform{Encr: 11}
			sa.EncrKey = ipsec.Secret{}
		}, "inbound SA esp0xd1d2d3d4@invalid IP: ESP with neither encryption nor integrity"},
		{"window", func(sa *ipsec.SA) { sa.Replay = 8193 }, "inbound SA esp0xd1d2d3d4@invalid IP: replay window of 8193 packets is outside 0 to 8192"},
		{"ESN without window", func(sa *ipsec.SA) { sa.Replay = 0; sa.Transform.ESN = true }, "inbound SA esp0xd1d2d3d4@invalid IP: extended sequence numbers need a replay window"},
	} {
		sa := good
		c.bend(&sa)
		if _, err := NewIn(sa); err == nil || err.Error() != c.want {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
	for _, n := range []int{0, 1, 4, 15, 19, 21, 37} {
		sa := good
		sa.EncrKey = ipsec.NewSecret(make([]byte, n))
		if _, err := NewIn(sa); err == nil {
			t.Errorf("a key of %d octets is accepted", n)
		}
	}
}

func ExampleIn_Stats() {
	fmt.Printf("%+v\n", new(In).Stats())
	// Output: {Short:0 Replay:0 Late:0 Auth:0 Pad:0 MaxGap:0}
}
