package ikev2

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
	"cygnet/internal/ipsec"
	"cygnet/internal/octet"
	"cygnet/internal/suite"
)

// actor → other: CREATE_CHILD_SA {SA, Ni, KEi}, IKE_FOLLOWUP_KE {KE, N}, then
// INFORMATIONAL {D} on the old IKE SA.
// XCH-40.
func TestRekeyHybrid(t *testing.T) {
	for _, first := range []bool{true, false} {
		p := newPair(t, 7)
		hybrid(p)
		w, e := p.up()
		actor, am := p.west, w
		if !first {
			actor, am = p.east, e
		}
		n := len(p.sent)
		actor.step(am, ike.Rekey{})
		p.settle()
		p.traffic()
		if got := slices.Compact(exchanges(p, n)); !slices.Equal(got, []ike.ExchangeType{ike.CreateChild, ike.FollowupKE, ike.Informational}) {
			t.Errorf("%v", got)
		}
		p.pass(time.Minute)
		p.check(1)
		if len(p.west.machines) != 1 || len(p.east.machines) != 1 {
			t.Fatalf("machines are left over\n%s", p)
		}
		a, b := p.west.machines[0].(*SA), p.east.machines[0].(*SA)
		if !bytes.Equal(a.keys.d.Bytes(), b.keys.d.Bytes()) || len(a.chosen.Additional()) != 1 {
			t.Error("different keys, or without ML-KEM")
		}
		p.west.step(a, ike.Rekey{Child: a.children[0].serial})
		p.settle()
		p.east.step(b, ike.Rekey{})
		p.settle()
		p.pass(time.Minute)
		p.check(1)
		p.traffic()
	}
}

// The secret of the additional exchange is in the keys: SKEYSEED = prf(SK_d,
// SK(0) | Ni | Nr | SK(1)).
func TestFollowUpSeed(t *testing.T) {
	prf := suite.PRFByID(5)
	d, sh := ipsec.NewSecret([]byte("d")), ipsec.NewSecret([]byte("shared"))
	got := rekeySeed(prf, d, sh, []byte("ni"), []byte("nr"), []byte("more"))
	equal(t, "SKEYSEED", got.Bytes(), prf.Sum([]byte("d"), []byte("sharedninrmore")))
}

// Both rekey at once: nobody is left with half a rekeying, and in the end one
// IKE SA is.
func TestRekeyHybridBoth(t *testing.T) {
	for seed := range 20 {
		p := newPair(t, byte(seed))
		hybrid(p)
		w, e := p.up()
		p.west.step(w, ike.Rekey{})
		p.east.step(e, ike.Rekey{})
		p.settle()
		for range 60 {
			p.pass(time.Second)
			p.traffic()
		}
		p.pass(time.Minute)
		p.check(1)
		if len(p.west.machines) != 1 || len(p.east.machines) != 1 {
			t.Fatalf("seed %d: machines are left over\n%s", seed, p)
		}
		if len(facts[ike.IKEUp](p.west)) < 2 {
			t.Errorf("seed %d: never rekeyed", seed)
		}
	}
}

// IKE_FOLLOWUP_KE that is missing, repeated, with the wrong link, or too late:
// STATE_NOT_FOUND, or the exchange is given up; the old IKE SA stays in use.
func TestAdv_V2S_21_OddFollowUps(t *testing.T) {
	kem := suite.KEByID(36)
	private, err := kem.New(zeros{})
	if err != nil {
		t.Fatal(err)
	}
	ke := wire.KE{Group: 36, Data: private.Public()}
	start := func() (*pair, *rude, []byte) {
		p := newPair(t, 41)
		hybrid(p)
		_, e := p.up()
		r := rudeTo(p, p.east, e)
		ps := r.ask(ike.CreateChild, saPayload(suite.DefaultIKEv2(), octet.AppendUint64(nil, 77)), wire.Nonce{Data: make([]byte, 32)}, wire.KE{Group: 31, Data: public(t)})
		link, ok := ps.Notify(ike.NotifyAdditionalKeyExchange)
		if !ok {
			t.Fatalf("no link in %v", ps)
		}
		return p, r, link.Data
	}
	follow := func(r *rude, link []byte) wire.Payloads {
		return r.ask(ike.FollowupKE, ke, wire.NewNotify(ike.NotifyAdditionalKeyExchange, link))
	}
	t.Run("wrong link", func(t *testing.T) {
		p, r, link := start()
		for _, wrong := range [][]byte{nil, link[1:], append(slices.Clone(link), 0), make([]byte, len(link))} {
			if got := errorOf(follow(r, wrong)); got != ike.NotifyStateNotFound {
				t.Errorf("link %x: answered with %d", wrong, got)
			}
		}
		p.check(1)
		if ps := follow(r, link); errorOf(ps) != 0 || r.sa.state != stateReplaced {
			t.Errorf("the right link: %v, %s", ps, r.sa.stateName())
		}
		if got := errorOf(follow(r, link)); got != ike.NotifyStateNotFound {
			t.Errorf("repeated: answered with %d", got)
		}
	})
	t.Run("missing", func(t *testing.T) {
		p, r, link := start()
		p.east.step(r.sa, ike.AddChild{Conn: p.east.conns[0]})
		if len(p.flying) != 0 {
			t.Fatal("a request of ours does not wait")
		}
		p.now = p.now.Add(replacedLife)
		p.east.step(r.sa, ike.TimeUp{})
		if r.sa.follow != nil || r.sa.state != stateUp || len(p.flying) == 0 {
			t.Error("the old IKE SA is not used")
		}
		if got := errorOf(follow(r, link)); got != ike.NotifyStateNotFound {
			t.Errorf("too late: answered with %d", got)
		}
	})
	t.Run("no rekeying", func(t *testing.T) {
		_, r := rudePair(t)
		if got := errorOf(follow(r, nil)); got != ike.NotifyStateNotFound || r.sa.state != stateUp {
			t.Errorf("answered with %d", got)
		}
	})
	t.Run("wrong group", func(t *testing.T) {
		_, r, link := start()
		ps := r.ask(ike.FollowupKE, wire.KE{Group: 31, Data: public(t)}, wire.NewNotify(ike.NotifyAdditionalKeyExchange, link))
		if got := errorOf(ps); got != ike.NotifyInvalidSyntax || r.sa.state != stateLinger {
			t.Errorf("answered with %d", got)
		}
	})
	t.Run("deleted meanwhile", func(t *testing.T) {
		p, r, _ := start()
		p.east.step(r.sa, ike.Delete{})
		if len(p.flying) == 0 || r.sa.follow != nil {
			t.Error("our Delete waits")
		}
	})
}

func public(t *testing.T) []byte {
	k, err := suite.KEByID(31).New(bytes.NewReader(bytes.Repeat([]byte{7}, 64)))
	if err != nil {
		t.Fatal(err)
	}
	return k.Public()
}
