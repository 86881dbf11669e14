package sim

import (
	"time"

	"cygnet/internal/ipsec"
)

// Quiet checks the rules that hold once faults have ended and time has passed:
// tunnels that are wanted carry packets (I10), with exactly one pair of SAs
// each and no more IKE SAs than that (I8), nothing half done (I7, I11), and
// no half of an SA without its other half (I3, I8).
func (w *World) Quiet(wanted ...*Tunnel) {
	w.rest()
	for _, t := range wanted {
		if err := w.Carries(t); err != nil {
			w.breach("I10", "%v", err)
		}
	}
	w.rest() // an SA may have fallen due for rekeying just then
	for _, t := range wanted {
		for _, n := range []*Node{t.A, t.B} {
			w.quietTunnel(n, t)
		}
	}
	for _, n := range w.nodes {
		w.quietNode(n, wanted)
	}
}

// restless is how long an exchange that is just going on may take; without
// faults it is a few round trips.
const restless = 10 * time.Second

// rest waits until no exchange is going on.
func (w *World) rest() {
	if !w.RunUntil(restless, func() bool { return w.busy == 0 }) {
		w.breach("I11", "after %v there are still messages on their way", restless)
	}
}

// quietTunnel counts a node's SAs of one tunnel.
func (w *World) quietTunnel(n *Node, t *Tunnel) {
	for _, dir := range []ipsec.Direction{ipsec.In, ipsec.Out} {
		count := 0
		for _, s := range n.Plane.sorted() {
			if s.Owner == t.Name && s.Dir == dir && !n.ending(s.ID) {
				count++
			}
		}
		if count != 1 {
			w.breach("I8", "%s has %d SAs %s for %q", n.Name, count, dir, t.Name)
		}
	}
}

// quietNode looks for what should be gone.
func (w *World) quietNode(n *Node, wanted []*Tunnel) {
	for _, id := range n.Plane.reserved() {
		w.breach("I7", "%s still keeps the SPI of %s for nobody", n.Name, w.nameOfSA(id))
	}
	for _, s := range n.Plane.sorted() {
		if n.ending(s.ID) {
			continue
		}
		id := w.canonical(&s.SA)
		if e := w.ledger.ends[id]; !e.alive() {
			w.breach("I3", "%s has %s (%s), its peer has no such SA", n.Name, w.nameOfSA(id), s.Dir)
		} else if s.Dir == ipsec.In {
			w.ports(id, e)
		}
	}
	// Two connections that were begun from different ends at once may ride on
	// an IKE SA each; one that carries none is too many.
	peers, tunnels := map[*Node]bool{}, 0
	for _, t := range wanted {
		if t.A == n || t.B == n {
			peers[t.other(n)] = true
			tunnels++
		}
	}
	standing := 0
	for _, h := range n.machines {
		if !h.ended.IsZero() {
			if w.now.Sub(h.ended) > maxLinger {
				w.breach("I7", "%s #%d is still there, %v after its end", n.Name, h.Serial(), w.now.Sub(h.ended))
			}
			continue
		}
		standing++
		if i, r := h.SPIs(); w.holderOf(n, i, r) == nil {
			w.breach("I8", "%s #%d is an IKE SA that its peer does not have", n.Name, h.Serial())
		}
	}
	if standing < len(peers) || standing > tunnels {
		w.breach("I8", "%s has %d IKE SAs for %d tunnels to %d peers", n.Name, standing, tunnels, len(peers))
	}
}

// maxGrace is how long an SA may stay installed after its end was reported.
const maxGrace = 30 * time.Second

func (n *Node) ending(id ipsec.SAID) bool {
	at, ok := n.ended[id]
	return ok && n.world.now.Sub(at) <= maxGrace
}

// maxLinger is how long a machine may stay after it has reported its end, to
// answer a peer that missed its last word.
const maxLinger = 3 * time.Minute

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
