package esp

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"testing"

	"cygnet/internal/ipsec"
)

// modelWindow is the obvious window: it remembers every number it accepted,
// and computes with integers that have no edge.
type modelWindow struct {
	size int
	top  *big.Int
	seen map[string]bool
}

func newModel(size int) *modelWindow {
	return &modelWindow{size, new(big.Int), map[string]bool{}}
}

func (m *modelWindow) check(seq *big.Int) error {
	if m.size == 0 {
		return nil
	}
	bottom := new(big.Int).Sub(m.top, big.NewInt(int64(m.size-1)))
	switch {
	case seq.Sign() == 0 || m.seen[seq.String()] && seq.Cmp(bottom) >= 0:
		return ErrReplay
	case seq.Cmp(bottom) < 0:
		return ErrLate
	}
	return nil
}

func (m *modelWindow) update(seq *big.Int) {
	m.seen[seq.String()] = true
	if seq.Cmp(m.top) > 0 {
		m.top.Set(seq)
	}
}

// extend tries the subspaces around the top and takes the one in whose window
// or to whose right the number lies, nearest above the bottom.
func (m *modelWindow) extend(low uint32) (*big.Int, bool) {
	bottom := new(big.Int).Sub(m.top, big.NewInt(int64(m.size-1)))
	space := new(big.Int).Rsh(m.top, 32)
	for d := int64(-1); d <= 1; d++ {
		high := new(big.Int).Add(space, big.NewInt(d))
		seq := new(big.Int).Lsh(high, 32)
		seq.Add(seq, big.NewInt(int64(low)))
		if seq.Cmp(bottom) >= 0 {
			return seq, high.Sign() >= 0 && high.BitLen() <= 32
		}
	}
	panic("unreachable: the next subspace lies to the right of every window")
}

func bigOf(n uint64) *big.Int { return new(big.Int).SetUint64(n) }

// both feeds seq to window and model, and reports where they differ.
func both(t testing.TB, w *Window, m *modelWindow, seq uint64) {
	got, want := w.Check(seq), m.check(bigOf(seq))
	// A number that left the window after it was seen is late for us.
	if got != want {
		t.Fatalf("size %d, top %d: Check(%d) = %v, want %v", m.size, w.Top(), seq, got, want)
	}
	if got != nil {
		return
	}
	newest := bigOf(seq).Cmp(m.top) > 0
	m.update(bigOf(seq))
	if w.Update(seq) != newest || bigOf(w.Top()).Cmp(m.top) != 0 {
		t.Fatalf("size %d: Update(%d): top %d, want %s", m.size, seq, w.Top(), m.top)
	}
}

// ESP-20: all arrival orders of 6 packets, with gaps, windows 1 to 64.
func TestESP20AllArrivals(t *testing.T) {
	steps := [][]uint64{
		{1, 2, 3, 4, 5, 6},
		{1, 3, 6, 31, 64, 65},
		{2, 63, 64, 65, 127, 128},
		{0, 1, 2, 2, 190, 4000},
		{1<<32 - 2, 1<<32 - 1, 1 << 32, 1<<32 + 1, 1<<32 + 60, 1<<32 + 64},
	}
	for size := 1; size <= 64; size++ {
		for _, set := range steps {
			permute(set, func(order []uint64) {
				w, m := NewWindow(size), newModel(size)
				if set[0] > 1<<31 {
					w.Update(set[0] - 1)
					m.update(bigOf(set[0] - 1))
				}
				for _, seq := range order {
					both(t, &w, m, seq)
				}
			})
		}
	}
}

// permute calls f with every order of s.
func permute(s []uint64, f func([]uint64)) {
	p := append([]uint64(nil), s...)
	var rec func(int)
	rec = func(k int) {
		if k == len(p) {
			f(p)
			return
		}
		for i := k; i < len(p); i++ {
			p[k], p[i] = p[i], p[k]
			rec(k + 1)
			p[k], p[i] = p[i], p[k]
		}
	}
	rec(0)
}

// Exhaustive: every sequence of 5 arrivals out of 8 numbers, small windows.
func TestRPLYExhaustive(t *testing.T) {
	const numbers, length = 8, 5
	for size := range 6 {
		for code := range 1 << (3 * length) {
			w, m := NewWindow(size), newModel(size)
			for i := range length {
				both(t, &w, m, uint64(code>>(3*i)%numbers))
			}
		}
	}
}

