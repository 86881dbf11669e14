package klips

import (
	"encoding/binary"

	"cygnet/internal/esp"
	"cygnet/internal/ipsec"
)

// onion is a packet on its way through a bundle: what the SAs so far have made
// of its content, and the IP header it will leave with.
type onion struct {
	head    []byte // without lengths and checksum
	nextAt  int    // octet of head that names what follows
	payload []byte
	next    uint8  // protocol of payload
	done    []byte // the whole packet, where the last SA was AH
}

// level is the memory for one nesting of tunnels. The halves take turns: an SA
// reads one and writes the other.
type level struct {
	half [2][]byte
	turn int
	head []byte
}

// other returns the half that is not being read.
func (l *level) other() []byte {
	l.turn ^= 1
	return l.half[l.turn]
}

// level returns the memory for the present depth. Few workers ever need any.
func (w *egress) level() *level {
	l := w.levels[w.depth]
	if l == nil {
		l = &level{half: [2][]byte{make([]byte, levelLen), make([]byte, levelLen)}}
		w.levels[w.depth] = l
	}
	return l
}

// wrap applies a bundle to one packet: what is not the fast path.
func (w *egress) wrap(bd *bundle, b []byte, p packet, alone bool) {
	l := w.level()
	x, ok := w.peel(l, bd, b, p)
	if !ok {
		return
	}
	for _, sa := range bd.sas[:bd.n] {
		if !w.spend(sa, len(x.payload), 1) {
			return
		}
		seq := uint64(0)
		if sa.numbers != nil {
			if seq = w.take(sa, 1); seq == 0 {
				return
			}
		}
		switch {
		case sa == bd.outer && !bd.whole:
			w.place(sa, x.payload, x.next, seq, w.outerTOS(bd, b, p), alone)
			return
		case sa.comp != nil:
			w.compress(l, sa, &x)
		case sa.esp != nil:
			n := sa.esp.SealedLen(len(x.payload))
			x.payload, x.next = sa.esp.Seal(&w.scratch, l.other()[:n], seq, x.next, x.payload, 0), uint8(ipsec.ESP)
		case sa.ah != nil:
			if !w.authenticate(l, sa, &x, seq) {
				return
			}
		}
	}
	w.leave(l, bd, &x)
}

// peel begins with a packet: in tunnel mode all of it is payload and the header
// is new, in transport mode its header goes on.
func (w *egress) peel(l *level, bd *bundle, b []byte, p packet) (x onion, ok bool) {
	switch {
	case bd.tunnel:
		x.payload, x.next = b, protoIPv4
		if p.v6 {
			x.next = protoIPv6
		}
		if bd.whole {
			x.head, x.nextAt = w.p.newHeader(l.head[:0], bd.outer, w.outerTOS(bd, b, p))
			l.head = x.head
		}
		return x, true
	case bd.whole:
		return w.keepHeader(l, bd.outer, b, p)
	}
	x.payload, x.next, ok = w.transport(bd.outer, b, p)
	return x, ok
}

// keepHeader is transport mode where the header is ours: it stays as it is,
// options too, as RFC 4302 section 3.1.1 has it.
func (w *egress) keepHeader(l *level, sa *outSA, b []byte, p packet) (x onion, ok bool) {
	src, dst := p.key.addrs()
	if src != sa.sa.Src || dst != sa.sa.ID.Dst {
		w.p.drops.add(dropAddress, 1)
		return x, false
	}
	at, nextAt, ok := esp.TransportOffset(b)
	if !ok {
		w.p.drops.add(dropFragment, 1)
		return x, false
	}
	x = onion{head: append(l.head[:0], b[:at]...), nextAt: nextAt, payload: b[at:], next: b[nextAt]}
	l.head = x.head
	if !p.v6 {
		w.p.setFlags(x.head, sa.sa.DF, binary.BigEndian.Uint16(b[4:]))
	}
	return x, true
}

// newHeader appends the outer header of a tunnel to b (RFC 4301 section 5.1.2).
func (p *Plane) newHeader(b []byte, sa *outSA, tos uint8) (head []byte, nextAt int) {
	if sa.sa.Src.Is6() {
		src, dst := sa.sa.Src.As16(), sa.sa.ID.Dst.As16()
		b = append(b, 0x60|tos>>4, tos<<4, 0, 0, 0, 0, 0, hopLimit)
		return append(append(b, src[:]...), dst[:]...), 6
	}
	src, dst := sa.sa.Src.As4(), sa.sa.ID.Dst.As4()
	b = append(b, 0x45, tos, 0, 0, 0, 0, 0, 0, hopLimit, 0, 0, 0)
	b = append(append(b, src[:]...), dst[:]...)
	p.setFlags(b, sa.sa.DF, 0)
	return b, 9
}

