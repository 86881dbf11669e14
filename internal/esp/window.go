package esp

// Window is the replay window of RFC 4303 section 3.4.3 over 64-bit sequence
// numbers: a ring of words in which moving right clears words instead of
// shifting bits. The zero value has size 0 and accepts everything. A caller
// that shares a Window serialises the calls.
type Window struct {
	top  uint64 // the largest sequence number accepted
	size uint64 // how many numbers up to and including top are remembered
	ring []uint64
}

// NewWindow returns a window of size packets, 0 to MaxWindow; others are
// clipped. Every size is exact, not only multiples of 64.
func NewWindow(size int) Window {
	size = min(max(size, 0), MaxWindow)
	if size == 0 {
		return Window{}
	}
	// size numbers touch at most ⌈size/64⌉+1 words. A power of two, so that
	// the place of a word is a mask and not a division.
	words := 1
	for words < (size+63)/64+1 {
		words *= 2
	}
	return Window{size: uint64(size), ring: make([]uint64, words)}
}

// Top returns the largest sequence number accepted so far, 0 before the first.
func (w *Window) Top() uint64 { return w.top }

// Size returns the size in packets.
func (w *Window) Size() int { return int(w.size) }

// Check tests seq without remembering it: nil, ErrReplay or ErrLate.
func (w *Window) Check(seq uint64) error {
	switch {
	case w.size == 0:
		return nil
	case seq > w.top:
		return nil
	case seq == 0: // RFC 4303, 3.3.3: the first packet has 1.
		return ErrReplay
	case w.top-seq >= w.size:
		return ErrLate
	case *w.word(seq)&(1<<(seq%64)) != 0:
		return ErrReplay
	}
	return nil
}

// Update remembers seq, which Check has passed in the same critical section
// and whose ICV verified. It reports whether seq is the newest so far.
func (w *Window) Update(seq uint64) (newest bool) {
	newest = seq > w.top
	if w.size == 0 {
		w.top = max(w.top, seq)
		return newest
	}
	if newest {
		fresh := min(seq/64-w.top/64, uint64(len(w.ring)))
		for i := range fresh {
			*w.word(seq - 64*i) = 0
		}
		w.top = seq
	}
	*w.word(seq) |= 1 << (seq % 64)
	return newest
}

// Bits returns the 64 newest bits, bit 0 for Top, as `ipsec spi` shows them.
func (w *Window) Bits() uint64 {
	var bits uint64
	for i := range min(w.size, 64, w.top) {
		seq := w.top - i
		bits |= *w.word(seq) >> (seq % 64) & 1 << i
	}
	return bits
}

func (w *Window) word(seq uint64) *uint64 {
	return &w.ring[seq/64&uint64(len(w.ring)-1)]
}

// Extend returns the 64-bit sequence number whose low half a packet carries
// and that lies nearest to the window, RFC 4303 appendix A2.2. It fails where
// that would be before the first or behind the last number of all. A window of
// size 0 guesses as one of size 1 does.
func (w *Window) Extend(low uint32) (seq uint64, ok bool) {
	const half = 1 << 32
	high := w.top &^ (half - 1)
	size := max(w.size, 1)
	bottom := uint32(w.top) - uint32(size) + 1 // left edge, modulo 2^32
	oneSubspace := uint64(uint32(w.top)) >= size-1
	switch {
	case oneSubspace && low < bottom: // case A: it must belong to the next subspace
		high += half
		return high | uint64(low), high != 0
	case !oneSubspace && low >= bottom: // case B: the window begins in the previous one
		return high - half | uint64(low), high != 0
	}
	return high | uint64(low), true
}
