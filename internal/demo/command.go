package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"cygnet/internal/lab"
	"cygnet/scenarios"
)

// prefix and the number of the process begin the names of namespaces.
const prefix = "demo"

// first is the scenario that a bare `ipsec demo` shows.
const first = "site-to-site"

// NewCommand is `ipsec demo`. Errors that it returns are for the caller to
// print.
func NewCommand() *cobra.Command {
	var opt options
	c := &cobra.Command{
		Use:   "demo [SCENARIO|FILE.txt...]",
		Short: "Show two gateways and a live tunnel on this machine",
		Long: `demo builds a network of hosts inside this machine (network namespaces), runs
real gateways in it, sends traffic through their tunnels, and watches the wires
between them. It touches no interface, address or firewall rule of the machine,
and removes everything when it is done.

It needs no preparation: as root it makes network namespaces, otherwise it first
enters a user namespace of its own.

Without a SCENARIO it shows ` + first + `; ` + "`ipsec demo list'" + ` names them all. A
scenario is a text file; a FILE.txt of your own, after the model of those in the
directory scenarios of the sources, is run like them.`,
		ValidArgsFunction: completeNames,
		Args:              cobra.ArbitraryArgs,
		RunE:              func(cmd *cobra.Command, args []string) error { return opt.main(cmd, args) },
	}
	c.Flags().BoolVar(&opt.all, "all", false, "run every scenario")
	c.Flags().BoolVar(&opt.keep, "keep", false, "leave the network standing; see `ipsec demo shell'")
	c.Flags().BoolVar(&opt.json, "json", false, "print the outcome as JSON")
	c.Flags().IntVarP(&opt.jobs, "jobs", "j", 1, "scenarios at a time (with --all: 3)")
	c.Flags().BoolVarP(&opt.verbose, "verbose", "v", false, "show the configuration files")
	c.AddCommand(newList(), newShell(), newStop(), newHold())
	return c
}

type options struct {
	all, keep, json, verbose bool
	jobs                     int
}

// allJobs is how many scenarios --all runs at a time. They mostly wait.
const allJobs = 3

func completeNames(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	all, err := Load(scenarios.Files)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	for _, s := range all {
		names = append(names, s.Name+"\t"+s.Title)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// choose is the scenarios that the command line means, in its order.
func (o options) choose(names []string) ([]*Scenario, error) {
	all, err := Load(scenarios.Files)
	if err != nil || o.all {
		return all, err
	}
	if len(names) == 0 {
		names = []string{first}
	}
	var chosen []*Scenario
	for _, n := range names {
		s, err := find(all, n)
		if err != nil {
			return nil, err
		}
		chosen = append(chosen, s)
	}
	if o.keep && len(chosen) > 1 {
		return nil, errors.New("--keep works with one scenario")
	}
	return chosen, nil
}

// find is the scenario of that name, or in that file.
func find(all []*Scenario, name string) (*Scenario, error) {
	for _, s := range all {
		if s.Name == name {
			return s, nil
		}
	}
	if !strings.HasSuffix(name, ".txt") {
		return nil, fmt.Errorf("no scenario %q (`ipsec demo list' names them)", name)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	s, err := Parse(strings.TrimSuffix(filepath.Base(name), ".txt"), text)
	if err != nil {
		return nil, fmt.Errorf("scenario %s: %w", name, err)
	}
	return s, nil
}

func (o options) main(cmd *cobra.Command, args []string) error {
	chosen, err := o.choose(args)
	if err != nil {
		return err
	}
	if o.keep {
		if err := nothingStands(); err != nil {
			return err
		}
	}
	if err := enter(); err != nil {
		return err
	}
	binary, err := os.Executable()
	if err != nil {
		return err
	}
	if o.all && !cmd.Flags().Changed("jobs") {
		o.jobs = allJobs
	}
	r := Runner{Binary: binary, Keep: o.keep, Prefix: prefix + strconv.Itoa(os.Getpid())}
	return o.run(cmd.Context(), r, chosen, cmd.OutOrStdout())
}

func (o options) run(ctx context.Context, r Runner, chosen []*Scenario, out io.Writer) error {
	outcomes := o.perform(ctx, r, chosen, out)
	if o.keep && outcomes[0].lab != nil {
		if err := leave(outcomes[0].lab, r.Binary, out); err != nil {
			return err
		}
	}
	if o.json {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		if err := e.Encode(struct {
			Version   int        `json:"version"`
			Scenarios []*Outcome `json:"scenarios"`
		}{1, outcomes}); err != nil {
			return err
		}
	}
	failed := 0
	for _, outcome := range outcomes {
		if !outcome.OK {
			failed++
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d scenarios failed", failed, len(chosen))
	}
	return nil
}

// perform runs the scenarios, o.jobs at a time, and returns their outcomes in
// the same order. Stories of several at a time are told one after the other, as
// each ends.
func (o options) perform(ctx context.Context, r Runner, chosen []*Scenario, out io.Writer) []*Outcome {
	outcomes := make([]*Outcome, len(chosen))
	var telling sync.Mutex
	var group errgroup.Group
	group.SetLimit(max(o.jobs, 1))
	for i, s := range chosen {
		if ctx.Err() != nil {
			outcomes[i] = &Outcome{Scenario: s.Name, Title: s.Title, Error: ctx.Err().Error()}
			continue
		}
		group.Go(func() error {
			var buffer bytes.Buffer
			one := r // with names and a story of its own
			one.Tell = o.teller(out)
			if o.jobs > 1 {
				one.Prefix = fmt.Sprintf("%s-%d", r.Prefix, i+1)
				one.Tell = o.teller(&buffer)
			}
			outcomes[i], _ = one.Run(ctx, s) // the error is in the outcome
			telling.Lock()
			defer telling.Unlock()
			buffer.WriteTo(out)
			return nil
		})
	}
	group.Wait()
	return outcomes
}

// teller writes the story to out, with moving progress if it is the only one.
func (o options) teller(out io.Writer) Teller {
	if o.json {
		return Silent{}
	}
	return &Story{Out: out, Verbose: o.verbose, Still: o.jobs > 1}
}

// enter makes sure that this process may build networks; if need be it goes on
// as another process in a user namespace and ends with that one's exit code.
func enter() error {
	if lab.Inside() {
		return lab.Settle()
	}
	if lab.CanBuild() {
		return sweep()
	}
	code, err := lab.Isolate()
	if err != nil {
		return fmt.Errorf("neither network namespaces nor user namespaces can be made here: %w", err)
	}
	os.Exit(code)
	return nil
}

// sweep removes what a demo that was killed has left, but not one that stands.
func sweep() error {
	s, err := readStanding()
	if err != nil {
		return err
	}
	kept := ""
	if s != nil {
		kept = s.Prefix
	}
	return lab.Sweep(prefix, kept)
}

func newList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "Name the scenarios",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := Load(scenarios.Files)
			for _, s := range all {
				fmt.Fprintf(cmd.OutOrStdout(), "%-20s %s\n", s.Name, s.Title)
			}
			return err
		},
	}
}
