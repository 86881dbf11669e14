package klips

import (
	"bytes"
	"context"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"cygnet/internal/ipsec"
	"cygnet/internal/tun"
)

func shunt(a ipsec.Action) ipsec.Policy {
	return ipsec.Policy{Selector: ipsec.Selector{Src: netip.MustParsePrefix("10.1.0.0/24"), Dst: netip.MustParsePrefix("10.2.0.0/24")}, Action: a, Owner: "west-east"}
}

func (g *gateway) set(t testing.TB, p ...ipsec.Policy) {
	t.Helper()
	if err := g.SetPolicies(context.Background(), p); err != nil {
		t.Fatal(err)
	}
}

// TestTrapHoldRelease: the packet that met the trap, and the newest one after
// it, travel once the tunnel is up, in that order; the ones between are lost.
func TestTrapHoldRelease(t *testing.T) {
	g := newLab(t, Options{})
	s := tunnel4()
	connect(t, g, s)
	g[0].set(t, shunt(ipsec.Trap))
	a, b := ports(inner4)
	for i := range 4 {
		g[0].send(t, tun.Header{}, udp(a, b, 100+i))
	}
	g[0].waitDrop(t, "hold", 4)
	want := ipsec.Acquire{Owner: "west-east", Flow: ipsec.Flow{Src: inner4[0], Dst: inner4[1], Proto: 17, SrcPort: 1024, DstPort: 7}}
	if e := g[0].event(t); e != want {
		t.Errorf("event %+v, want %+v", e, want)
	}
	list := g[0].Policies()
	if len(list) != 2 || list[0].Action != ipsec.Hold || list[0].Packets != 4 || list[0].Selector.Src.Bits() != 32 || list[1].Action != ipsec.Trap {
		t.Errorf("eroutes while held: %+v", list)
	}
	g[0].set(t, shunt(ipsec.Trap)) // the same again changes nothing
	g[1].quiet(t)

	// First to an explicit hold, as a connection that negotiates may ask for.
	g[0].set(t, shunt(ipsec.Hold))
	g[1].quiet(t)
	g[0].set(t, s.policy(0))
	for _, n := range []int{100, 103} {
		if _, p := g[1].receive(t); !bytes.Equal(p, udp(a, b, n)) {
			t.Errorf("got %d octets, want the packet with %d of payload", len(p), n)
		}
	}
	g[1].quiet(t)
	select {
	case e := <-g[0].Events():
		t.Errorf("a second event: %+v", e)
	default:
	}
}

// TestAcquireAgain: a flow that stays held is reported once more later, and
// forgotten when its packets end.
func TestAcquireAgain(t *testing.T) {
	g := newLab(t, Options{})
	g[0].set(t, shunt(ipsec.Trap))
	e := g[0].spd.Load().entries[0]
	a, b := ports(inner4)
	p := udp(a, b, 1)
	k, _ := parse(p)
	at := time.Unix(1000, 0)
	for _, x := range []struct {
		after time.Duration
		want  bool
	}{{0, true}, {time.Second, false}, {acquireEvery, true}, {acquireEvery + time.Second, false}} {
		g[0].holds.mu.Lock()
		acquire, ok := g[0].holds.add(e, &k.key, p, g[0].devices[0], at.Add(x.after))
		g[0].holds.mu.Unlock()
		if acquire != x.want || !ok {
			t.Errorf("after %v: acquire %v, stored %v", x.after, acquire, ok)
		}
	}
	g[0].holds.expire(at.Add(holdIdle + acquireEvery + 2*time.Second))
	if n := len(g[0].Policies()); n != 1 {
		t.Errorf("%d eroutes after the hold went idle", n)
	}
}

// TestTrapPerFlow: a trap with a protocol and port holds such flows apart.
func TestTrapPerFlow(t *testing.T) {
	g := newLab(t, Options{})
	trap := shunt(ipsec.Trap)
	trap.Selector.Proto, trap.Selector.DstPorts = protoUDP, ipsec.Ports{Lo: 1, Hi: 100}
	g[0].set(t, trap)
	a, b := ports(inner4)
	for _, port := range []uint16{7, 8, 7} {
		g[0].send(t, tun.Header{}, udp(a, netip.AddrPortFrom(b.Addr(), port), 1))
	}
	g[0].waitDrop(t, "hold", 3)
	list := g[0].Policies()
	if len(list) != 3 || list[0].Selector.DstPorts != (ipsec.Ports{Lo: 7, Hi: 7}) || list[1].Selector.DstPorts != (ipsec.Ports{Lo: 8, Hi: 8}) {
		t.Errorf("eroutes: %+v", list)
	}
}

