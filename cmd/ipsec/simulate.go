package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cygnet/internal/sim"
	"cygnet/internal/sim/swarm"
	"cygnet/internal/whack"
)

func newSimulate() *cobra.Command {
	o := swarm.Options{Shrink: 3, Budget: 500}
	var asJSON, trace bool
	var mesh int
	c := &cobra.Command{
		Use:   "simulate [FILE...]",
		Short: "Run gateways in virtual time with every fault, by seed",
		Long: `simulate runs whole gateways of this program in one process, without network or
clock: their IKE messages are lost, doubled, delayed and corrupted, wires are
cut, NATs forget, addresses change, daemons crash, clocks stop and leap, strangers
forge and replay. After every event it checks that both ends agree, that nothing
passes in the clear or is used twice, and in the end that all tunnels carry and
nothing is left over.

A seed decides everything, so that what fails once fails again; it is printed
as the shortest script found that still fails. FILEs are such scripts, which are
run and told message by message. simulate needs no privilege and touches nothing.

With --mesh there are no faults but very many tunnels: so many gateways with raw
public keys, each with a tunnel to each other one. Every path is brought up by its
first packet, has its IKE SA and its Child SA rekeyed, and carries packets both
ways, under the same checks; the figures say what that takes. A thousand gateways
want half an hour of a processor and 21 GB of memory, with GOMEMLIMIT=20GiB and
GOGC=40 in the environment.

	ipsec simulate --seeds 10000
	ipsec simulate --seed 4711 --seeds 1 --trace
	ipsec simulate --mesh 100`,
		RunE: func(cmd *cobra.Command, args []string) error {
			out := cmd.OutOrStdout()
			switch {
			case len(args) > 0:
				return runScripts(out, args)
			case cmd.Flags().Changed("mesh"):
				return simulateMesh(out, cmd.ErrOrStderr(), o.First, mesh, asJSON)
			case trace:
				return tellSeed(out, o.First)
			}
			o.Told = tellSeeds(cmd.ErrOrStderr(), o.Seeds)
			return simulate(cmd.Context(), out, o, asJSON)
		},
	}
	f := c.Flags()
	f.Uint64Var(&o.Seeds, "seeds", 1000, "how many seeds")
	f.Uint64Var(&o.First, "seed", 0, "the first seed")
	f.IntVar(&mesh, "mesh", 0, "a full mesh of so many gateways instead of seeds")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	f.BoolVar(&trace, "trace", false, "print the script and the history of the first seed only")
	return c
}

// simulation is the JSON of a run.
type simulation struct {
	Schema  int               `json:"schema"`
	Version string            `json:"version"`
	First   uint64            `json:"first_seed"`
	Seeds   uint64            `json:"seeds"`
	Seconds float64           `json:"seconds"`
	Hours   float64           `json:"virtual_hours"`
	Faults  int               `json:"faults"`
	Crossed int               `json:"collisions"`
	Repeats int               `json:"seeds_run_twice"`
	Stats   sim.Stats         `json:"counts"`
	Failed  []simulatedFailed `json:"violations"`
}

type simulatedFailed struct {
	Seed   uint64   `json:"seed"`
	Rule   string   `json:"rule"`
	Why    string   `json:"why"`
	Script []string `json:"script,omitempty"`
}

func simulate(ctx context.Context, out io.Writer, o swarm.Options, asJSON bool) error {
	r := swarm.Run(ctx, o)
	var err error
	if asJSON {
		err = printJSON(out, simulationOf(o, r))
	} else {
		err = printSimulation(out, r)
	}
	switch {
	case err != nil:
		return err
	case len(r.Failed) > 0:
		return fail(whack.ExitFailed, "%d of %d seeds break a rule", len(r.Failed), r.Seeds)
	case r.Seeds < o.Seeds:
		return fail(whack.ExitFailed, "interrupted after %d seeds", r.Seeds)
	}
	return nil
}

// tellSeeds prints progress now and then.
func tellSeeds(errs io.Writer, seeds uint64) func(swarm.Result) {
	begin := time.Now()
	said := begin
	return func(r swarm.Result) {
		if time.Since(said) < progressEvery || r.Seeds == seeds {
			return
		}
		said = time.Now()
		fmt.Fprintf(errs, "%5.0f s: %d of %d seeds, %d violations\n", time.Since(begin).Seconds(), r.Seeds, seeds, len(r.Failed))
	}
}

