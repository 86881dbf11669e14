package check

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"cygnet/internal/config"
	"cygnet/internal/ipsec"
)

// Limits of the rules about layouts.
const (
	gridSide  = 3  // subnets on a side from which a product of subnets is a grid; 2x2 is the manual's own
	gridConns = 16 // connections from which it is worth a word
	toOnePeer = 50 // the manual: "50 or so" can become an issue
)

// hosts is the pair of addresses a connection joins, the lower first.
type hosts [2]netip.Addr

func hostsOf(c *config.Conn) (h hosts, ok bool) {
	if c.Left.Host.Kind != config.HostAddr || c.Right.Host.Kind != config.HostAddr {
		return h, false
	}
	h = hosts{c.Left.Host.Addr, c.Right.Host.Addr}
	slices.SortFunc(h[:], netip.Addr.Compare)
	return h, true
}

// between is the connections of one pair of hosts.
type between struct {
	hosts
	conns []*config.Conn
}

// byHosts groups tunnels by the addresses they join, in file order.
func (g *Gateway) byHosts() []*between {
	var list []*between
	index := map[hosts]*between{}
	for _, c := range g.tunnels() {
		h, ok := hostsOf(c)
		if !ok {
			continue
		}
		if index[h] == nil {
			index[h] = &between{hosts: h}
			list = append(list, index[h])
		}
		index[h].conns = append(index[h].conns, c)
	}
	return list
}

// endOf is the end of c that is at that address.
func endOf(c *config.Conn, a netip.Addr) *config.End {
	if c.Left.Host.Addr == a {
		return &c.Left
	}
	return &c.Right
}

func grid(g *Gateway, out *found) {
	for _, b := range g.byHosts() {
		var side [2][]netip.Prefix
		count := 0
		for _, c := range b.conns {
			low, high := endOf(c, b.hosts[0]), endOf(c, b.hosts[1])
			if len(low.Subnets) != 1 || len(high.Subnets) != 1 {
				continue
			}
			count++
			for i, e := range []*config.End{low, high} {
				if !slices.Contains(side[i], e.Subnets[0]) {
					side[i] = append(side[i], e.Subnets[0])
				}
			}
		}
		n, m := len(side[0]), len(side[1])
		if n < gridSide || m < gridSide || count < gridConns || count*10 < n*m*9 {
			continue
		}
		first := b.conns[0]
		out.at(first.Where, first.Name, fmt.Sprintf("%d connections make a grid of %d by %d subnets", count, n, m),
			fmt.Sprintf("one connection whose subnets cover them, %s and %s, or that lists them: leftsubnet=A,B,C and rightsubnet=D,E,F share one pair of SAs", supernet(side[0]), supernet(side[1])))
	}
}

// supernet is the smallest prefix that covers all of list.
func supernet(list []netip.Prefix) netip.Prefix {
	p := list[0]
	for !allCovered([]netip.Prefix{p}, list) && p.Bits() > 0 {
		p = netip.PrefixFrom(p.Addr(), p.Bits()-1).Masked()
	}
	return p
}

func manyConns(g *Gateway, out *found) {
	for _, b := range g.byHosts() {
		if n := len(b.conns); n > toOnePeer {
			c := b.conns[0]
			out.at(c.Where, c.Name, fmt.Sprintf("%d connections join %s and %s", n, b.hosts[0], b.hosts[1]), "subnets that cover several of theirs, or lists of subnets")
		}
	}
}

