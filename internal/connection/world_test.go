package connection

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"cygnet/internal/config"
	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
)

// world drives a Table as pluto does, with IKE SAs that do what the test says.
type world struct {
	t      reporter
	table  *Table
	now    time.Time
	serial uint32
	spi    ipsec.SPI

	ikes     []uint32 // machines made, in order
	starts   []*ike.Conn
	commands []ToMachine
	policies []ipsec.Policy
	routes   []KernelRoute
	replies  []Reply
	scripts  []string
	kinds    []string // of the actions of the last step
	dead     bool     // peers do not answer any more

	serialWaiter uint64
	ended        map[uint32]bool
}

var (
	west = netip.MustParseAddr("192.0.2.1")
	east = netip.MustParseAddr("198.51.100.1")
	hop  = netip.MustParseAddr("192.0.2.254")
)

// reporter is *testing.T or *rapid.T.
type reporter interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

func newWorld(t reporter) *world {
	return &world{t: t, table: NewTable(), now: time.Unix(1e9, 0), spi: 0x1000, ended: map[uint32]bool{}}
}

// step gives the table one event, answers StartIKE, and checks what must hold
// after every step.
func (w *world) step(ev Event) {
	w.t.Helper()
	w.kinds = nil
	queue := []Event{ev}
	for len(queue) > 0 {
		actions := w.table.Step(w.now, queue[0], nil)
		queue = queue[1:]
		for _, a := range actions {
			w.kinds = append(w.kinds, kind(a))
			switch a := a.(type) {
			case StartIKE:
				w.starts = append(w.starts, a.Conn)
				w.serial++
				w.ikes = append(w.ikes, w.serial)
				queue = append(queue, Started{Conn: a.Conn, Serial: w.serial})
				if w.dead {
					queue = append(queue, Reported{w.serial, ike.Report{Conn: a.Conn, Serial: w.serial, Fact: ike.Failed{Why: noAnswer}}})
				}
			case ToMachine:
				w.commands = append(w.commands, a)
			case Policies:
				w.policies = a.Apply(slices.Clone(w.policies))
			case Routes:
				w.routes = a.Apply(slices.Clone(w.routes))
				w.checkRoutes(w.routes)
			case Reply:
				w.replies = append(w.replies, a)
			case Updown:
				w.scripts = append(w.scripts, a.Verb)
			}
		}
	}
	w.check()
}

func kind(a Action) string {
	switch a := a.(type) {
	case ToMachine:
		name := strings.TrimPrefix(fmt.Sprintf("%T", a.Event), "ike.")
		if d, ok := a.Event.(ike.Delete); ok && d.Child != 0 {
			name += "Child"
		}
		return name
	case Reply:
		if a.Final && !a.OK {
			return fmt.Sprintf("Refuse(%03d)", a.Code)
		}
		if a.Final {
			return "Done"
		}
		return fmt.Sprintf("Say(%03d)", a.Code)
	case Updown:
		return "Updown(" + a.Verb + ")"
	}
	return strings.TrimPrefix(fmt.Sprintf("%T", a), "connection.")
}

// checkRoutes holds that a route never leads into a device before a policy
// covers it.
func (w *world) checkRoutes(list []KernelRoute) {
	w.t.Helper()
	for _, r := range list {
		if !slices.ContainsFunc(w.policies, func(p ipsec.Policy) bool { return p.Selector.Dst == r.Prefix }) {
			w.t.Errorf("route %s is set, but no policy is for it", r.Prefix)
		}
	}
}

