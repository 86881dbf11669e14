package underlay

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// putControl writes the control messages of one send into b, the segment size
// last, and returns their length.
func putControl(b []byte, v6 bool, local netip.Addr, tos uint8, seg int) int {
	n := 0
	if local.IsValid() {
		if v6 {
			d := put(b, &n, unix.SOL_IPV6, unix.IPV6_PKTINFO, unix.SizeofInet6Pktinfo)
			a := local.As16()
			copy(d, a[:]) // ipi6_addr; ipi6_ifindex stays 0
		} else {
			d := put(b, &n, unix.SOL_IP, unix.IP_PKTINFO, unix.SizeofInet4Pktinfo)
			a := local.As4()
			copy(d[4:], a[:]) // ipi_spec_dst
		}
	}
	if tos != 0 {
		level, typ := int32(unix.SOL_IP), int32(unix.IP_TOS)
		if v6 {
			level, typ = unix.SOL_IPV6, unix.IPV6_TCLASS
		}
		binary.NativeEndian.PutUint32(put(b, &n, level, typ, 4), uint32(tos))
	}
	if seg > 0 {
		binary.NativeEndian.PutUint16(put(b, &n, unix.SOL_UDP, unix.UDP_SEGMENT, 2), uint16(seg))
	}
	return n
}

// dropSegment returns the length of the control messages in b without the
// segment size, which putControl puts last.
func dropSegment(b []byte) int { return len(b) - unix.CmsgSpace(2) }

// put appends a control message with room for size octets at b[*n:].
func put(b []byte, n *int, level, typ int32, size int) []byte {
	c := b[*n : *n+unix.CmsgSpace(size)]
	clear(c)
	binary.NativeEndian.PutUint64(c, uint64(unix.CmsgLen(size)))
	binary.NativeEndian.PutUint32(c[8:], uint32(level))
	binary.NativeEndian.PutUint32(c[12:], uint32(typ))
	*n += len(c)
	return c[unix.CmsgLen(0):][:size]
}
