package sim

import (
	"net/netip"
	"testing"
	"time"

	"cygnet/internal/connection"
	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
	"cygnet/internal/oe"
)

// The acceptance cases of opportunistic.md 11 that turn on faults and attacks.

// forge answers the first message of A in the name of B, in the clear, as soon as
// it is under way.
func forge(t *testing.T, w *World, a, b *Node, kind uint16) {
	t.Helper()
	if !w.RunUntil(time.Second, func() bool { return len(w.Net.record[link{a.Addr, b.Addr}]) > 0 }) {
		t.Fatal("nothing was sent")
	}
	if !w.Net.Forge(b.Addr, a.Addr, kind) {
		t.Fatal("there was nothing to answer")
	}
}

// D02: NO_PROPOSAL_CHOSEN is forged right after the first message; the real B
// answers a second later, and there is a tunnel. If B never answers, what was
// forged is no refusal, and the group that passes what is refused blocks this.
func TestD02ForgedRefusal(t *testing.T) {
	for name, c := range map[string]struct {
		kind   uint16
		answer bool
		want   string
	}{
		"tunnel":        {ike.NotifyNoProposalChosen, true, "encrypted secure 203.0.113.1"},
		"silent":        {ike.NotifyNoProposalChosen, false, "denied unreachable"},
		"silent syntax": {ike.NotifyInvalidSyntax, false, "denied unreachable"},
		"silent auth":   {ike.NotifyAuthenticationFailed, false, "denied unreachable"},
	} {
		t.Run(name, func(t *testing.T) {
			w, n := strangers(t, 61, "192.0.2.1", "203.0.113.1")
			for _, x := range n {
				x.Opportunistic("", group("private-or-clear", everyone))
			}
			w.Run(time.Second)
			w.Net.SetIKE(n[1].Addr, n[0].Addr, Faults{Delay: time.Second})
			if !c.answer {
				w.Net.Cut(n[0].Addr, n[1].Addr)
			}
			p := ping(n[0], n[1])
			forge(t, w, n[0], n[1], c.kind)
			w.Run(7 * time.Second)
			if got := stateOf(n[0], n[0].Addr, n[1].Addr); got != c.want {
				t.Errorf("%q, want %q\n%s", got, c.want, w.Trace)
			}
			if got := n[1].Plane.Delivered[p] == 1; got != c.answer || c.answer && w.Stats.DataSent != 1 {
				t.Errorf("delivered: %v, protected: %d", got, w.Stats.DataSent)
			}
		})
	}
}

// D10: a tunnel that carries packets in one direction only, for ten minutes, is
// closed by neither end.
func TestD10OneWay(t *testing.T) {
	w, n := strangers(t, 62, "192.0.2.1", "203.0.113.1")
	for _, x := range n {
		x.Opportunistic("", group("private", everyone))
	}
	w.Run(time.Second)
	ping(n[0], n[1])
	w.Run(time.Second)
	before := inbound(n[1])
	for i := range 10 * 60 {
		p := n[0].Ping(ipsec.Flow{Src: n[0].Addr, Dst: n[1].Addr, Proto: 17, SrcPort: 4000, DstPort: 4000})
		w.Run(time.Second)
		if n[1].Plane.Delivered[p] != 1 {
			t.Fatalf("packet %d is lost", i)
		}
	}
	if inbound(n[1]) != before {
		t.Errorf("SAs %q, before %q", inbound(n[1]), before)
	}
	for i := range 2 {
		if got := stateOf(n[i], n[i].Addr, n[1-i].Addr); got[:9] != "encrypted" {
			t.Errorf("%s: %q", n[i].Name, got)
		}
	}
	sound(t, w)
}

