package klips

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"cygnet/internal/esp"
	"cygnet/internal/ipsec"
	"cygnet/internal/tun"
	"cygnet/internal/underlay"
)

// Addresses of a tunnel that runs inside another one.
var (
	ends4  = [2]netip.Addr{netip.MustParseAddr("10.1.0.1"), netip.MustParseAddr("10.2.0.1")}
	ends6  = [2]netip.Addr{netip.MustParseAddr("fd00:1::1"), netip.MustParseAddr("fd00:2::1")}
	hosts4 = [2]netip.Addr{netip.MustParseAddr("172.16.1.5"), netip.MustParseAddr("172.16.2.7")}
)

// shifted gives the SAs of a stack other numbers, so that two stacks can live
// in one gateway.
func shifted(list []ipsec.SA, by ipsec.SPI) []ipsec.SA {
	for i := range list {
		list[i].ID.SPI += by
		for k := range list[i].Bundle {
			if i == 0 { // SAs of a bundle share the list
				list[i].Bundle[k].SPI += by
			}
		}
	}
	return list
}

// TestTunnelInTunnel is R20.5 between two gateways that are the ends of both
// tunnels: hosts behind 10.1.0.1 and 10.2.0.1, which are reached by a tunnel.
func TestTunnelInTunnel(t *testing.T) {
	for _, ends := range [][2]netip.Addr{ends4, ends6} {
		for _, encap := range []bool{false, true} {
			for name, parts := range map[string][]part{"esp": {partGCM}, "ah": {partTun, partAHSHA}, "tun": {partTun}, "comp": {partTun, partComp}, "esp-ah": {partTun, partAES, partAHMD5}} {
				if encap && name != "esp" {
					continue
				}
				for outerName, outerParts := range map[string][]part{"esp": {part3DES}, "ah": {partAHSHA2}} {
					inner := stack{setup{outer: ends, inner: nets(hosts4, 24), encap: encap}, parts, true}
					outer := stack{setup{outer: outer4, inner: nets(ends, 24)}, outerParts, true}
					t.Run(fmt.Sprintf("%s-%v-%v-in-%s", name, encap, ends[0].Is6(), outerName), func(t *testing.T) { nest(t, inner, outer) })
				}
			}
		}
	}
}

func nest(t *testing.T, inner, outer stack) {
	g := newLab(t, Options{})
	for me := range g {
		for from := range g {
			g[me].add(t, outer.sas(from, me)...)
			g[me].add(t, shifted(inner.sas(from, me), 0x100)...)
		}
		p := inner.policy(me)
		for i := range p.Bundle {
			p.Bundle[i].SPI += 0x100
		}
		g[me].set(t, outer.policy(me), p)
		g[me].wire.SetMTU(1500)
	}
	seen := g[1].record()
	a, b := inner.ends()
	for _, n := range []int{0, 100, 1200} {
		for from, p := range [][]byte{udp(a, b, n), udp(b, a, n)} {
			g[from].send(t, tun.Header{}, p)
			if _, got := g[1-from].receive(t); !bytes.Equal(got, p) {
				t.Fatalf("got\n%x, want\n%x", got, p)
			}
		}
	}
	for range 3 {
		w := <-seen
		shown := bytes.Contains(w.Data, a.Addr().AsSlice())
		if w.Proto != outer.parts[len(outer.parts)-1].proto || shown && (secret(inner) || secret(outer)) {
			t.Errorf("on the wire: %s %x", w.Proto, w.Data[:min(len(w.Data), 150)])
		}
	}
	if g[0].counted() != "" || g[1].counted() != "" {
		t.Errorf("drops %s / %s", g[0].counted(), g[1].counted())
	}
	// Both policies count, and the room is that of the two together.
	for _, st := range g[0].Policies() {
		if st.Packets != 3 {
			t.Errorf("%s: %d packets", st.Selector, st.Packets)
		}
	}
	for i := range g {
		g[i].wire.SetMTU(9000) // so that nothing is fragmented
		g[i].devices[0].mtu.Store(9000)
	}
	bd := g[0].spd.Load().lookup(ipsec.Flow{Src: hosts4[0], Dst: hosts4[1], Proto: 17}).out.Load()
	room := bd.room(1500)
	for _, n := range []int{room, room + 1} {
		g[0].send(t, tun.Header{}, noisy(udp(a, b, n-28)))
		w := <-seen
		total := len(w.Data) - w.Head + ipv4HeaderLen
		if (total <= 1500) != (n == room) {
			t.Errorf("of %d octets come %d", n, total)
		}
	}
}

// secret reports whether what is inside must not show.
func secret(s stack) bool {
	return slices.ContainsFunc(s.parts, func(p part) bool { return p.proto == ipsec.ESP })
}

