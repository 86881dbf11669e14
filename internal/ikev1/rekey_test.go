package ikev1

import (
	"testing"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
)

// A day of life: ISAKMP SAs are replaced, IPsec SAs are replaced, and there is
// a pair that both have at every moment.
func TestADay(t *testing.T) {
	for seed := byte(20); seed < 24; seed++ {
		p := newPair(t, seed)
		if seed == 21 {
			p.useNAT()
		}
		if seed == 22 {
			p.useRSA()
		}
		p.up()
		for p.now.Sub(epoch) < 24*time.Hour {
			p.pass(time.Minute)
			p.usable()
		}
		for _, n := range []*node{p.west, p.east} {
			if f := facts[ike.Failed](n); len(f) > 0 {
				t.Fatalf("%s failed: %v\n%s", n.name, f[0].Why, p)
			}
			if len(n.machines) > 2 {
				t.Errorf("%s has %d machines", n.name, len(n.machines))
			}
			up, down := facts[ike.IKEUp](n), facts[ike.IKEDown](n)
			if len(up) < 24 || len(up)-len(down) != len(n.machines) {
				t.Errorf("%s: %d ISAKMP SAs up, %d down, %d machines", n.name, len(up), len(down), len(n.machines))
			}
			for _, u := range up[1:] {
				if u.Rekeyed == 0 {
					t.Errorf("%s: an ISAKMP SA that replaces nothing\n%s", n.name, p)
				}
			}
			cu, cd := facts[ike.ChildUp](n), facts[ike.ChildDown](n)
			if len(cu) < 4 || len(cu)-len(cd) != len(n.plane)/2 {
				t.Errorf("%s: %d pairs up, %d down, %d in the data plane", n.name, len(cu), len(cd), len(n.plane)/2)
			}
			for _, u := range cu[1:] {
				if u.Rekeyed == 0 {
					t.Errorf("%s: a pair that replaces nothing", n.name)
				}
			}
		}
	}
}

// usable checks that what each end would send on, its newest pair, is one that
// the other receives on.
func (p *pair) usable() {
	p.t.Helper()
	for _, n := range []*node{p.west, p.east} {
		var newest ike.ChildUp
		for _, r := range n.reports {
			if up, ok := r.Fact.(ike.ChildUp); ok {
				newest = up
			}
		}
		id := newest.Out
		if sa, ok := n.plane[id]; !ok || sa.Dir != ipsec.Out {
			p.t.Fatalf("%s sends on %s, which it does not have\n%s", n.name, id, p)
		}
		if p.nat && n == p.east {
			id.Dst = westAddr.Addr()
		}
		if sa, ok := p.other(n).plane[id]; !ok || sa.Dir != ipsec.In {
			p.t.Fatalf("%s sends on %s, which the other does not have\n%s", n.name, id, p)
		}
	}
}

// An ISAKMP SA without children is not replaced; it ends.
func TestUnneededIsNotReplaced(t *testing.T) {
	p := newPair(t, 25)
	w, _ := p.up()
	p.west.step(w, ike.Delete{Child: w.children[0].serial})
	p.pass(3 * time.Hour)
	if len(p.west.machines)+len(p.east.machines) != 0 || len(facts[ike.IKEUp](p.west)) != 1 {
		t.Error(p)
	}
}

// V1-26: IPsec SAs outlive their ISAKMP SA, also where that ended on purpose;
// the next Quick Mode makes a new one first.
func TestAdv_V1_26(t *testing.T) {
	p := newPair(t, 26)
	p.both(func(c *ike.Conn) { c.IKELife, c.ChildLife, c.RekeyMargin = time.Hour, 4*time.Hour, time.Minute })
	w, e := p.up()
	// East throws its ISAKMP SA away, as FreeS/WAN does at the end of its life.
	st := &step{SA: e, now: p.now, out: new([]ike.Action)}
	st.tellDeletes(nil, true)
	p.east.perform(e, *st.out)
	p.settle()
	if w.state != stateBare || len(w.children) != 1 {
		t.Fatalf("west is in %d with %d children\n%s", w.state, len(w.children), p)
	}
	p.check(1)
	if len(facts[ike.IKEDown](p.west)) != 0 {
		t.Error("IKEDown while a child lives")
	}
	p.west.step(w, ike.Rekey{Child: w.children[0].serial})
	p.settle()
	p.pass(time.Second)
	if up := facts[ike.IKEUp](p.west); len(up) != 2 || up[1].Rekeyed != w.serial {
		t.Fatalf("%+v\n%s", up, p)
	}
	if c := facts[ike.ChildUp](p.west); len(c) != 2 || c[1].Rekeyed == 0 {
		t.Errorf("%+v", c)
	}
	p.usable()
	p.pass(time.Second)
	if d := facts[ike.IKEDown](p.west); len(d) != 1 || !d[0].Rekeyed {
		t.Errorf("%+v", d)
	}
}

