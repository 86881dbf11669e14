package klips

import (
	"encoding/binary"
	"math/bits"
)

// sum adds the octets of b, as 16-bit words in memory order, to s in one's
// complement arithmetic of 64 bits (RFC 1071: word size and byte order do not
// matter until the end). len(b) may be odd only in the last call of a chain.
func sum(b []byte, s uint64) uint64 {
	var c uint64
	for len(b) >= 64 {
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(b), 0)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(b[8:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(b[16:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(b[24:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(b[32:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(b[40:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(b[48:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(b[56:]), c)
		s += c
		b = b[64:]
	}
	for len(b) >= 8 {
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(b), 0)
		s += c
		b = b[8:]
	}
	for len(b) >= 2 {
		s, c = bits.Add64(s, uint64(binary.LittleEndian.Uint16(b)), 0)
		s += c
		b = b[2:]
	}
	if len(b) == 1 {
		s, c = bits.Add64(s, uint64(b[0]), 0)
		s += c
	}
	return s
}

// fold ends a sum: 16 bits in memory order, to be stored little-endian.
func fold(s uint64) uint16 {
	s = s&0xffffffff + s>>32
	s = s&0xffff + s>>16
	s = s&0xffff + s>>16
	s = s&0xffff + s>>16
	return uint16(s)
}

// pseudo is the sum of the pseudo header of IP packet p whose transport header
// and payload have n octets (RFC 9293 section 3.1, RFC 8200 section 8.1).
func pseudo(p []byte, proto uint8, n int) uint64 {
	s := uint64(bits.ReverseBytes16(uint16(proto))) + uint64(bits.ReverseBytes16(uint16(n)))
	if p[0]>>4 == 4 {
		return sum(p[12:20], s)
	}
	return sum(p[8:40], s)
}

// putSum stores a finished checksum.
func putSum(b []byte, s uint64) { binary.LittleEndian.PutUint16(b, ^fold(s)) }

// putUDPSum is putSum for UDP, where 0 means that there is no checksum
// (RFC 768).
func putUDPSum(b []byte, s uint64) {
	v := ^fold(s)
	if v == 0 {
		v = 0xffff
	}
	binary.LittleEndian.PutUint16(b, v)
}

// sumIPv4 sets the header checksum of p, whose header has n octets.
func sumIPv4(p []byte, n int) {
	p[10], p[11] = 0, 0
	putSum(p[10:], sum(p[:n], 0))
}

// adjust corrects the checksum at c for a 16-bit word that changed from old to
// new (RFC 1624, equation 3).
func adjust(c []byte, old, new uint16) {
	s := uint32(^binary.BigEndian.Uint16(c)) + uint32(^old) + uint32(new)
	s = s&0xffff + s>>16
	s = s&0xffff + s>>16
	binary.BigEndian.PutUint16(c, ^uint16(s))
}
