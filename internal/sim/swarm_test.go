package sim

import (
	"flag"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	swarmSeeds = flag.Uint64("seeds", 2000, "how many seeds the swarm runs")
	swarmSeed  = flag.Uint64("seed", 0, "the first of them")
)

// Whatever was done and whatever went wrong, afterwards what is wanted works
// and nothing is left over. A seed that fails is cut down to a script.
func TestSwarm(t *testing.T) {
	seeds := *swarmSeeds
	if testing.Short() {
		seeds = min(seeds, 100)
	}
	var (
		mu    sync.Mutex
		total Stats
		bad   []uint64
		next  atomic.Uint64
		wait  sync.WaitGroup
	)
	start := time.Now()
	for range runtime.GOMAXPROCS(0) {
		wait.Go(func() {
			for k := next.Add(1) - 1; k < seeds; k = next.Add(1) - 1 {
				seed := *swarmSeed + k
				o := Run(NewPlan(seed).Lines(), false)
				mu.Lock()
				total = total.Plus(o.World.Stats)
				if o.Err != nil || o.Failed() != nil {
					bad = append(bad, seed)
				}
				if o.Err != nil {
					t.Errorf("seed %d: %v", seed, o.Err)
				}
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	slices.Sort(bad)
	for i, seed := range bad {
		if o := Run(NewPlan(seed).Lines(), false); o.Failed() != nil {
			t.Errorf("seed %d: %v", seed, *o.Failed())
			if i < 3 {
				tell(t, seed, o.Failed().Rule)
			}
		}
	}
	t.Logf("%d seeds in %v, %.0f virtual hours: %d events, %d exchanges, %d faults, %d collisions, %d packets carried, %d lost\n%+v",
		seeds, time.Since(start).Round(time.Second), total.Virtual.Hours(), total.Events, total.Exchanges, total.Faults(), total.Collisions(), total.DataDelivered, total.DataLost, total)
	if seeds >= 100 && (total.Collisions() == 0 || total.Faults() == 0 || total.ChildRekeys == 0 || total.IKERekeys == 0) {
		t.Error("the swarm does not meet what it is for")
	}
}

// tell prints the shortest script that still fails, and the end of its history.
func tell(t *testing.T, seed uint64, rule string) {
	t.Helper()
	script, runs := Shrink(NewPlan(seed), rule, 300)
	o := Run(script, true)
	lines := strings.Split(o.World.Trace.String(), "\n")
	if len(lines) > 100 {
		lines = append([]string{"..."}, lines[len(lines)-100:]...)
	}
	t.Logf("seed %d, after %d runs:\n%s\n\n%s", seed, runs, strings.Join(script, "\n"), strings.Join(lines, "\n"))
}

// I15: one seed in a hundred is run twice.
func TestSwarmRepeats(t *testing.T) {
	for seed := uint64(0); seed < 2000; seed += 100 {
		a, b := Run(NewPlan(seed).Lines(), false), Run(NewPlan(seed).Lines(), false)
		if a.World.Trace.Hash() != b.World.Trace.Hash() || a.World.Stats != b.World.Stats {
			t.Errorf("seed %d: two histories", seed)
		}
	}
}

// Every kind of event is in some seed's plan.
func TestSwarmKinds(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(300) {
		for _, line := range NewPlan(seed).Steps {
			w := strings.Fields(line)
			for _, word := range w[2:min(4, len(w))] {
				seen[word]++
			}
		}
	}
	for _, verb := range []string{"up", "route", "down", "rekey", "rekey-ike", "drop", "probe", "ping", "crash", "start", "cut", "mend", "suspend", "leap", "move", "rebind", "replay", "forge"} {
		if seen[verb] == 0 {
			t.Errorf("no plan of 300 has %q", verb)
		}
	}
}

// A plan is cut down to what the failure needs: here a wire that nobody mends.
func TestShrink(t *testing.T) {
	p := NewPlan(3)
	p.Steps = append(p.Steps, fmt.Sprintf("at %s cut west east", stepTime(p.Steps[len(p.Steps)-1])))
	p.Tail = slices.DeleteFunc(p.Tail, func(line string) bool { return strings.HasSuffix(line, " calm") })
	script, runs := Shrink(p, "I10", 300)
	text := strings.Join(script, "\n")
	if o := Run(script, false); o.Failed() == nil || o.Failed().Rule != "I10" {
		t.Errorf("the script that is left does not fail: %v", o.World.Breaches)
	}
	if steps := len(script) - strings.Count(text, "node ") - strings.Count(text, "tunnel ") - len(p.Tail); runs > 300 || steps > 5 || !strings.Contains(text, "cut west east") {
		t.Errorf("%d runs left %d steps:\n%s", runs, steps, text)
	}
}
