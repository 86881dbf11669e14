package connection

import (
	"net/netip"
	"reflect"
	"slices"

	"cygnet/internal/config"
	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
	"cygnet/internal/pool"
)

// A connection may get its addresses inside in the course of IKE, by the
// Configuration payload of RFC 7296 section 3.15: one end asks (Conn.RequestIP),
// the other gives (Conn.FromPool). What the two have settled belongs to the
// connection from its first Child SA until it is taken down. A client keeps it
// while it tries to get its tunnel back, so that nothing of the old address
// leaves in the clear meanwhile.

// Pool is what peers of a connection get addresses from.
type Pool struct {
	Ranges  []pool.Range
	DNS     []netip.Addr
	Domains []string // that DNS is for; none: all
}

// Assigned is what one end has given to the other; empty: nothing yet.
type Assigned struct {
	Addrs   []netip.Addr // of the end that has asked
	TS      []ipsec.TS   // what the peer has, where Description.Within leaves it to it
	DNS     []netip.Addr
	Domains []string
}

func (a Assigned) equal(b Assigned) bool {
	return slices.Equal(a.Addrs, b.Addrs) && slices.Equal(a.TS, b.TS) && slices.Equal(a.DNS, b.DNS) && slices.Equal(a.Domains, b.Domains)
}

// virtual fills in which end gets addresses, and which.
func (d *Description) virtual(c *config.Conn, local, remote end) {
	d.RequestIP, d.DHCP, d.Within = local.Ask, local.DHCP, len(remote.Within) > 0
	d.Narrow = d.Narrow || d.Within
	if len(remote.Pool) > 0 {
		d.FromPool = true
		d.Pool = Pool{Ranges: remote.Pool, DNS: c.DNS, Domains: c.Domains}
	}
}

// Asks reports whether the connection gets our address inside from the peer.
func (d *Description) Asks() bool { return len(d.RequestIP) > 0 }

// Gets reports whether we have an address inside that is not this machine's own.
func (d *Description) Gets() bool { return d.Asks() || d.DHCP }

// Sides are the traffic selectors of both ends as far as they are known now.
func (d *Description) Sides() (local, remote []ipsec.TS) {
	local, remote = d.Local.TS, d.Remote.TS
	switch {
	case d.FromPool:
		remote = hosts(d.Assigned.Addrs)
	case d.Within:
		remote = d.Assigned.TS
	case d.Asks(): // and what leaves with our outer address is still not for the clear
		local = append(hosts(d.Assigned.Addrs), local...)
	}
	return local, remote
}

// Settled is the connection with the addresses that are known now, as scripts
// are told of it.
func (d *Description) Settled() *ike.Conn {
	k := *d.Conn
	switch {
	case len(d.Assigned.TS) > 0:
		k.Remote.TS, k.Remote.Host = d.Assigned.TS, false
		return &k
	case len(d.Assigned.Addrs) == 0:
		return d.Conn
	}
	if d.FromPool {
		k.Remote.TS, k.Remote.Host = hosts(d.Assigned.Addrs), false
	} else {
		k.Local.TS, k.Local.Host = hosts(d.Assigned.Addrs), false
	}
	return &k
}

// Source is the preferred source of our packets of an address family; invalid:
// the system's choice.
func (d *Description) Source(v6 bool) netip.Addr {
	if d.Gets() {
		for _, a := range d.Assigned.Addrs {
			if a.Is6() == v6 {
				return a
			}
		}
	}
	if d.SourceIP.IsValid() && d.SourceIP.Is6() == v6 {
		return d.SourceIP
	}
	return netip.Addr{}
}

func hosts(addrs []netip.Addr) []ipsec.TS {
	list := make([]ipsec.TS, 0, len(addrs))
	for _, a := range addrs {
		list = append(list, ipsec.TS{Start: a, End: a})
	}
	return list
}

// equal reports whether e asks for exactly the same, whatever has been
// assigned.
func (d *Description) equal(e *Description) bool {
	a, b := *d, *e
	a.Assigned, b.Assigned = Assigned{}, Assigned{}
	return reflect.DeepEqual(&a, &b)
}

// assign takes over what the IKE SA of a new Child SA has settled.
func (t *Table) assign(c *conn, up *ike.IKEUp, remote []ipsec.TS) {
	switch {
	case c.Within:
		t.setAssigned(c, Assigned{TS: remote})
	case up != nil && (c.FromPool || c.Asks()):
		t.setAssigned(c, Assigned{Addrs: up.Virtual, DNS: up.DNS, Domains: up.DNSDomains})
	}
}

// unassign forgets it. The addresses of a peer rest.
func (t *Table) unassign(c *conn) {
	if c.FromPool || c.Within {
		t.lay(c)
	}
	t.setAssigned(c, Assigned{})
}

func (t *Table) setAssigned(c *conn, a Assigned) {
	if c.Assigned.equal(a) {
		return
	}
	d := *c.Description // others may hold the old one
	d.Assigned = a
	c.Description = &d
	t.touch(c)
}

// adopt takes an address that DHCP has brought over to a connection that stays
// as it is otherwise.
func (t *Table) adopt(c *conn, list []*Description) {
	if i := slices.IndexFunc(list, c.equal); c.DHCP && len(list[i].Assigned.Addrs) > 0 {
		t.setAssigned(c, list[i].Assigned)
	}
}

// unlease forgets the addresses of peers whose IKE SA is gone: they may be
// somebody else's soon.
func (t *Table) unlease() {
	for _, c := range t.conns {
		if (c.FromPool || c.Within) && len(c.children) == 0 && t.newestIKE(c) == nil {
			t.unassign(c)
		}
	}
}

// shared reports whether two connections are of peers with addresses of a
// pool. One may take over an address of the other, and the route with it.
func shared(c, x *conn) bool { return c.FromPool && x.FromPool && c.Virtual == x.Virtual }

// Described returns what a connection of the table wants, or nil.
func (t *Table) Described(c *ike.Conn) *Description {
	if x := t.byConn[c]; x != nil {
		return x.Description
	}
	return nil
}