// check holds the rules of the package's documentation.
func (w *world) check() {
	w.t.Helper()
	w.checkScratch()
	w.checkIndex()
	byName := map[string]*conn{}
	for _, c := range w.table.conns {
		byName[c.key().owner()] = c
		if !c.state.Routed() {
			continue
		}
		for _, s := range c.Selectors() {
			if !slices.ContainsFunc(w.policies, func(p ipsec.Policy) bool { return p.Selector == s }) {
				w.t.Errorf("%s is %s, but no policy is for %s", c.Title(), c.state, s)
			}
		}
		if len(c.Updown) > 0 {
			continue
		}
		for _, p := range c.remotePrefixes() {
			if !slices.ContainsFunc(w.routes, func(r KernelRoute) bool { return r.Prefix == p }) {
				w.t.Errorf("%s is %s, but nothing routes %s", c.Title(), c.state, p)
			}
		}
	}
	for _, r := range w.routes {
		if !slices.ContainsFunc(w.table.conns, func(c *conn) bool {
			return c.state.Routed() && slices.Contains(c.remotePrefixes(), r.Prefix)
		}) && !w.rests(func(x rest) bool {
			return slices.ContainsFunc(x.routes, func(k KernelRoute) bool { return k.Prefix == r.Prefix })
		}) {
			w.t.Errorf("route %s belongs to nobody", r.Prefix)
		}
	}
	for _, p := range w.policies {
		c := byName[p.Owner]
		switch {
		case p.Action == ipsec.Drop && w.rests(func(x rest) bool { return x.by.key().owner() == p.Owner && slices.Contains(x.selectors, p.Selector) }):
		case c == nil:
			w.t.Errorf("policy %s belongs to %q, which does not exist", p.Selector, p.Owner)
		case p.Action == ipsec.Pass && c.Shunt != ipsec.Pass && !(c.state == Failed && c.Failure == ipsec.Pass) && !(c.state == Held && c.Hold == ipsec.Pass):
			w.t.Errorf("policy %s of %s passes in clear", p.Selector, c.Title())
		case p.Action == ipsec.Protect && len(p.Bundle) == 0:
			w.t.Errorf("policy %s protects with nothing", p.Selector)
		}
	}
	if at := w.table.Deadline(); !at.IsZero() && !at.After(w.now) {
		w.t.Errorf("the deadline %v has passed and nothing was done about it", at)
	}
}

// rests reports whether something that has ended rests and is such.
func (w *world) rests(is func(rest) bool) bool {
	return slices.ContainsFunc(w.table.resting, is)
}

// describe makes a description of a tunnel between west and east.
func describe(name, local, remote string, change ...func(*Description)) *Description {
	end := func(a netip.Addr, id, net string) ike.End {
		e := ike.End{Addr: a, ID: ike.ID{Kind: ike.IDFQDN, Data: id}, Auth: []ike.AuthMethod{ike.AuthPSK}}
		p := netip.PrefixFrom(a, a.BitLen())
		if net == "" {
			e.Host = true
		} else {
			p = netip.MustParsePrefix(net)
		}
		e.TS = []ipsec.TS{ipsec.TSOf(p, 0, ipsec.Ports{})}
		return e
	}
	d := &Description{Oriented: true, Auto: config.AutoAdd, Shunt: ipsec.Trap, Hold: ipsec.Hold, Failure: ipsec.Trap,
		Virtual: "ipsec0", Physical: "eth0", NextHop: hop,
		Conn: &ike.Conn{Name: name, Version: 2, Rekey: true, CheckArrival: true,
			Local: end(west, "west", local), Remote: end(east, "east", remote)}}
	for _, f := range change {
		f(d)
	}
	return d
}

func (w *world) add(list ...*Description) {
	w.t.Helper()
	for _, d := range list {
		w.step(Add{Name: d.Name, List: []*Description{d}})
	}
}

func (w *world) conn(name string) *conn {
	w.t.Helper()
	for _, c := range w.table.conns {
		if c.key().owner() == name {
			return c
		}
	}
	w.t.Fatalf("there is no connection %s", name)
	return nil
}

func (w *world) state(name string, want State) {
	w.t.Helper()
	if got := w.conn(name).state; got != want {
		w.t.Errorf("%s is %s, want %s", name, got, want)
	}
}

// eroute is what happens to packets of a connection's first selector.
func (w *world) eroute(name string) string {
	w.t.Helper()
	s := w.conn(name).Selectors()[0]
	for _, p := range w.policies {
		if p.Selector == s {
			if p.Action == ipsec.Protect {
				return p.Bundle[0].String()
			}
			return p.Action.String()
		}
	}
	return "none"
}

func (w *world) report(serial uint32, r ike.Report) {
	w.t.Helper()
	w.step(Reported{IKE: serial, Report: r})
}

