package connection

import (
	"net/netip"
	"testing"
	"time"

	"cygnet/internal/config"
	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
)

const (
	behind  = "10.1.0.0/24"
	station = "203.0.113.7/32"
)

// caller brings up an instance of road at station.
func (w *world) caller(serial uint32) *ike.Conn {
	w.t.Helper()
	id := ike.ID{Kind: ike.IDFQDN, Data: "road"}
	from := netip.MustParsePrefix(station).Addr()
	found := w.table.Identified(west, from, id, ike.ID{})
	if len(found) == 0 {
		w.t.Fatalf("no connection for %s", from)
	}
	c := w.table.Instantiate(found[0], netip.AddrPortFrom(from, 500), id)
	w.ikeUp(serial, c)
	w.childUp(serial, c, byPeer)
	return c
}

// However an instance ends, its packets do not leave in the clear at that
// moment but are dropped for restTime, and only what a user wishes explicitly
// leaves nothing behind.
func TestInstanceRests(t *testing.T) {
	for _, x := range []struct {
		name string
		end  func(w *world, c *ike.Conn)
		want string
	}{
		{"the peer ends it", func(w *world, c *ike.Conn) { w.gone(1, c, ike.IKEDown{ByPeer: true}) }, "%drop"},
		{"the peer is silent", func(w *world, c *ike.Conn) { w.gone(1, c, ike.IKEDown{Why: noAnswer}) }, "%drop"},
		{"--deletestate", func(w *world, c *ike.Conn) {
			w.step(DeleteState{Serial: 1})
			w.wantTold("#1 Delete")
			w.gone(1, c, ike.IKEDown{})
		}, "%drop"},
		{"--down", func(w *world, c *ike.Conn) {
			w.step(Down{Name: "road"})
			w.gone(1, c, ike.IKEDown{})
		}, "%drop"},
		{"--replace", func(w *world, c *ike.Conn) {
			d := road()
			d.KeyingTries = 7
			w.step(Replace{Name: "road", List: []*Description{d}})
		}, "%drop"},
		{"--delete", func(w *world, c *ike.Conn) { w.step(Delete{Name: "road"}) }, ""},
		{"--down and --delete", func(w *world, c *ike.Conn) {
			w.step(Down{Name: "road"})
			w.gone(1, c, ike.IKEDown{})
			w.step(Delete{Name: "road"})
		}, ""},
		{"--down and --unroute", func(w *world, c *ike.Conn) {
			w.step(Down{Name: "road"})
			w.gone(1, c, ike.IKEDown{})
			w.step(Unroute{Name: "road"})
		}, ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			w := newWorld(t)
			w.add(road())
			c := w.caller(1)
			if got := w.action(behind, station); got != "protect" {
				t.Fatalf("up: %q", got)
			}
			x.end(w, c)
			check := func(when, want string) {
				t.Helper()
				if got := w.action(behind, station); got != want || (len(w.routes) > 0) != (want != "") {
					t.Errorf("%s: %q, routes %v", when, got, w.routes)
				}
			}
			check("at its end", x.want)
			w.pass(restTime - time.Millisecond)
			check("shortly before the end of its rest", x.want)
			w.pass(time.Millisecond)
			check("after its rest", "")
			if len(w.table.resting) > 0 || !w.table.Deadline().IsZero() {
				t.Errorf("%d rest, deadline %v", len(w.table.resting), w.table.Deadline())
			}
		})
	}
}

// A caller who comes again has a tunnel at once, and its end begins a rest of
// its own.
func TestCallerComesBack(t *testing.T) {
	w := newWorld(t)
	w.add(road())
	w.gone(1, w.caller(1), ike.IKEDown{ByPeer: true})
	w.pass(restTime / 2)
	c := w.caller(2)
	if got := w.action(behind, station); got != "protect" || len(w.policies) != 1 || len(w.routes) != 1 {
		t.Errorf("came again: %q, %v, %v", got, w.policies, w.routes)
	}
	w.gone(2, c, ike.IKEDown{ByPeer: true})
	w.pass(restTime - time.Millisecond)
	if got := w.action(behind, station); got != "%drop" {
		t.Errorf("gone again: %q", got)
	}
}

// What rests does not stand before a wider connection that protects or holds,
// and does before one that passes packets in the clear.
func TestWiderThanWhatRests(t *testing.T) {
	pass := func(d *Description) { d.Shunt, d.Hold, d.Failure = ipsec.Pass, ipsec.Pass, ipsec.Pass }
	for _, x := range []struct {
		name, net string
		change    func(*Description)
		want      string
	}{
		{"a trap", "203.0.113.0/24", func(*Description) {}, ""},
		{"a trap for other ports", "203.0.113.0/24", func(d *Description) {
			d.Remote.TS = []ipsec.TS{ipsec.TSOf(netip.MustParsePrefix("203.0.113.0/24"), 6, ipsec.Ports{Lo: 22, Hi: 22})}
		}, "%drop"},
		{"a pass", "203.0.113.0/24", pass, "%drop"},
		{"a pass of equal width", station, pass, "%pass"},
	} {
		t.Run(x.name, func(t *testing.T) {
			w := newWorld(t)
			w.add(road(), describe("wide", behind, x.net, x.change))
			w.gone(1, w.caller(1), ike.IKEDown{ByPeer: true})
			w.step(Route{Name: "wide"})
			if got := w.action(behind, station); got != x.want {
				t.Errorf("%q: %v", got, w.policies)
			}
		})
	}
}

// What ends in the clear because its failureshunt= says so does not rest.
func TestPassedDoesNotRest(t *testing.T) {
	w := newWorld(t)
	c := &conn{Description: describe("a", behind, station, func(d *Description) { d.Failure = ipsec.Pass }), state: Failed}
	w.table.lay(c)
	if len(w.table.resting) != 0 {
		t.Error("it rests")
	}
}

// Callers who come and go do not make the table grow.
func TestRestIsBounded(t *testing.T) {
	table := NewTable()
	table.now = time.Unix(1e9, 0)
	for i := range maxResting + 10 {
		c := &conn{Description: describe("road", behind, station, func(d *Description) { d.Instance = i + 1 }), state: Trapped}
		table.lay(c)
	}
	if n := len(table.resting); n != maxResting || table.resting[n-1].by.Instance != maxResting+10 {
		t.Errorf("%d rest", n)
	}
	if list := table.restingPolicies(nil); len(list) != 1 || list[0].Owner != table.resting[maxResting-1].by.key().owner() {
		t.Errorf("%d policies", len(list))
	}
}

// An IKE SA that nothing succeeds receives nothing after its end; one whose
// connection rides on another goes on for a while.
func TestMoved(t *testing.T) {
	w := newWorld(t)
	d := road()
	d.Unique = config.UniqueReplace
	w.add(d)
	c := w.caller(1)
	wants := func(serial uint32, moved bool) {
		t.Helper()
		if last := w.commands[len(w.commands)-1]; last != (ToMachine{serial, ike.Delete{Moved: moved}}) {
			t.Errorf("told: %+v", last)
		}
	}
	w.ikeUp(2, c, func(u *ike.IKEUp) { u.InitialContact = true })
	w.childUp(2, c, byPeer)
	w.pass(supersedeDelay)
	wants(1, true)
	w.gone(1, c, ike.IKEDown{})
	w.step(DeleteState{Serial: 2})
	wants(2, false)
}
