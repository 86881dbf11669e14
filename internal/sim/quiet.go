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
	w.settled(wanted)
}

// settled checks the rules of Quiet that are about SAs.
func (w *World) settled(wanted []*Tunnel) {
	of := map[*Node][]*Tunnel{}
	for _, t := range wanted {
		of[t.A], of[t.B] = append(of[t.A], t), append(of[t.B], t)
	}
	for _, n := range w.nodes {
		w.quietTunnels(n, of[n])
		w.quietNode(n, of[n])
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

// quietTunnels counts a node's SAs of tunnels.
func (w *World) quietTunnels(n *Node, wanted []*Tunnel) {
	type way struct {
		owner string
		dir   ipsec.Direction
	}
	type number struct{ standing, ending, comp int }
	count := map[way]number{}
	for id, s := range n.Plane.sas {
		if s.reserved {
			continue
		}
		c := count[way{s.Owner, s.Dir}]
		switch {
		case id.Proto == ipsec.Comp: // goes with the SA around it, whose end alone is reported
			c.comp++
		case n.ending(id):
			c.ending++
		default:
			c.standing++
		}
		count[way{s.Owner, s.Dir}] = c
	}
	for _, t := range wanted {
		for _, dir := range []ipsec.Direction{ipsec.In, ipsec.Out} {
			if c := count[way{t.Name, dir}]; c.standing != 1 || c.comp > c.standing+c.ending {
				w.breach("I8", "%s has %d SAs %s for %q, and %d of IPComp", n.Name, c.standing, dir, t.Name, c.comp)
			}
		}
	}
}

// quietNode looks for what should be gone from a node with such tunnels.
func (w *World) quietNode(n *Node, wanted []*Tunnel) {
	for _, id := range n.Plane.reserved() {
		w.breach("I7", "%s still keeps the SPI of %s for nobody", n.Name, w.nameOfSA(id))
	}
	for _, s := range n.Plane.sorted() {
		if n.ending(s.ID) || s.ID.Proto == ipsec.Comp {
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
	peers, tunnels := map[*Node]bool{}, len(wanted)
	for _, t := range wanted {
		peers[t.other(n)] = true
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
		s := h.node.Plane.sas[h.id]
		return s != nil && !s.reserved && s.Dir == dir
	}
	return e != nil && has(e.in, ipsec.In) && has(e.out, ipsec.Out)
}
