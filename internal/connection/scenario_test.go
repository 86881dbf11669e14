package connection

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"cygnet/internal/config"
	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

func auto(a config.Startup) func(*Description) { return func(d *Description) { d.Auto = a } }

// R1.5: twenty connections between the same two gateways ride on one IKE SA.
func TestOneIKESAForAll(t *testing.T) {
	w := newWorld(t)
	for i := range 20 {
		w.add(describe(fmt.Sprintf("net%02d", i), "10.1.0.0/24", fmt.Sprintf("10.2.%d.0/24", i)))
	}
	for i := range 20 {
		w.step(Up{Name: fmt.Sprintf("net%02d", i)})
	}
	if len(w.starts) != 1 {
		t.Fatalf("%d IKE SAs were started, want 1", len(w.starts))
	}
	w.ikeUp(1, w.starts[0])
	if n := len(w.told()); n != 19 {
		t.Errorf("the IKE SA was given %d more connections, want 19", n)
	}
	for _, c := range slices.Clone(w.table.conns) {
		w.childUp(1, c.Conn)
	}
	for _, c := range w.table.conns {
		w.state(c.Name, Erouted)
	}
	if len(w.policies) != 20 || len(w.routes) != 20 {
		t.Errorf("%d policies and %d routes, want 20", len(w.policies), len(w.routes))
	}
}

// Connections with another identity or proof do not share it.
func TestStrangersDoNotShare(t *testing.T) {
	w := newWorld(t)
	w.add(describe("a", "10.1.0.0/24", "10.2.0.0/24"),
		describe("b", "10.1.0.0/24", "10.3.0.0/24", func(d *Description) { d.Local.ID.Data = "west2" }),
		describe("c", "10.1.0.0/24", "10.4.0.0/24", func(d *Description) { d.Remote.Auth = []ike.AuthMethod{ike.AuthPubkey} }))
	for _, name := range []string{"a", "b", "c"} {
		w.step(Up{Name: name})
	}
	if len(w.starts) != 3 {
		t.Errorf("%d IKE SAs were started, want 3", len(w.starts))
	}
}

// A group of connections is answered when the last one is decided.
func TestUpOfSeveral(t *testing.T) {
	w := newWorld(t)
	alias := func(d *Description) { d.Alias, d.KeyingTries = "x", 1 }
	list := []*Description{describe("x/1x1", "10.1.0.0/24", "10.2.0.0/24", alias), describe("x/1x2", "10.1.0.0/24", "10.3.0.0/24", alias)}
	w.step(Add{Name: "x", List: list})
	w.step(Up{Waiter: 5, Name: "x"})
	if len(w.starts) != 1 {
		t.Fatalf("%d IKE SAs were started", len(w.starts))
	}
	w.ikeUp(1, list[0].Conn)
	w.childUp(1, list[0].Conn)
	if slices.ContainsFunc(w.replies, func(r Reply) bool { return r.Final }) {
		t.Fatal("answered before all were decided")
	}
	ts := &ike.Failure{Reason: ike.ReasonTS, Why: "no common selectors", Notify: ike.NotifyTSUnacceptable}
	w.report(1, ike.Report{Conn: list[1].Conn, Serial: 9, Fact: ike.Failed{Why: ts, Child: true}})
	last := w.replies[len(w.replies)-1]
	if !last.Final || last.OK || last.Why != ts || last.Code != 238 || last.Text != `"x/1x2" #9: no common selectors` {
		t.Errorf("the last reply is %+v", last)
	}
}

// Ruling A-1, and R17.1 to R17.4.
func TestAfterDown(t *testing.T) {
	for _, tc := range []struct {
		auto config.Startup
		want State
		shut string
	}{{config.AutoAdd, Dropped, "%drop"}, {config.AutoStart, Dropped, "%drop"}, {config.AutoRoute, Trapped, "%trap"}} {
		w := newWorld(t)
		w.add(describe("c", "10.1.0.0/24", "10.2.0.0/24", auto(tc.auto)))
		serial, _ := w.up("c")
		w.step(Down{Waiter: 3, Name: "c"})
		w.state("c", tc.want)
		if got := w.eroute("c"); got != tc.shut {
			t.Errorf("auto=%d: eroute after down is %s, want %s", tc.auto, got, tc.shut)
		}
		if len(w.replies) > 0 {
			t.Error("down was answered before the SAs were gone")
		}
		w.wantTold("#1 Delete")
		w.gone(serial, w.conn("c").Conn, ike.IKEDown{})
		w.state("c", tc.want)
		if r := w.replies[len(w.replies)-1]; !r.Final || !r.OK {
			t.Errorf("down was answered %+v", r)
		}
		if len(w.routes) != 1 {
			t.Errorf("the route went with down")
		}
		w.pass(time.Hour)
		w.state("c", tc.want) // nothing brings it back by itself
		w.step(Unroute{Name: "c"})
		if len(w.routes)+len(w.policies) != 0 {
			t.Errorf("after unroute: %v %v", w.routes, w.policies)
		}
	}
}

// Taking one of several down leaves the others and their IKE SA (R13.6).
func TestDownOfOne(t *testing.T) {
	w := newWorld(t)
	w.add(describe("a", "10.1.0.0/24", "10.2.0.0/24"), describe("b", "10.1.0.0/24", "10.3.0.0/24"))
	serial, child := w.up("a")
	w.up("b")
	w.told()
	w.step(Down{Name: "a"})
	w.wantTold(fmt.Sprintf("#%d DeleteChild #%d", serial, child))
	w.childDown(serial, child, w.conn("a").Conn, ike.ChildDown{})
	w.state("b", Erouted)
	w.step(Down{Name: "b"})
	w.wantTold(fmt.Sprintf("#%d Delete", serial))
}

