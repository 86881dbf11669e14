package connection

import (
	"crypto"
	"fmt"
	"net/netip"
	"slices"

	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
	"cygnet/internal/oe"
	"cygnet/internal/rawkey"
)

// The responder's side, opportunistic.md 5: what strangers who call may have.

var _ ike.Strangers = (*Table)(nil)

// Silent implements ike.Strangers.
func (t *Table) Silent(local, remote netip.Addr) bool {
	x := t.hostRule(local, remote)
	return x != nil && x.Rank == RankBlock
}

// hostRule is the rule for packets between two hosts.
func (t *Table) hostRule(local, remote netip.Addr) *rule {
	return t.ruleFor(ipsec.Flow{Src: local, Dst: remote})
}

// strangersTo lists the templates for strangers who call from remote: that of
// the rule for it; and, if we publish a key, that of any group, so that even a
// refusal can be believed (opportunistic.md 5, step 1).
func (t *Table) strangersTo(local, remote netip.Addr) []*ike.Conn {
	if t.oe.rules == nil || t.Silent(local, remote) {
		return nil
	}
	x := t.hostRule(local, remote)
	var list []*ike.Conn
	for _, c := range t.at.templates {
		if c.Stranger == nil || c.Local.Addr != local {
			continue
		}
		named := c.Local.ID.Kind != ike.IDNULL
		switch {
		case x != nil && c.Name == x.Group.Name && (named || x.minAuth() == oe.LevelAnon):
			list = append([]*ike.Conn{c.Conn}, list...)
		case named && x == nil, named && !x.Opportunistic(), named && c.Name != x.Group.Name:
			list = append(list, c.Conn)
		}
	}
	return list
}

// withStrangers appends the templates for strangers to the connections that a
// caller may mean. A peer whom a connection names is no stranger.
func (t *Table) withStrangers(local, remote netip.Addr, list []*ike.Conn) []*ike.Conn {
	if slices.ContainsFunc(list, func(c *ike.Conn) bool { return !c.Template }) {
		return list
	}
	return append(list, t.strangersTo(local, remote)...)
}

// Admit implements ike.Strangers.
func (t *Table) Admit(template *ike.Conn, remote netip.AddrPort, peer ike.ID, proof ike.Proof) *ike.Conn {
	base := t.byConn[template]
	if base == nil {
		return template
	}
	base.instances++
	d, k := *base.Description, *base.Conn
	d.Conn = &k
	k.Instance, k.Template = base.instances, false
	k.Remote.Addr, k.Remote.ID = remote.Addr(), peer
	k.Remote.Auth = []ike.AuthMethod{ike.AuthNULL}
	if proof.Key != nil {
		k.Remote.Auth = []ike.AuthMethod{ike.AuthPubkey}
		k.Remote.Keys = []ike.PublicKey{{Key: proof.Key, Origin: "the DNS"}}
	}
	d.RemoteWord = ""
	c := &conn{Description: &d, base: base, level: levelOf(peer, proof)}
	t.insert(c)
	return c.Conn
}

// levelOf is how well a stranger is known: an address that the DNS has a key
// for, a name, or nobody (opportunistic.md 6.3).
func levelOf(peer ike.ID, proof ike.Proof) oe.Level {
	if peer.Kind == ike.IDNULL || proof.Key == nil {
		return oe.LevelAnon
	}
	return proof.Level
}

// Grant implements ike.Strangers.
func (t *Table) Grant(k *ike.Conn, p ike.Pair, proof ike.Proof) (*ike.Conn, *ike.Failure) {
	c := t.byConn[k]
	if c == nil {
		return nil, refuseFlow("the connection of the stranger is gone")
	}
	level := levelOf(k.Remote.ID, proof)
	if sa := t.ikeOf(c); sa != nil && sa.ours {
		level = c.level
	}
	packet := ipsec.Flow{Src: p.Local, Dst: p.Remote, Proto: p.Proto, SrcPort: p.LocalPort, DstPort: p.RemotePort}
	x := t.ruleFor(packet)
	switch {
	case x == nil:
		return nil, refuseFlow(fmt.Sprintf("no policy group has %s to %s for strangers", p.Local, p.Remote))
	case !x.Opportunistic() || x.Local.Addr != k.Local.Addr:
		return nil, refuseFlow(fmt.Sprintf("policy %s does not encrypt %s to %s", x.name, p.Local, p.Remote))
	case level < x.minAuth():
		return nil, refuseFlow(fmt.Sprintf("policy %s asks for authentication %s, the peer has %s", x.name, x.minAuth(), level))
	case level == oe.LevelAnon && p.Remote != k.Remote.Addr.Unmap(): // RFC 7619, and a resolver's address could be claimed (6.5)
		return nil, refuseFlow(fmt.Sprintf("an anonymous peer at %s asks for %s, which is not its own address", k.Remote.Addr, p.Remote))
	}
	return t.grantFlow(c, x, x.selectorOf(packet), level)
}

