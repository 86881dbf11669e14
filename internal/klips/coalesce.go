package klips

import (
	"encoding/binary"
	"errors"
	"os"

	"cygnet/internal/tun"
)

// coalescer joins consecutive packets of a flow into superpackets, so that the
// kernel takes one where it would take dozens. It copies no payload: a
// superpacket is a list of parts of the receive buffers, written at once.
//
// A joined packet is written with NEEDS_CSUM, which makes the kernel compute
// the checksums anew, so each part's own is verified first: else a packet that
// was corrupted before the peer sealed it would be made whole again.
type coalescer struct {
	q     tun.Queue
	off   tun.Offloads
	drops *drops
	slots [slots]superpacket
	used  []*superpacket
	plain [2][]byte
}

// superpacket is one slot: the flow that hashed to it last, or nothing.
type superpacket struct {
	header [tun.HeaderLen]byte
	parts  [][]byte // header, first packet, payloads of the others
	listed bool     // in coalescer.used
	active bool
	closed bool   // its last part is shorter, or pushes
	first  []byte // the first packet, whose headers stand for all
	packet packet // of first
	hdrLen int
	size   int    // payload of first
	total  int    // octets of IP so far
	count  int    // packets so far
	seq    uint32 // that the next TCP segment must have
}

var noHeader [tun.HeaderLen]byte

func (c *coalescer) init(q tun.Queue, off tun.Offloads, d *drops) {
	c.q, c.off, c.drops = q, off, d
	c.used = make([]*superpacket, 0, slots)
	c.plain[0] = noHeader[:]
}

// add takes one packet, which must stay unchanged until flush.
func (c *coalescer) add(b []byte, p packet) {
	s := &c.slots[p.key.hash()>>(64-slotsLog)]
	hdrLen, ok := c.joinable(b, p)
	if ok && s.joins(b, p, hdrLen) && verified(b, p) {
		s.join(b)
		return
	}
	c.end(s) // first, so that packets of a flow stay in order
	if !ok || !verified(b, p) {
		c.plain[1] = b
		c.write(c.plain[:])
		return
	}
	s.begin(b, p, hdrLen)
	if !s.listed {
		s.listed = true
		c.used = append(c.used, s)
	}
}

const slotsLog = 6 // of slots

// joinable reports whether b may be part of a superpacket, and the length of
// its headers. Left out: fragments, IPv4 options and IPv6 extension headers,
// everything of TCP but plain data segments, UDP without checksum or data.
func (c *coalescer) joinable(b []byte, p packet) (hdrLen int, ok bool) {
	base := ipv4HeaderLen
	if p.v6 {
		base = ipv6HeaderLen
	}
	if p.frag || p.l4 != base {
		return 0, false
	}
	switch {
	case p.proto == protoTCP && c.off.TCP && len(b) >= base+tcpHeaderLen:
		hdrLen = base + int(b[base+12]>>4)*4
		ok = hdrLen >= base+tcpHeaderLen && b[base+13]&^tcpPSH == tcpACK && b[base+12]&15 == 0
	case p.proto == protoUDP && c.off.UDP && len(b) >= base+udpHeaderLen:
		hdrLen = base + udpHeaderLen
		ok = int(binary.BigEndian.Uint16(b[base+4:])) == len(b)-base && (b[base+6] != 0 || b[base+7] != 0)
	}
	return hdrLen, ok && len(b) > hdrLen
}

// verified checks the transport checksum.
func verified(b []byte, p packet) bool {
	n := len(b) - p.l4
	return fold(sum(b[p.l4:], pseudo(b, p.proto, n))) == 0xffff
}