func TestHoldsAreBounded(t *testing.T) {
	g := newLab(t, Options{})
	g[0].set(t, shunt(ipsec.Trap))
	e := g[0].spd.Load().entries[0]
	a, b := ports(inner4)
	p := udp(a, b, 1)
	k, _ := parse(p)
	g[0].holds.mu.Lock()
	defer g[0].holds.mu.Unlock()
	for i := range maxHolds + 1 {
		k.key.addr[0] = uint64(i)
		if _, ok := g[0].holds.add(e, &k.key, p, g[0].devices[0], now()); ok != (i < maxHolds) {
			t.Fatalf("hold %d: stored %v", i, ok)
		}
	}
}

func TestPassDropReject(t *testing.T) {
	a, b := ports(inner4)
	a6, b6 := ports(inner6)
	for _, x := range []struct {
		packet []byte
		v6     bool
	}{{udp(a, b, 50), false}, {udp(a6, b6, 50), true}} {
		g := newLab(t, Options{})
		with := func(act ipsec.Action) ipsec.Policy {
			p := shunt(act)
			if x.v6 {
				p.Selector.Src, p.Selector.Dst = netip.MustParsePrefix("fd00:1::/64"), netip.MustParsePrefix("fd00:2::/64")
			}
			return p
		}
		g[0].send(t, tun.Header{}, x.packet)
		g[0].waitDrop(t, "no_eroute", 1)

		g[0].set(t, with(ipsec.Drop))
		g[0].send(t, tun.Header{}, x.packet)
		g[0].waitDrop(t, "drop", 1)

		g[0].set(t, with(ipsec.Pass))
		g[0].send(t, tun.Header{}, x.packet)
		if got := <-g[1].wire.Clear(); !bytes.Equal(got, x.packet) {
			t.Errorf("passed %x, want %x", got, x.packet)
		}

		g[0].set(t, with(ipsec.Reject))
		g[0].send(t, tun.Header{}, x.packet)
		g[0].waitDrop(t, "reject", 1)
		_, m := g[0].receive(t)
		if x.v6 {
			checkICMP(t, m, x.packet, 1, 1, 0)
		} else {
			checkICMP(t, m, x.packet, 3, 13, 0)
		}
		if g[0].Policies()[0].Packets != 1 {
			t.Errorf("the eroute counts %d packets", g[0].Policies()[0].Packets)
		}
	}
}

// checkICMP checks that m is an ICMP error about packet, to its sender.
func checkICMP(t *testing.T, m, packet []byte, typ, code uint8, rest uint32) {
	t.Helper()
	p, ok := parse(m)
	if !ok || p.len != len(m) {
		t.Fatalf("no IP packet: %x", m)
	}
	q, _ := parse(packet)
	src, dst := p.key.addrs()
	if s, d := q.key.addrs(); src != d || dst != s {
		t.Errorf("ICMP from %v to %v about %v to %v", src, dst, s, d)
	}
	icmp := m[p.l4:]
	x := uint64(0)
	if p.v6 {
		x = pseudo(m, protoICMPv6, len(icmp))
	} else if fold(sum(m[:ipv4HeaderLen], 0)) != 0xffff {
		t.Error("bad header checksum")
	}
	if fold(sum(icmp, x)) != 0xffff {
		t.Error("bad ICMP checksum")
	}
	if icmp[0] != typ || icmp[1] != code || binary.BigEndian.Uint32(icmp[4:]) != rest {
		t.Errorf("type %d code %d rest %d, want %d %d %d", icmp[0], icmp[1], binary.BigEndian.Uint32(icmp[4:]), typ, code, rest)
	}
	if !bytes.HasPrefix(packet, icmp[8:]) || len(icmp) < 8+28 {
		t.Errorf("quotes %x", icmp[8:])
	}
}

// TestNoErrorAboutErrors: rejected ICMP errors, fragments and strange sources
// are not answered.
func TestNoErrorAboutErrors(t *testing.T) {
	unreachable := ipHeader(inner4[0], inner4[1], protoICMP, []byte{3, 1, 0, 0, 0, 0, 0, 0})
	echo := ipHeader(inner4[0], inner4[1], protoICMP, []byte{8, 0, 0, 0, 0, 0, 0, 0})
	a, b := ports(inner4)
	later := udp(a, b, 50)
	later[7] = 5 // fragment offset
	error6 := ipHeader(inner6[0], inner6[1], protoICMPv6, []byte{1, 1, 0, 0, 0, 0, 0, 0})
	echo6 := ipHeader(inner6[0], inner6[1], protoICMPv6, []byte{128, 0, 0, 0, 0, 0, 0, 0})
	for i, x := range []struct {
		b    []byte
		want bool
	}{{unreachable, false}, {echo, true}, {later, false}, {udp(netip.MustParseAddrPort("224.0.0.1:1"), b, 1), false},
		{udp(netip.MustParseAddrPort("0.0.0.0:1"), b, 1), false}, {error6, false}, {echo6, true}, {udp(a, b, 1), true}} {
		p, ok := parse(x.b)
		if !ok {
			t.Fatalf("%d: does not parse", i)
		}
		if got := answerable(x.b, p); got != x.want {
			t.Errorf("%d: answerable %v", i, got)
		}
	}
}