// Up of what is up, or is coming up, asks for no second Child SA. XCH-02.
func TestUpTwice(t *testing.T) {
	w := newWorld(t)
	w.add(describe("a", "10.1.0.0/24", "10.2.0.0/24"))
	w.step(Up{Name: "a"})
	w.told()
	w.step(Up{Waiter: 1, Name: "a"})
	w.wantTold()
	w.ikeUp(1, w.conn("a").Conn)
	w.childUp(1, w.conn("a").Conn)
	w.step(Up{Waiter: 2, Name: "a"})
	w.wantTold()
	if r := w.replies[len(w.replies)-1]; !r.Final || !r.OK || len(w.ikes) != 1 {
		t.Errorf("%d IKE SAs, told %+v", len(w.ikes), r)
	}
}

// Down while the negotiation is under way: what still comes is refused.
func TestDownWhileNegotiating(t *testing.T) {
	w := newWorld(t)
	w.add(describe("a", "10.1.0.0/24", "10.2.0.0/24"), describe("b", "10.1.0.0/24", "10.3.0.0/24"))
	w.step(Up{Name: "a"})
	w.step(Up{Waiter: 4, Name: "b"})
	w.told()
	w.step(Down{Name: "b"})
	if r := w.replies[len(w.replies)-1]; !r.Final || r.OK {
		t.Errorf("who waited for up was told %+v", r)
	}
	w.wantTold() // a needs the IKE SA
	w.ikeUp(1, w.conn("a").Conn)
	w.childUp(1, w.conn("a").Conn)
	late := w.childUp(1, w.conn("b").Conn)
	w.wantTold(fmt.Sprintf("#1 DeleteChild #%d", late))
	w.state("b", Unrouted)
}

// R17.8: replacing a routed connection leaves no gap in the routing.
func TestReplaceWithoutGap(t *testing.T) {
	w := newWorld(t)
	w.add(describe("c", "10.1.0.0/24", "10.2.0.0/24"))
	serial, _ := w.up("c")
	routes := len(w.kinds)
	w.step(Replace{Name: "c", List: []*Description{describe("c", "10.1.0.0/24", "10.2.0.0/24", func(d *Description) { d.PFS = true })}})
	if slices.Contains(w.kinds, "Routes") {
		t.Errorf("the routes were touched (%d actions: %v)", routes, w.kinds)
	}
	if got := w.eroute("c"); got != "%trap" {
		t.Errorf("eroute is %s", got)
	}
	w.wantTold(fmt.Sprintf("#%d Delete", serial))
}

// An unchanged connection is left alone by a reload.
func TestReplaceKeeps(t *testing.T) {
	w := newWorld(t)
	w.add(describe("c", "10.1.0.0/24", "10.2.0.0/24"))
	w.up("c")
	before := w.conn("c").Conn
	w.step(Replace{Name: "c", List: []*Description{describe("c", "10.1.0.0/24", "10.2.0.0/24")}, Keep: true})
	w.state("c", Erouted)
	if w.conn("c").Conn != before || len(w.told()) != 0 {
		t.Error("it was exchanged")
	}
}

// freeswan.md 6.5: tries, failureshunt, and the trap that does not start an
// endless loop.
func TestKeyingTries(t *testing.T) {
	for _, tc := range []struct {
		failure ipsec.Action
		want    string
	}{{ipsec.Trap, "%trap"}, {ipsec.Drop, "%drop"}, {ipsec.Reject, "%reject"}, {ipsec.Pass, "%pass"}} {
		w := newWorld(t)
		w.add(describe("c", "10.1.0.0/24", "10.2.0.0/24", func(d *Description) { d.KeyingTries, d.Failure = 3, tc.failure }))
		w.step(Route{Name: "c"})
		w.step(Acquire{Owner: "c", Flow: ipsec.Flow{}})
		for try := 1; try <= 3; try++ {
			if len(w.starts) != try {
				t.Fatalf("%d attempts after %d failures", len(w.starts), try-1)
			}
			if got := w.eroute("c"); got != "%hold" {
				t.Errorf("eroute is %s while negotiating", got)
			}
			w.report(uint32(try), ike.Report{Conn: w.conn("c").Conn, Serial: uint32(try), Fact: ike.Failed{Why: noAnswer}})
		}
		if got := w.eroute("c"); got != tc.want || len(w.starts) != 3 {
			t.Errorf("after the last try: %s and %d attempts, want %s", got, len(w.starts), tc.want)
		}
		if tc.failure != ipsec.Trap {
			continue
		}
		w.step(Acquire{Owner: "c", Flow: ipsec.Flow{}})
		if len(w.starts) != 3 {
			t.Error("traffic started a new attempt at once")
		}
		w.pass(retryFirst)
		if len(w.starts) != 4 {
			t.Error("traffic did not start a new attempt after a while")
		}
	}
}

// A refusal comes fast; the next attempts wait, longer each time.
func TestRefusalsBackOff(t *testing.T) {
	w := newWorld(t)
	w.add(describe("c", "10.1.0.0/24", "10.2.0.0/24"))
	w.step(Up{Waiter: 2, Name: "c"})
	for i := range 12 {
		n := len(w.ikes)
		w.report(w.ikes[n-1], ike.Report{Conn: w.conn("c").Conn, Serial: w.ikes[n-1], Fact: ike.Failed{Why: badKey}})
		want := min(retryFirst<<i, retryMost)
		w.pass(want - time.Second)
		if len(w.ikes) != n {
			t.Fatalf("attempt %d began before %v", n+1, want)
		}
		w.pass(2 * time.Second)
		if len(w.ikes) != n+1 {
			t.Fatalf("attempt %d did not begin after %v", n+1, want)
		}
	}
	finals := 0
	for _, r := range w.replies {
		if r.Final {
			finals++
			if r.OK || r.Why != badKey || r.Code != 224 {
				t.Errorf("final reply %+v", r)
			}
		}
	}
	if finals != 1 {
		t.Errorf("%d final replies", finals)
	}
}

