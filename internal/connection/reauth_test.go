package connection

import (
	"slices"
	"testing"

	"cygnet/internal/ike"
)

// Reauthentication makes the new IKE SA with all that rides on the old one, and
// deletes that only when the last of them has moved.
func TestReauthenticate(t *testing.T) {
	w := newWorld(t)
	w.add(describe("a", "10.1.0.0/24", "10.2.0.0/24"), describe("b", "10.1.0.0/24", "10.3.0.0/24"))
	old, _ := w.up("a")
	same, _ := w.up("b")
	if same != old {
		t.Fatalf("two IKE SAs, #%d and #%d", old, same)
	}
	a, b := w.conn("a"), w.conn("b")
	w.report(old, ike.Report{Conn: a.Conn, Serial: old, Fact: ike.ReauthDue{}})
	w.report(old, ike.Report{Conn: a.Conn, Serial: old, Fact: ike.ReauthDue{}}) // impatient, while it is under way
	if len(w.starts) != 2 {
		t.Fatalf("%d IKE SAs were started", len(w.starts))
	}
	n := w.ikes[len(w.ikes)-1]
	told := len(w.commands)
	w.ikeUp(n, a.Conn)
	w.childUp(n, a.Conn)
	w.state("a", Erouted)
	w.state("b", Erouted)
	if got := a.using().ike; got != n {
		t.Errorf("a uses IKE SA #%d", got)
	}
	deletes := func() (list []uint32) {
		for _, c := range w.commands[told:] {
			if d, ok := c.Event.(ike.Delete); ok && d.Child == 0 {
				list = append(list, c.Serial)
			}
		}
		return list
	}
	if d := deletes(); len(d) > 0 {
		t.Fatalf("deleted too early: %v", d)
	}
	w.childUp(n, b.Conn)
	if d := deletes(); !slices.Equal(d, []uint32{old}) {
		t.Fatalf("deleted: %v", d)
	}
	w.gone(old, a.Conn, ike.IKEDown{})
	w.state("a", Erouted)
	w.state("b", Erouted)
	if len(a.children) != 1 || len(b.children) != 1 || len(w.starts) != 2 {
		t.Errorf("%d and %d Child SAs, %d starts", len(a.children), len(b.children), len(w.starts))
	}
}

// An attempt that comes to nothing leaves the old SAs alone, and the next one
// begins from the beginning.
func TestReauthenticationFails(t *testing.T) {
	w := newWorld(t)
	w.add(describe("a", "10.1.0.0/24", "10.2.0.0/24"))
	old, _ := w.up("a")
	a := w.conn("a")
	for i := range 3 {
		w.report(old, ike.Report{Conn: a.Conn, Serial: old, Fact: ike.ReauthDue{}})
		if len(w.starts) != i+2 {
			t.Fatalf("%d starts", len(w.starts))
		}
		n := w.ikes[len(w.ikes)-1]
		w.report(n, ike.Report{Conn: a.Conn, Serial: n, Fact: ike.Failed{Why: noAnswer}})
		w.state("a", Erouted)
		if a.using() == nil || a.using().ike != old || a.joined != nil {
			t.Fatal("the old SAs are gone")
		}
	}
}

// An IKE SA whose Child SA is refused goes again: as long as it stood there would
// be no second attempt.
func TestReauthenticationRefused(t *testing.T) {
	w := newWorld(t)
	w.add(describe("a", "10.1.0.0/24", "10.2.0.0/24"))
	old, _ := w.up("a")
	a := w.conn("a")
	w.report(old, ike.Report{Conn: a.Conn, Serial: old, Fact: ike.ReauthDue{}})
	n := w.ikes[len(w.ikes)-1]
	w.ikeUp(n, a.Conn)
	w.report(n, ike.Report{Conn: a.Conn, Serial: n, Fact: ike.Failed{Child: true, Why: noAnswer}})
	if last := w.commands[len(w.commands)-1]; last != (ToMachine{n, ike.Delete{}}) {
		t.Errorf("told: %+v", last)
	}
	w.gone(n, a.Conn, ike.IKEDown{})
	w.report(old, ike.Report{Conn: a.Conn, Serial: old, Fact: ike.ReauthDue{}})
	if len(w.starts) != 3 {
		t.Errorf("%d starts", len(w.starts))
	}
}

