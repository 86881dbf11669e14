package klips

import "encoding/binary"

// pass sends a packet as it is by the physical device.
func (w *egress) pass(b []byte, p packet) {
	mtu := int(w.d.mtu.Load())
	switch {
	case len(b) <= mtu:
		w.addClear(b)
	case p.v6 || df(b):
		w.errs.tooBig(w, b, p, mtu)
		w.p.drops.add(dropTooBig, 1)
	default:
		frags := fragment4(b, p.l4, mtu)
		if frags == nil {
			w.p.drops.add(dropTooBig, 1)
		}
		for _, f := range frags {
			w.addClear(f)
		}
	}
}

func (w *egress) addClear(b []byte) {
	if w.batch.full(len(b)) {
		w.flush()
	}
	w.batch.addClear(b)
}

// fragment4 cuts an IPv4 packet whose header has hl octets into fragments of
// at most mtu octets (RFC 791 section 3.2), or returns nil when the header
// leaves no room. It allocates: what comes here is rare and slow anyway.
func fragment4(b []byte, hl, mtu int) (out [][]byte) {
	step := (mtu - hl) &^ 7
	if step <= 0 {
		return nil
	}
	old := binary.BigEndian.Uint16(b[6:])
	head := append([]byte(nil), b[:hl]...)
	for off := hl; off < len(b); off += step {
		end := min(off+step, len(b))
		f := append(append(make([]byte, 0, hl+step+slack), head...), b[off:end]...)
		field := old + uint16((off-hl)/8)
		if end < len(b) {
			field |= flagIPv4More
		}
		binary.BigEndian.PutUint16(f[2:], uint16(len(f)))
		binary.BigEndian.PutUint16(f[6:], field)
		sumIPv4(f, hl)
		out = append(out, f)
		if off == hl {
			head = laterOptions(head)
		}
	}
	return out
}

// fragment6 cuts an IPv6 packet into fragments of at most mtu octets (RFC 8200
// section 4.5). Up to at it has headers that every fragment carries; nextAt
// names what comes then.
func fragment6(b []byte, at, nextAt, mtu int, id uint32) (out [][]byte) {
	const fragmentLen = 8
	step := (mtu - at - fragmentLen) &^ 7
	if step <= 0 {
		return nil
	}
	for off := at; off < len(b); off += step {
		end := min(off+step, len(b))
		f := make([]byte, 0, at+fragmentLen+end-off)
		f = append(append(f, b[:at]...), b[nextAt], 0, 0, 0, 0, 0, 0, 0)
		f = append(f, b[off:end]...)
		f[nextAt] = protoFragment
		binary.BigEndian.PutUint16(f[4:], uint16(len(f)-ipv6HeaderLen))
		field := uint16(off - at)
		if end < len(b) {
			field |= 1 // more
		}
		binary.BigEndian.PutUint16(f[at+2:], field)
		binary.BigEndian.PutUint32(f[at+4:], id)
		out = append(out, f)
	}
	return out
}

// laterOptions blanks the options that only the first fragment carries: those
// without the copied flag.
func laterOptions(head []byte) []byte {
	for o := head[ipv4HeaderLen:]; len(o) > 0 && o[0] != 0; {
		n := 1
		if o[0] != 1 { // no-operation has no length
			if len(o) < 2 || o[1] < 2 || int(o[1]) > len(o) {
				break
			}
			n = int(o[1])
		}
		if o[0]&0x80 == 0 {
			for i := range n {
				o[i] = 1
			}
		}
		o = o[n:]
	}
	return head
}
