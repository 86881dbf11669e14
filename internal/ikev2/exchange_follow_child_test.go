package ikev2

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
	"cygnet/internal/ipsec"
	"cygnet/internal/octet"
	"cygnet/internal/suite"
)

// hybridChildren is hybrid for the Child SAs as well.
func hybridChildren(p *pair) {
	hybrid(p)
	for _, n := range []*node{p.west, p.east} {
		c := n.conns[0]
		c.ESP = suite.Followed(c.ESP, c.IKE)
	}
}

// mixes reports whether every pair that came up since the reports at from has
// ML-KEM in it, and how many came.
func mixes(n *node, from int) (pairs int, all bool) {
	all = true
	for _, up := range facts[ike.ChildUp](n)[from:] {
		pairs++
		all = all && bytes.Contains([]byte(up.Suite), []byte("/ML_KEM_768"))
	}
	return pairs, all
}

// actor → other: CREATE_CHILD_SA {SA, Ni, KEi, TSi, TSr}, IKE_FOLLOWUP_KE {KE, N},
// and with a rekeying INFORMATIONAL {D} of the old pair. Traffic flows at every
// point, as pair.traffic checks after every datagram of p.settle.
// XCH-04, XCH-11.
func TestChildHybrid(t *testing.T) {
	for _, byWest := range []bool{true, false} {
		for _, rekey := range []bool{true, false} {
			p := newPair(t, 9)
			hybridChildren(p)
			w, e := p.up()
			if got := len(facts[ike.ChildUp](p.west)); got != 1 {
				t.Fatalf("%d pairs", got)
			}
			actor, am := p.west, w
			if !byWest {
				actor, am = p.east, e
			}
			want := []ike.ExchangeType{ike.CreateChild, ike.FollowupKE}
			n, left, ev := len(p.sent), 2, ike.Event(ike.AddChild{Conn: am.conn})
			if rekey {
				left, ev, want = 1, ike.Rekey{Child: am.children[0].serial}, append(want, ike.Informational)
			}
			actor.step(am, ev)
			p.settle()
			p.traffic()
			if got := slices.Compact(exchanges(p, n)); !slices.Equal(got, want) {
				t.Errorf("by west: %v, rekey: %v: %v", byWest, rekey, got)
			}
			p.pass(time.Minute)
			p.check(left)
			p.traffic()
			for _, x := range []*node{p.west, p.east} {
				if pairs, all := mixes(x, 1); pairs != 1 || !all {
					t.Errorf("by west: %v, rekey: %v: %s has %d new pairs, all with ML-KEM: %v", byWest, rekey, x.name, pairs, all)
				}
			}
		}
	}
}

// The secret of the additional exchange is in the keys, after the nonces:
// KEYMAT = prf+(SK_d, SK(0) | Ni | Nr | SK(1)).
func TestFollowUpKeymat(t *testing.T) {
	prf := suite.PRFByID(5)
	c := suite.Chosen{Encr: suite.EncrChoice{Encr: suite.EncrByID(20), Bits: 256}}
	k := deriveChild(c, prf, ipsec.NewSecret([]byte("d")), ipsec.NewSecret([]byte("shared")), []byte("ni"), []byte("nr"), []byte("more"))
	want := prf.Plus([]byte("d"), []byte("sharedninrmore"), 72)
	equal(t, "KEYMAT", concat(k.encrI.Bytes(), k.encrR.Bytes()), want)
}

// A peer whose ESP has no additional key exchange, or that never heard of them,
// agrees to a pair without. One that is demanded is not left out.
func TestChildHybridAgainstClassical(t *testing.T) {
	for _, classicalIKE := range []bool{true, false} {
		for _, byWest := range []bool{true, false} {
			p := newPair(t, 10)
			hybridChildren(p)
			c := p.east.conns[0]
			c.ESP = suite.Classical(c.ESP)
			if classicalIKE {
				c.IKE = suite.Classical(c.IKE)
			}
			w, e := p.up()
			actor, am := p.west, w
			if !byWest {
				actor, am = p.east, e
			}
			actor.step(am, ike.Rekey{Child: am.children[0].serial})
			p.settle()
			p.pass(time.Minute)
			p.check(1)
			p.traffic()
			if pairs, all := mixes(p.west, 1); pairs != 1 || all {
				t.Errorf("by west: %v: %d pairs, all with ML-KEM: %v", byWest, pairs, all)
			}
		}
	}
	p := newPair(t, 10)
	hybridChildren(p)
	p.east.conns[0].ESP = suite.Classical(p.east.conns[0].ESP)
	p.west.conns[0].ESP = slices.DeleteFunc(p.west.conns[0].ESP, func(q suite.Proposal) bool { return !q.Hybrid() })
	w, _ := p.up()
	p.west.step(w, ike.AddChild{Conn: w.conn})
	p.settle()
	if f := p.west.failure(); f == nil || f.Notify != ike.NotifyNoProposalChosen || len(w.children) != 1 {
		t.Errorf("ML-KEM is demanded of a peer without: %+v", f)
	}
}

