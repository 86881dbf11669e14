package sim

import (
	"bytes"
	"fmt"
	"net/netip"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
)

// Faults is what a directed link does to packets of one kind. The zero value
// delivers everything, in order and at once.
type Faults struct {
	Delay   time.Duration // of every packet
	Jitter  time.Duration // up to this much more, so packets may overtake
	Loss    float64       // probability
	Double  float64       // probability of a second copy
	Late    float64       // probability of an extra second of delay (IKE only)
	Corrupt float64       // probability of flipped bits, a cut or growth (IKE only)
	MTU     int           // longer ones vanish without a word; zero: none is too long (IKE only)
}

// lateBy is how much later than others a packet that is Late comes. It is
// longer than the first retransmission wait, so that answers cross.
const lateBy = time.Second

// link is a directed pair of hosts.
type link struct{ from, to netip.Addr }

// Network carries packets between the nodes of a World.
type Network struct {
	world  *World
	IKE    Faults // of IKE datagrams on every link that Set has not changed
	Data   Faults // of protected and plain packets
	links  map[link]Faults
	cut    map[link]bool
	script map[link][]fate // decided fates of the next IKE datagrams
	record recorder        // nil keeps nothing
}

// fate is what a script wants for one datagram.
type fate uint8

const (
	deliver fate = iota
	lose
	double
	late
	corrupt
)

func newNetwork(w *World) *Network {
	return &Network{world: w, links: map[link]Faults{}, cut: map[link]bool{}, script: map[link][]fate{}, record: recorder{}}
}

// SetIKE changes what one directed link does to IKE datagrams.
func (n *Network) SetIKE(from, to netip.Addr, f Faults) { n.links[link{from, to}] = f }

// Cut stops everything from one host to another, in that direction.
func (n *Network) Cut(from, to netip.Addr) {
	n.cut[link{from, to}] = true
	n.world.Stats.Cuts++
	n.world.disturb()
}

// Mend ends a Cut.
func (n *Network) Mend(from, to netip.Addr) {
	if l := (link{from, to}); n.cut[l] {
		delete(n.cut, l)
		n.world.disturb()
	}
}

// Calm ends all faults, cuts included, and leaves only the delay.
func (n *Network) Calm() {
	n.IKE = Faults{Delay: n.IKE.Delay}
	n.Data = Faults{Delay: n.Data.Delay}
	clear(n.links)
	if len(n.cut) > 0 {
		n.world.disturb()
	}
	clear(n.cut)
	clear(n.script)
}

// next decides the fate of the n-th IKE datagram to come on a link.
func (n *Network) next(l link, f fate) { n.script[l] = append(n.script[l], f) }

func (n *Network) faults(l link) Faults {
	if f, ok := n.links[l]; ok {
		return f
	}
	return n.IKE
}

// fateOf takes what the script says, else chance decides.
func (n *Network) fateOf(l link, f Faults, where string) fate {
	if s := n.script[l]; len(s) > 0 {
		n.script[l] = s[1:]
		return s[0]
	}
	c := n.world.chance
	for _, d := range []struct {
		p    float64
		name string
		fate fate
	}{{f.Loss, "loss", lose}, {f.Double, "double", double}, {f.Late, "late", late}, {f.Corrupt, "corrupt", corrupt}} {
		if c.hit(d.p, d.name, where) {
			return d.fate
		}
	}
	return deliver
}

