package sim

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"cygnet/internal/connection"
	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
)

// B01 B02 B03 B04 B05 B06 B07 B08 B09 B10 B11 B12 B13 B14 B15 B16 B17 B18 B19 B20
// B21 B22 B23 B24 B25, opportunistic.md 2.6: what comes of every pair of groups when A
// sends first and B answers what it gets. Where either end is private, or blocks,
// nothing arrives in the clear. A's clear packet that B drops because A is
// private to it begins nothing at B: there the tunnel comes with B's own packet.
func TestB01toB25Pairs(t *testing.T) {
	groups := []string{"block", "clear", "clear-or-private", "private-or-clear", "private"}
	want := [5][5]string{
		{"none", "none", "none", "none", "none"},
		{"none", "clear", "clear", "clear", "none"},
		{"none", "clear", "clear", "tunnel", "tunnel"},
		{"none", "clear", "tunnel", "tunnel", "tunnel"},
		{"none", "none", "tunnel", "tunnel", "tunnel"},
	}
	for i, a := range groups {
		for j, b := range groups {
			t.Run(fmt.Sprintf("B%02d %s to %s", 5*i+j+1, a, b), func(t *testing.T) {
				w, n := strangers(t, uint64(5*i+j), "192.0.2.1", "203.0.113.1")
				w.Net.IKE.Delay, w.Net.Data.Delay = 10*time.Millisecond, 10*time.Millisecond
				for k, g := range []string{a, b} {
					n[k].Opportunistic("conn packetdefault\n auto=ignore\n", group(g, everyone))
				}
				w.Run(time.Second)
				first := ping(n[0], n[1])
				w.Run(6 * time.Second)
				if n[1].Plane.Delivered[first] == 1 || b == "private" {
					ping(n[1], n[0])
					w.Run(25 * time.Second)
				}
				sent := w.Stats.DataSent
				last := ping(n[0], n[1])
				w.Run(time.Second)
				got := "none"
				switch {
				case n[1].Plane.Delivered[last] == 1 && w.Stats.DataSent > sent:
					got = "tunnel"
				case n[1].Plane.Delivered[last] == 1:
					got = "clear"
				}
				if got != want[i][j] {
					t.Errorf("%s, want %s", got, want[i][j])
				}
				strict := a == "private" || b == "private" || a == "block" || b == "block"
				if strict && n[1].Plane.Delivered[first] == 1 && !traceHas(w, "opportunistic tunnel") {
					t.Error("the first packet arrived in the clear")
				}
				sound(t, w)
			})
		}
	}
}

// A10, A11, A13: who may speak for a client is what the client's record says, of
// the gateway and of the key.
func TestA10Authority(t *testing.T) {
	client := netip.MustParseAddr("192.0.2.10")
	for name, c := range map[string]struct {
		publish func(w *World, a, other *Node)
		want    string
	}{
		"named":       {func(w *World, a, _ *Node) { w.DNS.Publish(client, a.Addr, 10, a.Key()) }, "encrypted secure 192.0.2.1"},
		"no record":   {func(*World, *Node, *Node) {}, "none"},
		"other key":   {func(w *World, a, o *Node) { w.DNS.Publish(client, a.Addr, 10, o.Key()) }, "none"},
		"other named": {func(w *World, a, o *Node) { w.DNS.Publish(client, o.Addr, 10, o.Key()) }, "none"},
	} {
		w, n := strangers(t, 7, "192.0.2.1", "203.0.113.1", "198.51.100.1")
		n[1].Opportunistic("", nil)
		w.Run(time.Second)
		// A claims the client without asking anybody.
		claim(w, n[0], n[1], netip.PrefixFrom(client, 32), netip.PrefixFrom(n[1].Addr, 32))
		c.publish(w, n[0], n[2])
		n[0].Up("claim")
		w.Run(2 * time.Second)
		if got := stateOf(n[1], n[1].Addr, client); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
		if c.want == "none" && !traceHas(w, "gateway 192.0.2.1 wants 192.0.2.10 as its client: DNS does not confirm") {
			t.Errorf("%s: no line in the log", name)
		}
		if len(n[1].Table.IKEs()) != 1 {
			t.Errorf("%s: the IKE SA should live", name)
		}
		sound(t, w)
	}
}