// Without rekey=yes everything ends when its time is over.
func TestDontRekey(t *testing.T) {
	p := newPair(t, 27)
	p.both(func(c *ike.Conn) { c.Rekey = false })
	p.up()
	p.pass(2 * time.Hour)
	p.check(1) // the IPsec SAs last longer than the ISAKMP SA
	if len(facts[ike.IKEUp](p.west)) != 1 {
		t.Error(p)
	}
	p.pass(7 * time.Hour)
	p.check(0)
	if len(p.west.machines)+len(p.east.machines) != 0 {
		t.Error(p)
	}
	if !p.west.said("IPsec SA expired (--dontrekey)") {
		t.Error(p)
	}
}

// The shorter of two lifetimes counts at both ends.
func TestLifetimesAreNegotiated(t *testing.T) {
	p := newPair(t, 28)
	p.west.conns[0].ChildLife, p.west.conns[0].IKELife = time.Hour, 30*time.Minute
	w, e := p.up()
	for _, s := range []*SA{w, e} {
		if got := s.endAt.Sub(epoch); got != 30*time.Minute {
			t.Errorf("ISAKMP SA ends after %s", got)
		}
		if got := s.children[0].endAt.Sub(epoch); got != time.Hour {
			t.Errorf("IPsec SA ends after %s", got)
		}
	}
	if w.children[0].replaceAt.Sub(epoch) > 51*time.Minute || w.children[0].replaceAt.Sub(epoch) < 42*time.Minute {
		t.Errorf("initiator replaces after %s", w.children[0].replaceAt.Sub(epoch))
	}
	if got := e.children[0].replaceAt.Sub(epoch); got != time.Hour-270*time.Second {
		t.Errorf("responder replaces after %s", got)
	}
}

// A soft limit of the data plane leads to a replacement, a hard one to the end.
func TestVolume(t *testing.T) {
	p := newPair(t, 29)
	w, _ := p.up()
	c := w.children[0]
	p.west.step(w, ike.Plane{Event: ipsec.Expire{ID: c.out[0]}})
	p.west.step(w, ike.Plane{Event: ipsec.Expire{ID: c.in[0]}}) // twice is once
	p.settle()
	p.check(2)
	p.usable()
	p.west.step(w, ike.Plane{Event: ipsec.Expire{ID: c.out[0], Hard: true}})
	p.settle()
	p.pass(grace)
	p.check(1)
	p.usable()
	for _, d := range facts[ike.ChildDown](p.west) {
		if !d.Replaced {
			t.Errorf("%+v", d)
		}
	}
}

// A pair that was replaced because of its volume goes soon after, at both ends.
func TestSpentPairGoes(t *testing.T) {
	p := newPair(t, 29)
	w, _ := p.up()
	p.west.step(w, ike.Plane{Event: ipsec.Expire{ID: w.children[0].out[0]}})
	p.settle()
	p.pass(spentLife - time.Second)
	p.check(2)
	p.pass(2*time.Second + grace)
	p.check(1)
	p.usable()
}

// The old pair receives until its end: nothing in flight is lost (R4.7).
func TestReplacedPairStays(t *testing.T) {
	p := newPair(t, 30)
	w, e := p.up()
	old := w.children[0]
	p.east.step(e, ike.Rekey{Child: e.children[0].serial})
	p.settle()
	p.check(2)
	if !old.replaced || len(w.children) != 2 {
		t.Fatal(p)
	}
	p.pass(old.endAt.Sub(p.now) - time.Minute)
	if _, ok := p.west.plane[old.in[0]]; !ok {
		t.Error("gone before its time")
	}
	p.pass(2 * time.Minute)
	if _, ok := p.west.plane[old.in[0]]; ok {
		t.Error("still there after its time")
	}
}