// Random walks over windows of every kind, steps from 1 to far beyond the ring.
func TestRPLYRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{1, 2, 31, 32, 33, 63, 64, 65, 127, 128, 129, 1000, 2048, 4096, 8191, 8192} {
		for _, start := range []uint64{0, 1<<32 - 100, 1<<63 - 1, 1<<64 - 30000} {
			w, m := NewWindow(size), newModel(size)
			w.Update(start)
			m.update(bigOf(start))
			for range 3000 {
				around := w.Top() + uint64(r.IntN(2*size+8))
				seq := around - min(around, uint64(size+4))
				if r.IntN(200) == 0 {
					seq = w.Top() + uint64(r.IntN(3*8192))
				}
				if seq < w.Top() && start > 1<<63 && seq < start/2 {
					continue // wrapped
				}
				both(t, &w, m, seq)
			}
		}
	}
}

// ESP-11: the high half, exhaustively around every edge, against the integers.
func TestESP11Extend(t *testing.T) {
	const space = 1 << 32
	for _, size := range []int{1, 2, 3, 64, 65, 4096, 8192} {
		n := uint64(size)
		for _, base := range []uint64{0, 1 * space, 2 * space, 7 * space, (space - 1) * space} {
			for _, off := range []uint64{0, 1, 2, n - 2, n - 1, n, n + 1, 1 << 31, space - n, space - 2, space - 1} {
				top := base + off%space
				w, m := NewWindow(size), newModel(size)
				w.top = top
				m.top = bigOf(top)
				for _, mid := range []uint64{0, top, top - n, top + n, top - n/2, 1 << 31, top + 1<<31} {
					for d := range uint64(5) {
						low := uint32(mid + d - 2)
						got, ok := w.Extend(low)
						want, wantOK := m.extend(low)
						if ok != wantOK || ok && bigOf(got).Cmp(want) != 0 {
							t.Fatalf("size %d, top %#x: Extend(%#x) = %#x, %v, want %#x, %v", size, top, low, got, ok, want, wantOK)
						}
					}
				}
			}
		}
	}
}

func TestWindowSizeZero(t *testing.T) {
	var w Window
	for _, seq := range []uint64{5, 5, 0, 3} {
		if err := w.Check(seq); err != nil {
			t.Errorf("Check(%d) = %v", seq, err)
		}
		w.Update(seq)
	}
	if w.Top() != 5 || w.Bits() != 0 {
		t.Errorf("top %d, bits %x", w.Top(), w.Bits())
	}
}

func TestWindowBits(t *testing.T) {
	w := NewWindow(64)
	for _, seq := range []uint64{1, 2, 4, 70} {
		w.Update(seq)
	}
	// 70 is bit 0; 4, 2 and 1 have left or are 66 below.
	if w.Bits() != 1 {
		t.Errorf("bits %x, want 1", w.Bits())
	}
	w.Update(68)
	w.Update(7)
	if got, want := w.Bits(), uint64(1|1<<2|1<<63); got != want {
		t.Errorf("bits %x, want %x", got, want)
	}
}

func BenchmarkWindow(b *testing.B) {
	for _, size := range []int{64, 2048, 8192} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			w := NewWindow(size)
			seq := uint64(0)
			for b.Loop() {
				seq++
				if w.Check(seq) == nil {
					w.Update(seq)
				}
			}
		})
	}
}

// FuzzWindow: any arrivals, any size, against the model.
func FuzzWindow(f *testing.F) {
	f.Add(uint16(64), []byte{1, 2, 3, 3, 200, 5})
	f.Fuzz(func(t *testing.T, size uint16, steps []byte) {
		n := int(size) % (MaxWindow + 1)
		w, m := NewWindow(n), newModel(n)
		for _, s := range steps {
			d := uint64(s & 0x3f)
			switch s >> 6 { // forward, back, far forward, far back
			case 0:
				both(t, &w, m, w.Top()+d)
			case 1:
				both(t, &w, m, w.Top()-min(d, w.Top()))
			case 2:
				both(t, &w, m, w.Top()+d*uint64(n))
			case 3:
				both(t, &w, m, w.Top()-min(d*uint64(n)/32, w.Top()))
			}
		}
	})
}

// ESP-08, ESP-09, ESP-10, ESP-19 at a window of 64.
func TestESP08To10Replay(t *testing.T) {
	out, in := testSuites[0].pair(t)
	s := new(Scratch)
	pkt := func(seq uint64) []byte {
		return out.Seal(s, make([]byte, out.SealedLen(4)), seq, 4, []byte("data"), 0)
	}
	for _, c := range []struct {
		id   string
		seq  uint64
		want error
	}{
		{"ESP-08 zero", 0, ErrReplay},
		{"first", 1000, nil},
		{"ESP-09 twice", 1000, ErrReplay},
		{"ESP-10 top-W+1", 1000 - 63, nil},
		{"ESP-10 top-W", 1000 - 64, ErrLate},
		{"ESP-10 top+1", 1001, nil},
		{"ESP-19 far behind", 5, ErrLate},
		{"ESP-10 top+2^31", 1001 + 1<<31, nil},
		{"and all before is late", 1001, ErrLate},
	} {
		before := in.Stats()
		_, _, err := deliver(in, s, pkt(c.seq))
		if (err == nil) != (c.want == nil) {
			t.Errorf("%s: %v, want %v", c.id, err, c.want)
		}
		after := in.Stats()
		if got := after.Replay - before.Replay; (got == 1) != (c.want == ErrReplay) {
			t.Errorf("%s: replay counter moved by %d", c.id, got)
		}
		if got := after.Late - before.Late; (got == 1) != (c.want == ErrLate) {
			t.Errorf("%s: late counter moved by %d", c.id, got)
		}
	}
	if got := in.Stats().MaxGap; got != 1<<31 {
		t.Errorf("MaxGap %d, want 2^31", got)
	}
}

