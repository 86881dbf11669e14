package klips

import (
	"encoding/binary"
	"net/netip"

	"cygnet/internal/ipsec"
)

// IP protocol numbers that mean something here.
const (
	protoHopByHop  = 0
	protoICMP      = 1
	protoIPv4      = 4
	protoTCP       = 6
	protoUDP       = 17
	protoDCCP      = 33
	protoIPv6      = 41
	protoRouting   = 43
	protoFragment  = 44
	protoICMPv6    = 58
	protoNone      = 59
	protoDstOpts   = 60
	protoSCTP      = 132
	protoUDPLite   = 136
	portIKE        = 500
	portNATT       = 4500
	ipv4HeaderLen  = 20
	ipv6HeaderLen  = 40
	udpHeaderLen   = 8
	tcpHeaderLen   = 20
	flagIPv4DF     = 0x4000
	maskIPv4Offset = 0x1fff
	flagIPv4More   = 0x2000
)

// key is a flow in a form that hashes and compares fast: addresses as they
// stand in the header (IPv4 in the first word), then ports, protocol, flags.
type key struct {
	addr [4]uint64
	rest uint64 // source port, destination port, protocol, flags: 16, 16, 8, 8 bits from bit 16 up
}

const (
	keyIPv6     = 1 << 0
	keyFragment = 1 << 1
)

// packet is what parse finds out about an inner IP packet.
type packet struct {
	key   key
	v6    bool
	proto uint8 // of the transport header
	l4    int   // where it begins; without meaning in later fragments
	len   int   // of the whole packet; what follows it is padding
	frag  bool  // any fragment, the first included
}

// parse reads the headers of an IP packet. It accepts octets behind the
// packet (RFC 4303 section 2.7) and refuses every packet whose lengths
// contradict each other; ok is then false. A first fragment that does not
// reach its ports is refused too (RFC 1858).
func parse(b []byte) (p packet, ok bool) {
	if len(b) < ipv4HeaderLen {
		return p, false
	}
	switch b[0] >> 4 {
	case 4:
		return parse4(b)
	case 6:
		return parse6(b)
	}
	return p, false
}

func parse4(b []byte) (p packet, ok bool) {
	p.l4 = int(b[0]&15) * 4
	p.len = int(binary.BigEndian.Uint16(b[2:]))
	if p.l4 < ipv4HeaderLen || p.len < p.l4 || p.len > len(b) {
		return p, false
	}
	p.proto = b[9]
	p.key.addr[0] = binary.BigEndian.Uint64(b[12:])
	off := binary.BigEndian.Uint16(b[6:])
	p.frag = off&(flagIPv4More|maskIPv4Offset) != 0
	return p, p.ports(b[:p.len], off&maskIPv4Offset != 0)
}

func parse6(b []byte) (p packet, ok bool) {
	if len(b) < ipv6HeaderLen {
		return p, false
	}
	// A jumbogram has length 0 and a hop-by-hop option; nothing that long
	// fits a TUN read, so the length is simply believed.
	p.len = ipv6HeaderLen + int(binary.BigEndian.Uint16(b[4:]))
	if p.len > len(b) {
		return p, false
	}
	b = b[:p.len]
	p.v6 = true
	for i := range p.key.addr {
		p.key.addr[i] = binary.BigEndian.Uint64(b[8+8*i:])
	}
	p.proto, p.l4 = b[6], ipv6HeaderLen
	later := false
	for n := 0; extension(p.proto); n++ {
		if n == maxExtensions || later || p.l4+8 > len(b) {
			break
		}
		size := (int(b[p.l4+1]) + 1) * 8
		if p.proto == protoFragment {
			size = 8
			off := binary.BigEndian.Uint16(b[p.l4+2:])
			p.frag = p.frag || off&^6 != 0 // the reserved bits are ignored
			later = off&^7 != 0
		}
		if p.l4+size > len(b) {
			return p, false
		}
		p.proto = b[p.l4]
		p.l4 += size
	}
	if extension(p.proto) && !later {
		return p, false // the chain is cut off or too long
	}
	return p, p.ports(b, later)
}

// extension reports whether the walk goes on behind proto. ESP and AH end it:
// policy sees them as protocols, as it does in IPv4.
func extension(proto uint8) bool {
	switch proto {
	case protoHopByHop, protoRouting, protoFragment, protoDstOpts:
		return true
	}
	return false
}

// ports completes the key. later says that b is not the first fragment.
func (p *packet) ports(b []byte, later bool) bool {
	var ports uint32
	flags := uint64(0)
	if p.v6 {
		flags = keyIPv6
	}
	switch {
	case later:
		flags |= keyFragment
	case p.proto == protoTCP || p.proto == protoUDP || p.proto == protoSCTP || p.proto == protoDCCP || p.proto == protoUDPLite:
		if p.l4+4 > len(b) {
			return false
		}
		ports = binary.BigEndian.Uint32(b[p.l4:])
	case p.proto == protoICMP && !p.v6 || p.proto == protoICMPv6 && p.v6:
		if p.l4+2 > len(b) {
			return false
		}
		// RFC 7296 section 3.13.1: type and code stand for both ports.
		tc := uint32(binary.BigEndian.Uint16(b[p.l4:]))
		ports = tc<<16 | tc
	}
	p.key.rest = uint64(ports)<<32 | uint64(p.proto)<<24 | flags<<16
	return true
}

// flow is the key in the vocabulary of ipsec.
func (k *key) flow() ipsec.Flow {
	f := ipsec.Flow{
		SrcPort: uint16(k.rest >> 48), DstPort: uint16(k.rest >> 32),
		Proto: uint8(k.rest >> 24), Fragment: k.rest>>16&keyFragment != 0,
	}
	f.Src, f.Dst = k.addrs()
	return f
}

func (k *key) addrs() (src, dst netip.Addr) {
	if k.rest>>16&keyIPv6 == 0 {
		var a [8]byte
		binary.BigEndian.PutUint64(a[:], k.addr[0])
		return netip.AddrFrom4([4]byte(a[:4])), netip.AddrFrom4([4]byte(a[4:]))
	}
	var a [32]byte
	for i, w := range k.addr {
		binary.BigEndian.PutUint64(a[8*i:], w)
	}
	return netip.AddrFrom16([16]byte(a[:16])), netip.AddrFrom16([16]byte(a[16:]))
}

// hash spreads flows over a table; the upper bits are the good ones.
func (k *key) hash() uint64 {
	const m = 0x9e3779b97f4a7c15
	h := (k.addr[0] ^ k.rest) * m
	if k.rest>>16&keyIPv6 != 0 {
		h = (h>>32 ^ h ^ k.addr[1]) * m
		h = (h>>32 ^ h ^ k.addr[2]) * m
		h = (h>>32 ^ h ^ k.addr[3]) * m
	}
	return (h ^ h>>29) * m
}
