package tun

import (
	"bytes"
	"os"
	"sync"
)

// pairDepth is how many packets wait in each direction of a Pair.
const pairDepth = 1024

// Memory is one end of a Pair.
type Memory struct {
	name     string
	queues   []Queue
	offloads Offloads
	ends     []*memQueue
	done     chan struct{}
	close    *sync.Once
}

// Pair returns two devices with one queue each: what is written to one is read
// from the other, header and all. Closing either closes both.
func Pair(nameA, nameB string) (a, b *Memory) {
	ab, ba := make(chan []byte, pairDepth), make(chan []byte, pairDepth)
	done, once := make(chan struct{}), new(sync.Once)
	end := func(name string, in, out chan []byte) *Memory {
		q := &memQueue{in: in, out: out, done: done}
		return &Memory{name, []Queue{q}, Offloads{TCP: true, UDP: true}, []*memQueue{q}, done, once}
	}
	return end(nameA, ba, ab), end(nameB, ab, ba)
}

// Name returns the name given to Pair.
func (m *Memory) Name() string { return m.name }

// Queues returns the one queue.
func (m *Memory) Queues() []Queue { return m.queues }

// Offloads are all on, unless SetOffloads changed them.
func (m *Memory) Offloads() Offloads { return m.offloads }

// SetOffloads makes this end pretend to a kernel with fewer offloads.
func (m *Memory) SetOffloads(o Offloads) { m.offloads = o }

// Close ends all reads and writes of both ends.
func (m *Memory) Close() error {
	m.close.Do(func() { close(m.done) })
	return nil
}

type memQueue struct {
	in, out chan []byte
	done    chan struct{}
}

func (q *memQueue) Read(b []byte, wait bool) (int, error) {
	if !wait {
		select {
		case p := <-q.in:
			return copy(b, p), nil
		case <-q.done:
			return 0, os.ErrClosed
		default:
			return 0, ErrAgain
		}
	}
	select {
	case p := <-q.in:
		return copy(b, p), nil
	case <-q.done:
		return 0, os.ErrClosed
	}
}

func (q *memQueue) Write(parts [][]byte) error {
	select {
	case q.out <- bytes.Join(parts, nil):
		return nil
	case <-q.done:
		return os.ErrClosed
	}
}
