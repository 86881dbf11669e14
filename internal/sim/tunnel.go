package sim

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"cygnet/internal/config"
	"cygnet/internal/connection"
	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

// Tunnel is a connection that two nodes are configured with.
type Tunnel struct {
	Name       string
	A, B       *Node
	NetA, NetB netip.Prefix
	ConnA      *ike.Conn
	ConnB      *ike.Conn

	carried [2]bool // the last packet from A, from B was protected
}

// The algorithms of simulated connections: real, but the cheapest.
var (
	ikeProposals = mustParse(suite.ParseIKE("aes128gcm16-prfsha256-x25519"))
	espProposals = mustParse(suite.ParseESP("aes128gcm16-x25519"))
)

func mustParse(p []suite.Proposal, err error) []suite.Proposal {
	if err != nil {
		panic(err)
	}
	return p
}

// Tunnel configures both nodes for a connection between two networks, with a
// shared secret. edit changes the description of each end.
func (w *World) Tunnel(name string, a, b *Node, netA, netB string, edit ...func(n *Node, d *connection.Description)) *Tunnel {
	t := &Tunnel{Name: name, A: a, B: b, NetA: netip.MustParsePrefix(netA), NetB: netip.MustParsePrefix(netB)}
	t.ConnA = w.define(name, a, b, t.NetA, t.NetB, edit)
	t.ConnB = w.define(name, b, a, t.NetB, t.NetA, edit)
	w.tunnels = append(w.tunnels, t)
	for _, n := range []*Node{a, b} {
		n.tunnels[name], n.flows[t.flowOf(n)] = t, t
	}
	return t
}

func nodeID(n *Node) ike.ID { return ike.ID{Kind: ike.IDFQDN, Data: n.Name} }

func (w *World) define(name string, n, peer *Node, local, remote netip.Prefix, edit []func(*Node, *connection.Description)) *ike.Conn {
	end := func(x *Node, p netip.Prefix) ike.End {
		addr := x.Addr
		if x != n && x.nat != nil {
			addr = x.nat.Outside
		}
		return ike.End{Addr: addr, ID: nodeID(x), Auth: []ike.AuthMethod{ike.AuthPSK}, TS: []ipsec.TS{ipsec.TSOf(p, 0, ipsec.Ports{})}}
	}
	c := &ike.Conn{
		Name: name, Version: ike.Version2,
		Local: end(n, local), Remote: end(peer, remote),
		IKE: ikeProposals, ESP: espProposals,
		Mode: ipsec.Tunnel, PFS: true, Encap: ike.No, Narrow: true, Replay: 64, CheckArrival: true,
		IKELife: 8 * time.Hour, ChildLife: time.Hour, RekeyMargin: 9 * time.Minute, RekeyFuzz: 100, Rekey: true,
		RetransmitFirst: 500 * time.Millisecond, RetransmitTotal: 60 * time.Second,
	}
	d := &connection.Description{
		Conn: c, Alias: name, Oriented: true, Auto: config.AutoAdd,
		Shunt: ipsec.Trap, Hold: ipsec.Hold, Failure: ipsec.Trap,
		Virtual: "ipsec0", Physical: "eth0", MTU: 1400,
	}
	for _, e := range edit {
		e(n, d)
	}
	n.Keys.SetPSK(c.Local.ID, c.Remote.ID, "the secret of "+min(n.Name, peer.Name)+" and "+max(n.Name, peer.Name))
	n.defined = append(n.defined, d)
	n.later(func() { n.tell(connection.Add{Name: name, List: []*connection.Description{d}}) })
	n.drain()
	return c
}

// noPFS is a list of proposals without their groups.
func noPFS(list []suite.Proposal) []suite.Proposal {
	var out []suite.Proposal
	for _, p := range list {
		out = append(out, p.WithoutKE())
	}
	return out
}

// Up does what ipsec auto --up does.
func (n *Node) Up(name string) {
	n.command("ipsec auto --up "+name, connection.Up{Name: name, Async: true})
}

// Route does what ipsec auto --route does.
func (n *Node) Route(name string) {
	n.command("ipsec auto --route "+name, connection.Route{Name: name})
}

// TakeDown does what ipsec auto --down does.
func (n *Node) TakeDown(name string) {
	n.world.disturb()
	n.command("ipsec auto --down "+name, connection.Down{Name: name})
}

// Rekey replaces the newest Child SA of a connection.
func (n *Node) Rekey(name string) {
	n.command("rekey "+name, connection.Rekey{Name: name})
}

// RekeyIKE replaces the node's IKE SAs with the peer of a connection.
func (n *Node) RekeyIKE(name string) {
	if !n.order("rekey the IKE SA of " + name) {
		return
	}
	for _, h := range slices.Clone(n.machines) {
		n.later(func() { n.step(h, ike.Rekey{}) })
	}
	n.drain()
}

// Drop deletes the newest Child SA of a connection by its number, which says
// nothing about what is wanted of the connection.
func (n *Node) Drop(name string) {
	n.world.disturb()
	n.command(fmt.Sprintf("ipsec whack --deletestate %d", n.newest[name]), connection.DeleteState{Serial: n.newest[name]})
}

