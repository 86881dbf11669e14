package check

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"cygnet/internal/config"
)

// opportunistic reports whether the file asks for opportunistic encryption in so
// many words.
func opportunistic(g *Gateway) bool { return g.Conf.Setup.OE == config.OEYes }

// asks reports whether the daemon asks a DNS server itself. The way to such a one
// is exempt from all groups.
func asks(g *Gateway, server netip.Addr) bool {
	list := g.Conf.Setup.DNS.Resolvers
	return len(list) == 0 || slices.ContainsFunc(list, func(a netip.AddrPort) bool { return a.Addr() == server })
}

// oePlace is the line that asks for it.
func oePlace(g *Gateway) config.Pos {
	for _, w := range g.parameters() {
		if w.name == "oe" {
			return w.at
		}
	}
	return config.Pos{File: g.Conf.Name}
}

func dnsServers(g *Gateway, out *found) {
	if !opportunistic(g) {
		return
	}
	name := g.beside("policies") + "/clear"
	open := g.group(name)
	for _, a := range g.Facts.DNS {
		if !anyContains(open, a) && !a.IsLoopback() && !asks(g, a) {
			out.at(oePlace(g), "", fmt.Sprintf("the DNS server %s of this machine is not in the group clear", a), fmt.Sprintf("a line %s in %s", single(a), name))
		}
	}
}

// group reads a policy group file: one prefix a line. What is wrong with it is
// for its reader to say.
func (g *Gateway) group(name string) []netip.Prefix {
	b, _, err := g.fsys.FS.Read(name, maxRead)
	if err != nil {
		return nil
	}
	var list []netip.Prefix
	for line := range strings.Lines(string(b)) {
		text, _, _ := strings.Cut(line, "#")
		if p, _, err := config.ParseSubnet(strings.TrimSpace(text)); err == nil {
			list = append(list, p)
		}
	}
	return list
}

func dnsKeys(g *Gateway, out *found) {
	own := map[netip.Addr]string{} // of gateways, by their address
	for _, r := range g.Facts.TXT {
		if r.Owner == r.Gateway {
			own[r.Gateway] = r.Key
		}
	}
	for _, r := range g.Facts.TXT {
		key, known := own[r.Gateway]
		switch {
		case r.Owner == r.Gateway:
		case !known:
			out.at(oePlace(g), "", fmt.Sprintf("%s names the gateway %s, which has no record of its own", r.Owner, r.Gateway), fmt.Sprintf("publish ipsec showhostkey --txt %s for the gateway too", r.Gateway))
		case key != r.Key:
			out.at(oePlace(g), "", fmt.Sprintf("%s has another key for the gateway %s than the gateway itself", r.Owner, r.Gateway), "the same TXT record for both")
		}
	}
}
