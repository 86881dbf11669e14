package sim

import (
	"net/netip"
	"time"
)

// NAT is a box that gives nodes behind it ports of one outside address: the
// mapping of an inside address and port is the same for all destinations, and
// only who has been spoken to gets through (RFC 4787: endpoint-independent
// mapping, address-dependent filtering).
type NAT struct {
	Outside netip.Addr
	Timeout time.Duration // of a mapping without traffic; zero: never

	world  *World
	nextID uint16
	out    map[netip.AddrPort]*mapping // by inside address and port
	back   map[uint16]*mapping         // by outside port
	was    map[uint16]netip.Addr       // whose each outside port is or has been
}

type mapping struct {
	inside netip.AddrPort
	port   uint16
	used   time.Time
	peers  map[netip.Addr]bool
}

// firstMapped is where the outside ports begin; like many real boxes, ours
// never keeps the inside port.
const firstMapped = 40000

// NAT makes a box and puts nodes behind it.
func (w *World) NAT(outside string, nodes ...*Node) *NAT {
	b := &NAT{Outside: netip.MustParseAddr(outside), world: w, nextID: firstMapped, was: map[uint16]netip.Addr{}}
	b.forget()
	w.nats = append(w.nats, b)
	for _, n := range nodes {
		n.nat = b
	}
	return b
}

// Rebind forgets all mappings, as a restart of the box does. Ports are not
// used again.
func (b *NAT) Rebind() {
	b.world.Stats.Rebinds++
	b.world.disturb() // packets to the old ports find nobody
	b.forget()
}

func (b *NAT) forget() {
	b.out, b.back = map[netip.AddrPort]*mapping{}, map[uint16]*mapping{}
}

// leave translates the source of a packet on its way out.
func (b *NAT) leave(from netip.AddrPort, to netip.Addr) netip.AddrPort {
	m := b.out[from]
	if m == nil || b.stale(m) {
		m = &mapping{inside: from, port: b.nextID, peers: map[netip.Addr]bool{}}
		b.was[m.port] = from.Addr()
		b.nextID++
		b.out[from], b.back[m.port] = m, m
	}
	m.used = b.world.now
	m.peers[to] = true
	return netip.AddrPortFrom(b.Outside, m.port)
}

// enter translates the destination of a packet on its way in; false when
// nobody behind the box is meant.
func (b *NAT) enter(from netip.Addr, port uint16) (netip.AddrPort, bool) {
	m := b.back[port]
	if m == nil || b.stale(m) || !m.peers[from] {
		return netip.AddrPort{}, false
	}
	m.used = b.world.now
	return m.inside, true
}

func (b *NAT) stale(m *mapping) bool {
	return b.Timeout > 0 && b.world.now.Sub(m.used) > b.Timeout
}

// natAt returns the box with an outside address, or nil.
func (w *World) natAt(a netip.Addr) *NAT {
	for _, b := range w.nats {
		if b.Outside == a {
			return b
		}
	}
	return nil
}

// outgoing is the source that the world sees of a packet. Raw ESP (port 0) has
// no ports to translate; a box passes it with its own address and the answers
// find nobody, as real ones do with two clients.
func (w *World) outgoing(from netip.AddrPort, to netip.Addr) netip.AddrPort {
	if n := w.byAddr[from.Addr()]; n != nil && n.nat != nil {
		return n.nat.leave(from, to)
	}
	return from
}

// incoming is where a packet to an address arrives: the node and its own idea
// of the address. It is called when the packet arrives.
func (w *World) incoming(from netip.Addr, to netip.AddrPort) (*Node, netip.AddrPort) {
	if b := w.natAt(to.Addr()); b != nil {
		inside, ok := b.enter(from, to.Port())
		if !ok {
			return nil, to
		}
		to = inside
	}
	if w.left(to.Addr()) {
		return nil, to
	}
	return w.byAddr[to.Addr()], to
}

// receiver is the node for which a sender's SA is meant: through a NAT it is
// found by the port that the SA encapsulates to, which the box may have
// forgotten by now.
func (w *World) receiver(dst netip.Addr, port uint16) *Node {
	if b := w.natAt(dst); b != nil {
		return w.byAddr[b.was[port]]
	}
	return w.byAddr[dst]
}
