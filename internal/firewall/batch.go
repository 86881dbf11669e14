package firewall

import (
	"cmp"
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
)

// batch is a transaction in the making.
type batch struct {
	conn     *nftables.Conn
	messages int
	setID    uint32
	err      error
}

func (l *Linux) connect() (*nftables.Conn, error) {
	conn, err := nftables.New(nftables.WithNetNSFd(l.o.NetNS), nftables.WithSockOptions(
		func(c *netlink.Conn) error { return c.SetWriteBuffer(socketBuffer) },
		func(c *netlink.Conn) error { return c.SetReadBuffer(socketBuffer) }))
	if err != nil {
		return nil, fmt.Errorf("open nftables: %w", err)
	}
	return conn, nil
}

func (l *Linux) batch() (*batch, error) {
	conn, err := l.connect()
	return &batch{conn: conn}, err
}

// replace queues our table as rs has it in place of what is there. What
// scripts have opened stays.
func (b *batch) replace(k inspection, rs ruleset) {
	switch {
	case !k.table && len(rs.chains) == 0:
		return
	case k.table && len(k.scripts) == 0:
		b.deleteTable()
	case k.table:
		b.empty(k)
	}
	if len(rs.chains) == 0 {
		return
	}
	b.addTable()
	for _, s := range rs.sets {
		b.addSet(s)
	}
	for _, c := range rs.chains {
		b.addChain(c)
		for _, r := range c.rules {
			b.addRule(c, r.name, r.exprs)
		}
	}
}

// empty queues the removal of all that Set manages.
func (b *batch) empty(k inspection) {
	for _, name := range k.chains {
		b.conn.FlushChain(&nftables.Chain{Table: table(), Name: name})
		b.conn.DelChain(&nftables.Chain{Table: table(), Name: name})
		b.messages += 2
	}
	for _, name := range k.sets {
		b.conn.DelSet(&nftables.Set{Table: table(), Name: name})
		b.messages++
	}
}

func (b *batch) addTable() {
	b.conn.AddTable(table())
	b.messages++
}

func (b *batch) deleteTable() {
	b.conn.DelTable(table())
	b.messages++
}

func (b *batch) addChain(c chain) {
	policy := nftables.ChainPolicyAccept
	b.conn.AddChain(&nftables.Chain{Table: table(), Name: c.name, Type: c.kind,
		Hooknum: &c.hook, Priority: &c.prio, Policy: &policy})
	b.messages++
}

func (b *batch) deleteChain(c chain) {
	b.conn.DelChain(&nftables.Chain{Table: table(), Name: c.name})
	b.messages++
}

func (b *batch) addRule(c chain, comment string, exprs []expr.Any) {
	r := &nftables.Rule{Table: table(), Chain: &nftables.Chain{Name: c.name}, Exprs: exprs}
	if comment != "" {
		r.UserData = userdata.AppendString(nil, userdata.TypeComment, comment)
	}
	b.conn.AddRule(r)
	b.messages++
}

func (b *batch) deleteRule(t *nftables.Table, chain string, handle uint64) error {
	b.messages++
	return b.conn.DelRule(&nftables.Rule{Table: t, Chain: &nftables.Chain{Name: chain}, Handle: handle})
}

// kernelSet is a set as package nftables has it. Sets of one type are hashes,
// those of several are ranges of each (pipapo).
func (s set) kernelSet() *nftables.Set {
	k := &nftables.Set{Table: table(), Name: s.name, KeyType: s.key[0], KeyByteOrder: binaryutil.NativeEndian} // the order is for nft to show names
	if len(s.key) > 1 {
		k.KeyType = nftables.MustConcatSetType(s.key...)
		k.Concatenation, k.Interval, k.KeyByteOrder = true, true, nil
	}
	return k
}

func (b *batch) addSet(s set) {
	k := s.kernelSet()
	b.setID++
	k.ID = b.setID
	b.keep(b.conn.AddSet(k, nil))
	b.messages++
	b.addElements(k, s.elements)
}

func (b *batch) addElements(s *nftables.Set, list []nftables.SetElement) {
	b.inChunks(list, func(part []nftables.SetElement) error { return b.conn.SetAddElements(s, part) })
}

func (b *batch) deleteElements(s *nftables.Set, list []nftables.SetElement) {
	b.inChunks(list, func(part []nftables.SetElement) error { return b.conn.SetDeleteElements(s, part) })
}

func (b *batch) inChunks(list []nftables.SetElement, f func([]nftables.SetElement) error) {
	for len(list) > 0 {
		n := min(len(list), elementsPerMessage)
		b.keep(f(list[:n]))
		b.messages++
		list = list[n:]
	}
}

func (b *batch) keep(err error) { b.err = cmp.Or(b.err, err) }

// elements queues what leads from the elements of old to those of rs, where
// all else is the same.
func (b *batch) elements(old, rs ruleset) {
	for i, s := range rs.sets {
		k := s.kernelSet()
		b.deleteElements(k, missing(old.sets[i].elements, s.elements))
		b.addElements(k, missing(s.elements, old.sets[i].elements))
	}
}

// missing lists the elements of a that are not in b.
func missing(a, b []nftables.SetElement) []nftables.SetElement {
	in := make(map[string]bool, len(b))
	name := func(e nftables.SetElement) string { return string(e.Key) + string(e.KeyEnd) }
	for _, e := range b {
		in[name(e)] = true
	}
	var list []nftables.SetElement
	for _, e := range a {
		if !in[name(e)] {
			list = append(list, e)
		}
	}
	return list
}
