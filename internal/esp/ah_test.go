package esp

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"cygnet/internal/ipsec"
)

// ahAt is where AH begins in a packet without options.
func ahAt(pkt []byte) int {
	if pkt[0]>>4 == 6 {
		return 40
	}
	return 20
}

// openAH is the inbound path of an AH packet.
func openAH(in *AHIn, pkt []byte) (size int, next uint8, err error) {
	at := ahAt(pkt)
	seq, ok := in.Sequence(pkt[at:])
	if !ok {
		return 0, 0, ErrReplay
	}
	size, next, err = in.Open(new(Scratch), pkt, at, seq)
	if err == nil {
		_, err = in.Accept(seq)
	}
	return size, next, err
}

// What Linux sent in both modes under both IPs opens, and our header in its
// place is the same unless Linux padded more than RFC 4302 does.
func TestKernelAH(t *testing.T) {
	compared, resealed := 0, 0
	for _, suite := range readKernel(t, "kernel-ah.txt") {
		if strings.Contains(suite.name, "xcbc") || strings.Contains(suite.name, "cmac") {
			continue // not among our integrity algorithms
		}
		t.Run(suite.name, func(t *testing.T) {
			for _, k := range suite.sas {
				k.sa.ID.Proto = ipsec.AH
				in, err := NewAHIn(k.sa)
				if err != nil {
					t.Fatal(err)
				}
				out, err := NewAHOut(k.sa)
				if err != nil {
					t.Fatal(err)
				}
				for i, pkt := range k.pkts {
					before := bytes.Clone(pkt)
					at := ahAt(pkt)
					size, next, err := openAH(in, pkt)
					if err != nil {
						t.Fatalf("packet %d: %v", i, err)
					}
					if !bytes.Equal(pkt, before) {
						t.Fatalf("packet %d was changed", i)
					}
					if want := innerProto(suite.name); next != want {
						t.Errorf("packet %d: next %d, want %d", i, next, want)
					}
					compared++
					if size != out.HeadLen() || size != ahFixed+out.icv {
						continue // Linux pads with whatever lay there
					}
					seq := uint64(binary.BigEndian.Uint32(pkt[at+8:]))
					clear(pkt[at : at+size])
					if err := out.Seal(new(Scratch), pkt, at, seq, next); err != nil || !bytes.Equal(pkt, before) {
						t.Errorf("packet %d sealed again: %v\n%x, want\n%x", i, err, pkt[:at+size], before[:at+size])
					}
					resealed++
				}
			}
		})
	}
	if compared != 9*4*12 || resealed != (2*4+3*2)*12 {
		t.Errorf("%d packets opened, %d sealed again", compared, resealed)
	}
}

func innerProto(name string) uint8 {
	switch {
	case strings.HasPrefix(name, "tunnel6"):
		return 41
	case strings.HasPrefix(name, "tunnel"):
		return 4
	case strings.HasPrefix(name, "transport6"):
		return 58
	}
	return 1
}

func vectorH(t *testing.T, esn bool) (sa ipsec.SA, pkt []byte, icv map[string]string) {
	b := readBlocks(t)["V-H"]
	if b == nil {
		t.Fatal("V-H is missing in testdata/rfc.txt")
	}
	pkt = unhex(t, b["packet"])
	return ipsec.SA{
		ID:        ipsec.SAID{Proto: ipsec.AH, SPI: ipsec.SPI(binary.BigEndian.Uint32(pkt[24:])), Dst: netip.AddrFrom4([4]byte(pkt[16:20]))},
		Transform: ipsec.Transform{Integ: 12, ESN: esn},
		IntegKey:  ipsec.NewSecret(unhex(t, b["key"])),
		Replay:    64,
	}, pkt, b
}

func TestVectorH(t *testing.T) {
	for _, esn := range []bool{false, true} {
		sa, pkt, b := vectorH(t, esn)
		out, err := NewAHOut(sa)
		if err != nil {
			t.Fatal(err)
		}
		seq, want := uint64(1), b["icv"]
		if esn {
			seq, want = 1<<32+1, b["icv_esn1"]
		}
		if err := out.Seal(new(Scratch), pkt, 20, seq, 1); err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(pkt[32:48]); got != want {
			t.Errorf("ESN %v: ICV %s, want %s", esn, got, want)
		}
		if !esn && !bytes.Equal(pkt, unhex(t, b["packet"])) {
			t.Errorf("packet %x", pkt)
		}
		in, _ := NewAHIn(sa)
		in.window.Update(seq - 1)
		if size, next, err := openAH(in, pkt); err != nil || size != 28 || next != 1 {
			t.Errorf("open: %d octets, next %d, %v", size, next, err)
		}
	}
}

