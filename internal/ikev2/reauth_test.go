package ikev2

import (
	"testing"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
)

// V2S-45: who began is told in time to authenticate anew, by its own wish or by
// the responder's AUTH_LIFETIME; who did not begin is not; and no IKE SA
// outlives its authentication, rekeyed or not.
func TestAdv_V2S_45_Reauth(t *testing.T) {
	for _, c := range []struct {
		name       string
		west, east bool
		rekeyed    bool
	}{
		{"by the initiator's wish", true, false, false},
		{"by the responder's", false, true, false},
		{"by both", true, true, false},
		{"although it is rekeyed", false, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPair(t, 94)
			for _, n := range []*node{p.west, p.east} {
				n.conns[0].IKELife = time.Hour
			}
			p.west.conns[0].Reauth, p.east.conns[0].Reauth = c.west, c.east
			if c.east && !c.west {
				p.west.conns[0].IKELife = 8 * time.Hour
			}
			w, _ := p.up()
			if c.rekeyed {
				p.west.step(w, ike.Rekey{})
				p.settle()
			}
			p.pass(59 * time.Minute)
			asked := facts[ike.ReauthDue](p.west)
			if len(asked) == 0 || len(facts[ike.ReauthDue](p.east)) != 0 {
				t.Errorf("west was told %d times", len(asked))
			}
			if len(asked) > 8 {
				t.Errorf("west was told %d times", len(asked))
			}
			p.traffic()
			p.pass(3 * time.Minute)
			if n := len(p.west.machines) + len(p.east.machines); n != 0 {
				t.Errorf("%d machines outlive the authentication\n%s", n, p)
			}
		})
	}
}

// A responder cannot shorten the life by nonsense, and an initiator's word about
// it counts nothing.
func TestAuthLifetimeIgnored(t *testing.T) {
	for _, data := range [][]byte{nil, {0, 0, 1}, {0, 0, 0, 0}, {0, 0, 0, 1, 0}, {0, 0, 0, 60}} {
		p, r := rudePair(t)
		r.ask(ike.Informational, lifetimeNotify(data))
		if !r.sa.auth.end.IsZero() {
			t.Errorf("%x: %v", data, r.sa.auth)
		}
		p.check(1)
	}
}

func lifetimeNotify(data []byte) wire.Payload { return wire.NewNotify(ike.NotifyAuthLifetime, data) }

// V2S-45: a responder that says a second does not make us authenticate each
// second, whether it says so in IKE_AUTH or later.
func TestAdv_V2S_45_ShortAuthLifetime(t *testing.T) {
	for _, later := range []bool{false, true} {
		p := newPair(t, 95)
		p.east.conns[0].Reauth = !later
		if !later {
			p.east.conns[0].IKELife = time.Second
			p.east.conns[0].Rekey = false
		}
		w, _ := p.up()
		up := p.now
		if later {
			rudeTo(p, p.west, w).ask(ike.Informational, lifetimeNotify([]byte{0, 0, 0, 1}))
		}
		if got := w.auth.end.Sub(up); got < leastAuthLife || got > leastAuthLife+time.Second {
			t.Errorf("later %v: the authentication lasts %v", later, got)
		}
		if !w.auth.at.After(up.Add(leastAuthLife / 2)) {
			t.Errorf("later %v: authenticating anew after %v", later, w.auth.at.Sub(up))
		}
	}
}
