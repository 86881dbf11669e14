package pluto

import (
	"errors"
	"fmt"
	"sync"

	"cygnet/internal/ike"
)

// job is work for a machine, with where its result goes.
type job struct {
	serial uint32
	id     uint64
	work   ike.Job
}

type result struct {
	serial uint32
	done   ike.JobDone
}

// workers runs jobs. The queue before it is the loop's own list, which cannot
// grow beyond a few jobs for each machine. Jobs that may wait for others leave
// their worker for a goroutine of their own, as long as there are not too many.
type workers struct {
	jobs    chan job
	results chan result
	waiting chan struct{} // one for each that waits
	wg      sync.WaitGroup
}

func startWorkers(n int, env ike.Env) *workers {
	w := &workers{jobs: make(chan job), results: make(chan result, n), waiting: make(chan struct{}, maxWaiting)}
	for range n {
		w.wg.Go(func() {
			for j := range w.jobs {
				w.work(j, env)
			}
		})
	}
	return w
}

func (w *workers) work(j job, env ike.Env) {
	do := func() {
		r, err := run(j.work, env)
		w.results <- result{j.serial, ike.JobDone{ID: j.id, Result: r, Err: err}}
	}
	if x, ok := j.work.(ike.Waiting); ok && x.Waits() {
		select {
		case w.waiting <- struct{}{}:
			w.wg.Go(func() { do(); <-w.waiting })
			return
		default:
		}
		if ike.OfStranger(j.work) { // it gives way to those whom a connection names
			w.results <- result{j.serial, ike.JobDone{ID: j.id, Err: errBusy}}
			return
		}
	}
	do()
}

// errBusy is what becomes of strangers when too many wait for the DNS.
var errBusy = errors.New("too many peers wait for the DNS already")

// run does the work. A job that panics on what a peer sent fails its exchange
// instead of the daemon.
func run(j ike.Job, env ike.Env) (r any, err error) {
	defer func() {
		if p := recover(); p != nil {
			r, err = nil, fmt.Errorf("%s: internal error: %v", j, p)
		}
	}()
	return j.Run(env)
}

// stop waits for the workers; results that come meanwhile are dropped.
func (w *workers) stop() {
	close(w.jobs)
	done := make(chan struct{})
	go func() { w.wg.Wait(); close(done) }()
	for {
		select {
		case <-w.results:
		case <-done:
			return
		}
	}
}