// D15: the whole handshake is played again, to both ends: nothing new comes of it.
// (ESP: klips.TestRefused.)
func TestD15ReplayedHandshake(t *testing.T) {
	w, n := strangers(t, 63, "192.0.2.1", "203.0.113.1")
	for _, x := range n {
		x.Opportunistic("", group("private", everyone))
	}
	w.Run(time.Second)
	ping(n[0], n[1])
	w.Run(time.Minute)
	before, up := inbound(n[0])+inbound(n[1]), len(n[0].Table.IKEs())+len(n[1].Table.IKEs())
	for range 3 {
		w.Net.Replay(n[0].Addr, n[1].Addr)
		w.Net.Replay(n[1].Addr, n[0].Addr)
		w.Run(time.Minute)
	}
	if w.Stats.Replayed < 12 {
		t.Fatalf("%d datagrams were replayed", w.Stats.Replayed)
	}
	if now := inbound(n[0]) + inbound(n[1]); now != before || len(n[0].Table.IKEs())+len(n[1].Table.IKEs()) != up {
		t.Errorf("SAs %q, before %q; %d ends of IKE SAs, before %d", now, before, len(n[0].Table.IKEs())+len(n[1].Table.IKEs()), up)
	}
	p := ping(n[0], n[1])
	w.Run(time.Second)
	if n[1].Plane.Delivered[p] != 1 {
		t.Error("the tunnel does not carry")
	}
	sound(t, w)
}

// D19: B was not there and is again: with the failure flushed the next packet gets
// its tunnel at once; without, it waits for the end of the failure.
func TestD19Flush(t *testing.T) {
	for _, flush := range []bool{true, false} {
		w, n := strangers(t, 64, "192.0.2.1", "203.0.113.1")
		for _, x := range n {
			x.Opportunistic("", group("private", everyone))
		}
		w.Run(time.Second)
		w.Net.Cut(n[0].Addr, n[1].Addr)
		ping(n[0], n[1])
		w.Run(25 * time.Second)
		if got := stateOf(n[0], n[0].Addr, n[1].Addr); got != "denied unreachable" {
			t.Fatal(got)
		}
		w.Net.Mend(n[0].Addr, n[1].Addr)
		if flush {
			n[0].command("ipsec oe --flush 203.0.113.1", connection.Flush{Prefix: netip.MustParsePrefix("203.0.113.1/32")})
		}
		p := ping(n[0], n[1])
		w.Run(time.Second)
		if got := n[1].Plane.Delivered[p] == 1; got != flush {
			t.Errorf("flushed: %v, delivered: %v, %s", flush, got, stateOf(n[0], n[0].Addr, n[1].Addr))
		}
		sound(t, w)
	}
}

// D24: an initiator behind a NAT says that it is its inside address: refused, the
// cause is shown at both ends, and the packet stays blocked.
func TestD24BehindNAT(t *testing.T) {
	w, n := strangers(t, 65, "10.0.0.5", "203.0.113.1")
	w.NAT("192.0.2.1", n[0])
	for _, x := range n {
		x.Opportunistic("", group("private", everyone))
	}
	w.Run(time.Second)
	p := ping(n[0], n[1])
	w.Run(10 * time.Second)
	if got := stateOf(n[0], n[0].Addr, n[1].Addr); got != "denied auth" {
		t.Errorf("%q\n%s", got, w.Trace)
	}
	if !traceHas(w, "calls from 192.0.2.1: a stranger's identity must be the address it has") {
		t.Errorf("no line in the log\n%s", w.Trace)
	}
	if n[1].Plane.Delivered[p] != 0 || len(n[1].Plane.SAs()) != 0 {
		t.Errorf("delivered %d, %d SAs", n[1].Plane.Delivered[p], len(n[1].Plane.SAs()))
	}
	sound(t, w)
}

// D16: A's daemon dies with a tunnel of a private group, under traffic, and comes
// back: no packet is clear, and the tunnel is there within 5 seconds.
func TestD16Crash(t *testing.T) {
	w, n := strangers(t, 66, "192.0.2.1", "203.0.113.1")
	for _, x := range n {
		x.Opportunistic("", group("private", everyone))
	}
	w.Run(time.Second)
	ping(n[0], n[1])
	w.Run(20 * time.Second)
	step := func() (delivered bool) {
		sent := w.Stats.DataSent
		p := ping(n[0], n[1])
		w.Run(100 * time.Millisecond)
		delivered = n[1].Plane.Delivered[p] > 0
		if delivered && w.Stats.DataSent == sent {
			t.Fatal("a packet in the clear")
		}
		return delivered
	}
	if !step() {
		t.Fatal("no tunnel")
	}
	n[0].Crash()
	for range 30 {
		if step() {
			t.Fatal("a packet left while nobody was there")
		}
	}
	n[0].Restart()
	n[0].Opportunistic("", group("private", everyone))
	back := 0
	for ; back < 50 && !step(); back++ {
	}
	if back == 50 {
		t.Errorf("no packet has arrived for 5 seconds: %s\n%s", stateOf(n[0], n[0].Addr, n[1].Addr), w.Trace)
	}
}

