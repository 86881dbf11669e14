package ikev2

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"cygnet/internal/ike"
)

// explore runs one story in every order in which the network can deliver what
// it has to, and with every single loss if lossy. The story is told again from
// the beginning for each order: choices holds what was picked at each fork.
func explore(t *testing.T, lossy bool, begin func(p *pair), check func(p *pair)) {
	t.Helper()
	var choices, widths []int
	runs := 0
	for {
		runs++
		widths = widths[:0]
		p := newPair(t, 5)
		p.up()
		begin(p)
		lost := !lossy
		fork := func(n int) int {
			at := len(widths)
			widths = append(widths, n)
			if at == len(choices) {
				choices = append(choices, 0)
			}
			return choices[at]
		}
		for len(p.flying) > 0 && len(widths) < 40 {
			n := len(p.flying)
			options := n
			if !lost {
				options = 2 * n
			}
			pick := 0
			if options > 1 {
				pick = fork(options)
			}
			d := p.flying[pick%n]
			p.flying = slices.Delete(slices.Clone(p.flying), pick%n, pick%n+1)
			if pick >= n {
				lost = true
			} else {
				d.to.receive(d.Send)
			}
			p.traffic()
			if lost && lossy && len(p.flying) == 0 {
				p.pass(700 * time.Millisecond) // the retransmission
				p.traffic()
			}
		}
		for range 180 {
			p.pass(time.Second)
			p.traffic()
		}
		check(p)
		if t.Failed() {
			t.Fatalf("order %v (of widths %v)\n%s", choices, widths, p)
		}
		// The next order: count up the last fork that has another way.
		choices = choices[:min(len(choices), len(widths))]
		for len(choices) > 0 && choices[len(choices)-1] == widths[len(choices)-1]-1 {
			choices = choices[:len(choices)-1]
		}
		if len(choices) == 0 {
			break
		}
		choices[len(choices)-1]++
	}
	t.Logf("%d orders", runs)
}

// one checks that n pairs of Child SAs and one IKE SA are left, and that traffic
// flows if there is any pair.
func one(n int) func(p *pair) {
	return func(p *pair) {
		p.t.Helper()
		p.check(n)
		for _, x := range []*node{p.west, p.east} {
			if len(x.machines) != 1 {
				p.t.Errorf("%s has %d machines", x.name, len(x.machines))
			}
			if n > 0 && !x.use.Dst.IsValid() {
				p.t.Errorf("%s has no SA for its traffic", x.name)
			}
			if ups, downs := len(facts[ike.ChildUp](x)), len(facts[ike.ChildDown](x)); ups-downs != n {
				p.t.Errorf("%s: %d pairs up, %d down", x.name, ups, downs)
			}
			if ups, downs := len(facts[ike.IKEUp](x)), len(facts[ike.IKEDown](x)); ups-downs != 1 {
				p.t.Errorf("%s: %d IKE SAs up, %d down", x.name, ups, downs)
			}
		}
	}
}

// command is one thing that one side does.
type command struct {
	name string
	ev   func(s *SA) ike.Event
}

var (
	rekeyChild  = command{"rekey child", func(s *SA) ike.Event { return ike.Rekey{Child: s.children[0].serial} }}
	rekeyIKE    = command{"rekey IKE", func(*SA) ike.Event { return ike.Rekey{} }}
	newChild    = command{"new child", func(s *SA) ike.Event { return ike.AddChild{Conn: s.conn} }}
	deleteChild = command{"delete child", func(s *SA) ike.Event { return ike.Delete{Child: s.children[0].serial} }}
	deleteIKE   = command{"delete IKE", func(*SA) ike.Event { return ike.Delete{} }}
	probe       = command{"probe", func(*SA) ike.Event { return ike.Probe{} }}
)

// TestCollisions lets both sides act at once, each with its own wish, in every
// order of delivery, without loss and with one (RFC 7296 2.8.1, 2.8.2, 2.25).
func TestCollisions(t *testing.T) {
	gone := func(p *pair) {
		p.check(0)
		if n := len(p.west.machines) + len(p.east.machines); n != 0 {
			p.t.Errorf("%d machines are left", n)
		}
	}
	for _, c := range []struct {
		west, east command
		check      func(*pair)
	}{
		{rekeyChild, rekeyChild, one(1)},
		{rekeyIKE, rekeyIKE, one(1)},
		{rekeyChild, rekeyIKE, one(1)},
		{newChild, rekeyIKE, one(2)},
		{newChild, rekeyChild, one(2)},
		{newChild, newChild, one(3)},
		{deleteChild, rekeyChild, nil},
		{deleteChild, rekeyIKE, one(0)},
		{deleteChild, deleteChild, one(0)},
		{deleteIKE, rekeyChild, gone},
		{deleteIKE, rekeyIKE, gone},
		{deleteIKE, newChild, gone},
		{deleteIKE, deleteChild, gone},
		{deleteIKE, deleteIKE, gone},
		{probe, rekeyIKE, one(1)},
		{probe, rekeyChild, one(1)},
		{probe, probe, one(1)},
	} {
		for _, swap := range []bool{false, true} {
			for _, lossy := range []bool{false, true} {
				w, e := c.west, c.east
				if swap {
					w, e = e, w
				}
				name := fmt.Sprintf("%s against %s", w.name, e.name)
				if lossy {
					name += ", one loss"
				}
				t.Run(name, func(t *testing.T) {
					explore(t, lossy, func(p *pair) {
						ws, es := p.west.machines[0].(*SA), p.east.machines[0].(*SA)
						wev, eev := w.ev(ws), e.ev(es)
						p.west.step(ws, wev)
						p.east.step(es, eev)
					}, func(p *pair) {
						if c.check != nil {
							c.check(p)
							return
						}
						// A pair that one side rekeys and the other deletes is
						// gone or has come through, alike at both ends.
						p.check(len(p.west.plane) / 2)
					})
				})
				if swap && w.name == e.name {
					break
				}
			}
		}
	}
}
