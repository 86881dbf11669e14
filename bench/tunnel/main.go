// Command tunnel measures a site-to-site tunnel through Cygnet beside other
// userspace tunnels on the same machine in the same run: bulk TCP, 64-octet
// datagrams, round trip, and the processor time that the daemons of both
// gateways spend. Rounds are interleaved, medians are printed with their ratio
// to Cygnet. Only ratios of one run mean anything.
//
// It needs root, iperf3, and for the peers strongSwan's charon; wireguard-go is
// built from the module that go.mod names.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"cygnet/internal/lab"
)

type options struct {
	binary  string
	rounds  int
	seconds int
	only    string
}

func main() {
	var o options
	flag.StringVar(&o.binary, "ipsec", "bin/ipsec", "the ipsec command to measure")
	flag.IntVar(&o.rounds, "rounds", 3, "interleaved rounds")
	flag.IntVar(&o.seconds, "seconds", 3, "length of one measurement")
	flag.StringVar(&o.only, "only", "", "comma-separated subjects: "+strings.Join(names(), ","))
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	binary, err := filepath.Abs(o.binary)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "cygnet-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)

	var up []*bed
	defer func() {
		for _, b := range up {
			b.lab.Close()
		}
	}()
	for _, s := range subjects {
		if o.only != "" && !slices.Contains(strings.Split(o.only, ","), s.name) {
			continue
		}
		progress("starting %s", s.name)
		b, err := newBed(ctx, s, binary, work)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		up = append(up, b)
	}
	if len(up) == 0 {
		return errors.New("nothing to measure")
	}
	for round := range o.rounds {
		for _, b := range up {
			for _, m := range measures {
				progress("round %d of %d: %s, %s", round+1, o.rounds, b.subject.name, m.title)
				if err := b.measure(ctx, m, o.seconds); err != nil {
					return fmt.Errorf("%s, %s: %w", b.subject.name, m.title, err)
				}
			}
		}
	}
	progress("done")
	fmt.Print(table(up))
	return nil
}

func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s  %s\n", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
}

// bed is one subject's network, standing for the whole run.
type bed struct {
	subject subject
	lab     *lab.Lab
	daemons []int // process numbers on both gateways
	results map[string][]float64
}

func newBed(ctx context.Context, s subject, binary, work string) (*bed, error) {
	l, err := lab.New("bench-"+s.name, filepath.Join(work, s.name))
	if err != nil {
		return nil, err
	}
	b := &bed{subject: s, lab: l, results: map[string][]float64{}}
	err = lab.BuildManual(l, nil)
	if err == nil {
		b.daemons, err = s.up(ctx, l, binary)
	}
	if err == nil {
		err = startServer(l.Host("sunrise"))
	}
	if err == nil {
		err = reachable(ctx, l)
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	return b, nil
}

func reachable(ctx context.Context, l *lab.Lab) error {
	r, err := l.Host("sunset").Ping(ctx, lab.Echo{Dst: lab.Sunrise, Count: 5})
	if err == nil && r.Received == 0 {
		err = errors.New("sunset cannot reach sunrise")
	}
	return err
}

func table(beds []*bed) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-30s", "median")
	for _, bed := range beds {
		fmt.Fprintf(&b, "%22s", bed.subject.name)
	}
	b.WriteString("\n")
	for _, m := range measures {
		for _, f := range m.figures {
			base := median(beds[0].results[f.name])
			fmt.Fprintf(&b, "%-30s", f.name)
			for i, bed := range beds {
				v := median(bed.results[f.name])
				cell := fmt.Sprintf("%.2f", v)
				if i > 0 && v > 0 {
					cell += fmt.Sprintf(" (x %.2f)", base/v)
				}
				fmt.Fprintf(&b, "%22s", cell)
			}
			b.WriteString("\n")
		}
	}
	fmt.Fprintf(&b, "(x n): figure of %s divided by this one\n", beds[0].subject.name)
	return b.String()
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}
