package ikev2

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
	"cygnet/internal/suite"
)

// west → east: IKE_SA_INIT, IKE_AUTH; one IKE SA and one pair of Child SAs.
// XCH-01.
func TestEstablish(t *testing.T) {
	p := newPair(t, 1)
	w, e := p.up()
	if len(p.sent) != 4 {
		t.Errorf("%d messages, want 4", len(p.sent))
	}
	for _, n := range []*node{p.west, p.east} {
		if ups := facts[ike.IKEUp](n); len(ups) != 1 || !ups[0].Encap || ups[0].InitialContact != (n == p.east) {
			t.Errorf("%s: %+v", n.name, ups)
		}
		if ups := facts[ike.ChildUp](n); len(ups) != 1 || !ups[0].Use || ups[0].Encap.LocalPort != 4500 {
			t.Errorf("%s: %+v", n.name, ups)
		}
	}
	if w.chosen.String() != e.chosen.String() || w.remote.Port() != 4500 || e.local.Port() != 4500 {
		t.Errorf("west %s %s, east %s %s", w.chosen, w.remote, e.chosen, e.local)
	}
}

func TestEstablishPubkey(t *testing.T) {
	p := newPair(t, 1)
	useKeys(p, edKey(1), edKey(2))
	p.up()
}

// both runs a test with each side as the one that acts.
func both(t *testing.T, test func(t *testing.T, p *pair, actor, other *node, am, om *SA)) {
	for _, name := range []string{"initiator", "responder"} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, 7)
			w, e := p.up()
			if name == "initiator" {
				test(t, p, p.west, p.east, w, e)
			} else {
				test(t, p, p.east, p.west, e, w)
			}
		})
	}
}

// actor → other: CREATE_CHILD_SA {N(REKEY_SA), SA, Ni, KEi, TSi, TSr}, then
// INFORMATIONAL {D}. Make before break.
// XCH-10.
func TestRekeyChild(t *testing.T) {
	both(t, func(t *testing.T, p *pair, actor, other *node, am, om *SA) {
		old := am.children[0]
		oldOther := om.children[0]
		actor.step(am, ike.Rekey{Child: old.serial})
		d := p.flying[0] // the request
		p.flying = nil
		d.to.receive(d.Send)
		p.traffic()
		if ups := facts[ike.ChildUp](other); len(ups) != 2 || ups[1].Use || ups[1].Rekeyed != oldOther.serial {
			t.Fatalf("the responder announces %+v", ups)
		}
		p.settle()
		p.traffic()
		if ups := facts[ike.ChildUp](actor); len(ups) != 2 || !ups[1].Use || ups[1].Rekeyed != old.serial {
			t.Fatalf("the initiator announces %+v", ups)
		}
		if n := len(facts[ike.ChildUse](other)); n != 1 {
			t.Errorf("the responder moves %d times", n)
		}
		for _, n := range []*node{actor, other} {
			if downs := facts[ike.ChildDown](n); len(downs) != 1 || !downs[0].Replaced || downs[0].Why != nil {
				t.Errorf("%s: %+v", n.name, downs)
			}
			if len(n.plane) != 4 {
				t.Errorf("%s has %d SAs within the grace, want 4", n.name, len(n.plane))
			}
		}
		p.pass(grace)
		p.check(1)
	})
}

// The responder moves to the new pair on the first packet that comes on it,
// should the Delete of the old be lost.
func TestRekeyChildFirstUse(t *testing.T) {
	p := newPair(t, 7)
	w, _ := p.up()
	p.fate = func(d datagram) []datagram {
		if exchangeOf(d) == ike.Informational {
			return nil
		}
		return []datagram{d}
	}
	p.west.step(w, ike.Rekey{Child: w.children[0].serial})
	p.settle()
	if n := len(facts[ike.ChildUse](p.east)); n != 0 {
		t.Fatalf("east moved before it could know")
	}
	p.traffic()
	if n := len(facts[ike.ChildUse](p.east)); n != 1 {
		t.Fatalf("east did not move on the first packet")
	}
}

