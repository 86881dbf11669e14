package ikev2

import (
	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
)

// mayFragment reports whether the connection lets IKE messages be cut.
func (s *SA) mayFragment() bool { return s.conn == nil || s.conn.Fragmentation != ike.No }

// says reports whether a notify stands in a message.
func says(ps wire.Payloads, kind uint16) bool {
	_, ok := ps.Notify(kind)
	return ok
}

// fragmentRoom is how long a datagram of ours may be, without the headers of IP
// and UDP and the non-ESP marker.
func (s *SA) fragmentRoom() int {
	size, ip := defaultFragment6, 40
	if s.remote.Addr().Unmap().Is4() {
		size, ip = defaultFragment4, 20
	}
	if s.conn != nil && s.conn.FragmentSize > 0 {
		size = max(s.conn.FragmentSize, leastFragment)
	}
	const udp, marker = 8, 4
	return size - ip - udp - marker
}

// cut protects a message in fragments, RFC 7383 section 2.5, if it is too long
// for one datagram and the peer can join them. Otherwise it returns nil.
func (s *step) cut(h ike.Header, payloads []wire.Payload) datagrams {
	if !s.fragments || s.tcp != tcpNone { // RFC 9329, 7.5
		return nil
	}
	plain := wire.AppendPayloads(nil, payloads)
	room := s.fragmentRoom()
	if wire.SealedLen(len(plain), s.sealer) <= room {
		return nil
	}
	piece := room - wire.FragmentLen(0, s.sealer)
	for wire.FragmentLen(piece, s.sealer) > room { // a block cipher pads
		piece--
	}
	total := (len(plain) + piece - 1) / piece
	if total > maxFragments {
		return nil
	}
	var out datagrams
	for n := 1; n <= total; n++ {
		p := wire.SKF{Number: uint16(n), Total: uint16(total)}
		if n == 1 {
			p.Next = payloads[0].Type()
		}
		k := min(piece, len(plain))
		out = append(out, wire.SealFragment(nil, h, p, plain[:k], s.sealer))
		plain = plain[k:]
	}
	return out
}
