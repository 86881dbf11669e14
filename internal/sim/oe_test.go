package sim

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"cygnet/internal/connection"
	"cygnet/internal/ipsec"
)

// strangers makes a World of nodes that have never heard of each other. Each has
// a key and publishes it at its own address.
func strangers(t *testing.T, seed uint64, addrs ...string) (*World, []*Node) {
	t.Helper()
	w := New(seed)
	var list []*Node
	for i, a := range addrs {
		n := w.Add(fmt.Sprintf("n%d", i), a, IKEv2)
		w.DNS.Publish(n.Addr, n.Addr, 10, n.Key())
		list = append(list, n)
	}
	return w, list
}

const everyone = "0.0.0.0/0\n"

func group(name, text string) map[string]string { return map[string]string{name: text} }

func ping(from, to *Node) uint64 { return from.Ping(icmp(from.Addr, to.Addr)) }

func icmp(a, b netip.Addr) ipsec.Flow {
	if a.Is6() {
		return ipsec.Flow{Src: a, Dst: b, Proto: 58, SrcPort: 128 << 8}
	}
	return ipsec.Flow{Src: a, Dst: b, Proto: 1, SrcPort: 8 << 8}
}

// stateOf is how a node treats a pair of hosts.
func stateOf(n *Node, src, dst netip.Addr) string {
	for _, f := range n.Table.Flows() {
		if f.Src == src && f.Dst == dst {
			s := f.State.String()
			if f.State == connection.Encrypted {
				return s + " " + f.Level.String() + " " + f.Gateway.String()
			}
			if f.Cause != connection.CauseNone {
				return s + " " + f.Cause.String()
			}
			return s
		}
	}
	return "none"
}

func sound(t *testing.T, w *World) {
	t.Helper()
	for _, b := range w.Breaches {
		t.Errorf("%v", b)
	}
	if t.Failed() {
		t.Log(w.Trace.String())
	}
}

// A01, R15.1: two strangers with records in the DNS: the one packet that was
// sent arrives, protected, and nothing leaves in the clear.
func TestA01Strangers(t *testing.T) {
	w, n := strangers(t, 1, "192.0.2.1", "203.0.113.1")
	w.DNS.Delay = 20 * time.Millisecond
	for _, x := range n {
		x.Opportunistic("", group("private-or-clear", everyone))
	}
	w.Run(time.Second)
	p := ping(n[0], n[1])
	w.Run(time.Second)
	if got := stateOf(n[0], n[0].Addr, n[1].Addr); got != "encrypted secure 203.0.113.1" {
		t.Errorf("the initiator has %q", got)
	}
	if got := stateOf(n[1], n[1].Addr, n[0].Addr); got != "encrypted secure 192.0.2.1" {
		t.Errorf("the responder has %q", got)
	}
	if n[1].Plane.Delivered[p] != 1 || w.Stats.DataSent != 1 {
		t.Errorf("delivered %d, protected %d", n[1].Plane.Delivered[p], w.Stats.DataSent)
	}
	sound(t, w)
}

func traceHas(w *World, text string) bool { return strings.Contains(w.Trace.String(), text) }

// C01, R15.12: a destination without a record is passed in the clear by
// packetdefault, soon, and the log says why; in private it is blocked (C02).
func TestR15_12NoRecord(t *testing.T) {
	for name, want := range map[string]string{"private-or-clear": "clear no-record", "private": "denied no-record"} {
		w, n := strangers(t, 2, "192.0.2.1", "203.0.113.1")
		w.DNS.Withdraw(n[1].Addr)
		n[0].Opportunistic("", group(name, everyone))
		w.Run(time.Second)
		p := ping(n[0], n[1])
		w.Run(300 * time.Millisecond)
		if got := stateOf(n[0], n[0].Addr, n[1].Addr); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
		if got := n[1].Plane.Delivered[p] == 1; got != (name != "private") {
			t.Errorf("%s: delivered is %v", name, got)
		}
		if !traceHas(w, "Can't Opportunistically initiate for 192.0.2.1 to 203.0.113.1: ") {
			t.Errorf("%s: no line in the log", name)
		}
		sound(t, w)
	}
}