// TestCircle: tunnels that lead into each other carry nothing.
func TestCircle(t *testing.T) {
	g := newLab(t, Options{})
	to := [2]netip.Addr{netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("198.51.100.2")}
	var list []ipsec.Policy
	for i := range to {
		s := stack{setup{outer: [2]netip.Addr{outer4[0], to[i]}, inner: nets([2]netip.Addr{outer4[0], to[1-i]}, 32)}, []part{partGCM}, true}
		g[0].add(t, s.sas(0, 0)...)
		list = append(list, s.policy(0))
	}
	g[0].set(t, list...)
	seen := g[1].record()
	g[0].send(t, tun.Header{}, udp(netip.AddrPortFrom(outer4[0], 9), netip.AddrPortFrom(to[0], 9), 9))
	g[0].waitDrop(t, "recursion", 1)
	if len(seen) != 0 {
		t.Error("a packet left")
	}
	// A shunt ends the circle.
	for _, p := range []ipsec.Policy{{Action: ipsec.Drop}, {Action: ipsec.Trap}} {
		p.Selector = ipsec.Selector{Src: netip.PrefixFrom(outer4[0], 32), Dst: netip.PrefixFrom(to[1], 32), Proto: uint8(ipsec.ESP)}
		g[0].set(t, append(list, p)...)
		if bd := g[0].spd.Load().lookup(ipsec.Flow{Src: outer4[0], Dst: to[0], Proto: 17}).out.Load(); bd == nil || bd.nest != nil {
			t.Errorf("with %s: %+v", p.Action, bd)
		}
	}
}

// TestSameDestination: what leads to the gateway that the packet goes to
// already is not applied again (R3.6).
func TestSameDestination(t *testing.T) {
	g := newLab(t, Options{})
	s := stack{setup{outer: outer4, inner: nets(inner4, 24)}, []part{partGCM}, true}
	s.connect(t, g)
	hosts := s.policy(0)
	hosts.Selector = ipsec.Selector{Src: netip.PrefixFrom(outer4[0], 32), Dst: netip.PrefixFrom(outer4[1], 32)}
	g[0].set(t, s.policy(0), hosts)
	a, b := s.ends()
	g[0].send(t, tun.Header{}, udp(a, b, 9))
	g[1].receive(t)
	for _, st := range g[0].Policies() {
		want := uint64(1)
		if st.Selector == hosts.Selector {
			want = 0
		}
		if st.Packets != want {
			t.Errorf("%s: %d packets, want %d", st.Selector, st.Packets, want)
		}
	}
}

// TestDeep is ESP-07: ESP in ESP in ESP, all for ourselves.
func TestDeep(t *testing.T) {
	s := stack{setup{outer: outer4, inner: [2]netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("0.0.0.0/0")}}, []part{partGCM}, true}
	for _, mode := range []ipsec.Mode{ipsec.Tunnel, ipsec.Transport} {
		s.mode = mode
		for _, depth := range []int{1, 2, maxNest, maxNest + 1, maxNest + 2, 50} {
			g := newLab(t, Options{})
			s.connect(t, g)
			out, err := esp.NewOut(s.sas(0, 0)[0], nil)
			if err != nil {
				t.Fatal(err)
			}
			p := udp(netip.AddrPortFrom(outer4[0], 9), netip.AddrPortFrom(outer4[1], 9), 9)
			want := bytes.Clone(p)
			for i := range depth {
				payload, next := p, uint8(protoIPv4)
				if mode == ipsec.Transport {
					payload, next = p[ipv4HeaderLen:], p[9]
				}
				p = ipHeader(outer4[0], outer4[1], uint8(ipsec.ESP), out.Seal(new(esp.Scratch), make([]byte, out.SealedLen(len(payload))), uint64(depth-i), next, payload, 0))
			}
			g[1].wire.Deliver(underlay.Arrival{Proto: ipsec.ESP, Local: outer4[1], Remote: netip.AddrPortFrom(outer4[0], 0), Data: p, Head: ipv4HeaderLen, Seg: len(p)})
			if depth > maxNest+1 {
				g[1].waitDrop(t, "recursion", 1)
				g[1].quiet(t)
				continue
			}
			if _, got := g[1].receive(t); !bytes.Equal(got, want) {
				t.Errorf("%s, %d deep: %x", mode, depth, got)
			}
		}
	}
}

// TestPassing: protected packets of others go through a tunnel as any packet.
func TestPassing(t *testing.T) {
	g := newLab(t, Options{})
	connect(t, g, tunnel4())
	for _, proto := range []uint8{4, 41, 50, 51, 108} {
		p := ipHeader(inner4[0], inner4[1], proto, bytes.Repeat([]byte{1, 2, 3, 4}, 20))
		g[0].send(t, tun.Header{}, p)
		if _, got := g[1].receive(t); !bytes.Equal(got, p) {
			t.Errorf("protocol %d: %x", proto, got)
		}
	}
	for _, n := range []int{0, 1, 40} { // IKE, keepalives and ESP in UDP
		p := udp(netip.AddrPortFrom(inner4[0], 4500), netip.AddrPortFrom(inner4[1], 4500), n)
		g[0].send(t, tun.Header{}, p)
		if _, got := g[1].receive(t); !bytes.Equal(got, p) {
			t.Errorf("UDP of %d octets: %x", n, got)
		}
	}
}