func refuseFlow(why string) *ike.Failure {
	return &ike.Failure{Reason: ike.ReasonTS, Why: "opportunistic encryption refused: " + why, Notify: ike.NotifyTSUnacceptable}
}

// grantFlow finds or makes the flow and the connection by which the peer of c
// serves it.
func (t *Table) grantFlow(c *conn, x *rule, sel ipsec.Selector, level oe.Level) (*ike.Conn, *ike.Failure) {
	o := &t.oe
	f := o.flows[sel]
	switch {
	case f == nil && (o.waiting >= maxWaiting || !t.room()):
		return nil, refuseFlow("too many flows are being worked on")
	case level == oe.LevelAnon && o.anon >= maxAnon && (f == nil || !f.anon):
		return nil, refuseFlow("too many peers are anonymous")
	case f != nil && f.state == Encrypted && f.level > level: // 5, step 9
		return nil, refuseFlow(fmt.Sprintf("%s has a tunnel with authentication %s, the peer has %s", f.title(), f.level, level))
	case f != nil && f.settled():
		t.end(f)
		f = nil
	}
	if f == nil {
		f = t.begin(x, sel)
		t.enter(f, Negotiating)
		t.alarms.set(&f.alarm, t.now.Add(grantTime))
	}
	for _, have := range append(slices.Clone(f.attempts), f.conn) {
		if have != nil && have.Remote.Addr == c.Remote.Addr && slices.Equal(have.Remote.Auth, c.Remote.Auth) && slices.Equal(have.Local.Auth, c.Local.Auth) {
			return have.Conn, nil
		}
	}
	n := t.attempt(f, c.Remote.Addr, c.Remote.Keys, level)
	k := *n.Conn
	delete(t.byConn, n.Conn)
	k.Remote.ID, k.Remote.Auth, k.Local.ID, k.Local.Auth = c.Remote.ID, c.Remote.Auth, c.Local.ID, c.Local.Auth
	k.IKE = c.IKE
	n.Description.Conn = &k
	t.byConn[&k] = n
	return &k, nil
}

// ikeOf returns the IKE SA that was made for c, or nil.
func (t *Table) ikeOf(c *conn) *ikeSA {
	for _, sa := range t.at.peer[c.Remote.Addr] {
		if sa.conn == c {
			return sa
		}
	}
	return nil
}

// provenKey is the key by which the peer of a flow's tunnel has proved itself.
func (t *Table) provenKey(c *conn) crypto.PublicKey {
	if c == nil {
		return nil
	}
	for _, ch := range c.children {
		if sa := t.ikeBySerial(ch.ike); sa != nil && sa.up != nil {
			return sa.up.Proof.Key
		}
	}
	return nil
}

// sharesStrangers reports whether the Child SA of a stranger's flow can ride on
// an IKE SA: not on one of a connection that somebody wrote, nor the other way
// round; and who proved to be the gateway did so by a key that the DNS has for
// this destination (opportunistic.md 4.7).
func (sa *ikeSA) sharesStrangers(c *conn) bool {
	switch {
	case (sa.conn.Stranger == nil) != (c.Stranger == nil):
		return false
	case c.Stranger == nil:
		return true
	case sa.up == nil: // by which of them it will be is not known yet
		return sameKeys(sa.conn.Remote.Keys, c.Remote.Keys)
	case len(c.Remote.Keys) == 0:
		return sa.up.Proof.Key == nil
	}
	return c.Remote.HasKey(sa.up.Proof.Key)
}

func sameKeys(a, b []ike.PublicKey) bool {
	return slices.EqualFunc(a, b, func(x, y ike.PublicKey) bool { return rawkey.Equal(x.Key, y.Key) })
}
