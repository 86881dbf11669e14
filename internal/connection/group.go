package connection

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"cygnet/internal/config"
	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
	"cygnet/internal/oe"
)

// Group is a policy group of one address family as it is seen from this
// machine, or packetdefault: destinations that are treated alike
// (opportunistic.md 2).
type Group struct {
	// Description is the template of its tunnels with strangers. Its Shunt is
	// Trap if the group has such tunnels at all.
	*Description
	Rank    Rank
	Passive bool         // we answer strangers and never begin: clear-or-private
	Plain   ipsec.Action // of a group without tunnels, and of a passive one
	Default bool         // packetdefault: any destination, and no file
	Sources []netip.Prefix
	Link    netip.Prefix // of our neighbours; invalid: none
	Entries []config.GroupEntry
	OE      config.Opportunistic // without zero values
}

// Rank orders groups by strictness. Where two have the same entry, the stricter
// one has it (opportunistic.md 2.3).
type Rank uint8

// The ranks.
const (
	RankBlock Rank = iota
	RankPrivate
	RankPrivateOrClear
	RankClearOrPrivate
	RankClear
	RankDefault
)

// Strict reports whether a group lets nothing pass in the clear.
func (g *Group) Strict() bool { return g.Rank <= RankPrivate }

// Opportunistic reports whether there are tunnels with strangers.
func (g *Group) Opportunistic() bool { return g.Negotiable() }

// The times of opportunistic.md 4.5: what a group passes in the clear is not
// kept waiting as long as what would be blocked.
var (
	laxTimes    = config.Opportunistic{DNSTimeout: 2 * time.Second, IKETimeout: 4 * time.Second, HoldMax: 6 * time.Second}
	strictTimes = config.Opportunistic{DNSTimeout: 5 * time.Second, IKETimeout: 20 * time.Second, HoldMax: 30 * time.Second}
)

// The lives of SAs with strangers, opportunistic.md 4.5.
const (
	strangerChildLife = time.Hour
	strangerIKELife   = 8 * time.Hour
	strangerMargin    = 5 * time.Minute
	strangerRetry     = 500 * time.Millisecond // doubles
	strangerPatience  = 10 * time.Second       // then an exchange has failed, and the peer is gone
)

// OrientGroups makes the groups of a configuration, one of each address family
// that this machine has a way out for. The second result names what could not
// be used.
func OrientGroups(conns []*config.Conn, entries map[string][]config.GroupEntry, f *Facts, dns oe.Options) ([]*Group, []error) {
	var list []*Group
	var errs []error
	for _, c := range conns {
		if !c.Group() && !c.Opportunistic() || c.Auto == config.AutoIgnore {
			continue
		}
		for family := range 2 {
			g, err := orientGroup(c, f, family == 1, dns)
			switch {
			case err != nil:
				errs = append(errs, fmt.Errorf("%s:%d: policy group %q: %w", c.Where.File, c.Where.Line, c.Name, err))
			case g != nil:
				for _, e := range entries[c.Name] {
					if e.Target.Addr().Is6() == (family == 1) {
						g.Entries = append(g.Entries, e)
					}
				}
				list = append(list, g)
			}
		}
	}
	return list, errs
}

// orientGroup is nil if the group has nothing to do with that family here.
func orientGroup(c *config.Conn, f *Facts, v6 bool, dns oe.Options) (*Group, error) {
	local := end{&c.Left, netip.Addr{}}
	if c.Left.Host.Kind >= config.HostOpportunistic {
		local.End = &c.Right
	}
	family, any := 0, netip.IPv4Unspecified()
	if v6 {
		family, any = 1, netip.IPv6Unspecified()
	}
	switch local.Host.Kind {
	case config.HostDefaultRoute:
		local.addr = f.Default[family].Addr
	default:
		addr, err := f.resolve(local.End)
		if err != nil {
			return nil, err
		}
		if addr.Is6() == v6 {
			local.addr = addr
		}
	}
	here := f.find(local.addr)
	if here == nil {
		return nil, nil
	}
	g := &Group{Sources: sourcesOf(local, v6), Link: here.Net, Default: !c.Group()}
	if len(g.Sources) == 0 {
		return nil, nil
	}
	d := &Description{Alias: c.Name, Auto: c.Auto, MTU: c.MTU, Metric: c.Metric, Oriented: true, Virtual: here.Virtual, Physical: here.Physical, RemoteWord: "%group"}
	if c.Opportunistic() {
		d.RemoteWord = "%opportunistic"
	}
	own := local
	ours := *local.End
	if ours.ID.Kind == config.IdentityMyID {
		ours.ID = config.Identity{} // who we are to strangers is found out, see selfCheck
	}
	own.End = &ours
	if err := d.fill(c, f, own, end{&config.End{Auth: local.Auth}, any}); err != nil {
		return nil, err
	}
	if v6 {
		d.Name += "/v6"
	}
	g.Description = d
	g.rank(c)
	g.strangers(c, dns)
	return g, nil
}

