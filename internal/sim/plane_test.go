package sim

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"cygnet/internal/ipsec"
)

var ctx = context.Background()

// manual is a World with two nodes and one pair of SAs keyed by hand.
func manual(t *testing.T) (w *World, west, east *Node, out, in ipsec.SA) {
	t.Helper()
	w = New(1)
	west, east = w.Add("west", "192.0.2.1", newToyEngine), w.Add("east", "192.0.2.2", newToyEngine)
	sel := ipsec.Selector{Src: netip.MustParsePrefix("10.1.0.0/16"), Dst: netip.MustParsePrefix("10.2.0.0/16")}
	out = ipsec.SA{
		ID: ipsec.SAID{Dst: east.Addr, Proto: ipsec.ESP, SPI: 0x2000}, Src: west.Addr, Dir: ipsec.Out, Owner: "net",
		Transform: ipsec.Transform{Encr: 20, KeyBits: 128}, EncrKey: ipsec.NewSecret(make([]byte, 20)), Replay: 64,
	}
	in = out
	in.Dir, in.Selectors = ipsec.In, []ipsec.Selector{sel}
	add(t, w, west, out)
	add(t, w, east, in)
	if err := west.Plane.SetPolicies(ctx, []ipsec.Policy{{Selector: sel, Action: ipsec.Protect, Bundle: []ipsec.SAID{out.ID}, Owner: "net"}}); err != nil {
		t.Fatal(err)
	}
	return w, west, east, out, in
}

func add(t *testing.T, w *World, n *Node, s ipsec.SA) {
	t.Helper()
	w.installed(n, s)
	if err := n.Plane.AddSA(ctx, s); err != nil {
		t.Fatal(err)
	}
}

var flow = ipsec.Flow{Src: netip.MustParseAddr("10.1.0.1"), Dst: netip.MustParseAddr("10.2.0.1"), Proto: 17}

func drops(n *Node) string {
	var words []string
	for _, c := range n.Plane.Drops() {
		words = append(words, c.Reason)
	}
	return strings.Join(words, " ")
}

func wantBreach(t *testing.T, w *World, rule string) {
	t.Helper()
	if len(w.Breaches) == 0 || w.Breaches[0].Rule != rule {
		t.Errorf("breaches %v, want one of %s", w.Breaches, rule)
	}
}

func TestPlaneCarries(t *testing.T) {
	w, west, east, _, in := manual(t)
	for range 100 {
		west.Ping(flow)
	}
	w.Run(time.Second)
	if len(east.Plane.Delivered) != 100 || len(w.Breaches) != 0 {
		t.Fatalf("%d delivered, %v, %s", len(east.Plane.Delivered), w.Breaches, drops(east))
	}
	u, err := east.Plane.Usage(ctx, in.ID)
	if err != nil || u.Packets != 100 {
		t.Errorf("usage %+v, %v", u, err)
	}
}

func TestPlaneChecksReplay(t *testing.T) {
	w, west, east, out, _ := manual(t)
	for range 100 {
		west.Ping(flow)
	}
	w.Run(time.Second)
	for _, seq := range []uint64{100, 37, 36, 1} {
		east.Plane.receive(netip.AddrPortFrom(west.Addr, 0), Packet{ID: out.ID, Key: fingerprint(&out), Seq: seq, Flow: flow, Number: 1000})
	}
	if east.Plane.Delivered[1000] != 0 || drops(east) != "replay" {
		t.Errorf("delivered %d, drops %s", east.Plane.Delivered[1000], drops(east))
	}
}

func TestPlaneChecksKeys(t *testing.T) {
	w, west, east, out, in := manual(t)
	in.EncrKey = ipsec.NewSecret([]byte("twenty other octets!"))
	if err := east.Plane.AddSA(ctx, in); err != nil {
		t.Fatal(err)
	}
	west.Ping(flow)
	w.Run(time.Second)
	if len(east.Plane.Delivered) != 0 || drops(east) != "auth" {
		t.Errorf("drops %s", drops(east))
	}
	wantBreach(t, w, "I1")
	_ = out
}

func TestPlaneChecksSelectors(t *testing.T) {
	w, west, east, out, _ := manual(t)
	other := flow
	other.Src = netip.MustParseAddr("10.9.0.1")
	east.Plane.receive(netip.AddrPortFrom(west.Addr, 0), Packet{ID: out.ID, Key: fingerprint(&out), Seq: 1, Flow: other, Number: 1})
	if drops(east) != "selectors" {
		t.Errorf("drops %s", drops(east))
	}
	wantBreach(t, w, "I4")
}

