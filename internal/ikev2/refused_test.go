package ikev2

import (
	"testing"

	"cygnet/internal/ike"
)

// The data plane refuses one SA of a pair: both ends drop the pair, and the
// IKE SA lives on.
func TestPlaneRefuses(t *testing.T) {
	for _, in := range []bool{true, false} {
		p := newPair(t, 5)
		w, _ := p.up()
		id := w.children[0].out
		if in {
			id = w.children[0].in
		}
		p.west.step(w, ike.Refused{ID: id, Why: "no memory"})
		p.settle()
		p.check(0)
		d := facts[ike.ChildDown](p.west)
		if len(d) != 1 || d[0].Why == nil || d[0].Why.Reason != ike.ReasonPlane || d[0].ByPeer {
			t.Errorf("%+v", d)
		}
		if d := facts[ike.ChildDown](p.east); len(d) != 1 || !d[0].ByPeer {
			t.Errorf("the peer does not know: %+v", d)
		}
		if w.state != stateUp {
			t.Error("the IKE SA is gone")
		}
		p.west.step(w, ike.Refused{ID: id, Why: "again"}) // of an SA that is gone
		p.settle()
	}
}

// A copy of the IKE_SA_INIT request that comes after the IKE SA is up makes
// nothing, for as long as copies may be under way.
func TestLateInitRequest(t *testing.T) {
	p := newPair(t, 5)
	p.up()
	first := p.sent[0]
	sent := len(p.sent)
	p.east.receive(first.Send)
	p.settle()
	if len(p.east.machines) != 1 || p.east.gate.HalfOpen() != 0 || len(p.sent) != sent {
		t.Errorf("a late copy made something\n%s", p)
	}
	for i := range maxRecent + 10 {
		p.east.gate.passed.add(p.now, [32]byte{byte(i), byte(i >> 8), 1})
	}
	if n := len(p.east.gate.passed.until); n != maxRecent || len(p.east.gate.passed.order) != n {
		t.Errorf("%d requests are remembered", n)
	}
	p.pass(2 * recentLife)
	p.east.gate.passed.add(p.now, [32]byte{})
	if n := len(p.east.gate.passed.until); n != 1 {
		t.Errorf("%d requests are remembered for ever", n)
	}
}
