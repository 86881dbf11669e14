package pluto

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"cygnet/internal/config"
	"cygnet/internal/connection"
	"cygnet/internal/ike"
	"cygnet/internal/ikev2"
	"cygnet/internal/ipsec"
	"cygnet/internal/whack"
)

// configure takes over a configuration. It changes no connection.
func (d *Daemon) configure(f *config.File, names map[string]netip.Addr) {
	d.dropRelays(f)
	d.file = f
	if d.names == nil {
		d.names = map[string]netip.Addr{}
	}
	for name, a := range names {
		d.names[name] = a
	}
	for _, w := range f.Warnings {
		d.log.Warn(w.Error())
	}
	for _, e := range f.Errors {
		d.log.Error(e.Error())
	}
	if f.Setup.MyID.Kind == config.IdentityID {
		d.myID = f.Setup.MyID.ID
	}
	d.cfg.RedirectTo = f.Setup.RedirectTo
	d.setDebug(f.Setup.PlutoDebug)
	if d.gate == nil {
		limits := ikev2.Limits{HalfOpen: f.Setup.MaxHalfOpen}
		if f.Setup.DDoS == config.DDoSBusy {
			limits.HalfOpen = -1
		}
		d.gate = ikev2.NewGate(d.cfg, limits)
	}
	d.readLeases(f)
}

// loadSecrets reads the secrets. What is wrong with them is logged, and returned
// for whoever asked; the entries that are sound are used.
func (d *Daemon) loadSecrets() error {
	err := d.o.Keys.Reload(d.file)
	if err != nil {
		d.log.Error(err.Error())
	}
	d.loadCertificates(d.file)
	if d.gate != nil { // who is not in the secrets any more does not come back by a ticket
		d.gate.RevokeTickets()
	}
	return err
}

