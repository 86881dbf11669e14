package underlay

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"cygnet/internal/ipsec"
)

// TestSplit compares split with a walk packet by packet.
func TestSplit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seg := rapid.IntRange(1, 40).Draw(t, "seg")
		var b []byte
		for range rapid.IntRange(1, 20).Draw(t, "packets") {
			p := bytes.Repeat([]byte{byte(rapid.IntRange(0, 2).Draw(t, "fill"))}, seg)
			if rapid.Bool().Draw(t, "keepalive") && seg == 1 {
				p[0] = 0xff
			}
			b = append(b, p...)
		}
		b = append(b, make([]byte, rapid.IntRange(0, seg-1).Draw(t, "last"))...)
		compareSplit(t, b, seg)
	})
}

// FuzzSplit is the same for whatever arrives on the NAT traversal port
// (adversary.md ESP-24).
func FuzzSplit(f *testing.F) {
	f.Add([]byte{0xff}, 1)
	f.Add([]byte{0, 0, 0, 0, 'i', 'k', 'e', 0, 0, 0x20, 1, 'e', 's', 'p', 0xff}, 7)
	f.Fuzz(func(t *testing.T, b []byte, seg int) {
		if seg > 0 && len(b) > 0 && seg < 1<<17 {
			compareSplit(t, b, seg)
		}
	})
}

type fataler interface{ Fatalf(string, ...any) }

func compareSplit(t fataler, b []byte, seg int) {
	var want, got []kind
	for rest := b; len(rest) > 0; rest = rest[min(seg, len(rest)):] {
		want = append(want, classify(rest[:min(seg, len(rest))]))
	}
	var all []byte
	split(b, seg, func(run []byte) {
		all = append(all, run...)
		for ; len(run) > 0; run = run[min(seg, len(run)):] {
			got = append(got, kindESP)
		}
	}, func(k kind, p []byte) {
		all = append(all, p...)
		got = append(got, k)
	})
	if !bytes.Equal(all, b) {
		t.Fatalf("octets lost or moved: %x, want %x", all, b)
	}
	if !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
}

// pair opens two hosts on loopback addresses with ports nobody needs.
func pair(t *testing.T, v6, raw bool) (a, b *Host, addrA, addrB netip.Addr) {
	t.Helper()
	addrA, addrB = netip.MustParseAddr("127.50.0.1"), netip.MustParseAddr("127.50.0.2")
	portA, portB := uint16(45500), uint16(45500)
	if v6 {
		addrA, addrB = netip.IPv6Loopback(), netip.IPv6Loopback()
		portB = 46500
	}
	a = openHost(t, addrA, portA, raw)
	b = openHost(t, addrB, portB, raw)
	return a, b, addrA, addrB
}

