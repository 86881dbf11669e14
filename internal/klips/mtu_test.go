package klips

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"cygnet/internal/ipsec"
	"cygnet/internal/tun"
	"cygnet/internal/underlay"
)

// withDF sets the DF bit.
func withDF(b []byte) []byte {
	b[6] |= flagIPv4DF >> 8
	sumIPv4(b, ipv4HeaderLen)
	return b
}

// TestRoom: the figures of datapath.md 7.16, exact to the octet.
func TestRoom(t *testing.T) {
	cbc := tunnel4()
	cbc.transform, cbc.key, cbc.mac = ipsec.Transform{Encr: 12, KeyBits: 128, Integ: 2}, 16, 20
	for _, x := range []struct {
		s     setup
		encap bool
		v6    bool
		want  int
	}{{tunnel4(), true, false, 1438}, {tunnel4(), true, true, 1418}, {tunnel4(), false, false, 1446}, {cbc, true, false, 1422}} {
		x.s.encap = x.encap
		if x.v6 {
			x.s.outer = outer6
		}
		out, err := newOut(x.s.sa(0, 0), bytes.NewReader(make([]byte, 64)), now())
		if err != nil {
			t.Fatal(err)
		}
		if got := out.room(new(snapshot), 1500); got != x.want {
			t.Errorf("encap %v v6 %v %+v: %d, want %d", x.encap, x.v6, x.s.transform, got, x.want)
		}
		if n := out.esp.SealedLen(x.want); n+out.outer > 1500 {
			t.Errorf("a packet of %d octets becomes %d", x.want, n+out.outer)
		}
	}
}

// TestTooBig is the table of freeswan.md 5.8, M2 and M6: who hears of an
// oversized packet, and who gets it nevertheless.
func TestTooBig(t *testing.T) {
	a, b := ports(inner4)
	a6, b6 := ports(inner6)
	ping := ipHeader(inner4[0], inner4[1], protoICMP, append([]byte{8, 0, 0, 0, 0, 1, 0, 1}, make([]byte, 1464)...))
	for _, x := range []struct {
		name         string
		mode         TooBigMode
		outerDF      bool
		packet       []byte
		told, passed bool
	}{
		{"yes, DF", NotifyAndSend, false, withDF(udp(a, b, 1450)), true, true},
		{"yes, no DF", NotifyAndSend, false, udp(a, b, 1450), false, true},
		{"yes, ping with DF", NotifyAndSend, false, withDF(bytes.Clone(ping)), false, true},
		{"no, DF", SendOnly, false, withDF(udp(a, b, 1450)), false, true},
		{"strict, DF", Strict, false, withDF(udp(a, b, 1450)), true, false},
		{"strict, ping with DF", Strict, false, withDF(bytes.Clone(ping)), true, false},
		{"strict, no DF", Strict, false, udp(a, b, 1450), false, true},
		{"outer DF, DF", NotifyAndSend, true, withDF(udp(a, b, 1450)), true, false},
		{"IPv6", SendOnly, false, udp(a6, b6, 1430), true, false},
	} {
		t.Run(x.name, func(t *testing.T) {
			g := newLab(t, Options{TooBig: x.mode})
			s := tunnel4()
			s.encap, s.df = true, x.outerDF
			v6 := x.packet[0]>>4 == 6
			if v6 {
				s.inner = nets(inner6, 64)
			}
			connect(t, g, s)
			g[0].send(t, tun.Header{}, x.packet)
			if x.passed {
				if _, got := g[1].receive(t); !bytes.Equal(got, x.packet) {
					t.Error("the packet arrived changed")
				}
			} else {
				g[0].waitDrop(t, "too_big", 1)
				g[1].quiet(t)
			}
			if !x.told {
				g[0].quiet(t)
				return
			}
			_, m := g[0].receive(t)
			if v6 {
				checkICMP(t, m, x.packet, 2, 0, 1438)
			} else {
				checkICMP(t, m, x.packet, 3, 4, 1438)
			}
		})
	}
}

