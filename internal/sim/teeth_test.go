package sim

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"cygnet/internal/connection"
	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
)

// bent is an engine with a planted bug: what its machines want done is bent
// before it is.
type bent struct {
	Engine
	bend func(ev ike.Event, out []ike.Action) []ike.Action
}

// bentMachine is a machine of a bent engine.
type bentMachine struct {
	ike.Machine
	bend func(ev ike.Event, out []ike.Action) []ike.Action
}

func (m bentMachine) Step(now time.Time, ev ike.Event, out []ike.Action) []ike.Action {
	return append(out, m.bend(ev, m.Machine.Step(now, ev, nil))...)
}

func (e bent) Initiate(a connection.StartIKE) ike.Machine {
	return bentMachine{e.Engine.Initiate(a), e.bend}
}

func (e bent) Unclaimed(now time.Time, ev ike.Received) (ike.Machine, []ike.Action) {
	m, out := e.Engine.Unclaimed(now, ev)
	if m != nil {
		m = bentMachine{m, e.bend}
	}
	return m, e.bend(ev, out)
}

// bug makes the machines of one node behave badly.
func bug(at string, bend func(n *Node, ev ike.Event, out []ike.Action) []ike.Action) func(*Node) Engine {
	return func(n *Node) Engine {
		e := IKEv2(n)
		if n.Name != at {
			return e
		}
		return bent{e, func(ev ike.Event, out []ike.Action) []ike.Action { return bend(n, ev, out) }}
	}
}

// eachReport changes the facts that a machine reports.
func eachReport(change func(ike.Fact) ike.Fact) func(*Node, ike.Event, []ike.Action) []ike.Action {
	return func(_ *Node, _ ike.Event, out []ike.Action) []ike.Action {
		for i, a := range out {
			if r, ok := a.(ike.Report); ok {
				r.Fact = change(r.Fact)
				out[i] = r
			}
		}
		return out
	}
}

const up = "node west 192.0.2.1\nnode east 198.51.100.2\nlink delay=10ms\ndata delay=10ms\n" +
	"tunnel net west 10.1.0.0/24 east 10.2.0.0/24\nwest up net\nrun 1s\n"

// Each rule finds the bug that it is there for, planted in a gateway that is
// otherwise in order.
func TestRulesFindPlantedBugs(t *testing.T) {
	for _, c := range []struct {
		rule, what, script string
		engine             func(*Node) Engine
	}{
		{"I1", "one end reports other algorithms", up, bug("west", eachReport(func(f ike.Fact) ike.Fact {
			if u, ok := f.(ike.IKEUp); ok {
				u.Suite = "DES"
				return u
			}
			return f
		}))},
		{"I2", "the peer is taken for another", up, bug("west", eachReport(func(f ike.Fact) ike.Fact {
			if u, ok := f.(ike.IKEUp); ok {
				u.RemoteID = ike.ID{Kind: ike.IDFQDN, Data: "north"}
				return u
			}
			return f
		}))},
		{"I2", "one IKE SA is established twice", up, bug("west", func(_ *Node, _ ike.Event, out []ike.Action) []ike.Action {
			for _, a := range slices.Clone(out) {
				if r, ok := a.(ike.Report); ok {
					if _, up := r.Fact.(ike.IKEUp); up {
						out = append(out, r)
					}
				}
			}
			return out
		})},
		{"I5", "an outbound SA is installed anew with the same keys", up + "west ping net\nwest probe\nrun 1s\nwest ping net\nrun 1s\n", bug("west", func(n *Node, ev ike.Event, out []ike.Action) []ike.Action {
			if _, ok := ev.(ike.Probe); ok {
				for _, s := range n.Plane.sorted() {
					out = append(out, ike.Install{SA: s.SA})
				}
			}
			return out
		})},
		{"I6", "an inbound SA is installed anew, and its window with it", up + "data delay=10ms twice=1\nwest ping net\neast probe\nrun 2s\n", bug("east", func(n *Node, ev ike.Event, out []ike.Action) []ike.Action {
			if p, ok := ev.(ike.Plane); ok {
				if first, ok := p.Event.(ipsec.FirstUse); ok {
					out = append(out, ike.Install{SA: n.Plane.sas[first.ID].SA})
				}
			}
			return out
		})},
		{"I11", "a machine asks for something nobody knows", up, bug("west", func(_ *Node, _ ike.Event, out []ike.Action) []ike.Action { return append(out, nil) })},
		{"I12", "a forged message ends an IKE SA", up + "west probe\nforge east west invalid-syntax\nrun 1s\n", bug("west", func(_ *Node, ev ike.Event, out []ike.Action) []ike.Action {
			if m, ok := ev.(ike.Received); ok && ike.PayloadType(m.Msg[16]) == ike.PayloadNotify {
				out = append(out, ike.Done{})
			}
			return out
		})},
		{"I13", "a stranger gets two answers for one question", up, bug("east", func(_ *Node, _ ike.Event, out []ike.Action) []ike.Action {
			for _, a := range slices.Clone(out) {
				if s, ok := a.(ike.Send); ok {
					out = append(out, s)
				}
			}
			return out
		})},
		{"I14", "a peer deletes what another has", "node north 203.0.113.9\n" + up +
			"tunnel other west 10.1.1.0/24 north 10.3.0.0/24\nwest up other\nrun 1s\nnorth probe\nrun 1s\n", bug("west", func(n *Node, ev ike.Event, out []ike.Action) []ike.Action {
			if m, ok := ev.(ike.Received); ok && m.Remote.Addr() == netip.MustParseAddr("203.0.113.9") && ike.ExchangeType(m.Msg[18]) == ike.Informational {
				for _, s := range n.Plane.sorted() {
					if s.Owner == "net" {
						out = append(out, ike.Remove{ID: s.ID})
					}
				}
			}
			return out
		})},
		{"I17", "less is agreed on than both would have", up, bug("east", eachReport(func(f ike.Fact) ike.Fact {
			if u, ok := f.(ike.IKEUp); ok {
				u.Suite = "NULL"
				return u
			}
			return f
		}))},
	} {
		t.Run(c.rule+" "+c.what, func(t *testing.T) {
			w, err := RunScript(c.script, c.engine)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(w.Breaches, func(b Breach) bool { return b.Rule == c.rule }) {
				t.Errorf("breaches %v\n%s", w.Breaches, w.Trace)
			}
			if w, err = RunScript(c.script, IKEv2); err != nil || len(w.Breaches) > 0 {
				t.Errorf("without the bug: %v, %v", w.Breaches, err)
			}
		})
	}
}

