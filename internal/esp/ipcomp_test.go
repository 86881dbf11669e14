package esp

import (
	"bytes"
	"compress/flate"
	"errors"
	"strings"
	"testing"

	"cygnet/internal/ipsec"
)

func compPair(t testing.TB) (*CompOut, *CompIn) {
	t.Helper()
	sa := ipsec.SA{ID: ipsec.SAID{Proto: ipsec.Comp, SPI: 0x3ac1}}
	out, err := NewCompOut(sa)
	if err != nil {
		t.Fatal(err)
	}
	in, err := NewCompIn(sa)
	if err != nil {
		t.Fatal(err)
	}
	return out, in
}

func TestCompress(t *testing.T) {
	out, in := compPair(t)
	s := new(Scratch)
	text := []byte(strings.Repeat("the quick brown fox ", 70))
	for _, n := range []int{90, 91, 200, 1400} {
		dst := make([]byte, n)
		pkt, ok := out.Compress(s, dst, 17, text[:n])
		if !ok || len(pkt) >= n || &pkt[0] != &dst[0] {
			t.Fatalf("%d octets: ok %v, %d octets out", n, ok, len(pkt))
		}
		if want := []byte{17, 0, 0x3a, 0xc1}; !bytes.Equal(pkt[:4], want) {
			t.Errorf("header %x, want %x", pkt[:4], want)
		}
		got, next, err := in.Decompress(s, make([]byte, n), pkt)
		if err != nil || next != 17 || !bytes.Equal(got, text[:n]) {
			t.Errorf("%d octets: next %d, %v, %x", n, next, err, got)
		}
	}
	if _, ok := out.Compress(s, make([]byte, 100), 17, text[:89]); ok {
		t.Error("89 octets were compressed")
	}
	if _, ok := out.Compress(s, make([]byte, 3), 17, text[:100]); ok {
		t.Error("compressed into 3 octets")
	}
}

// RFC 3173, 2.2: what does not get smaller is sent as it is; and soon it is
// not even tried.
func TestCompressAdapts(t *testing.T) {
	out, _ := compPair(t)
	s := new(Scratch)
	noise, text := octets(1000, 1), bytes.Repeat([]byte("abcdefgh"), 125)
	dst := make([]byte, 2000) // room enough to grow
	for range 500 {
		if _, ok := out.Compress(s, dst, 17, noise); ok {
			t.Fatal("noise got smaller")
		}
	}
	if tries := out.patience.vain.Load(); tries > 40 {
		t.Errorf("%d of 500 packets of noise were tried", tries)
	}
	for i := range patienceMax + 1 {
		if _, ok := out.Compress(s, dst, 17, text); ok {
			break
		} else if i == patienceMax {
			t.Fatal("text is never compressed again")
		}
	}
	for range 20 {
		if _, ok := out.Compress(s, dst, 17, text); !ok {
			t.Fatal("success did not end the skipping")
		}
	}
}

// bomb is n zeros in DEFLATE behind an IPComp header.
func bomb(n int) []byte {
	var b bytes.Buffer
	b.Write([]byte{4, 0, 0x3a, 0xc1})
	w, _ := flate.NewWriter(&b, flate.BestCompression)
	w.Write(make([]byte, n))
	w.Close()
	return b.Bytes()
}

// ESP-26: bombs, nests, foreign CPIs, cut and damaged streams.
func TestESP26IPComp(t *testing.T) {
	_, in := compPair(t)
	s := new(Scratch)
	good := bomb(1500)
	bend := func(f func([]byte)) []byte {
		b := bytes.Clone(good)
		f(b)
		return b
	}
	for _, c := range []struct {
		name string
		pkt  []byte
		dst  int
		want error
	}{
		{"exactly the limit", good, 1500, nil},
		{"one octet above", good, 1499, ErrTooLong},
		{"1:1000", bomb(10 << 20), 65535, ErrTooLong},
		{"into nothing", good, 0, ErrTooLong},
		{"nested", bend(func(b []byte) { b[0] = 108 }), 1500, ErrCompressed},
		{"another CPI", bend(func(b []byte) { b[3] = 2 }), 1500, ErrHeader},
		{"the CPI that all know", bend(func(b []byte) { b[2], b[3] = 0, CPIDeflate }), 1500, nil},
		{"reserved flags", bend(func(b []byte) { b[1] = 0xff }), 1500, nil},
		{"header only", good[:4], 1500, ErrShort},
		{"nothing", nil, 1500, ErrShort},
		{"cut", good[:len(good)-2], 1500, ErrCompressed},
		{"reserved block type", []byte{4, 0, 0x3a, 0xc1, 0x07, 0}, 1500, ErrCompressed},
		{"distance before the start", []byte{4, 0, 0x3a, 0xc1, 0x4b, 0x04, 0x22, 0x00}, 1500, ErrCompressed},
	} {
		payload, _, err := in.Decompress(s, make([]byte, c.dst), c.pkt)
		if !errors.Is(err, c.want) || err == nil && len(payload) != 1500 {
			t.Errorf("%s: %d octets, %v, want %v", c.name, len(payload), err, c.want)
		}
		// Whatever happened, the state serves the next packet.
		if _, _, err := in.Decompress(s, make([]byte, 1500), good); err != nil {
			t.Fatalf("after %s: %v", c.name, err)
		}
	}
}