// TestOversizeTravelsAlone: packets that leave in fragments are no train, which
// the kernel would refuse to send.
func TestOversizeTravelsAlone(t *testing.T) {
	g := newLab(t, Options{TooBig: SendOnly})
	s := tunnel4()
	s.encap = true
	connect(t, g, s)
	trains := make(chan int, 100)
	g[1].wire.Intercept(func(a underlay.Arrival) []underlay.Arrival {
		trains <- len(a.Data) / a.Seg
		return nil
	})
	h, b := super(false, false, 6000, 1450, 0)
	g[0].send(t, h, b)
	for i := range 5 {
		if n := <-trains; n != 1 {
			t.Errorf("message %d carries %d packets", i, n)
		}
	}
}

// TestInnerFragments: where the outer packet may not be cut and the inner one
// may, the inner one is.
func TestInnerFragments(t *testing.T) {
	g := newLab(t, Options{})
	s := tunnel4()
	s.df = true
	connect(t, g, s)
	a, b := ports(inner4)
	p := udp(a, b, 4000)
	g[0].send(t, tun.Header{}, p)
	whole := make([]byte, len(p))
	for n := ipv4HeaderLen; n < len(p); {
		_, f := g[1].receive(t)
		q, ok := parse(f)
		if !ok || !q.frag || len(f) > 1446 || fold(sum(f[:ipv4HeaderLen], 0)) != 0xffff {
			t.Fatalf("no good fragment: %x", f[:20])
		}
		off := int(binary.BigEndian.Uint16(f[6:])&maskIPv4Offset) * 8
		if more := f[6]&0x20 != 0; more != (ipv4HeaderLen+off+len(f)-ipv4HeaderLen < len(p)) {
			t.Error("more-fragments flag is wrong")
		}
		n += copy(whole[ipv4HeaderLen+off:], f[ipv4HeaderLen:])
	}
	if !bytes.Equal(whole[ipv4HeaderLen:], p[ipv4HeaderLen:]) {
		t.Error("reassembled packet differs")
	}
}

// TestResegment: TCP superpackets that do not fit are cut smaller, and their
// sender is told.
func TestResegment(t *testing.T) {
	g := newLab(t, Options{})
	s := tunnel4()
	s.encap = true
	connect(t, g, s)
	h, b := super(false, true, 20000, 1460, tcpACK)
	withDF(b)
	g[1].wire.Intercept(func(a underlay.Arrival) []underlay.Arrival {
		if a.Seg+28 > 1500 {
			t.Errorf("outer packet of %d octets", a.Seg+28)
		}
		return []underlay.Arrival{a}
	})
	g[0].send(t, h, b)
	got := 0
	for got < 20000 {
		_, p := g[1].receive(t)
		got += len(p) - 52
	}
	_, m := g[0].receive(t)
	if m[20] != 3 || m[21] != 4 {
		t.Errorf("ICMP type %d code %d", m[20], m[21])
	}
}

