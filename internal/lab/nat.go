package lab

import (
	"fmt"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// Masquerade has the router h put its own address in the place of sources in
// from on what leaves by dev, as a NAT box or a firewall at the border does.
// With random, it also chooses new source ports.
func (h *Host) Masquerade(from netip.Prefix, dev string, random bool) error {
	conn, err := nftables.New(nftables.WithNetNSFd(int(h.ns)))
	if err != nil {
		return fmt.Errorf("%s: nftables: %w", h.Name, err)
	}
	table := conn.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "lab"})
	chain := conn.AddChain(&nftables.Chain{
		Name: "post", Table: table, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
	})
	name := make([]byte, 16)
	copy(name, dev)
	net := ipNet(from)
	conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: name},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 12, Len: 4}, // source address
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: net.Mask, Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: net.IP.To4()},
		&expr.Masq{Random: random},
	}})
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("%s: masquerade %s on %s: %w", h.Name, from, dev, err)
	}
	return nil
}
