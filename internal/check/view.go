package check

import (
	"net/netip"
	"slices"
	"strings"

	"cygnet/internal/config"
	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
)

// view is a connection seen from one of its ends.
type view struct {
	*config.Conn
	local, remote         *config.End
	localSide, remoteSide string // left, right
}

func views(c *config.Conn) [2]view {
	return [2]view{{c, &c.Left, &c.Right, "left", "right"}, {c, &c.Right, &c.Left, "right", "left"}}
}

// conns lists what was written in the file: no built-in connections.
func (g *Gateway) conns() []*config.Conn {
	var list []*config.Conn
	for _, c := range g.Conf.Conns {
		if !c.Implicit {
			list = append(list, c)
		}
	}
	return list
}

// tunnels lists the connections that protect something: no shunts, groups and
// opportunistic ones.
func (g *Gateway) tunnels() []*config.Conn {
	var list []*config.Conn
	for _, c := range g.conns() {
		if _, shunt := c.Shunt(); !shunt && !c.Group() && !c.Opportunistic() {
			list = append(list, c)
		}
	}
	return list
}

// owner tells which end of a connection is this machine.
type owner struct {
	facts  *Facts
	common netip.Addr // an address that all connections have, of several peers
}

func findOwner(g *Gateway) owner {
	o := owner{facts: g.Facts}
	if !knowsInterfaces(g) {
		o.facts = nil
	}
	var shared []netip.Addr
	peers := map[[2]netip.Addr]bool{}
	for _, c := range g.tunnels() {
		l, r := c.Left.Host, c.Right.Host
		if l.Kind != config.HostAddr || r.Kind != config.HostAddr {
			continue
		}
		ends := []netip.Addr{l.Addr, r.Addr}
		if len(peers) == 0 {
			shared = ends
		}
		shared = slices.DeleteFunc(shared, func(a netip.Addr) bool { return !slices.Contains(ends, a) })
		slices.SortFunc(ends, netip.Addr.Compare)
		peers[[2]netip.Addr{ends[0], ends[1]}] = true
	}
	if len(peers) > 1 && len(shared) == 1 {
		o.common = shared[0]
	}
	return o
}

// ours reports whether an end is surely this machine.
func (o owner) ours(e *config.End) bool {
	switch {
	case e.Host.Kind == config.HostDefaultRoute:
		return true
	case e.Host.Kind != config.HostAddr:
		return false
	case o.facts != nil:
		return o.facts.owns(e.Host.Addr)
	}
	return e.Host.Addr == o.common
}

// views returns a connection as this gateway sees it; both ways where it cannot
// be known which end this is.
func (g *Gateway) views(c *config.Conn) []view {
	both := views(c)
	for i, v := range both {
		if g.owner.ours(v.local) || v.remote.Host.Kind == config.HostAny || v.remote.Host.Kind == config.HostOpportunistic ||
			v.remote.Host.Kind == config.HostGroup || v.remote.Host.Kind == config.HostOpportunisticGroup {
			return both[i : i+1]
		}
	}
	return both[:]
}

// nets is what an end protects; nil if that is an address not known yet.
func nets(e *config.End) []netip.Prefix {
	if len(e.Subnets) > 0 {
		return e.Subnets
	}
	if e.Host.Kind == config.HostAddr {
		return []netip.Prefix{single(e.Host.Addr)}
	}
	return nil
}

func single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// covers reports whether a lies wholly inside b.
func covers(b, a netip.Prefix) bool { return b.Bits() <= a.Bits() && b.Contains(a.Addr()) }

// allCovered reports whether every prefix of list lies inside one of by.
func allCovered(by, list []netip.Prefix) bool {
	for _, p := range list {
		if !slices.ContainsFunc(by, func(q netip.Prefix) bool { return covers(q, p) }) {
			return false
		}
	}
	return true
}

// same reports whether two lists hold the same prefixes.
func sameNets(a, b []netip.Prefix) bool { return allCovered(a, b) && allCovered(b, a) }

func anyContains(list []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
}

func joinNets(list []netip.Prefix) string {
	var s []string
	for _, p := range list {
		s = append(s, p.String())
	}
	return strings.Join(s, ",")
}

// at is where a parameter of a connection stands, or the connection where it is
// not written.
func at(c *config.Conn, key string) config.Pos {
	if p := c.Keys[key]; p.File != "" {
		return p
	}
	return c.Where
}

// identity is what an end calls itself; none if that is not known.
func identity(e *config.End) ike.ID {
	switch {
	case e.ID.Kind == config.IdentityID:
		return e.ID.ID
	case e.ID.Kind == config.IdentityUnset && e.Host.Kind == config.HostAddr:
		return ike.IDOfAddr(e.Host.Addr)
	}
	return ike.ID{}
}

// uses reports whether an end may prove itself in that way.
func uses(e *config.End, m ike.AuthMethod) bool { return slices.Contains(e.Auth, m) }

// pskConn reports whether a shared secret may prove either end of a connection
// that is negotiated.
func pskConn(c *config.Conn) bool {
	return !manual(c) && (uses(&c.Left, ike.AuthPSK) || uses(&c.Right, ike.AuthPSK))
}

// manual reports whether a connection is keyed by hand.
func manual(c *config.Conn) bool {
	m := &c.Manual
	return m.SPI != 0 || m.SPIBase != 0 || m.AH != "" || m.Keys.ESPEnc.Len()+m.Keys.ESPAuth.Len()+m.Keys.AHSecret.Len() > 0
}

// samePorts reports whether two ends are of the same protocol and ports.
func samePorts(a, b *config.End) bool { return a.Proto == b.Proto && a.Ports == b.Ports }

// restricted reports whether an end is of one protocol or port only.
func restricted(e *config.End) bool { return e.Proto != 0 || e.Ports != ipsec.Ports{} }
