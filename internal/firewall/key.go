package firewall

import (
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"cygnet/internal/ipsec"
)

// firstWord is the register of the first 32-bit word (NFT_REG32_00). A key
// takes one after the other; the largest, IPv6 with device and protocol, 13 of 16.
const firstWord = 8

const ifNameLen = 16 // IFNAMSIZ

// key gathers the pieces of a concatenated key: how a packet's are loaded into
// registers, and what type they have.
type key struct {
	types []nftables.SetDatatype
	load  []expr.Any
	words uint32
}

func (k *key) add(t nftables.SetDatatype, load func(reg uint32) expr.Any) {
	k.types = append(k.types, t)
	k.load = append(k.load, load(firstWord+k.words))
	k.words += (t.Bytes + 3) / 4
}

// deviceKey says which of its two devices a packet is asked for.
type deviceKey = expr.MetaKey

const (
	comesBy deviceKey = expr.MetaKeyIIFNAME
	goesBy  deviceKey = expr.MetaKeyOIFNAME
)

// key of a packet that is looked up in a layer of that shape.
func (s shape) key(device deviceKey) key {
	var k key
	if s.device {
		k.add(nftables.TypeIFName, func(r uint32) expr.Any { return &expr.Meta{Key: device, Register: r} })
	}
	addr, src, dst, size := nftables.TypeIPAddr, uint32(12), uint32(16), uint32(4)
	if s.v6 {
		addr, src, dst, size = nftables.TypeIP6Addr, 8, 24, 16
	}
	k.add(addr, func(r uint32) expr.Any { return network(r, src, size) })
	k.add(addr, func(r uint32) expr.Any { return network(r, dst, size) })
	if s.proto {
		k.add(nftables.TypeInetProto, func(r uint32) expr.Any { return &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: r} })
	}
	if s.ports {
		k.add(nftables.TypeInetService, func(r uint32) expr.Any { return transport(r, 0, 2) })
		k.add(nftables.TypeInetService, func(r uint32) expr.Any { return transport(r, 2, 2) })
	}
	return k
}

func network(reg, offset, size uint32) expr.Any {
	return &expr.Payload{DestRegister: reg, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: size}
}

func transport(reg, offset, size uint32) expr.Any {
	return &expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: size}
}

// element is a box as an element of a set of its shape.
func (b box) element() nftables.SetElement {
	s := b.shape()
	var lo, hi []byte
	if s.device {
		lo, hi = append(lo, ifName(b.device)...), append(hi, ifName(b.device)...)
	}
	for _, p := range []netip.Prefix{b.Src, b.Dst} {
		lo = append(lo, p.Masked().Addr().AsSlice()...)
		hi = append(hi, ipsec.TSOf(p, 0, ipsec.Ports{}).End.AsSlice()...)
	}
	if s.proto {
		first, last := b.Proto, b.Proto
		if b.Proto == 0 {
			last = 255
		}
		lo, hi = append(lo, first, 0, 0, 0), append(hi, last, 0, 0, 0)
	}
	if s.ports {
		for _, p := range []ipsec.Ports{b.SrcPorts, b.DstPorts} {
			if p.Any() {
				p = ipsec.Ports{Hi: 0xffff}
			}
			lo = append(lo, byte(p.Lo>>8), byte(p.Lo), 0, 0)
			hi = append(hi, byte(p.Hi>>8), byte(p.Hi), 0, 0)
		}
	}
	return nftables.SetElement{Key: lo, KeyEnd: hi}
}

func ifName(name string) []byte {
	b := make([]byte, ifNameLen)
	copy(b, name)
	return b
}

// family restricts a rule to IPv4 or IPv6.
func family(v6 bool) []expr.Any {
	f := byte(unix.NFPROTO_IPV4)
	if v6 {
		f = unix.NFPROTO_IPV6
	}
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, equal(f)}
}

func equal(data ...byte) expr.Any {
	return &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data}
}
