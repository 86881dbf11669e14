// Package demo runs scenarios: text files that hold, together and readable as
// documentation, the configuration of gateways, the steps to take and what
// must be seen. It builds the manual's network with package lab, drives the
// real ipsec command in it as an operator would, watches the outer wires, and
// tells the story as it happens. `ipsec demo` and the project's tests run the
// same files.
package demo

import (
	"fmt"
	"io/fs"
	"net/netip"
	"os/exec"
	"slices"
	"strings"

	"golang.org/x/tools/txtar"
)

// Scenario is one parsed file. The text before the first "-- name --" line is
// its description, the first line of which is its title. Then come sections:
//
//	network           guests and addresses beyond the manual's picture
//	prepare           steps that make keys; "$NAME = step" keeps the output
//	HOST[,HOST]/FILE  a file in the configuration directory of gateways, with
//	                  $NAME replaced
//	steps             what happens, and what must be seen
type Scenario struct {
	Name, Title, Doc string

	guests  []string
	needs   []string
	addrs   []address
	nats    []nat
	routes  []route
	prepare []step
	files   []file
	steps   []step
}

// address is one that a host gets beside those of the picture.
type address struct {
	host, dev string
	addr      netip.Prefix
}

// nat has a gateway hide a network behind its outer address.
type nat struct {
	host string
	net  netip.Prefix
}

// route is one that a host has beside those of the picture.
type route struct {
	host string
	dst  netip.Prefix
	via  netip.Addr
}

type file struct {
	hosts []string
	name  string
	text  string
}

// Load reads every scenario of a directory, by name.
func Load(dir fs.FS) ([]*Scenario, error) {
	names, err := fs.Glob(dir, "*.txt")
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var all []*Scenario
	for _, n := range names {
		text, err := fs.ReadFile(dir, n)
		if err != nil {
			return nil, err
		}
		s, err := Parse(strings.TrimSuffix(n, ".txt"), text)
		if err != nil {
			return nil, fmt.Errorf("scenario %s: %w", n, err)
		}
		all = append(all, s)
	}
	return all, nil
}

// Parse reads one scenario. Errors name the section and its line.
func Parse(name string, text []byte) (*Scenario, error) {
	a := txtar.Parse(text)
	s := &Scenario{Name: name, Doc: strings.TrimSpace(string(a.Comment))}
	s.Title, _, _ = strings.Cut(s.Doc, "\n")
	if s.Title == "" {
		return nil, fmt.Errorf("no description before the first section")
	}
	for _, f := range a.Files {
		if err := s.section(f.Name, string(f.Data)); err != nil {
			return nil, fmt.Errorf("section %q: %w", f.Name, err)
		}
	}
	if len(s.steps) == 0 {
		return nil, fmt.Errorf("no steps")
	}
	return s, nil
}

func (s *Scenario) section(name, text string) (err error) {
	switch name {
	case "network":
		return s.network(text)
	case "prepare":
		s.prepare, err = parseSteps(text)
		return err
	case "steps":
		s.steps, err = parseSteps(text)
		return err
	}
	hosts, base, ok := strings.Cut(name, "/")
	if !ok {
		return fmt.Errorf("neither network, prepare, steps nor HOST/FILE")
	}
	s.files = append(s.files, file{strings.Split(hosts, ","), base, text})
	return nil
}

// network reads lines of the forms
//
//	guests road world
//	needs PROGRAM...                 of the machine; without them it is skipped
//	HOST address ADDR/LEN on DEV     {1..3} in ADDR stands for several
//	HOST route NET/LEN via ADDR
//	HOST hides NET/LEN
func (s *Scenario) network(text string) error {
	for i, line := range strings.Split(text, "\n") {
		w := strings.Fields(line)
		if len(w) == 0 || strings.HasPrefix(w[0], "#") {
			continue
		}
		var err error
		switch {
		case w[0] == "guests":
			s.guests = append(s.guests, w[1:]...)
		case w[0] == "needs":
			s.needs = append(s.needs, w[1:]...)
		case len(w) == 5 && w[1] == "address" && w[3] == "on":
			err = s.address(w[0], w[2], w[4])
		case len(w) == 5 && w[1] == "route" && w[3] == "via":
			r := route{host: w[0]}
			if r.dst, err = netip.ParsePrefix(w[2]); err == nil {
				r.via, err = netip.ParseAddr(w[4])
			}
			s.routes = append(s.routes, r)
		case len(w) == 3 && w[1] == "hides":
			var p netip.Prefix
			p, err = netip.ParsePrefix(w[2])
			s.nats = append(s.nats, nat{w[0], p})
		default:
			err = fmt.Errorf("not understood: %s", line)
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", i+1, err)
		}
	}
	return nil
}

func (s *Scenario) address(host, addr, dev string) error {
	all, err := expand(addr)
	if err != nil {
		return err
	}
	for _, one := range all {
		p, err := netip.ParsePrefix(one)
		if err != nil {
			return err
		}
		s.addrs = append(s.addrs, address{host, dev, p})
	}
	return nil
}

// Missing lists the programs that the scenario needs and this machine lacks.
func (s *Scenario) Missing() []string {
	var missing []string
	for _, name := range s.needs {
		if _, err := exec.LookPath(name); err != nil {
			missing = append(missing, name)
		}
	}
	return missing
}

// gateways lists the hosts that get configuration files, in order of first
// mention.
func (s *Scenario) gateways() []string {
	var all []string
	for _, f := range s.files {
		for _, h := range f.hosts {
			if !slices.Contains(all, h) {
				all = append(all, h)
			}
		}
	}
	return all
}
