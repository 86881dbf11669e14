package underlay

import "encoding/binary"

// kind is what a datagram on the NAT traversal port carries.
type kind uint8

const (
	kindESP kind = iota
	kindIKE
	kindKeepalive
	kindShort
)

// markerLen is the length of the non-ESP marker, four zero octets where ESP
// has its SPI, RFC 3948 section 2.2.
const markerLen = 4

// classify tells ESP from IKE on the NAT traversal port.
func classify(b []byte) kind {
	switch {
	case len(b) == 1 && b[0] == 0xff:
		return kindKeepalive // RFC 3948 section 2.3
	case len(b) < markerLen:
		return kindShort
	case binary.BigEndian.Uint32(b) == 0:
		return kindIKE
	}
	return kindESP
}

// split walks a train and calls esp for each longest run of ESP packets,
// other for everything else.
func split(b []byte, seg int, esp func([]byte), other func(kind, []byte)) {
	run := 0 // octets of ESP at the front of b
	for run < len(b) {
		p := b[run:min(run+seg, len(b))]
		k := classify(p)
		if k == kindESP {
			run += len(p)
			continue
		}
		if run > 0 {
			esp(b[:run:run])
		}
		other(k, p)
		b, run = b[run+len(p):], 0
	}
	if run > 0 {
		esp(b)
	}
}