// ESP-32: each bit of the packet flipped in turn; only those of mutable fields
// may pass.
func TestESP32MutableBits(t *testing.T) {
	sa, pkt, _ := vectorH(t, false)
	// Mutable: TOS, flags and fragment offset, TTL, checksum. Setting MF or
	// an offset makes a fragment, which is refused; reserved and DF pass.
	mutable := func(bit int) bool {
		at := bit / 8
		return at == 1 || at == 6 && bit%8 >= 6 || at == 8 || at == 10 || at == 11
	}
	for bit := range len(pkt) * 8 {
		in, _ := NewAHIn(sa)
		bad := bytes.Clone(pkt)
		bad[bit/8] ^= 1 << (bit % 8)
		_, _, err := in.Open(new(Scratch), bad, 20, uint64(binary.BigEndian.Uint32(bad[28:])))
		if (err == nil) != mutable(bit) {
			t.Errorf("octet %d bit %d: %v", bit/8, bit%8, err)
		}
	}
}

// ah6 is an IPv6 packet with the given extension headers in front of AH.
func ah6(out *AHOut, first uint8, exts ...[]byte) (pkt []byte, at int) {
	pkt = make([]byte, 40)
	pkt[0], pkt[1], pkt[6], pkt[7] = 0x6a, 0x5b, first, 64
	copy(pkt[8:], octets(32, 1))
	for _, e := range exts {
		pkt = append(pkt, e...)
	}
	at = len(pkt)
	pkt = append(pkt, make([]byte, out.HeadLen())...)
	pkt = append(pkt, "the payload"...)
	binary.BigEndian.PutUint16(pkt[4:], uint16(len(pkt)-40))
	return pkt, at
}

// ESP-32: extension headers and their options.
func TestESP32IPv6(t *testing.T) {
	sa := ipsec.SA{
		ID:        ipsec.SAID{Proto: ipsec.AH, SPI: 0x1234, Dst: netip.IPv6LinkLocalAllNodes()},
		Transform: ipsec.Transform{Integ: 12},
		IntegKey:  ipsec.NewSecret(octets(32, 2)),
		Replay:    64,
	}
	out, err := NewAHOut(sa)
	if err != nil || out.HeadLen() != 32 {
		t.Fatalf("head %d, %v", out.HeadLen(), err)
	}
	hop := []byte{60, 0, 0x05, 2, 0, 0, 1, 0}  // router alert (may not change), PadN
	dest := []byte{43, 0, 0x3e, 3, 7, 8, 9, 0} // an option that may change, Pad1
	route := []byte{51, 0, 4, 0, 0, 0, 0, 0}   // no segments left
	pkt, at := ah6(out, 0, hop, dest, route)
	if err := out.Seal(new(Scratch), pkt, at, 1, 17); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		at   int
		ok   bool
	}{
		{"nothing", -1, true},
		{"traffic class", 1, true},
		{"flow label", 3, true},
		{"hop limit", 7, true},
		{"payload length", 5, false},
		{"source", 8, false},
		{"destination", 39, false},
		{"router alert", 44, false},
		{"changing option", 52, true},
		{"its type", 50, false},
		{"its length", 51, false},
		{"routing type", 58, false},
		{"payload", len(pkt) - 1, false},
		{"reserved of AH", at + 2, false},
		{"padding of ICV", at + 31, false},
	} {
		in, err := NewAHIn(sa)
		if err != nil {
			t.Fatal(err)
		}
		bad := bytes.Clone(pkt)
		if c.at >= 0 {
			bad[c.at] ^= 1
		}
		size, next, err := in.Open(new(Scratch), bad, at, 1)
		if c.ok != (err == nil) || c.ok && (size != 32 || next != 17) {
			t.Errorf("%s: %d octets, next %d, %v", c.name, size, next, err)
		}
	}
	for name, exts := range map[string][][]byte{
		"segments left":     {{51, 0, 4, 1, 0, 0, 0, 0}},
		"header beyond AH":  {{51, 1, 4, 0, 0, 0, 0, 0}},
		"half a header":     {{51, 0, 4, 0}},
		"not leading to AH": {{17, 0, 4, 0, 0, 0, 0, 0}},
	} {
		pkt, at := ah6(out, protoRouting, exts...)
		if err := out.Seal(new(Scratch), pkt, at, 1, 17); err != ErrHeader {
			t.Errorf("%s: %v", name, err)
		}
	}
	frag, at := ah6(out, protoFragment, []byte{51, 0, 0, 1, 0, 0, 0, 9})
	if err := out.Seal(new(Scratch), frag, at, 1, 17); err != ErrHeader {
		t.Errorf("fragment: %v", err)
	}
}