// ESP-10, second half, and ESP-12: a forged number far ahead, with and without
// ESN, does not move the window, because its ICV fails.
func TestESP12ForgedFuture(t *testing.T) {
	for _, ts := range testSuites {
		if ts.encr == 12 && ts.integ == 0 {
			continue // nothing protects the number
		}
		out, in := ts.pair(t)
		s := new(Scratch)
		if _, _, err := deliver(in, s, seal(t, out, []byte("data"), 4)); err != nil {
			t.Fatal(err)
		}
		for _, ahead := range []uint32{2, 1 << 31, 1<<32 - 100} {
			pkt := seal(t, out, []byte("data"), 4)
			pkt[4], pkt[5], pkt[6], pkt[7] = byte(ahead>>24), byte(ahead>>16), byte(ahead>>8), byte(ahead)
			if ahead == 2 {
				pkt[len(pkt)-1] ^= 1
			}
			if _, _, err := deliver(in, s, pkt); err == nil {
				t.Errorf("%s: forged %d accepted", ts.name, ahead)
			}
			if in.Top() != 1 {
				t.Errorf("%s: forged %d moved the window to %d", ts.name, ahead, in.Top())
			}
		}
	}
}

// ESP-11, whole packets: a sender crosses 2^32 with every window layout.
func TestESP11Rollover(t *testing.T) {
	for _, ts := range testSuites {
		if !ts.esn {
			continue
		}
		t.Run(ts.name, func(t *testing.T) {
			out, in := ts.pair(t)
			const start = 1<<32 - 200
			out.last.Store(start)
			in.window.Update(start)
			s := new(Scratch)
			var held []byte
			for n := range 400 {
				pkt := seal(t, out, []byte("data"), 4)
				if n%7 == 3 { // one in seven comes 4 later
					held = pkt
					continue
				}
				if _, _, err := deliver(in, s, pkt); err != nil {
					t.Fatalf("packet %d: %v", n, err)
				}
				if n%7 == 0 && held != nil {
					if _, _, err := deliver(in, s, held); err != nil {
						t.Fatalf("held packet before %d: %v", n, err)
					}
					held = nil
				}
			}
			if in.Top() != start+400 {
				t.Errorf("top %#x", in.Top())
			}
		})
	}
}

// ESP-13 and ESP-36: the number space and the hard limit end exactly where
// they end, also for batches, and never wrap.
func TestESP13Exhausted(t *testing.T) {
	for _, c := range []struct {
		name  string
		esn   bool
		hard  uint64
		start uint64
		last  uint64
	}{
		{"32 bits", false, 0, 1<<32 - 11, 1<<32 - 1},
		{"64 bits", true, 0, 1<<64 - 11, 1<<64 - 1},
		{"hard limit", false, 50, 40, 50},
		{"hard limit beyond the space", false, 1 << 40, 1<<32 - 11, 1<<32 - 1},
	} {
		sa := testSuites[0].sa(ipsec.Out)
		sa.Transform.ESN = c.esn
		sa.Life.HardPackets = c.hard
		out, err := NewOut(sa, nil)
		if err != nil {
			t.Fatal(err)
		}
		out.last.Store(c.start)
		if _, err := out.Reserve(int(c.last-c.start) + 1); err != ErrExhausted {
			t.Errorf("%s: one too many: %v", c.name, err)
		}
		if first, err := out.Reserve(int(c.last - c.start)); err != nil || first != c.start+1 {
			t.Errorf("%s: the rest: %d, %v", c.name, first, err)
		}
		for range 3 {
			if _, err := out.Reserve(1); err != ErrExhausted {
				t.Errorf("%s: beyond the end: %v", c.name, err)
			}
		}
		if _, err := out.Reserve(-1); err == nil {
			t.Errorf("%s: a negative batch", c.name)
		}
		if out.Last() != c.last {
			t.Errorf("%s: last %d", c.name, out.Last())
		}
	}
}