// R1.10: many connections to one dead peer share one stream of attempts.
func TestDeadPeer(t *testing.T) {
	w := newWorld(t)
	for i := range 200 {
		w.add(describe(fmt.Sprintf("c%03d", i), "10.1.0.0/24", fmt.Sprintf("10.2.%d.0/24", i), func(d *Description) { d.KeyingTries = 1 }))
	}
	for i := range 200 {
		w.step(Up{Waiter: uint64(i + 1), Name: fmt.Sprintf("c%03d", i)})
	}
	c := w.conn("c000").Conn
	w.report(1, ike.Report{Conn: c, Serial: 1, Fact: ike.Failed{Why: noAnswer}})
	for i := range 200 { // a machine reports the failure for each who waited
		w.report(1, ike.Report{Conn: w.conn(fmt.Sprintf("c%03d", i)).Conn, Serial: uint32(1000 + i), Fact: ike.Failed{Why: noAnswer}})
	}
	w.pass(time.Hour)
	if len(w.starts) != 1 {
		t.Errorf("%d IKE SAs were started", len(w.starts))
	}
	if len(w.table.waiters) != 0 {
		t.Errorf("%d still wait", len(w.table.waiters))
	}
}

// The late failures of an ended IKE SA do not fail the attempts that follow.
func TestLateFailures(t *testing.T) {
	w := newWorld(t)
	w.add(describe("a", "10.1.0.0/24", "10.2.0.0/24"), describe("b", "10.1.0.0/24", "10.3.0.0/24"))
	w.step(Up{Name: "a"})
	w.step(Up{Name: "b"})
	w.report(1, ike.Report{Conn: w.conn("a").Conn, Serial: 1, Fact: ike.Failed{Why: noAnswer}})
	w.report(1, ike.Report{Conn: w.conn("b").Conn, Serial: 1, Fact: ike.Failed{Why: noAnswer}})
	if len(w.starts) != 2 || w.conn("b").tries != 1 || w.conn("b").joined == nil || w.conn("b").joined.serial != 2 {
		t.Errorf("%d attempts; b has failed %d times", len(w.starts), w.conn("b").tries)
	}
}

// dpdaction=, and freeswan.md 6.6 on the peer's Delete.
func TestPeerGone(t *testing.T) {
	for _, tc := range []struct {
		name   string
		action ike.DPDAction
		up     bool
		down   ike.IKEDown
		want   string // state at once, and after half a minute
	}{
		{"silent, hold", ike.DPDHold, true, ike.IKEDown{Why: noAnswer}, "Trapped Trapped"},
		{"silent, clear", ike.DPDClear, true, ike.IKEDown{Why: noAnswer}, "Trapped Trapped"},
		{"silent, restart", ike.DPDRestart, true, ike.IKEDown{Why: noAnswer}, "Held Held"},
		{"deleted, up", ike.DPDHold, true, ike.IKEDown{ByPeer: true}, "Trapped Held"},
		{"deleted, not up", ike.DPDHold, false, ike.IKEDown{ByPeer: true}, "Trapped Trapped"},
	} {
		w := newWorld(t)
		w.add(describe("c", "10.1.0.0/24", "10.2.0.0/24", func(d *Description) { d.DPDAction = tc.action }))
		c := w.conn("c").Conn
		serial := uint32(50)
		if tc.up {
			serial, _ = w.up("c")
		} else {
			w.ikeUp(serial, c)
			w.childUp(serial, c, byPeer)
		}
		w.gone(serial, c, tc.down)
		got := w.conn("c").state.String()
		w.pass(30 * time.Second)
		if got += " " + w.conn("c").state.String(); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
		if w.eroute("c") == "none" {
			t.Errorf("%s: no eroute", tc.name)
		}
	}
}

// An IKE SA is replaced: children and waiting connections move.
func TestIKERekey(t *testing.T) {
	w := newWorld(t)
	w.add(describe("a", "10.1.0.0/24", "10.2.0.0/24"), describe("b", "10.1.0.0/24", "10.3.0.0/24"))
	c := w.conn("a").Conn
	serial, child := w.up("a")
	w.step(Up{Name: "b"})
	w.ikeUp(70, c, func(u *ike.IKEUp) { u.Rekeyed = serial })
	w.report(serial, ike.Report{Conn: c, Serial: serial, Fact: ike.IKEDown{Rekeyed: true}})
	w.state("a", Erouted)
	w.childUp(70, w.conn("b").Conn)
	w.state("b", Erouted)
	w.told()
	w.step(DeleteState{Serial: child})
	w.wantTold(fmt.Sprintf("#70 DeleteChild #%d", child))
}

// A Child SA is replaced: outbound moves when the peer is ready.
func TestChildRekey(t *testing.T) {
	w := newWorld(t)
	w.add(describe("c", "10.1.0.0/24", "10.2.0.0/24"))
	c := w.conn("c").Conn
	serial, first := w.up("c")
	old := w.eroute("c")
	second := w.childUp(serial, c, func(u *ike.ChildUp) { u.Rekeyed, u.Use, u.Initiator = first, false, false })
	if got := w.eroute("c"); got != old {
		t.Errorf("outbound moved to %s before the peer was ready", got)
	}
	w.report(serial, ike.Report{Conn: c, Serial: second, Fact: ike.ChildUse{}})
	if got := w.eroute("c"); got == old {
		t.Error("outbound did not move")
	}
	w.childDown(serial, first, c, ike.ChildDown{Replaced: true})
	w.state("c", Erouted)
	w.pass(time.Minute)
	w.wantTold()
}