// C18: the DNS falls silent while tunnels are up: they stay beyond the TTL, and a
// new flow to a known destination uses the key that was proven; none goes clear.
func TestC18DNSStops(t *testing.T) {
	w, n := strangers(t, 67, "192.0.2.1", "203.0.113.1", "203.0.113.2")
	for _, x := range n {
		x.Opportunistic("", group("private-or-clear", everyone))
	}
	w.Run(time.Second)
	ping(n[0], n[1])
	ping(n[0], n[2])
	w.Run(time.Second)
	w.DNS.Dead = true
	clear := func() {
		t.Helper()
		sent := w.Stats.DataSent
		p := ping(n[0], n[1])
		w.Run(time.Second)
		if n[1].Plane.Delivered[p] != 1 || w.Stats.DataSent == sent {
			t.Fatalf("delivered %d, protected %d", n[1].Plane.Delivered[p], w.Stats.DataSent-sent)
		}
	}
	for range 2 * int(answerLife/time.Second) / 10 {
		clear()
		w.Run(9 * time.Second)
	}
	// The second tunnel was idle and is gone; its destination is remembered.
	if got := stateOf(n[0], n[0].Addr, n[2].Addr); got != "none" {
		t.Fatal(got)
	}
	sent := w.Stats.DataSent
	p := ping(n[0], n[2])
	w.Run(10 * time.Second)
	if got := stateOf(n[0], n[0].Addr, n[2].Addr); got == "clear dns" || n[2].Plane.Delivered[p] == 1 && w.Stats.DataSent == sent {
		t.Errorf("in the clear: %s", got)
	}
	if !traceHas(w, "the DNS is silent (no answer from the DNS in time): its last good answer is used") {
		t.Errorf("no line in the log\n%s", w.Trace)
	}
	sound(t, w)
}

// D23: a captive portal forges the DNS. private-or-clear is clear between the
// administrator's word and its end, by word or by time, and private never.
func TestD23CaptivePortal(t *testing.T) {
	for _, name := range []string{"private-or-clear", "private"} {
		for _, end := range []string{"off", "time"} {
			t.Run(name+" "+end, func(t *testing.T) {
				w, n := strangers(t, 66, "192.0.2.1", "203.0.113.1")
				n[0].Opportunistic("", group(name, everyone))
				for _, rrtype := range []uint16{oe.TypeIPSECKEY, oe.TypeTXT} {
					w.DNS.Set(oe.Query{Name: oe.ReverseName(n[1].Addr), Type: rrtype}, oe.Answer{Security: oe.Bogus, Why: "forged"})
				}
				w.Run(time.Second)
				during := "clear dns"
				if name == "private" {
					during = "denied bogus"
				}
				step := func(what, want string) {
					t.Helper()
					ping(n[0], n[1])
					w.Run(5 * time.Second)
					if got := stateOf(n[0], n[0].Addr, n[1].Addr); got != want {
						t.Errorf("%s: %q, want %q\n%s", what, got, want, w.Trace)
					}
				}
				step("before", "denied bogus")
				n[0].command("ipsec oe captive on --for 30s", connection.Captive{For: 30 * time.Second})
				step("during", during)
				if end == "off" {
					n[0].command("ipsec oe captive off", connection.Captive{})
				} else {
					w.Run(26 * time.Second)
				}
				if at := n[0].Table.Captive(); !at.IsZero() {
					t.Errorf("it goes on until %v", at)
				}
				step("after", "denied bogus")

				// Once the page has been seen the DNS is as it should be.
				n[1].Opportunistic("", group(name, everyone))
				w.DNS.Withdraw(n[1].Addr)
				w.DNS.Publish(n[1].Addr, n[1].Addr, 10, n[1].Key())
				n[0].command("ipsec oe captive on --for 1m", connection.Captive{For: time.Minute})
				n[0].command("ipsec oe captive off", connection.Captive{})
				step("without the portal", "encrypted secure "+n[1].Addr.String())
				sound(t, w)
			})
		}
	}
}
