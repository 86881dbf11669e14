package klips

import (
	"cygnet/internal/underlay"
)

// batch collects what one worker sends at once: ESP packets in trains of
// equal length (UDP_SEGMENT), and clear packets.
type batch struct {
	buf   []byte
	used  int
	msgs  []underlay.Message
	state []train // beside msgs
	clear [][]byte
	count int // packets in msgs
}

// train is what decides whether a message may grow.
type train struct {
	sa     *outSA
	closed bool // nothing may follow, mostly because its last packet is shorter
	alone  bool // longer than the MTU, or no ESP
}

func newBatch() *batch {
	return &batch{buf: make([]byte, batchLen), msgs: make([]underlay.Message, 0, maxMessages),
		state: make([]train, 0, maxMessages), clear: make([][]byte, 0, maxMessages)}
}

func (b *batch) empty() bool { return len(b.msgs) == 0 && len(b.clear) == 0 }

func (b *batch) reset() {
	clear(b.state) // SAs may go
	b.used, b.count, b.msgs, b.state, b.clear = 0, 0, b.msgs[:0], b.state[:0], b.clear[:0]
}

// full reports whether n more octets might not fit.
func (b *batch) full(n int) bool {
	return b.used+n > len(b.buf) || len(b.msgs) == maxMessages || len(b.clear) == maxMessages
}

// aim is the length that a packet of n octets should be padded to: that of the
// train it joins or comes after, if the worker is so busy that long trains
// matter more than octets (datapath.md 7.14). A shorter packet would be the
// train's last.
func (b *batch) aim(sa *outSA, tos uint8, n int) int {
	k := len(b.msgs) - 1
	if b.count < padFrom || k < 0 || !sa.encap {
		return n
	}
	if m := &b.msgs[k]; b.state[k].sa == sa && !b.state[k].alone && m.TOS == tos && n <= m.Seg && m.Seg-n <= padMost {
		return m.Seg
	}
	return n
}

// place returns room for an ESP packet of n octets of sa and enters it in the
// last train, or starts a new one. The caller has asked full. alone forbids a
// train: the packet is longer than the MTU and leaves in fragments.
func (b *batch) place(sa *outSA, tos uint8, n int, alone bool) []byte {
	dst := b.buf[b.used : b.used+n : b.used+n]
	b.used += n
	b.count++
	if k := len(b.msgs) - 1; k >= 0 && !alone {
		m, t := &b.msgs[k], &b.state[k]
		if t.sa == sa && !t.closed && m.TOS == tos && n <= m.Seg && len(m.Data)+n <= underlay.MaxTrainLen && len(m.Data)/m.Seg < underlay.MaxTrain {
			m.Data = m.Data[:len(m.Data)+n]
			t.closed = n < m.Seg
			return dst
		}
	}
	b.msgs = append(b.msgs, underlay.Message{
		Proto: sa.sa.ID.Proto, Encap: sa.encap, Stream: sa.stream, Local: sa.sa.Src, Remote: sa.remote, TOS: tos, DF: sa.sa.DF,
		Data: b.buf[b.used-n : b.used], Seg: n,
	})
	b.state = append(b.state, train{sa, alone || !sa.encap, alone})
	return dst
}

// addWhole copies an IP packet that sa made.
func (b *batch) addWhole(sa *outSA, p []byte) {
	dst := b.buf[b.used : b.used+len(p) : b.used+len(p)]
	copy(dst, p)
	b.used += len(p)
	b.msgs = append(b.msgs, underlay.Message{Whole: true, Remote: sa.remote, Data: dst, Seg: len(dst)})
	b.state = append(b.state, train{sa, true, true})
}

// addClear copies packet p to what leaves in clear.
func (b *batch) addClear(p []byte) {
	dst := b.buf[b.used : b.used+len(p) : b.used+len(p)]
	copy(dst, p)
	b.used += len(p)
	b.clear = append(b.clear, dst)
}
