package klips

// protect seals one packet.
func (w *egress) protect(e *entry, b []byte, p packet) {
	bd := w.usable(e)
	if bd == nil {
		return
	}
	room := bd.room(int(w.d.mtu.Load()))
	if w.p.o.ClampMSS && p.proto == protoTCP && !p.frag {
		clampMSS(b, p, room)
	}
	alone := false
	if len(b) > room {
		if bd.outer.sa.DF && bd.tunnel && !p.v6 && !df(b) {
			w.protectFragments(e, b, p, room)
			return
		}
		if !w.oversize(bd, b, p, room) {
			return
		}
		alone = true
	}
	if !bd.plain {
		w.wrap(bd, b, p, alone)
		return
	}
	if w.spend(bd.outer, len(b), 1) {
		w.seal(bd, b, p, w.take(bd.outer, 1), alone)
	}
}

// protectFragments cuts the inner packet, where the outer one must not be cut.
func (w *egress) protectFragments(e *entry, b []byte, p packet, room int) {
	frags := fragment4(b, p.l4, room)
	if frags == nil {
		w.p.drops.add(dropTooBig, 1)
	}
	for _, f := range frags {
		if q, ok := parse(f); ok {
			w.protect(e, f, q)
		}
	}
}

// protectTrain seals the segments of the superpacket in w.seg.
func (w *egress) protectTrain(e *entry, b []byte, p packet) {
	bd := w.usable(e)
	if bd == nil {
		return
	}
	alone := false
	if room := bd.room(int(w.d.mtu.Load())); w.seg.longest() > room {
		switch {
		case w.seg.tcp && room-w.seg.hdrLen >= minSegment:
			// A TCP superpacket may be cut as we like: smaller segments
			// instead of fragments. The sender hears of it all the same.
			w.notify(bd, b, p, room)
			w.seg.size = room - w.seg.hdrLen
		case !w.oversize(bd, b, p, room):
			w.p.drops.add(dropTooBig, w.seg.count()-1)
			return
		default:
			alone = true
		}
	}
	if !bd.plain {
		for s := w.seg.next(); s != nil; s = w.seg.next() {
			w.wrap(bd, s, p, alone)
		}
		return
	}
	n := w.seg.count()
	if !w.spend(bd.outer, p.len+(n-1)*w.seg.hdrLen, n) {
		return
	}
	seq := w.take(bd.outer, n)
	for s := w.seg.next(); s != nil; s = w.seg.next() {
		w.seal(bd, s, p, seq, alone)
		if seq != 0 {
			seq++
		}
	}
}

// minSegment is the least payload into which a TCP superpacket is cut anew.
const minSegment = 256

// usable returns the bundle of a Protect entry, or counts why there is none.
func (w *egress) usable(e *entry) *bundle {
	bd := e.out.Load()
	switch {
	case bd == nil:
		w.p.drops.add(dropNoSA, 1)
		return nil
	case bd.outer.hard.Load() || !bd.plain && bd.expired():
		w.p.drops.add(dropExpired, 1)
		return nil
	}
	return bd
}

// spend books packets of n octets in all with an SA.
func (w *egress) spend(sa *outSA, n, packets int) bool {
	sa.usage.last.Store(w.at.UnixNano())
	if !sa.spend(w.p, n, packets) {
		w.p.drops.add(dropExpired, packets)
		return false
	}
	return true
}

// take gets n sequence numbers and returns the first, or 0 when the SA has not
// so many left, which ends it (RFC 4303 section 3.3.3).
func (w *egress) take(sa *outSA, n int) uint64 {
	first, err := sa.numbers.Reserve(n)
	if err != nil {
		w.p.drops.add(dropExhausted, n)
		sa.expire(w.p)
		return 0
	}
	return first
}

// seal puts one packet, whose sequence number is seq, into the batch.
func (w *egress) seal(bd *bundle, b []byte, p packet, seq uint64, alone bool) {
	if seq == 0 {
		return
	}
	payload, next := b, uint8(protoIPv4)
	if p.v6 {
		next = protoIPv6
	}
	if !bd.tunnel {
		var ok bool
		if payload, next, ok = w.transport(bd.outer, b, p); !ok {
			return
		}
	}
	tos := w.outerTOS(bd, b, p)
	if bd.outer.sa.TFC != 0 && bd.tunnel && !alone {
		payload = w.cover(bd, payload)
	}
	w.place(bd.outer, payload, next, seq, tos, alone)
}

