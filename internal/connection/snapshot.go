package connection

import (
	"net/netip"
	"slices"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
)

// View is what a Table shows of one connection or instance. It must not be
// changed.
type View struct {
	*Description
	State       State
	Routing     string // the word of the status report
	Up          bool
	Owner       uint32 // Child SA that owns the eroute, or 0
	NewestIKE   uint32
	NewestChild uint32
	RetryAt     time.Time
	Tries       int
	Failure     *ike.Failure // of the newest attempt, if it failed
	Children    []ChildView  // newest first
}

// ChildView is one Child SA.
type ChildView struct {
	Serial, IKE   uint32
	Up            ike.ChildUp
	Since         time.Time
	Using         bool // carries what we send
	Closing       bool
	TunIn, TunOut ipsec.SAID // zero in transport mode
}

// IKEView is one IKE SA.
type IKEView struct {
	Serial  uint32
	Conn    *ike.Conn
	Up      *ike.IKEUp // nil while it is negotiated
	Since   time.Time
	Newest  bool
	Ours    bool     // we initiated it
	Waiting []string // owners of the connections that wait for it
}

// Views lists connections by name, each before its instances.
func (t *Table) Views() []View {
	owners := map[string]bool{}
	for _, p := range t.spd.list {
		owners[p.Owner] = true
	}
	type path struct{ local, peer netip.Addr }
	ikes := map[path][]*ikeSA{}
	for _, sa := range t.ikes {
		p := path{sa.conn.Local.Addr, sa.peer}
		ikes[p] = append(ikes[p], sa)
	}
	list := make([]View, 0, len(t.conns))
	for _, c := range t.conns {
		list = append(list, t.view(c, owners, ikes[path{c.Local.Addr, c.Remote.Addr}]))
	}
	return list
}

// view shows c; ikes are the IKE SAs with its peer.
func (t *Table) view(c *conn, owners map[string]bool, ikes []*ikeSA) View {
	v := View{Description: c.Description, State: c.state, Routing: c.state.word(), Up: c.up, RetryAt: c.retry.at, Tries: c.tries, Failure: c.last}
	if c.state == Initiating && c.joined == nil {
		v.Routing = Unrouted.word() // between attempts nothing is held
	}
	if c.state.Routed() && !owners[c.key().owner()] {
		v.Routing = "eroute eclipsed"
	}
	using := c.using()
	for i := len(c.children) - 1; i >= 0; i-- {
		ch := c.children[i]
		v.Children = append(v.Children, ch.view(ch == using))
	}
	if using != nil {
		v.NewestChild = using.serial
		if c.state == Erouted {
			v.Owner = using.serial
		}
	}
	if sa := c.newestIKE(ikes); sa != nil {
		v.NewestIKE = sa.serial
	}
	return v
}

func (ch *child) view(using bool) ChildView {
	v := ChildView{Serial: ch.serial, IKE: ch.ike, Up: ch.up, Since: ch.since, Using: using, Closing: ch.closing}
	if ch.tunIn != 0 {
		v.TunIn = ipsec.SAID{Dst: ch.up.In.Dst, Proto: ipsec.Tun, SPI: ch.tunIn}
		v.TunOut = ipsec.SAID{Dst: ch.up.Out.Dst, Proto: ipsec.Tun, SPI: ch.tunOut}
	}
	return v
}

// newestIKE returns the newest established IKE SA that serves c.
func (t *Table) newestIKE(c *conn) *ikeSA { return c.newestIKE(t.at.peer[c.Remote.Addr]) }

// newestIKE finds it in a list.
func (c *conn) newestIKE(list []*ikeSA) *ikeSA {
	var found *ikeSA
	for _, sa := range list {
		if sa.up != nil && !sa.doomed && !c.Template && sa.fits(c) {
			found = sa
		}
	}
	return found
}

// IKEs lists the IKE SAs, oldest first.
func (t *Table) IKEs() []IKEView {
	list := make([]IKEView, 0, len(t.ikes))
	for _, sa := range t.ikes {
		if sa.serial == 0 {
			continue
		}
		v := IKEView{Serial: sa.serial, Conn: sa.conn.Conn, Up: sa.up, Since: sa.since, Ours: sa.ours}
		v.Newest = t.newestIKE(sa.conn) == sa
		for _, c := range sa.waiting {
			v.Waiting = append(v.Waiting, c.key().owner())
		}
		list = append(list, v)
	}
	return list
}

// Peer is where the peer of an established IKE SA is now.
func (t *Table) Peer(serial uint32) (at netip.AddrPort) {
	if sa := t.ikeBySerial(serial); sa != nil && sa.up != nil {
		at = sa.up.Remote
	}
	return at
}

// Policies returns the SPD as last told, by selector.
func (t *Table) Policies() []ipsec.Policy { return slices.Clone(t.spd.list) }

// Routes returns the kernel routes as last told, by prefix.
func (t *Table) Routes() []KernelRoute { return slices.Clone(t.routes.list) }