// setFlags sets the ID of an IPv4 header, a new one if id is 0, which the
// kernel would replace after AH has covered it; and DF, and that it is no
// fragment.
func (p *Plane) setFlags(head []byte, df bool, id uint16) {
	for id == 0 {
		id = uint16(p.ids.Add(1))
	}
	binary.BigEndian.PutUint16(head[4:], id)
	head[6], head[7] = 0, 0
	if df {
		head[6] = flagIPv4DF >> 8
	}
}

// compress is IPComp. What does not shrink goes on as it is.
func (w *egress) compress(l *level, sa *outSA, x *onion) {
	sa.before.Add(uint64(len(x.payload)))
	if c, ok := sa.comp.Compress(&w.scratch, l.other(), x.next, x.payload); ok {
		x.payload, x.next = c, uint8(ipsec.Comp)
	} else {
		l.other() // back: it was not written
	}
	sa.after.Add(uint64(len(x.payload)))
}

// authenticate puts AH in front of the payload.
func (w *egress) authenticate(l *level, sa *outSA, x *onion, seq uint64) bool {
	next := x.next
	x.next = uint8(ipsec.AH)
	pkt := x.packet(l.other(), sa.ah.HeadLen())
	if pkt == nil || sa.ah.Seal(&w.scratch, pkt, len(x.head), seq, next) != nil {
		w.p.drops.add(dropTooBig, 1) // its headers are ours
		return false
	}
	x.done, x.payload = pkt, pkt[len(x.head):]
	return true
}

// packet writes the whole packet to dst, with gap octets left out before the
// payload. It is nil when an IP packet cannot be so long.
func (x *onion) packet(dst []byte, gap int) []byte {
	n := len(x.head) + gap + len(x.payload)
	v6 := x.head[0]>>4 == 6
	if v6 && n-ipv6HeaderLen > maxPacket || !v6 && n > maxPacket {
		return nil
	}
	copy(dst[len(x.head)+gap:n], x.payload)
	copy(dst, x.head)
	dst = dst[:n]
	dst[x.nextAt] = x.next
	if v6 {
		binary.BigEndian.PutUint16(dst[4:], uint16(n-ipv6HeaderLen))
	} else {
		binary.BigEndian.PutUint16(dst[2:], uint16(n))
		sumIPv4(dst, len(x.head))
	}
	return dst
}

// leave sends the packet, or hands it on to the tunnel around this one.
func (w *egress) leave(l *level, bd *bundle, x *onion) {
	if bd.outer.encap {
		x.intoUDP(l, bd.outer.sa.Encap)
	}
	pkt := x.done
	if bd.outer.ah == nil {
		pkt = x.packet(l.other(), 0)
	}
	switch {
	case pkt == nil:
		w.p.drops.add(dropTooBig, 1)
	case bd.nest == nil:
		w.sendWhole(bd, pkt, len(x.head), x.nextAt)
	default:
		w.again(bd.nest, pkt)
	}
}

// again protects a packet that comes out of one tunnel by another.
func (w *egress) again(e *entry, b []byte) {
	p, ok := parse(b)
	if !ok || w.depth == maxNest {
		w.p.drops.add(dropRecursion, 1)
		return
	}
	e.packets.Add(1)
	w.depth++
	w.protect(e, b, p)
	w.depth--
}

// intoUDP puts a UDP header in front of ESP, where no socket does it.
func (x *onion) intoUDP(l *level, ports ipsec.Encap) {
	b := l.other()[:udpHeaderLen+len(x.payload)]
	copy(b[udpHeaderLen:], x.payload)
	binary.BigEndian.PutUint16(b, ports.LocalPort)
	binary.BigEndian.PutUint16(b[2:], ports.RemotePort)
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)))
	b[6], b[7] = 0, 0
	if x.head[0]>>4 == 6 { // RFC 3948 section 2.1 lets IPv4 do without
		putUDPSum(b[6:], sum(b, pseudo(x.head, protoUDP, len(b))))
	}
	x.payload, x.next = b, protoUDP
}

// sendWhole puts a packet with its header into the batch, in fragments where it
// is too long. at is where its content begins, nextAt what names it.
func (w *egress) sendWhole(bd *bundle, b []byte, at, nextAt int) {
	mtu := bd.outer.pathMTU(int(w.d.mtu.Load()))
	if len(b) <= mtu {
		w.addWhole(bd.outer, b)
		return
	}
	var frags [][]byte
	switch {
	case b[0]>>4 == 6:
		frags = fragment6(b, at, nextAt, mtu, w.p.ids.Add(1))
	case !df(b):
		frags = fragment4(b, at, mtu)
	}
	if frags == nil {
		w.p.drops.add(dropTooBig, 1)
	}
	for _, f := range frags {
		w.addWhole(bd.outer, f)
	}
}

func (w *egress) addWhole(sa *outSA, b []byte) {
	if w.batch.full(len(b)) {
		w.flush()
	}
	w.batch.addWhole(sa, b)
}
