package pluto

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"

	"cygnet/internal/config"
	"cygnet/internal/connection"
	"cygnet/internal/manual"
	"cygnet/internal/whack"
)

// manualConn is `ipsec manual --up` and --route: it reads the connection in the
// client's goroutine and brings it up in the loop.
func (d *Daemon) manualConn(ctx context.Context, r whack.Request) iter.Seq[whack.Reply] {
	f, c, refusal := d.readManual(r.Args)
	if refusal != nil {
		return one(*refusal)
	}
	names := d.resolve(ctx, &config.File{Conns: []*config.Conn{c}})
	out := []whack.Reply{gone}
	d.call(ctx, func() {
		for name, a := range names {
			d.names[name] = a
		}
		out = d.plan(f, c, r)
	})
	return slices.Values(out)
}

// readManual finds the connection that a request means.
func (d *Daemon) readManual(a whack.Args) (*config.File, *config.Conn, *whack.Reply) {
	if len(a.Parts) > 0 {
		f, err := d.o.Config(a.Config)
		if err != nil {
			r := failed(whack.ExitConfig, whack.CodeSerious, err.Error())
			return nil, nil, &r
		}
		f, c, problem := config.Union(config.OS{}, f.Name, a.Parts)
		if problem != nil {
			r := failed(whack.ExitConfig, whack.CodeSerious, problem.Error())
			return nil, nil, &r
		}
		return f, c, nil
	}
	f, conns, refusal := d.readConns(a)
	switch {
	case refusal != nil:
		return nil, nil, refusal
	case len(conns) > 1:
		r := failed(whack.ExitConfig, whack.CodeSerious, fmt.Sprintf("%q is %d connections, which would share one SPI: write them out", a.Name, len(conns)))
		return nil, nil, &r
	}
	return f, conns[0], nil
}

// plan plans a connection by hand and brings it up or routes it; warnings come
// first.
func (d *Daemon) plan(f *config.File, c *config.Conn, r whack.Request) []whack.Reply {
	facts, err := d.factsFor(r.Args.Iam)
	if err != nil {
		return []whack.Reply{failed(whack.ExitUsage, whack.CodeNever, err.Error())}
	}
	desc, err := manual.Orient(c, facts)
	if err != nil {
		return []whack.Reply{failed(whack.ExitFailed, whack.CodeOrient, err.Error())}
	}
	plan, problem := manual.New(c, &f.Setup, desc)
	if problem != nil {
		return []whack.Reply{failed(whack.ExitConfig, whack.CodeSerious, problem.Error())}
	}
	if r.Op == whack.OpManualRoute {
		t, change := d.hand.table.Route(plan)
		return []whack.Reply{d.finish(d.applyByHand(t, change))}
	}
	var out []whack.Reply
	t, change, err := d.hand.table.Up(plan, d.world())
	if err == nil {
		for _, w := range append(plan.Warnings, clashes(f, c)...) {
			d.log.Warn(w.Error())
			out = append(out, whack.Reply{Code: whack.CodeLog, Text: "warning: " + w.Error()})
		}
		err = d.applyByHand(t, change)
	}
	switch {
	case err == nil:
		d.log.Info(fmt.Sprintf("%q: up by hand", c.Name))
	case errors.Is(err, manual.ErrSAInUse):
		return append(out, failed(whack.ExitConfig, whack.CodeSerious, taken(c, err).Error()))
	}
	return append(out, d.finish(err))
}

// taken is the refusal of a connection whose SPI another one has (R10.10).
func taken(c *config.Conn, err error) config.Problem {
	key := "spi"
	if c.Manual.SPIBase != 0 {
		key = "spibase"
	}
	at := c.Keys[key]
	return config.Problem{File: at.File, Line: at.Line, Conn: c.Name, Key: key, Text: err.Error(), Mend: "give each connection its own, from 0x100 to 0xfff"}
}

func (d *Daemon) finish(err error) whack.Reply {
	if err != nil {
		return refusedByHand(err)
	}
	return whack.Reply{Final: true}
}

// clashes are connections that cannot be up together with c (R10.10).
func clashes(f *config.File, c *config.Conn) []config.Problem {
	return slices.DeleteFunc(manual.Duplicates(f.Conns), func(p config.Problem) bool { return p.Conn != c.Name })
}

// factsFor is facts, unless iam (ADDR@DEVICE) says who we are.
func (d *Daemon) factsFor(iam string) (*connection.Facts, error) {
	f := d.facts()
	if iam == "" {
		return f, nil
	}
	text, device, ok := strings.Cut(iam, "@")
	a, err := netip.ParseAddr(text)
	if !ok || err != nil || device == "" {
		return nil, fmt.Errorf("--iam %q is not ADDRESS@DEVICE", iam)
	}
	for _, l := range d.links {
		if l.Virtual == device || l.Physical == device {
			f.Ours = []connection.Address{{Addr: a, Virtual: l.Virtual, Physical: l.Physical}}
			return f, nil
		}
	}
	return nil, fmt.Errorf("--iam %q: no device %s is attached", iam, device)
}

// manualAtStart brings up what manualstart= and auto=manual say. What was
// routed by hand when an earlier daemon died stays routed: its packets must not
// fall back to plain routing.
func (d *Daemon) manualAtStart() {
	names := slices.Clone(d.file.Setup.ManualStart)
	for _, c := range d.file.Conns {
		if c.Auto == config.AutoManual && !slices.Contains(names, c.Name) {
			names = append(names, c.Name)
		}
	}
	d.startManuals(names)
	d.rerouteByHand()
}

func (d *Daemon) startManuals(names []string) {
	for _, name := range names {
		for r := range slices.Values(d.startManual(name)) {
			if r.Final && r.Exit != whack.ExitDone {
				d.log.Error(fmt.Sprintf("...could not start conn %q: %s", name, r.Text))
			}
		}
	}
}

// manualAtReload brings up the connections that say auto=manual now and did not
// before. Those that did are left as they are, up or taken down: whoever keys by
// hand decides when.
func (d *Daemon) manualAtReload(old *config.File) {
	var names []string
	for _, c := range d.file.Conns {
		if was := old.Conn(c.Name); c.Auto == config.AutoManual && (was == nil || was.Auto != config.AutoManual) {
			names = append(names, c.Name)
		}
	}
	d.startManuals(names)
}

func (d *Daemon) startManual(name string) []whack.Reply {
	conns := d.file.Named(name)
	if len(conns) != 1 {
		text := fmt.Sprintf("there is no connection %q", name)
		if p := d.file.Problem(name); p != nil {
			text = p.Error()
		}
		return []whack.Reply{failed(whack.ExitNoConn, whack.CodeUnknown, text)}
	}
	return d.plan(d.file, conns[0], whack.Request{Op: whack.OpManualUp})
}

// rerouteByHand routes connections by hand whose routes stand.
func (d *Daemon) rerouteByHand() {
	routes, err := d.o.Host.Routes(d.devices())
	if err != nil || len(routes) == 0 {
		return // loadAll tells of the error
	}
	var left []netip.Prefix
	for _, r := range routes {
		left = append(left, r.Prefix)
	}
	facts := d.facts()
	for _, c := range d.file.Conns {
		if !manual.Is(c) || c.Group() || c.Opportunistic() || d.wanted(c) {
			continue
		}
		desc, err := manual.Orient(c, facts)
		if err != nil || !covers(left, desc) {
			continue
		}
		if plan, problem := manual.New(c, &d.file.Setup, desc); problem == nil {
			t, change := d.hand.table.Route(plan)
			if err := d.applyByHand(t, change); err != nil {
				d.log.Error(err.Error())
			}
		}
	}
}
