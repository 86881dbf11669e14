package sim

import "cygnet/internal/ipsec"

// arrival is one use of a sequence number under one set of keys.
type arrival struct {
	key [8]byte
	seq uint64
}

// sealed is I5 for packets: no number, and so no nonce, is used twice with the
// same keys, also when an SA is installed anew.
func (w *World) sealed(n *Node, s *sa) {
	key := fingerprint(&s.SA)
	if s.seq <= w.ledger.sent[key] {
		w.breach("I5", "%s: sequence number %d of %s is used again", n.Name, s.seq, w.nameOfSA(s.ID))
	}
	w.ledger.sent[key] = s.seq
}

// accepted is I6: a sequence number is accepted once.
func (w *World) accepted(n *Node, p Packet) {
	a := arrival{p.Key, p.Seq}
	if w.ledger.came[a] {
		w.breach("I6", "%s: packet %d of %s is accepted twice", n.Name, p.Seq, w.nameOfSA(p.ID))
	}
	w.ledger.came[a] = true
}

// late is I9 where the packet is: one that the network has brought once, and in
// time, is not dropped.
func (w *World) late(n *Node, p Packet) {
	if !p.Copy && !w.ledger.came[arrival{p.Key, p.Seq}] {
		w.breach("I9", "%s: packet %d of %s is dropped as a replay and is none", n.Name, p.Seq, w.nameOfSA(p.ID))
	}
}

// carries is I9 where packets begin: a tunnel that has carried goes on to,
// unless something has ended it.
func (w *World) carries(n *Node, f ipsec.Flow, now bool) {
	t := n.flows[f]
	if t == nil {
		return
	}
	carried := &t.carried[0]
	if n == t.B {
		carried = &t.carried[1]
	}
	if !now && *carried && !w.disturbed() {
		w.breach("I9", "%s: %q does not carry any more", n.Name, t.Name)
	}
	*carried = now
}

// inClear is I4: nothing that a tunnel is for passes without it.
func (w *World) inClear(n *Node, f ipsec.Flow, what string) {
	for _, t := range w.tunnels {
		there := t.NetA.Contains(f.Src) && t.NetB.Contains(f.Dst)
		back := t.NetB.Contains(f.Src) && t.NetA.Contains(f.Dst)
		if (n == t.A || n == t.B) && (there || back) {
			w.breach("I4", "%s %s %s in the clear, which is for %q", n.Name, what, f, t.Name)
		}
	}
}

// Empty checks I16 after everything was taken down: nothing is left of it.
func (w *World) Empty() {
	for _, n := range w.nodes {
		for _, h := range n.machines {
			w.breach("I16", "%s #%d is left", n.Name, h.Serial())
		}
		for _, s := range n.Plane.sorted() {
			w.breach("I16", "%s: %s is left", n.Name, w.nameOfSA(s.ID))
		}
		for _, id := range n.Plane.reserved() {
			w.breach("I16", "%s: the SPI of %s is still kept", n.Name, w.nameOfSA(id))
		}
		if g, ok := n.engine.(interface{ HalfOpen() int }); ok && g.HalfOpen() > 0 {
			w.breach("I16", "%s: %d IKE SAs are half open", n.Name, g.HalfOpen())
		}
	}
}
