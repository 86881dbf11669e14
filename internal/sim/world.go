package sim

import (
	"container/heap"
	"net/netip"
	"time"
)

// Start is when every World begins.
var Start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// class orders events of the same instant. Within a class they happen in the
// order in which they were planned.
type class uint8

const (
	classCommand class = iota
	classJob
	classDeliver
	classTimer
)

// event is something planned.
type event struct {
	at    time.Time
	class class
	seq   uint64
	do    func()
}

type eventHeap []event

func (h eventHeap) Len() int { return len(h) }
func (h eventHeap) Less(i, j int) bool {
	switch a, b := h[i], h[j]; {
	case !a.at.Equal(b.at):
		return a.at.Before(b.at)
	case a.class != b.class:
		return a.class < b.class
	default:
		return a.seq < b.seq
	}
}
func (h eventHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *eventHeap) Push(x any)   { *h = append(*h, x.(event)) }
func (h *eventHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = event{}
	*h = old[:len(old)-1]
	return e
}

// World is one simulated network with its gateways.
type World struct {
	Net      *Network
	DNS      *DNS
	Callers  int // how many strangers may have to do with one node, for I7
	Trace    *Trace
	Stats    Stats
	Breaches []Breach // of the rules, in the order met

	now     time.Time
	plan    eventHeap
	seq     uint64
	chance  *chance
	nodes   []*Node // in the order of their making
	byAddr  map[netip.Addr]*Node
	holders map[uint64]*Node // of IKE SAs, by the SPI they have chosen
	tunnels []*Tunnel
	nats    []*NAT
	ledger  ledger
	tap     *tap
	traffic traffic
	number  uint64    // of the last packet
	busy    int       // IKE datagrams and jobs under way
	forced  time.Time // when an SA may last have ended otherwise than by rekeying
}

// New returns an empty World whose chance is decided by seed.
func New(seed uint64) *World {
	w := &World{now: Start, chance: newChance(seed), byAddr: map[netip.Addr]*Node{}, holders: map[uint64]*Node{}, ledger: newLedger(), tap: newTap(), traffic: newTraffic()}
	w.Trace = &Trace{world: w}
	w.Net = newNetwork(w)
	w.DNS = &DNS{world: w}
	return w
}

// Now is the virtual time.
func (w *World) Now() time.Time { return w.now }

// Elapsed is the virtual time since Start.
func (w *World) Elapsed() time.Duration { return w.now.Sub(Start) }

// Nodes returns all nodes in the order of their making.
func (w *World) Nodes() []*Node { return w.nodes }

// Node returns the node of that name, or nil.
func (w *World) Node(name string) *Node {
	for _, n := range w.nodes {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// at plans do for an instant, which is now if it has passed.
func (w *World) at(t time.Time, c class, do func()) {
	if t.Before(w.now) {
		t = w.now
	}
	w.seq++
	heap.Push(&w.plan, event{t, c, w.seq, do})
}

func (w *World) after(d time.Duration, c class, do func()) { w.at(w.now.Add(d), c, do) }

// At plans a command for d after Start.
func (w *World) At(d time.Duration, do func()) { w.at(Start.Add(d), classCommand, do) }

// Run lets d of virtual time pass.
func (w *World) Run(d time.Duration) { w.until(w.now.Add(d), func() bool { return false }) }

// RunUntil runs until done reports true, for at most d. It reports whether
// that was so.
func (w *World) RunUntil(d time.Duration, done func() bool) bool {
	return w.until(w.now.Add(d), done)
}

func (w *World) until(end time.Time, done func() bool) bool {
	for !done() {
		if len(w.plan) == 0 || w.plan[0].at.After(end) {
			w.now = end
			w.Stats.Virtual = w.Elapsed()
			return done()
		}
		e := heap.Pop(&w.plan).(event)
		w.now = e.at
		w.Stats.Events++
		e.do()
	}
	return true
}

// disturb notes that SAs may have ended otherwise than by rekeying: one end may
// not know of it for a while.
func (w *World) disturb() { w.forced = w.now }

// disturbed reports whether that was so recently that both ends need not have
// found out and made everything good.
func (w *World) disturbed() bool {
	return !w.forced.IsZero() && w.now.Sub(w.forced) < recovery
}

// recovery is how long two ends may need, by liveness checks on a bad wire, to
// find out what the other has lost, and to replace it.
const recovery = 5 * time.Minute

// forget drops what the rules remember of SAs that are gone, and of who spoke to
// whom. It is for long runs in which nothing is left of them.
func (w *World) forget() {
	w.ledger, w.traffic, w.tap = newLedger(), newTraffic(), newTap()
	w.Net.record = recorder{}
	for _, n := range w.nodes {
		clear(n.ended)
		clear(n.Plane.Delivered)
	}
	clear(w.chance.used)
}

// forgetStrangers drops what is remembered of addresses that have proven
// nothing.
func (w *World) forgetStrangers() { w.ledger.proof = map[stranger]*balance{} }
