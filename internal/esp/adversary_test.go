package esp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"

	"cygnet/internal/ipsec"
)

// ESP-01: every length up to the smallest legal packet, and some beyond.
func TestESP01Short(t *testing.T) {
	forAll(t, func(t *testing.T, out *Out, in *In) {
		good := seal(t, out, octets(64, 1), 4)
		s := new(Scratch)
		for n := range len(good) {
			pkt := bytes.Clone(good[:n])
			_, seqOK := in.Sequence(pkt)
			_, _, err := in.Open(s, pkt, 1)
			if n < out.HeadLen()+2+out.sizes.icv && (seqOK || err != ErrShort) {
				t.Fatalf("%d octets: sequence %v, open %v", n, seqOK, err)
			}
			if out.sizes.icv > 0 && err == nil {
				t.Fatalf("%d of %d octets: accepted", n, len(good))
			}
		}
		if in.Stats().Short == 0 {
			t.Error("nothing counted as short")
		}
	})
}

// ESP-04: each single bit of a packet flipped; the window does not move.
func TestESP04BitFlips(t *testing.T) {
	forAll(t, func(t *testing.T, out *Out, in *In) {
		if out.sizes.icv == 0 {
			return
		}
		s := new(Scratch)
		out.last.Store(100)
		good := seal(t, out, octets(40, 1), 4)
		for bit := range len(good) * 8 {
			pkt := bytes.Clone(good)
			pkt[bit/8] ^= 1 << (bit % 8)
			if _, _, err := deliver(in, s, pkt); err == nil {
				t.Fatalf("bit %d: accepted", bit)
			}
		}
		if st := in.Stats(); in.Top() != 0 || st.Pad != 0 || st.Auth+st.Late+st.Replay != uint64(len(good)*8) {
			t.Errorf("top %d, %+v", in.Top(), st)
		}
		if _, _, err := deliver(in, s, good); err != nil {
			t.Errorf("the packet itself: %v", err)
		}
	})
}

// ESP-05: a good ICV over a bad trailer.
func TestESP05Padding(t *testing.T) {
	for _, c := range []struct {
		name string
		tail []byte // of the decrypted body
		ok   bool
	}{
		{"none", []byte{9, 9, 9, 9, 0, 4}, true},
		{"1 2 3", []byte{9, 1, 2, 3, 3, 4}, true},
		{"wrong first", []byte{9, 0, 2, 3, 3, 4}, false},
		{"wrong last", []byte{9, 1, 2, 4, 3, 4}, false},
		{"zeros", []byte{9, 0, 0, 0, 3, 4}, false},
		{"longer than the payload", []byte{9, 9, 9, 9, 200, 4}, false},
		{"the whole body", []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 14, 4}, true},
		{"one more than the body", []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 4}, false},
	} {
		forAll(t, func(t *testing.T, out *Out, in *In) {
			body := bytes.Repeat([]byte{9}, 16-len(c.tail))
			body = append(body, c.tail...)
			pkt := sealBody(out, body)
			_, _, err := in.Open(new(Scratch), pkt, 1)
			if c.ok != (err == nil) || !c.ok && err != ErrPad {
				t.Errorf("%s: %v", c.name, err)
			}
			if want := map[bool]uint64{true: 0, false: 1}[c.ok]; in.Stats().Pad != want {
				t.Errorf("%s: %+v", c.name, in.Stats())
			}
		})
	}
}

// sealBody makes packet 1 of out around a body whose trailer is the caller's.
func sealBody(out *Out, body []byte) []byte {
	pkt := make([]byte, out.sizes.head+len(body)+out.sizes.icv)
	binary.BigEndian.PutUint32(pkt, out.spi)
	pkt[7] = 1
	switch tr := out.transform.(type) {
	case *aead:
		pkt[15] = 1
		copy(pkt[16:], tr.Seal(nil, tr.nonce(new(Scratch), pkt), body, tr.additional(new(Scratch), pkt, 1)))
	case *gmac:
		pkt[15] = 1
		copy(pkt[16:], body)
		end := 16 + len(body)
		tr.Seal(pkt[end:end], tr.nonce(new(Scratch), pkt), nil, tr.covered(new(Scratch), pkt[:end], 1))
	case *cbc:
		st := tr.states.take()
		b := pkt[out.sizes.head : out.sizes.head+len(body)]
		copy(b, body)
		if tr.block != nil {
			st.encrypter(tr.block, pkt[8:out.sizes.head]).CryptBlocks(b, b)
		}
		end := len(pkt) - tr.icv
		if st.mac != nil {
			copy(pkt[end:], tr.sum(new(Scratch), st, pkt[:end], 1))
		}
	}
	return pkt
}