// Both ends initiate at the same time: both pairs carry, then the same one is
// given up by both, and its IKE SA with it.
func TestBothInitiate(t *testing.T) {
	one, two := newWorld(t), newWorld(t)
	one.add(describe("c", "10.1.0.0/24", "10.2.0.0/24"))
	two.add(describe("c", "10.2.0.0/24", "10.1.0.0/24", func(d *Description) { d.Local.Addr, d.Remote.Addr = east, west }))
	for i, w := range []*world{one, two} {
		c := w.conn("c").Conn
		pair := func(in, out ipsec.SPI) func(*ike.ChildUp) {
			return func(u *ike.ChildUp) { u.In.SPI, u.Out.SPI = in, out }
		}
		w.step(Up{Name: "c"})
		// The pair that one initiated is 0x1111/0x9999, that of two is 0x2222/0x3333.
		ours, theirs := pair(0x1111, 0x9999), pair(0x3333, 0x2222)
		if i == 1 {
			ours, theirs = pair(0x2222, 0x3333), pair(0x9999, 0x1111)
		}
		w.ikeUp(50, c, func(u *ike.IKEUp) { u.InitialContact = true })
		w.childUp(50, c, byPeer, theirs)
		w.ikeUp(1, c)
		w.childUp(1, c, ours)
		w.state("c", Erouted)
		w.told()
		w.pass(time.Minute)
	}
	one.wantTold()
	two.wantTold("#50 Delete") // 0x1111 is the lowest, and two made the one that stays
}

// Both ends ask for the same Child SA on one IKE SA. Neither takes its own for
// unasked because the other's was faster; that would be the end of both.
func TestBothCreateOnOneIKE(t *testing.T) {
	w := newWorld(t)
	w.add(describe("c", "10.1.0.0/24", "10.2.0.0/24"), describe("d", "10.1.1.0/24", "10.2.1.0/24"))
	serial, _ := w.up("c")
	d := w.conn("d").Conn
	w.step(Up{Name: "d"})
	w.told()
	w.childUp(serial, d, byPeer)
	w.childUp(serial, d)
	w.wantTold()
	if n := len(w.conn("d").children); n != 2 {
		t.Errorf("%d pairs", n)
	}
}

// A peer that has lost its memory says so; a crossing negotiation of ours is
// not mistaken for that.
func TestInitialContact(t *testing.T) {
	w := newWorld(t)
	w.add(describe("c", "10.1.0.0/24", "10.2.0.0/24"))
	c := w.conn("c").Conn
	serial, _ := w.up("c")
	w.told()
	w.pass(time.Minute)
	w.ikeUp(60, c, func(u *ike.IKEUp) { u.InitialContact = true })
	w.childUp(60, c, byPeer)
	w.wantTold() // not yet: the new pair shall carry first
	w.pass(supersedeDelay)
	w.wantTold(fmt.Sprintf("#%d Delete", serial))
	w.gone(serial, c, ike.IKEDown{})
	w.state("c", Erouted)
}

// A slow handshake of the peer's says INITIAL_CONTACT for the time when it began:
// an IKE SA of ours that came up meanwhile stays. (Swarm, seed 86129, I9.)
func TestInitialContactOfLongAgo(t *testing.T) {
	w := newWorld(t)
	w.add(describe("c", "10.1.0.0/24", "10.2.0.0/24"))
	c, began := w.conn("c").Conn, w.now
	w.pass(time.Second)
	serial, _ := w.up("c")
	w.pass(time.Minute)
	w.told()
	w.ikeUp(60, c, func(u *ike.IKEUp) { u.InitialContact, u.Began = true, began })
	w.childUp(60, c, byPeer)
	w.pass(supersedeDelay)
	w.wantTold(fmt.Sprintf("#%d Probe", serial))
}

// An IKE SA is as old as the negotiation that it began with, also just after
// it was rekeyed: who says INITIAL_CONTACT then has started anew.
func TestInitialContactAfterRekey(t *testing.T) {
	w := newWorld(t)
	w.add(describe("c", "10.1.0.0/24", "10.2.0.0/24"))
	c := w.conn("c").Conn
	serial, _ := w.up("c")
	w.pass(time.Minute)
	w.ikeUp(70, c, func(u *ike.IKEUp) { u.Rekeyed = serial })
	w.gone(serial, c, ike.IKEDown{Rekeyed: true})
	w.told()
	w.ikeUp(80, c, func(u *ike.IKEUp) { u.InitialContact = true })
	w.childUp(80, c, byPeer)
	w.pass(supersedeDelay)
	w.wantTold("#70 Delete")
}

// The surplus pair may ride on an IKE SA that the peer has made, and beside a
// pair that a newer one replaces: that IKE SA goes as soon as it is idle.
func TestSurplusOnForeignIKE(t *testing.T) {
	w := newWorld(t)
	w.add(describe("c", "10.1.0.0/24", "10.2.0.0/24"))
	c := w.conn("c").Conn
	pair := func(in, out ipsec.SPI) func(*ike.ChildUp) {
		return func(u *ike.ChildUp) { u.In.SPI, u.Out.SPI = in, out }
	}
	w.ikeUp(50, c)
	old := w.childUp(50, c, byPeer, pair(0x7777, 0x8888))
	w.step(Up{Name: "c"})
	w.ikeUp(1, c)
	w.childUp(1, c, byPeer, pair(0x1111, 0x6666))
	// We rekey on the peer's IKE SA, so that the highest pair is of our making.
	w.childUp(50, c, pair(0x5555, 0x9999), func(u *ike.ChildUp) { u.Rekeyed = old })
	w.told()
	w.pass(surplusDelay)
	w.wantTold("#1 Delete")
}

