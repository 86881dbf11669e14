package sim_test

import (
	"context"
	"flag"
	"strings"
	"testing"
	"time"

	"cygnet/internal/sim"
	"cygnet/internal/sim/swarm"
)

var (
	seeds = flag.Uint64("seeds", 2000, "how many seeds the swarm runs")
	first = flag.Uint64("seed", 0, "the first of them")
)

// Whatever was done and whatever went wrong, afterwards what is wanted works
// and nothing is left over. A seed that fails is cut down to a script.
func TestSwarm(t *testing.T) {
	o := swarm.Options{First: *first, Seeds: *seeds, Shrink: 3, Budget: 300}
	if testing.Short() {
		o.Seeds = min(o.Seeds, 100)
	}
	r := swarm.Run(context.Background(), o)
	for _, f := range r.Failed {
		t.Errorf("seed %d: %s", f.Seed, f.Why)
		if f.Script != nil {
			history := strings.Split(sim.Run(f.Script, true).World.Trace.String(), "\n")
			t.Logf("seed %d:\n%s\n\n%s", f.Seed, strings.Join(f.Script, "\n"), strings.Join(history[max(0, len(history)-100):], "\n"))
		}
	}
	s := r.Stats
	t.Logf("%d seeds in %v, %.0f virtual hours: %d exchanges, %d faults, %d collisions, %d packets carried, %d lost\n%+v",
		r.Seeds, r.Took.Round(time.Second), s.Virtual.Hours(), s.Exchanges, s.Faults(), s.Collisions(), s.DataDelivered, s.DataLost, s)
	if r.Seeds < 100 {
		return
	}
	for what, n := range map[string]int{
		"crossed IKE_SA_INIT": s.CrossedInit, "crossed CREATE_CHILD_SA": s.CrossedCreate, "crossed INFORMATIONAL": s.CrossedInfo,
		"lost": s.Lost, "doubled": s.Doubled, "late": s.Late, "corrupted": s.Corrupted, "blocked": s.Blocked, "replayed": s.Replayed, "forged": s.Forged,
		"cuts": s.Cuts, "crashes": s.Crashes, "rebinds": s.Rebinds, "moves": s.Moves, "suspends": s.Suspends, "leaps": s.Leaps, "times of day set": s.WallSteps, "flushes": s.Flushes,
		"reauthentications": s.Reauths, "redirects": s.Redirects, "resumptions": s.Resumes,
		"child rekeys": s.ChildRekeys, "IKE rekeys": s.IKERekeys, "handshakes": s.Handshakes, "packets": s.DataDelivered, "copies": s.DataDoubled,
	} {
		if n == 0 {
			t.Errorf("the swarm has met no %s", what)
		}
	}
	if r.Repeats == 0 {
		t.Error("no seed was run twice")
	}
}

// BenchmarkSwarm is the long run: 100,000 seeds, in one iteration.
func BenchmarkSwarm(b *testing.B) {
	n := uint64(100_000)
	if *seeds != 2000 {
		n = *seeds
	}
	for range b.N {
		r := swarm.Run(context.Background(), swarm.Options{First: *first, Seeds: n, Shrink: 3, Budget: 300})
		for _, f := range r.Failed {
			b.Errorf("seed %d: %s\n%s", f.Seed, f.Why, strings.Join(f.Script, "\n"))
		}
		s := r.Stats
		b.ReportMetric(float64(r.Seeds), "seeds")
		b.ReportMetric(s.Virtual.Hours(), "virtual-hours")
		b.ReportMetric(float64(s.Exchanges), "exchanges")
		b.ReportMetric(float64(s.Faults()), "faults")
		b.ReportMetric(float64(s.Collisions()), "collisions")
		b.ReportMetric(float64(s.DataDelivered), "packets-carried")
		b.ReportMetric(float64(s.DataLost), "packets-lost")
		b.ReportMetric(float64(len(r.Failed)), "violations")
	}
}
