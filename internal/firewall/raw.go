package firewall

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// What package nftables does not have, or parses more of than is good for us:
// rules of others may hold anything, and we only want to know our own among
// them.

func messageType(t int) netlink.HeaderType {
	return netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | t)
}

// header is struct nfgenmsg: family, version, resource.
func header(family nftables.TableFamily) []byte { return []byte{byte(family), 0, 0, 0} }

func (l *Linux) dial() (*netlink.Conn, error) {
	return netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: l.o.NetNS})
}

// execute sends one request by a socket of its own.
func (l *Linux) execute(m netlink.Message) ([]netlink.Message, error) {
	c, err := l.dial()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.Execute(m)
}

// generation is the number of the present ruleset: each transaction makes
// another, whoever's it is.
func (l *Linux) generation() (uint32, error) {
	reply, err := l.execute(netlink.Message{
		Header: netlink.Header{Type: messageType(unix.NFT_MSG_GETGEN), Flags: netlink.Request},
		Data:   header(0),
	})
	if err != nil {
		return 0, fmt.Errorf("ask for the generation of the ruleset: %w", err)
	}
	for _, m := range reply {
		if id, ok := generationOf(m); ok {
			return id, nil
		}
	}
	return 0, fmt.Errorf("ask for the generation of the ruleset: no answer")
}

func generationOf(m netlink.Message) (uint32, bool) {
	if m.Header.Type != messageType(unix.NFT_MSG_NEWGEN) || len(m.Data) < 4 {
		return 0, false
	}
	ad, err := netlink.NewAttributeDecoder(m.Data[4:])
	if err != nil {
		return 0, false
	}
	ad.ByteOrder = binary.BigEndian
	for ad.Next() {
		if ad.Type() == unix.NFTA_GEN_ID {
			return ad.Uint32(), true
		}
	}
	return 0, false
}

// rawRule is as much of a rule as it takes to know one of ours.
type rawRule struct {
	chain    string
	handle   uint64
	userdata []byte
	exprs    []byte
}

// rules lists the rules of one chain, or with chain "" of a table.
func (l *Linux) rules(t *nftables.Table, chain string) ([]rawRule, error) {
	attrs := []netlink.Attribute{{Type: unix.NFTA_RULE_TABLE, Data: zeroEnded(t.Name)}}
	if chain != "" {
		attrs = append(attrs, netlink.Attribute{Type: unix.NFTA_RULE_CHAIN, Data: zeroEnded(chain)})
	}
	b, err := netlink.MarshalAttributes(attrs)
	if err != nil {
		return nil, err
	}
	reply, err := l.execute(netlink.Message{
		Header: netlink.Header{Type: messageType(unix.NFT_MSG_GETRULE), Flags: netlink.Request | netlink.Dump},
		Data:   append(header(t.Family), b...),
	})
	if err != nil {
		return nil, fmt.Errorf("list rules of table %s: %w", t.Name, err)
	}
	var list []rawRule
	for _, m := range reply {
		r, err := parseRule(m)
		if err != nil {
			return nil, fmt.Errorf("list rules of table %s: %w", t.Name, err)
		}
		list = append(list, r)
	}
	return list, nil
}

func zeroEnded(s string) []byte { return append([]byte(s), 0) }

func parseRule(m netlink.Message) (rawRule, error) {
	var r rawRule
	if len(m.Data) < 4 {
		return r, fmt.Errorf("message of %d octets", len(m.Data))
	}
	ad, err := netlink.NewAttributeDecoder(m.Data[4:])
	if err != nil {
		return r, err
	}
	ad.ByteOrder = binary.BigEndian
	for ad.Next() {
		switch ad.Type() {
		case unix.NFTA_RULE_CHAIN:
			r.chain = ad.String()
		case unix.NFTA_RULE_HANDLE:
			r.handle = ad.Uint64()
		case unix.NFTA_RULE_USERDATA:
			r.userdata = ad.Bytes()
		case unix.NFTA_RULE_EXPRESSIONS:
			r.exprs = ad.Bytes()
		}
	}
	return r, ad.Err()
}

// comment is the comment that nft shows of the rule, "" if it has none.
func (r rawRule) comment() string {
	for b := r.userdata; len(b) >= 2; {
		n := int(b[1])
		if 2+n > len(b) {
			break
		}
		if b[0] == 0 { // NFTNL_UDATA_RULE_COMMENT
			return string(bytes.TrimSuffix(b[2:2+n], []byte{0}))
		}
		b = b[2+n:]
	}
	return ""
}

// tagged reports whether the rule has that comment, also where it is one of
// iptables: those are matches, which a rule that was saved and restored has.
func (r rawRule) tagged(comment string) bool {
	return r.comment() == comment || bytes.Contains(r.exprs, zeroEnded("comment")) && bytes.Contains(r.exprs, zeroEnded(comment))
}
