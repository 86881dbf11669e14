package connection

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"cygnet/internal/ike"
)

// checkIndex holds that what finds connections and SAs, which is changed bit by bit,
// is what it would be from scratch, and that alarms are set only for what is there.
func (w *world) checkIndex() {
	w.t.Helper()
	t, x := w.table, newIndex()
	for _, c := range t.conns {
		x.addConn(c)
		for _, ch := range c.children {
			x.addChild(ch)
		}
	}
	for _, sa := range t.ikes {
		x.addIKE(sa)
		if up := sa.up; up != nil {
			sa.up = nil
			x.prove(sa, up)
		}
	}
	equal := func(what string, same bool) {
		if !same {
			w.t.Errorf("the index of %s is not what it would be from scratch", what)
		}
	}
	equal("templates", slices.Equal(t.at.templates, x.templates))
	equal("connections by peer", maps.EqualFunc(t.at.remote, x.remote, slices.Equal))
	equal("connections by alias", maps.EqualFunc(t.at.alias, x.alias, slices.Equal))
	equal("IKE SAs to be", slices.Equal(t.at.unborn, x.unborn))
	equal("IKE SAs", maps.Equal(t.at.ikes, x.ikes))
	equal("IKE SAs by peer", maps.EqualFunc(t.at.peer, x.peer, slices.Equal))
	equal("IKE SAs by identity", maps.EqualFunc(t.at.proven, x.proven, slices.Equal))
	equal("Child SAs", maps.Equal(t.at.children, x.children))
	equal("Child SAs by IKE SA", maps.EqualFunc(t.at.riders, x.riders, func(a, b []*child) bool {
		bySerial := func(a, b *child) int { return cmp.Compare(a.serial, b.serial) }
		return slices.Equal(slices.SortedFunc(slices.Values(a), bySerial), slices.SortedFunc(slices.Values(b), bySerial))
	}))
	equal("SAs", maps.Equal(t.at.carrier, x.carrier))
	w.checkAlarms()
}

// checkAlarms holds that nothing is planned for what has gone.
func (w *world) checkAlarms() {
	w.t.Helper()
	t, known := w.table, map[*alarm]bool{}
	for _, c := range t.conns {
		known[&c.retry], known[&c.orphaned] = true, true
		for _, ch := range c.children {
			known[&ch.ready], known[&ch.surplus] = true, true
		}
	}
	for _, sa := range t.ikes {
		known[&sa.end], known[&sa.idle] = true, true
	}
	for _, f := range t.oe.flows {
		for _, a := range []*alarm{&f.alarm, &f.hold, &f.next, &f.proof, &f.grace, &f.ready} {
			known[a] = true
		}
		for _, l := range f.lookups {
			known[&l.alarm] = true
		}
	}
	for _, s := range t.oe.selves {
		known[&s.again] = true
		if s.asked != nil {
			known[&s.asked.alarm] = true
		}
	}
	for _, a := range t.alarms.heap {
		if !known[a] {
			w.t.Errorf("something is planned for %v by what is not there any more", a.at)
		}
	}
}

// Policies name an instance by its number, and nothing else is taken for it.
func TestOwners(t *testing.T) {
	w := newWorld(t)
	w.add(describe("road", "10.1.0.0/24", "", func(d *Description) { d.Template, d.Remote.ID = true, ike.ID{} }))
	c := w.conn("road")
	one := w.table.instance(c, east, ike.ID{Kind: ike.IDFQDN, Data: "one"})
	for owner, want := range map[string]*conn{"road": c, "road[1]": one, "road[2]": nil, "road[01]": nil, "road[+1]": nil, "road[1": nil, "road[": nil, "": nil, "[1]": nil} {
		if got := w.table.byOwner(owner); got != want {
			t.Errorf("%q is %v, want %v", owner, got, want)
		}
	}
	w.now = w.now.Add(orphanAge)
	w.step(TimeUp{})
	if w.table.byOwner("road[1]") != nil {
		t.Error("an instance that nothing uses is still there")
	}
}

// An instance that something uses when it is old enough to go is looked at again.
func TestOrphanLater(t *testing.T) {
	w := newWorld(t)
	w.add(describe("road", "10.1.0.0/24", "10.2.0.0/24", func(d *Description) { d.Template, d.Remote.ID = true, ike.ID{} }))
	c := w.table.instance(w.conn("road"), east, ike.ID{Kind: ike.IDFQDN, Data: "one"})
	w.serial++
	serial := w.serial
	w.ikeUp(serial, c.Conn)
	w.pass(3*orphanAge + time.Second)
	if w.table.find(c.key()) == nil {
		t.Fatal("an instance with an IKE SA is gone")
	}
	w.gone(serial, c.Conn, ike.IKEDown{ByPeer: true})
	w.pass(orphanAge)
	if w.table.find(c.key()) != nil {
		t.Error("an instance that nothing uses is still there")
	}
}

// What a list is told bit by bit comes to the same as telling it whole.
func TestOrderApply(t *testing.T) {
	at := func(net string, mtu int) KernelRoute {
		return KernelRoute{Prefix: netip.MustParsePrefix(net), MTU: mtu}
	}
	a, b, c, d := at("10.0.1.0/24", 0), at("10.0.2.0/24", 0), at("10.0.3.0/24", 0), at("10.0.2.0/24", 1400)
	for _, x := range [][2][]KernelRoute{{nil, {a, b}}, {{a, b}, nil}, {{a, c}, {b}}, {{a, b, c}, {a, d, c}}, {{b}, {a, b, c}}, {{a}, {a}}} {
		change := routeOrder.differ(x[0], x[1])
		if got := routeOrder.apply(slices.Clone(x[0]), change); !slices.Equal(got, x[1]) {
			t.Errorf("%v and %+v make %v, want %v", x[0], change, got, x[1])
		}
		if slices.Equal(x[0], x[1]) != change.empty() {
			t.Errorf("%v to %v: %+v", x[0], x[1], change)
		}
	}
}
