package connection

import (
	"crypto"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"cygnet/internal/config"
	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
	"cygnet/internal/oe"
)

// A15: the gateway has proved its key, and answers with other selectors than it
// was asked for: the attempt has failed by authority, and a group that passes what
// is refused blocks. A refusal by the gateway itself is taken as one; an error of
// somebody who has proved nothing is not (D02).
func TestA15WhatIsARefusal(t *testing.T) {
	ours := &ike.Failure{Reason: ike.ReasonTS, Why: "the peer answered with traffic selectors that we did not ask for"}
	theirs := &ike.Failure{Reason: ike.ReasonTS, Why: "the peer refuses the Child SA", Notify: ike.NotifyTSUnacceptable, ByPeer: true}
	for name, c := range map[string]struct {
		proven bool
		why    *ike.Failure
		again  bool // the DNS is asked once more, and the same is tried again
		want   string
	}{
		"A15 other selectors":  {true, ours, true, "denied auth"},
		"refused":              {true, theirs, false, "clear refused"},
		"D02 anybody's error":  {false, theirs, false, "denied unreachable"},
		"D02 anybody's answer": {false, ours, false, "denied unreachable"},
	} {
		t.Run(name, func(t *testing.T) {
			s := flowStage(t, "private-or-clear", "")
			s.acquire()
			s.answer(0, s.record(itself(keyA)))
			try := func(n int) {
				k, serial := s.starts[n], uint32(n+1)
				if c.proven {
					s.report(k, serial, serial, ike.IKEUp{LocalID: k.Local.ID, RemoteID: k.Remote.ID, Remote: netip.AddrPortFrom(k.Remote.Addr, 500), Proof: ike.Proof{Key: keyA}})
				}
				s.report(k, serial, serial+10, ike.Failed{Why: c.why, Child: c.proven})
			}
			try(0)
			if c.again {
				s.answer(1, s.record(itself(keyA)))
				if len(s.starts) == 1 { // the IKE SA is still there
					s.report(s.table.oe.only(t).attempts[0].Conn, 1, 12, ike.Failed{Why: c.why, Child: true})
				} else {
					try(1)
				}
			}
			if got := s.state(); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// only is the one flow that there is.
func (o *opportunism) only(t *testing.T) *flow {
	t.Helper()
	if len(o.flows) != 1 {
		t.Fatalf("%d flows", len(o.flows))
	}
	for _, f := range o.flows {
		return f
	}
	return nil
}

// opportunistic.md 4.6 and 6.4: a destination without a key that counts, called
// anonymously as oe-try-anon= wants, does not answer: it has published nothing
// that would oblige it, so the packets pass as if it had not been called.
func TestTryAnonInVain(t *testing.T) {
	conf := "conn private-or-clear\n left=%defaultroute\n leftid=%myid\n right=%opportunisticgroup\n failureshunt=passthrough\n oe-try-anon=yes\n auto=route\n"
	for _, cause := range []oe.Cause{oe.CauseInsecure, oe.CauseUnusableKey} {
		s := flowStage(t, "private-or-clear", conf)
		s.acquire()
		s.answer(0, oe.Finding{Cause: cause, Why: "no key"})
		if s.state() != "negotiating" {
			t.Fatalf("%s: %s", cause, s.state())
		}
		s.pass(10 * time.Second)
		if got := s.state(); got != "clear "+cause.String() {
			t.Errorf("%s: %s", cause, got)
		}
	}
}

// A20: who is anonymous says INITIAL_CONTACT from the address of a peer that is
// known: nothing of the latter ends (RFC 7619, 3).
func TestA20InitialContact(t *testing.T) {
	s := flowStage(t, "private-or-clear", "")
	s.acquire()
	s.answer(0, s.record(itself(keyA)))
	s.up(s.starts[0], 1, keyA)
	peer := s.table.Admit(s.table.find(key{"private-or-clear", 0}).Conn, netip.AddrPortFrom(them, 500), ike.ID{Kind: ike.IDNULL}, ike.Proof{})
	s.orders = nil
	s.report(peer, 77, 77, ike.IKEUp{LocalID: peer.Local.ID, RemoteID: peer.Remote.ID, Remote: netip.AddrPortFrom(them, 500), InitialContact: true})
	s.pass(5 * time.Second)
	for _, o := range s.orders {
		if o.Serial == 1 {
			t.Errorf("the IKE SA of the known peer gets %+v", o.Event)
		}
	}
	if s.state() != "encrypted" || s.flow().level != oe.LevelSecure {
		t.Errorf("%s, level %s", s.state(), s.flow().level)
	}
}

// D18: our address moves to another interface and back: policies stay, routes
// follow, and the tunnel is not touched.
func TestD18OtherInterface(t *testing.T) {
	s := flowStage(t, "private", "")
	s.acquire()
	s.answer(0, s.record(itself(keyA)))
	s.up(s.starts[0], 1, keyA)
	before := s.effect()
	for _, device := range []string{"ipsec1", "ipsec0"} {
		list := groupsOf(s, "", map[string]string{"private": "0.0.0.0/0\n"})
		for _, g := range list {
			g.Virtual, g.Physical = device, strings.Replace(device, "ipsec", "eth", 1)
		}
		s.act(Regroup{Mode: config.OEAuto, Rand: zeros{}, Ours: []netip.Addr{us}, Own: s.table.oe.Own, List: list})
		if len(s.table.Routes()) == 0 || slices.ContainsFunc(s.table.Routes(), func(r KernelRoute) bool { return r.Device != device }) {
			t.Errorf("%s: routes %+v", device, s.table.Routes())
		}
		if s.state() != "encrypted" || s.effect() != before || before != ipsec.Protect {
			t.Errorf("%s: %s, %s", device, s.state(), s.effect())
		}
	}
}

// opportunistic.md 4.3 and 6.1: where our address has no key of ours our name is
// asked about. With a key there we begin as that name; with oe-identity=ip we do
// not. When the address has the key it is the address that we are; when neither has
// it, oe=auto is idle.
func TestSelfCheckByName(t *testing.T) {
	groups := map[string]string{"private-or-clear": "0.0.0.0/0\n"}
	nothing := oe.Finding{Cause: oe.CauseNoRecord, Why: "no record"}
	found := func(s *stage) oe.Finding {
		return oe.Finding{Offers: []oe.Offer{{Key: ourKey, Level: oe.LevelNamed}}, Expires: s.now.Add(time.Hour)}
	}
	begin := func(conf string) *stage {
		s := newStage(t)
		s.act(Regroup{Mode: config.OEAuto, Rand: zeros{}, Ours: []netip.Addr{us}, Name: "road.example.test", Own: []crypto.PublicKey{ourKey}, List: groupsOf(t, conf, groups)})
		s.answer(0, nothing)
		if len(s.asked) != 2 {
			t.Fatalf("%d questions", len(s.asked))
		}
		s.answer(1, found(s))
		return s
	}
	identity := func(s *stage) string {
		if c := s.table.find(key{"private-or-clear", 0}); c != nil {
			return c.Local.ID.String()
		}
		return "idle"
	}
	s := begin("")
	if got := identity(s); got != "@road.example.test" || s.effect() != ipsec.Trap {
		t.Errorf("%s, packets meet %s", got, s.effect())
	}
	s.pass(time.Hour + time.Second)
	s.answer(len(s.asked)-1, oe.Finding{Cause: oe.CauseDNS, Why: "dead"})
	s.answer(len(s.asked)-1, oe.Finding{Cause: oe.CauseDNS, Why: "dead"})
	if got := identity(s); got != "@road.example.test" {
		t.Errorf("silence of the DNS has made it %s", got)
	}
	s.pass(31 * time.Second)
	s.answer(len(s.asked)-1, found(s))
	if got := identity(s); got != us.String() {
		t.Errorf("the address has the key, and it is %s", got)
	}
	s.pass(time.Hour + time.Second)
	s.answer(len(s.asked)-1, nothing)
	s.answer(len(s.asked)-1, nothing)
	if got := identity(s); got != "idle" || s.effect() != ipsec.Pass {
		t.Errorf("without a key %s, packets meet %s", got, s.effect())
	}
	conf := "conn private-or-clear\n left=%defaultroute\n leftid=%myid\n right=%opportunisticgroup\n failureshunt=passthrough\n oe-identity=ip\n auto=route\n"
	if got := identity(begin(conf)); got != "%null" && got != (ike.ID{Kind: ike.IDNULL}).String() {
		t.Errorf("with oe-identity=ip it is %s", got)
	}
}

// What a peer says before it has proved itself is never a reason to pass in the
// clear, whatever it says (opportunistic.md 4.1, rows 13 and 14).
func TestUnprovenWordIsNoRefusal(t *testing.T) {
	c := &conn{Description: &Description{Conn: &ike.Conn{}}}
	for reason := range ike.ReasonPlane + 8 {
		why := &ike.Failure{Reason: reason, Why: "so it says", ByPeer: true}
		if got := causeOf(c, why, false); got.kind != CauseUnreachable && got.kind != CauseAuth {
			t.Errorf("reason %v: %v", reason, got.kind)
		}
	}
}
