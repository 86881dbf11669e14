package ipsec

import (
	"cmp"
	"fmt"
	"net/netip"
)

// Ports is an inclusive range of ports (for ICMP: type and code as RFC 7296
// section 3.13.1 packs them). The zero value means any port.
type Ports struct{ Lo, Hi uint16 }

// Any reports whether the range matches every port, and packets without ports.
func (p Ports) Any() bool { return p == Ports{} || p == Ports{0, 0xffff} }

// Contains reports whether port lies in the range.
func (p Ports) Contains(port uint16) bool { return p.Any() || p.Lo <= port && port <= p.Hi }

// Selector is what a policy matches, RFC 4301 section 4.4.1.1, seen in the
// direction in which packets travel.
type Selector struct {
	Src, Dst           netip.Prefix // masked, of one family
	Proto              uint8        // IP protocol; 0 means any
	SrcPorts, DstPorts Ports
}

// Reverse returns the selector of the answering direction.
func (s Selector) Reverse() Selector {
	return Selector{s.Dst, s.Src, s.Proto, s.DstPorts, s.SrcPorts}
}

// Contains reports whether a packet of that flow matches.
func (s Selector) Contains(f Flow) bool {
	return s.Src.Contains(f.Src) && s.Dst.Contains(f.Dst) &&
		(s.Proto == 0 || s.Proto == f.Proto) &&
		(s.SrcPorts.Any() && s.DstPorts.Any() || !f.Fragment && s.SrcPorts.Contains(f.SrcPort) && s.DstPorts.Contains(f.DstPort))
}

// Compare orders selectors by source, destination, protocol and ports; only equal
// ones are neither before nor after each other.
func (s Selector) Compare(t Selector) int {
	return cmp.Or(
		comparePrefixes(s.Src, t.Src), comparePrefixes(s.Dst, t.Dst), cmp.Compare(s.Proto, t.Proto),
		cmp.Compare(s.SrcPorts.Lo, t.SrcPorts.Lo), cmp.Compare(s.SrcPorts.Hi, t.SrcPorts.Hi),
		cmp.Compare(s.DstPorts.Lo, t.DstPorts.Lo), cmp.Compare(s.DstPorts.Hi, t.DstPorts.Hi))
}

func comparePrefixes(p, q netip.Prefix) int {
	return cmp.Or(p.Addr().Compare(q.Addr()), cmp.Compare(p.Bits(), q.Bits()))
}

// String is like 10.1.0.0/24:80 -> 10.2.0.0/24 proto 6.
func (s Selector) String() string {
	t := s.Src.String() + s.SrcPorts.suffix() + " -> " + s.Dst.String() + s.DstPorts.suffix()
	if s.Proto != 0 {
		t += fmt.Sprintf(" proto %d", s.Proto)
	}
	return t
}

func (p Ports) suffix() string {
	switch {
	case p.Any():
		return ""
	case p.Lo == p.Hi:
		return fmt.Sprintf(":%d", p.Lo)
	}
	return fmt.Sprintf(":%d-%d", p.Lo, p.Hi)
}

// Flow is one packet's addresses and ports. Fragment marks a packet whose
// ports are unknown because it is not the first fragment.
type Flow struct {
	Src, Dst         netip.Addr
	Proto            uint8
	SrcPort, DstPort uint16
	Fragment         bool
}

// String is like 10.1.0.5:1024 -> 10.2.0.7:80 proto 6.
func (f Flow) String() string {
	return fmt.Sprintf("%s:%d -> %s:%d proto %d", f.Src, f.SrcPort, f.Dst, f.DstPort, f.Proto)
}

// TS is one traffic selector of IKEv2, RFC 7296 section 3.13.1: an inclusive
// address range with protocol and ports. Unlike Selector it covers one side
// only and need not be a prefix.
type TS struct {
	Start, End netip.Addr
	Proto      uint8
	Ports      Ports
}

// TSOf returns the traffic selector that covers exactly a prefix.
func TSOf(p netip.Prefix, proto uint8, ports Ports) TS {
	p = p.Masked()
	last := p.Addr().AsSlice()
	for i := p.Bits(); i < len(last)*8; i++ {
		last[i/8] |= 0x80 >> (i % 8)
	}
	end, _ := netip.AddrFromSlice(last)
	return TS{p.Addr(), end, proto, ports}
}
