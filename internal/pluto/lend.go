package pluto

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"cygnet/internal/config"
	"cygnet/internal/ike"
	"cygnet/internal/ikev2"
	"cygnet/internal/pool"
	"cygnet/internal/whack"
)

// Addresses that we give to peers, from the pools of their connections.

// Leases is where leases are kept over a restart.
type Leases interface {
	Load(now time.Time) ([]pool.Lease, error)
	Save(changed []pool.Lease) // later; it must not wait for a disk
	Close() error
}

// lending is who has which address of ours.
type lending struct {
	book  pool.Book
	file  Leases // nil: nothing is kept
	ready bool
}

// book returns the leases. They are read when they are needed first, since most
// gateways give no addresses: see readLeases.
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

// readLeases reads the leases if a connection of f gives addresses, so that no
// negotiation has to wait for the disk.
func (d *Daemon) readLeases(f *config.File) {
	if slices.ContainsFunc(f.Conns, func(c *config.Conn) bool { return len(c.Left.Pool)+len(c.Right.Pool) > 0 }) {
		d.book()
	}
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