// TestICMPRate: a flood of rejected packets is answered by a bounded number.
func TestICMPRate(t *testing.T) {
	var s icmpSender
	at := time.Unix(1, 0)
	n := 0
	for range 1000 {
		if s.allow(at) {
			n++
		}
	}
	if n != icmpBurst {
		t.Errorf("%d at once, want %d", n, icmpBurst)
	}
	if !s.allow(at.Add(icmpEvery)) || s.allow(at.Add(icmpEvery)) {
		t.Error("the rate afterwards is not one per interval")
	}
}

// TestIKEExemption: IKE from our own address passes in clear past shunts,
// IKE of others does not, nor any other port.
// R3.6.
func TestIKEExemption(t *testing.T) {
	g := newLab(t, Options{})
	all := shunt(ipsec.Drop)
	all.Selector.Src, all.Selector.Dst = netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("0.0.0.0/0")
	g[0].set(t, all)
	to := netip.AddrPortFrom(outer4[1], 500)
	for _, from := range []string{"192.0.2.9:500", "192.0.2.1:501", "192.0.2.1:53"} {
		g[0].send(t, tun.Header{}, udp(netip.MustParseAddrPort(from), to, 30))
	}
	g[0].waitDrop(t, "drop", 3)
	for _, from := range []string{"192.0.2.1:500", "192.0.2.1:4500"} {
		p := udp(netip.MustParseAddrPort(from), to, 30)
		g[0].send(t, tun.Header{}, p)
		if got := <-g[1].wire.Clear(); !bytes.Equal(got, p) {
			t.Errorf("from %s: %x", from, got)
		}
	}
	if n := g[0].Policies()[0].Packets; n != 3 {
		t.Errorf("IKE is counted on the eroute: %d", n)
	}
}

// TestIKEInsideTunnel: IKE of ours to a host behind the peer is protected like
// anything else; to the peer itself it passes, or there would be no way to
// negotiate the SA that protects it.
func TestIKEInsideTunnel(t *testing.T) {
	g := newLab(t, Options{})
	s := tunnel4()
	s.inner = [2]netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("0.0.0.0/0")}
	connect(t, g, s)
	from := netip.AddrPortFrom(outer4[0], 500)
	inside := udp(from, netip.MustParseAddrPort("10.2.0.7:500"), 30)
	g[0].send(t, tun.Header{}, inside)
	if _, got := g[1].receive(t); !bytes.Equal(got, inside) {
		t.Errorf("through the tunnel: %x", got)
	}
	outside := udp(from, netip.AddrPortFrom(outer4[1], 500), 30)
	g[0].send(t, tun.Header{}, outside)
	if got := <-g[1].wire.Clear(); !bytes.Equal(got, outside) {
		t.Errorf("in clear: %x", got)
	}
}

// A hundred thousand packets that meet one trap, of as many flows as there are
// ports, ask for their tunnel once (RES-20); and of as many pairs of hosts as
// one likes, there are never more questions than holds.
func TestAdv_RES_20_AcquiresCoalesce(t *testing.T) {
	g := newLab(t, Options{})
	g[0].set(t, shunt(ipsec.Trap))
	e := g[0].spd.Load().entries[0]
	a, b := ports(inner4)
	at := time.Unix(1000, 0)
	ask := func(i int, pairs bool) bool {
		p := udp(netip.AddrPortFrom(a.Addr(), uint16(i)), b, 1)
		k, _ := parse(p)
		if pairs {
			k.key.addr[0] += uint64(i)
		}
		g[0].holds.mu.Lock()
		defer g[0].holds.mu.Unlock()
		acquire, _ := g[0].holds.add(e, &k.key, p, g[0].devices[0], at)
		return acquire
	}
	for _, c := range []struct {
		pairs bool
		most  int
	}{{false, 1}, {true, maxHolds - 1}} {
		asked := 0
		for i := range 100_000 {
			if ask(i, c.pairs) {
				asked++
			}
		}
		if asked == 0 || asked > c.most {
			t.Errorf("pairs %v: asked %d times, at most %d are right", c.pairs, asked, c.most)
		}
	}
}
