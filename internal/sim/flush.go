package sim

import (
	"context"
	"errors"

	"cygnet/internal/connection"
	"cygnet/internal/ipsec"
)

// Flush takes all SAs out of the node's data plane, behind the back of its daemon,
// as a flush of the kernel's tables does. The daemon finds out when it looks next.
func (n *Node) Flush() {
	w := n.world
	w.Trace.add(n.Name, "$ the data plane loses its SAs")
	w.Stats.Flushes++
	w.disturb()
	for _, s := range n.Plane.sorted() {
		w.removed(n, s.ID)
		n.lost[s.ID] = true
		delete(n.Plane.sas, s.ID)
	}
	w.after(connection.AuditEvery, classTimer, n.audit)
}

// audit does what the daemon's does at regular intervals; after a flush is enough
// here.
func (n *Node) audit() {
	w := n.world
	if n.Down {
		return
	}
	if n.sleeping() {
		w.at(n.asleep, classTimer, n.audit)
		return
	}
	has := func(id ipsec.SAID) bool {
		_, err := n.Plane.Usage(context.Background(), id)
		return !errors.Is(err, ipsec.ErrNotFound)
	}
	for _, a := range n.Table.Lost(has) {
		n.doTable(a)
	}
	n.drain()
}
