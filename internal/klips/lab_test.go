package klips

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"cygnet/internal/ipsec"
	"cygnet/internal/tun"
	"cygnet/internal/underlay"
)

// gateway is a plane between a TUN and a wire, both in memory. host is the
// other side of the TUN, where the test sits.
type gateway struct {
	*Plane
	host *tun.Memory
	wire *underlay.Memory
}

// Addresses of the lab: outer ones of both families, inner ones behind.
var (
	outer4 = [2]netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")}
	outer6 = [2]netip.Addr{netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")}
	inner4 = [2]netip.Addr{netip.MustParseAddr("10.1.0.5"), netip.MustParseAddr("10.2.0.7")}
	inner6 = [2]netip.Addr{netip.MustParseAddr("fd00:1::5"), netip.MustParseAddr("fd00:2::7")}
)

// newLab returns two gateways on one wire.
func newLab(t testing.TB, o Options) [2]*gateway {
	t.Helper()
	wa, wb := underlay.NewPair([]netip.Addr{outer4[0], outer6[0]}, []netip.Addr{outer4[1], outer6[1]})
	var g [2]*gateway
	for i, wire := range []*underlay.Memory{wa, wb} {
		plane := New(o)
		inside, host := tun.Pair("ipsec0", "host")
		err := plane.Attach(Interface{Virtual: "ipsec0", Physical: "eth0", TUN: inside, Underlay: wire, Addrs: []netip.Addr{outer4[i], outer6[i]}})
		if err != nil {
			t.Fatal(err)
		}
		g[i] = &gateway{plane, host, wire}
		t.Cleanup(func() { plane.Close() })
	}
	return g
}

// setup is one way to connect the two gateways.
type setup struct {
	outer     [2]netip.Addr
	inner     [2]netip.Prefix
	mode      ipsec.Mode
	encap     bool
	transform ipsec.Transform
	key, mac  int // octets
	df        bool
	life      ipsec.Lifetime
}

var gcm = ipsec.Transform{Encr: 20, KeyBits: 128}

func tunnel4() setup {
	return setup{outer: outer4, inner: nets(inner4, 24), transform: gcm, key: 20}
}

func nets(a [2]netip.Addr, bits int) (p [2]netip.Prefix) {
	for i := range a {
		p[i], _ = a[i].Prefix(bits)
	}
	return p
}

const firstSPI = 0x20000001 // from gateway 0 to 1; the other way is one more

// sa returns the SA of one direction as gateway me sees it.
func (s setup) sa(from, me int) ipsec.SA {
	to := 1 - from
	sa := ipsec.SA{
		ID:  ipsec.SAID{Dst: s.outer[to], Proto: ipsec.ESP, SPI: ipsec.SPI(firstSPI + from)},
		Src: s.outer[from], Mode: s.mode, Transform: s.transform, Replay: 64, DF: s.df, Life: s.life,
		EncrKey:  ipsec.NewSecret(bytes.Repeat([]byte{byte(1 + from)}, s.key)),
		IntegKey: ipsec.NewSecret(bytes.Repeat([]byte{byte(3 + from)}, s.mac)),
		Owner:    "west-east",
	}
	if s.encap {
		sa.Encap = ipsec.Encap{LocalPort: 4500, RemotePort: 4500}
	}
	if from != me {
		sa.Dir = ipsec.In
		sa.Selectors = []ipsec.Selector{{Src: s.inner[from], Dst: s.inner[to]}}
	}
	return sa
}

func (s setup) policy(from int) ipsec.Policy {
	return ipsec.Policy{Selector: ipsec.Selector{Src: s.inner[from], Dst: s.inner[1-from]}, Action: ipsec.Protect,
		Bundle: []ipsec.SAID{s.sa(from, from).ID}, Owner: "west-east"}
}

// connect installs s on both gateways.
func connect(t testing.TB, g [2]*gateway, s setup) {
	t.Helper()
	for me := range g {
		for from := range g {
			if err := g[me].AddSA(context.Background(), s.sa(from, me)); err != nil {
				t.Fatal(err)
			}
		}
		if err := g[me].SetPolicies(context.Background(), []ipsec.Policy{s.policy(me)}); err != nil {
			t.Fatal(err)
		}
	}
}

// send plays packet b from the host behind g, with virtio header h.
func (g *gateway) send(t testing.TB, h tun.Header, b []byte) {
	t.Helper()
	var head [tun.HeaderLen]byte
	h.Put(head[:])
	if err := g.host.Queues()[0].Write([][]byte{head[:], b}); err != nil {
		t.Fatal(err)
	}
}

// receive returns the next packet that the host behind g gets.
func (g *gateway) receive(t testing.TB) (tun.Header, []byte) {
	t.Helper()
	type result struct {
		b   []byte
		err error
	}
	ch := make(chan result, 1)
	go func() {
		b := make([]byte, tun.MaxRead)
		n, err := g.host.Queues()[0].Read(b, true)
		ch <- result{b[:n], err}
	}()
	select {
	case r := <-ch:
		if r.err != nil {
			t.Fatal(r.err)
		}
		return tun.ParseHeader(r.b), r.b[tun.HeaderLen:]
	case <-time.After(5 * time.Second):
		t.Fatalf("nothing arrived; drops: %s", g.counted())
		panic("unreachable")
	}
}

// counted shows the reasons that are not zero.
func (g *gateway) counted() string {
	s := ""
	for _, c := range g.Drops() {
		if c.Count > 0 {
			s += fmt.Sprintf("%s=%d ", c.Reason, c.Count)
		}
	}
	return s
}

func (g *gateway) count(reason string) uint64 {
	for _, c := range g.Drops() {
		if c.Reason == reason {
			return c.Count
		}
	}
	panic("no such reason: " + reason)
}

// waitDrop waits until reason has been counted n times.
func (g *gateway) waitDrop(t testing.TB, reason string, n uint64) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); g.count(reason) < n; time.Sleep(100 * time.Microsecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s is %d, want %d; all: %s", reason, g.count(reason), n, g.counted())
		}
	}
	if got := g.count(reason); got != n {
		t.Fatalf("%s is %d, want %d", reason, got, n)
	}
}