// TestPathMTU: reports count only with an SPI of ours, never below the floor,
// never upwards, once a second at most, and not for ever.
// adversary.md ESP-29.
func TestPathMTU(t *testing.T) {
	for _, outer := range [][2]netip.Addr{outer4, outer6} {
		g := newLab(t, Options{})
		s := tunnel4()
		s.outer = outer
		floor := minPathMTU4
		if outer[0].Is6() {
			floor = minPathMTU6
		}
		connect(t, g, s)
		id := s.sa(0, 0).ID
		start := now()
		for _, x := range []struct {
			after     time.Duration
			spi       ipsec.SPI
			mtu, want int
		}{
			{0, id.SPI + 77, 1000, 1500},
			{0, id.SPI, 1400, 1400},
			{pathMTUEvery - 1, id.SPI, 1300, 1400},
			{pathMTUEvery, id.SPI, 1450, 1400},
			{pathMTUEvery, id.SPI, 1300, 1300},
			{2*pathMTUEvery - 1, id.SPI, 68, 1300},
			{2 * pathMTUEvery, id.SPI, 68, floor},
			{3 * pathMTUEvery, id.SPI, 0, floor},
		} {
			g[0].tooBigAt(underlay.TooBig{Remote: id.Dst, Proto: ipsec.ESP, SPI: x.spi, MTU: x.mtu}, start.Add(x.after))
			if got := g[0].pathMTU(id); got != x.want {
				t.Errorf("report of %d for %#x after %v: path MTU %d, want %d", x.mtu, x.spi, x.after, got, x.want)
			}
		}
		g[0].tick(start.Add(2*pathMTUEvery + pathMTUAge))
		if got := g[0].pathMTU(id); got != 1500 {
			t.Errorf("after its time: %d", got)
		}
	}
}

// TestPathMTUOfTheSocket: what the socket reports comes to the SA.
func TestPathMTUOfTheSocket(t *testing.T) {
	g := newLab(t, Options{})
	s := tunnel4()
	connect(t, g, s)
	id := s.sa(0, 0).ID
	g[0].wire.ReportTooBig(underlay.TooBig{Remote: id.Dst, Proto: ipsec.ESP, SPI: id.SPI, MTU: 1350})
	if got := g[0].pathMTU(id); got != 1350 {
		t.Errorf("path MTU %d", got)
	}
}

func (g *gateway) pathMTU(id ipsec.SAID) int {
	for _, st := range g.SAs() {
		if st.ID == id {
			return st.PathMTU
		}
	}
	return 0
}

// TestDeviceMTU: a device whose MTU shrinks is noticed at the first refusal.
func TestDeviceMTU(t *testing.T) {
	g := newLab(t, Options{})
	s := tunnel4()
	s.df = true
	connect(t, g, s)
	g[0].wire.SetMTU(1300)
	a, b := ports(inner4)
	p := withDF(udp(a, b, 1400))
	g[0].send(t, tun.Header{}, p)
	g[0].waitDrop(t, "too_big", 1)
	g[0].send(t, tun.Header{}, p)
	g[0].waitDrop(t, "too_big", 2)
	_, m := g[0].receive(t)
	checkICMP(t, m, p, 3, 4, 1246)
}

// R18.5.
func TestClampMSS(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		for _, options := range [][]byte{{2, 4, 0x05, 0xb4}, {1, 2, 4, 0x05, 0xb4, 1, 1, 1}, {4, 2, 2, 4, 0x05, 0xb4, 1, 0}} {
			g := newLab(t, Options{ClampMSS: true})
			s := tunnel4()
			s.encap = true
			a, b := ports(inner4)
			want := 1438 - 40
			if v6 {
				a, b = ports(inner6)
				s.inner, want = nets(inner6, 64), 1438-60
			}
			connect(t, g, s)
			g[0].send(t, tun.Header{}, tcp(a, b, 5, tcpSYN, options, nil))
			_, p := g[1].receive(t)
			k, _ := parse(p)
			at := k.l4 + findMSS(p[k.l4:])
			if got := int(binary.BigEndian.Uint16(p[at:])); got != want {
				t.Errorf("v6 %v options %x: MSS %d, want %d", v6, options, got, want)
			}
			if !verified(p, k) {
				t.Errorf("v6 %v options %x: bad checksum", v6, options)
			}
		}
	}
}

