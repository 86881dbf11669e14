package ikev2

import (
	"testing"

	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
)

// TestInboundAfterDelete is about a peer who does not hear of our Delete and
// sends on. Where another IKE SA carries the same, that is received for as long as
// the peer is being told; where none does, it is not for an instant, because answers would find
// no SA. Rekeying that is under way does not lose what the Delete said.
func TestInboundAfterDelete(t *testing.T) {
	lost := func(datagram) []datagram { return nil }
	for _, rekeying := range []bool{false, true} {
		for _, moved := range []bool{true, false} {
			p := newPair(t, 31)
			w, _ := p.up()
			if rekeying {
				p.west.step(w, ike.Rekey{})
				p.west.step(w, ike.Delete{Moved: moved})
				p.settle()
				if w = w.successor; w == nil {
					t.Fatal("not rekeyed")
				}
				p.fate = lost
				p.west.step(w, ike.TimeUp{}) // the Delete has waited for it
			} else {
				p.fate = lost
				p.west.step(w, ike.Delete{Moved: moved})
			}
			if w.state != stateClosing || len(facts[ike.ChildDown](p.west)) != 1 {
				t.Fatalf("rekeying %v: %s\n%s", rekeying, w.stateName(), p)
			}
			if got := p.west.inbound(); (got == 1) != moved || got > 1 {
				t.Errorf("rekeying %v, moved %v: %d inbound SAs", rekeying, moved, got)
			}
			p.pass(byeTotal)
			if got := p.west.inbound(); got != 0 {
				t.Errorf("rekeying %v, moved %v: %d inbound SAs after the last Delete", rekeying, moved, got)
			}
		}
	}
}

func (n *node) inbound() (count int) {
	for _, sa := range n.plane {
		if sa.Dir == ipsec.In {
			count++
		}
	}
	return count
}
