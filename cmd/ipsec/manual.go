package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"cygnet/internal/config"
	"cygnet/internal/connection"
	"cygnet/internal/host"
	"cygnet/internal/manual"
	"cygnet/internal/whack"
)

var manualOps = map[string]whack.Op{"up": whack.OpManualUp, "down": whack.OpManualDown, "route": whack.OpManualRoute, "unroute": whack.OpManualUnroute}

func newManual() *cobra.Command {
	var o manualOptions
	c := &cobra.Command{
		Use:   "manual [--show|--showonly] --up|--down|--route|--unroute NAME...",
		Short: "Take connections with manual keys up and down",
		Long: `manual takes a connection whose keys and SPIs stand in ipsec.conf up or down. It
works beside pluto and without it (pluto=no in config setup). After --down the
route stays and what the connection protects is dropped; --unroute ends that.

--show prints the single commands that amount to the same, keys included, and
--showonly prints them without doing anything; with --other, those of the peer.
--union makes one connection of the parameters of several sections.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			return told(cmd, o.json && !o.only, o.run(cmd, names))
		},
	}
	f := c.Flags()
	f.Bool("up", false, "make SAs and eroutes, and route")
	f.Bool("down", false, "delete SAs and drop; the route stays")
	f.Bool("route", false, "route without keys: packets are dropped")
	f.Bool("unroute", false, "remove the route and what drops")
	f.BoolVar(&o.union, "union", false, "the names are parts of one connection")
	f.BoolVar(&o.show, "show", false, "print what is done")
	f.BoolVar(&o.only, "showonly", false, "print it and do nothing")
	f.BoolVar(&o.other, "other", false, "with --showonly: as the peer would do it")
	f.BoolVar(&o.json, "json", false, "print the outcome as JSON")
	f.StringVar(&o.iam, "iam", "", "ADDRESS@DEVICE: this is us, whatever addresses we have")
	f.StringVar(&o.config, "config", "", "read connections from this file instead of ipsec.conf")
	return c
}

type manualOptions struct {
	union, show, only, other, json bool
	iam, config                    string
}

func (o *manualOptions) run(cmd *cobra.Command, names []string) error {
	op, err := oneOf(cmd, "up", "down", "route", "unroute")
	switch {
	case err != nil:
		return err
	case op == "":
		return fail(whack.ExitUsage, "exactly one of --up, --down, --route and --unroute is needed")
	case o.other && !o.only:
		return fail(whack.ExitUsage, "--other is for --showonly: we cannot do what the peer has to do")
	}
	if o.config != "" {
		if o.config, err = filepath.Abs(o.config); err != nil {
			return err
		}
	}
	if o.union {
		return o.one(cmd, op, names)
	}
	var failure error
	for _, n := range names {
		if err := o.one(cmd, op, []string{n}); err != nil {
			if failure != nil {
				fmt.Fprintf(cmd.ErrOrStderr(), "manual: %v\n", failure)
			}
			failure = err
		}
	}
	return failure
}

// one does or shows one operation on one connection: of that name, or of those
// parts.
func (o *manualOptions) one(cmd *cobra.Command, op string, parts []string) error {
	if o.show || o.only {
		if err := o.print(cmd, op, parts); err != nil || o.only {
			return err
		}
	}
	a := whack.Args{Config: o.config, Iam: o.iam}
	switch {
	case len(parts) == 1, op == "down", op == "unroute":
		a.Name = strings.Join(parts, ".")
	default:
		a.Parts = parts
	}
	if op == "down" || op == "unroute" {
		a.Config, a.Iam = "", ""
	}
	return doByHand(cmd, whack.Request{Op: manualOps[op], Args: a})
}

// print shows the commands that amount to an operation.
func (o *manualOptions) print(cmd *cobra.Command, op string, parts []string) error {
	file := where().confFile()
	if o.config != "" {
		file = o.config
	}
	f, c, err := readManual(file, parts)
	if err != nil {
		return err
	}
	facts, err := o.facts(cmd.Context(), &f.Setup, c)
	if err != nil {
		return err
	}
	d, err := manual.Orient(c, facts)
	if err == nil && o.other {
		d, err = manual.Orient(c, manual.Other(facts, d))
	}
	if err != nil {
		return fail(whack.ExitFailed, "%w", err)
	}
	f.Setup.SecretsWarn = f.Setup.SecretsWarn || o.only // showing changes nothing
	plan, problem := manual.New(c, &f.Setup, d)
	if problem != nil {
		return fail(whack.ExitConfig, "%w", problem)
	}
	if o.only {
		for _, w := range plan.Warnings {
			fmt.Fprintf(cmd.ErrOrStderr(), "manual: warning: %v\n", w)
		}
	}
	lines := map[string]func() []string{"up": plan.Up, "down": plan.Down, "route": plan.Route, "unroute": plan.Unroute}[op]()
	for _, line := range lines {
		fmt.Fprintln(cmd.OutOrStdout(), line)
	}
	return nil
}

// readManual finds the connection of that name, or the one that has the
// parameters of all parts.
func readManual(file string, parts []string) (*config.File, *config.Conn, error) {
	f, c, problem := config.Union(config.OS{}, file, parts)
	switch {
	case c != nil:
		return f, c, nil
	case len(parts) == 1 && (problem == nil || problem.Line == 0 && problem.Conn == ""):
		return nil, nil, fail(whack.ExitNoConn, "%s has no connection %q", file, parts[0])
	}
	return nil, nil, fail(whack.ExitConfig, "%w", problem)
}

// facts is who we are: what the running daemon has attached, what --iam says,
// or what interfaces= would attach.
func (o *manualOptions) facts(ctx context.Context, s *config.Setup, c *config.Conn) (*connection.Facts, error) {
	f := &connection.Facts{Names: map[string]netip.Addr{}}
	h, err := host.Open()
	if err != nil {
		return nil, err
	}
	defer h.Close()
	defaults, err := h.DefaultRoutes()
	if err != nil {
		return nil, err
	}
	for i, r := range defaults {
		f.Default[i] = connection.Gateway{Device: r.Device, Addr: r.Addr, NextHop: r.NextHop}
	}
	for _, e := range []*config.End{&c.Left, &c.Right} {
		for _, name := range []string{e.Host.Name, e.NextHop.Name, e.ID.Name} {
			if name == "" {
				continue
			}
			if a, err := net.DefaultResolver.LookupNetIP(ctx, "ip", name); err == nil && len(a) > 0 {
				f.Names[name] = a[0].Unmap()
			}
		}
	}
	if o.iam != "" {
		text, device, _ := strings.Cut(o.iam, "@")
		a, err := netip.ParseAddr(text)
		if err != nil || device == "" {
			return nil, fail(whack.ExitUsage, "--iam %q is not ADDRESS@DEVICE", o.iam)
		}
		f.Ours = []connection.Address{{Addr: a, Virtual: device, Physical: device}}
		return f, nil
	}
	if f.Ours = attached(ctx); len(f.Ours) > 0 {
		return f, nil
	}
	f.Ours, err = wouldAttach(h, s, defaults)
	return f, err
}

// attached are the addresses that the running daemon guards, if one runs.
func attached(ctx context.Context) []connection.Address {
	var list []connection.Address
	_, err := whack.Ask(ctx, where().socket(), whack.Request{Op: whack.OpStatus}, func(r whack.Reply) {
		if m := interfaceLine.FindStringSubmatch(r.Text); m != nil {
			if a, err := netip.ParseAddr(m[3]); err == nil {
				list = append(list, connection.Address{Addr: a, Virtual: m[1], Physical: m[2]})
			}
		}
	})
	if err != nil {
		return nil
	}
	return list
}

// interfaceLine is how the status report begins (freeswan.md 4.6).
var interfaceLine = regexp.MustCompile(`^interface (ipsec[0-9]+)/(\S+) (\S+)$`)

func wouldAttach(h host.Host, s *config.Setup, defaults [2]host.DefaultRoute) ([]connection.Address, error) {
	have, err := h.Interfaces()
	if err != nil {
		return nil, err
	}
	var list []connection.Address
	for _, i := range s.Interfaces {
		physical := i.Physical
		if physical == "%defaultroute" {
			physical = defaults[0].Device
		}
		for _, dev := range have {
			if dev.Name != physical {
				continue
			}
			for _, p := range dev.Addrs {
				list = append(list, connection.Address{Addr: p.Addr(), Virtual: i.Virtual, Physical: physical})
			}
		}
	}
	return list, nil
}
