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
	DNS     []netip.Addr
	Domains []string
}

func (a Assigned) equal(b Assigned) bool {
	return slices.Equal(a.Addrs, b.Addrs) && slices.Equal(a.DNS, b.DNS) && slices.Equal(a.Domains, b.Domains)
}

// virtual fills in which end gets addresses, and which.
func (d *Description) virtual(c *config.Conn, local, remote end) {
	d.RequestIP = local.Ask
	if len(remote.Pool) > 0 {
		d.FromPool = true
		d.Pool = Pool{Ranges: remote.Pool, DNS: c.DNS, Domains: c.Domains}
	}
}

// Asks reports whether the connection gets our address inside from the peer.
func (d *Description) Asks() bool { return len(d.RequestIP) > 0 }

// Sides are the traffic selectors of both ends as far as they are known now.
func (d *Description) Sides() (local, remote []ipsec.TS) {
	local, remote = d.Local.TS, d.Remote.TS
	switch {
	case d.FromPool:
		remote = hosts(d.Assigned.Addrs)
	case d.Asks(): // and what leaves with our outer address is still not for the clear
		local = append(hosts(d.Assigned.Addrs), local...)
	}
	return local, remote
}

// Settled is the connection with the addresses that are known now, as scripts
// are told of it.
func (d *Description) Settled() *ike.Conn {
	if len(d.Assigned.Addrs) == 0 {
		return d.Conn
	}
	k := *d.Conn
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
	if d.Asks() {
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
func (t *Table) assign(c *conn, up *ike.IKEUp) {
	if up == nil || !c.FromPool && !c.Asks() {
		return
	}
	t.setAssigned(c, Assigned{Addrs: up.Virtual, DNS: up.DNS, Domains: up.DNSDomains})
}

// unassign forgets it.
func (t *Table) unassign(c *conn) { t.setAssigned(c, Assigned{}) }

func (t *Table) setAssigned(c *conn, a Assigned) {
	if c.Assigned.equal(a) {
		return
	}
	d := *c.Description // others may hold the old one
	d.Assigned = a
	c.Description, t.dirty = &d, true
}

// unlease forgets the addresses of peers whose IKE SA is gone: they may be
// somebody else's soon.
func (t *Table) unlease() {
	for _, c := range t.conns {
		if c.FromPool && len(c.children) == 0 && t.newestIKE(c) == nil {
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
