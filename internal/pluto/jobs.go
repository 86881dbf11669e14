package pluto

import (
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
// grow beyond a few jobs for each machine.
type workers struct {
	jobs    chan job
	results chan result
	wg      sync.WaitGroup
}

func startWorkers(n int, env ike.Env) *workers {
	w := &workers{jobs: make(chan job), results: make(chan result, n)}
	for range n {
		w.wg.Go(func() {
			for j := range w.jobs {
				r, err := run(j.work, env)
				w.results <- result{j.serial, ike.JobDone{ID: j.id, Result: r, Err: err}}
			}
		})
	}
	return w
}

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