// place seals payload into the batch.
func (w *egress) place(sa *outSA, payload []byte, next uint8, seq uint64, tos uint8, alone bool) {
	n, pad := sa.esp.SealedLen(len(payload)), 0
	if !alone && !w.p.o.NoPadding {
		if long := w.batch.aim(sa, tos, n); long > n {
			if extra, ok := sa.esp.PadFor(len(payload), long); ok {
				n, pad = long, extra
			}
		}
	}
	if w.batch.full(n) {
		w.flush()
	}
	sa.esp.Seal(&w.scratch, w.batch.place(sa, tos, n, alone), seq, next, payload, pad)
}

// outerTOS is 0, or the inner octet with its ECN field (RFC 6040 section 4.1).
// In transport mode there is but one.
func (w *egress) outerTOS(bd *bundle, b []byte, p packet) uint8 {
	if bd.tunnel && !w.p.o.CopyTOS {
		return 0
	}
	return tos(b, p.v6)
}

func tos(b []byte, v6 bool) uint8 {
	if v6 {
		return b[0]<<4 | b[1]>>4
	}
	return b[1]
}

// transport returns what ESP carries in transport mode: the packet behind its
// IP header, which the socket makes anew. So the header must be one that the
// socket can make: between the SA's addresses, without options, not a fragment
// (RFC 4303 section 3.3.4 applies ESP to whole datagrams only). Its TTL and ID
// are not kept.
func (w *egress) transport(sa *outSA, b []byte, p packet) (payload []byte, next uint8, ok bool) {
	src, dst := p.key.addrs()
	switch {
	case src != sa.sa.Src || dst != sa.sa.ID.Dst:
		w.p.drops.add(dropAddress, 1)
		return nil, 0, false
	case p.frag:
		w.p.drops.add(dropFragment, 1)
		return nil, 0, false
	case p.v6 && (b[6] == protoHopByHop || b[6] == protoRouting), !p.v6 && p.l4 != ipv4HeaderLen:
		w.p.drops.add(dropOptions, 1)
		return nil, 0, false
	case p.v6:
		return b[ipv6HeaderLen:], b[6], true
	}
	return b[ipv4HeaderLen:], b[9], true
}

// oversize decides about a packet longer than room. It reports whether the
// packet is sent all the same, its outer form in fragments (freeswan.md 5.8).
func (w *egress) oversize(bd *bundle, b []byte, p packet, room int) bool {
	if p.v6 {
		// IPv6 guarantees the minimum, and in transport mode the outer packet
		// is of the same source, which may fragment it.
		if (len(b) <= minPathMTU6 || !bd.tunnel) && !bd.outer.sa.DF {
			return true
		}
		w.errs.tooBig(w, b, p, max(room, minPathMTU6))
		w.p.drops.add(dropTooBig, 1)
		return false
	}
	w.notify(bd, b, p, room)
	if bd.outer.sa.DF || w.p.o.TooBig == Strict && df(b) {
		w.p.drops.add(dropTooBig, 1)
		return false
	}
	return true
}

// notify tells the sender of a packet with DF what would have fitted. While
// the packet is sent all the same, ICMP itself is left alone (M2), and so is
// transport mode: the sender is this machine, and what it cut in fragments
// could not be protected.
func (w *egress) notify(bd *bundle, b []byte, p packet, room int) {
	lost := bd.outer.sa.DF || w.p.o.TooBig == Strict && !p.v6
	switch {
	case !bd.tunnel && !lost:
	case p.v6:
		w.errs.tooBig(w, b, p, max(room, minPathMTU6))
	case df(b) && (lost || w.p.o.TooBig == NotifyAndSend && p.proto != protoICMP):
		w.errs.tooBig(w, b, p, room)
	}
}

func df(b []byte) bool { return b[6]&(flagIPv4DF>>8) != 0 }

// hold is holds.add unless s has been replaced.
func (p *Plane) hold(s *snapshot, e *entry, b []byte, k packet, w *egress) (acquire, ok, stale bool) {
	p.holds.mu.Lock()
	defer p.holds.mu.Unlock()
	if p.spd.Load() != s {
		return false, false, true
	}
	acquire, ok = p.holds.add(e, &k.key, b, w.d, w.at)
	return acquire, ok, false
}