// resolve looks up the host names in a configuration, several at a time. Those
// that are not found are missing from the result.
func (d *Daemon) resolve(ctx context.Context, f *config.File) map[string]netip.Addr {
	var names []string
	add := func(name string) {
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, c := range f.Conns {
		for _, e := range []*config.End{&c.Left, &c.Right} {
			add(e.Host.Name)
			add(e.NextHop.Name)
			add(e.ID.Name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTime)
	defer cancel()
	look := d.o.Resolve
	if look == nil {
		look = func(ctx context.Context, name string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
		}
	}
	type answer struct {
		name  string
		addrs []netip.Addr
		err   error
	}
	answers := make(chan answer, len(names))
	for _, n := range names {
		go func() {
			a, err := look(ctx, n)
			answers <- answer{n, a, err}
		}()
	}
	found := map[string]netip.Addr{}
	for range names {
		a := <-answers
		if a.err != nil || len(a.addrs) == 0 {
			d.log.Warn(fmt.Sprintf("no address found for host name %q: %v", a.name, a.err))
			continue
		}
		found[a.name] = a.addrs[0].Unmap()
	}
	return found
}

// wanted reports whether the daemon loads c by itself. In a file of 1.x, config
// has turned plutoload= and plutostart= into auto= already (R12.13 to R12.15).
func (d *Daemon) wanted(c *config.Conn) bool {
	return !c.Group() && !c.Opportunistic() && c.Auto != config.AutoIgnore && c.Auto != config.AutoManual
}

// starts reports whether the daemon initiates c by itself.
func (d *Daemon) starts(c *config.Conn) bool {
	return d.wanted(c) && c.Auto == config.AutoStart
}

// orient makes descriptions; errors are logged, and joined in the result.
func (d *Daemon) orient(conns []*config.Conn) ([]*connection.Description, error) {
	facts := d.facts()
	var list []*connection.Description
	var errs []error
	for _, c := range conns {
		desc, err := connection.Orient(d.withLease(c), facts)
		if err == nil {
			err = d.withdraw(desc)
		}
		if err != nil {
			d.log.Error(err.Error())
			errs = append(errs, err)
			continue
		}
		d.leased(desc)
		list = append(list, desc)
	}
	return list, errors.Join(errs...)
}

// loadAll defines and routes what auto= says, and what was routed when an
// earlier daemon died: its routes still stand, and what they cover must not
// fall back to plain routing.
func (d *Daemon) loadAll() {
	var wanted []*config.Conn
	for _, c := range d.file.Conns {
		if d.wanted(c) {
			wanted = append(wanted, c)
		}
	}
	list, _ := d.orient(wanted)
	left := d.leftBehind()
	var adds connection.Batch
	d.advise(list)
	for _, desc := range list {
		d.remember(desc.Name, d.file)
		adds.List = append(adds.List, connection.Add{Name: desc.Name, List: []*connection.Description{desc}})
	}
	d.stepTable(adds)
	var route []string
	for _, desc := range list {
		if !desc.Oriented || desc.Template {
			continue
		}
		if desc.Auto == config.AutoRoute || desc.Auto == config.AutoStart || covers(left, desc) {
			route = append(route, desc.Name)
		}
	}
	d.routeAtStart(route...)
}

// routeAtStart routes connections, and logs which of them it could not.
func (d *Daemon) routeAtStart(names ...string) {
	var routes connection.Batch
	var replies []chan whack.Reply
	first := d.lastWaiter + 1
	for _, name := range names {
		d.lastWaiter++
		ch := make(chan whack.Reply, startQueue)
		d.waiters[d.lastWaiter], replies = ch, append(replies, ch)
		routes.List = append(routes.List, connection.Route{Waiter: d.lastWaiter, Name: name})
	}
	d.stepTable(routes)
	for i, name := range names {
		for r := range drainReplies(replies[i]) {
			if r.Final && r.Text != "" {
				d.log.Error(fmt.Sprintf("...could not route conn %q: %s", name, r.Text))
			}
		}
		delete(d.waiters, first+uint64(i))
	}
}

// leftBehind lists the prefixes of routes that an earlier daemon has left.
func (d *Daemon) leftBehind() []netip.Prefix {
	routes, err := d.o.Host.Routes(d.devices())
	if err != nil {
		d.log.Error(err.Error())
	}
	var list []netip.Prefix
	for _, r := range routes {
		list = append(list, r.Prefix)
	}
	if len(list) > 0 {
		d.log.Warn(fmt.Sprintf("an earlier daemon did not end cleanly: %d routes of its stand and are taken over", len(list)))
	}
	return list
}

// covers reports whether one of the prefixes is a route of desc.
func covers(left []netip.Prefix, desc *connection.Description) bool {
	for _, ts := range desc.Remote.TS {
		for _, p := range ts.Prefixes() {
			if slices.Contains(left, p) || p.Bits() == 0 && slices.Contains(left, netip.PrefixFrom(p.Addr(), 1)) {
				return true
			}
		}
	}
	return false
}

// initiateAll brings up what auto=start says.
func (d *Daemon) initiateAll() {
	for _, c := range d.file.Conns {
		if !d.starts(c) {
			continue
		}
		if c.Left.DHCP || c.Right.DHCP {
			if v := d.view(c.Name); v != nil && v.DHCP {
				d.startByDHCP(c.Name)
				continue
			}
		}
		if d.file.Setup.PlutoWait {
			d.inLine = append(d.inLine, c.Name)
		} else {
			d.stepTable(connection.Up{Name: c.Name, Async: true})
		}
	}
	d.startNext()
}

// startNext initiates the next of those that plutowait=yes has put in line,
// once the one before is up or has failed for the first time (R12.17).
func (d *Daemon) startNext() {
	d.starting = 0
	if len(d.inLine) == 0 || d.stopping {
		return
	}
	name := d.inLine[0]
	d.inLine = d.inLine[1:]
	d.lastWaiter++
	d.starting = d.lastWaiter
	d.stepTable(connection.Up{Waiter: d.starting, Name: name})
}

// remember notes from which configuration a connection was loaded.
func (d *Daemon) remember(name string, f *config.File) {
	d.loaded[name] = f
}

// reorient looks at all connections again with the addresses of now.
func (d *Daemon) reorient() {
	var conns []*config.Conn
	for _, v := range d.table.Views() {
		if f := d.loaded[v.Name]; f != nil && v.Instance == 0 {
			if c := f.Conn(v.Name); c != nil {
				conns = append(conns, c)
			}
		}
	}
	list, _ := d.orient(conns)
	d.stepTable(connection.Reorient{List: list})
	d.regroupAgain()
}

// reload takes over a configuration that was read anew: what did not change
// goes on untouched, what changed is replaced without a gap, what is gone goes.
func (d *Daemon) reload(f *config.File, names map[string]netip.Addr) {
	if len(f.Errors) > 0 && len(f.Conns) == 0 {
		d.log.Error("the configuration has errors and no sound connection: keeping the old one")
		for _, e := range f.Errors {
			d.log.Error(e.Error())
		}
		return
	}
	old := d.file
	d.configure(f, names)
	d.setRelays()
	if d.o.NoIKE {
		d.rescan()
		d.manualAtReload(old)
		return
	}
	d.loadSecrets()
	d.rescan()
	for _, name := range d.loadedNames() {
		if c := f.Conn(name); c == nil && f.Problem(name) == nil || c != nil && !d.wanted(c) && old.Conn(name) != nil && d.wantedBy(old, name) {
			d.stepTable(connection.Delete{Name: name})
			delete(d.loaded, name)
		}
	}
	for _, c := range f.Conns {
		if d.wanted(c) || d.loaded[c.Name] != nil {
			d.reloadOne(f, c)
		}
	}
	d.manualAtReload(old)
	d.refreshGroups()
}

func (d *Daemon) wantedBy(f *config.File, name string) bool {
	c := f.Conn(name)
	return c != nil && c.Auto != config.AutoIgnore && c.Auto != config.AutoManual
}

func (d *Daemon) reloadOne(f *config.File, c *config.Conn) {
	list, err := d.orient([]*config.Conn{c})
	if err != nil {
		return
	}
	d.advise(list)
	before := d.view(c.Name)
	d.remember(c.Name, f)
	d.stepTable(connection.Replace{Name: c.Name, List: list, Keep: true})
	after := d.view(c.Name)
	if before != nil && after != nil && before.Description.Conn == after.Description.Conn {
		return // unchanged
	}
	if after == nil || !after.Oriented || after.Template {
		return
	}
	if c.Auto == config.AutoRoute || c.Auto == config.AutoStart {
		d.routeAtStart(c.Name)
	}
	if d.starts(c) || before != nil && before.Up {
		d.stepTable(connection.Up{Name: c.Name, Async: true})
	}
}

func (d *Daemon) loadedNames() []string {
	var names []string
	for name := range d.loaded {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (d *Daemon) view(name string) *connection.View {
	for _, v := range d.table.Views() {
		if v.Name == name && v.Instance == 0 {
			return &v
		}
	}
	return nil
}

// spiSource is the data plane's SPIs as machines ask for them.
type spiSource struct{ plane Plane }

func (s spiSource) ReserveSPI(dst netip.Addr, p ipsec.Proto) (ipsec.SPI, error) {
	return s.plane.ReserveSPI(context.Background(), dst, p)
}

var _ ike.SPISource = spiSource{}