// Probe checks whether the peers are alive.
func (n *Node) Probe() {
	if !n.order("liveness check") {
		return
	}
	for _, h := range slices.Clone(n.machines) {
		n.later(func() { n.step(h, ike.Probe{}) })
	}
	n.drain()
}

// Crash ends the daemon at once: its IKE SAs and connections are gone, nobody
// is told. The data plane loses its SAs too if it is in the same process.
func (n *Node) Crash() {
	if n.Down {
		return
	}
	n.world.Trace.add(n.Name, "$ kill -9")
	n.Down = true
	n.world.disturb()
	n.world.Stats.Crashes++
	for _, h := range slices.Clone(n.machines) {
		n.unhost(h)
	}
	n.todo, n.stepped = nil, nil
	n.Table = connection.NewTable()
	n.tableAt = time.Time{}
	for _, s := range n.Plane.sorted() {
		n.world.removed(n, s.ID)
	}
	clear(n.Plane.sas)
	n.Plane.spd = spd{}
	n.policies = ""
}

// Restart starts the daemon again with the same configuration.
func (n *Node) Restart() {
	if !n.Down {
		return
	}
	n.world.Trace.add(n.Name, "$ ipsec setup start")
	n.world.disturb()
	n.Down = false
	n.engine = n.makeEngine(n)
	for _, d := range n.defined {
		n.later(func() { n.tell(connection.Add{Name: d.Name, List: []*connection.Description{d}}) })
	}
	n.drain()
}

// Ping sends one packet from the protected side and returns its number.
func (n *Node) Ping(f ipsec.Flow) uint64 {
	number := n.world.nextNumber()
	n.submit(f, number)
	return number
}

func (n *Node) submit(f ipsec.Flow, number uint64) {
	n.Plane.submit(f, number)
	n.drain()
}

func (w *World) nextNumber() uint64 {
	w.number++
	return w.number
}

// flowOf is a packet through the tunnel from one of its ends.
func (t *Tunnel) flowOf(from *Node) ipsec.Flow {
	src, dst := t.NetA, t.NetB
	if from == t.B {
		src, dst = t.NetB, t.NetA
	}
	return ipsec.Flow{Src: hostIn(src), Dst: hostIn(dst), Proto: 17, SrcPort: 1024, DstPort: 7}
}

// hostIn is the first host of a net.
func hostIn(p netip.Prefix) netip.Addr {
	if p.IsSingleIP() {
		return p.Addr()
	}
	return p.Addr().Next()
}

func (t *Tunnel) other(n *Node) *Node {
	if n == t.A {
		return t.B
	}
	return t.A
}

// Stream is traffic in one direction.
type Stream struct {
	to      *Node
	numbers []uint64
	stopped bool
}

// Stream sends a packet through t from one of its ends at regular intervals,
// until it is stopped.
func (w *World) Stream(t *Tunnel, from *Node, every time.Duration) *Stream {
	s := &Stream{to: t.other(from)}
	var tick func()
	tick = func() {
		if !s.stopped {
			s.numbers = append(s.numbers, from.Ping(t.flowOf(from)))
			w.after(every, classCommand, tick)
		}
	}
	w.after(0, classCommand, tick)
	return s
}

// Stop ends the stream.
func (s *Stream) Stop() { s.stopped = true }

// Sent is how many packets went into the stream.
func (s *Stream) Sent() int { return len(s.numbers) }

// Lost lists the packets that did not come out, and those that came twice.
func (s *Stream) Lost() (lost, twice []uint64) {
	for _, n := range s.numbers {
		switch s.to.Plane.Delivered[n] {
		case 0:
			lost = append(lost, n)
		case 1:
		default:
			twice = append(twice, n)
		}
	}
	return lost, twice
}

// Carries reports whether a packet passes t in each direction right now.
func (w *World) Carries(t *Tunnel) error {
	for _, from := range []*Node{t.A, t.B} {
		number := from.Ping(t.flowOf(from))
		w.Run(w.Net.Data.Delay + w.Net.Data.Jitter + time.Millisecond)
		if t.other(from).Plane.Delivered[number] == 0 {
			return fmt.Errorf("%q carries nothing from %s", t.Name, from.Name)
		}
	}
	return nil
}

// Secured reports whether both ends of t use an SA for it.
func (t *Tunnel) Secured() bool {
	return t.A.secures(t.ConnA.Name) && t.B.secures(t.ConnB.Name)
}

// secures reports whether a connection protects what its tunnel is for or, where it
// is narrower, anything else.
func (n *Node) secures(owner string) bool {
	is := func(p ipsec.Policy) bool { return p.Action == ipsec.Protect && p.Owner == owner }
	if t := n.tunnels[owner]; t != nil {
		if p, ok := n.Plane.spd.find(t.flowOf(n)); ok && is(p) {
			return true
		}
	}
	return slices.ContainsFunc(n.Plane.spd.all(), is)
}