// claim gives from a connection written by hand, by which it asks to for anything
// that it wants. Its key is the one it has.
func claim(w *World, from, to *Node, local, remote netip.Prefix, more ...func(*Node, *connection.Description)) *ike.Conn {
	return w.define("claim", from, to, local, remote, append([]func(*Node, *connection.Description){func(_ *Node, d *connection.Description) {
		d.Local.ID, d.Local.Auth = ike.IDOfAddr(from.Addr), []ike.AuthMethod{ike.AuthPubkey}
		d.Remote.ID, d.Remote.Auth = ike.IDOfAddr(to.Addr), []ike.AuthMethod{ike.AuthPubkey}
		d.Remote.Keys = []ike.PublicKey{{Key: to.Key()}}
		d.Encap = ike.Auto
	}}, more...))
}

// A14, OE-11: a stranger that asks for nets gets the pair of the two ends, or
// nothing at all.
func TestA14Narrowed_OE_11(t *testing.T) {
	w, n := strangers(t, 8, "192.0.2.1", "203.0.113.1")
	n[1].Opportunistic("", nil)
	w.Run(time.Second)
	claim(w, n[0], n[1], netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("0.0.0.0/0"))
	n[0].Up("claim")
	w.Run(2 * time.Second)
	for _, s := range n[1].Plane.SAs() {
		if s.Dir == ipsec.In && (len(s.Selectors) != 1 || s.Selectors[0].Src != netip.PrefixFrom(n[0].Addr, 32) || s.Selectors[0].Dst != netip.PrefixFrom(n[1].Addr, 32)) {
			t.Errorf("granted %v", s.Selectors)
		}
	}
	if got := stateOf(n[1], n[1].Addr, n[0].Addr); got != "encrypted secure 192.0.2.1" {
		t.Error(got)
	}
	sound(t, w)
}

// A16, D03: the gateway has another key than the destination's record says: it is
// refused, although its own record has that key.
func TestA16WrongKey(t *testing.T) {
	w, n := strangers(t, 9, "192.0.2.1", "203.0.113.1", "198.51.100.1")
	client := netip.MustParseAddr("203.0.113.20")
	w.DNS.Publish(client, n[1].Addr, 10, n[2].Key())
	for _, x := range n {
		x.Opportunistic("", nil)
	}
	w.Run(time.Second)
	n[0].Ping(icmp(n[0].Addr, client))
	w.Run(3 * time.Second)
	if got := stateOf(n[0], n[0].Addr, client); got != "denied auth" {
		t.Error(got)
	}
	sound(t, w)
}

// A18: the initiator publishes nothing: it knows the responder by its key, and is
// anonymous itself.
func TestA18OneSided(t *testing.T) {
	w, n := strangers(t, 10, "192.0.2.1", "203.0.113.1")
	w.DNS.Withdraw(n[0].Addr)
	n[0].Keys.private = nil
	n[0].Opportunistic("config setup\n oe=yes\n", group("private-or-clear", everyone))
	n[1].Opportunistic("", group("clear-or-private", everyone))
	w.Run(time.Second)
	p := ping(n[0], n[1])
	w.Run(time.Second)
	if a, b := stateOf(n[0], n[0].Addr, n[1].Addr), stateOf(n[1], n[1].Addr, n[0].Addr); a != "encrypted secure 203.0.113.1" || b != "encrypted anon 192.0.2.1" {
		t.Errorf("%q and %q", a, b)
	}
	if n[1].Plane.Delivered[p] != 1 {
		t.Error("the packet is lost")
	}
	sound(t, w)
}

