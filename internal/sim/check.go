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
	node *Node
	key  [8]byte
	sa   ipsec.SA
}

func newLedger() ledger {
	return ledger{map[ipsec.SAID]*ends{}, map[[8]byte]ipsec.SAID{}, map[ipsec.SAID]time.Time{}, map[ipsec.SAID]string{}, map[netip.Addr]int{}, map[ipsec.SAID]ipsec.SAID{}}
}

// installed checks an SA at the moment it enters a data plane.
func (w *World) installed(n *Node, s ipsec.SA) {
	l := &w.ledger
	h := &half{n, fingerprint(&s), s}
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
	l.keys[h.key] = id

	mine := &e.out
	if s.Dir == ipsec.In {
		mine = &e.in
		if s.ID.Dst != n.Addr {
			w.breach("I1", "%s installs an inbound SA for %s", n.Name, s.ID.Dst)
		}
	}
	// An SPI is never used twice, on one host, for other keys.
	if old := *mine; old != nil && (old.node != n || old.key != h.key) {
		w.breach("I5", "%s: SPI of %s is used a second time", n.Name, s.ID)
	}
	*mine = h
	if e.in != nil && e.out != nil {
		w.agree(id, e)
	}
}

// canonical is the name an SA has at its receiver. They differ when the
// receiver is behind a NAT.
func (w *World) canonical(s *ipsec.SA) ipsec.SAID {
	id := s.ID
	if s.Dir == ipsec.Out {
		if n := w.receiver(id.Dst, s.Encap.RemotePort); n != nil && n.nat != nil {
			id.Dst = n.Addr
		}
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
	in, out := e.in.sa, e.out.sa
	natted := e.in.node.nat != nil || e.out.node.nat != nil
	if !natted && (in.Encap.LocalPort != out.Encap.RemotePort || in.Encap.RemotePort != out.Encap.LocalPort) {
		w.breach("I1", "%s: encapsulation %v at the receiver, %v at the sender", id, in.Encap, out.Encap)
	}
}

// removed notes when the receiver of an SA took it away.
func (w *World) removed(n *Node, id ipsec.SAID) {
	if e := w.ledger.ends[id]; e != nil && e.in != nil && e.in.node == n {
		w.ledger.gone[id] = w.now
	}
}

// void judges a packet for which the receiver has no SA: I3. Packets already
// under way when the SA went are forgiven. Where SAs have ended by force in
// this World (a crash, a cut wire, a command), the peer may not know yet.
func (w *World) void(n *Node, p Packet) {
	if e := w.ledger.ends[p.ID]; w.forced || e == nil || e.in == nil {
		return // or the answer that makes it is still under way (RFC 7296, 2.8)
	}
	if gone, ok := w.ledger.gone[p.ID]; ok && w.now.Sub(gone) <= w.Net.Data.Delay+w.Net.Data.Jitter {
		return
	}
	w.breach("I3", "%s: packet %d came on %s, which is not there", n.Name, p.Number, p.ID)
}
