package connection

import (
	"crypto"
	"crypto/ed25519"
	"fmt"
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

var (
	them   = netip.MustParseAddr("203.0.113.1")
	gate2  = netip.MustParseAddr("203.0.113.2")
	ourKey = keyOf(1)
	keyA   = keyOf(2)
	keyB   = keyOf(3)
)

func keyOf(n byte) crypto.PublicKey {
	return ed25519.NewKeyFromSeed([]byte(strings.Repeat(string(rune(n)), 32))).Public()
}

// flowStage is a host whose own record is in the DNS, and that has one group for
// everybody.
func flowStage(t testing.TB, group, conf string) *stage {
	t.Helper()
	s := newStage(t)
	s.regroup(group, conf, "0.0.0.0/0\n")
	s.answer(0, oe.Finding{Offers: []oe.Offer{{Addr: us, Key: ourKey, Level: oe.LevelSecure}}, Expires: s.now.Add(24 * time.Hour)})
	s.asked = nil
	return s
}

func (s *stage) regroup(group, conf, text string) []Action {
	return s.act(Regroup{Mode: config.OEAuto, Rand: zeros{}, Ours: []netip.Addr{us}, Own: []crypto.PublicKey{ourKey},
		List: groupsOf(s, conf, map[string]string{group: text})})
}

// answer gives the answer to the n-th question since the stage was cleared.
func (s *stage) answer(n int, f oe.Finding) {
	s.Helper()
	if n >= len(s.asked) {
		s.Fatalf("only %d questions were asked", len(s.asked))
	}
	s.act(Found{ID: s.asked[n].ID, Finding: f})
}

func (s *stage) acquire() {
	f := packet(us.String(), them.String())
	x := s.table.ruleFor(f)
	s.act(Acquire{Owner: x.name, Flow: f})
}

// record is the answer of the DNS that names gateways, each with its key.
func (s *stage) record(gateways ...oe.Offer) oe.Finding {
	return oe.Finding{Offers: gateways, Expires: s.now.Add(10 * time.Minute), ProofEnd: s.now.Add(48 * time.Hour)}
}

func itself(k crypto.PublicKey) oe.Offer {
	return oe.Offer{Addr: them, Precedence: 10, Key: k, Level: oe.LevelSecure}
}

func (s *stage) flow() *flow {
	for _, f := range s.table.oe.flows {
		return f
	}
	return nil
}

func (s *stage) state() string {
	f := s.flow()
	if f == nil {
		return "none"
	}
	t := f.state.String()
	if f.settled() {
		t += " " + f.failed.kind.String()
	}
	return t
}

// effect is what the packets of the flow meet in the data plane.
func (s *stage) effect() ipsec.Action {
	var best *ipsec.Policy
	for i := range s.table.spd.list {
		p := &s.table.spd.list[i]
		if p.Selector.Contains(packet(us.String(), them.String())) && (best == nil || moreSpecific(p.Selector, best.Selector)) {
			best = p
		}
	}
	return best.Action
}

// up reports the IKE SA and the Child SA of the newest attempt.
func (s *stage) up(c *ike.Conn, serial uint32, key crypto.PublicKey) {
	s.report(c, serial, serial, ike.IKEUp{LocalID: c.Local.ID, RemoteID: c.Remote.ID, Remote: netip.AddrPortFrom(c.Remote.Addr, 500), Proof: ike.Proof{Key: key}})
	s.child(c, serial, true)
}

func (s *stage) child(c *ike.Conn, serial uint32, initiator bool) uint32 {
	s.serial++
	s.spi += 2
	s.report(c, serial, s.serial, ike.ChildUp{IKE: serial, Initiator: initiator, Use: true, Mode: ipsec.Tunnel, TSLocal: c.Local.TS, TSRemote: c.Remote.TS,
		In: ipsec.SAID{Dst: us, Proto: ipsec.ESP, SPI: s.spi}, Out: ipsec.SAID{Dst: c.Remote.Addr, Proto: ipsec.ESP, SPI: s.spi + 1}})
	return s.serial
}

func (s *stage) report(c *ike.Conn, machine, serial uint32, f ike.Fact) {
	s.act(Reported{IKE: machine, Report: ike.Report{Conn: c, Serial: serial, Fact: f}})
}

func (s *stage) fail(n int, why *ike.Failure) {
	s.report(s.starts[n], uint32(n+1), uint32(n+1), ike.Failed{Why: why})
}

var wrongKey = &ike.Failure{Reason: ike.ReasonAuth, Why: "wrong key"}

// TestFlowTransitions_OE_12 is the table of opportunistic.md 4.1: each state with each
// event, and what the packets meet afterwards, in a group that passes on failure
// and in one that blocks.
func TestFlowTransitions_OE_12(t *testing.T) {
	none := oe.Finding{Cause: oe.CauseNoRecord, Why: "no record"}
	reach := map[string]func(s *stage){
		"none":        func(*stage) {},
		"asking":      func(s *stage) { s.acquire() },
		"negotiating": func(s *stage) { s.acquire(); s.answer(0, s.record(itself(keyA))) },
		"encrypted":   func(s *stage) { s.acquire(); s.answer(0, s.record(itself(keyA))); s.up(s.starts[0], 1, keyA) },
		"failed":      func(s *stage) { s.acquire(); s.answer(0, none) },
	}
	events := map[string]func(s *stage){
		"packet":     func(s *stage) { s.acquire() },
		"dns dead":   func(s *stage) { s.pass(5 * time.Second) },
		"late reply": func(s *stage) { s.act(Found{ID: 1, Finding: s.record(itself(keyB))}) },
		"entry gone": func(s *stage) { s.regroup("clear", "conn packetdefault\n auto=ignore\n", "0.0.0.0/0\n") },
		"stricter":   func(s *stage) { s.regroup("private", "", "203.0.113.0/24\n") },
		"flush":      func(s *stage) { s.act(Flush{Prefix: netip.MustParsePrefix("203.0.113.0/24")}) },
		"hour":       func(s *stage) { s.pass(time.Hour) },
	}
	want := map[string]string{
		"none+packet": "asking %trap | asking %trap", "asking+packet": "asking %trap | asking %trap",
		"negotiating+packet": "negotiating %trap | negotiating %trap", "encrypted+packet": "encrypted protect | encrypted protect",
		"failed+packet": "clear no-record %pass | denied no-record %drop",

		"none+dns dead": "none %trap | none %trap", "asking+dns dead": "clear dns %pass | denied dns %drop",
		"negotiating+dns dead": "denied unreachable %drop | negotiating %trap", "encrypted+dns dead": "encrypted protect | encrypted protect",
		"failed+dns dead": "clear no-record %pass | denied no-record %drop",

		"none+late reply": "none %trap | none %trap", "asking+late reply": "asking %trap | asking %trap",
		"negotiating+late reply": "negotiating %trap | negotiating %trap", "encrypted+late reply": "encrypted protect | encrypted protect",
		"failed+late reply": "clear no-record %pass | denied no-record %drop",

		"none+entry gone": "none %pass | none %pass", "asking+entry gone": "none %pass | none %pass",
		"negotiating+entry gone": "none %pass | none %pass", "encrypted+entry gone": "none %pass | none %pass",
		"failed+entry gone": "none %pass | none %pass",

		"none+stricter": "none %trap | none %trap", "asking+stricter": "none %trap | asking %trap",
		"negotiating+stricter": "none %trap | negotiating %trap", "encrypted+stricter": "encrypted protect | encrypted protect",
		"failed+stricter": "none %trap | denied no-record %drop",

		"none+flush": "none %trap | none %trap", "asking+flush": "asking %trap | asking %trap",
		"negotiating+flush": "negotiating %trap | negotiating %trap", "encrypted+flush": "encrypted protect | encrypted protect",
		"failed+flush": "none %trap | none %trap",

		"none+hour": "none %trap | none %trap", "asking+hour": "none %trap | none %trap",
		"negotiating+hour": "none %trap | none %trap", "encrypted+hour": "encrypted protect | encrypted protect",
		"failed+hour": "none %trap | none %trap",
	}
	if len(want) != len(reach)*len(events) {
		t.Fatalf("%d cases for %d states and %d events", len(want), len(reach), len(events))
	}
	for state, to := range reach {
		for event, do := range events {
			var got []string
			for _, group := range []string{"private-or-clear", "private"} {
				s := flowStage(t, group, "")
				to(s)
				if have, ok := strings.CutPrefix(s.state(), state); !ok && state != "failed" {
					t.Fatalf("%s: reached %q", state, have)
				}
				do(s)
				got = append(got, s.state()+" "+s.effect().String())
			}
			if g := strings.Join(got, " | "); g != want[state+"+"+event] {
				t.Errorf("%s+%s: %s, want %s", state, event, g, want[state+"+"+event])
			}
		}
	}
}

// opportunistic.md 4.6: what each cause comes to, in each kind of group.
func TestVerdicts(t *testing.T) {
	for name, want := range map[string]string{
		"private-or-clear": "no-record=%pass insecure=%pass unusable-key=%pass local=%pass dns=%pass refused=%pass unreachable=%drop auth=%drop bogus=%drop",
		"prefer":           "no-record=%pass insecure=%pass unusable-key=%pass local=%pass dns=%pass refused=%pass unreachable=%pass auth=%pass bogus=%drop",
		"private":          "no-record=%drop insecure=%drop unusable-key=%drop local=%drop dns=%drop refused=%drop unreachable=%drop auth=%drop bogus=%drop",
	} {
		for _, g := range groupsOf(t, "conn prefer\n also=private-or-clear\n oe-published=prefer\n", nil) {
			if g.Name != name {
				continue
			}
			var got []string
			for c := CauseNoRecord; c < numCauses; c++ {
				got = append(got, c.String()+"="+g.verdict(c).String())
			}
			if text := strings.Join(got, " "); text != want {
				t.Errorf("%s: %s", name, text)
			}
		}
	}
}

// D01: a gateway that is published and silent: blocked at most 6 seconds after
// the packet where its key obliges, clear where the group only prefers.
func TestD01Silent(t *testing.T) {
	for conf, want := range map[string]string{
		"": "denied unreachable",
		"conn private-or-clear\n left=%defaultroute\n leftid=%myid\n right=%opportunisticgroup\n failureshunt=passthrough\n oe-published=prefer\n auto=route\n": "clear unreachable",
	} {
		s := flowStage(t, "private-or-clear", conf)
		s.acquire()
		s.answer(0, s.record(itself(keyA)))
		s.pass(6 * time.Second)
		if got := s.state(); got != want {
			t.Errorf("%q: %s", conf, got)
		}
		if f := s.flow(); f.alarm.at.Sub(f.since) > 33*time.Second || f.alarm.at.Sub(f.since) < 27*time.Second {
			t.Errorf("lasts %v", f.alarm.at.Sub(f.since))
		}
	}
}

// opportunistic.md 4.6: the same failure again lasts twice as long, up to a
// limit; a tunnel wipes that out.
func TestFailuresDouble(t *testing.T) {
	s := flowStage(t, "private", "")
	var lives []time.Duration
	for range 6 {
		s.asked = nil
		s.acquire()
		s.answer(0, oe.Finding{Cause: oe.CauseDNS, Why: "dead"})
		d := s.flow().alarm.at.Sub(s.now)
		lives = append(lives, (d + 5*time.Second).Truncate(10*time.Second))
		s.pass(d)
	}
	if got := fmt.Sprint(lives); got != "[30s 50s 1m50s 3m40s 4m30s 4m30s]" {
		t.Error(got)
	}
	s.asked = nil
	s.acquire()
	s.answer(0, s.record(itself(keyA)))
	s.up(s.starts[0], 1, keyA)
	if n := len(s.table.oe.lapses.by); n != 0 {
		t.Errorf("%d lapses are remembered after a tunnel", n)
	}
}

// A09: of two gateways the second is called a second later, and both are waited
// for; the first to prove itself wins, the other is given up.
func TestA09TwoGateways(t *testing.T) {
	s := flowStage(t, "private", "")
	s.acquire()
	s.answer(0, s.record(itself(keyA), oe.Offer{Addr: gate2, Precedence: 20, Key: keyB, Level: oe.LevelSecure}))
	if len(s.starts) != 1 || s.starts[0].Remote.Addr != them {
		t.Fatalf("began with %d", len(s.starts))
	}
	s.pass(1500 * time.Millisecond)
	if len(s.starts) != 2 || s.starts[1].Remote.Addr != gate2 {
		t.Fatalf("%d gateways were called", len(s.starts))
	}
	s.orders = nil
	s.up(s.starts[1], 2, keyB)
	if got := s.state(); got != "encrypted" || s.flow().conn.Remote.Addr != gate2 {
		t.Errorf("%s", got)
	}
	if len(s.orders) != 1 || s.orders[0] != (ToMachine{1, ike.Delete{}}) {
		t.Errorf("the other attempt: %v", s.orders)
	}
}

// D03, D04: a signature by a key that the DNS does not have: it is asked once
// more, past its caches; only then that is a failure.
func TestD03KeyMismatch(t *testing.T) {
	for _, changed := range []bool{false, true} {
		s := flowStage(t, "private-or-clear", "")
		s.acquire()
		s.answer(0, s.record(itself(keyA)))
		s.fail(0, wrongKey)
		if len(s.asked) != 2 || !s.asked[1].Fresh || s.state() != "asking" {
			t.Fatalf("%d questions, %s", len(s.asked), s.state())
		}
		if !changed {
			s.answer(1, s.record(itself(keyA)))
			s.fail(1, wrongKey)
			if got := s.state(); got != "denied auth" || len(s.asked) != 2 {
				t.Errorf("%s after %d questions", got, len(s.asked))
			}
			continue
		}
		s.answer(1, s.record(itself(keyB)))
		s.up(s.starts[1], 2, keyB)
		if got := s.state(); got != "encrypted" {
			t.Error(got)
		}
	}
}

// Row 10 and 6.4: the last good answer serves while its signatures hold when the
// DNS is silent; a zone that lost its signatures is forged.
func TestRemembered(t *testing.T) {
	for cause, want := range map[oe.Cause]string{oe.CauseDNS: "negotiating", oe.CauseInsecure: "denied bogus"} {
		s := flowStage(t, "private-or-clear", "")
		s.acquire()
		s.answer(0, s.record(itself(keyA)))
		s.table.end(s.flow())
		s.asked = nil
		s.acquire()
		s.answer(0, oe.Finding{Cause: cause, Why: "x"})
		if got := s.state(); got != want {
			t.Errorf("%s: %s, want %s", cause, got, want)
		}
	}
}

// Row 18, D09: a tunnel without packets is closed after oe-idle; one that is used
// in either direction is not (D10).
func TestD09Idle(t *testing.T) {
	s := flowStage(t, "private", "")
	s.acquire()
	s.answer(0, s.record(itself(keyA)))
	s.up(s.starts[0], 1, keyA)
	owner := s.flow().conn.key().owner()
	for range 100 {
		s.checks = nil
		s.pass(15 * time.Second)
		if len(s.checks) == 0 || s.checks[0].Owner != owner || len(s.checks[0].In) != 1 || len(s.checks[0].Out) != 1 {
			t.Fatalf("asked %v", s.checks)
		}
		s.act(Used{Owner: owner, Out: s.now.Add(-time.Second), In: s.now})
		if s.state() != "encrypted" {
			t.Fatal("closed while it was used")
		}
	}
	s.orders = nil
	s.act(Used{Owner: owner, In: s.now.Add(-6 * time.Minute)})
	if s.state() != "none" || s.effect() != ipsec.Trap {
		t.Errorf("%s %s", s.state(), s.effect())
	}
	if len(s.orders) != 1 || s.orders[0].Event != (ike.Delete{Child: 2}) {
		t.Errorf("orders %v", s.orders)
	}
	if len(s.table.IKEs()) != 1 {
		t.Error("the IKE SA is gone as well")
	}
}

// opportunistic.md 4.5: the peer is asked whether it lives where packets go out and
// nothing has come in for ten seconds, and only there.
func TestLiveness(t *testing.T) {
	s := flowStage(t, "private", "")
	s.acquire()
	s.answer(0, s.record(itself(keyA)))
	s.up(s.starts[0], 1, keyA)
	owner := s.flow().conn.key().owner()
	s.pass(time.Minute)
	ago := func(d time.Duration) time.Time { return s.now.Add(-d) }
	for _, c := range []struct {
		in, out time.Time
		want    bool
	}{
		{ago(time.Second), ago(time.Second), false}, {ago(15 * time.Second), ago(time.Second), true}, {ago(5 * time.Second), ago(time.Second), false},
		{ago(time.Second), ago(15 * time.Second), false}, {time.Time{}, ago(time.Second), true}, {time.Time{}, time.Time{}, false},
	} {
		s.orders = nil
		s.act(Used{Owner: owner, In: c.in, Out: c.out})
		if got := slices.Contains(s.orders, ToMachine{1, ike.Probe{}}); got != c.want {
			t.Errorf("in %v ago, out %v ago: asked is %v", s.now.Sub(c.in), s.now.Sub(c.out), got)
		}
	}
}

// Row 23, D17: in another network the failures of the last one are forgotten, and
// the own record is looked at again.
func TestD17AddressChanges(t *testing.T) {
	s := flowStage(t, "private", "")
	s.acquire()
	s.answer(0, oe.Finding{Cause: oe.CauseDNS, Why: "dead"})
	s.asked = nil
	s.regroup("private", "", "0.0.0.0/0\n")
	if s.state() != "denied dns" || len(s.asked) != 0 {
		t.Fatalf("nothing has changed, and it is %s after %d questions", s.state(), len(s.asked))
	}
	s.act(Regroup{Mode: config.OEAuto, Rand: zeros{}, Ours: []netip.Addr{us, gate2}, Own: []crypto.PublicKey{ourKey},
		List: groupsOf(t, "", map[string]string{"private": "0.0.0.0/0\n"})})
	if s.state() != "none" || len(s.asked) != 1 || len(s.table.oe.lapses.by) != 0 {
		t.Errorf("%s after %d questions, %d lapses", s.state(), len(s.asked), len(s.table.oe.lapses.by))
	}
}

// Row 20, D07: what the peer deletes is held by the trap again, not passed.
func TestD07PeerDeletes(t *testing.T) {
	s := flowStage(t, "private-or-clear", "")
	s.acquire()
	s.answer(0, s.record(itself(keyA)))
	s.up(s.starts[0], 1, keyA)
	s.report(s.starts[0], 1, 2, ike.ChildDown{IKE: 1, ByPeer: true})
	if s.state() != "none" || s.effect() != ipsec.Trap {
		t.Errorf("%s %s", s.state(), s.effect())
	}
}

// Row 21, C21: when the answer of the DNS has run out it is asked again: the same
// key extends, none ends the tunnel, silence changes nothing while the
// signatures hold (C18).
func TestC21Reproof(t *testing.T) {
	for _, c := range []struct {
		f    oe.Finding
		want string
	}{
		{oe.Finding{Offers: []oe.Offer{itself(keyA)}}, "encrypted"},
		{oe.Finding{Cause: oe.CauseDNS, Why: "dead"}, "encrypted"},
		{oe.Finding{Cause: oe.CauseNoRecord, Why: "gone"}, "none"},
		{oe.Finding{Cause: oe.CauseUnlisted, Why: "another key"}, "none"},
		{oe.Finding{Cause: oe.CauseBogus, Why: "forged"}, "none"},
	} {
		s := flowStage(t, "private", "")
		s.acquire()
		s.answer(0, s.record(itself(keyA)))
		s.up(s.starts[0], 1, keyA)
		s.asked = nil
		for range 12 * 60 {
			if s.pass(time.Second); len(s.asked) > 0 {
				break
			}
		}
		c.f.Expires = s.now.Add(10 * time.Minute)
		s.answer(len(s.asked)-1, c.f)
		if got := s.state(); got != c.want {
			t.Errorf("%s: %s, want %s", c.f.Cause, got, c.want)
		}
	}
}

// opportunistic.md 4.7: an IKE SA is shared by flows whose records have the key
// that proved it, and by no others.
func TestSharedIKE(t *testing.T) {
	for key, want := range map[bool]int{true: 1, false: 2} {
		s := flowStage(t, "private", "")
		s.acquire()
		s.answer(0, s.record(itself(keyA)))
		s.up(s.starts[0], 1, keyA)
		f := packet(us.String(), "203.0.113.77")
		s.act(Acquire{Owner: "private#0.0.0.0/0", Flow: f})
		other := itself(keyA)
		if !key {
			other = itself(keyB)
		}
		s.answer(1, s.record(other))
		if len(s.starts) != want {
			t.Errorf("same key %v: %d IKE SAs", key, len(s.starts))
		}
	}
}

// OE-14, A23: a connection that somebody wrote takes its traffic back, and
// strangers are refused what it covers.
func TestA23ExplicitWins_OE_14(t *testing.T) {
	s := flowStage(t, "private-or-clear", "")
	s.acquire()
	s.answer(0, s.record(itself(keyA)))
	s.up(s.starts[0], 1, keyA)
	tmpl := s.table.find(key{"private-or-clear", 0})
	peer := s.table.Admit(tmpl.Conn, netip.AddrPortFrom(them, 500), ike.IDOfAddr(them), ike.Proof{Key: keyA, Level: oe.LevelSecure})
	ask := ike.Pair{Local: us, Remote: them}
	if c, why := s.table.Grant(peer, ask, ike.Proof{Key: keyA, Level: oe.LevelSecure}); c == nil {
		t.Fatalf("refused: %v", why)
	}
	s.act(Add{List: []*Description{describe("mine", "192.0.2.11/32", "203.0.113.1/32")}})
	s.act(Route{Name: "mine"})
	if c, why := s.table.Grant(peer, ask, ike.Proof{Key: keyA, Level: oe.LevelSecure}); c != nil || !strings.Contains(why.Why, "no policy group") {
		t.Errorf("granted %v, %v", c, why)
	}
	if s.effect() != ipsec.Trap {
		t.Errorf("packets meet %s", s.effect())
	}
}

// A17, A18, A19, A20: what Grant gives to whom.
func TestGrant(t *testing.T) {
	s := newStage(t)
	s.act(Regroup{Mode: config.OEYes, Rand: zeros{}, Ours: []netip.Addr{us}, Own: []crypto.PublicKey{ourKey}, List: groupsOf(t, "", map[string]string{
		"private": "203.0.113.0/24\n", "private-or-clear": "198.51.100.0/24\n", "clear": "198.51.100.9\n", "block": "198.51.100.66\n"})})
	s.answer(0, oe.Finding{Offers: []oe.Offer{{Addr: us, Key: ourKey, Level: oe.LevelSecure}}, Expires: s.now.Add(time.Hour)})
	nobody := ike.ID{Kind: ike.IDNULL}
	for _, c := range []struct {
		id     ike.ID
		from   string
		client string
		level  oe.Level
		want   string
	}{
		{ike.IDOfAddr(them), "203.0.113.1", "203.0.113.1", oe.LevelSecure, ""},
		{ike.ID{Kind: ike.IDFQDN, Data: "road.example.test"}, "203.0.113.1", "203.0.113.1", oe.LevelNamed, "asks for authentication secure, the peer has named"},
		{ike.ID{Kind: ike.IDFQDN, Data: "road.example.test"}, "198.51.100.1", "198.51.100.1", oe.LevelNamed, ""},
		{nobody, "198.51.100.1", "198.51.100.1", oe.LevelAnon, ""},
		{nobody, "203.0.113.1", "203.0.113.1", oe.LevelAnon, "asks for authentication secure, the peer has anon"},
		{nobody, "198.51.100.1", "198.51.100.53", oe.LevelAnon, "which is not its own address"},
		{ike.IDOfAddr(netip.MustParseAddr("198.51.100.9")), "198.51.100.9", "198.51.100.9", oe.LevelSecure, "does not encrypt"},
	} {
		proof := ike.Proof{Level: c.level}
		if c.level > oe.LevelAnon {
			proof.Key = keyA
		}
		from := netip.MustParseAddr(c.from)
		list := s.table.strangersTo(us, from)
		if len(list) == 0 {
			t.Errorf("%s from %s meets silence", c.id, c.from)
			continue
		}
		peer := s.table.Admit(list[0], netip.AddrPortFrom(from, 500), c.id, proof)
		got, why := s.table.Grant(peer, ike.Pair{Local: us, Remote: netip.MustParseAddr(c.client)}, proof)
		switch {
		case c.want == "" && (got == nil || len(got.Remote.TS) != 1 || got.Remote.TS[0].Start != got.Remote.TS[0].End):
			t.Errorf("%s from %s: refused: %v", c.id, c.from, why)
		case c.want != "" && (got != nil || !strings.Contains(why.Why, c.want)):
			t.Errorf("%s from %s: %v %v, want %q", c.id, c.from, got, why, c.want)
		}
	}
	if !s.table.Silent(us, netip.MustParseAddr("198.51.100.66")) || len(s.table.Between(us, netip.MustParseAddr("198.51.100.66"))) != 0 {
		t.Error("who is blocked is answered")
	}
	// A20: a stranger pushes nobody out who is better known.
	f := s.table.oe.flows[ipsec.Selector{Src: hostPrefix(us), Dst: hostPrefix(netip.MustParseAddr("198.51.100.1"))}]
	f.level, f.state = oe.LevelSecure, Encrypted
	from := netip.MustParseAddr("198.51.100.1")
	peer := s.table.Admit(s.table.strangersTo(us, from)[0], netip.AddrPortFrom(from, 500), nobody, ike.Proof{})
	if got, why := s.table.Grant(peer, ike.Pair{Local: us, Remote: from}, ike.Proof{}); got != nil || !strings.Contains(why.Why, "has a tunnel with authentication secure") {
		t.Errorf("%v %v", got, why)
	}
}

// OE-09, D14: packets to a hundred thousand destinations: pending lookups and
// flows are bounded, and so is what is remembered.
func TestBounds_OE_09(t *testing.T) {
	s := flowStage(t, "private", "")
	for i := range 100_000 {
		dst := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		s.act(Acquire{Owner: "private#0.0.0.0/0", Flow: ipsec.Flow{Src: us, Dst: dst, Proto: 17}})
	}
	o := &s.table.oe
	if len(s.asked) != maxLookups || o.waiting != maxWaiting || len(o.flows) != maxWaiting || o.count.Limited != 100_000-maxWaiting {
		t.Errorf("%d questions, %d waiting, %d flows, %d beyond the limit", len(s.asked), o.waiting, len(o.flows), o.count.Limited)
	}
	s.pass(time.Minute)
	if o.waiting != 0 || len(o.lookups) != 0 || o.asking != 0 {
		t.Errorf("%d wait, %d lookups, %d asked", o.waiting, len(o.lookups), o.asking)
	}
}

// OE-10: packets with sources that are not ours begin few flows.
func TestForgedSources_OE_10(t *testing.T) {
	s := flowStage(t, "private", "")
	for i := range 50_000 {
		src := netip.AddrFrom4([4]byte{172, 16, byte(i >> 8), byte(i)})
		s.act(Acquire{Owner: "packetdefault", Flow: ipsec.Flow{Src: src, Dst: them, Proto: 17}})
	}
	if n := s.table.oe.count.Begun; n > newFlowBurst+newFlowRate {
		t.Errorf("%d flows were begun", n)
	}
}

// opportunistic.md 13 and oe=auto: without our record the groups are idle and cost nothing; it
// is found later, and they act.
func TestSelfCheck(t *testing.T) {
	s := newStage(t)
	s.regroup("private-or-clear", "", "0.0.0.0/0\n")
	s.answer(0, oe.Finding{Cause: oe.CauseNoRecord, Why: "no record"})
	if s.effect() != ipsec.Pass {
		t.Errorf("idle, and packets meet %s", s.effect())
	}
	if !slices.ContainsFunc(s.log, func(l string) bool {
		return strings.Contains(l, "opportunistic encryption is idle on 192.0.2.11: no record")
	}) {
		t.Errorf("log: %q", s.log)
	}
	s.pass(31 * time.Second)
	s.answer(len(s.asked)-1, oe.Finding{Offers: []oe.Offer{{Key: ourKey, Level: oe.LevelSecure}}, Expires: s.now.Add(time.Hour)})
	if s.effect() != ipsec.Trap {
		t.Errorf("active, and packets meet %s", s.effect())
	}
	// The DNS falls silent: what was published still is. It is proven gone: idle again.
	s.pass(time.Hour + time.Second)
	s.answer(len(s.asked)-1, oe.Finding{Cause: oe.CauseDNS, Why: "dead"})
	if s.effect() != ipsec.Trap {
		t.Error("silence of the DNS has switched it off")
	}
	s.pass(31 * time.Second)
	s.answer(len(s.asked)-1, oe.Finding{Cause: oe.CauseNoRecord, Why: "no record"})
	if s.effect() != ipsec.Pass {
		t.Error("still active without a record")
	}
}
