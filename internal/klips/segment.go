package klips

import (
	"encoding/binary"

	"cygnet/internal/tun"
)

// segmenter takes a superpacket apart in the buffer it was read into, without
// copying payload: the header of segment k is written over the tail of
// segment k-1, which has been used by then (datapath.md 7.5).
type segmenter struct {
	b       []byte // whole packet; its capacity may reach further
	packet  packet
	tcp     bool
	hdrLen  int // of IP and transport headers
	size    int // payload of each segment but the last
	hdr     [maxHeaders]byte
	off     int // of the next segment's payload
	id      uint16
	seq     uint32
	flags   byte
	segment int
}

// maxHeaders bounds the headers of a superpacket: IPv6 or IPv4 with options,
// and TCP with options. Longer ones are refused; no stack sends them.
const maxHeaders = 60 + 60

// TCP flags, RFC 9293 section 3.1.
const (
	tcpFIN = 1 << 0
	tcpSYN = 1 << 1
	tcpPSH = 1 << 3
	tcpACK = 1 << 4
	tcpCWR = 1 << 7
)

// begin checks the superpacket b against its virtio header. ok is false when
// they contradict each other.
func (s *segmenter) begin(b []byte, p packet, h tun.Header) (ok bool) {
	s.b, s.packet, s.size, s.segment = b, p, int(h.Size), 0
	switch h.GSO {
	case tun.GSOTCP4, tun.GSOTCP6:
		s.tcp = true
		if p.proto != protoTCP || p.v6 != (h.GSO == tun.GSOTCP6) || p.l4+tcpHeaderLen > p.len {
			return false
		}
		n := int(b[p.l4+12]>>4) * 4
		if n < tcpHeaderLen {
			return false
		}
		s.hdrLen = p.l4 + n
	case tun.GSOUDP:
		s.tcp = false
		if p.proto != protoUDP {
			return false
		}
		s.hdrLen = p.l4 + udpHeaderLen
	default:
		return false
	}
	if s.size == 0 || p.frag || s.hdrLen >= p.len || s.hdrLen > maxHeaders {
		return false
	}
	copy(s.hdr[:], b[:s.hdrLen])
	s.off = s.hdrLen
	s.id = binary.BigEndian.Uint16(b[4:])
	l4 := s.hdr[p.l4:]
	if s.tcp {
		s.seq, s.flags = binary.BigEndian.Uint32(l4[4:]), l4[13]
		l4[16], l4[17] = 0, 0
	} else {
		l4[6], l4[7] = 0, 0
	}
	return true
}

// count is how many segments there are.
func (s *segmenter) count() int { return (s.packet.len - s.hdrLen + s.size - 1) / s.size }

// longest is the length of the longest segment.
func (s *segmenter) longest() int { return s.hdrLen + min(s.size, s.packet.len-s.hdrLen) }

// next returns the next segment with all lengths and checksums right, or nil.
// It is valid until the following call, and the segment before is no longer.
func (s *segmenter) next() []byte {
	total := s.packet.len
	if s.off >= total {
		return nil
	}
	end := min(s.off+s.size, total)
	d := s.b[s.off-s.hdrLen : end] // keeps the capacity: Seal may borrow behind
	s.fill(len(d), end == total)
	copy(d, s.hdr[:s.hdrLen])
	s.sum(d)
	s.off = end
	s.segment++
	return d
}

// fill prepares the header of a segment of n octets.
func (s *segmenter) fill(n int, last bool) {
	if s.packet.v6 {
		binary.BigEndian.PutUint16(s.hdr[4:], uint16(n-ipv6HeaderLen))
	} else {
		binary.BigEndian.PutUint16(s.hdr[2:], uint16(n))
		binary.BigEndian.PutUint16(s.hdr[4:], s.id)
		s.id++
	}
	l4 := s.hdr[s.packet.l4:]
	if !s.tcp {
		binary.BigEndian.PutUint16(l4[4:], uint16(n-s.packet.l4))
		return
	}
	binary.BigEndian.PutUint32(l4[4:], s.seq)
	s.seq += uint32(n - s.hdrLen)
	f := s.flags
	if !last {
		f &^= tcpFIN | tcpPSH
	}
	if s.segment > 0 {
		f &^= tcpCWR // RFC 3168 section 6.1.2: once per window
	}
	l4[13] = f
}

func (s *segmenter) sum(d []byte) {
	l4 := s.packet.l4
	if !s.packet.v6 {
		sumIPv4(d, l4)
	}
	n := len(d) - l4
	x := sum(d[l4:], pseudo(d, s.packet.proto, n))
	if s.tcp {
		putSum(d[l4+16:], x)
	} else {
		putUDPSum(d[l4+6:], x)
	}
}

// finishChecksum completes the checksum of a plain packet whose sender left
// that to its device. ok is false when the header points outside.
func finishChecksum(b []byte, h tun.Header) (ok bool) {
	if !h.NeedsCsum {
		return true
	}
	start := int(h.CsumStart)
	at := start + int(h.CsumOffset)
	if start >= len(b) || at+2 > len(b) {
		return false
	}
	// 0xffff instead of 0 is right for UDP and the same number for others.
	putUDPSum(b[at:], sum(b[start:], 0))
	return true
}
