package connection

import (
	"net/netip"
	"testing"

	"cygnet/internal/ike"
)

// An attempt that is sent elsewhere goes on there with all who waited for it,
// five times in five minutes and no more.
func TestRedirected(t *testing.T) {
	w := newWorld(t)
	w.add(describe("a", "10.1.0.0/24", "10.2.0.0/24", func(d *Description) { d.KeyingTries = 1 }),
		describe("b", "10.1.0.0/24", "10.3.0.0/24"))
	w.step(Up{Name: "a"})
	w.step(Up{Name: "b"})
	a, b := w.conn("a"), w.conn("b")
	send := func() uint32 {
		serial := w.ikes[len(w.ikes)-1]
		w.report(serial, ike.Report{Conn: a.Conn, Serial: serial, Fact: ike.Redirected{To: netip.MustParseAddr("203.0.113.9")}})
		return w.ikes[len(w.ikes)-1]
	}
	for i := range maxRedirects {
		send()
		if len(w.starts) != i+2 || a.joined == nil || a.joined != b.joined {
			t.Fatalf("after %d: %d starts", i+1, len(w.starts))
		}
	}
	send()
	if len(w.starts) > maxRedirects+2 || a.last == nil || a.last.Why != "the peer sends us on too often" {
		t.Errorf("%d starts, %+v", len(w.starts), a.last)
	}
}

// From an IKE SA that is up, the children move when the new ones are there.
func TestRedirectedWhileUp(t *testing.T) {
	w := newWorld(t)
	w.add(describe("a", "10.1.0.0/24", "10.2.0.0/24"))
	old, _ := w.up("a")
	a := w.conn("a")
	w.report(old, ike.Report{Conn: a.Conn, Serial: old, Fact: ike.Redirected{To: netip.MustParseAddr("203.0.113.9")}})
	if len(w.starts) != 2 || a.using() == nil {
		t.Fatalf("%d starts", len(w.starts))
	}
	n := w.ikes[len(w.ikes)-1]
	w.ikeUp(n, a.Conn)
	w.childUp(n, a.Conn)
	if a.using().ike != n || w.commands[len(w.commands)-1] != (ToMachine{old, ike.Delete{Moved: true}}) {
		t.Errorf("on #%d, told %v", a.using().ike, w.commands)
	}
	w.state("a", Erouted)
}