// B30: a destination moves between groups that encrypt, while packets flow: none is
// lost, none is clear, and the SA stays.
func TestB30Reread(t *testing.T) {
	both := func(a, b string) map[string]string { return map[string]string{"private": a, "private-or-clear": b} }
	w, n := strangers(t, 11, "192.0.2.1", "203.0.113.1")
	n[0].Opportunistic("", both("203.0.113.1\n", ""))
	n[1].Opportunistic("", nil)
	w.Run(time.Second)
	ping(n[0], n[1])
	w.Run(time.Second)
	var numbers []uint64
	for i := range 1000 {
		if i == 500 {
			n[0].Opportunistic("", both("", "203.0.113.1\n"))
		}
		numbers = append(numbers, ping(n[0], n[1]))
		w.Run(time.Millisecond)
	}
	w.Run(time.Second)
	for i, p := range numbers {
		if n[1].Plane.Delivered[p] != 1 {
			t.Fatalf("packet %d is lost", i)
		}
	}
	if w.Stats.DataSent != 1001 {
		t.Errorf("%d of 1001 packets were protected", w.Stats.DataSent)
	}
	if !traceHas(w, "encrypted") && stateOf(n[0], n[0].Addr, n[1].Addr) != "encrypted secure 203.0.113.1" {
		t.Error("the tunnel is gone")
	}
	sound(t, w)
}

// B31, B32: a destination moves from private to clear, and back, under load: the
// tunnel is deleted at both ends, and no packet is clear but between the two
// commands.
func TestB31B32ClearAndBack(t *testing.T) {
	w, n := strangers(t, 11, "192.0.2.1", "203.0.113.1")
	private, clear := group("private", "203.0.113.1\n"), group("clear", "203.0.113.1\n")
	n[0].Opportunistic("", private)
	n[1].Opportunistic("", nil)
	w.Run(time.Second)
	ping(n[0], n[1])
	w.Run(time.Second)
	load := func(packets int) (arrived, protected int) {
		before := w.Stats.DataSent
		for range packets {
			p := ping(n[0], n[1])
			w.Run(time.Millisecond)
			arrived += n[1].Plane.Delivered[p]
		}
		return arrived, w.Stats.DataSent - before
	}
	if a, p := load(500); a != 500 || p != 500 {
		t.Fatalf("private: %d arrived, %d protected", a, p)
	}
	n[0].Opportunistic("", clear)
	if a, p := load(500); a < 490 || p != 0 { // B may drop the first until it has the Delete
		t.Errorf("clear: %d arrived, %d protected", a, p)
	}
	for i := range 2 {
		if got := stateOf(n[i], n[i].Addr, n[1-i].Addr); got != "none" || len(n[i].Plane.SAs()) != 0 {
			t.Errorf("%s: %q, %d SAs", n[i].Name, got, len(n[i].Plane.SAs()))
		}
	}
	n[0].Opportunistic("", private)
	a, p := load(500)
	w.Run(time.Second)
	if a < 490 || p < a {
		t.Errorf("private again: %d arrived, %d protected", a, p)
	}
	sound(t, w)
}

// B34: an entry vanishes while its flow waits for the DNS: the flow goes by the
// next rule.
func TestB34RereadInLookup(t *testing.T) {
	w, n := strangers(t, 12, "192.0.2.1", "203.0.113.1")
	w.DNS.Delay = time.Second
	n[0].Opportunistic("", map[string]string{"private": "203.0.113.1\n", "clear": "203.0.113.0/24\n"})
	w.Run(2 * time.Second)
	p := ping(n[0], n[1])
	w.Run(100 * time.Millisecond)
	if got := stateOf(n[0], n[0].Addr, n[1].Addr); got != "asking" {
		t.Fatal(got)
	}
	n[0].Opportunistic("", map[string]string{"clear": "203.0.113.0/24\n"})
	w.Run(3 * time.Second)
	if n[1].Plane.Delivered[p] != 1 || w.Stats.DataSent != 0 {
		t.Errorf("delivered %d, protected %d", n[1].Plane.Delivered[p], w.Stats.DataSent)
	}
	sound(t, w)
}