// joins reports whether b continues s.
func (s *superpacket) joins(b []byte, p packet, hdrLen int) bool {
	n := len(b) - hdrLen
	if !s.active || s.closed || s.packet.key != p.key || s.hdrLen != hdrLen ||
		n > s.size || s.total+n > 65535 || s.count == maxCoalesce {
		return false
	}
	f := s.first
	if p.v6 {
		// Version, traffic class, flow label; hop limit.
		if binary.BigEndian.Uint32(f) != binary.BigEndian.Uint32(b) || f[7] != b[7] {
			return false
		}
	} else if f[1] != b[1] || f[8] != b[8] || !s.sameID(b) {
		return false
	}
	if p.proto == protoUDP {
		return true
	}
	t, u := f[p.l4:s.hdrLen], b[p.l4:hdrLen]
	return binary.BigEndian.Uint32(u[4:]) == s.seq &&
		string(t[8:12]) == string(u[8:12]) && // acknowledgment
		string(t[14:16]) == string(u[14:16]) && // window
		string(t[18:]) == string(u[18:]) // urgent pointer and options
}

// sameID: flags are equal, and without DF the IDs count up, as they will when
// the kernel takes the superpacket apart. With DF they mean nothing (RFC 6864).
func (s *superpacket) sameID(b []byte) bool {
	if s.first[6] != b[6] {
		return false
	}
	return df(b) || binary.BigEndian.Uint16(b[4:]) == binary.BigEndian.Uint16(s.first[4:])+uint16(s.count)
}

func (s *superpacket) begin(b []byte, p packet, hdrLen int) {
	s.active, s.first, s.packet, s.hdrLen = true, b, p, hdrLen
	s.size, s.total, s.count = len(b)-hdrLen, len(b), 1
	s.parts = append(s.parts[:0], s.header[:], b)
	s.closed = false
	if p.proto == protoTCP {
		s.seq = binary.BigEndian.Uint32(b[p.l4+4:]) + uint32(s.size)
		s.closed = b[p.l4+13]&tcpPSH != 0
	}
}

func (s *superpacket) join(b []byte) {
	n := len(b) - s.hdrLen
	s.parts = append(s.parts, b[s.hdrLen:])
	s.total += n
	s.count++
	s.closed = n < s.size
	if s.packet.proto == protoTCP {
		s.seq += uint32(n)
		if b[s.packet.l4+13]&tcpPSH != 0 {
			s.first[s.packet.l4+13] |= tcpPSH
			s.closed = true
		}
	}
}

// flush writes everything collected.
func (c *coalescer) flush() {
	for _, s := range c.used {
		c.end(s)
		s.listed = false
	}
	c.used = c.used[:0]
}

// end writes the superpacket in s, if there is one.
func (c *coalescer) end(s *superpacket) {
	if !s.active {
		return
	}
	s.active = false
	s.header = noHeader
	if s.count > 1 {
		s.finish()
	}
	c.write(s.parts)
}

// finish makes the first packet's headers those of the superpacket.
func (s *superpacket) finish() {
	f, l4 := s.first, s.packet.l4
	h := tun.Header{NeedsCsum: true, HdrLen: uint16(s.hdrLen), Size: uint16(s.size), CsumStart: uint16(l4), CsumOffset: 16, GSO: tun.GSOTCP4}
	n := s.total - l4
	if s.packet.v6 {
		h.GSO = tun.GSOTCP6
		binary.BigEndian.PutUint16(f[4:], uint16(s.total-ipv6HeaderLen))
	} else {
		binary.BigEndian.PutUint16(f[2:], uint16(s.total))
		sumIPv4(f, l4)
	}
	if s.packet.proto == protoUDP {
		h.GSO, h.CsumOffset = tun.GSOUDP, 6
		binary.BigEndian.PutUint16(f[l4+4:], uint16(n))
	}
	binary.LittleEndian.PutUint16(f[l4+int(h.CsumOffset):], fold(pseudo(f, s.packet.proto, n)))
	h.Put(s.header[:])
}

func (c *coalescer) write(parts [][]byte) {
	if err := c.q.Write(parts); err != nil && !errors.Is(err, os.ErrClosed) {
		c.drops.add(dropTUN, 1)
	}
}
