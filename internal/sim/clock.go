package sim

import (
	"fmt"
	"time"
)

// Every node has two clocks of its own. One may stop or leap, but never runs
// back; what machines and tables are told, and their deadlines, are in its time.
// The other is the time of day, which may be set to anything, and by which only
// certificates are judged. The World's own does nothing of that.

// clock is the node's time.
func (n *Node) clock() time.Time { return n.world.now.Add(n.skew) }

// Wall is the time of day as the node has it.
func (n *Node) Wall() time.Time { return n.world.now.Add(n.wallSkew) }

// SetWall sets the time of day to t. Nothing is planned anew: nobody is told of
// it on a real machine either.
func (n *Node) SetWall(t time.Time) {
	w := n.world
	w.Trace.add(n.Name, "$ date -s "+t.UTC().Format(time.RFC3339))
	w.Stats.WallSteps++
	n.wallSkew = t.Sub(w.now)
}

// StepWall sets the time of day d ahead, or back.
func (n *Node) StepWall(d time.Duration) { n.SetWall(n.Wall().Add(d)) }

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
