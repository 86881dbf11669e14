package connection

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"cygnet/internal/config"
	"cygnet/internal/ipsec"
)

// rule is one entry of a policy group for one source: a line of the SPD, and
// what is to be done about strangers there.
type rule struct {
	*Group
	name   string // as private#192.0.2.0/24
	sel    ipsec.Selector
	action ipsec.Action // Trap, Pass, Drop or Reject
	where  config.Pos
}

// rules are the entries of all groups, made ready. They never change.
type rules struct {
	list    []*rule     // by selector
	sources []rulesFrom // longest source prefix first
	plain   []claimed   // policies of the rules and beside them, by selector
	routes  []KernelRoute
	clashes []Clash
}

// claimed is a policy that no connection stands behind.
type claimed struct {
	ipsec.Policy
	beside bool // it gives way to any connection with a source as wide
}

// rulesFrom are the rules of one source prefix.
type rulesFrom struct {
	prefix  netip.Prefix
	lengths []int // of the destinations, longest first
	to      map[netip.Prefix][]*rule
}

// Clash is an entry that two groups have. The stricter one has it.
type Clash struct {
	Kept, Lost  string // names of the groups
	Target      string
	KeptAt      config.Pos
	LostAt      config.Pos
	OfSelectors ipsec.Selector
}

// String is one line for people.
func (c Clash) String() string {
	return fmt.Sprintf("%s:%d: %s is in group %q already (%s:%d), which is stricter than %q and has it", c.LostAt.File, c.LostAt.Line, c.Target, c.Kept, c.KeptAt.File, c.KeptAt.Line, c.Lost)
}

// compile makes rules of groups. mode is oe= as it is in force for a group, own
// are the addresses of this machine. A list of members that all of them share
// names ourselves too; what we send there never leaves, and no entry is about it
// (opportunistic.md 2.7).
func compile(groups []*Group, mode func(*Group) config.OEMode, own, exempt []netip.Addr) *rules {
	r := &rules{}
	for _, g := range groups {
		r.addGroup(g, mode(g))
	}
	r.list = slices.DeleteFunc(r.list, func(x *rule) bool {
		return x.sel.Dst.IsSingleIP() && slices.Contains(own, x.sel.Dst.Addr())
	})
	slices.SortStableFunc(r.list, func(a, b *rule) int {
		return cmp.Or(ipsec.Selector.Compare(a.sel, b.sel), cmp.Compare(a.Rank, b.Rank))
	})
	r.settleClashes()
	r.index()
	r.makePolicies(exempt)
	r.makeRoutes()
	return r
}

func (r *rules) addGroup(g *Group, mode config.OEMode) {
	action, ok := g.actionIn(mode)
	if !ok {
		return
	}
	entries := g.Entries
	if g.Default {
		any := netip.IPv4Unspecified()
		if g.Local.Addr.Is6() {
			any = netip.IPv6Unspecified()
		}
		entries = []config.GroupEntry{{Target: netip.PrefixFrom(any, 0)}}
	}
	for _, src := range g.Sources {
		for _, e := range entries {
			x := &rule{Group: g, name: g.Alias, action: action, where: e.Where}
			if !g.Default {
				x.name += "#" + e.String()
			}
			x.sel = ipsec.Selector{Src: src, Dst: e.Target, Proto: e.Proto, SrcPorts: canonical(e.SrcPorts), DstPorts: canonical(e.DstPorts)}
			r.list = append(r.list, x)
		}
	}
}

// actionIn is what an entry of g does to packets under oe=. Where strangers are
// not spoken to, what would be encrypted or blocked is blocked: it never
// becomes clear because of a switch (opportunistic.md 2.8).
func (g *Group) actionIn(mode config.OEMode) (a ipsec.Action, ok bool) {
	switch {
	case !g.Opportunistic():
		return g.Plain, true
	case mode == config.OENo && g.Default:
		return 0, false
	case g.Passive:
		return ipsec.Pass, true
	case mode == config.OEYes:
		return ipsec.Trap, true
	}
	return g.Failure, true
}

