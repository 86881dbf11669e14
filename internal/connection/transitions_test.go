package connection

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
)

var update = flag.Bool("update", false, "write testdata anew")

const me = "c"

// subject is the connection of the table of transitions. Its failureshunt is
// %reject, so that Failed differs from all else.
func subject() *Description {
	return describe(me, "10.1.0.0/24", "10.2.0.0/24", func(d *Description) {
		d.Failure, d.KeyingTries = ipsec.Reject, 1
	})
}

// reach lists how a connection gets into each state.
var reach = [numStates]func(w *world){
	Unrouted:   func(w *world) {},
	Initiating: func(w *world) { w.step(Up{Name: me}) },
	Trapped:    func(w *world) { w.step(Route{Name: me}) },
	Dropped: func(w *world) {
		w.step(Route{Name: me})
		w.step(Down{Name: me})
	},
	Held: func(w *world) {
		w.step(Route{Name: me})
		w.step(Up{Name: me})
	},
	Failed: func(w *world) {
		w.step(Route{Name: me})
		w.step(Up{Name: me})
		w.report(1, ike.Report{Conn: w.conn(me).Conn, Serial: 1, Fact: ike.Failed{Why: noAnswer}})
	},
	Erouted: func(w *world) { w.up(me) },
	Keyed: func(w *world) {
		w.add(describe("other", "10.9.0.0/24", "10.2.0.0/24", func(d *Description) { d.Virtual, d.Local.ID.Data = "ipsec1", "nobody" }))
		w.step(Route{Name: "other"})
		w.up(me)
	},
}

// happens lists every kind of event, as it may meet the subject in any state.
// The IKE SA of reach, if there is one, is #1; a peer's own is #90.
var happens = []struct {
	name string
	do   func(w *world)
}{
	{"Add", func(w *world) { w.step(Add{Waiter: 7, Name: me, List: []*Description{subject()}}) }},
	{"Replace, same", func(w *world) { w.step(Replace{Waiter: 7, Name: me, List: []*Description{subject()}}) }},
	{"Replace, kept", func(w *world) { w.step(Replace{Waiter: 7, Name: me, List: []*Description{subject()}, Keep: true}) }},
	{"Replace, changed", func(w *world) {
		d := subject()
		d.PFS = true
		w.step(Replace{Waiter: 7, Name: me, List: []*Description{d}, Keep: true})
	}},
	{"Reorient, gone", func(w *world) {
		d := subject()
		d.Oriented, d.Virtual = false, ""
		w.step(Reorient{List: []*Description{d}})
	}},
	{"Reorient, moved", func(w *world) {
		d := subject()
		d.Local.Addr = netip.MustParseAddr("192.0.2.2")
		w.step(Reorient{List: []*Description{d}})
	}},
	{"Route", func(w *world) { w.step(Route{Waiter: 7, Name: me}) }},
	{"Unroute", func(w *world) { w.step(Unroute{Waiter: 7, Name: me}) }},
	{"Up", func(w *world) { w.step(Up{Waiter: 7, Name: me}) }},
	{"Up, async", func(w *world) { w.step(Up{Waiter: 7, Name: me, Async: true}) }},
	{"Down", func(w *world) { w.step(Down{Waiter: 7, Name: me}) }},
	{"Delete", func(w *world) { w.step(Delete{Waiter: 7, Name: me}) }},
	{"Rekey", func(w *world) { w.step(Rekey{Waiter: 7, Name: me}) }},
	{"Abandon", func(w *world) { w.step(Abandon{Waiter: 7}) }},
	{"Acquire", func(w *world) {
		w.step(Acquire{Owner: me, Flow: ipsec.Flow{Src: west, Dst: east}})
	}},
	{"Started, refused", func(w *world) { w.step(Started{Conn: w.conn(me).Conn, Err: noAnswer}) }},
	{"IKEUp, ours", func(w *world) { w.ikeUp(1, w.conn(me).Conn) }},
	{"IKEUp, peer's", func(w *world) { w.ikeUp(90, w.conn(me).Conn) }},
	{"ChildUp, ours", func(w *world) { w.childUp(1, w.conn(me).Conn) }},
	{"ChildUp, peer's", func(w *world) { w.childUp(90, w.conn(me).Conn, byPeer) }},
	{"ChildUp, rekeyed", func(w *world) {
		w.childUp(1, w.conn(me).Conn, func(u *ike.ChildUp) { u.Rekeyed = 2 })
	}},
	{"ChildDown", func(w *world) { w.lose(ike.ChildDown{}) }},
	{"ChildDown, peer's", func(w *world) { w.lose(ike.ChildDown{ByPeer: true}) }},
	{"ChildDown, silent", func(w *world) { w.lose(ike.ChildDown{Why: noAnswer}) }},
	{"IKEDown", func(w *world) { w.gone(1, w.conn(me).Conn, ike.IKEDown{}) }},
	{"IKEDown, silent", func(w *world) { w.gone(1, w.conn(me).Conn, ike.IKEDown{Why: noAnswer}) }},
	{"Failed", func(w *world) {
		w.report(1, ike.Report{Conn: w.conn(me).Conn, Serial: 1, Fact: ike.Failed{Why: noAnswer}})
	}},
	{"Failed, child", func(w *world) {
		w.report(1, ike.Report{Conn: w.conn(me).Conn, Serial: 1, Fact: ike.Failed{Why: badKey, Child: true}})
	}},
	{"Crash", func(w *world) { w.step(Crash{Waiter: 7, Peer: east}) }},
	{"DeleteState", func(w *world) { w.step(DeleteState{Waiter: 7, Serial: 1}) }},
	{"UpdownDone, failed", func(w *world) { w.step(UpdownDone{Name: me, Verb: "up", Err: "status 1"}) }},
	{"TimeUp", func(w *world) { w.now = w.now.Add(time.Hour); w.step(TimeUp{}) }},
}

// lose reports the end of the subject's newest Child SA, or of one that is
// not there.
func (w *world) lose(f ike.ChildDown) {
	c, child := w.conn(me), uint32(77)
	if n := len(c.children); n > 0 {
		child = c.children[n-1].serial
	}
	w.childDown(1, child, c.Conn, f)
}

// TestTransitions takes every cell of state × event. What each does stands in
// testdata/transitions.txt; the rules of world.check hold in all of them.
// R17.5: unrouting what is up is refused.
func TestTransitions(t *testing.T) {
	var b strings.Builder
	for state := range numStates {
		fmt.Fprintf(&b, "%s (%s)\n", state, state.word())
		for _, h := range happens {
			w := newWorld(t)
			w.add(subject())
			reach[state](w)
			w.state(me, state)
			h.do(w)
			fmt.Fprintf(&b, "\t%-18s -> %-20s %s\n", h.name, w.outcome(), strings.Join(w.kinds, " "))
		}
		b.WriteString("\n")
	}
	golden(t, "transitions.txt", b.String())
}

// outcome is the state after an event and the eroute that goes with it.
func (w *world) outcome() string {
	if w.table.find(key{me, 0}) == nil {
		return "deleted"
	}
	eroute := w.eroute(me)
	if strings.HasPrefix(eroute, "esp") {
		eroute = "SA"
	}
	return w.conn(me).state.String() + ", " + eroute
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		os.MkdirAll("testdata", 0o755)
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		for i, line := range strings.Split(got, "\n") {
			if w := strings.Split(string(want), "\n"); i >= len(w) || w[i] != line {
				t.Fatalf("%s:%d differs: got\n%s\n(go test -update writes it anew)", path, i+1, line)
			}
		}
		t.Fatalf("%s is longer than what was got", path)
	}
}
