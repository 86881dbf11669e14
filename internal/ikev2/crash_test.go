package ikev2

import (
	"testing"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
	"cygnet/internal/ipsec"
)

func tokens(t *testing.T, b byte) TokenSecret {
	s, err := NewTokenSecret(ipsec.NewSecret(append(make([]byte, 31), b)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// withTokens brings a tunnel up whose ends know each other's tokens.
func withTokens(t *testing.T) (p *pair, w, e *SA) {
	p = newPair(t, 91)
	p.west.cfg.Tokens, p.east.cfg.Tokens = tokens(t, 1), tokens(t, 2)
	w, e = p.up()
	return p, w, e
}

// crash makes a node forget everything but the secret on its disk.
func (n *node) crash() {
	n.machines, n.jobs = nil, nil
	n.plane, n.out, n.use = map[ipsec.SAID]ipsec.SA{}, map[uint32]ipsec.SAID{}, ipsec.SAID{}
	n.gate = NewGate(n.cfg, Limits{})
}

// A peer that has lost its state says so in its first word, whichever end it
// was, and after rekeyings as well. Without a token it takes until patience is
// at an end.
func TestCrashDetection(t *testing.T) {
	for _, c := range []struct {
		name    string
		crashes func(p *pair) *node
		before  time.Duration
		with    bool
	}{
		{"responder", func(p *pair) *node { return p.east }, 0, true},
		{"initiator", func(p *pair) *node { return p.west }, 0, true},
		{"responder, rekeyed", func(p *pair) *node { return p.east }, 30 * time.Hour, true},
		{"initiator, rekeyed", func(p *pair) *node { return p.west }, 30 * time.Hour, true},
		{"another secret", func(p *pair) *node { return p.east }, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, _, _ := withTokens(t)
			p.pass(c.before)
			gone := c.crashes(p)
			gone.crash()
			if !c.with {
				gone.cfg.Tokens = tokens(t, 9)
			}
			left := p.other(gone)
			if len(left.machines) != 1 {
				t.Fatalf("%d machines", len(left.machines))
			}
			at := p.now
			left.step(left.machines[0], ike.Probe{})
			p.settle()
			if ended := len(left.machines) == 0; ended != c.with {
				t.Fatalf("ended: %v\n%s", ended, p)
			}
			p.pass(2 * time.Minute)
			downs := facts[ike.IKEDown](left)
			last := downs[len(downs)-1]
			if len(left.plane) != 0 || last.Why == nil || last.Why.Reason != ike.ReasonSilent {
				t.Errorf("%+v", last)
			}
			if took := left.at[len(left.at)-1] - at.Sub(epoch); c.with && took != 0 {
				t.Errorf("it took %s", took)
			}
		})
	}
}

// An IKE SA that lives cannot be ended by asking for its token: neither as it
// is, nor with the flag turned around, nor with any other octets.
func TestAdv_MS14_TokenOfALivingSA(t *testing.T) {
	p, w, e := withTokens(t)
	for _, flags := range []ike.Flags{ike.FlagInitiator, 0} {
		sent := len(p.sent)
		h := ike.Header{SPIi: w.spiI, SPIr: w.spiR, Major: 2, Exchange: ike.Informational, Flags: flags, MessageID: 7}
		msg := wire.Append(nil, h, wire.NewNotify(ike.NotifyInitialContact, make([]byte, 200)))
		p.east.receive(ike.Send{Local: p.west.addr, Remote: e.local, Msg: msg})
		for _, d := range p.sent[sent:] {
			m, err := wire.Parse(d.Msg)
			if err != nil || m.Encrypted() {
				continue
			}
			n, has := m.Notify(ike.NotifyQCDToken)
			if has && string(n.Data) == string(w.peerToken) {
				t.Fatalf("flags %x: the token of a living IKE SA", flags)
			}
			p.west.step(w, ike.Received{Local: w.local, Remote: w.remote, Msg: d.Msg})
		}
		p.flying = nil
	}
	for name, token := range map[string][]byte{
		"none": {}, "short": w.peerToken[:15], "long": append(clone(w.peerToken), 0), "its own": e.peerToken, "zeros": make([]byte, 16),
	} {
		h := ike.Header{SPIi: w.spiI, SPIr: w.spiR, Major: 2, Exchange: ike.Informational, Flags: ike.FlagResponse}
		p.west.step(w, ike.Received{Local: w.local, Remote: w.remote, Msg: wire.Append(nil, h, wire.NewNotify(ike.NotifyInvalidIKESPI, nil), wire.NewNotify(ike.NotifyQCDToken, token))})
		if w.state != stateUp {
			t.Fatalf("%s: ended", name)
		}
	}
	p.settle()
	p.check(1)
}

// The answer to a lost IKE SA is bounded: never longer than what came, never
// about an answer, never without a secret.
func TestLostSABounded(t *testing.T) {
	p, w, e := withTokens(t)
	p.east.crash()
	h := ike.Header{SPIi: w.spiI, SPIr: w.spiR, Major: 2, Exchange: ike.Informational, Flags: ike.FlagInitiator}
	ask := func(h ike.Header, size int, secret TokenSecret) int {
		p.east.cfg.Tokens = secret
		_, out := p.east.gate.Receive(p.now, ike.Received{Local: e.local, Remote: w.local, Msg: wire.Append(nil, h, wire.NewNotify(ike.NotifyInitialContact, make([]byte, size)))}, nil)
		return len(out)
	}
	answer := h
	answer.Flags |= ike.FlagResponse
	if ask(h, 100, tokens(t, 2)) != 1 {
		t.Error("no answer")
	}
	if ask(h, 20, tokens(t, 2))+ask(answer, 100, tokens(t, 2))+ask(h, 100, TokenSecret{}) != 0 {
		t.Error("answered")
	}
	n := 0
	for range 1000 {
		n += ask(h, 100, tokens(t, 2))
	}
	if n > 60 {
		t.Errorf("%d answers in a moment", n)
	}
}