// TestFragmentOptions: only options with the copied flag are in every fragment.
func TestFragmentOptions(t *testing.T) {
	p := append([]byte{0x48, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
		7, 3, 4, 1, 0x94, 4, 0, 0, 7, 4, 4, 0}, make([]byte, 100)...)
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
	f := fragment4(p, 32, 80)
	if len(f) != 3 {
		t.Fatalf("%d fragments", len(f))
	}
	if !bytes.Equal(f[0][20:32], p[20:32]) {
		t.Errorf("options of the first: %x", f[0][20:32])
	}
	if want := []byte{1, 1, 1, 1, 0x94, 4, 0, 0, 1, 1, 1, 1}; !bytes.Equal(f[1][20:32], want) || !bytes.Equal(f[2][20:32], want) {
		t.Errorf("options of later ones: %x", f[1][20:32])
	}
	if fragment4(p, 32, 39) != nil {
		t.Error("fragments without room")
	}
}

// TestECN: RFC 6040 with hidetos=no.
// adversary.md ESP-35.
func TestECN(t *testing.T) {
	for _, x := range []struct{ inner, outer, want uint8 }{{1, 3, 3}, {2, 3, 3}, {3, 3, 3}, {2, 2, 2}, {0xb8 | 2, 3, 0xb8 | 3}, {1, 0, 1}} {
		for _, v6 := range []bool{false, true} {
			g := newLab(t, Options{CopyTOS: true})
			s := tunnel4()
			a, b := ports(inner4)
			if v6 {
				a, b = ports(inner6)
				s.inner = nets(inner6, 64)
			}
			connect(t, g, s)
			p := udp(a, b, 20)
			if v6 {
				p[0], p[1] = 0x60|x.inner>>4, x.inner<<4
			} else {
				p[1] = x.inner
				sumIPv4(p, ipv4HeaderLen)
			}
			g[1].wire.Intercept(func(arr underlay.Arrival) []underlay.Arrival {
				if arr.TOS != x.inner {
					t.Errorf("outer TOS %#x, want %#x", arr.TOS, x.inner)
				}
				arr.TOS = x.outer
				return []underlay.Arrival{arr}
			})
			g[0].send(t, tun.Header{}, p)
			_, got := g[1].receive(t)
			if tos(got, v6) != x.want || !v6 && fold(sum(got[:ipv4HeaderLen], 0)) != 0xffff {
				t.Errorf("v6 %v inner %#x outer %#x: %#x, want %#x", v6, x.inner, x.outer, tos(got, v6), x.want)
			}
		}
	}
}

// TestTrainsKeepTOS: packets of two classes that leave in one batch are two
// trains, since a message has but one TOS.
func TestTrainsKeepTOS(t *testing.T) {
	r := newRig(t, setups()["tunnel-gcm-udp=true-10.1.0.5-in-192.0.2.1"])
	r.out.p.o.CopyTOS = true
	a, b := ports(inner4)
	for _, class := range []uint8{0, 0, 0xb8, 0xb8} {
		p := udp(a, b, 100)
		p[1] = class
		sumIPv4(p, ipv4HeaderLen)
		n := copy(r.out.buf[slack+tun.HeaderLen:], p)
		r.out.read(tun.HeaderLen + n)
	}
	m := r.out.batch.msgs
	if len(m) != 2 || m[0].TOS != 0 || m[1].TOS != 0xb8 || len(m[0].Data) != 2*m[0].Seg || len(m[1].Data) != 2*m[1].Seg {
		t.Errorf("%d trains: %+v", len(m), m)
	}
}