// Both ends replace everything at the same moment, again and again.
func TestCollisions(t *testing.T) {
	for seed := byte(31); seed < 35; seed++ {
		p := newPair(t, seed)
		p.both(func(c *ike.Conn) { c.DPDDelay = 30 * time.Second })
		p.up()
		for range 12 {
			for _, n := range []*node{p.west, p.east} {
				m := n.newest()
				n.step(m, ike.Rekey{})
				n.step(m, ike.Rekey{Child: m.children[len(m.children)-1].serial})
			}
			p.pass(5 * time.Minute)
			p.usable()
			p.mirrored()
		}
		p.pass(10 * time.Hour)
		p.usable()
		for _, n := range []*node{p.west, p.east} {
			if len(n.machines) > 4 || len(n.plane) > 12 {
				t.Errorf("%s has %d machines and %d SAs\n%s", n.name, len(n.machines), len(n.plane), p)
			}
			if len(facts[ike.Failed](n)) > 0 {
				t.Error(p)
			}
		}
	}
}

// newest is the machine that stands for the peer now.
func (n *node) newest() *SA {
	return n.machines[len(n.machines)-1].(*SA).home()
}

// Both ends begin at once: two ISAKMP SAs, and all goes on.
func TestBothInitiate(t *testing.T) {
	p := newPair(t, 36)
	p.west.initiate()
	p.east.initiate()
	p.pass(time.Second)
	p.mirrored()
	p.usable()
	for _, n := range []*node{p.west, p.east} {
		if len(facts[ike.IKEUp](n)) != 2 || len(facts[ike.Failed](n)) != 0 {
			t.Error(p)
		}
	}
	p.west.step(p.west.newest(), ike.Delete{})
	p.east.step(p.east.newest(), ike.Delete{})
	p.pass(time.Minute)
	p.check(0)
	if len(p.west.machines)+len(p.east.machines) != 0 {
		t.Error(p)
	}
}

// A command given to a machine that another has taken over from goes there.
func TestCommandsFindTheHeir(t *testing.T) {
	p := newPair(t, 37)
	p.west.conns = append(p.west.conns, connection("two", p.west, p.east, "192.168.101.0/24", "192.168.200.0/24"))
	p.east.conns = append(p.east.conns, connection("two", p.east, p.west, "192.168.200.0/24", "192.168.101.0/24"))
	w, _ := p.up()
	p.west.step(w, ike.Rekey{})
	p.pass(time.Second)
	if w.state != stateReplaced {
		t.Fatal(p)
	}
	p.west.step(w, ike.AddChild{Conn: p.west.conns[1]})
	p.pass(time.Second)
	p.check(2)
	if up := facts[ike.ChildUp](p.west); up[1].IKE != w.home().serial {
		t.Errorf("%+v", up[1])
	}
	p.west.step(w, ike.Delete{Child: w.home().children[1].serial})
	p.pass(time.Second)
	p.check(1)
	p.west.step(w.home(), ike.Delete{})
	p.pass(time.Minute)
	p.check(0)
	if len(p.west.machines)+len(p.east.machines) != 0 {
		t.Error(p)
	}
}

// The peer cannot be reached when the ISAKMP SA is to be replaced: the pairs
// live on, the attempts go on, and when it is back all is well.
func TestReplacementFails(t *testing.T) {
	p := newPair(t, 38)
	p.both(func(c *ike.Conn) { c.KeyingTries = 0; c.IKELife = 30 * time.Minute })
	p.up()
	p.pass(5 * time.Minute)
	deaf := true
	p.fate = func(d datagram) []datagram {
		if deaf {
			return nil
		}
		return []datagram{d}
	}
	p.pass(2 * time.Hour)
	p.check(1)
	if d := facts[ike.IKEDown](p.west); len(d) != 0 {
		t.Errorf("%+v\n%s", d, p)
	}
	deaf = false
	p.pass(6 * time.Hour)
	p.usable()
	if len(facts[ike.Failed](p.west)) > 0 {
		t.Error(p)
	}
}

// An ISAKMP SA that has seen too many message IDs is replaced in time.
func TestMessageIDsWearOut(t *testing.T) {
	p := newPair(t, 39)
	w, e := p.up()
	for id := uint32(1); len(e.used) < maxMessageIDs/2-1; id++ {
		e.used[id] = struct{}{}
	}
	p.west.step(w, ike.Rekey{Child: w.children[0].serial})
	p.pass(time.Minute)
	if up := facts[ike.IKEUp](p.east); len(up) != 2 || up[1].Rekeyed != e.serial {
		t.Error(p)
	}
	p.usable()
}