func TestPlaneHoldsAndAsksOnce(t *testing.T) {
	w, west, east, out, _ := manual(t)
	pol := west.Plane.spd.all()[0]
	trap := pol
	trap.Action, trap.Bundle = ipsec.Trap, nil
	if err := west.Plane.SetPolicies(ctx, []ipsec.Policy{trap}); err != nil {
		t.Fatal(err)
	}
	for n := uint64(1); n <= 5; n++ {
		west.Plane.submit(flow, n)
	}
	if e := <-west.Plane.Events(); e != (ipsec.Acquire{Owner: "net", Flow: flow}) || len(west.Plane.events) != 0 {
		t.Fatalf("events %v and %d more", e, len(west.Plane.events))
	}
	if err := west.Plane.SetPolicies(ctx, []ipsec.Policy{pol}); err != nil {
		t.Fatal(err)
	}
	w.Run(time.Second)
	if d := east.Plane.Delivered; len(d) != 2 || d[1] != 1 || d[5] != 1 {
		t.Errorf("delivered %v, want the first and the newest", d)
	}
	_ = out
}

func TestPlaneLifetime(t *testing.T) {
	w, west, east, out, in := manual(t)
	out.ID.SPI, in.ID.SPI = 0x3000, 0x3000
	out.EncrKey = ipsec.NewSecret([]byte("twenty other octets."))
	in.EncrKey = out.EncrKey
	out.Life = ipsec.Lifetime{SoftPackets: 2, HardPackets: 4, HardTime: time.Minute}
	add(t, w, west, out)
	add(t, w, east, in)
	pol := west.Plane.spd.all()[0]
	pol.Bundle = []ipsec.SAID{out.ID}
	if err := west.Plane.SetPolicies(ctx, []ipsec.Policy{pol}); err != nil {
		t.Fatal(err)
	}
	var got []ipsec.Event
	for n := range uint64(4) {
		west.Plane.submit(flow, n)
	}
	for len(west.Plane.events) > 0 {
		got = append(got, <-west.Plane.events)
	}
	if len(got) != 2 || got[0] != (ipsec.Expire{ID: out.ID}) || got[1] != (ipsec.Expire{ID: out.ID, Hard: true}) {
		t.Errorf("events %v", got)
	}
	west.Plane.submit(flow, 9)
	if drops(west) != "no_sa" {
		t.Errorf("an expired SA still sends: %s", drops(west))
	}
}

func TestRulesHaveTeeth(t *testing.T) {
	t.Run("SPI used again", func(t *testing.T) {
		w, _, east, _, in := manual(t)
		in.EncrKey = ipsec.NewSecret([]byte("twenty other octets!"))
		w.installed(east, in)
		wantBreach(t, w, "I5")
	})
	t.Run("one key for two SAs", func(t *testing.T) {
		w, _, east, _, in := manual(t)
		in.ID.SPI++
		w.installed(east, in)
		wantBreach(t, w, "I5")
	})
	t.Run("ends disagree", func(t *testing.T) {
		w, west, east, out, in := manual(t)
		out.ID.SPI, in.ID.SPI = 0x3000, 0x3000
		out.EncrKey, in.EncrKey = ipsec.NewSecret([]byte("twenty octets of one")), ipsec.NewSecret([]byte("twenty octets of two"))
		w.installed(west, out)
		w.installed(east, in)
		wantBreach(t, w, "I1")
	})
	t.Run("sent into the void", func(t *testing.T) {
		w, west, east, _, in := manual(t)
		w.removed(east, in.ID)
		if err := east.Plane.DeleteSA(ctx, in.ID); err != nil {
			t.Fatal(err)
		}
		w.Run(time.Second)
		west.Ping(flow)
		w.Run(time.Second)
		wantBreach(t, w, "I3")
	})
	t.Run("half an SA at quiet", func(t *testing.T) {
		w, _, east, _, in := manual(t)
		if err := east.Plane.DeleteSA(ctx, in.ID); err != nil {
			t.Fatal(err)
		}
		w.Quiet()
		wantBreach(t, w, "I3")
	})
	t.Run("SPI kept for nobody", func(t *testing.T) {
		w, west, _, _, _ := manual(t)
		if _, err := west.ReserveSPI(west.Addr, ipsec.ESP); err != nil {
			t.Fatal(err)
		}
		w.Quiet()
		wantBreach(t, w, "I7")
	})
	t.Run("duplicate child", func(t *testing.T) {
		w, west, east, out, in := manual(t)
		out.ID.SPI, in.ID.SPI = 0x3000, 0x3000
		out.EncrKey = ipsec.NewSecret([]byte("twenty other octets!"))
		in.EncrKey = out.EncrKey
		add(t, w, west, out)
		add(t, w, east, in)
		w.quietTunnels(west, []*Tunnel{{Name: "net"}})
		wantBreach(t, w, "I8")
	})
}
