package ikev2

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

// answerTo answers the pending request of a rude peer's victim.
func (r *rude) answer(ps ...wire.Payload) {
	r.p.t.Helper()
	i, resp, err := r.sa.keys.ciphers(r.sa.chosen)
	if err != nil {
		r.p.t.Fatal(err)
	}
	h := ike.Header{SPIi: r.sa.spiI, SPIr: r.sa.spiR, Major: 2, Exchange: r.sa.win.pending.exchange, Flags: ike.FlagResponse, MessageID: r.sa.win.pending.id}
	if r.sa.first {
		i = resp
	} else {
		h.Flags |= ike.FlagInitiator
	}
	r.victim.step(r.sa, ike.Received{Local: r.sa.local, Remote: r.sa.remote, Msg: wire.Seal(nil, h, ps, i)})
}

// asksFor gives the exchange of the pending request, 0 if there is none.
func (r *rude) asksFor() ike.ExchangeType {
	if r.sa.win.pending == nil {
		return 0
	}
	return r.sa.win.pending.exchange
}

// TEMPORARY_FAILURE is met with patience that grows, and ends.
func TestTemporaryFailure(t *testing.T) {
	for _, ev := range []ike.Event{ike.Rekey{Child: 2}, ike.Rekey{}, ike.AddChild{}} {
		p, r := rudePair(t)
		if _, ok := ev.(ike.AddChild); ok {
			ev = ike.AddChild{Conn: p.east.conns[0]}
		}
		p.east.step(r.sa, ev)
		asked := 0
		var last time.Time
		var gaps []time.Duration
		for range maxRetries + 5 {
			if r.asksFor() != ike.CreateChild {
				break
			}
			asked++
			if !last.IsZero() {
				gaps = append(gaps, p.now.Sub(last))
			}
			last = p.now
			r.answer(wire.NewNotify(ike.NotifyTemporaryFailure, nil))
			p.flying = nil
			if d := r.sa.Deadline(); len(r.sa.tasks) > 0 {
				p.now = d
				p.east.step(r.sa, ike.TimeUp{})
			}
		}
		if asked != maxRetries+1 || gaps[0] < retryFirst || gaps[len(gaps)-1] > retryMax*11/10 || !slices.IsSortedFunc(gaps[:4], func(a, b time.Duration) int { return int(a - b) }) {
			t.Errorf("%T: asked %d times, waits %v", ev, asked, gaps)
		}
		if r.sa.state != stateUp || len(r.sa.children) != 1 {
			t.Errorf("%T: %s with %d children", ev, r.sa.stateName(), len(r.sa.children))
		}
	}
}

// CHILD_SA_NOT_FOUND: the pair goes, and a new one is made (RFC 7296, 2.25).
// XCH-17.
func TestChildNotFound(t *testing.T) {
	p, r := rudePair(t)
	old := r.sa.children[0]
	p.east.step(r.sa, ike.Rekey{Child: old.serial})
	r.answer(wire.NotifySA(ike.NotifyChildSANotFound, suite.ProtoESP, old.in.SPI))
	if d := facts[ike.ChildDown](p.east); len(d) != 1 || d[0].Why == nil || len(p.east.plane) != 0 {
		t.Errorf("%+v", d)
	}
	asked := open(t, r.sa, p.sent[len(p.sent)-1].Msg, false)
	if _, rekey := asked.Notify(ike.NotifyRekeySA); rekey || r.asksFor() != ike.CreateChild {
		t.Error("does not ask for a new pair")
	}
}

