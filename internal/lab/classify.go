package lab

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
)

// Kind says what a frame on a wire is, as far as an eavesdropper can tell.
type Kind uint8

// The kinds.
const (
	Other     Kind = iota // anything else
	IKE                   // UDP 500, or UDP 4500 with the non-ESP marker
	ESP                   // IP protocol 50
	ESPinUDP              // UDP 4500 without the marker, RFC 3948
	InTCP                 // TCP 4500: IKE and ESP in one stream, RFC 9329
	KeepAlive             // one octet 0xFF on UDP 4500, RFC 3948 2.3
	AH                    // IP protocol 51
	Link                  // ARP, IPv6 neighbour discovery and multicast listener reports
	Clear                 // shows inner addresses or the marker: must not be on an outer wire
	kinds
)

var kindNames = [...]string{"other", "IKE", "ESP", "ESP-in-UDP", "in-TCP", "keep-alive", "AH", "link", "CLEAR"}

// String is the kind's name in a summary.
func (k Kind) String() string { return kindNames[k] }

// Marker stands in everything that the lab sends between hosts (pings and
// files): where it can be read, traffic was not encrypted.
const Marker = "cygnet-in-clear!"

// Frame is what the classifier makes of one Ethernet frame.
type Frame struct {
	Kind     Kind
	Src, Dst netip.Addr
	Proto    uint8 // of IP
	Len      int   // octets of the IP packet, by its header
	Note     string
}

// String is one line for people.
func (f Frame) String() string {
	return fmt.Sprintf("%s %s -> %s protocol %d, %d octets%s", f.Kind, f.Src, f.Dst, f.Proto, f.Len, f.Note)
}

// Classifier looks at frames. Inside lists the networks that must not be seen
// on the wire it is used for.
type Classifier struct{ Inside []netip.Prefix }

const (
	etherIPv4 = 0x0800
	etherARP  = 0x0806
	etherIPv6 = 0x86dd
)

// Classify looks at an Ethernet frame, which may be cut short.
func (c *Classifier) Classify(frame []byte) Frame {
	if len(frame) < 14 {
		return Frame{}
	}
	ip := frame[14:]
	switch binary.BigEndian.Uint16(frame[12:]) {
	case etherARP:
		return Frame{Kind: Link, Note: ", ARP"}
	case etherIPv4:
		return c.ipv4(ip)
	case etherIPv6:
		return c.ipv6(ip)
	}
	return Frame{Note: fmt.Sprintf(", ethertype %#04x", binary.BigEndian.Uint16(frame[12:]))}
}

func (c *Classifier) ipv4(ip []byte) Frame {
	if len(ip) < 20 || ip[0]>>4 != 4 {
		return Frame{Note: ", malformed IPv4"}
	}
	src, _ := netip.AddrFromSlice(ip[12:16])
	dst, _ := netip.AddrFromSlice(ip[16:20])
	f := Frame{Src: src, Dst: dst, Proto: ip[9], Len: int(binary.BigEndian.Uint16(ip[2:]))}
	payload := ip[min(len(ip), int(ip[0]&15)*4):]
	first := binary.BigEndian.Uint16(ip[6:])&0x1fff == 0
	return c.judge(f, payload, first)
}

func (c *Classifier) ipv6(ip []byte) Frame {
	if len(ip) < 40 || ip[0]>>4 != 6 {
		return Frame{Note: ", malformed IPv6"}
	}
	src, _ := netip.AddrFromSlice(ip[8:24])
	dst, _ := netip.AddrFromSlice(ip[24:40])
	f := Frame{Src: src, Dst: dst, Proto: ip[6], Len: 40 + int(binary.BigEndian.Uint16(ip[4:]))}
	payload, first := ip[40:], true
	const hopByHop, fragment, icmp6 = 0, 44, 58
	for f.Proto == hopByHop && len(payload) >= 8 {
		f.Proto = payload[0]
		payload = payload[min(len(payload), 8+int(payload[1])*8):]
	}
	if f.Proto == fragment && len(payload) >= 8 {
		f.Proto = payload[0]
		first = binary.BigEndian.Uint16(payload[2:])>>3 == 0
		payload = payload[8:]
	}
	if f.Proto == icmp6 && len(payload) > 0 && linkScope(payload[0]) {
		f.Kind = Link
		return f
	}
	return c.judge(f, payload, first)
}

// linkScope names the ICMPv6 types that keep a link going: multicast listener
// (130 to 132, 143), router and neighbour discovery (133 to 137).
func linkScope(icmpType byte) bool {
	return icmpType >= 130 && icmpType <= 137 || icmpType == 143
}

func (c *Classifier) judge(f Frame, payload []byte, first bool) Frame {
	if c.inside(f.Src) || c.inside(f.Dst) {
		f.Kind, f.Note = Clear, ", inner address"
		return f
	}
	if bytes.Contains(payload, []byte(Marker)) {
		f.Kind, f.Note = Clear, ", readable content"
		return f
	}
	const icmp, tcp, udp, esp, ah = 1, 6, 17, 50, 51
	switch f.Proto {
	case icmp:
		if refusesIKE(payload) {
			f.Kind, f.Note = IKE, ", refused"
		}
	case esp:
		f.Kind = ESP
	case ah:
		f.Kind = AH
	case tcp:
		f.Kind = tcpKind(payload, first)
	case udp:
		f.Kind = udpKind(payload, first)
	}
	return f
}

func (c *Classifier) inside(a netip.Addr) bool {
	for _, p := range c.Inside {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// refusesIKE reports whether an ICMP destination unreachable is about a message
// of IKE, which is all that it quotes: what the kernel says of one that comes
// while the daemon restarts.
func refusesIKE(icmp []byte) bool {
	const unreachable, udp = 3, 17
	if len(icmp) < 8+20 || icmp[0] != unreachable || icmp[8]>>4 != 4 || icmp[8+9] != udp {
		return false
	}
	quoted := icmp[8+min(len(icmp)-8, int(icmp[8]&15)*4):]
	return udpKind(quoted, true) == IKE
}

// udpKind tells IKE from ESP by ports and by the non-ESP marker. NAT may have
// changed one of the ports, so either will do. A later fragment has no ports.
func udpKind(udp []byte, first bool) Kind {
	if len(udp) < 8 || !first {
		return Other
	}
	src, dst, data := binary.BigEndian.Uint16(udp), binary.BigEndian.Uint16(udp[2:]), udp[8:]
	switch {
	case src == 500 || dst == 500:
		return IKE
	case src != 4500 && dst != 4500:
		return Other
	case len(data) == 1 && data[0] == 0xff:
		return KeepAlive
	case len(data) >= 4 && binary.BigEndian.Uint32(data) == 0:
		return IKE
	}
	return ESPinUDP
}

// tcpKind knows the connections of RFC 9329 by a port, as udpKind does. What is
// in them cannot be told apart: messages begin anywhere in a segment.
func tcpKind(tcp []byte, first bool) Kind {
	if len(tcp) < 20 || !first {
		return Other
	}
	if binary.BigEndian.Uint16(tcp) == 4500 || binary.BigEndian.Uint16(tcp[2:]) == 4500 {
		return InTCP
	}
	return Other
}
