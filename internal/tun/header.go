package tun

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// HeaderLen is the length of the virtio_net_hdr that precedes each packet.
const HeaderLen = 10

// GSO says how a superpacket is to be cut into segments.
type GSO uint8

// Kinds of superpacket, in the numbers of virtio.
const (
	GSONone GSO = unix.VIRTIO_NET_HDR_GSO_NONE
	GSOTCP4 GSO = unix.VIRTIO_NET_HDR_GSO_TCPV4
	GSOTCP6 GSO = unix.VIRTIO_NET_HDR_GSO_TCPV6
	GSOUDP  GSO = unix.VIRTIO_NET_HDR_GSO_UDP_L4
)

// Header is virtio_net_hdr (VIRTIO 1.1 section 5.1.6) in the little-endian
// form that Open asks the kernel for. The zero value belongs to a plain packet
// with a finished checksum.
type Header struct {
	NeedsCsum  bool // the checksum at CsumStart+CsumOffset holds the pseudo header's sum only
	GSO        GSO
	ECN        bool   // TCP segments carry CWR only on the first (a hint; offered to nobody)
	HdrLen     uint16 // of the headers up to the payload; a hint that may be wrong on reading
	Size       uint16 // payload octets of each segment but the last
	CsumStart  uint16
	CsumOffset uint16
}

// ParseHeader reads the header at the start of b, which must hold HeaderLen
// octets. The fields are not checked against the packet.
func ParseHeader(b []byte) Header {
	_ = b[HeaderLen-1]
	return Header{
		NeedsCsum:  b[0]&unix.VIRTIO_NET_HDR_F_NEEDS_CSUM != 0,
		GSO:        GSO(b[1] &^ unix.VIRTIO_NET_HDR_GSO_ECN),
		ECN:        b[1]&unix.VIRTIO_NET_HDR_GSO_ECN != 0,
		HdrLen:     binary.LittleEndian.Uint16(b[2:]),
		Size:       binary.LittleEndian.Uint16(b[4:]),
		CsumStart:  binary.LittleEndian.Uint16(b[6:]),
		CsumOffset: binary.LittleEndian.Uint16(b[8:]),
	}
}

// Put writes h into the first HeaderLen octets of b.
func (h Header) Put(b []byte) {
	_ = b[HeaderLen-1]
	b[0] = 0
	if h.NeedsCsum {
		b[0] = unix.VIRTIO_NET_HDR_F_NEEDS_CSUM
	}
	b[1] = uint8(h.GSO)
	if h.ECN {
		b[1] |= unix.VIRTIO_NET_HDR_GSO_ECN
	}
	binary.LittleEndian.PutUint16(b[2:], h.HdrLen)
	binary.LittleEndian.PutUint16(b[4:], h.Size)
	binary.LittleEndian.PutUint16(b[6:], h.CsumStart)
	binary.LittleEndian.PutUint16(b[8:], h.CsumOffset)
}