// Two pairs that rekeying the same one from both ends has made are not for us
// to choose from: the exchange decides (RFC 7296, 2.8.1), and we might delete
// the one that stands.
func TestRekeyCollisionIsNoSurplus(t *testing.T) {
	w := newWorld(t)
	w.add(describe("c", "10.1.0.0/24", "10.2.0.0/24"))
	c := w.conn("c").Conn
	serial, first := w.up("c")
	again := func(in, out ipsec.SPI) func(*ike.ChildUp) {
		return func(u *ike.ChildUp) { u.In.SPI, u.Out.SPI, u.Rekeyed = in, out, first }
	}
	stands := w.childUp(serial, c, again(0x1111, 0x9999))
	loser := w.childUp(serial, c, byPeer, again(0x2222, 0x3333))
	w.told()
	w.pass(surplusDelay)
	w.wantTold()
	w.childDown(serial, loser, c, ike.ChildDown{Replaced: true})
	w.childDown(serial, first, c, ike.ChildDown{Replaced: true})
	w.pass(time.Minute)
	w.wantTold()
	if ch := w.conn("c").using(); ch == nil || ch.serial != stands {
		t.Errorf("in use is %+v, not #%d", ch, stands)
	}
}

// A connection with algorithms of its own gets an IKE SA of its own.
func TestOwnAlgorithmsOwnIKE(t *testing.T) {
	w := newWorld(t)
	other, err := suite.ParseIKE("aes256-sha2_512-ecp384")
	if err != nil {
		t.Fatal(err)
	}
	w.add(describe("c", "10.1.0.0/24", "10.2.0.0/24"),
		describe("same", "10.1.1.0/24", "10.2.1.0/24"),
		describe("own", "10.1.2.0/24", "10.2.2.0/24", func(d *Description) { d.IKE = other }))
	serial, _ := w.up("c")
	w.told()
	w.step(Up{Name: "same"})
	w.wantTold(fmt.Sprintf("#%d AddChild", serial))
	before := len(w.starts)
	w.step(Up{Name: "own"})
	w.wantTold()
	if len(w.starts) != before+1 {
		t.Error("no IKE SA of its own was begun")
	}
}

// An IKE SA outlives its connection if others ride on it. The peer may use it
// for those, and no longer for the one that is gone; its rekeying changes
// nothing of that.
func TestDeletedConnectionIsNotServed(t *testing.T) {
	w := newWorld(t)
	w.add(describe("c", "10.1.0.0/24", "10.2.0.0/24"), describe("d", "10.1.1.0/24", "10.2.1.0/24"))
	c, d := w.conn("c").Conn, w.conn("d").Conn
	serial, _ := w.up("c")
	w.childUp(serial, d, byPeer)
	if got := w.table.Siblings(c); len(got) != 2 {
		t.Errorf("both serve, %d were found", len(got))
	}
	w.step(Delete{Name: "c"})
	if got := w.table.Siblings(c); len(got) != 1 || got[0] != d {
		t.Errorf("after its end: %v", got)
	}
	w.told()
	w.ikeUp(90, c, func(u *ike.IKEUp) { u.Rekeyed = serial })
	w.gone(serial, c, ike.IKEDown{Rekeyed: true})
	w.step(Down{Name: "d"})
	w.wantTold("#90 Delete")
}

// Whoever authenticates for a connection that was deleted meanwhile is told.
func TestIKEUpOfDeletedConnection(t *testing.T) {
	w := newWorld(t)
	w.add(describe("c", "10.1.0.0/24", "10.2.0.0/24"))
	c := w.conn("c").Conn
	w.step(Delete{Name: "c"})
	w.told()
	w.ikeUp(7, c)
	w.wantTold("#7 Delete")
}

// road makes the template of road warriors.
func road(change ...func(*Description)) *Description {
	return describe("road", "10.1.0.0/24", "", append([]func(*Description){func(d *Description) {
		d.Template, d.Remote.Addr, d.Remote.ID, d.NextHop = true, netip.IPv4Unspecified(), ike.ID{}, netip.Addr{}
		d.Remote.TS = []ipsec.TS{ipsec.TSOf(netip.MustParsePrefix("0.0.0.0/32"), 0, ipsec.Ports{})}
	}}, change...)...)
}

// R3.10: one instance for each station, and R9's way of life.
func TestRoadWarriors(t *testing.T) {
	w := newWorld(t)
	w.add(road())
	w.step(Up{Waiter: 1, Name: "road"})
	if r := w.replies[len(w.replies)-1]; r.Code != 29 || r.OK {
		t.Errorf("up of a template: %+v", r)
	}
	w.step(Route{Waiter: 1, Name: "road"})
	if r := w.replies[len(w.replies)-1]; r.Code != 25 || r.OK {
		t.Errorf("route of a template: %+v", r)
	}
	template := w.conn("road").Conn
	var made []*ike.Conn
	for i := range 3 {
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(7 + i)}), 500)
		c := w.table.Instantiate(template, from, ike.ID{Kind: ike.IDFQDN, Data: fmt.Sprintf("road%d", i)})
		if again := w.table.Instantiate(template, from, c.Remote.ID); again != c {
			t.Error("the same peer got another instance")
		}
		w.ikeUp(uint32(10+i), c)
		w.childUp(uint32(10+i), c, byPeer)
		made = append(made, c)
	}
	if made[2].Title() != `"road"[3] 203.0.113.9` {
		t.Errorf("the third is called %s", made[2].Title())
	}
	if len(w.policies) != 3 || w.policies[1].Selector.Dst.String() != "203.0.113.8/32" || w.routes[1].NextHop.String() != "203.0.113.8" {
		t.Errorf("policies %v, routes %v", w.policies, w.routes)
	}
	w.gone(11, made[1], ike.IKEDown{Why: noAnswer})
	w.pass(restTime)
	if w.table.find(key{"road", 2}) != nil || len(w.routes) != 2 {
		t.Error("the instance of a lost peer did not go")
	}
	w.told()
	w.step(Down{Name: "road"})
	w.wantTold("#10 Delete", "#12 Delete")
}