// The rules about packets find what a data plane does wrong.
func TestRulesFindPlantedBugsOfPlanes(t *testing.T) {
	trap := func(t *testing.T, n *Node, a ipsec.Action) {
		p := n.Plane.spd.all()[0]
		p.Action, p.Bundle = a, nil
		if err := n.Plane.SetPolicies(ctx, []ipsec.Policy{p}); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		rule, what string
		plant      func(t *testing.T, w *World, west *Node)
	}{
		{"I4", "the policy lets its packets pass", func(t *testing.T, w *World, west *Node) {
			trap(t, west, ipsec.Pass)
			west.Ping(w.tunnels[0].flowOf(west))
		}},
		{"I9", "a tunnel is trapped while it is up", func(t *testing.T, w *World, west *Node) {
			west.Ping(w.tunnels[0].flowOf(west))
			trap(t, west, ipsec.Trap)
			west.Ping(w.tunnels[0].flowOf(west))
		}},
		{"I9", "the window has run away", func(_ *testing.T, w *World, west *Node) {
			for _, s := range w.Node("east").Plane.sorted() {
				s.seq = 1000
			}
			west.Ping(w.tunnels[0].flowOf(west))
		}},
		{"I7", "SPIs are reserved without end", func(t *testing.T, w *World, west *Node) {
			for range 1000 {
				if _, err := west.ReserveSPI(west.Addr, ipsec.ESP); err != nil {
					t.Fatal(err)
				}
			}
			west.Probe()
		}},
		{"I10", "a tunnel carries nothing", func(_ *testing.T, w *World, west *Node) {
			w.Net.Cut(west.Addr, w.Node("east").Addr)
			w.Quiet(w.tunnels...)
		}},
		{"I16", "something is left", func(_ *testing.T, w *World, _ *Node) { w.Empty() }},
	} {
		t.Run(c.rule+" "+c.what, func(t *testing.T) {
			w, err := RunScript(up, IKEv2)
			if err != nil {
				t.Fatal(err)
			}
			c.plant(t, w, w.Node("west"))
			w.Run(time.Second)
			if !slices.ContainsFunc(w.Breaches, func(b Breach) bool { return b.Rule == c.rule }) {
				t.Errorf("breaches %v\n%s", w.Breaches, w.Trace)
			}
		})
	}
}

// I15: whatever does not come from the seed is seen in the hash.
func TestHashFindsOtherChance(t *testing.T) {
	runs := 0
	leaky := func(n *Node) Engine {
		runs++
		for range runs {
			n.world.chance.draw("jitter", "ike 192.0.2.1 198.51.100.2")
		}
		return IKEv2(n)
	}
	script := "node west 192.0.2.1\nnode east 198.51.100.2\nlink delay=10ms jitter=20ms\ntunnel net west 10.1.0.0/24 east 10.2.0.0/24\nwest up net\nrun 1s\n"
	a, _ := RunScript(script, leaky)
	b, _ := RunScript(script, leaky)
	if a.Trace.Hash() == b.Trace.Hash() {
		t.Error("two runs that differ have one hash")
	}
}
