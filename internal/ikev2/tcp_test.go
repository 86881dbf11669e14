package ikev2

import (
	"net/netip"
	"testing"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
	"cygnet/internal/ipsec"
)

// noUDP loses what goes by UDP.
func noUDP(d datagram) []datagram {
	if d.Stream {
		return []datagram{d}
	}
	return nil
}

// overTCP brings up a pair that falls back to TCP.
func overTCP(t *testing.T, change func(*pair)) (*pair, *SA, *SA) {
	t.Helper()
	p := newPair(t, 31)
	for _, n := range []*node{p.west, p.east} {
		n.conns[0].TCP = ike.TCPFallback
	}
	p.fate = noUDP
	if change != nil {
		change(p)
	}
	w := p.west.initiate()
	p.pass(20 * time.Second)
	if len(p.east.machines) != 1 || w.state != stateUp {
		t.Fatalf("not up\n%s", p)
	}
	e := p.east.machines[0].(*SA)
	if w.tcp != tcpOpens || e.tcp != tcpAnswer {
		t.Fatalf("roles %d and %d\n%s", w.tcp, e.tcp, p)
	}
	return p, w, e
}

// inTCP checks that all that a node has goes in TCP, from and to these ends.
func inTCP(t *testing.T, n *node, local, remote netip.AddrPort) {
	t.Helper()
	want := ipsec.Encap{LocalPort: local.Port(), RemotePort: remote.Port(), Stream: true}
	for id, sa := range n.plane {
		if sa.Encap != want {
			t.Errorf("%s: %s goes by %+v, want %+v", n.name, id, sa.Encap, want)
		}
	}
}

// No answer by UDP: the request goes by TCP, and has all its time there.
func TestTCPFallback(t *testing.T) {
	p, w, e := overTCP(t, nil)
	p.check(1)
	if w.remote.Port() != portNATT || w.local.Port() < firstDynamic || e.remote != w.local || e.local != w.remote {
		t.Errorf("%s-%s, %s-%s", w.local, w.remote, e.local, e.remote)
	}
	inTCP(t, p.west, w.local, w.remote)
	inTCP(t, p.east, e.local, e.remote)
	if !w.keepAliveAt.IsZero() || !e.keepAliveAt.IsZero() || w.watchesPath() {
		t.Error("a NAT is kept open")
	}
	for _, d := range p.sent {
		if d.Stream && d.Dial != (d.from == p.west) {
			t.Errorf("%s dials: %t", d.from.name, d.Dial)
		}
	}
	if up := facts[ike.IKEUp](p.west)[0]; !up.Stream {
		t.Errorf("%s", up)
	}
	// Rekeying of either end changes nothing in that, and closes nothing.
	for _, n := range []*node{p.west, p.east} {
		n.step(n.machines[0], ike.Rekey{})
		p.pass(time.Minute)
		p.check(1)
	}
	w, e = p.west.machines[0].(*SA), p.east.machines[0].(*SA)
	if w.tcp != tcpOpens || e.tcp != tcpAnswer || *w.users != 1 || len(p.hungUp) != 0 {
		t.Errorf("roles %d and %d, %d users, hung up %v", w.tcp, e.tcp, *w.users, p.hungUp)
	}
	p.west.step(w, ike.Delete{})
	p.pass(time.Minute)
	if len(p.hungUp) != 1 || p.hungUp[0] != (ike.HangUp{Local: w.local, Remote: w.remote}) {
		t.Errorf("hung up %v", p.hungUp)
	}
}

// enable-tcp=yes sends nothing by UDP; without it nothing goes by TCP.
func TestTCPAlways(t *testing.T) {
	for _, mode := range []ike.TCP{ike.TCPYes, ike.TCPNo} {
		p := newPair(t, 32)
		p.west.conns[0].TCP, p.west.conns[0].TCPPort = mode, 443
		w, _ := p.up()
		for _, d := range p.sent {
			if d.Stream != (mode == ike.TCPYes) {
				t.Errorf("mode %d: by TCP %t", mode, d.Stream)
			}
		}
		if mode == ike.TCPYes && w.remote.Port() != 443 {
			t.Errorf("to %s", w.remote)
		}
	}
}