// settleClashes keeps of equal selectors the strictest group's.
func (r *rules) settleClashes() {
	var kept []*rule
	for _, x := range r.list {
		if len(kept) == 0 || kept[len(kept)-1].sel != x.sel {
			kept = append(kept, x)
			continue
		}
		if k := kept[len(kept)-1]; k.Alias != x.Alias && !x.Default {
			r.clashes = append(r.clashes, Clash{Kept: k.Alias, Lost: x.Alias, Target: x.sel.Dst.String(), KeptAt: k.where, LostAt: x.where, OfSelectors: x.sel})
		}
	}
	r.list = kept
}

// index makes match quick: a longest-prefix search for destinations below one
// for sources.
func (r *rules) index() {
	at := map[netip.Prefix]int{}
	for _, x := range r.list {
		i, ok := at[x.sel.Src]
		if !ok {
			i = len(r.sources)
			at[x.sel.Src] = i
			r.sources = append(r.sources, rulesFrom{prefix: x.sel.Src, to: map[netip.Prefix][]*rule{}})
		}
		s := &r.sources[i]
		if !slices.Contains(s.lengths, x.sel.Dst.Bits()) {
			s.lengths = append(s.lengths, x.sel.Dst.Bits())
		}
		s.to[x.sel.Dst] = append(s.to[x.sel.Dst], x)
	}
	for i := range r.sources {
		s := &r.sources[i]
		slices.SortFunc(s.lengths, func(a, b int) int { return b - a })
		for _, list := range s.to {
			slices.SortStableFunc(list, func(a, b *rule) int { return b.breadth() - a.breadth() })
		}
	}
	slices.SortFunc(r.sources, func(a, b rulesFrom) int {
		return cmp.Or(cmp.Compare(b.prefix.Bits(), a.prefix.Bits()), comparePrefixes(a.prefix, b.prefix))
	})
}

// breadth orders rules of the same prefixes: both ports given before one, one
// before none, a protocol before any (opportunistic.md 2.4).
func (x *rule) breadth() int {
	n := 0
	for _, p := range []ipsec.Ports{x.sel.SrcPorts, x.sel.DstPorts} {
		if !p.Any() {
			n += 2
		}
	}
	if x.sel.Proto != 0 {
		n++
	}
	return n
}

// match returns the most specific rule for a packet, source first; nil if there
// is none.
func (r *rules) match(f ipsec.Flow) *rule {
	for i := range r.sources {
		s := &r.sources[i]
		if !s.prefix.Contains(f.Src) {
			continue
		}
		for _, n := range s.lengths {
			dst, err := f.Dst.Prefix(n)
			if err != nil {
				continue
			}
			for _, x := range s.to[dst] {
				if x.sel.Contains(f) {
					return x
				}
			}
		}
	}
	return nil
}

func (r *rules) makePolicies(resolvers []netip.Addr) {
	have := map[ipsec.Selector]bool{}
	for _, x := range r.list {
		have[x.sel] = true
		r.plain = append(r.plain, claimed{Policy: ipsec.Policy{Selector: x.sel, Action: x.action, Owner: x.name, ClearIn: !x.Strict()}})
	}
	add := func(s ipsec.Selector, owner string, beside bool) {
		if !have[s] {
			have[s] = true
			r.plain = append(r.plain, claimed{ipsec.Policy{Selector: s, Action: ipsec.Pass, Owner: owner}, beside})
		}
	}
	for i := range r.sources {
		r.sources[i].exempt(add, resolvers)
	}
	r.others(add)
	slices.SortFunc(r.plain, func(a, b claimed) int { return ipsec.Selector.Compare(a.Selector, b.Selector) })
}

// never lists destinations that no group is about, opportunistic.md 2.7: what
// stays on the link, what has many receivers.
var never = []netip.Prefix{
	netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("224.0.0.0/4"), netip.MustParsePrefix("255.255.255.255/32"),
	netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("ff00::/8"),
}

// Protocol numbers and ports of DNS.
const (
	protoTCP = 6
	protoUDP = 17
	portDNS  = 53
	portDoT  = 853
)

