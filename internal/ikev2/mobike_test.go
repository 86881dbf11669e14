package ikev2

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
)

// mobile brings up a pair with MOBIKE.
func mobile(t *testing.T) (*pair, *SA, *SA) {
	p := newPair(t, 11)
	for _, n := range []*node{p.west, p.east} {
		n.conns[0].MOBIKE = true
	}
	w, e := p.up()
	if !w.mobike || !e.mobike {
		t.Fatal("MOBIKE was not agreed on")
	}
	return p, w, e
}

var elsewhere = netip.MustParseAddr("192.0.2.77")

// homeOf checks that a node's Child SAs are of those addresses.
func homeOf(t *testing.T, n *node, local, remote netip.Addr) {
	t.Helper()
	for id, sa := range n.plane {
		if sa.Src == remote && id.Dst == local || sa.Src == local && id.Dst == remote {
			continue
		}
		t.Errorf("%s has %s from %s\n%s", n.name, id, sa.Src, n.p)
	}
}

// The initiator moves: UPDATE_SA_ADDRESSES, a check of the path, new Child SAs.
func TestMOBIKE(t *testing.T) {
	p, w, e := mobile(t)
	p.west.step(w, ike.Move{Local: elsewhere})
	p.settle()
	p.pass(time.Minute)
	p.check(1)
	homeOf(t, p.west, elsewhere, p.east.addr.Addr())
	homeOf(t, p.east, p.east.addr.Addr(), elsewhere)
	if w.state != stateUp || e.remote.Addr() != elsewhere {
		t.Errorf("east talks to %s", e.remote)
	}
	if n := len(facts[ike.ChildUp](p.west)); n != 2 {
		t.Errorf("%d Child SAs in all, want one before and one after", n)
	}
	// And back, after a rekeying from the other end: who began still may.
	p.east.step(e, ike.Rekey{})
	p.settle()
	p.pass(time.Minute)
	w = p.west.machines[0].(*SA)
	if w.first || !w.began || !w.mobike {
		t.Fatal("rekeying has changed who may move")
	}
	p.west.step(w, ike.Move{Local: p.west.addr.Addr()})
	p.pass(time.Minute)
	p.check(1)
	homeOf(t, p.west, p.west.addr.Addr(), p.east.addr.Addr())
}

// It moves again before the answer, and under loss; the last address counts.
func TestMOBIKEAgain(t *testing.T) {
	for seed := range 40 {
		p, w, e := mobile(t)
		p.fate = lossy(uint64(seed), 0.3)
		last := elsewhere
		for range 5 {
			last = last.Next()
			p.west.step(w, ike.Move{Local: last})
			p.pass(time.Duration(seed*30) * time.Millisecond)
		}
		p.pass(2 * time.Minute)
		if w.state != stateUp || e.remote.Addr() != last {
			t.Fatalf("seed %d: east talks to %s, west is at %s\n%s", seed, e.remote, last, p)
		}
		p.fate = nil
		p.pass(2 * time.Minute)
		p.check(1)
		homeOf(t, p.west, last, p.east.addr.Addr())
		homeOf(t, p.east, p.east.addr.Addr(), last)
	}
}

// Without MOBIKE of both, or from the other end, an address is not given up.
func TestMOBIKENotAgreed(t *testing.T) {
	for _, who := range []string{"west", "east", "responder"} {
		p := newPair(t, 11)
		p.west.conns[0].MOBIKE, p.east.conns[0].MOBIKE = who != "west", who != "east"
		w, e := p.up()
		n, sa := p.west, w
		if who == "responder" {
			n, sa = p.east, e
		}
		sent := len(p.sent)
		n.step(sa, ike.Move{Local: elsewhere})
		p.settle()
		if len(p.sent) != sent || sa.local.Addr() == elsewhere {
			t.Errorf("%s: moved", who)
		}
	}
}

// askFrom is ask from another address.
func (r *rude) askFrom(a netip.Addr, ps ...wire.Payload) wire.Payloads {
	remote := r.sa.remote
	i, resp, err := r.sa.keys.ciphers(r.sa.chosen)
	if err != nil {
		r.p.t.Fatal(err)
	}
	h := ike.Header{SPIi: r.sa.spiI, SPIr: r.sa.spiR, Major: 2, Exchange: ike.Informational, MessageID: r.sa.win.expect}
	sealer, opener := resp, i
	if !r.sa.first {
		h.Flags, sealer, opener = ike.FlagInitiator, i, resp
	}
	r.p.flying = nil
	r.victim.step(r.sa, ike.Received{Local: r.sa.local, Remote: netip.AddrPortFrom(a, remote.Port()), Msg: wire.Seal(nil, h, ps, sealer)})
	if len(r.p.flying) == 0 {
		return nil
	}
	out, err := wire.Open(r.p.flying[0].Msg, opener)
	if err != nil {
		r.p.t.Fatal(err)
	}
	return out
}

