package pluto

import (
	"fmt"
	"net/netip"
	"slices"

	"cygnet/internal/connection"
	"cygnet/internal/nameserver"
)

// What peers give to us: addresses inside, which go to the virtual device, and
// name servers.

// NameServers is the machine's resolver.
type NameServers interface {
	Set(links []nameserver.Link)
	Close()
}

// insideAddrs lists the addresses that peers have given us, for one device.
func (d *Daemon) insideAddrs(l *link) []netip.Addr {
	var list []netip.Addr
	for _, v := range d.table.Views() {
		if v.Virtual != l.Virtual || !v.Gets() {
			continue
		}
		for _, a := range v.Assigned.Addrs {
			if !slices.Contains(list, a) && !slices.Contains(l.Addrs, a) {
				list = append(list, a)
			}
		}
	}
	return list
}

// gainAddrs gives the devices what they lack, before a route or a script needs
// it.
func (d *Daemon) gainAddrs() {
	for _, l := range d.links {
		missing := slices.DeleteFunc(d.insideAddrs(l), func(a netip.Addr) bool { return slices.Contains(l.inside, a) })
		if len(missing) > 0 {
			d.setAddrs(l, append(slices.Clone(l.inside), missing...))
		}
	}
}

// settleAddrs leaves the devices what they shall have, and tells the resolver
// whose names are found in there.
func (d *Daemon) settleAddrs() {
	for _, l := range d.links {
		if want := d.insideAddrs(l); !slices.Equal(want, l.inside) {
			d.setAddrs(l, want)
		}
	}
	if d.resolver != nil {
		d.resolver.Set(d.brought())
	}
}

func (d *Daemon) setAddrs(l *link, inside []netip.Addr) {
	for _, a := range inside {
		if !slices.Contains(l.inside, a) {
			d.log.Info(fmt.Sprintf("adding address %s to %s", a, l.Virtual))
		}
	}
	for _, a := range l.inside {
		if !slices.Contains(inside, a) {
			d.log.Info(fmt.Sprintf("removing address %s from %s", a, l.Virtual))
		}
	}
	l.inside = inside
	if err := d.o.Host.SetDevice(l.Virtual, d.mtuOf(l), append(slices.Clone(l.Addrs), inside...)); err != nil {
		d.log.Error(err.Error())
	}
}

// brought lists the name servers that peers have told us, by device.
func (d *Daemon) brought() []nameserver.Link {
	var list []nameserver.Link
	for _, v := range d.table.Views() {
		if !v.Gets() || len(v.Assigned.DNS) == 0 || v.State != connection.Erouted {
			continue
		}
		i := slices.IndexFunc(list, func(l nameserver.Link) bool { return l.Device == v.Virtual })
		if i < 0 {
			list = append(list, nameserver.Link{Device: v.Virtual, Servers: v.Assigned.DNS, Domains: v.Assigned.Domains})
			continue
		}
		merge(&list[i], v.Assigned)
	}
	return list
}

// merge adds what another connection has brought to the same device. Servers
// for all names make its device one for all names.
func merge(l *nameserver.Link, a connection.Assigned) {
	l.Servers = union(l.Servers, a.DNS)
	if len(l.Domains) == 0 || len(a.Domains) == 0 {
		l.Domains = nil
		return
	}
	l.Domains = union(l.Domains, a.Domains)
}

func union[T comparable](a, b []T) []T {
	list := slices.Clone(a)
	for _, x := range b {
		if !slices.Contains(list, x) {
			list = append(list, x)
		}
	}
	return list
}

// sourcesOf lists the source addresses that a script is told of.
func sourcesOf(c *connection.Description) []netip.Addr {
	var list []netip.Addr
	for _, v6 := range []bool{false, true} {
		if a := c.Source(v6); a.IsValid() {
			list = append(list, a)
		}
	}
	return list
}