func (w *world) ikeUp(serial uint32, c *ike.Conn, change ...func(*ike.IKEUp)) {
	w.t.Helper()
	up := ike.IKEUp{Local: netip.AddrPortFrom(c.Local.Addr, 500), Remote: netip.AddrPortFrom(c.Remote.Addr, 500),
		LocalID: c.Local.ID, RemoteID: c.Remote.ID}
	for _, f := range change {
		f(&up)
	}
	w.report(serial, ike.Report{Conn: c, Serial: serial, Fact: up})
}

// childUp reports a Child SA and returns its number.
func (w *world) childUp(serial uint32, c *ike.Conn, change ...func(*ike.ChildUp)) uint32 {
	w.t.Helper()
	w.serial++
	w.spi += 2
	up := ike.ChildUp{IKE: serial, In: ipsec.SAID{Dst: c.Local.Addr, Proto: ipsec.ESP, SPI: w.spi},
		Out: ipsec.SAID{Dst: c.Remote.Addr, Proto: ipsec.ESP, SPI: w.spi + 1}, TSLocal: c.Local.TS, TSRemote: c.Remote.TS,
		Use: true, Initiator: true}
	for _, f := range change {
		f(&up)
	}
	w.report(serial, ike.Report{Conn: c, Serial: w.serial, Fact: up})
	return w.serial
}

func byPeer(u *ike.ChildUp) { u.Initiator = false }

func (w *world) childDown(serial, child uint32, c *ike.Conn, f ike.ChildDown) {
	w.t.Helper()
	f.IKE = serial
	w.report(serial, ike.Report{Conn: c, Serial: child, Fact: f})
}

// up brings a connection up by its own IKE SA, or by the one there is.
func (w *world) up(name string) (serial, child uint32) {
	w.t.Helper()
	before := len(w.ikes)
	w.step(Up{Name: name})
	c := w.conn(name)
	if len(w.ikes) > before {
		serial = w.ikes[len(w.ikes)-1]
		w.ikeUp(serial, c.Conn)
	} else {
		serial = c.joined.serial
	}
	return serial, w.childUp(serial, c.Conn)
}

// gone plays a machine's end after ike.Delete or by itself.
func (w *world) gone(serial uint32, c *ike.Conn, down ike.IKEDown) {
	w.t.Helper()
	for _, x := range slices.Clone(w.table.conns) {
		for _, ch := range slices.Clone(x.children) {
			if ch.ike == serial {
				w.childDown(serial, ch.serial, x.Conn, ike.ChildDown{Why: down.Why, ByPeer: down.ByPeer})
			}
		}
	}
	w.report(serial, ike.Report{Conn: c, Serial: serial, Fact: down})
}

// pass lets time go by, serving deadlines as they come.
func (w *world) pass(d time.Duration) {
	w.t.Helper()
	end := w.now.Add(d)
	for {
		at := w.table.Deadline()
		if at.IsZero() || at.After(end) {
			break
		}
		w.now = at
		w.step(TimeUp{})
		if next := w.table.Deadline(); !next.IsZero() && !next.After(at) {
			w.t.Fatalf("the deadline %v stays although it has come", next)
		}
	}
	w.now = end
}

// told lists the commands for machines since the last call.
func (w *world) told() []string {
	var list []string
	for _, c := range w.commands {
		word := fmt.Sprintf("#%d %s", c.Serial, kind(c))
		if d, ok := c.Event.(ike.Delete); ok && d.Child != 0 {
			word += fmt.Sprintf(" #%d", d.Child)
		}
		list = append(list, word)
	}
	w.commands = nil
	return list
}

func (w *world) wantTold(want ...string) {
	w.t.Helper()
	if got := w.told(); !slices.Equal(got, want) {
		w.t.Errorf("machines were told %q, want %q", got, want)
	}
}

var (
	noAnswer = &ike.Failure{Reason: ike.ReasonSilent, Why: "no answer"}
	badKey   = &ike.Failure{Reason: ike.ReasonAuth, Why: "wrong key", Notify: ike.NotifyAuthenticationFailed}
)
