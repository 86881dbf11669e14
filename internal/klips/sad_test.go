package klips

import (
	"bytes"
	"crypto/rand"
	"math"
	mrand "math/rand/v2"
	"net/netip"
	"reflect"
	"sync"
	"testing"

	"cygnet/internal/esp"
	"cygnet/internal/ipsec"
	"cygnet/internal/underlay"
)

// TestSlots: SPIs are unique until none is left, found by their slot, and free
// again after release.
// R10.11: none is below 0x1000.
func TestSlots(t *testing.T) {
	var s sad
	s.init()
	dst := outer4[0]
	seen := map[ipsec.SPI]bool{}
	for range 20000 {
		spi, err := s.reserve(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if seen[spi] || spi < ipsec.MinAutoSPI {
			t.Fatalf("SPI %#x", uint32(spi))
		}
		seen[spi] = true
		in := &inSA{}
		in.sa.ID = ipsec.SAID{Dst: dst, Proto: ipsec.ESP, SPI: spi}
		s.put(in, nil, true)
	}
	for spi := range seen {
		got := s.lookup(spi, ipsec.ESP, dst)
		if got == nil || got.sa.ID.SPI != spi {
			t.Fatalf("SPI %#x is not found", uint32(spi))
		}
		if s.lookup(spi, ipsec.AH, dst) != nil || s.lookup(spi, ipsec.ESP, outer4[1]) != nil || s.lookup(spi^1<<31, ipsec.ESP, dst) != nil {
			t.Fatalf("SPI %#x is found under another name", uint32(spi))
		}
	}
	chunks := 0
	for i := range s.chunks {
		if s.chunks[i].Load() != nil {
			chunks++
		}
	}
	if chunks > 16 {
		t.Errorf("20000 SAs occupy %d chunks", chunks)
	}
	for spi := range seen {
		s.remove(s.lookup(spi, ipsec.ESP, dst), true)
		s.release(spi)
		if s.lookup(spi, ipsec.ESP, dst) != nil {
			t.Fatal("found after removal")
		}
	}
	if s.free != 1<<slotBits {
		t.Errorf("%d slots free", s.free)
	}
}

func TestSlotsRunOut(t *testing.T) {
	var s sad
	s.init()
	for i := range s.taken {
		s.taken[i] = math.MaxUint64
	}
	s.taken[777], s.free = ^uint64(1<<5), 1
	spi, err := s.reserve(rand.Reader)
	if err != nil || spi&slotMask != 777*64+5 {
		t.Errorf("the last slot: %#x, %v", uint32(spi), err)
	}
	if _, err := s.reserve(rand.Reader); err == nil {
		t.Error("one more than there are")
	}
}

// TestManualBesideSlot: an SPI that somebody else chose may equal one of ours.
func TestManualBesideSlot(t *testing.T) {
	g := newLab(t, Options{})
	s := tunnel4()
	spi, err := g[1].ReserveSPI(t.Context(), s.outer[1], ipsec.ESP)
	if err != nil {
		t.Fatal(err)
	}
	ours := s.sa(0, 1)
	ours.ID.SPI = spi
	manual := ours
	manual.ID.Dst = netip.MustParseAddr("192.0.2.77")
	for _, sa := range []ipsec.SA{ours, manual} {
		if err := g[1].AddSA(t.Context(), sa); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []ipsec.SAID{ours.ID, manual.ID} {
		if got := g[1].sad.lookup(spi, ipsec.ESP, id.Dst); got == nil || got.sa.ID != id {
			t.Errorf("%s is not found", id)
		}
		if err := g[1].DeleteSA(t.Context(), id); err != nil {
			t.Error(err)
		}
		if g[1].sad.lookup(spi, ipsec.ESP, id.Dst) != nil {
			t.Errorf("%s is found after its deletion", id)
		}
	}
}

// TestWorkersShareAnSA: four workers get the same packets in different orders
// at once; each packet is delivered exactly once (adversary.md ESP-18).
func TestWorkersShareAnSA(t *testing.T) {
	g := newLab(t, Options{})
	s := tunnel4()
	s.encap = true
	connect(t, g, s)
	out, err := esp.NewOut(s.sa(0, 0), nil)
	if err != nil {
		t.Fatal(err)
	}
	const packets, workers = 4096, 4
	a, b := ports(inner4)
	var sealed [][]byte
	for i := range packets {
		p := udp(a, b, i%100)
		seq, _ := out.Reserve(1)
		sealed = append(sealed, out.Seal(new(esp.Scratch), make([]byte, out.SealedLen(len(p))), seq, protoIPv4, p, 0))
	}
	var wg sync.WaitGroup
	sinks := make([]countQueue, workers)
	for n := range workers {
		wg.Go(func() {
			w := newIngress(g[1].Plane, g[1].devices[0], nil, &sinks[n])
			w.at = now()
			for base := 0; base < packets; base += 32 { // shuffled within what the window covers
				for _, i := range mrand.Perm(32) {
					d := bytes.Clone(sealed[base+i])
					w.arrival(&underlay.Arrival{Proto: ipsec.ESP, Encap: true, Remote: netip.AddrPortFrom(outer4[0], 4500), Local: outer4[1], Data: d, Seg: len(d)})
				}
				w.coalescer.flush()
			}
		})
	}
	wg.Wait()
	delivered := 0
	for i := range sinks {
		delivered += sinks[i].n
	}
	late := 0 // a worker that lags more than the window loses what nobody has taken
	for _, st := range g[1].SAs() {
		if st.Dir == ipsec.In {
			late = int(st.ReplayErrs)
		}
	}
	if delivered != int(g[1].SAs()[0].Usage.Packets) && delivered != int(g[1].SAs()[1].Usage.Packets) {
		t.Errorf("%d delivered, the SA counts %+v", delivered, g[1].SAs())
	}
	if delivered > packets || delivered+late != packets*workers {
		t.Errorf("%d delivered and %d refused of %d in %d copies", delivered, late, packets, workers)
	}
}

// countQueue counts the packets of what is written, superpackets in parts.
type countQueue struct{ n int }

func (*countQueue) Read([]byte, bool) (int, error) { panic("not read") }
func (q *countQueue) Write(parts [][]byte) error {
	q.n += len(parts) - 1
	return nil
}

// No peer can make a table of ours slow by the SPIs it chooses (RES-19). What we
// receive on has numbers of our own choosing, each in a slot that it shares with
// nobody, so that a lookup looks into one slot and one map whatever arrives. What a
// peer chooses, the SPIs that it receives on, stands in Go's maps, whose hash has a
// key of the process.
func TestAdv_RES_19_ChosenSPIs(t *testing.T) {
	p := New(Options{})
	defer p.Close()
	ctx, local, remote := t.Context(), outer4[0], outer4[1]
	add := func(sa ipsec.SA) {
		t.Helper()
		sa.Mode, sa.Transform = ipsec.Tunnel, ipsec.Transform{Encr: 20, KeyBits: 128}
		sa.EncrKey = ipsec.NewSecret(bytes.Repeat([]byte{7}, 20))
		if err := p.AddSA(ctx, sa); err != nil {
			t.Fatal(err)
		}
	}
	slots := map[ipsec.SPI]bool{}
	for i := range 200 {
		spi, err := p.ReserveSPI(ctx, local, ipsec.ESP)
		if err != nil {
			t.Fatal(err)
		}
		slots[spi&slotMask] = true
		add(ipsec.SA{ID: ipsec.SAID{Dst: local, Proto: ipsec.ESP, SPI: spi}, Src: remote, Dir: ipsec.In})
		// All of these would fall into one slot, were there slots for them.
		add(ipsec.SA{ID: ipsec.SAID{Dst: remote, Proto: ipsec.ESP, SPI: ipsec.SPI(i+1)<<slotBits | 0x4711}, Src: local, Dir: ipsec.Out})
		if p.sad.lookup(spi^1<<31, ipsec.ESP, local) != nil {
			t.Fatal("found under a number that only has its slot in common")
		}
	}
	if len(slots) != 200 || len(*p.sad.others.Load()) != 0 {
		t.Errorf("200 inbound SAs are in %d slots, and %d beside", len(slots), len(*p.sad.others.Load()))
	}
	if len(p.records) != 400 || reflect.TypeOf(p.records).Kind() != reflect.Map || reflect.TypeOf(p.newest).Kind() != reflect.Map {
		t.Errorf("%d SAs, kept in %T and %T", len(p.records), p.records, p.newest)
	}
}
