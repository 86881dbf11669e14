package connection

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"cygnet/internal/config"
	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
)

// TestRules drives a table with whatever may happen, in any order, and holds
// the rules of the package's documentation after every step (world.check). The
// machines are simulated loosely: they report what a machine may report.
func TestRules(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(rt)
		s := &storm{rt: rt, world: w}
		names := []string{"a", "b", "c", "d", "e"}
		for _, n := range names {
			w.add(s.draw(n))
		}
		w.add(road())
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			s.event(names)
		}
		// Once nothing more happens, nobody waits for ever.
		s.silence()
		w.pass(24 * time.Hour)
		if n := len(w.table.waiters); n > 0 {
			rt.Fatalf("%d users still wait", n)
		}
	})
}

type storm struct {
	rt    *rapid.T
	world *world
	alive []machine
}

// machine is an IKE SA of the storm.
type machine struct {
	serial uint32
	conn   *ike.Conn
}

var drawnNets = []string{"10.2.0.0/24", "10.2.0.0/16", "0.0.0.0/0", "10.3.0.0/24", ""}

func (s *storm) draw(name string) *Description {
	pick := func(n int, what string) int { return rapid.IntRange(0, n-1).Draw(s.rt, what) }
	return describe(name, "10.1.0.0/24", drawnNets[pick(len(drawnNets), "net")], func(d *Description) {
		d.Auto = []config.Startup{config.AutoAdd, config.AutoRoute, config.AutoStart}[pick(3, "auto")]
		d.Failure = []ipsec.Action{ipsec.Trap, ipsec.Drop, ipsec.Reject, ipsec.Pass}[pick(4, "failure")]
		d.KeyingTries = pick(3, "tries") + 1 // with no limit somebody may wait for ever
		d.DPDAction = ike.DPDAction(pick(3, "dpd"))
		if pick(6, "shunt") == 0 {
			a := []ipsec.Action{ipsec.Pass, ipsec.Drop, ipsec.Reject}[pick(3, "which")]
			d.Shunt, d.Hold, d.Failure = a, a, a
		}
		if pick(4, "device") == 0 {
			d.Virtual = "ipsec1"
		}
		if pick(5, "script") == 0 {
			d.Updown = []string{"script"}
		}
		if pick(8, "oriented") == 0 {
			d.Oriented, d.Virtual = false, ""
		}
	})
}

// event lets one thing happen.
func (s *storm) event(names []string) {
	w := s.world
	name := rapid.SampledFrom(names).Draw(s.rt, "name")
	w.serialWaiter++
	id := w.serialWaiter
	switch rapid.IntRange(0, 17).Draw(s.rt, "event") {
	case 0, 1:
		w.step(Up{Waiter: id, Name: name})
	case 2:
		w.step(Down{Waiter: id, Name: name})
	case 3, 4:
		w.step(Route{Waiter: id, Name: name})
	case 5:
		w.step(Unroute{Waiter: id, Name: name})
	case 6:
		w.step(Delete{Waiter: id, Name: name})
	case 7:
		w.step(Replace{Waiter: id, Name: name, List: []*Description{s.draw(name)}, Keep: rapid.Bool().Draw(s.rt, "keep")})
	case 8:
		w.step(Reorient{List: []*Description{s.draw(name)}})
	case 9:
		w.step(Acquire{Owner: name})
	case 10:
		w.pass(time.Duration(rapid.IntRange(0, 400).Draw(s.rt, "seconds")) * time.Second)
	case 11:
		w.step(UpdownDone{Name: name, Verb: rapid.SampledFrom([]string{"up", "route", "down"}).Draw(s.rt, "verb"), Err: "status 1"})
	default:
		s.peer()
	}
	s.obey()
}