// freeswan.md 6.9, R9.5: what uniqueids= makes of a road warrior that calls
// from a second address, and of two that share a name.
func TestUniqueIDs(t *testing.T) {
	for _, x := range []struct {
		mode    config.UniqueIDs
		contact bool // the newcomer says INITIAL_CONTACT
		at      string
		ends    []string // what is deleted
	}{
		{config.UniqueReplace, false, "203.0.113.8:500", []string{"#10 Delete"}},
		{config.UniqueReplace, true, "203.0.113.8:500", []string{"#10 Delete"}},
		{config.UniqueReplace, true, "203.0.113.7:500", []string{"#10 Delete"}},
		{config.UniqueReplace, false, "203.0.113.7:500", nil},
		{config.UniqueNo, false, "203.0.113.8:500", nil},
		{config.UniqueNo, true, "203.0.113.8:500", nil}, // it knows nothing of the other
		{config.UniqueNo, true, "203.0.113.7:500", []string{"#10 Delete"}},
		{config.UniqueKeep, true, "203.0.113.8:500", []string{"#11 Delete"}},
		{config.UniqueKeep, true, "203.0.113.7:500", []string{"#10 Delete"}},
		{config.UniqueNever, true, "203.0.113.8:500", nil},
		{config.UniqueNever, true, "203.0.113.7:500", nil},
	} {
		w := newWorld(t)
		w.add(road(func(d *Description) { d.Unique = x.mode }))
		id := ike.ID{Kind: ike.IDFQDN, Data: "road"}
		call := func(serial uint32, at string, contact bool) *ike.Conn {
			from := netip.MustParseAddrPort(at)
			c := w.table.Instantiate(w.conn("road").Conn, from, id)
			w.ikeUp(serial, c, func(u *ike.IKEUp) { u.Remote, u.InitialContact = from, contact })
			return c
		}
		w.childUp(10, call(10, "203.0.113.7:500", true), byPeer)
		c := call(11, x.at, x.contact)
		w.childUp(11, c, byPeer)
		if w.table.byConn[c].state != Erouted {
			t.Errorf("%+v: what the newcomer sends would be answered in the clear", x)
		}
		w.pass(supersedeDelay)
		w.wantTold(x.ends...)
	}
}

// A peer that begins two IKE SAs at once, for connections that do not share one,
// says INITIAL_CONTACT in both: neither ends the other.
func TestContactOfTwoAtOnce(t *testing.T) {
	w := newWorld(t)
	w.add(road(func(d *Description) { d.Unique = config.UniqueReplace }))
	from := netip.MustParseAddrPort("203.0.113.7:500")
	call := func(serial uint32, began time.Time) {
		c := w.table.Instantiate(w.conn("road").Conn, from, ike.ID{Kind: ike.IDFQDN, Data: "road"})
		w.ikeUp(serial, c, func(u *ike.IKEUp) { u.Remote, u.InitialContact, u.Began = from, true, began })
		w.childUp(serial, c, byPeer)
		w.pass(time.Second)
	}
	began := w.now
	w.pass(time.Second)
	call(10, began)
	call(11, began)
	w.pass(supersedeDelay)
	w.wantTold("#10 Probe")
	call(12, w.now) // and now it has started anew
	w.pass(supersedeDelay)
	w.wantTold("#10 Delete", "#11 Delete")
}

// A stranger whom the DNS calls by the name of a configured peer ends nothing of
// that peer's, and is not turned away for its sake.
func TestUniqueNotForStrangers(t *testing.T) {
	for _, mode := range []config.UniqueIDs{config.UniqueReplace, config.UniqueKeep} {
		w := newWorld(t)
		w.add(road(func(d *Description) { d.Unique = mode }))
		id := ike.ID{Kind: ike.IDFQDN, Data: "road"}
		call := func(serial uint32, at string, stranger bool) *ike.Conn {
			from := netip.MustParseAddrPort(at)
			c := w.table.Instantiate(w.conn("road").Conn, from, id)
			if stranger {
				c.Stranger = &ike.Stranger{}
			}
			w.ikeUp(serial, c, func(u *ike.IKEUp) { u.Remote, u.InitialContact = from, true })
			return c
		}
		w.childUp(10, call(10, "203.0.113.7:500", false), byPeer)
		call(11, "203.0.113.8:500", true)
		w.pass(supersedeDelay)
		w.wantTold()
	}
}