// What is asked of the first request is answered by TCP too: another group. A
// cookie is not asked for, since TCP has shown the address (6.3).
func TestTCPInvalidKE(t *testing.T) {
	p, _, _ := overTCP(t, func(p *pair) {
		p.east.conns[0].IKE = p.east.conns[0].IKE[:1]
		p.east.conns[0].IKE[0].KE = p.east.conns[0].IKE[0].KE[1:]
		p.east.gate.limits.HalfOpen, p.east.gate.limits.PerSource = 0, 0
	})
	p.check(1)
	for _, d := range p.sent {
		if m, err := wire.Parse(d.Msg); err == nil {
			if _, asked := m.Notify(ike.NotifyCookie); asked {
				t.Error("a cookie by TCP")
			}
		}
	}
}

// The connection is lost: another is opened at once, the peer follows it, and so
// do the Child SAs.
func TestTCPLost(t *testing.T) {
	for _, mobike := range []bool{false, true} {
		p, w, e := overTCP(t, func(p *pair) {
			p.west.conns[0].MOBIKE, p.east.conns[0].MOBIKE = mobike, mobike
		})
		for range 3 { // faster than any limit on moving
			before := w.local
			p.west.step(w, ike.StreamLost{Local: before, Remote: netip.MustParseAddrPort("192.0.2.1:4500")})
			if w.local != before {
				t.Fatal("another's connection was ours")
			}
			p.west.step(w, ike.StreamLost{Local: w.local, Remote: w.remote})
			p.pass(time.Second)
			if w.local == before || e.remote != w.local {
				t.Fatalf("west is at %s, east talks to %s\n%s", w.local, e.remote, p)
			}
		}
		p.pass(time.Minute)
		p.check(1)
		inTCP(t, p.west, w.local, w.remote)
		inTCP(t, p.east, e.local, e.remote)
	}
}

// Until an authentic message comes by it, another's connection is nothing; and
// a message by UDP takes nobody off TCP.
func TestTCPStrangers(t *testing.T) {
	p, w, e := overTCP(t, nil)
	var last datagram
	for _, d := range p.sent {
		if d.from == p.west {
			last = d
		}
	}
	other := netip.MustParseAddrPort("192.0.2.66:50000")
	forged := append(append([]byte(nil), last.Msg[:28]...), make([]byte, 60)...)
	for _, msg := range [][]byte{last.Msg, forged} {
		for _, stream := range []bool{true, false} {
			p.east.step(e, ike.Received{Local: e.local, Remote: other, Msg: msg, Stream: stream})
		}
	}
	if e.remote != w.local || e.tcp != tcpAnswer {
		t.Fatalf("east talks to %s", e.remote)
	}
	p.west.step(w, ike.Probe{Tell: true})
	d := p.flying[len(p.flying)-1]
	p.flying = nil
	p.east.step(e, ike.Received{Local: e.local, Remote: other, Msg: d.Msg})
	if e.remote != w.local || e.tcp != tcpAnswer {
		t.Errorf("east talks to %s after a message by UDP", e.remote)
	}
}

// The initiator moves: a connection from there, and UPDATE_SA_ADDRESSES by it.
func TestTCPMOBIKE(t *testing.T) {
	p, w, e := overTCP(t, func(p *pair) {
		p.west.conns[0].MOBIKE, p.east.conns[0].MOBIKE = true, true
	})
	before := w.local
	p.west.step(w, ike.Move{Local: elsewhere})
	p.pass(time.Minute)
	p.check(1)
	if e.remote != w.local || w.local.Addr() != elsewhere || e.tcp != tcpAnswer {
		t.Errorf("west is at %s, east talks to %s", w.local, e.remote)
	}
	if len(p.hungUp) != 1 || p.hungUp[0].Local != before {
		t.Errorf("hung up %v", p.hungUp)
	}
	inTCP(t, p.west, w.local, w.remote)
	inTCP(t, p.east, e.local, e.remote)
}
