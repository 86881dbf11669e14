package check

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"cygnet/internal/config"
	"cygnet/internal/suite"
)

// shared4 is RFC 6598's space of providers, which nobody routes either.
var shared4 = netip.MustParsePrefix("100.64.0.0/10")

// public reports whether routers of the Internet would take packets to a net:
// to any part of it.
func public(p netip.Prefix) bool {
	a := p.Addr()
	inside := func(private string) bool { return covers(netip.MustParsePrefix(private), p) }
	switch {
	case inside("10.0.0.0/8"), inside("172.16.0.0/12"), inside("192.168.0.0/16"), inside("fc00::/7"), covers(shared4, p):
		return false
	}
	return !a.IsLoopback() && !a.IsLinkLocalUnicast() && !a.IsMulticast()
}

// clearUntilUp finds public nets that only a connection covers which has no
// policy before --up (R13.7).
func clearUntilUp(g *Gateway, out *found) {
	for _, c := range g.tunnels() {
		if g.guarding(c) {
			continue
		}
		for _, v := range g.views(c) {
			for _, p := range v.remote.Subnets {
				if public(p) && !g.guarded(v, p) {
					out.at(at(c, "auto"), c.Name, fmt.Sprintf("until it is up, packets to %s leave in the clear", p),
						"auto=route, which traps them, or auto=start; or another connection with type=drop")
				}
			}
		}
	}
}

// guarding reports whether a connection has a policy from the start on.
func (g *Gateway) guarding(c *config.Conn) bool {
	switch c.Auto {
	case config.AutoRoute, config.AutoStart, config.AutoManual:
		return true
	}
	return slices.Contains(g.Conf.Setup.ManualStart, c.Name)
}

// guarded reports whether another connection holds back what v would send to p.
func (g *Gateway) guarded(v view, p netip.Prefix) bool {
	for _, c := range g.conns() {
		if c == v.Conn || !g.guarding(c) || c.Type == config.TypePassthrough {
			continue
		}
		for _, w := range g.views(c) {
			if w.local.Host == v.local.Host && allCovered(nets(w.remote), []netip.Prefix{p}) && allCovered(localNets(w), localNets(v)) {
				return true
			}
		}
	}
	return false
}

// loops finds tunnels each of whose peers would be reached through the next
// one. That a tunnel covers its own peer is no loop: our IKE and ESP never go
// into a tunnel (R3.6).
func loops(g *Gateway, out *found) {
	list := g.tunnels()
	for i, c := range list {
		if through := g.circle(list, i); through != "" {
			out.at(c.Where, c.Name, "its peer is behind "+through+", and the other way round", "smaller subnets, so that one of the peers is outside the other's tunnel")
		}
	}
	if !knowsRoutes(g) {
		return
	}
	for _, c := range list {
		for _, v := range g.views(c) {
			if r, ok := g.Facts.route(v.remote.Host.Addr); ok && v.remote.Host.Kind == config.HostAddr && strings.HasPrefix(r.Device, "ipsec") && !r.Ours {
				out.at(at(c, v.remoteSide), c.Name, fmt.Sprintf("the route to the peer %s is %s dev %s, which somebody set by hand", v.remote.Host.Addr, r.Prefix, r.Device), fmt.Sprintf("ip route del %s dev %s", r.Prefix, r.Device))
			}
		}
	}
}

// circle finds the shortest way back to connection i: the names on it, or
// nothing.
func (g *Gateway) circle(list []*config.Conn, i int) string {
	from := map[int]int{}
	for queue := []int{i}; len(queue) > 0; queue = queue[1:] {
		k := queue[0]
		for n, next := range list {
			if _, seen := from[n]; seen || n == k || hostsEqual(list[k], next) || !g.inside(list[k], next) {
				continue
			}
			from[n] = k
			if n == i {
				return onTheWay(list, from, i)
			}
			queue = append(queue, n)
		}
	}
	return ""
}

func onTheWay(list []*config.Conn, from map[int]int, i int) string {
	var names []string
	for n := from[i]; n != i; n = from[n] {
		names = append(names, fmt.Sprintf("%q", list[n].Name))
	}
	slices.Reverse(names)
	return strings.Join(names, ", ")
}

func hostsEqual(a, b *config.Conn) bool {
	h, ok := hostsOf(a)
	k, also := hostsOf(b)
	return ok && also && h == k
}

// inside reports whether the outer packets of c match the nets of by.
func (g *Gateway) inside(c, by *config.Conn) bool {
	for _, v := range g.views(c) {
		for _, w := range g.views(by) {
			if v.local.Host.Kind == config.HostAddr && v.remote.Host.Kind == config.HostAddr && v.local.Host == w.local.Host &&
				anyContains(nets(w.local), v.local.Host.Addr) && anyContains(nets(w.remote), v.remote.Host.Addr) {
				return true
			}
		}
	}
	return false
}

