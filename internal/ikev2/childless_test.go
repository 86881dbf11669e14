package ikev2

import (
	"testing"

	"cygnet/internal/ike"
)

// RFC 6023: an IKE SA that begins without a Child SA gets it by CREATE_CHILD_SA.
// XCH-59, XCH-61.
func TestChildless(t *testing.T) {
	for _, c := range []struct {
		name       string
		west, east ike.Childless
		without    bool
		fails      bool
	}{
		{"by default", ike.ChildlessAllow, ike.ChildlessAllow, false, false},
		{"preferred", ike.ChildlessPrefer, ike.ChildlessAllow, true, false},
		{"preferred, and the peer cannot", ike.ChildlessPrefer, ike.ChildlessNever, false, false},
		{"forced", ike.ChildlessForce, ike.ChildlessAllow, true, false},
		{"forced, and the peer cannot", ike.ChildlessForce, ike.ChildlessNever, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPair(t, 92)
			p.west.conns[0].Childless, p.east.conns[0].Childless = c.west, c.east
			if c.fails {
				p.west.initiate()
				p.settle()
				if f := p.west.failure(); f.Reason != ike.ReasonProtocol {
					t.Error(f.Why)
				}
				p.nothing()
				return
			}
			p.up()
			created := 0
			for _, d := range p.sent {
				if exchangeOf(d) == ike.CreateChild {
					created++
				}
			}
			if (created == 2) != c.without {
				t.Errorf("%d messages of CREATE_CHILD_SA", created)
			}
			p.traffic()
		})
	}
}

// The responder's word has room in the answer, also where the request is as short
// as the answer would be (I13).
func TestChildlessHasRoom(t *testing.T) {
	p := newPair(t, 93)
	for _, n := range []*node{p.west, p.east} {
		n.conns[0].IKE = n.conns[0].IKE[:1]
		n.conns[0].Childless = ike.ChildlessForce
	}
	p.up()
	if request, answer := len(p.sent[0].Msg), len(p.sent[1].Msg); answer > request {
		t.Errorf("%d octets answer %d", answer, request)
	}
}

// Who leaves the Child SA out although we have not said that it may is in error
// (V2S-44).
func TestAdv_V2S_44_ChildlessNotAgreed(t *testing.T) {
	p, n, sa := inState(t, stateInitR)
	sa.hs.childless = false
	r := rudeTo(p, n, sa)
	p.flying = nil
	ps := plausible(ike.Auth, false)[:2] // IDi and AUTH only
	if got := r.ask(ike.Auth, ps...); errorOf(got) != ike.NotifyInvalidSyntax || len(facts[ike.IKEUp](p.east)) != 0 {
		t.Errorf("%v", got)
	}
}
