package ikev2

import (
	"testing"

	"cygnet/internal/ike"
)

// west → east: IKE_SA_INIT, IKE_AUTH; one IKE SA and one pair of Child SAs.
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