// actor → other: CREATE_CHILD_SA {SA, Ni, KEi}, then INFORMATIONAL {D} on the
// old IKE SA. The children move.
// XCH-39.
func TestRekeyIKE(t *testing.T) {
	both(t, func(t *testing.T, p *pair, actor, other *node, am, om *SA) {
		actor.step(am, ike.Rekey{})
		p.settle()
		p.traffic()
		for _, n := range []*node{actor, other} {
			ups, downs := facts[ike.IKEUp](n), facts[ike.IKEDown](n)
			if len(ups) != 2 || ups[1].Rekeyed == 0 || len(downs) != 1 || !downs[0].Rekeyed || downs[0].Why != nil {
				t.Errorf("%s: %+v %+v", n.name, ups, downs)
			}
			if len(facts[ike.ChildDown](n)) != 0 {
				t.Errorf("%s lost a child", n.name)
			}
		}
		p.pass(lingerLife)
		if len(actor.machines) != 1 || len(other.machines) != 1 {
			t.Fatalf("machines are left over\n%s", p)
		}
		p.check(1)
		// The successor works: rekey its child, then itself from the other side.
		n, o := actor.machines[0].(*SA), other.machines[0].(*SA)
		if !n.first || o.first {
			t.Error("the new IKE SA's initiator is who rekeyed")
		}
		actor.step(n, ike.Rekey{Child: n.children[0].serial})
		p.settle()
		other.step(o, ike.Rekey{})
		p.settle()
		p.pass(time.Minute)
		p.check(1)
		p.traffic()
	})
}

// XCH-05.
func TestDeleteChild(t *testing.T) {
	both(t, func(t *testing.T, p *pair, actor, other *node, am, om *SA) {
		actor.step(am, ike.Delete{Child: am.children[0].serial})
		p.settle()
		p.check(0)
		if d := facts[ike.ChildDown](actor); len(d) != 1 || d[0].ByPeer || d[0].Replaced {
			t.Errorf("%+v", d)
		}
		if d := facts[ike.ChildDown](other); len(d) != 1 || !d[0].ByPeer || d[0].Replaced {
			t.Errorf("%+v", d)
		}
		if am.state != stateUp || om.state != stateUp {
			t.Error("the IKE SA must live on")
		}
		actor.step(am, ike.AddChild{Conn: actor.conns[0]})
		p.settle()
		p.check(1)
		p.traffic()
	})
}

// XCH-57.
func TestDeleteIKE(t *testing.T) {
	both(t, func(t *testing.T, p *pair, actor, other *node, am, om *SA) {
		actor.step(am, ike.Delete{})
		p.settle()
		p.check(0)
		if d := facts[ike.IKEDown](actor); len(d) != 1 || d[0].ByPeer || d[0].Why != nil {
			t.Errorf("%+v", d)
		}
		if d := facts[ike.IKEDown](other); len(d) != 1 || !d[0].ByPeer || d[0].Why != nil {
			t.Errorf("%+v", d)
		}
		p.pass(lingerLife)
		if len(p.west.machines)+len(p.east.machines) != 0 {
			t.Errorf("machines are left over\n%s", p)
		}
	})
}

// Liveness: an answer is life; without any the IKE SA ends with its children.
func TestLiveness(t *testing.T) {
	p := newPair(t, 7)
	p.west.conns[0].DPDDelay = 30 * time.Second
	p.up()
	n := len(p.sent)
	p.pass(5 * time.Minute)
	if got := len(p.sent) - n; got < 16 || got > 20 {
		t.Errorf("%d messages in five minutes of probing every 30 s", got)
	}
	p.check(1)
	p.fate = func(datagram) []datagram { return nil }
	p.pass(30*time.Second + defaultRetransmitTotal + time.Second)
	d := facts[ike.IKEDown](p.west)
	if len(d) != 1 || d[0].Why == nil || d[0].Why.Reason != ike.ReasonSilent || len(p.west.plane) != 0 || len(p.west.machines) != 0 {
		t.Errorf("west does not notice that east is gone: %+v\n%s", d, p)
	}
}

// Lifetimes: over two days everything is rekeyed in time and traffic never
// stops.
func TestLifetimes(t *testing.T) {
	p := newPair(t, 9)
	p.up()
	for range 48 * 12 {
		p.pass(5 * time.Minute)
		p.traffic()
	}
	p.pass(time.Minute)
	p.check(1)
	n := 0
	for _, u := range facts[ike.IKEUp](p.west) {
		if u.Rekeyed != 0 {
			n++
		}
	}
	if n < 5 || n > 8 {
		t.Errorf("the IKE SA was rekeyed %d times in two days of 8 h lives", n)
	}
	for _, x := range []*node{p.west, p.east} {
		for _, d := range facts[ike.ChildDown](x) {
			if !d.Replaced {
				t.Errorf("%s: a Child SA ended: %s", x.name, d)
			}
		}
	}
}