// sourcesOf lists whose packets a group is about: those of this host itself, or
// of leftsubnet=.
func sourcesOf(local end, v6 bool) []netip.Prefix {
	if len(local.Subnets) == 0 {
		return []netip.Prefix{netip.PrefixFrom(local.addr, local.addr.BitLen())}
	}
	var list []netip.Prefix
	for _, p := range local.Subnets {
		if p.Addr().Is6() == v6 {
			list = append(list, p)
		}
	}
	return list
}

// rank finds out which of the five groups this one is like, and what its
// packets meet without a tunnel.
func (g *Group) rank(c *config.Conn) {
	plain, shunt := c.Shunt()
	g.Plain = plain
	switch {
	case !c.Opportunistic() && plain == ipsec.Pass:
		g.Rank = RankClear
	case !c.Opportunistic():
		g.Rank = RankBlock
	case shunt && plain == ipsec.Pass:
		g.Rank, g.Passive = RankClearOrPrivate, true
	case g.Default:
		g.Rank = RankDefault
	case c.Failure == config.FailPass:
		g.Rank = RankPrivateOrClear
	default:
		g.Rank = RankPrivate
	}
}

// strangers completes the template of tunnels. failureshunt=none would ask for
// every packet anew: without a tunnel such a group drops.
func (g *Group) strangers(c *config.Conn, dns oe.Options) {
	if !c.Opportunistic() {
		return
	}
	g.Shunt, g.Hold, g.Failure = ipsec.Trap, ipsec.Hold, ipsec.Drop
	if c.Negotiation != 0 {
		g.Hold = c.Negotiation
	}
	switch {
	case g.Passive, c.Failure == config.FailPass:
		g.Failure = ipsec.Pass
	case c.Failure == config.FailReject:
		g.Failure = ipsec.Reject
	}
	g.OE = c.OE
	times := strictTimes
	if g.Failure == ipsec.Pass {
		times = laxTimes
	}
	for _, t := range []struct {
		have *time.Duration
		def  time.Duration
	}{{&g.OE.DNSTimeout, times.DNSTimeout}, {&g.OE.IKETimeout, times.IKETimeout}, {&g.OE.HoldMax, times.HoldMax}, {&g.OE.Idle, 5 * time.Minute}} {
		if *t.have == 0 {
			*t.have = t.def
		}
	}
	if !g.OE.MinAuth.Set {
		g.OE.MinAuth.Set = true
		if g.Failure != ipsec.Pass {
			g.OE.MinAuth.Level = oe.LevelSecure
		}
	}
	dns.AcceptInsecure = g.OE.AcceptWeak
	k := g.Conn
	k.Stranger = &ike.Stranger{DNS: dns}
	k.Narrow, k.KeyingTries, k.Rekey, k.MOBIKE = true, 1, true, false
	k.IKELife, k.ChildLife, k.RekeyMargin, k.RekeyFuzz = strangerIKELife, strangerChildLife, strangerMargin, 100
	k.RetransmitFirst, k.RetransmitTotal = strangerRetry, strangerPatience
	k.DPDDelay, k.DPDAction = 0, ike.DPDHold // see look
	k.Remote.Auth = []ike.AuthMethod{ike.AuthPubkey, ike.AuthNULL}
}

// minAuth is the weakest authentication that a peer may have.
func (g *Group) minAuth() oe.Level { return g.OE.MinAuth.Level }

// as returns the template with another local end: who we are is known when the
// DNS has been asked about ourselves.
func (g *Group) as(me self) *Description {
	d, k := *g.Description, *g.Conn
	d.Conn = &k
	me.become(&k.Local)
	return &d
}

// tsOf is the traffic selector of one end of a flow.
func tsOf(a netip.Addr, proto uint8, ports ipsec.Ports) []ipsec.TS {
	return []ipsec.TS{ipsec.TSOf(netip.PrefixFrom(a, a.BitLen()), proto, ports)}
}

// self is what this machine is to strangers on one of its addresses.
type self struct {
	addr netip.Addr
	key  *ike.PublicKey // ours that the DNS has for addr, or for name; nil: none
	name string         // that has our key, because addr has none
	null bool           // oe-identity=null
}

// published reports whether we can prove who we are.
func (s self) published() bool { return s.key != nil && !s.null }

// gateway reports whether we can be called, and may speak for clients: who is
// known by a name only speaks for itself (opportunistic.md 6.1).
func (s self) gateway() bool { return s.published() && s.name == "" }

// become makes an end say who we are: the address, proven by its key, else the name
// that has it, or nobody (opportunistic.md 4.3).
func (s self) become(e *ike.End) {
	if !s.published() {
		e.ID, e.Auth, e.Keys = ike.ID{Kind: ike.IDNULL}, []ike.AuthMethod{ike.AuthNULL}, nil
		return
	}
	e.ID, e.Auth, e.Keys = ike.IDOfAddr(s.addr), []ike.AuthMethod{ike.AuthPubkey}, []ike.PublicKey{*s.key}
	if s.name != "" {
		e.ID = ike.ID{Kind: ike.IDFQDN, Data: s.name}
	}
}

// sameGroup reports whether two versions of a group differ in their entries
// only.
func sameGroup(a, b *Group) bool {
	return a.Name == b.Name && a.Rank == b.Rank && a.Plain == b.Plain && a.Failure == b.Failure &&
		slices.Equal(a.Sources, b.Sources) && a.OE == b.OE
}