// peer lets a machine report something, or a peer call.
func (s *storm) peer() {
	w := s.world
	for i, c := range w.starts { // machines that the table has asked for
		if serial := w.ikes[i]; !slices.ContainsFunc(s.alive, func(m machine) bool { return m.serial == serial }) && !w.ended[serial] {
			s.alive = append(s.alive, machine{serial, c})
		}
	}
	if len(s.alive) == 0 || rapid.IntRange(0, 4).Draw(s.rt, "who") == 0 {
		s.call()
		return
	}
	m := rapid.SampledFrom(s.alive).Draw(s.rt, "machine")
	up := w.table.ikeBySerial(m.serial) != nil && w.table.ikeBySerial(m.serial).up != nil
	why := rapid.SampledFrom([]*ike.Failure{nil, noAnswer, badKey}).Draw(s.rt, "why")
	switch rapid.IntRange(0, 5).Draw(s.rt, "fact") {
	case 0, 1:
		if !up {
			w.ikeUp(m.serial, m.conn)
		}
		conn := m.conn
		if sa := w.table.ikeBySerial(m.serial); sa != nil && len(sa.waiting) > 0 {
			conn = rapid.SampledFrom(sa.waiting).Draw(s.rt, "waiting").Conn
		}
		w.childUp(m.serial, conn)
	case 2:
		if up {
			w.childUp(m.serial, m.conn, byPeer)
		}
	case 3:
		s.end(m, why)
	case 4:
		for _, c := range w.table.conns {
			for _, ch := range c.children {
				if ch.ike == m.serial {
					w.childDown(m.serial, ch.serial, c.Conn, ike.ChildDown{Why: why, ByPeer: rapid.Bool().Draw(s.rt, "by peer")})
					return
				}
			}
		}
	case 5:
		if up {
			w.report(m.serial, ike.Report{Conn: m.conn, Serial: m.serial, Fact: ike.Failed{Why: badKey, Child: true}})
		}
	}
}

// call lets a peer set up an IKE SA with one Child SA, a road warrior perhaps.
func (s *storm) call() {
	w := s.world
	from := east
	if rapid.Bool().Draw(s.rt, "road") {
		from = netip.AddrFrom4([4]byte{203, 0, 113, byte(rapid.IntRange(1, 3).Draw(s.rt, "station"))})
	}
	id := ike.ID{Kind: ike.IDFQDN, Data: rapid.SampledFrom([]string{"east", "road"}).Draw(s.rt, "id")}
	found := w.table.Identified(west, from, id, ike.ID{})
	if len(found) == 0 {
		return
	}
	c := w.table.Instantiate(found[0], netip.AddrPortFrom(from, 500), id)
	siblings := w.table.Siblings(c)
	w.serial++
	m := machine{w.serial, c}
	s.alive = append(s.alive, m)
	w.ikeUp(m.serial, c, func(u *ike.IKEUp) {
		u.RemoteID = id
		u.InitialContact = rapid.Bool().Draw(s.rt, "initial contact")
	})
	w.childUp(m.serial, rapid.SampledFrom(siblings).Draw(s.rt, "sibling"), byPeer)
}

// end plays the end of a machine.
func (s *storm) end(m machine, why *ike.Failure) {
	w := s.world
	s.alive = slices.DeleteFunc(s.alive, func(x machine) bool { return x.serial == m.serial })
	w.ended[m.serial] = true
	sa := w.table.ikeBySerial(m.serial)
	if sa != nil && sa.up == nil {
		if why == nil {
			why = noAnswer
		}
		w.report(m.serial, ike.Report{Conn: m.conn, Serial: m.serial, Fact: ike.Failed{Why: why}})
		return
	}
	w.gone(m.serial, m.conn, ike.IKEDown{Why: why})
}

// obey carries out what the table has told machines to delete.
func (s *storm) obey() {
	w := s.world
	for len(w.commands) > 0 {
		cmd := w.commands[0]
		w.commands = w.commands[1:]
		d, ok := cmd.Event.(ike.Delete)
		if !ok {
			continue
		}
		if d.Child == 0 {
			i := slices.IndexFunc(s.alive, func(m machine) bool { return m.serial == cmd.Serial })
			if i >= 0 {
				s.end(s.alive[i], nil)
			} else {
				w.ended[cmd.Serial] = true
			}
			continue
		}
		if c, ch := w.table.childBySerial(d.Child); ch != nil {
			w.childDown(cmd.Serial, d.Child, c.Conn, ike.ChildDown{})
		}
	}
}

// silence ends all machines; from now on none comes up.
func (s *storm) silence() {
	w := s.world
	w.dead = true
	for range 100 {
		s.obey()
		if len(w.table.ikes) == 0 {
			return
		}
		sa := w.table.ikes[0]
		s.end(machine{sa.serial, sa.conn.Conn}, noAnswer)
	}
	s.rt.Fatal(fmt.Sprintf("%d IKE SAs do not end", len(w.table.ikes)))
}