// D06, OE-13: B dies without a word and comes back: A notices within 20 seconds,
// holds, and there is a new tunnel; nothing is clear in between.
func TestD06PeerRestarts_OE_13(t *testing.T) {
	w, n := strangers(t, 13, "192.0.2.1", "203.0.113.1")
	for _, x := range n {
		x.Opportunistic("", group("private", everyone))
	}
	w.Run(time.Second)
	ping(n[0], n[1])
	w.Run(time.Second)
	n[1].Crash()
	n[1].Restart()
	n[1].Opportunistic("", group("private", everyone))
	lost, last := 0, uint64(0)
	for range 80 {
		sent := w.Stats.DataSent
		last = ping(n[0], n[1])
		w.Run(time.Second)
		if n[1].Plane.Delivered[last] == 0 {
			lost++
		}
		if n[1].Plane.Delivered[last] == 1 && w.Stats.DataSent == sent {
			t.Fatal("a packet in the clear")
		}
	}
	if n[1].Plane.Delivered[last] != 1 || lost > 45 {
		t.Errorf("%d of 80 packets are lost, the last arrived %d times", lost, n[1].Plane.Delivered[last])
	}
}

// D08: rekeying under load while a third of the messages of IKE are lost: nothing
// is clear, and no packet is lost, for the network loses none here.
func TestD08Rekeying(t *testing.T) {
	w, n := strangers(t, 14, "192.0.2.1", "203.0.113.1")
	for _, x := range n {
		x.Opportunistic("", group("private", everyone))
	}
	w.Run(time.Second)
	ping(n[0], n[1])
	w.Run(time.Second)
	w.Net.IKE.Loss = 0.3
	lost := 0
	for range 2 * 60 * 60 {
		a, b := ping(n[0], n[1]), ping(n[1], n[0])
		w.Run(time.Second)
		lost += 2 - n[1].Plane.Delivered[a] - n[0].Plane.Delivered[b]
	}
	if w.Stats.ChildRekeys < 2 || lost > 0 {
		t.Errorf("%d rekeyings, %d packets lost", w.Stats.ChildRekeys, lost)
	}
	sound(t, w)
}

// D22: while a tunnel of a private group stands, what comes in the clear is
// dropped; a lax group accepts it for a moment only.
func TestD22ClearIn(t *testing.T) {
	for g, want := range map[string][2]int{"private": {0, 0}, "private-or-clear": {1, 0}} {
		w, n := strangers(t, 15, "192.0.2.1", "203.0.113.1")
		n[0].Opportunistic("", group(g, everyone))
		n[1].Opportunistic("", nil)
		w.Run(time.Second)
		ping(n[0], n[1])
		w.Run(time.Second)
		var got [2]int
		for i := range got {
			number := w.nextNumber()
			n[0].Plane.receive(netip.AddrPortFrom(n[1].Addr, 0), Packet{Flow: icmp(n[1].Addr, n[0].Addr), Number: number})
			got[i] = n[0].Plane.Delivered[number]
			w.Run(10 * time.Second)
		}
		if got != want {
			t.Errorf("%s: %v, want %v", g, got, want)
		}
	}
}

// OE-08, OE-20: ten thousand packets of a private group while the DNS is dead for
// half of the time and the peer absent all along: none is clear.
func TestNeverClear_OE_08_20(t *testing.T) {
	w, n := strangers(t, 16, "192.0.2.1", "203.0.113.1")
	n[0].Opportunistic("", group("private", everyone))
	w.Run(time.Second)
	w.DNS.Dead = true
	for i := range 10_000 {
		if i == 5000 {
			w.DNS.Dead = false
		}
		p := ping(n[0], n[1])
		w.Run(6 * time.Millisecond)
		if n[1].Plane.Delivered[p] != 0 {
			t.Fatalf("packet %d has arrived", i)
		}
	}
	if w.Stats.DataSent != 0 || len(n[0].Plane.held) > 2 {
		t.Errorf("%d packets protected, %d held", w.Stats.DataSent, len(n[0].Plane.held))
	}
	sound(t, w)
}