func simulationOf(o swarm.Options, r swarm.Result) simulation {
	s := simulation{
		Schema: 1, Version: release, First: o.First, Seeds: r.Seeds, Seconds: r.Took.Seconds(), Hours: r.Stats.Virtual.Hours(),
		Faults: r.Stats.Faults(), Crossed: r.Stats.Collisions(), Repeats: r.Repeats, Stats: r.Stats, Failed: []simulatedFailed{},
	}
	for _, f := range r.Failed {
		s.Failed = append(s.Failed, simulatedFailed(f))
	}
	return s
}

func printSimulation(out io.Writer, r swarm.Result) error {
	s := r.Stats
	var b strings.Builder
	fmt.Fprintf(&b, "%d seeds, %.0f virtual hours, in %s\n", r.Seeds, s.Virtual.Hours(), r.Took.Round(time.Second))
	for _, row := range []struct {
		what string
		text string
	}{
		{"exchanges", fmt.Sprintf("%d: %d handshakes, %d IKE SAs and %d Child SAs rekeyed (at each end), %d retransmissions", s.Exchanges, s.Handshakes, s.IKERekeys, s.ChildRekeys, s.Retransmits)},
		{"", fmt.Sprintf("%d reauthentications, %d resumptions tried, %d redirects", s.Reauths, s.Resumes, s.Redirects)},
		{"datagrams", fmt.Sprintf("%d", s.Sent)},
		{"faults", fmt.Sprintf("%d: %d lost, %d doubled, %d late, %d corrupted, %d cut off, %d too big, %d replayed, %d forged", s.Faults(), s.Lost, s.Doubled, s.Late, s.Corrupted, s.Blocked, s.TooBig, s.Replayed, s.Forged)},
		{"", fmt.Sprintf("%d partitions, %d crashes, %d NAT rebinds, %d address changes, %d suspends, %d clock leaps, %d times of day set, %d flushes of SAs", s.Cuts, s.Crashes, s.Rebinds, s.Moves, s.Suspends, s.Leaps, s.WallSteps, s.Flushes)},
		{"collisions", fmt.Sprintf("%d: %d of IKE_SA_INIT, %d of CREATE_CHILD_SA, %d with INFORMATIONAL", s.Collisions(), s.CrossedInit, s.CrossedCreate, s.CrossedInfo)},
		{"packets", fmt.Sprintf("%d carried, %d lost by the network", s.DataDelivered, s.DataLost)},
		{"run twice", fmt.Sprintf("%d seeds, with equal histories", r.Repeats)},
		{"violations", fmt.Sprintf("%d", len(r.Failed))},
	} {
		fmt.Fprintf(&b, "  %-11s %s\n", row.what, row.text)
	}
	for _, f := range r.Failed {
		fmt.Fprintf(&b, "\nseed %d: %s\n", f.Seed, f.Why)
		for _, line := range f.Script {
			fmt.Fprintf(&b, "\t%s\n", line)
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// tellSeed prints what a seed does and what comes of it.
func tellSeed(out io.Writer, seed uint64) error {
	p := sim.NewPlan(seed)
	if _, err := fmt.Fprintf(out, "%s\n", p); err != nil {
		return err
	}
	return tell(out, fmt.Sprintf("seed %d", seed), sim.Run(p.Lines(), true))
}

func runScripts(out io.Writer, files []string) error {
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			return fail(whack.ExitFailed, "%w", err)
		}
		// A scenario of the tests has a caption before its script, and its
		// history after.
		script := string(text)
		if _, rest, ok := strings.Cut(script, "-- script --\n"); ok {
			script, _, _ = strings.Cut(rest, "\n-- trace --")
		}
		if err := tell(out, name, sim.Run(strings.Split(script, "\n"), true)); err != nil {
			return err
		}
	}
	return nil
}

func tell(out io.Writer, name string, o sim.Outcome) error {
	if _, err := io.WriteString(out, o.World.Trace.String()); err != nil {
		return err
	}
	switch {
	case o.Err != nil:
		return fail(whack.ExitFailed, "%s: %w", name, o.Err)
	case o.Failed() != nil:
		return fail(whack.ExitFailed, "%s: %d breaches of rules, the first %s", name, len(o.World.Breaches), o.Failed())
	}
	return nil
}