// sendIKE carries one IKE datagram (or a keepalive, which has no header).
func (n *Network) sendIKE(from, to netip.AddrPort, msg []byte) {
	w := n.world
	l := link{from.Addr(), to.Addr()}
	f := n.faults(l)
	where := fmt.Sprintf("ike %s %s", l.from, l.to)
	w.Stats.Sent++
	w.traffic.sent(w, l, msg)
	if n.record != nil && w.byAddr[l.from] != nil && w.byAddr[l.to] != nil {
		n.record.add(l, from, to, msg)
	}
	if n.cut[l] || w.left(from.Addr()) || w.byAddr[to.Addr()] == nil && w.natAt(to.Addr()) == nil {
		w.Stats.Blocked++
		w.Trace.datagram(from, to, msg, "cut", 0)
		return
	}
	if f.MTU > 0 && len(msg)+udpOverhead(to.Addr()) > f.MTU {
		w.Stats.TooBig++
		w.Trace.datagram(from, to, msg, "too big", 0)
		return
	}
	delay := f.Delay + time.Duration(w.chance.draw("jitter", where)*float64(f.Jitter))
	switch n.fateOf(l, f, where) {
	case lose:
		w.Stats.Lost++
		w.Trace.datagram(from, to, msg, "lost", 0)
		return
	case double:
		w.Stats.Doubled++
		second := f.Delay + time.Duration(w.chance.draw("second", where)*float64(f.Jitter+lateBy))
		w.Trace.datagram(from, to, msg, "twice", delay)
		n.deliverIKE(from, to, clone(msg), second, false)
	case late:
		w.Stats.Late++
		delay += lateBy
		w.Trace.datagram(from, to, msg, "late", delay)
	case corrupt:
		w.Stats.Corrupted++
		w.Trace.datagram(from, to, msg, "corrupted", delay)
		spoilt := n.spoil(clone(msg), where)
		n.deliverIKE(from, to, spoilt, delay, !keepsToken(msg, spoilt))
		return
	default:
		w.Trace.datagram(from, to, msg, "", delay)
	}
	n.deliverIKE(from, to, clone(msg), delay, false)
}

// udpOverhead is what IP and UDP add to an IKE datagram.
func udpOverhead(to netip.Addr) int {
	if to.Is4() {
		return 28
	}
	return 48
}

// deliverIKE brings a datagram to its end of the wire. forged says that it is
// not what anybody sent.
func (n *Network) deliverIKE(from, to netip.AddrPort, msg []byte, delay time.Duration, forged bool) {
	w := n.world
	from = w.outgoing(from, to.Addr())
	w.busy++
	w.after(delay, classDeliver, func() {
		w.busy--
		if node, local := w.incoming(from.Addr(), to); node != nil {
			node.forged = forged
			node.received(local, from, msg)
			node.forged = false
		}
	})
}

// keepsToken reports whether a message still proves what it did before it was
// spoilt: that who sent it has lost an IKE SA, by a token in the clear (RFC 6290).
func keepsToken(msg, spoilt []byte) bool {
	m, err := wire.Parse(msg)
	if err != nil || m.Encrypted() {
		return false
	}
	token, ok := m.Payloads.Notify(ike.NotifyQCDToken)
	return ok && bytes.Contains(spoilt, token.Data)
}

// spoil flips a bit, cuts the end off or adds to it.
func (n *Network) spoil(msg []byte, where string) []byte {
	if len(msg) == 0 {
		return msg
	}
	c := n.world.chance
	at := int(c.draw("spoil at", where) * float64(len(msg)))
	switch how := c.draw("spoil how", where); {
	case how < 0.8:
		msg[at] ^= 1 << uint(c.draw("spoil bit", where)*8)
	case how < 0.9:
		msg = msg[:at]
	default:
		msg = append(msg, 0, 1, 2, 3)
	}
	return msg
}

// sendData carries one packet of the data plane.
func (n *Network) sendData(from, to netip.AddrPort, p Packet) {
	w := n.world
	l := link{from.Addr(), to.Addr()}
	where := fmt.Sprintf("data %s %s", l.from, l.to)
	if n.cut[l] || w.left(from.Addr()) || w.chance.hit(n.Data.Loss, "loss", where) {
		w.Stats.DataLost++
		return
	}
	from = w.outgoing(from, to.Addr())
	n.deliverData(from, to, p, where)
	if w.chance.hit(n.Data.Double, "double", where) {
		w.Stats.DataDoubled++
		p.Copy = true
		n.deliverData(from, to, p, where)
	}
}

func (n *Network) deliverData(from, to netip.AddrPort, p Packet, where string) {
	w := n.world
	delay := n.Data.Delay + time.Duration(w.chance.draw("jitter", where)*float64(n.Data.Jitter))
	w.after(delay, classDeliver, func() {
		node, local := w.incoming(from.Addr(), to)
		if node == nil {
			w.Stats.DataLost++
			return
		}
		if !p.ID.IsZero() {
			p.ID.Dst = local.Addr() // an SA's receiver knows its own address only
		}
		node.Plane.receive(from, p)
	})
}

func clone(b []byte) []byte { return append([]byte(nil), b...) }