// Answers to the rekeying of an IKE SA that cannot be: it ends, with a Delete.
func TestBadIKERekeyAnswers(t *testing.T) {
	c := suite.DefaultIKE()[0]
	chosen := suite.Chosen{Protocol: suite.ProtoIKE, Encr: c.Encr[0], PRF: c.PRF[0], KE: c.KE[0]}
	nonce := wire.Nonce{Data: make([]byte, 32)}
	answer := func(n uint8, spi []byte) wire.SA {
		return wire.SA{Proposals: []suite.Offer{chosen.Offer(n, spi)}}
	}
	good := []byte{1, 2, 3, 4, 5, 6, 7, 8}
	for name, ps := range map[string][]wire.Payload{
		"no SPI":           {answer(1, nil), nonce, wire.KE{Group: 31, Data: make([]byte, 32)}},
		"SPI zero":         {answer(1, make([]byte, 8)), nonce, wire.KE{Group: 31, Data: make([]byte, 32)}},
		"another group":    {answer(1, good), nonce, wire.KE{Group: 19, Data: make([]byte, 64)}},
		"no such proposal": {answer(9, good), nonce, wire.KE{Group: 31, Data: make([]byte, 32)}},
		"bad public value": {answer(1, good), nonce, wire.KE{Group: 31, Data: make([]byte, 32)}},
		"no KE":            {answer(1, good), nonce},
	} {
		p, r := rudePair(t)
		p.east.step(r.sa, ike.Rekey{})
		r.answer(ps...)
		d := facts[ike.IKEDown](p.east)
		if len(d) != 1 || d[0].Why == nil || d[0].Why.Reason != ike.ReasonProtocol || r.sa.state != stateClosing || len(p.east.plane) != 0 {
			t.Errorf("%s: %+v, %s", name, d, r.sa.stateName())
		}
	}
	// An error leaves everything as it is, and is tried again before the end.
	p, r := rudePair(t)
	p.east.step(r.sa, ike.Rekey{})
	r.answer(wire.NewNotify(ike.NotifyNoProposalChosen, nil))
	if r.sa.state != stateUp || !r.sa.replaceAt.Before(r.sa.endAt) || r.sa.replaceAt.IsZero() {
		t.Errorf("%s, again at %s", r.sa.stateName(), r.sa.replaceAt)
	}
	// A Delete that waited for the outcome is then carried out.
	p.east.step(r.sa, ike.Rekey{})
	p.east.step(r.sa, ike.Delete{})
	if r.sa.state != stateUp {
		t.Error("did not wait")
	}
	r.answer(wire.NewNotify(ike.NotifyNoProposalChosen, nil))
	if r.sa.state != stateClosing {
		t.Errorf("not deleted: %s", r.sa.stateName())
	}
}

// Delete in every state of a life: the machine ends, and the other end does not
// go on believing in it.
func TestDeleteInEveryState(t *testing.T) {
	for st := stateNew; st <= stateLinger; st++ {
		p, n, sa := inState(t, st)
		n.holdJobs = false
		waiter := connection("waits", n, p.other(n), "10.1.0.0/16", "10.2.0.0/16")
		if st < stateUp {
			n.step(sa, ike.AddChild{Conn: waiter})
		}
		n.step(sa, ike.Delete{})
		n.work()
		p.pass(5 * time.Minute)
		if st == stateReplaced { // its successor is another machine
			if len(n.machines) != 1 || len(p.other(n).machines) != 1 {
				t.Errorf("%s: %d and %d machines", states[st].name, len(n.machines), len(p.other(n).machines))
			}
			continue
		}
		if len(n.machines)+len(p.other(n).machines) != 0 || len(p.west.plane)+len(p.east.plane) != 0 {
			t.Errorf("%s (%d): something is left\n%s", states[st].name, st, p)
		}
		if st < stateUp {
			told := false
			for _, r := range n.reports {
				if f, ok := r.Fact.(ike.Failed); ok && r.Conn == waiter && f.Why.Reason == ike.ReasonDeleted {
					told = true
				}
			}
			if !told {
				t.Errorf("%s (%d): who waited is not told\n%s", states[st].name, st, p)
			}
		}
	}
}