// ESP-32: IPv4 options. Immutable ones count, mutable ones are zeroed whole.
func TestESP32Options(t *testing.T) {
	sa, _, _ := vectorH(t, false)
	out, err := NewAHOut(sa)
	if err != nil {
		t.Fatal(err)
	}
	build := func(opts []byte) (pkt []byte, at int) {
		at = 20 + len(opts)
		pkt = make([]byte, at+out.HeadLen()+8)
		pkt[0], pkt[9] = 0x40|byte(at/4), protoAH
		copy(pkt[12:], octets(8, 1))
		copy(pkt[20:], opts)
		return pkt, at
	}
	for _, c := range []struct {
		name    string
		opts    []byte
		mutable bool
	}{
		{"router alert", []byte{148, 4, 0, 0}, false},
		{"security", []byte{130, 3, 9, 0}, false},
		{"record route", []byte{7, 7, 4, 1, 2, 3, 4, 0}, true},
		{"timestamp", []byte{68, 8, 5, 0, 1, 2, 3, 4}, true},
		{"unknown", []byte{99, 4, 5, 6}, true},
		{"after no-operation", []byte{1, 1, 1, 1, 99, 4, 5, 6}, true},
	} {
		pkt, at := build(c.opts)
		if err := out.Seal(new(Scratch), pkt, at, 1, 17); err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		in, _ := NewAHIn(sa)
		if _, _, err := in.Open(new(Scratch), pkt, at, 1); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		pkt[at-2] ^= 1 // inside the option's data
		if _, _, err := in.Open(new(Scratch), pkt, at, 1); (err == nil) != c.mutable {
			t.Errorf("%s, changed: %v", c.name, err)
		}
	}
	for name, opts := range map[string][]byte{
		"length 0": {99, 0, 0, 0}, "length 1": {99, 1, 0, 0}, "too long": {99, 5, 0, 0}, "no length": {1, 1, 1, 99},
	} {
		pkt, at := build(opts)
		if err := out.Seal(new(Scratch), pkt, at, 1, 17); err != ErrHeader {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A source route: the ICV covers the destination at which it ends.
func TestAHSourceRoute(t *testing.T) {
	sa, _, _ := vectorH(t, false)
	out, err := NewAHOut(sa)
	if err != nil {
		t.Fatal(err)
	}
	pkt := make([]byte, 32+out.HeadLen()+8)
	pkt[0], pkt[9] = 0x48, protoAH
	copy(pkt[16:], []byte{192, 0, 2, 1})
	copy(pkt[20:], []byte{131, 11, 4, 192, 0, 2, 2, 192, 0, 2, 3, 0})
	if err := out.Seal(new(Scratch), pkt, 32, 1, 17); err != nil {
		t.Fatal(err)
	}
	// We are asked to verify only where the route ends: midway the packet is
	// not for us, although its ICV is right for the end.
	early, _ := NewAHIn(sa)
	if _, _, err := early.Open(new(Scratch), pkt, 32, 1); err != ErrAuth {
		t.Errorf("midway: %v", err)
	}
	// Both hops done: the pointer is behind the end, the visited recorded.
	copy(pkt[16:], []byte{192, 0, 2, 3})
	copy(pkt[20:], []byte{131, 11, 12, 192, 0, 2, 1, 192, 0, 2, 2, 0})
	in, _ := NewAHIn(sa)
	if _, _, err := in.Open(new(Scratch), pkt, 32, 1); err != nil {
		t.Errorf("at the end of the route: %v", err)
	}
}

func TestAHWrongLengths(t *testing.T) {
	sa, pkt, _ := vectorH(t, false)
	in, err := NewAHIn(sa)
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(pkt) {
		if _, _, err := in.Open(new(Scratch), pkt[:n], 20, 1); err == nil {
			t.Errorf("cut to %d octets: accepted", n)
		}
	}
	for length := range 256 {
		bad := bytes.Clone(pkt)
		bad[21] = byte(length)
		if _, _, err := in.Open(new(Scratch), bad, 20, 1); (err == nil) != (length == 5) {
			t.Errorf("length field %d: %v", length, err)
		}
	}
}

func TestTransportOffset(t *testing.T) {
	v6 := func(first uint8, rest ...byte) []byte {
		pkt := make([]byte, 40)
		pkt[0], pkt[6] = 0x60, first
		return append(pkt, rest...)
	}
	v4 := func(ihl, flags byte) []byte {
		pkt := make([]byte, 60)
		pkt[0], pkt[6], pkt[9] = 0x40|ihl, flags, 6
		return pkt
	}
	hop, dst, rt := []byte{6, 0, 1, 4, 0, 0, 0, 0}, []byte{6, 0, 1, 4, 0, 0, 0, 0}, []byte{6, 0, 4, 0, 0, 0, 0, 0}
	chain := func(a []byte, next byte, b []byte) []byte {
		return append(append([]byte{next}, a[1:]...), b...)
	}
	for _, c := range []struct {
		name       string
		pkt        []byte
		at, nextAt int
		ok         bool
	}{
		{"IPv4", v4(5, 0x40), 20, 9, true},
		{"IPv4 with options", v4(15, 0), 60, 9, true},
		{"IPv4 with half a header", v4(4, 0), 0, 0, false},
		{"IPv4 fragment", v4(5, 0x20), 0, 0, false},
		{"IPv6", v6(6), 40, 6, true},
		{"hop-by-hop", v6(0, hop...), 48, 40, true},
		{"final destination options stay inside", v6(60, dst...), 40, 6, true},
		{"destination options before routing", v6(60, chain(dst, 43, rt)...), 56, 48, true},
		{"routing, then destination options", v6(43, chain(rt, 60, dst)...), 48, 40, true},
		{"fragment", v6(44, rt...), 0, 0, false},
		{"cut hop-by-hop", v6(0, hop[:7]...), 0, 0, false},
		{"hop-by-hop with a lie", v6(0, 6, 9, 1, 4, 0, 0, 0, 0), 0, 0, false},
		{"nothing", nil, 0, 0, false},
		{"version 5", bytes.Repeat([]byte{0x55}, 60), 0, 0, false},
	} {
		at, nextAt, ok := TransportOffset(c.pkt)
		if ok != c.ok || ok && (at != c.at || nextAt != c.nextAt) {
			t.Errorf("%s: %d, %d, %v, want %d, %d, %v", c.name, at, nextAt, ok, c.at, c.nextAt, c.ok)
		}
	}
}

func TestAHNoAllocations(t *testing.T) {
	sa, pkt, _ := vectorH(t, false)
	out, err := NewAHOut(sa)
	if err != nil {
		t.Fatal(err)
	}
	in, _ := NewAHIn(sa)
	s := new(Scratch)
	bad := bytes.Clone(pkt)
	bad[1] = 0x45
	bad[0] = 0x46 // a header that does not fit
	step := func() {
		if err := out.Seal(s, pkt, 20, 1, 1); err != nil {
			t.Fatal(err)
		}
		if _, _, err := in.Open(s, pkt, 20, 1); err != nil {
			t.Fatal(err)
		}
		in.Open(s, bad, 20, 1)
	}
	step()
	if n := testing.AllocsPerRun(100, step); n != 0 {
		t.Errorf("%v allocations per packet", n)
	}
}

// FuzzAH: no header makes opening panic or change the packet, and what our
// side seals opens.
func FuzzAH(f *testing.F) {
	for _, s := range readKernel(f, "kernel-ah.txt") {
		if strings.HasSuffix(s.name, "/ah-sha256") {
			f.Add(s.sas[0].pkts[0], uint8(ahAt(s.sas[0].pkts[0])))
		}
	}
	sa := ipsec.SA{
		ID:        ipsec.SAID{Proto: ipsec.AH, SPI: 0x1234, Dst: netip.AddrFrom4([4]byte{192, 0, 2, 1})},
		Transform: ipsec.Transform{Integ: 12},
		IntegKey:  ipsec.NewSecret(octets(32, 2)),
		Replay:    64,
	}
	f.Fuzz(func(t *testing.T, input []byte, at uint8) {
		pkt := bytes.Clone(input) // the fuzzer keeps what it gave us
		TransportOffset(pkt)
		in, err := NewAHIn(sa)
		if err != nil {
			t.Fatal(err)
		}
		before := bytes.Clone(pkt)
		if _, _, err := in.Open(new(Scratch), pkt, int(at), 1); err == nil {
			t.Fatal("a packet that nobody sealed opened")
		}
		if !bytes.Equal(pkt, before) {
			t.Fatal("Open changed the packet")
		}
		out, _ := NewAHOut(sa)
		if err := out.Seal(new(Scratch), pkt, int(at), 1, 17); err != nil {
			return
		}
		if hasRoute(pkt[:at]) {
			return // opens only at the end of its route
		}
		if pkt[0]>>4 == 6 && out.HeadLen()%8 != 0 {
			return // an SA of IPv4 sealing IPv6
		}
		if _, _, err := in.Open(new(Scratch), pkt, int(at), 1); err != nil {
			t.Fatalf("what we sealed: %v", err)
		}
	})
}

// hasRoute reports whether an IPv4 header carries a source route, roughly.
func hasRoute(head []byte) bool {
	return head[0]>>4 == 4 && (bytes.IndexByte(head[20:], optLooseRoute) >= 0 || bytes.IndexByte(head[20:], optStrictRoute) >= 0)
}
