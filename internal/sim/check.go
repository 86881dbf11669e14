package sim

import (
	"fmt"
	"net/netip"
	"time"

	"cygnet/internal/ipsec"
)

// Breach is a rule of trust.md 6.5 that did not hold.
type Breach struct {
	Rule string
	At   time.Duration
	Why  string
}

// String is like "I1 at 1.020: ...".
func (b Breach) String() string { return fmt.Sprintf("%s at %.3f: %s", b.Rule, b.At.Seconds(), b.Why) }

func (w *World) breach(rule, format string, args ...any) {
	b := Breach{rule, w.Elapsed(), fmt.Sprintf(format, args...)}
	w.Breaches = append(w.Breaches, b)
	w.Trace.add("", "*** "+b.String())
}

// ledger remembers every SA there ever was, of all nodes together.
type ledger struct {
	ikes  map[[2]uint64]*ikeEnds
	sent  map[[8]byte]uint64 // highest sequence number by keys
	came  map[arrival]bool
	proof map[stranger]*balance

	ends  map[ipsec.SAID]*ends
	keys  map[[8]byte]ipsec.SAID // fingerprint -> the one SA with these keys
	gone  map[ipsec.SAID]time.Time
	names map[ipsec.SAID]string
	count map[netip.Addr]int        // names given out by receiver
	alias map[ipsec.SAID]ipsec.SAID // what senders call SAs of receivers behind a NAT
}

// ends are the two halves of one SA: the receiver's and the sender's.
type ends struct{ in, out *half }

type half struct {
	node  *Node
	key   [8]byte
	id    ipsec.SAID // as this end has it
	encap ipsec.Encap
}

func newLedger() ledger {
	return ledger{
		map[[2]uint64]*ikeEnds{}, map[[8]byte]uint64{}, map[arrival]bool{}, map[stranger]*balance{},
		map[ipsec.SAID]*ends{}, map[[8]byte]ipsec.SAID{}, map[ipsec.SAID]time.Time{},
		map[ipsec.SAID]string{}, map[netip.Addr]int{}, map[ipsec.SAID]ipsec.SAID{},
	}
}

// installed checks an SA at the moment it enters a data plane.
func (w *World) installed(n *Node, s ipsec.SA) {
	l := &w.ledger
	h := &half{n, fingerprint(&s), s.ID, s.Encap}
	id := w.canonical(&s)
	if id != s.ID {
		l.alias[s.ID] = id
	}
	e := l.ends[id]
	if e == nil {
		e = &ends{}
		l.ends[id] = e
	}
	// I5: no two SAs share keys.
	if other, ok := l.keys[h.key]; ok && other != id {
		w.breach("I5", "%s and %s have the same keys", id, other)
	}
	if s.ID.Proto != ipsec.Comp { // which has none
		l.keys[h.key] = id
	}

	mine := &e.out
	if s.Dir == ipsec.In {
		mine = &e.in
		if s.ID.Dst != n.Addr {
			w.breach("I1", "%s installs an inbound SA for %s", n.Name, s.ID.Dst)
		}
	}
	// An SPI is never used twice, on one host, for other keys.
	// CPIs have 16 bits, and come round.
	if old := *mine; old != nil && s.ID.Proto != ipsec.Comp && (old.node != n || old.key != h.key) {
		w.breach("I5", "%s: SPI of %s is used a second time", n.Name, s.ID)
	}
	*mine = h
	if e.in != nil && e.out != nil {
		w.agree(id, e)
	}
}

// canonical is the name an SA has in the ledger: that at its receiver, which
// differs from the sender's when the receiver is behind a NAT, with the first
// address of that node.
func (w *World) canonical(s *ipsec.SA) ipsec.SAID {
	id := s.ID
	if s.Dir == ipsec.Out {
		if n := w.receiver(id.Dst, s.Encap.RemotePort); n != nil && n.nat != nil {
			id.Dst = n.Addr
		}
	}
	return w.home(id)
}

// home is the name of an SA as if its receiver had never moved. An SA that is
// made while one of the two moves has another address at either end, until it
// is replaced.
func (w *World) home(id ipsec.SAID) ipsec.SAID {
	if n := w.byAddr[id.Dst]; n != nil {
		id.Dst = n.first
	}
	return id
}

// agree is I1 for Child SAs: both ends have the same keys, algorithms and
// selectors.
func (w *World) agree(id ipsec.SAID, e *ends) {
	if e.in.key != e.out.key {
		w.breach("I1", "%s: the two ends have different keys or algorithms", id)
	}
	if e.in.node == e.out.node {
		w.breach("I1", "%s: both ends are %s", id, e.in.node.Name)
	}
}

// ports is the part of I1 that holds at rest only: while one end moves, the two
// may not yet agree on whether there is a NAT.
func (w *World) ports(id ipsec.SAID, e *ends) {
	in, out := e.in.encap, e.out.encap
	natted := e.in.node.nat != nil || e.out.node.nat != nil
	if !natted && (in.LocalPort != out.RemotePort || in.RemotePort != out.LocalPort) {
		w.breach("I1", "%s: encapsulation %v at the receiver, %v at the sender", w.nameOfSA(id), in, out)
	}
}

// removed notes when the receiver of an SA took it away.
func (w *World) removed(n *Node, id ipsec.SAID) {
	id = w.home(id)
	if e := w.ledger.ends[id]; e != nil && e.in != nil && e.in.node == n {
		w.ledger.gone[id] = w.now
	}
}

// void judges a packet for which the receiver has no SA: I3. Packets already
// under way when the SA went are forgiven. Where SAs have ended by force (a
// crash, a cut wire, a command), the peer may not know yet.
func (w *World) void(n *Node, p Packet) {
	id := w.home(p.ID)
	if e := w.ledger.ends[id]; w.disturbed() || e == nil || e.in == nil {
		return // or the answer that makes it is still under way (RFC 7296, 2.8)
	}
	if gone, ok := w.ledger.gone[id]; ok && w.now.Sub(gone) <= w.Net.Data.Delay+w.Net.Data.Jitter || p.Copy {
		return
	}
	w.breach("I3", "%s: packet %d came on %s, which is not there", n.Name, p.Number, p.ID)
}