// ESP-06: a dummy packet opens like any other; its next header says so.
func TestESP06Dummy(t *testing.T) {
	forAll(t, func(t *testing.T, out *Out, in *In) {
		payload, next, err := deliver(in, new(Scratch), seal(t, out, octets(33, 1), 59))
		if err != nil || next != 59 || len(payload) != 33 {
			t.Errorf("%d octets, next %d, %v", len(payload), next, err)
		}
	})
}

// ESP-14: the high half is authenticated though it does not travel.
func TestESP14HighHalf(t *testing.T) {
	forAll(t, func(t *testing.T, out *Out, in *In) {
		if out.sizes.icv == 0 {
			return
		}
		good := seal(t, out, octets(20, 1), 4)
		s := new(Scratch)
		_, _, err := in.Open(s, bytes.Clone(good), 1<<32|1)
		if in.esn && err != ErrAuth || !in.esn && err != nil {
			t.Errorf("opened with high half 1: %v", err)
		}
		if _, _, err := in.Open(s, good, 1); err != nil {
			t.Errorf("opened with high half 0: %v", err)
		}
	})
}

// ESP-18: workers on both sides of one SA, each with batches shuffled inside
// the window; every packet is delivered exactly once although each arrives
// twice. Run with -race.
func TestESP18Concurrent(t *testing.T) {
	const workers, batches, batch = 8, 20, 64
	for _, name := range []string{"gcm16-256-esn", "aes128-sha1"} {
		for _, ts := range testSuites {
			if ts.name != name {
				continue
			}
			sa := ts.sa(ipsec.Out)
			out, err := NewOut(sa, bytes.NewReader(octets(16, 3)))
			if err != nil {
				t.Fatal(err)
			}
			sa.Dir, sa.Replay = ipsec.In, MaxWindow
			in, err := NewIn(sa)
			if err != nil {
				t.Fatal(err)
			}
			delivered := runWorkers(t, out, in, workers, batches, batch)
			for seq := 1; seq <= workers*batches*batch; seq++ {
				if delivered[seq] != 1 {
					t.Fatalf("%s: packet %d was delivered %d times", name, seq, delivered[seq])
				}
			}
		}
	}
}

func runWorkers(t *testing.T, out *Out, in *In, workers, batches, batch int) map[int]int {
	var mu sync.Mutex // of the In, as package klips holds one
	var wg sync.WaitGroup
	delivered := map[int]int{}
	for round := range batches { // nobody is further ahead of another than the window
		for w := range workers {
			wg.Add(1)
			go func() {
				defer wg.Done()
				s := new(Scratch)
				r := rand.New(rand.NewPCG(uint64(w), uint64(round)))
				pkts := make([][]byte, 0, 2*batch)
				first, err := out.Reserve(batch)
				if err != nil {
					t.Error(err)
					return
				}
				for i := range batch {
					seq := first + uint64(i)
					var payload [8]byte
					binary.BigEndian.PutUint64(payload[:], seq)
					pkt := out.Seal(s, make([]byte, out.SealedLen(8)), seq, 4, payload[:], 0)
					pkts = append(pkts, pkt, bytes.Clone(pkt))
				}
				r.Shuffle(len(pkts), func(i, j int) { pkts[i], pkts[j] = pkts[j], pkts[i] })
				receive(t, &mu, in, s, pkts, delivered)
			}()
		}
		wg.Wait()
	}
	return delivered
}