// UPDATE_SA_ADDRESSES from the responder, without MOBIKE, or to an address
// outside the policy: nothing moves. A wrong COOKIE2 ends the IKE SA, and data
// stays where it was until the path is proven (V2S-38).
func TestAdv_V2S_38_WrongUpdates(t *testing.T) {
	update := wire.NewNotify(ike.NotifyUpdateSAAddresses, nil)
	cookie := wire.NewNotify(ike.NotifyCookie2, []byte("12345678"))
	t.Run("from the responder", func(t *testing.T) {
		p, w, _ := mobile(t)
		rudeTo(p, p.west, w).askFrom(elsewhere, update, cookie)
		if w.remote.Addr() == elsewhere {
			t.Error("moved")
		}
	})
	t.Run("without MOBIKE", func(t *testing.T) {
		p, r := rudePair(t)
		if ps := r.askFrom(elsewhere, update, cookie); len(ps) != 0 {
			t.Errorf("answered with %v", ps)
		}
		p.check(1)
	})
	t.Run("outside the policy", func(t *testing.T) {
		p, _, e := mobile(t)
		e.conn.MobileFrom = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
		ps := rudeTo(p, p.east, e).askFrom(elsewhere, update, cookie)
		if errorOf(ps) != ike.NotifyUnacceptableAddresses || e.remote.Addr() == elsewhere {
			t.Errorf("answered with %v", ps)
		}
		ps = rudeTo(p, p.east, e).askFrom(netip.MustParseAddr("198.51.100.9"), update, cookie)
		if errorOf(ps) != 0 || !echoes(ps, []byte("12345678")) {
			t.Errorf("answered with %v", ps)
		}
	})
	t.Run("unproven path", func(t *testing.T) {
		p, _, e := mobile(t)
		old := e.children[0]
		rudeTo(p, p.east, e).askFrom(elsewhere, update, cookie)
		p.flying = nil
		p.now = p.now.Add(5 * time.Second)
		p.east.step(e, ike.TimeUp{})
		if len(e.children) != 1 || e.children[0] != old || p.east.use != old.out || old.out.Dst == elsewhere {
			t.Error("data moved")
		}
	})
	for _, who := range []string{"initiator", "responder"} {
		t.Run("wrong COOKIE2 to the "+who, func(t *testing.T) {
			p, w, e := mobile(t)
			n, sa := p.west, w
			p.west.step(w, ike.Move{Local: elsewhere})
			if who == "responder" {
				n, sa = p.east, e
				deliverOne(p)
				p.flying = nil
				p.now = p.now.Add(checkPathEvery)
				p.east.step(e, ike.TimeUp{})
			}
			p.flying = nil
			rudeTo(p, n, sa).answer(wire.NewNotify(ike.NotifyCookie2, bytes.Repeat([]byte{1}, cookie2Len)))
			if sa.state != stateClosing {
				t.Errorf("%s lives on in %s", n.name, sa.stateName())
			}
		})
	}
}

// A hundred moves a second: the last one stands, and data follows no faster
// than once in a second. NO_NATS_ALLOWED is checked against the packet (V2S-39).
func TestAdv_V2S_39_Restless(t *testing.T) {
	p, _, e := mobile(t)
	r := rudeTo(p, p.east, e)
	var last netip.Addr
	checks := 0
	for i := range 100 {
		last = netip.AddrFrom4([4]byte{198, 51, 100, byte(i)})
		r.askFrom(last, wire.NewNotify(ike.NotifyUpdateSAAddresses, nil))
		for _, d := range p.flying {
			if !responseOf(d) {
				checks++
			}
		}
		p.now = p.now.Add(10 * time.Millisecond)
	}
	if e.remote.Addr() != last || checks > 2 {
		t.Errorf("at %s, %d checks of the path in a second", e.remote, checks)
	}
	nats := wire.NewNotify(ike.NotifyNoNATsAllowed, pathOctets(e.remote, e.local))
	if ps := r.askFrom(elsewhere, wire.NewNotify(ike.NotifyUpdateSAAddresses, nil), nats); errorOf(ps) != ike.NotifyUnexpectedNAT || e.remote.Addr() == elsewhere {
		t.Errorf("through a NAT that is not allowed: %v", ps)
	}
	if ps := r.askFrom(last, wire.NewNotify(ike.NotifyUpdateSAAddresses, nil), nats); errorOf(ps) != 0 {
		t.Errorf("without a NAT: %v", ps)
	}
}

// A NAT before the initiator gives it another port: its next liveness check
// finds out, and it tells the peer like any other move.
func TestMOBIKERebind(t *testing.T) {
	p := newPair(t, 11)
	for _, n := range []*node{p.west, p.east} {
		n.conns[0].MOBIKE = true
	}
	p.east.conns[0].Remote.Addr = netip.IPv4Unspecified() // any
	outside := netip.AddrPortFrom(elsewhere, 40001)
	var inside netip.AddrPort
	p.fate = func(d datagram) []datagram {
		if d.from == p.west {
			inside, d.Local = d.Local, outside
		} else {
			if d.Remote != outside {
				return nil // a mapping that is gone
			}
			d.Remote = inside
		}
		return []datagram{d}
	}
	w := p.west.initiate()
	p.settle()
	e := p.east.machines[0].(*SA)
	if w.state != stateUp || !w.natLocal || w.seenAs == nil || e.remote != outside {
		t.Fatalf("east talks to %s\n%s", e.remote, p)
	}
	outside = netip.AddrPortFrom(elsewhere, 40002)
	p.west.step(w, ike.Probe{})
	p.pass(time.Minute)
	if e.remote != outside {
		t.Fatalf("east talks to %s\n%s", e.remote, p)
	}
	if n := len(facts[ike.ChildUp](p.east)); n != 2 || len(p.east.plane) != 2 {
		t.Errorf("%d Child SAs came up at east, %d SAs", n, len(p.east.plane))
	}
	for id, sa := range p.east.plane {
		if sa.Encap.RemotePort != outside.Port() {
			t.Errorf("%s goes to port %d", id, sa.Encap.RemotePort)
		}
	}
}
