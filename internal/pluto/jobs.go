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

// backlog is the jobs that no worker has taken yet. Those of callers who have yet
// to prove who they are come after all others: a flood of expensive first messages
// delays no rekeying (adversary.md RES-13).
type backlog struct{ ours, strangers []job }

func (b *backlog) add(j job, stranger bool) {
	if stranger {
		b.strangers = append(b.strangers, j)
		return
	}
	b.ours = append(b.ours, j)
}

// first is the job whose turn it is.
func (b *backlog) first() (job, bool) {
	for _, list := range [][]job{b.ours, b.strangers} {
		if len(list) > 0 {
			return list[0], true
		}
	}
	return job{}, false
}

// taken removes first.
func (b *backlog) taken() {
	if len(b.ours) > 0 {
		b.ours = b.ours[1:]
		return
	}
	b.strangers = b.strangers[1:]
}

// workers runs jobs. The backlog before it is the loop's own, and cannot grow
// beyond a few jobs for each machine. Jobs that may wait for others leave
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