// A rekeying on the old IKE SA that comes to its end after the new one has a pair
// for the connection brings nothing that is used, and keeps nothing alive.
func TestReauthenticationOvertakesRekeying(t *testing.T) {
	w := newWorld(t)
	w.add(describe("a", "10.1.0.0/24", "10.2.0.0/24"), describe("b", "10.1.0.0/24", "10.3.0.0/24"))
	old, first := w.up("a")
	w.up("b")
	a, b := w.conn("a"), w.conn("b")
	w.report(old, ike.Report{Conn: a.Conn, Serial: old, Fact: ike.ReauthDue{}})
	n := w.ikes[len(w.ikes)-1]
	w.ikeUp(n, a.Conn)
	w.childUp(n, a.Conn)
	w.childUp(old, a.Conn, func(u *ike.ChildUp) { u.Rekeyed = first })
	if got := a.using().ike; got != n {
		t.Errorf("a uses IKE SA #%d", got)
	}
	told := len(w.commands)
	w.childUp(n, b.Conn)
	w.pass(surplusDelay)
	if got := w.commands[told:]; len(got) != 1 || got[0].Serial != old || got[0].Event != ike.Event(ike.Delete{Moved: true}) {
		t.Errorf("told: %v", got)
	}
}

// If the old IKE SA is rekeyed meanwhile, its successor is the one that goes.
func TestReauthenticateRekeyed(t *testing.T) {
	w := newWorld(t)
	w.add(describe("a", "10.1.0.0/24", "10.2.0.0/24"))
	old, _ := w.up("a")
	a := w.conn("a")
	w.report(old, ike.Report{Conn: a.Conn, Serial: old, Fact: ike.ReauthDue{}})
	n := w.ikes[len(w.ikes)-1]
	w.serial++
	next := w.serial
	w.ikeUp(next, a.Conn, func(u *ike.IKEUp) { u.Rekeyed = old })
	w.report(old, ike.Report{Conn: a.Conn, Serial: old, Fact: ike.IKEDown{Rekeyed: true}})
	told := len(w.commands)
	w.ikeUp(n, a.Conn)
	w.childUp(n, a.Conn)
	if !slices.ContainsFunc(w.commands[told:], func(c ToMachine) bool { return c.Serial == next && c.Event == ike.Event(ike.Delete{Moved: true}) }) {
		t.Errorf("told: %v", w.commands[told:])
	}
}

// A peer that reauthenticates, make before break, gets nothing on the new pair
// before it has it: our packets move with the end of the old one, or after
// peerInstalls. One that has started anew gets everything there at once.
func TestPeerReauthenticates(t *testing.T) {
	for _, contact := range []bool{false, true} {
		for _, deletes := range []bool{false, true} {
			w := newWorld(t)
			w.add(road())
			c := w.caller(1)
			old := w.eroute("road[1]")
			w.ikeUp(2, c, func(u *ike.IKEUp) { u.InitialContact = contact })
			w.childUp(2, c, byPeer)
			if at := w.eroute("road[1]"); (at == old) == contact {
				t.Errorf("contact %v: %s while our answer is on its way, before %s", contact, at, old)
			}
			if deletes {
				w.gone(1, c, ike.IKEDown{ByPeer: true})
			} else {
				w.pass(peerInstalls)
			}
			if at := w.eroute("road[1]"); at == old || at == "%trap" {
				t.Errorf("contact %v, deletes %v: %s at last", contact, deletes, at)
			}
		}
	}
}