// AddChild in every state: it is made, or its connection is told that it is not.
func TestAddChildInEveryState(t *testing.T) {
	for st := stateNew; st <= stateLinger; st++ {
		p, n, sa := inState(t, st)
		n.holdJobs = false
		mine := connection("second", n, p.other(n), "10.1.0.0/16", "10.2.0.0/16")
		yours := connection("second", p.other(n), n, "10.2.0.0/16", "10.1.0.0/16")
		mine.IKE, yours.IKE = n.conns[0].IKE, p.other(n).conns[0].IKE
		n.conns, p.other(n).conns = append(n.conns, mine), append(p.other(n).conns, yours)
		n.step(sa, ike.AddChild{Conn: mine, Trigger: &ipsec.Flow{Src: netip.MustParseAddr("10.1.0.1"), Dst: netip.MustParseAddr("10.2.0.1"), Proto: 1}})
		if st == stateNew {
			n.step(sa, ike.Initiate{})
		}
		n.work()
		p.pass(time.Minute)
		outcome := ""
		for _, r := range n.reports {
			if r.Conn != mine {
				continue
			}
			switch r.Fact.(type) {
			case ike.ChildUp:
				outcome += "up "
			case ike.Failed:
				outcome += "failed "
			}
		}
		want := "up "
		if st == stateClosing || st == stateLinger {
			want = "failed "
		}
		if outcome != want {
			t.Errorf("%s (%d): %q, want %q\n%s", states[st].name, st, outcome, want, p)
		}
	}
}

// The data plane gives no SPI: told apart from everything else.
type noSPIs struct{}

func (noSPIs) ReserveSPI(netip.Addr, ipsec.Proto) (ipsec.SPI, error) {
	return 0, ipsec.ErrUnsupported
}

func TestNoSPIs(t *testing.T) {
	p := newPair(t, 1)
	p.west.cfg.SPIs = noSPIs{}
	p.west.initiate()
	p.settle()
	if f := p.west.failure(); f.Reason != ike.ReasonPlane {
		t.Errorf("%+v", f)
	}
	p = newPair(t, 1)
	p.east.cfg.SPIs = noSPIs{}
	p.west.initiate()
	p.settle()
	if f := p.east.failure(); f.Reason != ike.ReasonPlane {
		t.Errorf("%+v", f)
	}
	if f := p.west.failure(); f.Notify != ike.NotifyNoAdditionalSAs {
		t.Errorf("%+v", f)
	}
	w, e := p.west.machines[0].(*SA), p.east.machines[0].(*SA)
	p.east.cfg.SPIs, p.west.cfg.SPIs = p.east, noSPIs{}
	p.west.step(w, ike.AddChild{Conn: p.west.conns[0]})
	if f := facts[ike.Failed](p.west); len(f) != 2 || f[1].Why.Reason != ike.ReasonPlane || !f[1].Child {
		t.Errorf("%+v", f)
	}
	if w.state != stateUp || e.state != stateUp {
		t.Error("the IKE SA should stay")
	}
}

// AH, for those who ask: keys for integrity only, never in UDP.
func TestAH(t *testing.T) {
	p := newPair(t, 1)
	for _, n := range []*node{p.west, p.east} {
		n.conns[0].ESP, n.conns[0].Encap = suite.DefaultAH(true), ike.No
	}
	w, _ := p.up()
	for _, sa := range p.west.plane {
		if sa.ID.Proto != ipsec.AH || sa.EncrKey.Len() != 0 || sa.IntegKey.Len() == 0 || sa.Encap != (ipsec.Encap{}) {
			t.Errorf("%+v", sa)
		}
	}
	p.west.step(w, ike.Rekey{Child: w.children[0].serial})
	p.settle()
	p.pass(grace)
	p.check(1)
	p.west.step(w, ike.Delete{Child: w.children[0].serial})
	p.settle()
	p.check(0)
}