// quiet fails when the host behind g got a packet.
func (g *gateway) quiet(t testing.TB) {
	t.Helper()
	b := make([]byte, tun.MaxRead)
	if n, err := g.host.Queues()[0].Read(b, false); err == nil {
		t.Fatalf("a packet came through: %x", b[tun.HeaderLen:n])
	}
}

// event returns the next event of g.
func (g *gateway) event(t testing.TB) ipsec.Event {
	t.Helper()
	select {
	case e := <-g.Events():
		return e
	case <-time.After(5 * time.Second):
		t.Fatal("no event")
		return nil
	}
}

// udp builds a UDP packet with n octets of payload.
func udp(src, dst netip.AddrPort, n int) []byte {
	u := make([]byte, udpHeaderLen+n)
	binary.BigEndian.PutUint16(u, src.Port())
	binary.BigEndian.PutUint16(u[2:], dst.Port())
	binary.BigEndian.PutUint16(u[4:], uint16(len(u)))
	for i := range n {
		u[udpHeaderLen+i] = byte(i * 7)
	}
	b := ipHeader(src.Addr(), dst.Addr(), protoUDP, u)
	l4 := len(b) - len(u)
	putUDPSum(b[l4+6:], sum(b[l4:], pseudo(b, protoUDP, len(u))))
	return b
}

// tcp builds a TCP segment with the given flags and options.
func tcp(src, dst netip.AddrPort, seq uint32, flags byte, options []byte, payload []byte) []byte {
	u := make([]byte, tcpHeaderLen, tcpHeaderLen+len(options)+len(payload))
	binary.BigEndian.PutUint16(u, src.Port())
	binary.BigEndian.PutUint16(u[2:], dst.Port())
	binary.BigEndian.PutUint32(u[4:], seq)
	binary.BigEndian.PutUint32(u[8:], 0x01020304)
	u[12] = byte((tcpHeaderLen + len(options)) / 4 << 4)
	u[13] = flags
	binary.BigEndian.PutUint16(u[14:], 0x7210)
	u = append(append(u, options...), payload...)
	b := ipHeader(src.Addr(), dst.Addr(), protoTCP, u)
	l4 := len(b) - len(u)
	putSum(b[l4+16:], sum(b[l4:], pseudo(b, protoTCP, len(u))))
	return b
}

// ipHeader puts an IP header in front of payload.
func ipHeader(src, dst netip.Addr, proto uint8, payload []byte) []byte {
	if src.Is4() {
		b := make([]byte, ipv4HeaderLen, ipv4HeaderLen+len(payload))
		s, d := src.As4(), dst.As4()
		b[0], b[8], b[9] = 0x45, 64, proto
		binary.BigEndian.PutUint16(b[2:], uint16(len(b)+len(payload)))
		copy(b[12:], s[:])
		copy(b[16:], d[:])
		sumIPv4(b, ipv4HeaderLen)
		return append(b, payload...)
	}
	b := make([]byte, ipv6HeaderLen, ipv6HeaderLen+len(payload))
	s, d := src.As16(), dst.As16()
	b[0], b[6], b[7] = 0x60, proto, 64
	binary.BigEndian.PutUint16(b[4:], uint16(len(payload)))
	copy(b[8:], s[:])
	copy(b[24:], d[:])
	return append(b, payload...)
}

func ports(a [2]netip.Addr) (src, dst netip.AddrPort) {
	return netip.AddrPortFrom(a[0], 1024), netip.AddrPortFrom(a[1], 7)
}