func openHost(t *testing.T, addr netip.Addr, port uint16, raw bool) *Host {
	t.Helper()
	h, err := Open(Options{Addrs: []netip.Addr{addr}, IKEPort: port, NATTPort: port + 1, NoRaw: !raw, Queues: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

// esp builds an ESP-like packet whose SPI the steering sends to queue 1.
func esp(fill byte, n int) []byte {
	p := bytes.Repeat([]byte{fill}, n)
	copy(p, []byte{0, 0, 0x20, 0x01})
	return p
}

func TestTrainsOverUDP(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		for _, noGSO := range []bool{false, true} {
			a, b, addrA, addrB := pair(t, v6, false)
			for f := range a.natt {
				for _, s := range a.natt[f] {
					s.noGSO.Store(noGSO)
				}
			}
			train := append(append(esp(1, 700), esp(2, 700)...), esp(3, 100)...)
			res := a.NewSender(0).Send([]Message{{Encap: true, Proto: ipsec.ESP, Local: addrA, TOS: 0x2e << 2,
				Remote: netip.AddrPortFrom(addrB, b.o.NATTPort), Data: train, Seg: 700}})
			if res != (Result{}) {
				t.Fatalf("v6 %v noGSO %v: %+v", v6, noGSO, res)
			}
			got := collect(t, b.Receivers()[1], len(train), func(x Arrival) {
				if x.Local != addrB || x.Remote != netip.AddrPortFrom(addrA, a.o.NATTPort) || !x.Encap || x.TOS != 0x2e<<2 {
					t.Errorf("v6 %v: arrival from %v to %v TOS %#x", v6, x.Remote, x.Local, x.TOS)
				}
			})
			if !bytes.Equal(got, train) {
				t.Errorf("v6 %v noGSO %v: %d octets arrived, changed", v6, noGSO, len(got))
			}
			a.Close()
			b.Close()
		}
	}
}

// collect reads until n octets of ESP have arrived.
func collect(t *testing.T, r Receiver, n int, check func(Arrival)) (got []byte) {
	t.Helper()
	for len(got) < n {
		list, err := r.Read()
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range list {
			check(x)
			got = append(got, x.Data...)
		}
	}
	return got
}

func TestIKEOnBothPorts(t *testing.T) {
	a, b, addrA, addrB := pair(t, false, false)
	ended := make(chan error, 1)
	go func() { // socket 0 gets the IKE of port 4500
		_, err := b.Receivers()[0].Read()
		ended <- err
	}()
	for _, port := range []uint16{a.o.IKEPort, a.o.NATTPort} {
		local, remote := netip.AddrPortFrom(addrA, port), netip.AddrPortFrom(addrB, port)
		if err := a.SendKeepalive(local, remote); err != nil {
			t.Fatal(err)
		}
		if err := a.SendIKE(local, remote, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		select {
		case d := <-b.IKE():
			if d.Local != remote || d.Remote != local || string(d.Msg) != "hello" {
				t.Errorf("port %d: got %q from %v to %v", port, d.Msg, d.Remote, d.Local)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("port %d: nothing arrived", port)
		}
	}
	b.Close()
	if _, ok := <-b.IKE(); ok {
		t.Error("IKE is open after Close")
	}
	if err := <-ended; !errors.Is(err, os.ErrClosed) {
		t.Errorf("Read after Close: %v", err)
	}
}

// TestRefusalIsNoFailure sends to a closed port: the ICMP reports must not
// lose later packets nor stop the receiver.
func TestRefusalIsNoFailure(t *testing.T) {
	a, b, addrA, addrB := pair(t, false, false)
	s := a.NewSender(0)
	closed := netip.AddrPortFrom(addrB, 9)
	for _, r := range a.Receivers() { // the kernel reports to either socket of the port
		go r.Read()
	}
	for i := range 20 {
		if res := s.Send([]Message{{Encap: true, Local: addrA, Remote: closed, Data: esp(1, 100), Seg: 100}}); res != (Result{}) {
			t.Fatalf("packet %d to a closed port: %+v", i, res)
		}
	}
	s.Send([]Message{{Encap: true, Local: addrA, Remote: netip.AddrPortFrom(addrB, b.o.NATTPort), Data: esp(7, 100), Seg: 100}})
	if got := collect(t, b.Receivers()[1], 100, func(Arrival) {}); !bytes.Equal(got, esp(7, 100)) {
		t.Error("the packet after the reports did not arrive whole")
	}
	deadline := time.Now().Add(5 * time.Second)
	for count(a, "icmp_unreachable") == 0 {
		if time.Now().After(deadline) {
			t.Fatal("ICMP reports were not counted")
		}
		time.Sleep(time.Millisecond)
	}
}

// TestAllSocketsAwaitReports: the kernel gives a too-big report to any socket
// of the port, so the first DF of one worker changes the mode of all, and a
// message without DF changes it only while it is sent.
func TestAllSocketsAwaitReports(t *testing.T) {
	a, b, addrA, addrB := pair(t, false, false)
	msg := []Message{{Encap: true, Local: addrA, Remote: netip.AddrPortFrom(addrB, b.o.NATTPort), Data: esp(1, 100), Seg: 100}}
	modes := func() (n int) {
		for _, s := range a.natt[0] {
			_ = s.raw.Control(func(fd uintptr) {
				mode, err := unix.GetsockoptInt(int(fd), unix.SOL_IP, unix.IP_MTU_DISCOVER)
				if err == nil && mode == unix.IP_PMTUDISC_PROBE {
					n++
				}
			})
		}
		return n
	}
	for i, df := range []bool{false, true, false} {
		msg[0].DF = df
		a.NewSender(0).Send(msg)
		if want := min(i, 1) * len(a.natt[0]); modes() != want {
			t.Errorf("after message %d: %d sockets wait for reports, want %d", i, modes(), want)
		}
	}
}

func count(h *Host, reason string) uint64 {
	for _, c := range h.Drops() {
		if c.Reason == reason {
			return c.Count
		}
	}
	return 0
}

func needRaw(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("not root: raw sockets need CAP_NET_RAW")
		}
		t.Skip("not root: raw sockets need CAP_NET_RAW")
	}
}

func TestRawESP(t *testing.T) {
	needRaw(t)
	for _, v6 := range []bool{false, true} {
		a, b, addrA, addrB := pair(t, v6, true)
		if res := a.NewSender(0).Send([]Message{{Proto: ipsec.ESP, Local: addrA, Remote: netip.AddrPortFrom(addrB, 0),
			TOS: 4, DF: true, Data: esp(9, 200), Seg: 200}}); res != (Result{}) {
			t.Fatalf("v6 %v: %+v", v6, res)
		}
		head := ipv4HeaderLen
		if v6 {
			head = ipv6HeaderLen
		}
		got := collect(t, b.Receivers()[2], head+200, func(x Arrival) {
			if x.Proto != ipsec.ESP || x.Encap || x.Local != addrB || x.Remote.Addr() != addrA || x.TOS != 4 || x.Head != head {
				t.Errorf("v6 %v: arrival %+v", v6, x)
			}
		})
		if !bytes.Equal(got[head:], esp(9, 200)) {
			t.Errorf("v6 %v: packet changed", v6)
		}
		a.Close()
		b.Close()
	}
}

// TestWhole: a packet with its header arrives as it was sent, as far as AH
// covers it, whatever protocol it carries.
func TestWhole(t *testing.T) {
	needRaw(t)
	for _, v6 := range []bool{false, true} {
		a, b, addrA, addrB := pair(t, v6, true)
		receivers := map[uint8]Receiver{unix.IPPROTO_AH: b.Receivers()[3]}
		for _, x := range []struct {
			proto   ipsec.Proto
			numbers []uint8
		}{{ipsec.Comp, []uint8{unix.IPPROTO_COMP}}, {ipsec.Tun, []uint8{unix.IPPROTO_IPIP, unix.IPPROTO_IPV6}}} {
			list, err := b.Listen(x.proto)
			if err != nil || len(list) != len(x.numbers) {
				t.Fatalf("%s: %d receivers, %v", x.proto, len(list), err)
			}
			if again, err := b.Listen(x.proto); err != nil || len(again) != 0 {
				t.Errorf("%s: listening twice gives %d receivers, %v", x.proto, len(again), err)
			}
			for i, n := range x.numbers {
				receivers[n] = list[i]
			}
		}
		for number, r := range receivers {
			p := ipPacket(addrA, addrB, number, esp(number, 300))
			proto := ipsec.Proto(number)
			if number == unix.IPPROTO_IPV6 {
				proto = ipsec.Tun
			}
			if res := a.NewSender(0).Send([]Message{{Whole: true, Remote: netip.AddrPortFrom(addrB, 0), Data: p, Seg: len(p)}}); res != (Result{}) {
				t.Fatalf("v6 %v, protocol %d: %+v", v6, number, res)
			}
			got := collect(t, r, len(p), func(x Arrival) {
				if x.Proto != proto || x.Encap || x.Local != addrB || x.Remote.Addr() != addrA || x.Head != len(p)-300 {
					t.Errorf("v6 %v, protocol %d: arrival %+v", v6, number, x)
				}
			})
			if !v6 {
				got[10], got[11] = 0, 0 // the checksum
			} else {
				got[7] = p[7] // the hop limit, which a socket does not tell
			}
			if !bytes.Equal(got, p) {
				t.Errorf("v6 %v, protocol %d: got\n%x, want\n%x", v6, number, got, p)
			}
		}
		a.Close()
		b.Close()
	}
	h := openHost(t, netip.MustParseAddr("127.50.0.3"), 45500, false)
	if _, err := h.Listen(ipsec.Comp); !errors.Is(err, ipsec.ErrUnsupported) {
		t.Errorf("without raw sockets: %v", err)
	}
	if _, err := h.Listen(ipsec.AH); !errors.Is(err, ipsec.ErrUnsupported) {
		t.Errorf("AH, which is always heard: %v", err)
	}
}

// ipPacket is an IP packet whose checksum is left to the kernel.
func ipPacket(src, dst netip.Addr, proto uint8, payload []byte) []byte {
	if src.Is6() {
		s, d := src.As16(), dst.As16()
		b := []byte{0x60, 0, 0, 0, byte(len(payload) >> 8), byte(len(payload)), proto, 64}
		return append(append(append(b, s[:]...), d[:]...), payload...)
	}
	s, d := src.As4(), dst.As4()
	n := ipv4HeaderLen + len(payload)
	b := []byte{0x45, 0, byte(n >> 8), byte(n), 0x12, 0x34, 0, 0, 64, proto, 0, 0}
	return append(append(append(b, s[:]...), d[:]...), payload...)
}

func TestSendAllocatesNothing(t *testing.T) {
	a, b, addrA, addrB := pair(t, false, false)
	s := a.NewSender(0)
	msgs := []Message{{Encap: true, Local: addrA, Remote: netip.AddrPortFrom(addrB, b.o.NATTPort), Data: esp(1, 1400), Seg: 700}}
	r := b.Receivers()[1]
	if n := testing.AllocsPerRun(200, func() {
		s.Send(msgs)
		if _, err := r.Read(); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations per send and receive", n)
	}
}
