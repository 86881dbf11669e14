package klips

import (
	"encoding/binary"
	"time"

	"cygnet/internal/tun"
)

// icmpSender answers packets of the TUN with ICMP errors, at a bounded rate.
// The zero value is ready; it belongs to one worker.
type icmpSender struct {
	tokens int
	last   time.Time
	buf    [tun.HeaderLen + icmpMax]byte
	parts  [1][]byte
}

// icmpMax bounds an error: RFC 1812 section 4.3.2.3 asks for as much of the
// packet as fits 576 octets, RFC 4443 section 2.4 for 1280.
const (
	icmpMax4 = 576
	icmpMax  = 1280
)

// tooBig says that b is longer than mtu: fragmentation needed (RFC 1191), or
// packet too big (RFC 4443 section 3.2).
func (s *icmpSender) tooBig(w *egress, b []byte, p packet, mtu int) {
	if p.v6 {
		s.send(w, b, p, 2, 0, uint32(mtu))
	} else {
		s.send(w, b, p, 3, 4, uint32(min(mtu, 0xffff)))
	}
}

// prohibited says that policy forbids b: communication administratively
// prohibited (RFC 1812 section 5.2.7.1, RFC 4443 section 3.1).
func (s *icmpSender) prohibited(w *egress, b []byte, p packet) {
	if p.v6 {
		s.send(w, b, p, 1, 1, 0)
	} else {
		s.send(w, b, p, 3, 13, 0)
	}
}

// send writes the error into the TUN. Its source is the destination of b: an
// address of our own would be refused there as martian.
func (s *icmpSender) send(w *egress, b []byte, p packet, typ, code uint8, rest uint32) {
	if !answerable(b, p) || !s.allow(w.at) {
		return
	}
	m := s.buf[tun.HeaderLen:]
	var n int
	if p.v6 {
		n = icmp6(m, b, typ, code, rest)
	} else {
		n = icmp4(m, b, typ, code, rest)
	}
	s.parts[0] = s.buf[:tun.HeaderLen+n] // the header stays zero
	if w.q.Write(s.parts[:]) != nil {
		w.p.drops.add(dropTUN, 1)
	}
}

func (s *icmpSender) allow(at time.Time) bool {
	fresh := int(at.Sub(s.last) / icmpEvery)
	if fresh > 0 {
		s.tokens = min(s.tokens+fresh, icmpBurst)
		s.last = at
	}
	if s.tokens == 0 {
		return false
	}
	s.tokens--
	return true
}

// answerable follows RFC 1122 section 3.2.2 and RFC 4443 section 2.4: no error
// about an error, a later fragment, or a packet whose source is not one host.
func answerable(b []byte, p packet) bool {
	if p.key.rest>>16&keyFragment != 0 {
		return false
	}
	if p.v6 {
		info := p.proto != protoICMPv6 || p.l4 < len(b) && b[p.l4]&0x80 != 0
		return info && b[8] != 0xff && p.key.addr[0]|p.key.addr[1] != 0
	}
	if p.proto == protoICMP && !query(b[p.l4]) {
		return false
	}
	src := b[12]
	return src != 0 && src != 127 && src < 224
}

// query reports whether an ICMP type asks or answers, RFC 1122 section 3.2.2,
// and is no error.
func query(typ uint8) bool {
	switch typ {
	case 0, 8, 9, 10, 13, 14, 15, 16, 17, 18:
		return true
	}
	return false
}

func icmp4(m, b []byte, typ, code uint8, rest uint32) int {
	n := ipv4HeaderLen + 8 + copy(m[ipv4HeaderLen+8:icmpMax4], b)
	m = m[:n]
	clear(m[:ipv4HeaderLen+8])
	m[0] = 0x45
	binary.BigEndian.PutUint16(m[2:], uint16(n))
	m[8], m[9] = hopLimit, protoICMP
	copy(m[12:16], b[16:20])
	copy(m[16:20], b[12:16])
	sumIPv4(m, ipv4HeaderLen)
	putICMP(m[ipv4HeaderLen:], typ, code, rest)
	putSum(m[ipv4HeaderLen+2:], sum(m[ipv4HeaderLen:], 0))
	return n
}

func icmp6(m, b []byte, typ, code uint8, rest uint32) int {
	n := ipv6HeaderLen + 8 + copy(m[ipv6HeaderLen+8:icmpMax], b)
	m = m[:n]
	clear(m[:ipv6HeaderLen+8])
	m[0] = 0x60
	binary.BigEndian.PutUint16(m[4:], uint16(n-ipv6HeaderLen))
	m[6], m[7] = protoICMPv6, hopLimit
	copy(m[8:24], b[24:40])
	copy(m[24:40], b[8:24])
	putICMP(m[ipv6HeaderLen:], typ, code, rest)
	putSum(m[ipv6HeaderLen+2:], sum(m[ipv6HeaderLen:], pseudo(m, protoICMPv6, n-ipv6HeaderLen)))
	return n
}

func putICMP(m []byte, typ, code uint8, rest uint32) {
	m[0], m[1] = typ, code
	binary.BigEndian.PutUint32(m[4:], rest)
}