// A connection with pfs=no makes its pairs without a key exchange, and grants
// one to a peer that wants it.
func TestPFSNotAskedFor(t *testing.T) {
	p := newPair(t, 1)
	p.east.conns[0].ESP, p.east.conns[0].PFS = suite.DefaultESP(false), false
	w, e := p.up()
	p.west.step(w, ike.Rekey{Child: w.children[0].serial})
	p.settle()
	p.pass(grace)
	p.check(1)
	if asked := open(t, w, p.sent[4].Msg, true); !has(asked.KE()) {
		t.Error("west asks for none")
	}
	// The other way round west insists, and says so.
	p.east.step(e, ike.Rekey{Child: e.children[0].serial})
	p.settle()
	p.pass(time.Second)
	if f := p.east.failure(); f.Reason != ike.ReasonProposal {
		t.Errorf("%+v", f)
	}
	p.check(1)
}

// A peer that has no PFS refuses what asks for it. We do not go on without, but
// say what would mend it.
func TestPFSRefused(t *testing.T) {
	for _, pfs := range []bool{true, false} {
		p := newPair(t, 1)
		if !pfs {
			withoutPFS(p)
		}
		w, _ := p.up()
		p.fate = func(datagram) []datagram { return nil }
		p.west.step(w, ike.AddChild{Conn: p.west.conns[0]})
		rudeTo(p, p.west, w).answer(wire.NewNotify(ike.NotifyNoProposalChosen, nil))
		if f := p.west.failure(); f.Reason != ike.ReasonProposal || strings.Contains(f.Why, "pfs=no") != pfs {
			t.Errorf("pfs %v: %+v", pfs, f)
		}
		if len(p.west.plane) != 2 || w.state != stateUp {
			t.Errorf("%d SAs\n%s", len(p.west.plane), p)
		}
	}
}

func has[T any](_ T, ok bool) bool { return ok }

// A middle man strips SIGNATURE_HASH_ALGORITHMS from IKE_SA_INIT: both ends
// notice, because AUTH covers the whole message.
func TestAdv_V2S_37_Stripped(t *testing.T) {
	for _, response := range []bool{false, true} {
		p := newPair(t, 1)
		p.fate = func(d datagram) []datagram {
			if exchangeOf(d) == ike.SAInit && responseOf(d) == response {
				m, err := wire.Parse(d.Msg)
				if err != nil {
					t.Fatal(err)
				}
				ps := slices.DeleteFunc(slices.Clone(m.Payloads), func(x wire.Payload) bool {
					n, ok := x.(wire.Notify)
					return ok && n.Kind == ike.NotifySignatureHashAlgorithms
				})
				d.Msg = wire.Append(nil, m.Header, ps...)
			}
			return []datagram{d}
		}
		p.west.initiate()
		p.settle()
		if f := p.west.failure(); f.Reason != ike.ReasonAuth || len(p.west.plane)+len(p.east.plane) != 0 {
			t.Errorf("%+v", f)
		}
	}
}

// V2S-14: both rekey at once, and one of them must first be told another group.
func TestAdv_V2S_14_CollisionWithRetry(t *testing.T) {
	other := toyKE
	other.ID, other.Name = 19, "toy 19"
	for _, c := range []command{rekeyChild, rekeyIKE} {
		for _, seed := range []byte{5, 8} {
			explore(t, seed, noTrouble, func(p *pair) {
				for _, list := range [][]suite.Proposal{p.west.conns[0].IKE, p.west.conns[0].ESP} {
					for i := range list {
						list[i].KE = []*suite.KE{&other, &toyKE}
					}
				}
				w, e := p.west.machines[0].(*SA), p.east.machines[0].(*SA)
				if c.name == rekeyIKE.name {
					w.chosen.KE = &other // what west guesses first
				}
				wev, eev := c.ev(w), c.ev(e)
				p.west.step(w, wev)
				p.east.step(e, eev)
			}, one(1))
		}
	}
}