// West asks with a group that east does not have first: east names one of the
// others, west tries once more.
// XCH-12.
func TestInvalidKE(t *testing.T) {
	p := newPair(t, 3)
	only := func(c *ike.Conn, names ...string) {
		var ke []*suite.KE
		for _, n := range names {
			ke = append(ke, suite.KEByName(n))
		}
		for i := range c.IKE {
			c.IKE[i].KE = ke
		}
		for i := range c.ESP {
			c.ESP[i].KE = ke
		}
	}
	only(p.west.conns[0], "ecp256", "x25519")
	only(p.east.conns[0], "x25519")
	w, e := p.up()
	if len(p.sent) != 6 || w.chosen.KE.Name != "x25519" {
		t.Errorf("%d messages, key exchange %s", len(p.sent), w.chosen.KE.Name)
	}
	p.west.step(w, ike.Rekey{Child: w.children[0].serial})
	p.settle()
	p.pass(grace)
	p.check(1)
	if len(facts[ike.ChildUp](p.west)) != 2 {
		t.Errorf("not rekeyed\n%s", p)
	}
	_ = e
}

func TestCookie(t *testing.T) {
	p := newPair(t, 3)
	p.east.gate = NewGate(p.east.cfg, Limits{HalfOpen: -1})
	p.up()
	if len(p.sent) != 6 {
		t.Errorf("%d messages, want 6", len(p.sent))
	}
	first, second := p.sent[0].Msg, p.sent[2].Msg
	m, err := wire.Parse(second)
	if err != nil {
		t.Fatal(err)
	}
	if n, ok := m.Payloads[0].(wire.Notify); !ok || n.Kind != ike.NotifyCookie {
		t.Errorf("the cookie is not first")
	}
	if !bytes.Equal(first[ike.HeaderLen+4:], second[len(second)-len(first)+ike.HeaderLen+4:]) {
		t.Error("the rest of the request changed")
	}
}

// Two daemons of equal configuration, 30 % loss, duplicates and reordering:
// every handshake and rekeying gets through, and traffic is never sent into
// the void.
func TestLossyWire(t *testing.T) {
	lossyLife(t, 100, func(*pair) {})
}

// The same with ML-KEM, whose rekeyings take IKE_FOLLOWUP_KE.
func TestLossyWireHybrid(t *testing.T) {
	lossyLife(t, 50, hybrid)
}

func lossyLife(t *testing.T, seeds int, change func(*pair)) {
	for seed := range seeds {
		rng := rand.New(rand.NewPCG(uint64(seed), 1))
		p := newPair(t, byte(seed))
		change(p)
		p.fate = func(d datagram) []datagram {
			switch x := rng.Float64(); {
			case x < 0.3:
				return nil
			case x < 0.4:
				return []datagram{d, d}
			case x < 0.5 && len(p.flying) > 0:
				out := p.flying[0]
				p.flying[0] = d
				return []datagram{out}
			}
			return []datagram{d}
		}
		w := p.west.initiate()
		p.pass(time.Minute)
		if w.state != stateUp {
			t.Fatalf("seed %d: not up\n%s", seed, p)
		}
		p.traffic()
		for range 6 {
			for _, n := range []*node{p.west, p.east} {
				for _, m := range slices.Clone(n.machines) {
					if s := m.(*SA); s.state == stateUp && len(s.children) > 0 {
						if rng.IntN(2) == 0 {
							n.step(m, ike.Rekey{Child: s.children[0].serial})
						}
						if rng.IntN(3) == 0 {
							n.step(m, ike.Rekey{})
						}
					}
				}
			}
			for range 10 {
				p.pass(500 * time.Millisecond)
				p.traffic()
			}
		}
		p.fate = nil
		p.pass(3 * time.Minute)
		p.traffic()
		if len(p.west.machines) != 1 || len(p.east.machines) != 1 {
			t.Fatalf("seed %d: machines are left over\n%s", seed, p)
		}
		p.check(1)
	}
}
