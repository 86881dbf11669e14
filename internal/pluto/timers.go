package pluto

import (
	"container/heap"
	"time"
)

// timers is the heap of deadlines: one for each machine, by serial.
type timers struct {
	heap  deadlines
	entry map[uint32]*deadline
}

type deadline struct {
	at     time.Time
	serial uint32
	index  int
}

// set moves the deadline of a machine; the zero time removes it.
func (t *timers) set(serial uint32, at time.Time) {
	if t.entry == nil {
		t.entry = map[uint32]*deadline{}
	}
	e := t.entry[serial]
	switch {
	case e == nil && at.IsZero():
	case e == nil:
		e = &deadline{at: at, serial: serial}
		t.entry[serial] = e
		heap.Push(&t.heap, e)
	case at.IsZero():
		heap.Remove(&t.heap, e.index)
		delete(t.entry, serial)
	case !e.at.Equal(at):
		e.at = at
		heap.Fix(&t.heap, e.index)
	}
}

// first returns the earliest deadline; zero if there is none.
func (t *timers) first() (at time.Time, serial uint32) {
	if len(t.heap) == 0 {
		return time.Time{}, 0
	}
	return t.heap[0].at, t.heap[0].serial
}

type deadlines []*deadline

func (d deadlines) Len() int { return len(d) }
func (d deadlines) Less(i, j int) bool {
	if d[i].at.Equal(d[j].at) {
		return d[i].serial < d[j].serial
	}
	return d[i].at.Before(d[j].at)
}
func (d deadlines) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].index, d[j].index = i, j
}
func (d *deadlines) Push(x any) {
	e := x.(*deadline)
	e.index = len(*d)
	*d = append(*d, e)
}
func (d *deadlines) Pop() any {
	old := *d
	e := old[len(old)-1]
	*d = old[:len(old)-1]
	return e
}