// receive takes a batch in as the package comment says.
func receive(t *testing.T, mu *sync.Mutex, in *In, s *Scratch, pkts [][]byte, delivered map[int]int) {
	seqs := make([]uint64, len(pkts))
	oks := make([]bool, len(pkts))
	mu.Lock()
	for i, pkt := range pkts {
		seqs[i], oks[i] = in.Sequence(pkt)
	}
	mu.Unlock()
	payloads := make([][]byte, len(pkts))
	for i, pkt := range pkts {
		if !oks[i] {
			continue
		}
		payload, _, err := in.Open(s, pkt, seqs[i])
		if err != nil {
			t.Errorf("packet %d: %v", seqs[i], err)
		}
		payloads[i] = payload
	}
	mu.Lock()
	defer mu.Unlock()
	for i, payload := range payloads {
		if payload == nil {
			continue
		}
		if _, err := in.Accept(seqs[i]); err == nil {
			delivered[int(binary.BigEndian.Uint64(payload))]++
		}
	}
}

// ESP-38: sealing from a payload that is not borrowed, and opening, write to
// nothing outside dst and pkt.
func TestESP38NoStrayWrites(t *testing.T) {
	forAll(t, func(t *testing.T, out *Out, in *In) {
		for n := range 70 {
			field := bytes.Repeat([]byte{0xa5}, 400)
			payload := field[10 : 10+n]
			size := out.SealedLen(n)
			dst := field[120 : 120+size]
			pkt := out.Seal(new(Scratch), dst, uint64(n)+1, 4, payload, 0)
			if _, _, err := deliver(in, new(Scratch), pkt); err != nil {
				t.Fatalf("%d octets: %v", n, err)
			}
			for i, b := range field {
				if b != 0xa5 && (i < 120 || i >= 120+size) {
					t.Fatalf("%d octets: octet %d written, dst is %d to %d", n, i, 120, 120+size)
				}
			}
		}
	})
}

// Nothing allocates per packet, on the good path and on the bad ones. The one
// exception is GCM with a tag of 8 octets, which the standard library refuses.
func TestNoAllocations(t *testing.T) {
	forAll(t, func(t *testing.T, out *Out, in *In) {
		if out.sizes.icv == 8 {
			t.Skip("GCM with a short tag opens by sealing twice")
		}
		s := &Scratch{Borrow: true}
		buf := octets(1500, 1)
		dst := make([]byte, 2000)
		first, _ := out.Reserve(1000)
		step := func() {
			pkt := out.Seal(s, dst, first, 4, buf[:1400], 0)
			first++
			seq, _ := in.Sequence(pkt)
			if _, _, err := in.Open(s, pkt, seq); err != nil {
				t.Fatal(err)
			}
			in.Accept(seq)
			in.Sequence(pkt) // replayed
			pkt[len(pkt)-1] ^= 1
			in.Open(s, pkt, seq) // forged
			in.Open(s, pkt[:10], 1)
		}
		step() // makes the states and buffers that are kept
		if n := testing.AllocsPerRun(100, step); n != 0 {
			t.Errorf("%v allocations per packet", n)
		}
	})
}

func TestErrorsAreDistinct(t *testing.T) {
	all := []error{ErrShort, ErrAuth, ErrReplay, ErrLate, ErrPad, ErrExhausted, ErrHeader}
	for i, a := range all {
		for j, b := range all {
			if errors.Is(a, b) != (i == j) {
				t.Errorf("%v and %v", a, b)
			}
		}
	}
}

// CRY-23: a packet with HMAC-SHA2-256 cut to 96 bits, as Linux once sent it, is not
// taken by an SA of the 128 bits of RFC 4868: neither as it is nor filled up.
func TestAdv_CRY_23_ShortICV(t *testing.T) {
	var ts testSuite
	for _, s := range testSuites {
		if s.name == "aes128-sha256" {
			ts = s
		}
	}
	out, in := ts.pair(t)
	for n, change := range []func(pkt []byte) []byte{
		func(pkt []byte) []byte { return pkt[:len(pkt)-4] },
		func(pkt []byte) []byte { return append(pkt[:len(pkt)-4], 0, 0, 0, 0) },
	} {
		pkt := change(seal(t, out, octets(40, uint64(n)), 4))
		if _, _, err := deliver(in, new(Scratch), pkt); err == nil {
			t.Errorf("packet %d is taken", n)
		}
	}
	if _, _, err := deliver(in, new(Scratch), seal(t, out, octets(40, 9), 4)); err != nil {
		t.Errorf("a packet with the whole ICV: %v", err)
	}
}