// R15.8, R15.9: without any group file packetdefault acts alone; oe=auto makes
// it act because the machine's own record is there.
func TestR15_8PacketDefault(t *testing.T) {
	w, n := strangers(t, 3, "192.0.2.1", "203.0.113.1")
	for _, x := range n {
		x.Opportunistic("", nil)
	}
	w.Run(time.Second)
	ping(n[0], n[1])
	w.Run(time.Second)
	if got := stateOf(n[0], n[0].Addr, n[1].Addr); got != "encrypted secure 203.0.113.1" {
		t.Error(got)
	}
	if f := n[0].Table.Flows(); len(f) != 1 || f[0].Rule != "packetdefault" {
		t.Errorf("%+v", f)
	}
	sound(t, w)
}

// R15.11, B38: six sections with auto=ignore: no policy, no route, no question.
func TestR15_11Disabled(t *testing.T) {
	w, n := strangers(t, 4, "192.0.2.1", "203.0.113.1")
	conf := ""
	for _, name := range []string{"block", "private", "private-or-clear", "clear-or-private", "clear", "packetdefault"} {
		conf += "conn " + name + "\n auto=ignore\n"
	}
	n[0].Opportunistic(conf, group("private", everyone))
	w.Run(time.Minute)
	if p, r := n[0].Table.Policies(), n[0].Table.Routes(); len(p) != 0 || len(r) != 0 || w.DNS.Asked != 0 {
		t.Errorf("%d policies, %d routes, %d questions", len(p), len(r), w.DNS.Asked)
	}
}

// A04 and A03: a gateway and its clients: the tunnel is for exactly the two
// hosts, a second pair is a Child SA on the same IKE SA.
func TestA03Gateways(t *testing.T) {
	w, n := strangers(t, 5, "192.0.2.1", "203.0.113.1")
	addr := netip.MustParseAddr
	for i, clients := range [][]string{{"192.0.2.10", "192.0.2.11"}, {"203.0.113.20", "203.0.113.21"}} {
		for _, c := range clients {
			w.DNS.Publish(addr(c), n[i].Addr, 10, n[i].Key())
		}
		n[i].Opportunistic("", nil)
	}
	w.Run(time.Second)
	for i := range 2 {
		src, dst := addr(fmt.Sprintf("192.0.2.%d", 10+i)), addr(fmt.Sprintf("203.0.113.%d", 20+i))
		n[0].Ping(icmp(src, dst))
		w.Run(time.Second)
		if got := stateOf(n[0], src, dst); got != "encrypted secure 203.0.113.1" {
			t.Errorf("pair %d: %q", i, got)
		}
	}
	if got := len(n[0].Table.IKEs()); got != 1 {
		t.Errorf("%d IKE SAs", got)
	}
	for _, s := range n[1].Plane.SAs() {
		if s.Dir == ipsec.In && (len(s.Selectors) != 1 || !s.Selectors[0].Src.IsSingleIP() || !s.Selectors[0].Dst.IsSingleIP()) {
			t.Errorf("an SA accepts %v", s.Selectors)
		}
	}
	sound(t, w)
}

// D05: both ends begin in the same instant, many times over, with any delays: no
// packet is lost, and one tunnel is left after ten seconds: once each has heard from the
// other that it has not just restarted.
func TestD05BothInitiate(t *testing.T) {
	for seed := range uint64(200) {
		w, n := strangers(t, seed, "192.0.2.1", "203.0.113.1")
		w.Net.Data.Delay = 5 * time.Millisecond
		w.Net.IKE.Delay, w.Net.IKE.Jitter = 10*time.Millisecond, 30*time.Millisecond
		for _, x := range n {
			x.Opportunistic("", group("private", everyone))
		}
		w.Run(time.Second)
		a, b := ping(n[0], n[1]), ping(n[1], n[0])
		w.Run(10 * time.Second)
		if n[1].Plane.Delivered[a] != 1 || n[0].Plane.Delivered[b] != 1 {
			t.Errorf("seed %d: delivered %d and %d", seed, n[1].Plane.Delivered[a], n[0].Plane.Delivered[b])
		}
		for _, x := range n {
			pairs := 0
			for _, v := range x.Table.Views() {
				pairs += len(v.Children)
			}
			if pairs != 1 {
				t.Errorf("seed %d: %s has %d tunnels", seed, x.Name, pairs)
			}
		}
		sound(t, w)
		if t.Failed() {
			return
		}
	}
}
