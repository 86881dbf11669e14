package ikev2

import (
	"testing"

	"cygnet/internal/ike"
)

// TestDeleteBeforeAnswer is about a responder that deletes the IKE SA before the
// initiator has the answer to IKE_AUTH. The Delete comes first: the attempt ends.
// Or the answer comes, late in the time of the Delete: the initiator is told for
// long enough that nothing is left at either end.
func TestDeleteBeforeAnswer(t *testing.T) {
	for _, answerFirst := range []bool{false, true} {
		p := newPair(t, 31)
		lost := func(d datagram, x ike.ExchangeType) bool {
			h, err := ike.ParseHeader(d.Msg)
			return err == nil && d.from == p.east && h.Exchange == x
		}
		drop := func(xs ...ike.ExchangeType) {
			p.fate = func(d datagram) []datagram {
				for _, x := range xs {
					if lost(d, x) {
						return nil
					}
				}
				return []datagram{d}
			}
		}
		drop(ike.Auth)
		w := p.west.initiate()
		p.settle()
		e := p.east.machines[0].(*SA)
		if w.state != stateAuthI || e.state != stateUp {
			t.Fatalf("west %s, east %s\n%s", w.stateName(), e.stateName(), p)
		}
		if answerFirst {
			drop(ike.Auth, ike.Informational)
		}
		p.east.step(e, ike.Delete{})
		if answerFirst {
			p.pass(byeTotal / 2)
			drop(ike.Informational) // the next repetition of west's is answered
			for i := 0; w.state == stateAuthI && i < 8; i++ {
				p.pass(byeTotal / 16)
			}
			if w.state != stateUp || e.state != stateClosing {
				t.Fatalf("west %s, east %s\n%s", w.stateName(), e.stateName(), p)
			}
			p.pass(byeTotal / 4) // the first limit is over
			p.fate = nil
		}
		p.pass(byeTotal + lingerLife)
		if w.state != stateDead || e.state != stateDead || len(p.west.plane)+len(p.east.plane) > 0 {
			t.Errorf("answer first %v: west %s with %d SAs, east %s with %d\n%s", answerFirst, w.stateName(), len(p.west.plane), e.stateName(), len(p.east.plane), p)
		}
		if failed := facts[ike.Failed](p.west); (len(failed) == 1) == answerFirst {
			t.Errorf("answer first %v: %d attempts have failed", answerFirst, len(failed))
		}
	}
}

// TestEarlyRequestWaits: what is no Delete is as good as lost while IKE_AUTH is out,
// and is answered when it is repeated to an established IKE SA.
func TestEarlyRequestWaits(t *testing.T) {
	p := newPair(t, 31)
	var kept []datagram
	p.fate = func(d datagram) []datagram {
		if h, err := ike.ParseHeader(d.Msg); err == nil && d.from == p.east && h.Exchange == ike.Auth {
			kept = append(kept, d)
			return nil
		}
		return []datagram{d}
	}
	w := p.west.initiate()
	p.settle()
	e := p.east.machines[0].(*SA)
	p.east.step(e, ike.Probe{})
	p.settle()
	if w.state != stateAuthI || w.win.busy || w.win.expect != 0 || e.win.pending == nil {
		t.Fatalf("west %s, %+v\n%s", w.stateName(), w.win, p)
	}
	p.fate = nil
	p.flying = append(p.flying, kept[0])
	p.pass(defaultRetransmitFirst * 4)
	if w.state != stateUp || e.win.pending != nil || w.win.expect != 1 {
		t.Errorf("west %s, expects %d\n%s", w.stateName(), w.win.expect, p)
	}
}

// TestRivalIsNotRekeyed: the command to rekey has no effect on an IKE SA of which it
// is not known yet whether it stands.
func TestRivalIsNotRekeyed(t *testing.T) {
	p := newPair(t, 31)
	w, e := p.up()
	w.predecessor = &SA{}
	p.west.step(w, ike.Rekey{})
	p.settle()
	if len(w.tasks) > 0 || w.active != nil || e.successor != nil {
		t.Error("it is rekeyed")
	}
	w.predecessor = nil
	p.west.step(w, ike.Rekey{})
	p.settle()
	if w.successor == nil || e.successor == nil {
		t.Error("it is not rekeyed afterwards")
	}
}
