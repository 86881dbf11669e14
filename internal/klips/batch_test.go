package klips

import (
	"bytes"
	"testing"

	"cygnet/internal/tun"
)

// TestNoAimAtFragments: nothing is padded to the length of a packet that leaves
// in fragments.
func TestNoAimAtFragments(t *testing.T) {
	s := tunnel4()
	s.encap = true
	r := newRig(t, s)
	sa := r.out.p.spd.Load().entries[0].out.Load().outer
	b := newBatch()
	for range padFrom {
		b.place(sa, 0, 1500, false)
	}
	if n := b.aim(sa, 0, 1400); n != 1500 {
		t.Errorf("aims at %d, want 1500", n)
	}
	b.place(sa, 0, 1600, true)
	for _, n := range []int{1400, 1590} {
		if got := b.aim(sa, 0, n); got != n {
			t.Errorf("aims at %d, want %d", got, n)
		}
	}
}

// TestEqualLengths: packets of a busy worker are padded to one length, so that
// they leave as few messages, and arrive as they were. An idle one pads nothing,
// and neither does one that is told not to, or whose packets leave one by one.
func TestEqualLengths(t *testing.T) {
	for _, x := range []struct {
		name       string
		packets    int
		encap, off bool
		most       int // messages
		padded     bool
	}{
		{"busy", 40, true, false, 9, true},
		{"not yet busy", padFrom, true, false, padFrom, false},
		{"told not to", 40, true, true, 40, false},
		{"raw", 40, false, false, 40, false},
	} {
		s := tunnel4()
		s.encap = x.encap
		r := newRig(t, s)
		r.out.p.o.NoPadding = x.off
		var got recorder
		r.in.coalescer.q = &got
		a, b := s.ends()
		var want [][]byte
		octets := 0
		for i := range x.packets {
			p := udp(a, b, 64+(200-i*37%200)) // the first is the longest
			want = append(want, p)
			octets += r.out.p.spd.Load().entries[0].out.Load().outer.esp.SealedLen(len(p))
			tun.Header{}.Put(r.out.buf[slack:])
			n := copy(r.out.buf[slack+tun.HeaderLen:], p)
			r.out.read(tun.HeaderLen + n)
		}
		messages, sent := len(r.out.batch.msgs), 0
		for _, m := range r.out.batch.msgs {
			sent += len(m.Data)
		}
		if messages > x.most || (sent > octets) != x.padded {
			t.Errorf("%s: %d messages, %d octets instead of %d", x.name, messages, sent, octets)
		}
		r.out.flush()
		if len(got.packets) != len(want) {
			t.Fatalf("%s: %d packets of %d arrived; drops %s", x.name, len(got.packets), len(want), r.g[1].counted())
		}
		for i := range want {
			if !bytes.Equal(got.packets[i], want[i]) {
				t.Errorf("%s: packet %d changed", x.name, i)
			}
		}
	}
}
