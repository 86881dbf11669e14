package connection

import (
	"container/heap"
	"time"
)

// alarm is something to be done at a time.
type alarm struct {
	at    time.Time
	ring  func()
	seq   uint64
	index int
}

// isSet reports whether it will ring.
func (a *alarm) isSet() bool { return !a.at.IsZero() }

// alarms is a heap of them. Those of the same instant ring in the order in which
// they were set.
type alarms struct {
	heap alarmHeap
	seq  uint64
}

// set moves an alarm; the zero time stops it.
func (a *alarms) set(x *alarm, at time.Time) {
	if x.isSet() {
		heap.Remove(&a.heap, x.index)
	}
	if x.at = at; !at.IsZero() {
		a.seq++
		x.seq = a.seq
		heap.Push(&a.heap, x)
	}
}

// first is when the next alarm rings; the zero time means never.
func (a *alarms) first() time.Time {
	if len(a.heap) == 0 {
		return time.Time{}
	}
	return a.heap[0].at
}

// due takes out an alarm that rings at or before now; nil if there is none.
func (a *alarms) due(now time.Time) *alarm {
	if len(a.heap) == 0 || a.heap[0].at.After(now) {
		return nil
	}
	x := a.heap[0]
	a.set(x, time.Time{})
	return x
}

type alarmHeap []*alarm

func (h alarmHeap) Len() int { return len(h) }
func (h alarmHeap) Less(i, j int) bool {
	if h[i].at.Equal(h[j].at) {
		return h[i].seq < h[j].seq
	}
	return h[i].at.Before(h[j].at)
}
func (h alarmHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *alarmHeap) Push(x any) {
	a := x.(*alarm)
	a.index = len(*h)
	*h = append(*h, a)
}
func (h *alarmHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return x
}
