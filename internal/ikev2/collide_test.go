package ikev2

import (
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

// trouble is what the world adds to the order of delivery.
type trouble uint8

const (
	noTrouble trouble = iota
	oneLoss           // one datagram is lost
	oneDouble         // one datagram comes twice
	slowJobs          // key exchanges take their time
)

func (x trouble) String() string {
	return [...]string{"", ", one loss", ", one duplicate", ", slow jobs"}[x]
}

// explore runs one story in every order in which the network can deliver what
// it has to, with every single instance of the trouble. The story is told again
// from the beginning for each order: choices holds what was picked at each fork.
func explore(t *testing.T, seed byte, with trouble, begin func(p *pair), check func(p *pair)) {
	t.Helper()
	var choices, widths []int
	runs := 0
	for {
		runs++
		widths = widths[:0]
		p := newPair(t, seed)
		p.toyKeys()
		p.up()
		p.west.holdJobs, p.east.holdJobs = with == slowJobs, with == slowJobs
		begin(p)
		spent := with != oneLoss && with != oneDouble
		fork := func(n int) int {
			at := len(widths)
			widths = append(widths, n)
			if at == len(choices) {
				choices = append(choices, 0)
			}
			return choices[at]
		}
		for p.busy() && len(widths) < 60 {
			n := len(p.flying)
			options := n
			if !spent {
				options = 2 * n
			}
			var workers []*node
			for _, x := range []*node{p.west, p.east} {
				if len(x.jobs) > 0 {
					workers = append(workers, x)
				}
			}
			pick := 0
			if options+len(workers) > 1 {
				pick = fork(options + len(workers))
			}
			if pick >= options {
				workers[pick-options].workOnce()
				p.traffic()
				continue
			}
			d := p.flying[pick%n]
			switch {
			case pick < n:
				p.flying = slices.Delete(slices.Clone(p.flying), pick, pick+1)
				d.to.receive(d.Send)
			case with == oneLoss:
				p.flying = slices.Delete(slices.Clone(p.flying), pick%n, pick%n+1)
				spent = true
			default: // it stays, to come again
				d.to.receive(d.Send)
				spent = true
			}
			p.traffic()
			if spent && with == oneLoss && len(p.flying) == 0 {
				p.pass(700 * time.Millisecond) // the retransmission
				p.traffic()
			}
		}
		p.west.holdJobs, p.east.holdJobs = false, false
		p.west.work()
		p.east.work()
		for i := range 30 {
			p.pass(time.Second << (i / 6)) // three minutes in all
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

// toyKeys replaces key exchanges by one that costs nothing, and is worth that.
func (p *pair) toyKeys() {
	for _, n := range []*node{p.west, p.east} {
		c := n.conns[0]
		for _, list := range [][]suite.Proposal{c.IKE, c.ESP} {
			for i := range list {
				list[i].KE = []*suite.KE{&toyKE}
			}
		}
	}
}

var toyKE = suite.KE{ID: 31, Name: "toy", Public: 32, Answer: 32,
	New: func(r io.Reader) (suite.Private, error) { return toyPrivate(ike.Octets(r, 32)), nil },
	Respond: func(r io.Reader, peer []byte) (public, shared []byte, err error) {
		own := toyPrivate(ike.Octets(r, 32))
		shared, err = own.Shared(peer)
		return own.Public(), shared, err
	},
}

type toyPrivate []byte

func (k toyPrivate) Public() []byte { return k }

func (k toyPrivate) Shared(peer []byte) ([]byte, error) {
	both := make([]byte, len(k))
	for i := range both {
		both[i] = k[i] ^ peer[i]
	}
	return both, nil
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
	deleteIKE   = command{"delete IKE", func(*SA) ike.Event { return ike.Delete{Moved: true} }}
	probe       = command{"probe", func(*SA) ike.Event { return ike.Probe{} }}
)

// TestCollisions lets both sides act at once, each with its own wish, in every
// order of delivery, without loss and with one (RFC 7296 2.8.1, 2.8.2, 2.25).
// XCH-03, XCH-06, XCH-07, XCH-08, XCH-09, XCH-19, XCH-22, XCH-23,
// XCH-25, XCH-26, XCH-27, XCH-32, XCH-34, XCH-35, XCH-36, XCH-37,
// XCH-38, XCH-43, XCH-48, XCH-50, XCH-51, XCH-52, XCH-54, XCH-56,
// XCH-58.
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
		{deleteChild, rekeyChild, one(0)}, // TEMPORARY_FAILURE, and the Delete stands
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
			for with := noTrouble; with <= slowJobs; with++ {
				w, e := c.west, c.east
				if swap {
					w, e = e, w
				}
				if with == slowJobs && swap && testing.Short() {
					continue
				}
				seed := byte(5)
				if swap && w.name == e.name {
					seed = 8 // whose nonces fall the other way
				}
				name := fmt.Sprintf("%s against %s%s, seed %d", w.name, e.name, with, seed)
				t.Run(name, func(t *testing.T) {
					explore(t, seed, with, func(p *pair) {
						ws, es := p.west.machines[0].(*SA), p.east.machines[0].(*SA)
						wev, eev := w.ev(ws), e.ev(es)
						p.west.step(ws, wev)
						p.east.step(es, eev)
					}, func(p *pair) {
						c.check(p)
					})
				})
			}
		}
	}
}

// TestCollisionSeeds makes sure that the two seeds of TestCollisions are won by
// different sides, so that both outcomes of the nonces are explored.
func TestCollisionSeeds(t *testing.T) {
	winner := func(seed byte, c command) string {
		p := newPair(t, seed)
		p.toyKeys()
		w, e := p.up()
		wev, eev := c.ev(w), c.ev(e)
		p.west.step(w, wev)
		p.east.step(e, eev)
		p.pass(3 * time.Minute)
		s := p.west.machines[0].(*SA)
		if c.name == rekeyIKE.name && s.first || c.name == rekeyChild.name && s.children[0].initiator {
			return "west"
		}
		return "east"
	}
	for _, c := range []command{rekeyChild, rekeyIKE} {
		if a, b := winner(5, c), winner(8, c); a == b {
			t.Errorf("%s: %s wins with both seeds", c.name, a)
		}
	}
}

// A pair that is deleted sends nothing more but receives until the peer has
// heard of it: what was under way, or sent because our Delete was lost, is not
// thrown away.
func TestDeletedReceivesUntilAnswered(t *testing.T) {
	p := newPair(t, 5)
	w, _ := p.up()
	c := w.children[0]
	has := func(id ipsec.SAID) bool { _, ok := p.west.plane[id]; return ok }
	p.west.step(w, ike.Delete{Child: c.serial})
	p.flying = nil // the Delete is lost
	if has(c.out) || !has(c.in) {
		t.Errorf("before the answer: outbound %v, inbound %v", has(c.out), has(c.in))
	}
	if len(facts[ike.ChildDown](p.west)) != 1 {
		t.Error("the end was not reported at once")
	}
	p.pass(10 * time.Second)
	p.check(0)
}

// The peer deletes a pair that it has just made for us, and the answer that
// would tell us of it comes after the Delete.
func TestDeletedBeforeItsAnswer(t *testing.T) {
	p := newPair(t, 5)
	w, e := p.up()
	p.west.step(w, ike.AddChild{Conn: w.conn})
	request := p.flying[0]
	p.flying = nil
	p.east.receive(request.Send)
	p.flying = nil // the answer is lost
	p.east.step(e, ike.Delete{Child: e.children[1].serial})
	p.settle() // the Delete is not
	if len(w.children) != 1 {
		t.Fatalf("west has %d children", len(w.children))
	}
	p.pass(10 * time.Second)
	p.check(1)
	if f := facts[ike.Failed](p.west); len(f) != 1 || !f[0].Child || !f[0].Why.ByPeer {
		t.Errorf("west reports %+v", f)
	}
}

// The peer rekeys a pair that it has just made for us, and the answer that would
// tell us of it is still on its way: the rekeying waits, and nobody takes the pair
// for gone.
func TestRekeyedBeforeItsAnswer(t *testing.T) {
	p := newPair(t, 5)
	w, e := p.up()
	p.west.step(w, ike.AddChild{Conn: w.conn})
	request := p.flying[0]
	p.flying = nil
	p.east.receive(request.Send)
	p.flying = nil // the answer is lost
	p.east.step(e, ike.Rekey{Child: e.children[1].serial})
	p.settle() // the rekeying is not
	if len(facts[ike.ChildDown](p.east)) != 0 {
		t.Error("east takes its pair for gone")
	}
	p.pass(2 * time.Minute)
	p.check(2)
}
