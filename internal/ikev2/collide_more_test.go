package ikev2

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

// otherGroups has both ends guess a group that the other does not take, so that
// each rekeying needs a second request (INVALID_KE_PAYLOAD).
func otherGroups(p *pair) {
	first := map[*node]suite.KE{p.west: {ID: 19, Name: "toy of west"}, p.east: {ID: 20, Name: "toy of east"}}
	for n, own := range first {
		own.Public, own.Answer, own.New, own.Respond = toyKE.Public, toyKE.Answer, toyKE.New, toyKE.Respond
		for _, list := range [][]suite.Proposal{n.conns[0].IKE, n.conns[0].ESP} {
			for i := range list {
				list[i].KE = []*suite.KE{&own, &toyKE}
			}
		}
		for _, m := range n.machines {
			m.(*SA).chosen.KE = &own // what a rekeying of the IKE SA guesses first
		}
	}
}

// hybridIKE has rekeyings of the IKE SA take two key exchanges, at these ends.
func hybridIKE(ends ...*node) {
	second := toyKE
	second.ID, second.Name = 32, "second toy"
	for _, n := range ends {
		c := n.conns[0]
		plain := c.IKE[0]
		mixed := plain
		mixed.AddKE[0] = []*suite.KE{&second}
		c.IKE = []suite.Proposal{mixed, plain}
	}
}

// collide has both sides act at once, each with its own wish, in every order of delivery.
func collide(t *testing.T, west, east command, seed byte, with trouble, prepare func(*pair), check func(*pair)) {
	t.Helper()
	explore(t, seed, with, func(p *pair) {
		prepare(p)
		ws, es := p.west.machines[0].(*SA), p.east.machines[0].(*SA)
		wev, eev := west.ev(ws), east.ev(es)
		p.west.step(ws, wev)
		p.east.step(es, eev)
	}, check)
}

// Both rekey at once, and both must first be told another group: in every order of
// the eight messages and with one of them lost, one pair and one IKE SA are left, and
// traffic flows all the time (RFC 7296, 1.3 and 2.8).
// XCH-29, XCH-30, XCH-46, XCH-47.
func TestCollisionsOfOtherGroups(t *testing.T) {
	for _, c := range []command{rekeyChild, rekeyIKE} {
		for _, seed := range []byte{5, 8} {
			for with := noTrouble; with <= oneLoss; with++ {
				t.Run(fmt.Sprintf("%s, seed %d%s", c.name, seed, with), func(t *testing.T) {
					collide(t, c, c, seed, with, otherGroups, one(1))
				})
			}
		}
	}
}

// Rekeyings of the IKE SA with two key exchanges meet each other, ones with one, the
// Delete of the IKE SA and rekeyings of a Child SA, in every order (RFC 9370, 2.2.4).
// XCH-44, XCH-45, XCH-49, XCH-53, XCH-55.
func TestCollisionsOfHybridIKE(t *testing.T) {
	gone := func(p *pair) { p.check(0) }
	for _, c := range []struct {
		west, east command
		mixed      bool // only west's has two
		check      func(*pair)
	}{
		{rekeyIKE, rekeyIKE, false, one(1)},
		{rekeyIKE, rekeyIKE, true, one(1)},
		{rekeyIKE, deleteIKE, false, gone},
		{rekeyIKE, rekeyChild, false, one(1)},
		{rekeyIKE, deleteChild, false, one(0)},
		{rekeyIKE, newChild, false, one(2)},
		{rekeyIKE, probe, false, one(1)},
	} {
		for _, seed := range []byte{5, 8} {
			for with := noTrouble; with <= oneLoss; with++ {
				if with != noTrouble && (seed != 5 || testing.Short()) {
					continue
				}
				t.Run(fmt.Sprintf("%s against %s, mixed %v, seed %d%s", c.west.name, c.east.name, c.mixed, seed, with), func(t *testing.T) {
					collide(t, c.west, c.east, seed, with, func(p *pair) {
						hybridIKE(p.west)
						if !c.mixed {
							hybridIKE(p.east)
						}
					}, c.check)
				})
			}
		}
	}
}

// One end rekeys the Child SA with two key exchanges and the other with one.
// XCH-21.
func TestCollisionOfMixedChildren(t *testing.T) {
	for _, seed := range []byte{5, 8} {
		for with := noTrouble; with <= oneLoss; with++ {
			t.Run(fmt.Sprintf("seed %d%s", seed, with), func(t *testing.T) {
				collide(t, rekeyChild, rekeyChild, seed, with, func(p *pair) {
					toyHybrid(p)
					both := p.east.conns[0].ESP[0]
					plain := both
					plain.AddKE[0] = nil
					p.west.conns[0].ESP = []suite.Proposal{plain}
					p.east.conns[0].ESP = []suite.Proposal{both, plain}
				}, one(1))
			})
		}
	}
}

