package firewall

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/userdata"
)

// Tag is the comment of our rule in the forward chains of others.
const Tag = "cygnet-leftfirewall"

// families are those whose forward chains see packets between nets.
var families = []nftables.TableFamily{nftables.TableFamilyIPv4, nftables.TableFamilyIPv6, nftables.TableFamilyINet}

// planForeign queues what it takes to have our rule once, at the head of each
// forward chain of others that may drop, or nowhere if it is not wanted. The
// rule is made of what iptables understands too, since most such chains are
// those of iptables-nft: it shows as -m mark --mark M/M -j ACCEPT.
func (l *Linux) planForeign(b *batch, wanted bool) error {
	conn, err := l.connect()
	if err != nil {
		return err
	}
	for _, f := range families {
		chains, err := conn.ListChainsOfTableFamily(f)
		if err != nil {
			return fmt.Errorf("list chains: %w", err)
		}
		for _, c := range chains {
			if !forwards(c) {
				continue
			}
			rules, err := l.rules(c.Table, c.Name)
			if err != nil {
				return err
			}
			if err := b.foreignChain(c, rules, wanted, l.o.Mark); err != nil {
				return err
			}
		}
	}
	return b.err
}

// forwards reports whether c is a filter of forwarded packets that is not ours.
func forwards(c *nftables.Chain) bool {
	return c.Hooknum != nil && *c.Hooknum == *nftables.ChainHookForward && c.Type == nftables.ChainTypeFilter &&
		!(c.Table.Family == nftables.TableFamilyINet && c.Table.Name == TableName)
}

// foreignChain queues the changes to one chain. Ours is right where it is the
// first, and alone.
func (b *batch) foreignChain(c *nftables.Chain, rules []rawRule, wanted bool, mark uint32) error {
	others := slices.ContainsFunc(rules, func(r rawRule) bool { return !r.tagged(Tag) })
	drops := others || c.Policy != nil && *c.Policy == nftables.ChainPolicyDrop
	wanted = wanted && drops
	right := wanted && len(rules) > 0 && rules[0].comment() == Tag && rules[0].compares(mark)
	for i, r := range rules {
		if !r.tagged(Tag) || right && i == 0 {
			continue
		}
		if err := b.deleteRule(c.Table, c.Name, r.handle); err != nil {
			return err
		}
	}
	if !wanted || right {
		return nil
	}
	b.conn.InsertRule(&nftables.Rule{
		Table: c.Table, Chain: c, Exprs: join(hasMark(mark), counted(), accept()),
		UserData: userdata.AppendString(nil, userdata.TypeComment, Tag),
	})
	b.messages++
	return nil
}

// compares reports whether a rule of ours is about that mark, not that of a
// process with other options.
func (r rawRule) compares(mark uint32) bool {
	return bytes.Contains(r.exprs, binaryutil.NativeEndian.PutUint32(mark))
}