// route finds the most specific route to an address.
func (f *Facts) route(a netip.Addr) (best Route, ok bool) {
	for _, r := range f.Routes {
		if r.Prefix.Contains(a) && (!ok || r.Prefix.Bits() > best.Prefix.Bits()) {
			best, ok = r, true
		}
	}
	return best, ok
}

// Lengths of headers, octets.
const (
	ethernetMTU = 1500 // where the device's is not known
	ip4Header   = 20
	ip6Header   = 40
	udpHeader   = 8
	espHeader   = 8
	espTrailer  = 2 // without padding
)

// overhead compares mtu= and overridemtu= with what is left of the path.
func overhead(g *Gateway, out *found) {
	for _, c := range g.tunnels() {
		mtu, key, pos := c.MTU, "mtu", at(c, "mtu")
		if mtu == 0 {
			mtu, key, pos = g.Conf.Setup.OverrideMTU, "overridemtu", g.Conf.Setup.Keys["overridemtu"]
		}
		if mtu == 0 {
			continue
		}
		path, whence := ethernetMTU, "Ethernet's"
		if i := g.outside(c); i != nil {
			path, whence = i.MTU, "that of "+i.Name
		}
		if size, fits, sum := outerSize(c, mtu, path); size > path {
			out.at(pos, c.Name, fmt.Sprintf("a packet of %s=%d becomes one of %d (%s), but the path's MTU is %d (%s)", key, mtu, size, sum, path, whence), fmt.Sprintf("at most %s=%d, or leave it out: it is computed", key, fits))
		}
	}
}

// outside is the attached device; nil if it is not known.
func (g *Gateway) outside(c *config.Conn) *Interface {
	if !knowsInterfaces(g) {
		return nil
	}
	for _, v := range g.views(c) {
		for i := range g.Facts.Interfaces {
			dev := &g.Facts.Interfaces[i]
			onIt := slices.ContainsFunc(dev.Addrs, func(p netip.Prefix) bool { return p.Addr() == v.local.Host.Addr })
			if onIt || v.local.Host.Kind == config.HostDefaultRoute && slices.Contains(g.Facts.Default, dev.Name) {
				return dev
			}
		}
	}
	return nil
}

// outerSize is how long a packet of mtu octets gets in the tunnel, by the suite
// of the connection that adds most, the longest packet that would fit a path,
// and the sum in words. In tunnel mode the inner header is part of the packet.
func outerSize(c *config.Conn, mtu, path int) (size, fits int, sum string) {
	outer := ip4Header
	if c.Left.Host.Addr.Is6() || c.Right.Host.Addr.Is6() {
		outer = ip6Header
	}
	list := c.ESP.List
	if len(list) == 0 {
		list = suite.DefaultESP(false)
	}
	fits = path
	for _, p := range list {
		icv := 0
		for _, i := range p.Integ {
			icv = max(icv, i.ICV)
		}
		for _, e := range p.Encr {
			block := max(4, e.Block) // RFC 4303, 2.4
			fixed := outer + udpHeader + espHeader + e.IV + max(icv, e.ICV)
			fits = min(fits, (path-fixed)/block*block-espTrailer)
			if n := fixed + (mtu+espTrailer+block-1)/block*block; n > size {
				size, sum = n, fmt.Sprintf("IP %d, UDP %d, ESP %d", outer, udpHeader, n-outer-udpHeader-mtu)
			}
		}
	}
	return size, fits, sum
}

// natRules finds source NAT that would catch packets on their way into ipsec0:
// rules for one physical device do not, and those behind an exemption neither.
func natRules(g *Gateway, out *found) {
	for _, c := range g.tunnels() {
		for _, v := range g.views(c) {
			for _, from := range v.local.Subnets {
				for _, to := range nets(v.remote) {
					if r := g.Facts.rewriting(from, to); r != nil {
						out.at(c.Where, c.Name, fmt.Sprintf("this machine's rule %q rewrites packets from %s to %s", r.Text, from, to), "limit the rule to the physical device, or exempt what goes into ipsec devices")
					}
				}
			}
		}
	}
}

func (f *Facts) rewriting(from, to netip.Prefix) *NATRule {
	for i := range f.NAT {
		r := &f.NAT[i]
		if r.Out != "" && !strings.HasPrefix(r.Out, "ipsec") {
			continue
		}
		meets := func(rule, p netip.Prefix) bool { return !rule.IsValid() || rule.Overlaps(p) }
		if meets(r.Source, from) && meets(r.Dest, to) {
			if r.Exempt {
				return nil
			}
			return r
		}
	}
	return nil
}