// exempt passes what is never subject to a group, where a wider entry covers it,
// and DNS to the resolver, for whose answers lookups would wait otherwise. A
// resolver that an entry names is the administrator's affair.
func (s *rulesFrom) exempt(add func(s ipsec.Selector, owner string, beside bool), resolvers []netip.Addr) {
	for _, p := range never {
		if s.covers(p, p.Bits()-1) {
			add(ipsec.Selector{Src: s.prefix, Dst: p}, "%exempt", false)
		}
	}
	for _, a := range resolvers {
		if !s.covers(netip.PrefixFrom(a, a.BitLen()), a.BitLen()-1) || s.to[netip.PrefixFrom(a, a.BitLen())] != nil {
			continue
		}
		for _, x := range []struct {
			proto uint8
			port  uint16
		}{{protoUDP, portDNS}, {protoTCP, portDNS}, {protoTCP, portDoT}} {
			add(ipsec.Selector{Src: s.prefix, Dst: netip.PrefixFrom(a, a.BitLen()), Proto: x.proto, DstPorts: ipsec.Ports{Lo: x.port, Hi: x.port}}, "%resolver", false)
		}
	}
}

// covers reports whether an entry of at most that length covers p.
func (s *rulesFrom) covers(p netip.Prefix, most int) bool {
	if p.Addr().Is4() != s.prefix.Addr().Is4() {
		return false
	}
	for _, n := range s.lengths {
		if n > most {
			continue
		}
		if q, err := p.Addr().Prefix(n); err == nil && s.to[q] != nil {
			return true
		}
	}
	return false
}

// others passes packets of sources that no group is about: our routes lead them
// into the device as well, and without the groups they would have gone out
// plainly.
func (r *rules) others(add func(s ipsec.Selector, owner string, beside bool)) {
	for _, x := range r.list {
		any, err := x.sel.Src.Addr().Prefix(0)
		if err != nil {
			continue
		}
		all := slices.IndexFunc(r.sources, func(s rulesFrom) bool { return s.prefix == any })
		if all >= 0 && r.sources[all].covers(x.sel.Dst, x.sel.Dst.Bits()) {
			continue
		}
		add(ipsec.Selector{Src: any, Dst: x.sel.Dst}, "%others", true)
	}
}

// makeRoutes lists the routes that lead the packets of groups into the device.
// The system's own route to the neighbours on the link is more specific than a
// wide entry's; a strict group that covers them has two halves of it, and so has
// any entry that is about just them. That route itself stays in its place: by it
// packets leave the device again.
func (r *rules) makeRoutes() {
	seen := map[netip.Prefix]bool{}
	add := func(x *rule, p netip.Prefix) {
		if seen[p] {
			return
		}
		seen[p] = true
		k := KernelRoute{Prefix: p, Device: x.Virtual, Source: x.Local.Addr, MTU: x.MTU, Metric: x.Metric}
		if x.NextHop.IsValid() && x.NextHop.Is4() == p.Addr().Is4() {
			k.NextHop = x.NextHop
		}
		r.routes = append(r.routes, k)
	}
	for _, x := range r.list {
		link := x.Link.IsValid() && !x.Link.IsSingleIP() && within(x.Link, x.sel.Dst)
		if link && (x.Strict() || x.sel.Dst == x.Link) {
			for _, half := range halves(x.Link) {
				add(x, half)
			}
		}
		if x.sel.Dst != x.Link {
			add(x, x.sel.Dst)
		}
	}
	slices.SortFunc(r.routes, func(a, b KernelRoute) int { return comparePrefixes(a.Prefix, b.Prefix) })
}

// halves are the two prefixes that a prefix, which is no single address, consists
// of.
func halves(p netip.Prefix) []netip.Prefix {
	p = p.Masked()
	top := p.Addr().AsSlice()
	top[p.Bits()/8] |= 0x80 >> (p.Bits() % 8)
	high, _ := netip.AddrFromSlice(top)
	return []netip.Prefix{netip.PrefixFrom(p.Addr(), p.Bits()+1), netip.PrefixFrom(high, p.Bits()+1)}
}
