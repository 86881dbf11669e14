package connection

import (
	"cmp"
	"net/netip"
	"slices"

	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
)

var _ ike.PAD = (*Table)(nil)

// Speaking is the table as the machines of one version of IKE see it: they
// meet no connection that is for the other.
func (t *Table) Speaking(version uint8) ike.PAD { return speaking{t, version} }

type speaking struct {
	*Table
	version uint8
}

// Between implements ike.PAD.
func (s speaking) Between(local, remote netip.Addr) []*ike.Conn {
	return s.only(s.Table.Between(local, remote))
}

// Identified implements ike.PAD.
func (s speaking) Identified(local, remote netip.Addr, peer, want ike.ID) []*ike.Conn {
	return s.only(s.Table.Identified(local, remote, peer, want))
}

func (s speaking) only(list []*ike.Conn) []*ike.Conn {
	return slices.DeleteFunc(list, func(c *ike.Conn) bool { return c.Version != s.version })
}

// Speaks reports whether any connection is for that version of IKE.
func (t *Table) Speaks(version uint8) bool {
	return slices.ContainsFunc(t.conns, func(c *conn) bool { return c.Version == version && c.Negotiable() })
}

// Between implements ike.PAD.
func (t *Table) Between(local, remote netip.Addr) []*ike.Conn {
	return t.withStrangers(local, remote, t.candidates(local, remote, func(*conn) bool { return true }))
}

// Identified implements ike.PAD.
func (t *Table) Identified(local, remote netip.Addr, peer, want ike.ID) []*ike.Conn {
	return t.withStrangers(local, remote, t.candidates(local, remote, func(c *conn) bool {
		return c.Remote.ID.Admits(peer) &&
			(want.Kind == ike.IDNone || c.Local.ID.Equal(want))
	}))
}

// candidates lists the connections that a peer may mean: fixed peers in order
// of definition, then templates, exact identities before any.
func (t *Table) candidates(local, remote netip.Addr, admit func(*conn) bool) []*ike.Conn {
	var found []*conn
	for _, c := range t.callers(remote) {
		if c.base != nil || !c.Oriented || !c.Negotiable() || c.Local.Addr != local || c.Stranger != nil {
			continue
		}
		if !c.Template && c.Remote.Addr != remote || c.Template && c.Remote.Addr.Is4() != remote.Is4() {
			continue
		}
		if admit(c) {
			found = append(found, c)
		}
	}
	slices.SortStableFunc(found, func(a, b *conn) int {
		return cmp.Or(cmp.Compare(vague(a), vague(b)), cmp.Compare(a.seq, b.seq))
	})
	list := make([]*ike.Conn, len(found))
	for i, c := range found {
		list[i] = c.Conn
	}
	return list
}

// vague counts what c leaves open about its peer.
func vague(c *conn) int {
	n := 0
	if c.Template {
		n += 2
	}
	if c.Remote.ID.Kind == ike.IDNone {
		n++
	}
	return n
}

// Instantiate implements ike.PAD. A peer that comes back from the same address
// gets the instance that it had.
func (t *Table) Instantiate(template *ike.Conn, remote netip.AddrPort, peer ike.ID) *ike.Conn {
	c := t.byConn[template]
	if c == nil || !c.Template {
		return template
	}
	return t.instance(c, remote.Addr(), peer).Conn
}

func (t *Table) instance(base *conn, remote netip.Addr, peer ike.ID) *conn {
	for _, c := range t.at.remote[remote] {
		if c.base == base && c.Remote.ID == peer {
			return c
		}
	}
	base.instances++
	d := *base.Description
	k := *base.Conn
	d.Conn = &k
	k.Instance, k.Template = base.instances, false
	k.Remote.Addr, k.Remote.ID = remote, peer
	if k.Remote.Host {
		k.Remote.TS = hostTS(remote, base.Remote.TS)
	}
	c := &conn{Description: &d, base: base}
	t.insert(c)
	return c
}

// hostTS is the selector of a peer that protects only itself, with the
// protocol and ports its template gives.
func hostTS(addr netip.Addr, template []ipsec.TS) []ipsec.TS {
	ts := ipsec.TS{Start: addr, End: addr}
	if len(template) > 0 {
		ts.Proto, ts.Ports = template[0].Proto, template[0].Ports
	}
	return []ipsec.TS{ts}
}

// Siblings implements ike.PAD. Templates among them become instances of the
// same peer, which go with it.
func (t *Table) Siblings(conn *ike.Conn) []*ike.Conn {
	var list []*ike.Conn
	if t.byConn[conn] != nil { // else its IKE SA has outlived it, for the sake of others
		list = append(list, conn)
	}
	for _, x := range t.callers(conn.Remote.Addr) {
		if x.Stranger != nil || x.Conn == conn || x.base != nil || !x.Oriented || !x.Negotiable() || !related(conn, x) {
			continue
		}
		if x.Template {
			x = t.instance(x, conn.Remote.Addr, conn.Remote.ID)
			if x.Conn == conn {
				continue
			}
		}
		list = append(list, x.Conn)
	}
	return list
}

// related reports whether the authenticated peer of c is also the peer of x:
// the same ends under the same identities and proofs.
func related(c *ike.Conn, x *conn) bool {
	return x.Version == c.Version && x.Local.Addr == c.Local.Addr && x.Local.ID == c.Local.ID &&
		(x.Template && x.Remote.Addr.Is4() == c.Remote.Addr.Is4() || x.Remote.Addr == c.Remote.Addr) &&
		(x.Remote.ID.Admits(c.Remote.ID) || c.Remote.ID.Kind == ike.IDNone) && x.Remote.Certs == c.Remote.Certs && x.Remote.EAPName == c.Remote.EAPName &&
		x.PPK == c.PPK && slices.Equal(x.PPKIDs, c.PPKIDs) &&
		slices.Equal(x.Local.Auth, c.Local.Auth) && slices.Equal(x.Remote.Auth, c.Remote.Auth)
}

// serves reports whether anything uses an instance.
func (t *Table) serves(c *conn) bool {
	if len(c.children) > 0 || c.joined != nil {
		return true
	}
	return slices.ContainsFunc(t.at.peer[c.Remote.Addr], func(sa *ikeSA) bool {
		return sa.conn == c || sa.up != nil && sa.up.RemoteID == c.Remote.ID
	})
}

// reap frees an instance that nothing uses any more, and its route after a rest. A
// newborn is spared: the machine that asked for it has not reported yet.
func (t *Table) reap(c *conn) {
	if t.serves(c) || t.find(c.key()) != c || c.state == Unrouted && t.now.Before(c.born.Add(orphanAge)) {
		return
	}
	if c.state.Routed() && len(c.Updown) > 0 {
		t.script(c, "unroute")
	}
	t.lay(c)
	t.become(c, Unrouted)
	t.evict(c)
}
