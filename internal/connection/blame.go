package connection

import (
	"net/netip"
	"slices"
	"time"

	"cygnet/internal/ike"
)

// Blame is why a connection did not come up, or went down: kept until it is up
// again, however long that takes, for `ipsec why`.
type Blame struct {
	Why  *ike.Failure
	At   time.Time
	Ours bool // it was we who initiated
	Peer netip.AddrPort

	// Anybody may have sent what was refused: a first message, which proves nothing.
	// It takes the place of no reason that came later in a negotiation.
	Anybody bool
}

// Refused says that a peer's first message was turned away, before any machine
// was made for it. Report.Conn is nil where it is not known which connection
// the peer meant.
type Refused struct{ Report ike.Report }

func (Refused) event() {}

// Blamed is what is known of one connection; instances count as their template.
type Blamed struct {
	*Description
	Up   bool    // it has a Child SA, or one of its instances has
	List []Blame // newest first; at most one for our attempts, the peer's, and anybody's
}

// root is what a user knows c as: instances come and go.
func (c *conn) root() *conn {
	if c.base != nil {
		return c.base
	}
	return c
}

// note keeps b beside what is known of the other side's attempts.
func (c *conn) note(b Blame) {
	if b.Why == nil || b.Why.Reason == ike.ReasonDeleted {
		return
	}
	i := 0
	switch {
	case b.Ours:
		i = 1
	case b.Anybody:
		i = 2
	}
	c.root().blames[i] = &b
}

// cleared forgets what had failed before c came up.
func (c *conn) cleared() { c.root().blames = [3]*Blame{} }

// refused notes a refusal of a first message.
func (t *Table) refused(e Refused) {
	n, ok := e.Report.Fact.(ike.Note)
	if !ok || n.Why == nil {
		return
	}
	t.noteAt(t.byConn[e.Report.Conn], Blame{Why: n.Why, At: t.now, Peer: e.Report.Peer, Anybody: true})
}

// noteAt notes a failure of a peer's attempt at c or, where c is nil because
// nobody has proved anything, at all connections that are for that peer's
// address, or for any.
func (t *Table) noteAt(c *conn, b Blame) {
	if c != nil {
		c.note(b)
		return
	}
	var fixed, anybody []*conn
	for _, c := range t.conns {
		switch {
		case c.base != nil || !c.Oriented || !c.Negotiable():
		case c.Template:
			anybody = append(anybody, c)
		case c.Remote.Addr == b.Peer.Addr():
			fixed = append(fixed, c)
		}
	}
	if len(fixed) == 0 {
		fixed = anybody
	}
	for _, c := range fixed {
		c.note(b)
	}
}

// Blames tells what has failed of the connections that a name means, or, without
// a name, of all that have failed.
func (t *Table) Blames(name string) []Blamed {
	var list []Blamed
	for _, c := range t.conns {
		if c.base != nil || name != "" && c.Name != name && c.Alias != name {
			continue
		}
		b := Blamed{Description: c.Description, Up: slices.ContainsFunc(t.conns, func(x *conn) bool { return x.root() == c && len(x.children) > 0 })}
		for _, one := range c.blames {
			if one != nil {
				b.List = append(b.List, *one)
			}
		}
		slices.SortStableFunc(b.List, func(x, y Blame) int { return y.At.Compare(x.At) })
		if name != "" || len(b.List) > 0 {
			list = append(list, b)
		}
	}
	return list
}
