// Package updown runs the commands of leftupdown=, as freeswan.md 6.13 has
// them: what they are called with, in which order, for how long, and what
// becomes of their output. It also is the default command, `ipsec _updown`.
//
// A Runner never makes its caller wait. Commands of one connection run one
// after the other, those of different connections beside each other. No shell
// takes part, and nothing of this process is inherited: text that a peer has
// chosen is only ever the value of a variable, and of harmless characters.
package updown

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Call is one command to run.
type Call struct {
	Name     string // of the connection
	Instance int
	Verb     string     // as up-client-v6
	Command  []string   // and arguments, as leftupdown= has them
	Env      [][]string // the command runs once with each, until one fails
}

// Result is how a Call ended.
type Result struct {
	Call
	Err error // nil: all ran with status 0
}

// Base is the verb without its suffix, as up.
func (r Result) Base() string { return base(r.Verb) }

// Aborts reports whether what the verb stands for must be undone. Failures of
// the other verbs are of no consequence.
func (r Result) Aborts() bool {
	return r.Err != nil && (r.Base() == "up" || r.Base() == "route")
}

// Line is what the log says of a failure, as "up-client command exited with
// status 1"; empty if there was none.
func (r Result) Line() string {
	if r.Err == nil {
		return ""
	}
	return r.Verb + " command " + r.Err.Error()
}

// Options are what a Runner is made of.
type Options struct {
	// Ipsec is the path of the command that is called ipsec, as Command and
	// within scripts; empty means that it is looked for like all others.
	Ipsec string
	// Env is added to the environment of every command, as
	// IPSEC_CONFS=/etc/lab.
	Env []string
	// Limit is how long a command may take; 0 means 30 s.
	Limit time.Duration
	// Output, if not nil, gets each line of output without its end, in
	// printable characters only.
	Output func(c Call, line string)
	// Done, if not nil, gets each Result. Output and Done are called from
	// goroutines of the Runner, in order for one connection; the next command
	// of that connection waits for them.
	Done func(Result)
}

// Errors of Submit. Nothing has been run then, and Done is not called.
var (
	ErrFull   = errors.New("too many updown commands are waiting")
	ErrClosed = errors.New("no more updown commands are run")
)

type queueKey struct {
	name     string
	instance int
}

// Runner runs calls. All methods are safe for concurrent use.
type Runner struct {
	o      Options
	path   string // PATH of the commands
	ctx    context.Context
	cancel context.CancelFunc
	slots  chan struct{} // held while a command runs
	wg     sync.WaitGroup

	mu     sync.Mutex
	queues map[queueKey][]Call // the first of each is running
	total  int
	closed bool
}

// New makes a Runner. It has no goroutines while nothing runs.
func New(o Options) *Runner {
	if o.Limit == 0 {
		o.Limit = timeLimit
	}
	if o.Output == nil {
		o.Output = func(Call, string) {}
	}
	if o.Done == nil {
		o.Done = func(Result) {}
	}
	r := &Runner{o: o, path: pathOf(o.Ipsec), slots: make(chan struct{}, maxRunning), queues: map[queueKey][]Call{}}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

// Submit queues a call behind those of the same connection and returns at once.
func (r *Runner) Submit(c Call) error {
	k := queueKey{c.Name, c.Instance}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closed:
		return ErrClosed
	case len(r.queues[k]) >= maxPerConnection || r.total >= maxQueued:
		return ErrFull
	}
	r.queues[k] = append(r.queues[k], c)
	r.total++
	if len(r.queues[k]) == 1 {
		r.wg.Go(func() { r.serve(k, c) })
	}
	return nil
}

// serve runs the queue of one connection until it is empty.
func (r *Runner) serve(k queueKey, c Call) {
	for more := true; more; c, more = r.next(k) {
		r.slots <- struct{}{}
		err := r.run(c)
		<-r.slots
		r.o.Done(Result{c, err})
	}
}

// next drops the call that has ended and returns the one after it.
func (r *Runner) next(k queueKey) (Call, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.total--
	rest := r.queues[k][1:]
	if len(rest) == 0 {
		delete(r.queues, k)
		return Call{}, false
	}
	r.queues[k] = rest
	return rest[0], true
}

// Drain takes no more calls and waits until those queued have ended. When ctx
// is done it kills what runs, and what waits fails.
func (r *Runner) Drain(ctx context.Context) {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	stop := context.AfterFunc(ctx, r.cancel)
	defer stop()
	r.wg.Wait()
	r.cancel()
}

// Close kills what runs and fails what waits.
func (r *Runner) Close() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r.Drain(ctx)
}
