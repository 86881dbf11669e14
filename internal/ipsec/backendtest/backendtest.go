// Package backendtest is the conformance suite that every ipsec.Backend
// passes: userspace, kernel and simulated. A backend's own test calls Run.
package backendtest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"reflect"
	"sync"
	"testing"
	"time"

	"cygnet/internal/ipsec"
)

// Harness is a backend under test with what the suite may use of its world.
type Harness struct {
	Backend ipsec.Backend
	// Inject hands an outbound IPv4 packet to the backend; nil where a test
	// cannot, and then what packets do is not tested.
	Inject func(t *testing.T, packet []byte)
	// Passed returns the next packet that left in clear, waiting for it a
	// reasonable time, or nil. It comes with Inject.
	Passed func(t *testing.T) []byte
}

// Run runs the suite. open makes a fresh backend for each test; the suite
// closes it.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	for _, c := range []struct {
		name string
		test func(*testing.T, Harness)
	}{
		{"ReserveSPI", reserve}, {"ReserveSPIConcurrently", reserveConcurrently}, {"AddSA", addSA}, {"BadSA", badSA},
		{"DeleteSA", deleteSA}, {"SetPolicies", setPolicies}, {"Close", closing},
		{"Trap", trap}, {"Hold", hold}, {"Drop", drop}, {"Bundle", bundle}, {"TFC", padding},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := open(t)
			defer h.Backend.Close()
			c.test(t, h)
		})
	}
}

var (
	here  = netip.MustParseAddr("192.0.2.1")
	there = netip.MustParseAddr("192.0.2.2")
	ctx   = context.Background()
)

// inSA is an inbound SA of AES-GCM.
func inSA(spi ipsec.SPI) ipsec.SA {
	return ipsec.SA{
		ID: ipsec.SAID{Dst: here, Proto: ipsec.ESP, SPI: spi}, Src: there, Dir: ipsec.In,
		Transform: ipsec.Transform{Encr: 20, KeyBits: 128}, EncrKey: ipsec.NewSecret(bytes.Repeat([]byte{7}, 20)), Replay: 64,
	}
}

func outSA(spi ipsec.SPI) ipsec.SA {
	sa := inSA(spi)
	sa.ID.Dst, sa.Src, sa.Dir = there, here, ipsec.Out
	return sa
}

func policy(src, dst string, a ipsec.Action, bundle ...ipsec.SAID) ipsec.Policy {
	return ipsec.Policy{Selector: ipsec.Selector{Src: netip.MustParsePrefix(src), Dst: netip.MustParsePrefix(dst)}, Action: a, Bundle: bundle, Owner: "suite"}
}

func reserve(t *testing.T, h Harness) {
	seen := map[ipsec.SPI]bool{}
	for range 500 {
		spi, err := h.Backend.ReserveSPI(ctx, here, ipsec.ESP)
		if err != nil {
			t.Fatal(err)
		}
		if spi < ipsec.MinAutoSPI {
			t.Errorf("SPI %#x is in the manual range", uint32(spi))
		}
		if seen[spi] {
			t.Fatalf("SPI %#x twice", uint32(spi))
		}
		seen[spi] = true
	}
	if _, err := h.Backend.ReserveSPI(ctx, here, ipsec.Int); !errors.Is(err, ipsec.ErrUnsupported) {
		t.Errorf("SPI of a shunt: %v", err)
	}
}