// TestTooBigTransport: in transport mode the sender is this machine. It is not
// told of what does not fit, since what it cuts itself cannot be protected; the
// outer packet is fragmented instead.
func TestTooBigTransport(t *testing.T) {
	for _, outer := range [][2]netip.Addr{outer4, outer6} {
		for _, mode := range []TooBigMode{NotifyAndSend, SendOnly} {
			g := newLab(t, Options{TooBig: mode})
			s := setup{outer: outer, inner: nets(outer, outer[0].BitLen()), mode: ipsec.Transport, transform: gcm, key: 20}
			connect(t, g, s)
			a, b := s.ends()
			p := udp(a, b, 3000)
			if outer[0].Is4() {
				p = withDF(p)
				sumIPv4(p, ipv4HeaderLen)
			}
			g[0].send(t, tun.Header{}, p)
			if _, got := g[1].receive(t); len(got) != len(p) {
				t.Errorf("%s: got %d octets", outer[0], len(got))
			}
			g[0].quiet(t)
			if g[0].counted() != "" {
				t.Errorf("%s: drops %s", outer[0], g[0].counted())
			}
		}
		// Where the outer packet must not be fragmented, there is no other way.
		g := newLab(t, Options{})
		s := setup{outer: outer, inner: nets(outer, outer[0].BitLen()), mode: ipsec.Transport, transform: gcm, key: 20, df: true}
		connect(t, g, s)
		a, b := s.ends()
		p := udp(a, b, 3000)
		if outer[0].Is4() {
			p = withDF(p)
		}
		g[0].send(t, tun.Header{}, p)
		g[0].waitDrop(t, "too_big", 1)
		if _, got := g[0].receive(t); got[0]>>4 == 4 && got[20] != 3 || got[0]>>4 == 6 && got[40] != 2 {
			t.Errorf("%s: told %x", outer[0], got)
		}
	}
}

// TestFragments: what is too long leaves in fragments that make the packet
// again, of both families, also where the header is ours.
func TestFragments(t *testing.T) {
	for _, n := range []int{1481, 2000, 65000} {
		for _, mtu := range []int{1500, 1280, 576} {
			p := udp(netip.MustParseAddrPort("192.0.2.1:9"), netip.MustParseAddrPort("192.0.2.2:9"), n)
			checkFragments(t, p, fragment4(p, ipv4HeaderLen, mtu), mtu, ipv4HeaderLen, func(f []byte) (int, bool) {
				field := binary.BigEndian.Uint16(f[6:])
				if fold(sum(f[:ipv4HeaderLen], 0)) != 0xffff || int(binary.BigEndian.Uint16(f[2:])) != len(f) {
					t.Errorf("header %x", f[:ipv4HeaderLen])
				}
				return int(field&maskIPv4Offset) * 8, field&flagIPv4More != 0
			})
			p = udp(netip.MustParseAddrPort("[2001:db8::1]:9"), netip.MustParseAddrPort("[2001:db8::2]:9"), n)
			checkFragments(t, p, fragment6(p, ipv6HeaderLen, 6, mtu, 7), mtu, ipv6HeaderLen+8, func(f []byte) (int, bool) {
				if f[6] != protoFragment || f[40] != protoUDP || binary.BigEndian.Uint32(f[44:]) != 7 || int(binary.BigEndian.Uint16(f[4:])) != len(f)-ipv6HeaderLen {
					t.Errorf("header %x", f[:48])
				}
				field := binary.BigEndian.Uint16(f[42:])
				return int(field &^ 7), field&1 != 0
			})
		}
	}
	if f := fragment6(make([]byte, 2000), 1493, 6, 1500, 7); f != nil {
		t.Errorf("%d fragments without room", len(f))
	}
}

// checkFragments puts fragments together. at says where a fragment's content
// belongs, and whether more follow.
func checkFragments(t *testing.T, p []byte, frags [][]byte, mtu, head int, at func([]byte) (int, bool)) {
	t.Helper()
	first := ipv4HeaderLen
	if p[0]>>4 == 6 {
		first = ipv6HeaderLen
	}
	var whole []byte
	for i, f := range frags {
		off, more := at(f)
		if len(f) > mtu || off != len(whole) || more != (i < len(frags)-1) || more && (len(f)-head)%8 != 0 {
			t.Fatalf("fragment %d of %d: %d octets at %d, more %v", i, len(frags), len(f), off, more)
		}
		whole = append(whole, f[head:]...)
	}
	if !bytes.Equal(whole, p[first:]) {
		t.Errorf("%d octets came back of %d", len(whole), len(p)-first)
	}
}
