package demo

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"cygnet/internal/lab"
)

// Runner runs scenarios with one ipsec binary.
type Runner struct {
	Binary string // path of the ipsec command
	Tell   Teller // hears what happens
	Keep   bool   // leave the network standing
	Prefix string // of the namespaces' names
}

// stepLimit bounds every single step; none waits longer in good order.
const stepLimit = 2 * time.Minute

// run is one scenario under way.
type run struct {
	*Runner
	scenario *Scenario
	lab      *lab.Lab
	gateways map[string]*lab.Gateway
	vars     map[string]string
	wires    []*wire
	pingers  map[string]*lab.Pinger // by "HOST TARGET"
	outcome  *Outcome
	started  time.Time
}

// Run runs one scenario to its end or to the first failed expectation, which
// it returns as an error. Whatever happens, nothing is left behind, unless
// r.Keep asks for it; then the lab is in the outcome.
func (r *Runner) Run(ctx context.Context, s *Scenario) (*Outcome, error) {
	x := &run{
		Runner: r, scenario: s,
		gateways: map[string]*lab.Gateway{}, vars: map[string]string{}, pingers: map[string]*lab.Pinger{},
		outcome: &Outcome{Scenario: s.Name, Title: s.Title}, started: time.Now(),
	}
	r.Tell.Begin(s)
	if missing := s.Missing(); len(missing) > 0 {
		x.outcome.OK, x.outcome.Skipped = true, "this machine has no "+strings.Join(missing, ", no ")
		r.Tell.End(x.outcome)
		return x.outcome, nil
	}
	err := x.perform(ctx)
	if x.lab != nil && err != nil {
		x.outcome.Logs = x.logs()
	}
	if x.lab != nil && r.Keep {
		x.outcome.lab = x.lab
		err = errors.Join(err, x.unwatch()) // captures end with this process
	} else if x.lab != nil {
		err = errors.Join(err, x.close())
	}
	x.outcome.Took = time.Since(x.started).Seconds()
	x.outcome.OK = err == nil
	if err != nil {
		x.outcome.Error = err.Error()
	}
	r.Tell.End(x.outcome)
	return x.outcome, err
}

func (x *run) perform(ctx context.Context) error {
	if err := x.build(); err != nil {
		return fmt.Errorf("build the network: %w", err)
	}
	if err := x.steps(ctx, x.scenario.prepare); err != nil {
		return err
	}
	if err := x.write(); err != nil {
		return err
	}
	if err := x.steps(ctx, x.scenario.steps); err != nil {
		return err
	}
	return x.prove(ctx)
}

func (x *run) build() error {
	l, err := lab.New(x.Prefix, "")
	if err != nil {
		return err
	}
	x.lab = l
	if err := lab.BuildManual(l, x.scenario.guests); err != nil {
		return err
	}
	if err := x.furnish(); err != nil {
		return err
	}
	for _, name := range x.scenario.gateways() {
		h, err := x.host(name)
		if err != nil {
			return err
		}
		if x.gateways[name], err = lab.NewGateway(h, x.Binary); err != nil {
			return err
		}
	}
	return x.watch()
}

// furnish gives hosts what the scenario's network section has for them.
func (x *run) furnish() error {
	for _, a := range x.scenario.addrs {
		h, err := x.host(a.host)
		if err != nil {
			return err
		}
		if err := h.AddAddr(a.dev, a.addr); err != nil {
			return err
		}
	}
	for _, r := range x.scenario.routes {
		h, err := x.host(r.host)
		if err != nil {
			return err
		}
		if err := h.AddRoute(r.dst, r.via); err != nil {
			return err
		}
	}
	for _, n := range x.scenario.nats {
		h, err := x.host(n.host)
		if err != nil {
			return err
		}
		if err := h.Masquerade(n.net, "eth0", false); err != nil {
			return err
		}
	}
	return nil
}

func (x *run) host(name string) (*lab.Host, error) {
	h := x.lab.Host(name)
	if h == nil {
		return nil, fmt.Errorf("no host %q", name)
	}
	return h, nil
}

// write puts the configuration files in place.
func (x *run) write() error {
	for _, f := range x.scenario.files {
		for _, host := range f.hosts {
			g := x.gateways[host]
			text, err := x.expand(g, f.text)
			if err != nil {
				return fmt.Errorf("%s of %s: %w", f.name, host, err)
			}
			if err := g.Write(f.name, text); err != nil {
				return err
			}
			x.Tell.File(host, f.name, text)
		}
	}
	return nil
}