// toyHybrid replaces all key exchanges by toys, two of them for Child SAs, which
// leaves explore more orders to tell.
func toyHybrid(p *pair) {
	second := toyKE
	second.ID, second.Name = 32, "second toy"
	for _, n := range []*node{p.west, p.east} {
		c := n.conns[0]
		c.ESP = c.ESP[:1]
		c.ESP[0].KE, c.ESP[0].AddKE[0] = []*suite.KE{&toyKE}, []*suite.KE{&second}
	}
}

// Both sides act at once, with every loss and duplicate of one datagram and in
// every order, when Child SAs take two key exchanges.
// XCH-20, XCH-24, XCH-28, XCH-33.
func TestCollisionsOfHybridChildren(t *testing.T) {
	gone := func(p *pair) { p.check(0) }
	for _, c := range []struct {
		west, east command
		check      func(*pair)
	}{
		{rekeyChild, probe, one(1)},
		{rekeyChild, rekeyChild, one(1)},
		{rekeyChild, rekeyIKE, one(1)},
		{newChild, rekeyIKE, one(2)},
		{newChild, rekeyChild, one(2)},
		{newChild, newChild, one(3)},
		{deleteChild, rekeyChild, one(0)},
		{deleteIKE, rekeyChild, gone},
	} {
		for _, swap := range []bool{false, true} {
			for with := noTrouble; with <= slowJobs; with++ {
				w, e := c.west, c.east
				if swap {
					w, e = e, w
				}
				if swap && w.name == e.name || (c.east.name != rekeyChild.name || c.west.name == newChild.name) && with != noTrouble {
					continue // TestCollisions has these; here is what follow-ups change
				}
				t.Run(fmt.Sprintf("%s against %s%s", w.name, e.name, with), func(t *testing.T) {
					explore(t, 5, with, func(p *pair) {
						toyHybrid(p)
						ws, es := p.west.machines[0].(*SA), p.east.machines[0].(*SA)
						wev, eev := w.ev(ws), e.ev(es)
						p.west.step(ws, wev)
						p.east.step(es, eev)
					}, func(p *pair) {
						c.check(p)
						for _, n := range []*node{p.west, p.east} {
							if got := n.leaks(); len(got) != 0 {
								t.Errorf("%s has not given back %v", n.name, got)
							}
							for _, m := range n.machines {
								if m.(*SA).follow != nil {
									t.Errorf("%s still waits", n.name)
								}
							}
						}
					})
				})
			}
		}
	}
}

// IKE_FOLLOWUP_KE of a Child SA that is missing, repeated, late or another's: no
// pair comes of it, its SPI is given back, and the old pair stays in use (V2S-21).
func TestAdv_V2S_21_OddChildFollowUps(t *testing.T) {
	kem := suite.KEByID(36)
	private, err := kem.New(zeros{})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(r *rude, n byte) wire.Payloads {
		c := r.sa.children[0]
		return r.ask(ike.CreateChild,
			wire.NotifySA(ike.NotifyRekeySA, c.protocol(), c.out.SPI),
			saPayload(r.sa.conn.ESP, octet.AppendUint32(nil, 0x5500+uint32(n))), wire.Nonce{Data: bytes.Repeat([]byte{n}, 32)}, wire.KE{Group: 31, Data: public(t)},
			wire.NewTSi(c.sides.remote), wire.NewTSr(c.sides.local))
	}
	linkOf := func(ps wire.Payloads) []byte {
		link, ok := ps.Notify(ike.NotifyAdditionalKeyExchange)
		if !ok {
			t.Fatalf("no link in %v", ps)
		}
		return link.Data
	}
	start := func() (*pair, *rude, []byte) {
		p := newPair(t, 43)
		hybridChildren(p)
		_, e := p.up()
		r := rudeTo(p, p.east, e)
		return p, r, linkOf(ask(r, 1))
	}
	follow := func(r *rude, link []byte) wire.Payloads {
		return r.ask(ike.FollowupKE, wire.KE{Group: 36, Data: private.Public()}, wire.NewNotify(ike.NotifyAdditionalKeyExchange, link))
	}
	t.Run("wrong link, then right, then repeated", func(t *testing.T) {
		_, r, link := start()
		if got := errorOf(follow(r, link[1:])); got != ike.NotifyStateNotFound || len(r.sa.children) != 1 {
			t.Errorf("answered with %d", got)
		}
		if got := errorOf(follow(r, link)); got != 0 || len(r.sa.children) != 2 {
			t.Errorf("the right link: answered with %d", got)
		}
		if got := errorOf(follow(r, link)); got != ike.NotifyStateNotFound || len(r.sa.children) != 2 {
			t.Errorf("repeated: answered with %d", got)
		}
	})
	t.Run("missing", func(t *testing.T) {
		p, r, link := start()
		p.now = p.now.Add(replacedLife)
		p.east.step(r.sa, ike.TimeUp{})
		if r.sa.follow != nil || len(p.east.leaks()) != 0 || r.sa.children[0].state != childUp {
			t.Error("the wait has no end")
		}
		if got := errorOf(follow(r, link)); got != ike.NotifyStateNotFound {
			t.Errorf("too late: answered with %d", got)
		}
	})
	t.Run("begun anew", func(t *testing.T) {
		p, r, link := start()
		again := linkOf(ask(r, 2))
		if got := p.east.leaks(); len(got) != 1 {
			t.Errorf("SPIs reserved: %v, want that of the second alone", got)
		}
		if got := errorOf(follow(r, link)); got != ike.NotifyStateNotFound {
			t.Errorf("the old link: answered with %d", got)
		}
		if got := errorOf(follow(r, again)); got != 0 || len(r.sa.children) != 2 {
			t.Errorf("the new link: answered with %d", got)
		}
	})
	t.Run("deleted meanwhile", func(t *testing.T) {
		p, r, link := start()
		p.east.step(r.sa, ike.Delete{Child: r.sa.children[0].serial})
		if got := errorOf(follow(r, link)); got != ike.NotifyChildSANotFound || len(r.sa.children) != 0 || len(p.east.leaks()) != 0 {
			t.Errorf("answered with %d", got)
		}
	})
	t.Run("ours waits", func(t *testing.T) {
		p, r, link := start()
		n := len(p.sent)
		p.east.step(r.sa, ike.Rekey{Child: r.sa.children[0].serial})
		if got := exchanges(p, n); len(got) != 0 {
			t.Errorf("%v while the peer's rekeying is half done", got)
		}
		if got := errorOf(follow(r, link)); got != 0 || len(r.sa.children) != 2 {
			t.Errorf("answered with %d", got)
		}
	})
	t.Run("wrong key exchange", func(t *testing.T) {
		p, r, link := start()
		ps := r.ask(ike.FollowupKE, wire.KE{Group: 31, Data: public(t)}, wire.NewNotify(ike.NotifyAdditionalKeyExchange, link))
		if got := errorOf(ps); got != ike.NotifyInvalidSyntax || r.sa.state != stateLinger || len(p.east.leaks()) != 0 {
			t.Errorf("answered with %d in %s", got, r.sa.stateName())
		}
	})
}