// matrix finds nets that are joined without the gateways themselves (R13).
func matrix(g *Gateway, out *found) {
	for _, b := range g.byHosts() {
		var have [2][2]bool // whether a net is behind the first, behind the second
		var first *config.Conn
		sourced := [2]bool{}
		for _, c := range b.conns {
			low, high := endOf(c, b.hosts[0]), endOf(c, b.hosts[1])
			have[index(len(low.Subnets) > 0)][index(len(high.Subnets) > 0)] = true
			if len(low.Subnets) > 0 && len(high.Subnets) > 0 {
				if first == nil {
					first = c
				}
				sourced[0] = sourced[0] || low.SourceIP.IsValid()
				sourced[1] = sourced[1] || high.SourceIP.IsValid()
			}
		}
		if first == nil {
			continue
		}
		// With leftsourceip a gateway speaks to the other net from inside its own.
		var missing []string
		if !have[0][1] && !sourced[0] {
			missing = append(missing, fmt.Sprintf("from %s to the net behind %s", b.hosts[0], b.hosts[1]))
		}
		if !have[1][0] && !sourced[1] {
			missing = append(missing, fmt.Sprintf("from %s to the net behind %s", b.hosts[1], b.hosts[0]))
		}
		if !have[0][0] {
			missing = append(missing, fmt.Sprintf("between %s and %s", b.hosts[0], b.hosts[1]))
		}
		if len(missing) > 0 {
			out.at(first.Where, first.Name, "no connection covers packets "+strings.Join(missing, ", "),
				"a connection of the same left and right without leftsubnet, without rightsubnet, or without both; or leftsourceip= for what the gateway itself sends")
		}
	}
}

func index(b bool) int {
	if b {
		return 1
	}
	return 0
}

// hostBits reads subnets as they are written: the parser has cleared them.
func hostBits(g *Gateway, out *found) {
	for _, w := range g.parameters() {
		switch strings.ReplaceAll(w.name, "-", "") {
		case "leftsubnet", "rightsubnet", "leftsubnets", "rightsubnets":
		default:
			continue
		}
		for _, text := range strings.FieldsFunc(w.value, func(r rune) bool { return strings.ContainsRune(" \t,{}", r) }) {
			p, cleared, err := config.ParseSubnet(text)
			if err != nil || !cleared {
				continue
			}
			mended := p.String()
			if _, mask, _ := strings.Cut(text, "/"); strings.Contains(mask, ".") {
				mended = p.Addr().String() + "/" + mask
			}
			conn, _ := strings.CutPrefix(w.section, "conn ")
			f := out.at(w.at, conn, fmt.Sprintf("%s is the net %s, from %s to %s", text, p, p.Addr(), last(p)), "write "+mended)
			f.Edit = &Edit{Line: w.at.Line, Old: text, New: mended}
		}
	}
}

