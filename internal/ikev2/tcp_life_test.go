package ikev2

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
	"cygnet/internal/ipsec"
)

// A responder that asks for a cookie by TCP, as ours does not, gets it there.
func TestTCPCookie(t *testing.T) {
	p := newPair(t, 33)
	p.west.conns[0].TCP = ike.TCPFallback
	p.fate = func(d datagram) []datagram {
		if d.Stream && d.from == p.west { // once; then as ever
			p.fate = noUDP
			return nil
		}
		return noUDP(d)
	}
	w := p.west.initiate()
	for w.tcp != tcpOpens {
		p.pass(100 * time.Millisecond)
	}
	h := ike.Header{SPIi: w.spiI, Major: ike.Version2, Exchange: ike.SAInit, Flags: ike.FlagResponse}
	cookie := []byte("a cookie")
	sent := len(p.sent)
	p.west.step(w, ike.Received{Local: w.local, Remote: w.remote, Msg: wire.Append(nil, h, wire.NewNotify(ike.NotifyCookie, cookie)), Stream: true})
	if len(p.sent) != sent+1 || !p.sent[sent].Stream || !p.sent[sent].Dial {
		t.Fatalf("not repeated by TCP\n%s", p)
	}
	m, err := wire.Parse(p.sent[sent].Msg)
	if err != nil {
		t.Fatal(err)
	}
	if n, ok := m.Notify(ike.NotifyCookie); !ok || !bytes.Equal(n.Data, cookie) {
		t.Error("without the cookie")
	}
	p.pass(10 * time.Second)
	p.check(1)
}

// Nobody answers by TCP either: the attempt ends, after the time of both.
func TestTCPNobody(t *testing.T) {
	p := newPair(t, 34)
	p.west.conns[0].TCP = ike.TCPFallback
	p.fate = func(datagram) []datagram { return nil }
	w := p.west.initiate()
	_, total := patience(w.conn)
	p.pass(total)
	if w.state != stateInitI {
		t.Errorf("given up before TCP has had its time\n%s", p)
	}
	p.pass(total)
	if w.state != stateDead || len(facts[ike.Failed](p.west)) != 1 {
		t.Errorf("not given up\n%s", p)
	}
	if n := len(p.hungUp); n != 1 {
		t.Errorf("hung up %d times", n)
	}
}

// The responder has lost everything: the connection ends, it knows nothing of who
// calls by the next one, and the initiator finds out.
func TestTCPRestart(t *testing.T) {
	p, w, _ := overTCP(t, nil)
	p.east.machines, p.east.out, p.east.use = nil, map[uint32]ipsec.SAID{}, ipsec.SAID{}
	clear(p.east.plane)
	p.west.step(w, ike.StreamLost{Local: w.local, Remote: w.remote})
	p.pass(5 * time.Minute)
	downs := facts[ike.IKEDown](p.west)
	if len(downs) != 1 || downs[0].Why == nil || downs[0].Why.Reason != ike.ReasonSilent {
		t.Fatalf("%v\n%s", downs, p)
	}
	if len(p.west.plane) != 0 {
		t.Errorf("%d SAs left", len(p.west.plane))
	}
}

// Connections are lost again and again, with what is in them, while both ends
// rekey: in the end both talk by the newest, and all that there is goes by it.
func TestTCPLife(t *testing.T) {
	for seed := range 30 {
		rng := rand.New(rand.NewPCG(uint64(seed), 9329))
		p, _, _ := overTCP(t, func(p *pair) {
			for _, n := range []*node{p.west, p.east} {
				c := n.conns[0]
				c.MOBIKE, c.ChildLife, c.IKELife, c.DPDDelay = seed%2 == 1, 20*time.Minute, 50*time.Minute, 30*time.Second
			}
		})
		loss := 0.0
		p.fate = func(d datagram) []datagram {
			if rng.Float64() < loss {
				return nil
			}
			return noUDP(d)
		}
		for range 100 {
			p.pass(time.Duration(rng.IntN(120_000)) * time.Millisecond)
			loss = 0.5 * rng.Float64() // the connection is about to break: what goes into it is lost
			p.pass(time.Duration(rng.IntN(2_000)) * time.Millisecond)
			p.flying, loss = nil, 0
			for _, m := range append([]ike.Machine(nil), p.west.machines...) {
				s := m.(*SA)
				p.west.step(s, ike.StreamLost{Local: s.local, Remote: s.remote})
			}
			p.traffic()
		}
		p.pass(2 * time.Minute)
		p.check(1)
		w, e := p.west.standing(), p.east.standing()
		if w == nil || e == nil || e.remote != w.local || e.tcp != tcpAnswer {
			t.Fatalf("seed %d: not up, or not by one connection\n%s", seed, p)
		}
		inTCP(t, p.west, w.local, w.remote)
		inTCP(t, p.east, e.local, e.remote)
	}
}

// standing is the IKE SA of n that is established, nil if there is none.
func (n *node) standing() *SA {
	for _, m := range n.machines {
		if s := m.(*SA); s.state == stateUp {
			return s
		}
	}
	return nil
}