// R9.5, V19: without a word in the configuration no one ends the connection of
// another who knows the same secret.
func TestUniqueByDefault(t *testing.T) {
	for _, x := range []struct {
		setup, conn string
		want        config.UniqueIDs
	}{
		{"", "authby=secret", config.UniqueNo},
		{"uniqueids=yes", "authby=secret", config.UniqueReplace},
		{"", "authby=secret\n\trightid=@road", config.UniqueReplace},
		{"", "authby=rsasig", config.UniqueReplace},
		{"uniqueids=keep", "authby=secret", config.UniqueKeep},
	} {
		f := config.ParseText("ipsec.conf", "version 2.0\nconfig setup\n\t"+x.setup+"\nconn road\n\tleft=192.0.2.1\n\tright=%any\n\tauto=add\n\t"+x.conn+"\n")
		facts := *westFacts()
		facts.Unique = f.Setup.UniqueIDs
		_, facts.UniqueGiven = f.Setup.Keys["uniqueids"]
		d, err := Orient(f.Conn("road"), &facts)
		if err != nil {
			t.Fatal(err)
		}
		if d.Unique != x.want {
			t.Errorf("%q, %q: uniqueids is %d, want %d", x.setup, x.conn, d.Unique, x.want)
		}
	}
}

// One identity at two configured addresses has not moved.
func TestTwoHomes(t *testing.T) {
	w := newWorld(t)
	home := netip.MustParseAddr("198.51.100.2")
	w.add(describe("a", "10.1.0.0/24", "10.2.0.0/24"), describe("b", "10.1.0.0/24", "10.3.0.0/24", func(d *Description) { d.Remote.Addr = home }))
	w.up("a")
	w.ikeUp(60, w.conn("b").Conn)
	w.childUp(60, w.conn("b").Conn, byPeer)
	w.pass(time.Minute)
	w.wantTold()
	w.state("a", Erouted)
	w.state("b", Erouted)
}

// An instance whose negotiation failed after all does not stay.
func TestOrphanedInstance(t *testing.T) {
	w := newWorld(t)
	w.add(road())
	w.table.Instantiate(w.conn("road").Conn, netip.MustParseAddrPort("203.0.113.7:500"), ike.ID{Kind: ike.IDFQDN, Data: "x"})
	w.pass(2 * orphanAge)
	if len(w.table.conns) != 1 {
		t.Error("it is still there")
	}
}

func TestPAD(t *testing.T) {
	w := newWorld(t)
	other := describe("other", "10.1.0.0/24", "10.8.0.0/24", func(d *Description) { d.Remote.ID.Data = "other" })
	never := describe("never", "10.1.0.0/24", "10.7.0.0/24", func(d *Description) { d.Shunt = ipsec.Drop })
	second := describe("second", "10.1.0.0/24", "10.3.0.0/24")
	w.add(road(), other, never, describe("first", "10.1.0.0/24", "10.2.0.0/24"), second)
	names := func(list []*ike.Conn) (out []string) {
		for _, c := range list {
			out = append(out, c.Name)
		}
		return out
	}
	want := func(what string, got []*ike.Conn, want ...string) {
		t.Helper()
		if !slices.Equal(names(got), want) {
			t.Errorf("%s: %v, want %v", what, names(got), want)
		}
	}
	id := func(s string) ike.ID { return ike.ID{Kind: ike.IDFQDN, Data: s} }
	want("fixed peer", w.table.Between(west, east), "other", "first", "second", "road")
	want("unknown peer", w.table.Between(west, hop), "road")
	want("other address of ours", w.table.Between(hop, east))
	want("by identity", w.table.Identified(west, east, id("east"), ike.ID{}), "first", "second", "road")
	want("case of names", w.table.Identified(west, east, id("EAST"), id("west")), "first", "second", "road")
	want("our identity", w.table.Identified(west, east, id("east"), id("nobody")))
	want("siblings", w.table.Siblings(w.conn("first").Conn), "first", "road", "second")
	if got := w.table.Instantiate(second.Conn, netip.AddrPortFrom(east, 500), id("east")); got != second.Conn {
		t.Error("a fixed connection was instantiated")
	}
}

// Connections with the same selectors: the more entitled one owns the eroute,
// and the other regains it.
func TestEclipse(t *testing.T) {
	w := newWorld(t)
	w.add(describe("a", "10.1.0.0/24", "10.2.0.0/24"), describe("b", "10.1.0.0/24", "10.2.0.0/24", func(d *Description) { d.Local.ID.Data = "b" }))
	w.step(Route{Name: "a"})
	w.step(Route{Name: "b"})
	routing := func() (words []string) {
		for _, v := range w.table.Views() {
			words = append(words, v.Routing)
		}
		return words
	}
	expect := func(want ...string) {
		t.Helper()
		if got := routing(); !slices.Equal(got, want) {
			t.Errorf("routing is %q, want %q", got, want)
		}
	}
	expect("prospective erouted", "eroute eclipsed")
	w.up("b")
	expect("eroute eclipsed", "erouted")
	w.step(Delete{Name: "b"})
	expect("prospective erouted")
	if w.eroute("a") != "%trap" {
		t.Errorf("eroute is %s", w.eroute("a"))
	}
}

// A Child SA that covers less than the connection leaves the rest discarded.
func TestNarrowed(t *testing.T) {
	w := newWorld(t)
	w.add(describe("c", "10.1.0.0/24", "10.2.0.0/24"))
	c := w.conn("c").Conn
	w.step(Up{Name: "c"})
	w.ikeUp(1, c)
	w.childUp(1, c, func(u *ike.ChildUp) {
		u.TSRemote = []ipsec.TS{{Start: netip.MustParseAddr("10.2.0.8"), End: netip.MustParseAddr("10.2.0.11")}}
	})
	var got []string
	for _, p := range w.policies {
		got = append(got, p.Selector.Dst.String()+" "+p.Action.String())
	}
	if want := []string{"10.2.0.0/24 %drop", "10.2.0.8/30 protect"}; !slices.Equal(got, want) {
		t.Errorf("policies %q, want %q", got, want)
	}
}

