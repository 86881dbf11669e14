package esp

import "encoding/binary"

// Numbers of IP protocols and IPv6 extension headers that lie before AH.
const (
	protoHopByHop = 0
	protoRouting  = 43
	protoFragment = 44
	protoAH       = 51
	protoDestOpts = 60
)

// The headers in this file come from strangers, before any ICV was checked,
// and a flood of bad ones must cost nothing; so they are read by index with
// the check at each step, rather than by octet.Reader, whose errors allocate.

// zeroMutable puts zeros into those fields of an IP header, options and
// extension headers included, that routers change, RFC 4302 section 3.3.3.1
// and appendix A. head ends where AH begins. With sending, fields that will
// change predictably get the value they arrive with. It reports whether the
// headers are well formed, unfragmented and lead to an AH just behind head.
func zeroMutable(head []byte, sending bool) bool {
	if len(head) == 0 {
		return false
	}
	switch head[0] >> 4 {
	case 4:
		return zeroMutable4(head, sending)
	case 6:
		return zeroMutable6(head)
	}
	return false
}

// zeroMutable4 is RFC 4302, 3.3.3.1.1.
func zeroMutable4(head []byte, sending bool) bool {
	if len(head) < 20 || int(head[0]&0xf)*4 != len(head) || head[9] != protoAH {
		return false
	}
	if binary.BigEndian.Uint16(head[6:])&0x3fff != 0 { // MF or an offset: a fragment
		return false
	}
	head[1] = 0             // DSCP and ECN
	head[6], head[7] = 0, 0 // flags and fragment offset
	head[8] = 0             // TTL
	head[10], head[11] = 0, 0
	return zeroOptions4(head, sending)
}

// IPv4 options by their treatment, RFC 4302 appendix A1.
const (
	optEnd         = 0
	optNop         = 1
	optSecurity    = 130 // RFC 1108
	optLooseRoute  = 131
	optExtSecurity = 133 // RFC 1108
	optCommercial  = 134
	optStrictRoute = 137
	optRouterAlert = 148 // RFC 2113
	optMultiDest   = 149 // RFC 1770
)

// zeroOptions4 zeroes each mutable option as a whole, type and length too.
// Options that the appendix does not list count as mutable.
func zeroOptions4(head []byte, sending bool) bool {
	opts := head[20:]
	for len(opts) > 0 {
		switch opts[0] {
		case optEnd:
			return true
		case optNop:
			opts = opts[1:]
			continue
		}
		if len(opts) < 2 || opts[1] < 2 || int(opts[1]) > len(opts) {
			return false
		}
		opt := opts[:opts[1]]
		opts = opts[len(opt):]
		switch opt[0] {
		case optSecurity, optExtSecurity, optCommercial, optRouterAlert, optMultiDest:
			continue
		case optLooseRoute, optStrictRoute:
			// While addresses are left, the destination that the
			// packet arrives with is the last of them.
			if sending && len(opt) >= 7 && int(opt[2])+3 <= len(opt) {
				copy(head[16:20], opt[len(opt)-4:])
			}
		}
		clear(opt)
	}
	return true
}

// zeroMutable6 is RFC 4302, 3.3.3.1.2.
func zeroMutable6(head []byte) bool {
	if len(head) < 40 {
		return false
	}
	head[0], head[1], head[2], head[3] = 0x60, 0, 0, 0 // traffic class, flow label
	next := head[6]
	head[7] = 0 // hop limit
	for at := 40; at < len(head); {
		if at+8 > len(head) {
			return false
		}
		size := (int(head[at+1]) + 1) * 8
		if at+size > len(head) {
			return false
		}
		ext := head[at : at+size]
		switch next {
		case protoHopByHop, protoDestOpts:
			if !zeroOptions6(ext[2:]) {
				return false
			}
		case protoRouting:
			// Used up, it is what the final destination sees. We send
			// none that is not, and receive only as the destination.
			if ext[3] != 0 {
				return false
			}
		default: // a fragment, or something that cannot stand before AH
			return false
		}
		next = ext[0]
		at += size
	}
	return next == protoAH
}

// zeroOptions6 zeroes the data of those options whose type says that it may
// change on the way, RFC 8200 section 4.2; type and length stay.
func zeroOptions6(opts []byte) bool {
	const changes = 0x20
	for len(opts) > 0 {
		if opts[0] == 0 { // Pad1
			opts = opts[1:]
			continue
		}
		if len(opts) < 2 || int(opts[1])+2 > len(opts) {
			return false
		}
		data := opts[2 : 2+opts[1]]
		if opts[0]&changes != 0 {
			clear(data)
		}
		opts = opts[2+len(data):]
	}
	return true
}

// TransportOffset finds where the header of a transport mode SA goes in pkt,
// RFC 4303 section 3.1.1 and RFC 4302 section 3.1.1: at is behind the IPv4
// header, or behind the IPv6 extension headers that routers or each stop of a
// route look at; nextAt is the octet that names the protocol found at at. ok
// is false for what is no IP packet and for fragments, which cannot be
// protected in transport mode.
func TransportOffset(pkt []byte) (at, nextAt int, ok bool) {
	if len(pkt) < 20 {
		return 0, 0, false
	}
	if pkt[0]>>4 == 4 {
		at = int(pkt[0]&0xf) * 4
		whole := binary.BigEndian.Uint16(pkt[6:])&0x3fff == 0
		return at, 9, whole && at >= 20 && at <= len(pkt)
	}
	if pkt[0]>>4 != 6 || len(pkt) < 40 {
		return 0, 0, false
	}
	at, nextAt = 40, 6
	for {
		switch pkt[nextAt] {
		case protoFragment:
			return 0, 0, false
		case protoDestOpts:
			if !beforeRouting(pkt, at) {
				return at, nextAt, true
			}
		case protoHopByHop, protoRouting:
		default:
			return at, nextAt, true
		}
		if at+8 > len(pkt) {
			return 0, 0, false
		}
		size := (int(pkt[at+1]) + 1) * 8
		if at+size > len(pkt) {
			return 0, 0, false
		}
		nextAt = at
		at += size
	}
}

// beforeRouting reports whether the destination options at pkt[at:] are those
// for each stop of a route: a routing header follows.
func beforeRouting(pkt []byte, at int) bool {
	return at < len(pkt) && pkt[at] == protoRouting
}