func reserveConcurrently(t *testing.T, h Harness) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	seen := map[ipsec.SPI]bool{}
	for range 8 {
		wg.Go(func() {
			for range 50 {
				spi, err := h.Backend.ReserveSPI(ctx, here, ipsec.ESP)
				mu.Lock()
				if err != nil || seen[spi] {
					t.Errorf("SPI %#x, %v", uint32(spi), err)
				}
				seen[spi] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

func addSA(t *testing.T, h Harness) {
	spi, err := h.Backend.ReserveSPI(ctx, here, ipsec.ESP)
	if err != nil {
		t.Fatal(err)
	}
	for _, sa := range []ipsec.SA{inSA(spi), outSA(0x12345678), inSA(0x200)} {
		for range 2 { // the second replaces the first
			if err := h.Backend.AddSA(ctx, sa); err != nil {
				t.Fatal(err)
			}
		}
		u, err := h.Backend.Usage(ctx, sa.ID)
		if err != nil || u != (ipsec.Usage{}) {
			t.Errorf("usage of a fresh SA: %+v, %v", u, err)
		}
	}
	if i, ok := h.Backend.(ipsec.Inspector); ok {
		list := i.SAs()
		if len(list) != 3 || list[0].ID != inSA(0x200).ID {
			t.Errorf("SAs: %+v", list)
		}
		for _, s := range list {
			if s.EncrKey.Len() != 0 || s.IntegKey.Len() != 0 {
				t.Errorf("%s shows a key", s.ID)
			}
		}
	}
}

func badSA(t *testing.T, h Harness) {
	for name, change := range map[string]func(*ipsec.SA){
		"reserved SPI":   func(s *ipsec.SA) { s.ID.SPI = 0xff },
		"short key":      func(s *ipsec.SA) { s.EncrKey = ipsec.NewSecret(make([]byte, 19)) },
		"unknown cipher": func(s *ipsec.SA) { s.Transform.Encr = 999 },
		"negative replay": func(s *ipsec.SA) {
			s.Replay = -1
		},
	} {
		sa := inSA(0x5000)
		change(&sa)
		if err := h.Backend.AddSA(ctx, sa); err == nil {
			t.Errorf("%s: accepted", name)
		}
		if _, err := h.Backend.Usage(ctx, sa.ID); !errors.Is(err, ipsec.ErrNotFound) {
			t.Errorf("%s: it exists all the same: %v", name, err)
		}
	}
}

func deleteSA(t *testing.T, h Harness) {
	if err := h.Backend.DeleteSA(ctx, inSA(0x5000).ID); !errors.Is(err, ipsec.ErrNotFound) {
		t.Errorf("delete of nothing: %v", err)
	}
	spi, err := h.Backend.ReserveSPI(ctx, here, ipsec.ESP)
	if err != nil {
		t.Fatal(err)
	}
	id := inSA(spi).ID
	if _, err := h.Backend.Usage(ctx, id); !errors.Is(err, ipsec.ErrNotFound) {
		t.Errorf("usage of a reservation: %v", err)
	}
	if err := h.Backend.DeleteSA(ctx, id); err != nil {
		t.Errorf("delete of a reservation: %v", err)
	}
	if err := h.Backend.AddSA(ctx, outSA(0x5000)); err != nil {
		t.Fatal(err)
	}
	if err := h.Backend.DeleteSA(ctx, inSA(0x5000).ID); !errors.Is(err, ipsec.ErrNotFound) {
		t.Errorf("the same SPI at another destination: %v", err)
	}
	if err := h.Backend.DeleteSA(ctx, outSA(0x5000).ID); err != nil {
		t.Error(err)
	}
	if err := h.Backend.DeleteSA(ctx, outSA(0x5000).ID); !errors.Is(err, ipsec.ErrNotFound) {
		t.Errorf("second delete: %v", err)
	}
}

func setPolicies(t *testing.T, h Harness) {
	if err := h.Backend.AddSA(ctx, outSA(0x5000)); err != nil {
		t.Fatal(err)
	}
	want := []ipsec.Policy{
		policy("10.1.0.0/24", "10.2.0.0/24", ipsec.Protect, outSA(0x5000).ID),
		policy("10.1.0.9/32", "10.2.0.0/24", ipsec.Drop),
		policy("fd00:1::/64", "fd00:2::/64", ipsec.Trap),
	}
	var first []ipsec.PolicyStatus
	for range 2 {
		if err := h.Backend.SetPolicies(ctx, want); err != nil {
			t.Fatal(err)
		}
		i, ok := h.Backend.(ipsec.Inspector)
		if !ok {
			continue
		}
		list := i.Policies()
		if len(list) != len(want) {
			t.Fatalf("%d policies, want %d", len(list), len(want))
		}
		if first != nil && !reflect.DeepEqual(list, first) {
			t.Errorf("the same again changed the SPD:\n%+v\n%+v", first, list)
		}
		first = list
	}
	if err := h.Backend.SetPolicies(ctx, []ipsec.Policy{{Action: ipsec.Drop}}); err == nil {
		t.Error("a policy without selector was accepted")
	}
	if err := h.Backend.SetPolicies(ctx, nil); err != nil {
		t.Error(err)
	}
	if i, ok := h.Backend.(ipsec.Inspector); ok && len(i.Policies()) != 0 {
		t.Errorf("policies after all were removed: %+v", i.Policies())
	}
}

func closing(t *testing.T, h Harness) {
	if err := h.Backend.Close(); err != nil {
		t.Error(err)
	}
	select {
	case _, ok := <-h.Backend.Events():
		if ok {
			t.Error("an event after Close")
		}
	case <-time.After(5 * time.Second):
		t.Error("Events is open after Close")
	}
	if err := h.Backend.AddSA(ctx, outSA(0x5000)); err == nil {
		t.Error("AddSA after Close")
	}
}

// packet is UDP from 10.1.0.5:1024 to 10.2.0.7:7, with n in its payload.
func packet(n byte) []byte {
	b := []byte{0x45, 0, 0, 29, 0, 0, 0, 0, 64, 17, 0, 0, 10, 1, 0, 5, 10, 2, 0, 7, 4, 0, 0, 7, 0, 9, 0, 0, n}
	s := uint32(0)
	for i := 0; i < 20; i += 2 {
		s += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	binary.BigEndian.PutUint16(b[10:], ^uint16(s+s>>16))
	return b
}

var flow = ipsec.Flow{Src: netip.MustParseAddr("10.1.0.5"), Dst: netip.MustParseAddr("10.2.0.7"), Proto: 17, SrcPort: 1024, DstPort: 7}

func needPackets(t *testing.T, h Harness) {
	if h.Inject == nil {
		t.Skip("this backend's test cannot inject packets")
	}
}

// trap: one Acquire for a flow, and its first and newest packet leave when the
// policy says so.
func trap(t *testing.T, h Harness) {
	needPackets(t, h)
	set(t, h, policy("10.1.0.0/24", "10.2.0.0/24", ipsec.Trap))
	h.Inject(t, packet(1))
	select {
	case e := <-h.Backend.Events():
		if want := (ipsec.Acquire{Owner: "suite", Flow: flow}); e != want {
			t.Errorf("event %+v, want %+v", e, want)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("no Acquire")
	}
	h.Inject(t, packet(2))
	h.Inject(t, packet(3))
	release(t, h, 1, 3)
	select {
	case e := <-h.Backend.Events():
		t.Errorf("another event: %+v", e)
	default:
	}
}

func hold(t *testing.T, h Harness) {
	needPackets(t, h)
	set(t, h, policy("10.1.0.0/24", "10.2.0.0/24", ipsec.Hold))
	h.Inject(t, packet(1))
	h.Inject(t, packet(2))
	h.Inject(t, packet(3))
	release(t, h, 1, 3)
}

// release turns what is held into %pass and expects these packets.
func release(t *testing.T, h Harness, want ...byte) {
	t.Helper()
	if p := h.Passed(t); p != nil {
		t.Fatalf("a held packet left: %x", p)
	}
	set(t, h, policy("10.1.0.0/24", "10.2.0.0/24", ipsec.Pass))
	for _, n := range want {
		if p := h.Passed(t); !bytes.Equal(p, packet(n)) {
			t.Errorf("left: %x, want packet %d", p, n)
		}
	}
	if p := h.Passed(t); p != nil {
		t.Errorf("one more left: %x", p)
	}
}

// drop: what no policy covers, what %drop covers, and what has no SA stays in.
func drop(t *testing.T, h Harness) {
	needPackets(t, h)
	for _, list := range [][]ipsec.Policy{
		nil,
		{policy("10.1.0.0/24", "10.2.0.0/24", ipsec.Drop)},
		{policy("10.1.0.0/24", "10.2.0.0/24", ipsec.Protect, outSA(0x5000).ID)},
		// More specific, though the other would pass.
		{policy("10.1.0.5/32", "0.0.0.0/0", ipsec.Drop), policy("10.1.0.0/24", "10.2.0.7/32", ipsec.Pass)},
	} {
		set(t, h, list...)
		h.Inject(t, packet(1))
		if p := h.Passed(t); p != nil {
			t.Errorf("under %+v left: %x", list, p)
		}
	}
}

// bundle: protocols besides ESP are taken or called unsupported, and of a
// bundle nothing leaves while one of its SAs is missing.
func bundle(t *testing.T, h Harness) {
	ids := []ipsec.SAID{outSA(0x300).ID}
	ids = append(ids, ipsec.SAID{Dst: there, Proto: ipsec.AH, SPI: 0x301})
	if err := h.Backend.AddSA(ctx, outSA(0x300)); err != nil {
		t.Fatal(err)
	}
	if h.Inject != nil {
		set(t, h, policy("10.1.0.0/24", "10.2.0.0/24", ipsec.Protect, ids...))
		h.Inject(t, packet(1))
		if p := h.Passed(t); p != nil {
			t.Errorf("left without the AH of its bundle: %x", p)
		}
	}
	for _, sa := range []ipsec.SA{
		{ID: ids[1], Src: here, Transform: ipsec.Transform{Integ: 2}, IntegKey: ipsec.NewSecret(make([]byte, 20))},
		{ID: ipsec.SAID{Dst: there, Proto: ipsec.Comp, SPI: 0x302}, Src: here},
		{ID: ipsec.SAID{Dst: there, Proto: ipsec.Tun, SPI: 0x303}, Src: here},
	} {
		err := h.Backend.AddSA(ctx, sa)
		if errors.Is(err, ipsec.ErrUnsupported) {
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", sa.ID, err)
			continue
		}
		if u, err := h.Backend.Usage(ctx, sa.ID); err != nil || u != (ipsec.Usage{}) {
			t.Errorf("%s: usage of a fresh SA: %+v, %v", sa.ID, u, err)
		}
		if err := h.Backend.DeleteSA(ctx, sa.ID); err != nil {
			t.Errorf("%s: %v", sa.ID, err)
		}
	}
}

// padding: an SA with TFC padding is taken whatever length it asks for, and carries
// its packets, none of which leaves in clear. Padding is no use of the SA.
func padding(t *testing.T, h Harness) {
	for n, tfc := range []int{600, 1 << 20, ipsec.ToMTU} {
		sa := outSA(ipsec.SPI(0x600 + n))
		sa.TFC = tfc
		if err := h.Backend.AddSA(ctx, sa); err != nil {
			t.Fatalf("%d octets: %v", tfc, err)
		}
		if h.Inject == nil {
			continue
		}
		set(t, h, policy("10.1.0.0/24", "10.2.0.0/24", ipsec.Protect, sa.ID))
		h.Inject(t, packet(1))
		if p := h.Passed(t); p != nil {
			t.Errorf("%d octets: left in clear: %x", tfc, p)
		}
		if u, err := h.Backend.Usage(ctx, sa.ID); err != nil || u.Packets != 1 || u.Bytes != uint64(len(packet(1))) {
			t.Errorf("%d octets: usage %+v, %v", tfc, u, err)
		}
	}
}

func set(t *testing.T, h Harness, list ...ipsec.Policy) {
	t.Helper()
	if err := h.Backend.SetPolicies(ctx, list); err != nil {
		t.Fatal(err)
	}
}
