// Package swarm runs many simulations by seed on all processors, adds up what
// they were made of, and cuts down those that fail. The command `ipsec
// simulate' and the tests of package sim use it.
package swarm

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"cygnet/internal/sim"
)

// Options says which seeds.
type Options struct {
	First uint64
	Seeds uint64
	// Shrink is how many of the seeds that fail are cut down, and Budget how
	// many runs each may take.
	Shrink, Budget int
	// Told, if not nil, gets the Result so far after each seed, from one
	// goroutine at a time.
	Told func(Result)
}

// Result is what became of them.
type Result struct {
	Seeds   uint64 // that were run; fewer than asked for if it was interrupted
	Stats   sim.Stats
	Took    time.Duration
	Repeats int // seeds that were run twice, one in a hundred (trust.md, I15)
	Failed  []Failure
}

// Failure is a seed that broke a rule.
type Failure struct {
	Seed   uint64
	Rule   string
	Why    string
	Script []string // the shortest found that breaks the same rule; nil if it was not cut down
}

// Run runs the seeds, until ctx is done.
func Run(ctx context.Context, o Options) Result {
	var (
		mu   sync.Mutex
		r    Result
		next atomic.Uint64
		wait sync.WaitGroup
	)
	start := time.Now()
	for range runtime.GOMAXPROCS(0) {
		wait.Go(func() {
			for ctx.Err() == nil {
				k := next.Add(1) - 1
				if k >= o.Seeds {
					return
				}
				stats, repeated, failure := one(o.First + k)
				mu.Lock()
				r.Seeds++
				r.Stats = r.Stats.Plus(stats)
				if repeated {
					r.Repeats++
				}
				if failure != nil {
					r.Failed = append(r.Failed, *failure)
				}
				if o.Told != nil {
					o.Told(r)
				}
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	slices.SortFunc(r.Failed, func(a, b Failure) int { return int(int64(a.Seed - b.Seed)) })
	for i := range r.Failed {
		if f := &r.Failed[i]; i < o.Shrink && f.Rule != ruleScript && f.Rule != ruleRepeat && ctx.Err() == nil {
			f.Script, _ = sim.Shrink(sim.NewPlan(f.Seed), f.Rule, o.Budget)
		}
	}
	r.Took = time.Since(start)
	return r
}

// What can go wrong beside the rules that are checked at every step: a script
// that is no script, and a seed with two histories.
const (
	ruleScript = "script"
	ruleRepeat = "I15"
)

// repeatEvery is which seeds are run twice.
const repeatEvery = 100

func one(seed uint64) (stats sim.Stats, repeated bool, failure *Failure) {
	lines := sim.NewPlan(seed).Lines()
	o := sim.Run(lines, false)
	stats = o.World.Stats
	if o.Err != nil {
		return stats, false, &Failure{Seed: seed, Rule: ruleScript, Why: o.Err.Error()}
	}
	if b := o.Failed(); b != nil {
		return stats, false, &Failure{Seed: seed, Rule: b.Rule, Why: b.String()}
	}
	if seed%repeatEvery != 0 {
		return stats, false, nil
	}
	if again := sim.Run(lines, false); again.World.Trace.Hash() != o.World.Trace.Hash() || again.World.Stats != stats {
		failure = &Failure{Seed: seed, Rule: ruleRepeat, Why: "two runs have two histories"}
	}
	return stats, true, failure
}
