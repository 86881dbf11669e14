package pluto

import (
	"fmt"
	"testing"

	"cygnet/internal/ike"
)

// task is a job that ends when it is told to; one with waits set may wait for
// others.
type task struct {
	end   chan struct{}
	waits bool
}

func (t task) Run(ike.Env) (any, error) { <-t.end; return t.waits, nil }
func (t task) String() string           { return fmt.Sprintf("task %v", t.waits) }
func (t task) Waits() bool              { return t.waits }

// Where as many wait as may, a stranger is turned away at once, so that a crowd
// with slow name servers holds up nobody whom a connection names.
func TestStrangersGiveWay(t *testing.T) {
	w := startWorkers(1, ike.Env{})
	dns := make(chan struct{})
	for n := range maxWaiting {
		w.jobs <- job{id: uint64(n), work: task{dns, true}}
	}
	c := &ike.Conn{Stranger: &ike.Stranger{}}
	for id, work := range []ike.Job{ike.Vouch{Conn: c}, ike.Verify{Conn: c}} {
		w.jobs <- job{id: uint64(id), work: work}
		if r := <-w.results; r.done.ID != uint64(id) || r.done.Err != errBusy {
			t.Errorf("%+v", r)
		}
	}
	close(dns)
	for range maxWaiting {
		<-w.results
	}
	w.stop()
}

// A single worker still computes while jobs wait for name servers; there may be
// many of these, and beyond that they hold up the others instead of memory.
func TestWaitingJobsHoldUpNobody(t *testing.T) {
	w := startWorkers(1, ike.Env{})
	dns := make(chan struct{})
	for n := range maxWaiting {
		w.jobs <- job{id: uint64(n), work: task{dns, true}}
	}
	compute := make(chan struct{})
	close(compute)
	w.jobs <- job{id: 1000, work: task{compute, false}}
	if r := <-w.results; r.done.ID != 1000 || r.done.Result != false {
		t.Errorf("%+v came first", r)
	}
	w.jobs <- job{id: 1001, work: task{dns, true}} // one too many: the worker waits with it
	select {
	case w.jobs <- job{id: 1002, work: task{compute, false}}:
		t.Error("more jobs wait than may")
	default:
	}
	close(dns)
	for range maxWaiting + 1 {
		if r := <-w.results; r.done.Result != true {
			t.Errorf("%+v", r)
		}
	}
	w.stop()
}
