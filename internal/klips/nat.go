package klips

import (
	"encoding/binary"
	"net/netip"

	"cygnet/internal/ipsec"
)

// natChecksum repairs the transport checksum of b, an IP packet that transport
// mode carried, after a NAT changed the addresses that it covers. Where these
// are known, only the difference goes in, so that what was wrong before the
// peer sealed it stays wrong (RFC 3948 section 3.1.2, first way; RFC 1624).
// Otherwise the checksum is made anew (second way).
func natChecksum(b []byte, proto uint8, was ipsec.Original) {
	head, from := ipv4HeaderLen, 12 // where the addresses are
	if b[0]>>4 == 6 {
		head, from = ipv6HeaderLen, 8
	}
	at := head
	switch proto {
	case protoTCP:
		at += 16
	case protoUDP:
		at += 6
	default:
		return
	}
	if at+2 > len(b) || proto == protoUDP && b[at] == 0 && b[at+1] == 0 {
		return
	}
	if !exchange(b[at:at+2], was, b[from:head]) {
		b[at], b[at+1] = 0, 0
		putSum(b[at:], sum(b[head:], pseudo(b, proto, len(b)-head)))
	}
	if proto == protoUDP && b[at] == 0 && b[at+1] == 0 {
		b[at], b[at+1] = 0xff, 0xff // RFC 768: 0 would say that there is none
	}
}

// exchange corrects checksum c for addresses that were those of was and are now
// those in addrs. It returns false when it cannot.
func exchange(c []byte, was ipsec.Original, addrs []byte) bool {
	var old [2 * 16]byte
	n := 0
	for _, a := range []netip.Addr{was.Src, was.Dst} {
		if !a.IsValid() || a.BitLen() != len(addrs)*4 {
			return false
		}
		n += copy(old[n:], a.AsSlice())
	}
	for i := 0; i < n; i += 2 {
		adjust(c, binary.BigEndian.Uint16(old[i:]), binary.BigEndian.Uint16(addrs[i:]))
	}
	return true
}
