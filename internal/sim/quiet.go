package sim

import (
	"cygnet/internal/ipsec"
)

// Quiet checks the rules that hold once faults have ended and time has passed:
// tunnels that are wanted carry packets (I10), with exactly one pair of SAs
// each and one IKE SA between two nodes (I8), nothing half done (I7, I11), and
// no half of an SA without its other half (I3, I8).
func (w *World) Quiet(wanted ...*Tunnel) {
	for _, t := range wanted {
		if err := w.Carries(t); err != nil {
			w.breach("I10", "%v", err)
		}
	}
	pairs := map[[2]*Node]bool{}
	for _, t := range wanted {
		pairs[[2]*Node{t.A, t.B}], pairs[[2]*Node{t.B, t.A}] = true, true
		for _, n := range []*Node{t.A, t.B} {
			w.quietTunnel(n, t)
		}
	}
	for _, n := range w.nodes {
		w.quietNode(n, pairs)
	}
}

// quietTunnel counts a node's SAs of one tunnel.
func (w *World) quietTunnel(n *Node, t *Tunnel) {
	for _, dir := range []ipsec.Direction{ipsec.In, ipsec.Out} {
		count := 0
		for _, s := range n.Plane.sorted() {
			if s.Owner == t.Name && s.Dir == dir {
				count++
			}
		}
		if count != 1 {
			w.breach("I8", "%s has %d SAs %s for %q", n.Name, count, dir, t.Name)
		}
	}
}

// quietNode looks for what should be gone.
func (w *World) quietNode(n *Node, pairs map[[2]*Node]bool) {
	if k := len(n.Plane.sas) - len(n.Plane.sorted()); k > 0 {
		w.breach("I7", "%s still keeps %d SPIs for nobody", n.Name, k)
	}
	for _, s := range n.Plane.sorted() {
		if e := w.ledger.ends[w.canonical(&s.SA)]; !e.alive() {
			w.breach("I3", "%s has %s (%s), its peer has no such SA", n.Name, w.nameOfSA(w.canonical(&s.SA)), s.Dir)
		}
	}
	peers := 0
	for _, x := range w.nodes {
		if pairs[[2]*Node{n, x}] {
			peers++
		}
	}
	if len(n.machines) != peers {
		w.breach("I8", "%s has %d IKE SAs for %d peers", n.Name, len(n.machines), peers)
	}
	for _, h := range n.machines {
		if i, r := h.SPIs(); !w.known(n, i, r) {
			w.breach("I8", "%s #%d is an IKE SA that its peer does not have", n.Name, h.Serial())
		}
	}
}

// known reports whether another node has the same IKE SA.
func (w *World) known(n *Node, i, r uint64) bool {
	for _, x := range w.nodes {
		for _, h := range x.machines {
			if hi, hr := h.SPIs(); x != n && hi == i && hr == r {
				return true
			}
		}
	}
	return false
}

// alive reports whether both ends have the SA installed.
func (e *ends) alive() bool {
	has := func(h *half, dir ipsec.Direction) bool {
		if h == nil {
			return false
		}
		s := h.node.Plane.sas[h.sa.ID]
		return s != nil && !s.reserved && s.Dir == dir
	}
	return e != nil && has(e.in, ipsec.In) && has(e.out, ipsec.Out)
}