func TestCompErrors(t *testing.T) {
	for _, id := range []ipsec.SAID{{Proto: ipsec.ESP, SPI: 5}, {Proto: ipsec.Comp}, {Proto: ipsec.Comp, SPI: 0x10000}} {
		if _, err := NewCompOut(ipsec.SA{ID: id}); err == nil {
			t.Errorf("%s: accepted", id)
		}
		if _, err := NewCompIn(ipsec.SA{ID: id}); err == nil {
			t.Errorf("%s: accepted", id)
		}
	}
}

// Bundles as Linux sent them: AH around ESP, and IPComp inside ESP.
func TestKernelBundles(t *testing.T) {
	authenticated, expanded := 0, 0
	s := new(Scratch)
	for _, suite := range readKernel(t, "kernel-bundle.txt") {
		t.Run(suite.name, func(t *testing.T) {
			for _, k := range suite.sas {
				in, err := NewIn(k.sa)
				if err != nil {
					t.Fatal(err)
				}
				for i, pkt := range k.pkts {
					at := ahAt(pkt)
					if k.ahKey != nil {
						at = openKernelAH(t, k, pkt)
						authenticated++
					}
					payload, next, err := deliver(in, s, pkt[at:])
					if err != nil {
						t.Fatalf("packet %d: %v", i, err)
					}
					if next == 108 {
						payload, next = expandKernel(t, s, payload)
						expanded++
					}
					checkEcho(t, i, payload, next)
				}
			}
		})
	}
	if authenticated != 4*12 || expanded < 4*2 {
		t.Errorf("%d packets with AH, %d compressed", authenticated, expanded)
	}
}

func openKernelAH(t *testing.T, k kernelSA, pkt []byte) (end int) {
	t.Helper()
	sa := k.sa
	sa.ID.Proto = ipsec.AH
	sa.Transform = ipsec.Transform{Integ: 2}
	sa.IntegKey = ipsec.NewSecret(k.ahKey)
	in, err := NewAHIn(sa)
	if err != nil {
		t.Fatal(err)
	}
	size, next, err := openAH(in, pkt)
	if err != nil || next != 50 {
		t.Fatalf("AH: next %d, %v", next, err)
	}
	return ahAt(pkt) + size
}

func expandKernel(t *testing.T, s *Scratch, pkt []byte) ([]byte, uint8) {
	t.Helper()
	in := &CompIn{cpi: uint16(pkt[2])<<8 | uint16(pkt[3])}
	payload, next, err := in.Decompress(s, make([]byte, 1500), pkt)
	if err != nil {
		t.Fatalf("IPComp: %v", err)
	}
	// What we make of it, a receiver of ours reads back.
	out := &CompOut{cpi: in.cpi}
	again, ok := out.Compress(s, make([]byte, 1500), next, payload)
	if !ok {
		t.Fatalf("Linux compressed %d octets, we did not", len(payload))
	}
	back, _, err := in.Decompress(s, make([]byte, 1500), again)
	if err != nil || !bytes.Equal(back, payload) {
		t.Fatalf("our own compression: %v", err)
	}
	return payload, next
}

// checkEcho sees that packet i of a suite is an echo of the size that was sent.
func checkEcho(t *testing.T, i int, payload []byte, next uint8) {
	t.Helper()
	head := 0
	switch next {
	case 4:
		head = 20
	case 41:
		head = 40
	case 1, 58:
	default:
		t.Errorf("packet %d: next %d", i, next)
	}
	if size := []int{0, 3, 40, 56, 57, 1200}[i]; len(payload) != head+8+size {
		t.Errorf("packet %d: %d octets, want an echo of %d", i, len(payload), size)
	}
}

// FuzzDecompress: nothing panics or passes the bound, and what expands is the
// same after compressing again.
func FuzzDecompress(f *testing.F) {
	f.Add(bomb(1500))
	f.Add([]byte{4, 0, 0x3a, 0xc1, 0x4b, 0x04, 0x22, 0x00})
	f.Fuzz(func(t *testing.T, pkt []byte) {
		out, in := compPair(t)
		s := new(Scratch)
		room := make([]byte, 2001)
		room[2000] = 0xa5
		payload, next, err := in.Decompress(s, room[:2000], pkt)
		if room[2000] != 0xa5 {
			t.Fatal("written beyond the bound")
		}
		if err != nil {
			return
		}
		again, ok := out.Compress(s, make([]byte, 2000), next, payload)
		if !ok {
			return
		}
		back, backNext, err := in.Decompress(s, make([]byte, 2000), again)
		if err != nil || backNext != next || !bytes.Equal(back, payload) {
			t.Fatalf("round trip: next %d, %v", backNext, err)
		}
	})
}