// last is the highest address of a prefix.
func last(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

func virtualAddress(g *Gateway, out *found) {
	for _, c := range g.tunnels() {
		for _, v := range views(c) {
			moving := v.remote.Host.Kind == config.HostAny || v.remote.Host.Kind == config.HostDefaultRoute
			if !moving || len(v.remote.Subnets) != 1 || v.remote.Subnets[0].Bits() != v.remote.Subnets[0].Addr().BitLen() {
				continue
			}
			// Inside the other net it has a purpose: the visitor appears there.
			if allCovered(nets(v.local), v.remote.Subnets) {
				continue
			}
			key := v.remoteSide + "subnet"
			out.at(at(c, key), c.Name, fmt.Sprintf("%s=%s gives a machine whose address changes another one beside it", key, v.remote.Subnets[0]), "leave "+key+" out, unless the machine is behind NAT and that is its address there")
		}
	}
}

// hidden finds connections whose nets an earlier one has already. Road warriors
// are told apart by their names.
func hidden(g *Gateway, out *found) {
	var seen []view
	for _, c := range g.conns() {
		if c.Group() || c.Opportunistic() {
			continue
		}
		var by *view
		for i := range seen {
			for _, v := range g.views(c) {
				if by == nil && hides(seen[i], v) {
					by = &seen[i]
				}
			}
		}
		if by != nil {
			out.at(c.Where, c.Name, fmt.Sprintf("connection %q has the same nets", by.Name), "give one of them other subnets or ports, or take it out")
			continue
		}
		seen = append(seen, g.views(c)...)
	}
}

func hides(a, b view) bool {
	if a.Auto == config.AutoIgnore || b.Auto == config.AutoIgnore {
		return false // a section that others take in, or one loaded by hand
	}
	if !samePorts(a.local, b.local) || !samePorts(a.remote, b.remote) || !sameNets(localNets(a), localNets(b)) {
		return false
	}
	if a.remote.Host.Kind == config.HostAny || b.remote.Host.Kind == config.HostAny {
		return a.remote.Host.Kind == b.remote.Host.Kind && a.remote.ID == b.remote.ID && sameNets(a.remote.Subnets, b.remote.Subnets)
	}
	r, s := nets(a.remote), nets(b.remote)
	return len(r) > 0 && sameNets(r, s)
}

// localNets is nets, for an end whose address may be unknown but is one.
func localNets(v view) []netip.Prefix {
	if n := nets(v.local); n != nil {
		return n
	}
	return []netip.Prefix{{}}
}

func notOurs(g *Gateway, out *found) {
	for _, c := range g.tunnels() {
		l, r := c.Left.Host.Kind, c.Right.Host.Kind
		if l == config.HostName || r == config.HostName || g.owner.ours(&c.Left) || g.owner.ours(&c.Right) {
			continue
		}
		out.at(c.Where, c.Name, "neither left nor right is an address of this machine", "correct the address, or write %defaultroute for the end that is here")
	}
}

// everywhere finds tunnels to 0.0.0.0/0 that leave this machine without a way:
// for the lease of its own address, and for what it sends itself (R16.8).
// Local nets have routes of their own, which win, and our IKE and ESP never
// enter a tunnel.
func everywhere(g *Gateway, out *found) {
	for _, c := range g.tunnels() {
		for _, v := range g.views(c) {
			if !slices.ContainsFunc(v.remote.Subnets, func(p netip.Prefix) bool { return p.Bits() == 0 }) || restricted(v.remote) {
				continue
			}
			key := v.remoteSide + "subnet"
			if v.local.Host.Kind == config.HostDefaultRoute && !g.passes(v, 17, 67) {
				out.at(at(c, key), c.Name, "the DHCP server of this machine's own address is behind the tunnel, and so are servers of the local net that have no route of their own",
					fmt.Sprintf("a connection with type=passthrough, authby=never, %s=%%defaultroute, %s= the DHCP server and %sprotoport=udp/67", v.localSide, v.remoteSide, v.remoteSide))
				continue
			}
			if len(v.local.Subnets) > 0 && !g.gatewayCovered(v) {
				f := out.at(at(c, key), c.Name, "packets of the gateway itself to the Internet are discarded while the connection is routed, its DNS and clock too",
					fmt.Sprintf("a connection from the gateway without %ssubnet, by the same peer or with type=passthrough", v.localSide))
				f.Severity = Warning
			}
		}
	}
}

// passes reports whether some connection lets a service of the other side pass
// in the clear.
func (g *Gateway) passes(v view, proto uint8, port uint16) bool {
	for _, c := range g.conns() {
		if a, shunt := c.Shunt(); !shunt || a != ipsec.Pass {
			continue
		}
		for _, w := range views(c) {
			if w.local.Host == v.local.Host && (w.remote.Proto == 0 || w.remote.Proto == proto && w.remote.Ports.Contains(port)) {
				return true
			}
		}
	}
	return false
}

// gatewayCovered reports whether some connection takes what the gateway of v
// itself sends to anywhere.
func (g *Gateway) gatewayCovered(v view) bool {
	for _, c := range g.conns() {
		for _, w := range views(c) {
			wide := slices.ContainsFunc(w.remote.Subnets, func(p netip.Prefix) bool { return p.Bits() == 0 })
			if wide && len(w.local.Subnets) == 0 && w.local.Host == v.local.Host {
				return true
			}
		}
	}
	return len(v.local.Subnets) > 0 && v.local.Host.Kind == config.HostAddr && anyContains(v.local.Subnets, v.local.Host.Addr)
}
