package sim

import (
	"fmt"
	"iter"
	"net/netip"
	"slices"

	"cygnet/internal/ike"
)

// Move gives the node another address. From now on nothing reaches it at the
// old one, and nothing leaves from there.
func (n *Node) Move(addr string) error {
	to, err := netip.ParseAddr(addr)
	if err != nil {
		return err
	}
	w := n.world
	if o := w.byAddr[to]; o != nil && o != n {
		return fmt.Errorf("%s is the address of %s", to, o.Name)
	}
	w.Trace.add(n.Name, "$ the address is now "+addr)
	w.Stats.Moves++
	n.Addr, w.byAddr[to] = to, n
	w.disturb() // packets on the way to the old address find nobody
	if n.sleeping() {
		w.at(n.asleep, classTimer, n.moved)
	} else {
		n.moved()
	}
	return nil
}

// moved tells the machines of the node which address it has.
func (n *Node) moved() {
	if n.out() {
		return
	}
	for _, h := range slices.Clone(n.machines) {
		n.later(func() { n.step(h, ike.Move{Local: n.Addr}) })
	}
	n.drain()
}

// left reports an address that its node has left.
func (w *World) left(a netip.Addr) bool {
	n := w.byAddr[a]
	return n != nil && n.Addr != a
}

// addresses are all that nodes have or had, in order.
func (w *World) addresses() iter.Seq2[netip.Addr, *Node] {
	return func(yield func(netip.Addr, *Node) bool) {
		var all []netip.Addr
		for a := range w.byAddr {
			all = append(all, a)
		}
		slices.SortFunc(all, netip.Addr.Compare)
		for _, a := range all {
			if !yield(a, w.byAddr[a]) {
				return
			}
		}
	}
}
