package sim

import (
	"fmt"
	"time"
)

// Every node has a clock of its own, which may stop or leap; the World's does
// neither. What machines and tables are told, and their deadlines, are in the
// node's time.

// clock is the node's time.
func (n *Node) clock() time.Time { return n.world.now.Add(n.skew) }

// sleeping reports whether the node is suspended.
func (n *Node) sleeping() bool { return n.world.now.Before(n.asleep) }

// out reports whether nobody is there to take a datagram or a command.
func (n *Node) out() bool { return n.Down || n.sleeping() }

// Suspend stops the node with its clock, as Linux stops CLOCK_MONOTONIC: nothing
// that reaches it meanwhile is noticed, and afterwards it knows of no time that
// has passed.
func (n *Node) Suspend(d time.Duration) {
	w := n.world
	if n.sleeping() || d <= 0 {
		return
	}
	w.Trace.add(n.Name, fmt.Sprintf("$ suspended for %s", d))
	w.Stats.Suspends++
	w.disturb()
	n.asleep = w.now.Add(d)
	n.skew -= d
	w.at(n.asleep, classTimer, n.replan)
}

// Leap sets the node's clock forward, as after a suspension that counts, or when
// a virtual machine is resumed.
func (n *Node) Leap(d time.Duration) {
	w := n.world
	if d <= 0 {
		return
	}
	w.Trace.add(n.Name, fmt.Sprintf("$ the clock leaps %s ahead", d))
	w.Stats.Leaps++
	w.disturb()
	n.skew += d
	n.replan()
}

// replan plans all deadlines anew, because the clock has another relation to
// the World's.
func (n *Node) replan() {
	for _, h := range n.machines {
		h.asleep()
	}
	n.tableAt = time.Time{}
	n.stepped = append(n.stepped, n.machines...)
	if !n.out() {
		n.arm()
	}
}
