package check

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"cygnet/internal/config"
)

const defaultRoute = "%defaultroute"

func interfaces(g *Gateway, out *found) {
	pos := g.Conf.Setup.Keys["interfaces"]
	if pos.File == "" {
		pos = config.Pos{File: g.Conf.Name}
	}
	onDefault := len(g.Conf.Setup.Interfaces) == 0
	for _, i := range g.Conf.Setup.Interfaces {
		name := i.Physical
		if name == defaultRoute {
			onDefault = true
			if len(g.Facts.Default) == 0 {
				out.at(pos, "", "this machine has no default route for %defaultroute", "name the device, as in interfaces=\"ipsec0=eth0\"")
			}
			continue
		}
		onDefault = onDefault || slices.Contains(g.Facts.Default, name)
		switch dev := g.Facts.device(name); {
		case dev == nil:
			out.at(pos, "", fmt.Sprintf("%s=%s names a device that is not there", i.Virtual, name), "one of "+strings.Join(g.Facts.names(), ", ")+", or %defaultroute")
		case !dev.Up:
			out.at(pos, "", fmt.Sprintf("device %s is down", name), "ip link set "+name+" up")
		case len(dev.Addrs) == 0:
			out.at(pos, "", fmt.Sprintf("device %s has no address", name), "for PPP over it, name the ppp device")
		}
	}
	if !onDefault && len(g.Facts.Default) > 0 {
		out.at(pos, "", fmt.Sprintf("no attached device has the default route, which leads out of %s", strings.Join(g.Facts.Default, ", ")), "interfaces=%defaultroute follows it")
	}
}

func (f *Facts) names() []string {
	var list []string
	for _, i := range f.Interfaces {
		if !strings.HasPrefix(i.Name, "ipsec") && i.Name != "lo" {
			list = append(list, i.Name)
		}
	}
	return list
}

func staleRoutes(g *Gateway, out *found) {
	wanted := map[netip.Prefix]*config.Conn{}
	for _, c := range g.tunnels() {
		for _, v := range g.views(c) {
			for _, p := range nets(v.remote) {
				wanted[p] = c
				if p.Bits() == 0 { // set as two halves
					wanted[netip.PrefixFrom(p.Addr(), 1)] = c
					wanted[netip.PrefixFrom(last(p), 1).Masked()] = c
				}
			}
		}
	}
	for _, r := range g.Facts.Routes {
		c := wanted[r.Prefix]
		switch {
		case r.Ours && c == nil:
			out.at(config.Pos{File: g.Conf.Name}, "", fmt.Sprintf("a route to %s goes into %s, but no connection here has that net", r.Prefix, r.Device), "ipsec auto --unroute NAME before a connection is taken out; now ip route del "+r.Prefix.String())
		case !r.Ours && c != nil && r.Prefix.Bits() > 0 && !strings.HasPrefix(r.Device, "ipsec"):
			out.at(c.Where, c.Name, fmt.Sprintf("the route to %s dev %s gives way when the connection is routed, and --unroute does not put it back", r.Prefix, r.Device), "note how it was made")
		}
	}
}