// Each end in turn rekeys with two key exchanges, and is told another group for the
// first: XCH-13, XCH-41, XCH-42.
func TestOtherGroupThenSecond(t *testing.T) {
	for _, c := range []command{rekeyChild, rekeyIKE} {
		for _, prepare := range []func(*pair){func(*pair) {}, func(p *pair) { toyHybrid(p); hybridIKE(p.west, p.east) }} {
			for _, byWest := range []bool{true, false} {
				p := newPair(t, 5)
				p.toyKeys()
				w, e := p.up()
				prepare(p)
				otherGroups(p)
				before := len(p.sent)
				if byWest {
					p.west.step(w, c.ev(w))
				} else {
					p.east.step(e, c.ev(e))
				}
				p.settle()
				asked := 0
				for _, d := range p.sent[before:] {
					if exchangeOf(d) == ike.CreateChild && !responseOf(d) {
						asked++
					}
				}
				if asked != 2 {
					t.Errorf("%s, by west %v: %d requests", c.name, byWest, asked)
				}
				p.pass(3 * time.Minute)
				p.traffic()
				one(1)(p)
			}
		}
	}
}

// halfRekeyed is a pair whose Child SA west has rekeyed, while its Delete of the old
// one is held back.
func halfRekeyed(t *testing.T) (p *pair, w, e *SA, old *child, held *[]datagram) {
	t.Helper()
	p, held = newPair(t, 7), new([]datagram)
	w, e = p.up()
	old = e.children[0]
	p.fate = func(d datagram) []datagram {
		if d.from == p.west && exchangeOf(d) == ike.Informational && !responseOf(d) {
			*held = append(*held, d)
			return nil
		}
		return []datagram{d}
	}
	p.west.step(w, ike.Rekey{Child: w.children[0].serial})
	p.settle()
	if len(e.children) != 2 || len(*held) == 0 {
		t.Fatalf("east has %d pairs\n%s", len(e.children), p)
	}
	return p, w, e, old, held
}

// release lets what was held back, and all that follows, take its course.
func (p *pair) release(held *[]datagram) {
	p.fate = nil
	p.flying = append(p.flying, *held...)
	p.pass(time.Minute)
}

// After a rekeying of the peer's its Delete of the old pair is awaited: that this one
// is due to be rekeyed has no effect any more (XCH-14).
func TestReplacedIsNotRekeyed(t *testing.T) {
	p, _, e, old, held := halfRekeyed(t)
	sent := len(p.sent)
	p.east.step(e, ike.Plane{Event: ipsec.Expire{ID: old.in}})
	p.east.step(e, ike.Rekey{Child: old.serial})
	if len(p.sent) != sent {
		t.Error("it is rekeyed")
	}
	p.release(held)
	one(1)(p)
}

// At its hard limit we no longer wait: our traffic moves to the new pair and we delete
// the old one ourselves, whose Delete from the peer may still come (XCH-15).
func TestReplacedExpires(t *testing.T) {
	p, _, e, old, held := halfRekeyed(t)
	p.east.step(e, ike.Plane{Event: ipsec.Expire{ID: old.in, Hard: true}})
	p.settle()
	p.traffic()
	p.release(held)
	one(1)(p)
}

// The responder of a rekeying deletes the new pair at once, before the old one is gone:
// nothing is left of either, and nobody brings one back by itself (XCH-16).
func TestReplacementDeleted(t *testing.T) {
	p, _, e, _, held := halfRekeyed(t)
	p.east.step(e, ike.Delete{Child: e.children[1].serial})
	p.settle()
	p.release(held)
	p.check(0)
}

// The responder of a rekeying deletes the old pair itself, which is for the initiator to
// do: the new one stands, whichever Delete comes first (XCH-18, XCH-31).
func TestReplacedDeletedByTheResponder(t *testing.T) {
	for _, seed := range []byte{5, 8} {
		p, _, e, old, held := halfRekeyed(t)
		p.east.step(e, ike.Delete{Child: old.serial})
		p.settle()
		p.traffic()
		p.release(held)
		one(1)(p)

		// The same in the midst of two rekeyings that cross: packets on the pair that is
		// deleted too early are lost, pairs are not.
		for _, newest := range []bool{false, true} {
			p = newPair(t, seed)
			p.toyKeys()
			w, e := p.up()
			mine := w.children[0].serial
			p.east.step(e, ike.Rekey{Child: e.children[0].serial})
			p.west.step(w, ike.Rekey{Child: mine})
			for deleted := false; len(p.flying) > 0; {
				i := 0
				if newest {
					i = len(p.flying) - 1
				}
				d := p.flying[i]
				p.flying = slices.Delete(slices.Clone(p.flying), i, i+1)
				d.to.receive(d.Send)
				if !deleted && len(w.children) > 1 {
					p.west.step(w, ike.Delete{Child: mine})
					deleted = true
				}
			}
			p.pass(time.Minute)
			one(1)(p)
		}
	}
}
