package klips

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"testing"

	"cygnet/internal/ipsec"
	"cygnet/internal/tun"
	"cygnet/internal/underlay"
)

// TestTFC: packets of all lengths are equally long on the wire, and arrive as
// they were; longer ones than that are left alone (RFC 4303 section 2.7).
func TestTFC(t *testing.T) {
	for _, c := range []struct {
		tfc    int
		padded []int // octets of UDP payload
		alone  int   // and of one that is long enough; 0: none
	}{
		{600, []int{0, 1, 17, 100, 600 - 28}, 700},
		{ipsec.ToMTU, []int{0, 1, 17, 1200}, 0},
		{9000, []int{0, 1200}, 0}, // more than the path carries
	} {
		for _, encap := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d-udp=%v", c.tfc, encap), func(t *testing.T) {
				g, s := newLab(t, Options{}), tunnel4()
				s.encap = encap
				connect(t, g, s)
				sa := s.sa(0, 0)
				sa.TFC = c.tfc
				if err := g[0].AddSA(context.Background(), sa); err != nil {
					t.Fatal(err)
				}
				lengths := make(chan int, 1)
				g[1].wire.Intercept(func(a underlay.Arrival) []underlay.Arrival {
					lengths <- len(a.Data)
					return []underlay.Arrival{a}
				})
				through := func(n int) int {
					t.Helper()
					a, b := s.ends()
					p := udp(a, b, n)
					g[0].send(t, tun.Header{}, p)
					if _, got := g[1].receive(t); !bytes.Equal(got, p) {
						t.Fatalf("%d octets: got %x, want %x", n, got, p)
					}
					return <-lengths
				}
				want := through(c.padded[0])
				for _, n := range c.padded[1:] {
					if got := through(n); got != want {
						t.Errorf("%d octets go as %d, others as %d", n, got, want)
					}
				}
				if c.tfc > 0 && c.tfc < 1400 && want < c.tfc {
					t.Errorf("padded to %d, want at least %d", want, c.tfc)
				}
				if c.tfc != 600 && want < 1456 { // of 1500, less the headers and alignment
					t.Errorf("padded to %d, though the path carries 1500 with all headers", want)
				}
				if c.alone != 0 && through(c.alone) <= want {
					t.Error("a longer packet went as short as the others")
				}
			})
		}
	}
}

// TestTFCBorrowsNothing: zeros go into a copy, for behind a segment of a train
// lies the next one.
func TestTFCBorrowsNothing(t *testing.T) {
	s := tunnel4()
	r := newRig(t, s)
	bd := r.out.p.spd.Load().entries[0].out.Load()
	bd.outer.sa.TFC = 1000
	b := make([]byte, 1200)
	copy(b, udp(netip.AddrPortFrom(inner4[0], 1024), netip.AddrPortFrom(inner4[1], 7), 10))
	for i := range b[38:] {
		b[38+i] = 0xaa
	}
	got := r.out.cover(bd, b[:38])
	if len(got) != 1000 || !bytes.Equal(got[:38], b[:38]) || !bytes.Equal(got[38:], make([]byte, 962)) {
		t.Fatalf("%d octets: %x", len(got), got)
	}
	if b[38] != 0xaa || b[999] != 0xaa {
		t.Error("what lay behind the packet has been overwritten")
	}
	if long := b[:1100]; &r.out.cover(bd, long)[0] != &long[0] {
		t.Error("a longer packet was copied")
	}
	r.out.cover(bd, b[:38])
	if n := testing.AllocsPerRun(100, func() { r.out.cover(bd, b[:38]) }); n != 0 {
		t.Errorf("%v allocations for a packet", n)
	}
}
