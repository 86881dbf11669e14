package pluto

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"cygnet/internal/connection"
	"cygnet/internal/ike"
	"cygnet/internal/ikev2"
	"cygnet/internal/nameserver"
	"cygnet/internal/pool"
	"cygnet/internal/whack"
)

// Addresses inside: those that we give to peers, from the pools of their
// connections, and those that peers give to us, which go to the virtual device.

// Leases is where leases are kept over a restart.
type Leases interface {
	Load(now time.Time) ([]pool.Lease, error)
	Save(changed []pool.Lease) // later; it must not wait for a disk
	Close() error
}

// NameServers is the machine's resolver.
type NameServers interface {
	Set(links []nameserver.Link)
	Close()
}

// lending is who has which address of ours.
type lending struct {
	book  pool.Book
	file  Leases // nil: nothing is kept
	ready bool
}

// book returns the leases. They are read when they are needed first: most
// gateways give no addresses.
func (d *Daemon) book() *pool.Book {
	if d.lent.ready || d.o.Leases == nil {
		return &d.lent.book
	}
	d.lent.ready = true
	file, err := d.o.Leases()
	if err != nil {
		d.log.Error(fmt.Sprintf("leases are not kept over a restart: %v", err))
		return &d.lent.book
	}
	now := time.Now()
	list, err := file.Load(now)
	if err != nil {
		d.log.Error(err.Error())
	}
	d.lent.book.Restore(now, list)
	d.lent.file = file
	return &d.lent.book
}

func (d *Daemon) saveLeases() {
	changed := d.lent.book.Changed()
	if d.lent.file != nil {
		d.lent.file.Save(changed)
	}
}

func (d *Daemon) closeLeases() {
	if d.lent.file == nil {
		return
	}
	if err := d.lent.file.Close(); err != nil {
		d.log.Error(fmt.Sprintf("close leases: %v", err))
	}
	d.lent.file = nil
}

// lender gives addresses to the machines, which are stepped in the loop.
type lender struct{ *Daemon }

var _ ikev2.Pool = lender{}

// Lease implements ikev2.Pool: one address of each family that is asked for
// and to be had.
func (d lender) Lease(c *ike.Conn, peer ike.ID, want []netip.Addr) (ikev2.Lease, error) {
	desc := d.table.Described(c)
	if desc == nil {
		return ikev2.Lease{}, errors.New("the connection is gone")
	}
	var l ikev2.Lease
	r := pool.Request{Owner: ownerOf(c, peer), Conn: c.Name, Ranges: desc.Pool.Ranges, Alone: desc.PeerIsOne(peer)}
	err := pool.ErrFull
	for _, v6 := range []bool{false, true} {
		i := slices.IndexFunc(want, func(a netip.Addr) bool { return a.Is6() == v6 })
		if i < 0 {
			continue
		}
		r.Want = want[i]
		a, failure := d.book().Take(time.Now(), r)
		if failure != nil {
			err = failure
			continue
		}
		l.Addrs = append(l.Addrs, a)
	}
	d.saveLeases()
	if len(l.Addrs) == 0 {
		return l, err
	}
	l.DNS, l.Domains = desc.Pool.DNS, desc.Pool.Domains
	l.DNS = slices.DeleteFunc(slices.Clone(l.DNS), func(a netip.Addr) bool {
		return !slices.ContainsFunc(l.Addrs, func(b netip.Addr) bool { return a.Is6() == b.Is6() })
	})
	d.log.Info(fmt.Sprintf("%s: %s has %s", c.Title(), peer, addrList(l.Addrs)))
	return l, nil
}

// Release implements ikev2.Pool.
func (d lender) Release(c *ike.Conn, peer ike.ID, l ikev2.Lease) {
	for _, a := range l.Addrs {
		d.book().Return(time.Now(), ownerOf(c, peer), a)
	}
	d.saveLeases()
	d.log.Info(fmt.Sprintf("%s: %s has given back %s", c.Title(), peer, addrList(l.Addrs)))
}

// ownerOf is whom an address is kept for. A peer without a name is known by
// where it calls from.
func ownerOf(c *ike.Conn, peer ike.ID) string {
	if peer.Kind == ike.IDNone || peer.Kind == ike.IDNULL {
		return "anonymous at " + c.Remote.Addr.String()
	}
	return peer.String()
}

func addrList(list []netip.Addr) string {
	text := ""
	for i, a := range list {
		if i > 0 {
			text += " and "
		}
		text += a.String()
	}
	return text
}

// leaseList is the answer to OpLeases.
func (d *Daemon) leaseList() *whack.Leases {
	out := &whack.Leases{Schema: whack.Schema, Pools: []whack.Pool{}, Leases: []whack.Lease{}}
	leases := d.book().Leases()
	for _, l := range leases {
		out.Leases = append(out.Leases, whack.Lease{Addr: l.Addr, Owner: l.Owner, Conn: l.Conn, Used: l.Uses > 0, Since: l.Since.Unix()})
	}
	for _, v := range d.table.Views() {
		if v.Instance != 0 || !v.FromPool {
			continue
		}
		for _, r := range v.Pool.Ranges {
			p := whack.Pool{Conn: v.Name, Range: r.String(), Size: r.Size()}
			for _, l := range leases {
				switch {
				case !r.Contains(l.Addr):
				case l.Uses > 0:
					p.Used++
				default:
					p.Kept++
				}
			}
			out.Pools = append(out.Pools, p)
		}
	}
	return out
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