// expand replaces $NAME by what prepare found, and $LOG by the log file of g.
// Names without capitals are left for the shell.
func (x *run) expand(g *lab.Gateway, text string) (string, error) {
	var unknown []string
	out := os.Expand(text, func(name string) string {
		if name == "LOG" {
			return g.Log()
		}
		v, ok := x.vars[name]
		switch {
		case strings.ToUpper(name) != name:
			return "$" + name
		case !ok:
			unknown = append(unknown, "$"+name)
		}
		return v
	})
	if len(unknown) > 0 {
		return "", fmt.Errorf("unknown %s", strings.Join(unknown, ", "))
	}
	return out, nil
}

func (x *run) steps(ctx context.Context, steps []step) error {
	for _, s := range steps {
		if s.caption != "" {
			x.Tell.Caption(s.caption)
			continue
		}
		for host := range strings.SplitSeq(s.host, ",") {
			s.host = host
			if err := x.step(ctx, s); err != nil {
				return fmt.Errorf("line %d: %s: %s: %w", s.line, s.host, s.text(), err)
			}
		}
	}
	return nil
}

func (x *run) step(ctx context.Context, s step) error {
	ctx, cancel := context.WithTimeout(ctx, stepLimit)
	defer cancel()
	e := Entry{At: time.Since(x.started).Seconds(), Host: s.host, Do: s.text()}
	progress := x.Tell.Start(e)
	output, err := x.act(ctx, s, progress)
	progress(-1, -1)
	e.Took = time.Since(x.started).Seconds() - e.At
	e.Output, e.OK = output, err == nil
	if err != nil {
		e.Error = err.Error()
	}
	if s.keep != "" {
		x.vars[s.keep] = kept(output)
		e.Output = "" // may be a secret
	}
	x.outcome.Timeline = append(x.outcome.Timeline, e)
	x.Tell.Step(e)
	return err
}

// kept is what a variable takes of an output: what is in PEM, else its last line
// that says something.
func kept(output string) string {
	if i := strings.Index(output, "-----BEGIN "); i >= 0 {
		return strings.TrimSpace(output[i:])
	}
	lines := strings.Split(strings.TrimSpace(output), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

// close stops the gateways as an operator would and takes the network down.
func (x *run) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for _, name := range x.scenario.gateways() {
		if g := x.gateways[name]; g != nil && g.PlutoPid() != 0 {
			g.Ipsec(ctx, "setup", "stop") // what it leaves, Close ends
		}
	}
	return x.lab.Close()
}

// logs collects the daemons' logs, for a report of what went wrong.
func (x *run) logs() map[string]string {
	logs := map[string]string{}
	for name, g := range x.gateways {
		if b, err := os.ReadFile(g.Log()); err == nil {
			logs[name] = string(b)
		}
	}
	return logs
}

// target is the address that a name or literal in a step means.
func (x *run) target(word string) (netip.Addr, error) {
	switch word {
	case "sunset":
		return lab.Sunset, nil
	case "west":
		return lab.West, nil
	case "east":
		return lab.East, nil
	case "sunrise":
		return lab.Sunrise, nil
	case "road":
		return lab.Road, nil
	case "road2":
		return lab.Road2, nil
	case "road3":
		return lab.Road3, nil
	case "alice":
		return lab.Alice, nil
	case "bob":
		return lab.Bob, nil
	case "world":
		return lab.World, nil
	}
	a, err := netip.ParseAddr(word)
	if err != nil {
		return a, fmt.Errorf("%q is neither a host nor an address", word)
	}
	return a, nil
}

// captureFile is where what crossed a wire is kept.
func (x *run) captureFile(name string) string { return filepath.Join(x.lab.Dir(), name+".pcap") }

// inside are the addresses that must not be seen on an outer wire.
func (x *run) inside() []netip.Prefix {
	inside := []netip.Prefix{lab.WestNet, lab.EastNet}
	for _, a := range x.scenario.addrs {
		if n := a.addr.Masked(); n.Addr().IsPrivate() && !slices.Contains(inside, n) {
			inside = append(inside, n)
		}
	}
	return inside
}