// A user's script replaces our routes, and is called in the order of
// freeswan.md 6.13; its failure undoes the connection.
func TestUpdown(t *testing.T) {
	w := newWorld(t)
	w.add(describe("c", "10.1.0.0/24", "10.2.0.0/24", func(d *Description) { d.Updown = []string{"/etc/updown"} }))
	calls := func(want ...string) {
		t.Helper()
		if !slices.Equal(w.scripts, want) {
			t.Errorf("scripts %q, want %q", w.scripts, want)
		}
		w.scripts = nil
	}
	serial, child := w.up("c")
	calls("up-client", "prepare-client", "route-client")
	if len(w.routes) != 0 {
		t.Errorf("routes %v beside the script's", w.routes)
	}
	w.childUp(serial, w.conn("c").Conn, func(u *ike.ChildUp) { u.Rekeyed = child })
	calls() // rekeying is none of its business
	w.step(Down{Name: "c"})
	calls("down-client")
	w.step(Unroute{Name: "c"})
	calls("unroute-client")
	w.step(Route{Name: "c"})
	calls("prepare-client", "route-client")
	w.step(UpdownDone{Name: "c", Verb: "prepare", Err: "status 1"})
	w.state("c", Trapped)
	w.step(UpdownDone{Name: "c", Verb: "route", Err: "status 1"})
	w.state("c", Dropped)
}

// Our address vanishes: packets are dropped, and all is as before when it is
// back.
func TestStranded(t *testing.T) {
	w := newWorld(t)
	w.add(describe("c", "10.1.0.0/24", "10.2.0.0/24"))
	serial, _ := w.up("c")
	gone := describe("c", "10.1.0.0/24", "10.2.0.0/24", func(d *Description) { d.Oriented, d.Virtual, d.Physical = false, "", "" })
	w.step(Reorient{List: []*Description{gone}})
	w.gone(serial, w.conn("c").Conn, ike.IKEDown{})
	if got := w.eroute("c"); got != "%drop" || len(w.routes) != 1 {
		t.Errorf("without our address: %s, %d routes", got, len(w.routes))
	}
	w.pass(time.Hour)
	w.step(Reorient{List: []*Description{describe("c", "10.1.0.0/24", "10.2.0.0/24")}})
	w.state("c", Held)
	if len(w.starts) != 2 {
		t.Errorf("%d attempts", len(w.starts))
	}
}

// auto=start of a connection whose address comes late.
func TestOrientedLate(t *testing.T) {
	w := newWorld(t)
	w.add(describe("c", "10.1.0.0/24", "10.2.0.0/24", auto(config.AutoStart), func(d *Description) { d.Oriented, d.Virtual, d.Physical = false, "", "" }))
	w.step(Up{Waiter: 1, Name: "c"})
	if r := w.replies[len(w.replies)-1]; r.Code != 22 {
		t.Errorf("up of an unoriented connection: %+v", r)
	}
	w.step(Reorient{List: []*Description{describe("c", "10.1.0.0/24", "10.2.0.0/24", auto(config.AutoStart))}})
	w.state("c", Held)
}

func TestRefusals(t *testing.T) {
	w := newWorld(t)
	w.add(describe("block", "10.1.0.0/24", "10.2.0.0/24", func(d *Description) { d.Shunt, d.Hold, d.Failure = ipsec.Reject, ipsec.Reject, ipsec.Reject }))
	refused := func(ev Event, code int, text string) {
		t.Helper()
		w.step(ev)
		r := w.replies[len(w.replies)-1]
		if !r.Final || r.OK || r.Code != code || r.Text != text {
			t.Errorf("%T: %+v, want %03d %s", ev, r, code, text)
		}
	}
	refused(Up{Waiter: 1, Name: "x"}, 21, `no connection named "x"`)
	refused(Down{Waiter: 1, Name: "x"}, 21, `no connection named "x"`)
	refused(Route{Waiter: 1, Name: "x"}, 21, `no connection named "x"`)
	refused(Unroute{Waiter: 1, Name: "x"}, 21, `no connection named "x"`)
	refused(Delete{Waiter: 1, Name: "x"}, 21, `no connection named "x"`)
	refused(Up{Waiter: 1, Name: "block"}, 30, `"block": cannot initiate an authby=never connection`)
	refused(Add{Waiter: 1, Name: "block", List: []*Description{describe("block", "", "")}}, 20, `attempt to redefine connection "block"`)
	w.step(Route{Name: "block"})
	if got := w.eroute("block"); got != "%reject" {
		t.Errorf("a block is %s", got)
	}
}

// R13.7 and 6.7: routes are shared with the same device and next hop only.
func TestSharedRoutes(t *testing.T) {
	w := newWorld(t)
	w.add(describe("a", "10.1.0.0/24", "10.2.0.0/24"), describe("b", "10.9.0.0/24", "10.2.0.0/24"),
		describe("c", "10.8.0.0/24", "10.2.0.0/24", func(d *Description) { d.NextHop = west }))
	w.step(Route{Name: "a"})
	w.step(Route{Name: "b"})
	w.step(Route{Waiter: 1, Name: "c"})
	if r := w.replies[len(w.replies)-1]; r.Code != 25 {
		t.Errorf("another next hop: %+v", r)
	}
	w.step(Unroute{Name: "a"})
	if len(w.routes) != 1 {
		t.Error("the route of b went with a")
	}
	w.step(Unroute{Name: "b"})
	if len(w.routes) != 0 {
		t.Error("the route stays without users")
	}
}