// As initiator: STATE_NOT_FOUND begins anew. An answer with another method ends the
// IKE SA, because the peer may hold the pair for made.
func TestChildFollowUpRefused(t *testing.T) {
	start := func() (p *pair, w, e *SA) {
		p = newPair(t, 44)
		hybridChildren(p)
		w, e = p.up()
		p.west.step(w, ike.Rekey{Child: w.children[0].serial})
		p.settleUntil(func() bool { return e.follow != nil })
		return p, w, e
	}
	t.Run("the peer has not waited", func(t *testing.T) {
		p, _, e := start()
		(&step{SA: e, now: p.now}).dropFollowUps()
		p.settle()
		p.pass(time.Minute)
		p.check(1)
		p.traffic()
		if pairs, all := mixes(p.west, 1); pairs != 1 || !all {
			t.Errorf("%d new pairs, all with ML-KEM: %v", pairs, all)
		}
	})
	t.Run("TEMPORARY_FAILURE passes", func(t *testing.T) {
		p, w, e := start()
		(&step{SA: e, now: p.now}).dropFollowUps()
		p.settleUntil(func() bool { return exchangeOf(p.sent[len(p.sent)-1]) == ike.FollowupKE })
		answer := []wire.Payload{wire.NewNotify(ike.NotifyTemporaryFailure, nil)}
		p.west.step(w, ike.Received{Local: w.local, Remote: w.remote, Msg: forgeWith(w, ike.FollowupKE, isResponse, answer)})
		p.settle()
		p.pass(time.Minute)
		p.check(1)
		p.traffic()
		if pairs, all := mixes(p.west, 1); pairs != 1 || !all {
			t.Errorf("%d new pairs, all with ML-KEM: %v", pairs, all)
		}
	})
	for name, answer := range map[string][]wire.Payload{
		"another method":       {wire.KE{Group: 31, Data: public(t)}},
		"a link after the end": {wire.KE{Group: 36, Data: make([]byte, 1088)}, wire.NewNotify(ike.NotifyAdditionalKeyExchange, []byte{1})},
	} {
		t.Run(name, func(t *testing.T) {
			p, w, _ := start()
			p.settleUntil(func() bool { return exchangeOf(p.sent[len(p.sent)-1]) == ike.FollowupKE })
			p.flying = nil
			p.west.step(w, ike.Received{Local: w.local, Remote: w.remote, Msg: forgeWith(w, ike.FollowupKE, isResponse, answer)})
			if f := p.west.failure(); f == nil || f.Reason != ike.ReasonProtocol || w.state != stateClosing || len(p.west.leaks()) != 0 {
				t.Errorf("%s, %+v, SPIs reserved: %v", w.stateName(), f, p.west.leaks())
			}
		})
	}
}
