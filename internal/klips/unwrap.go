package klips

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"cygnet/internal/esp"
	"cygnet/internal/ipsec"
	"cygnet/internal/underlay"
)

// layers is what is left of an arriving packet while the SAs of its bundle are
// taken off, the outermost first.
type layers struct {
	ids     []ipsec.SAID // of the bundle
	left    int          // how many of them are still to come, or to be left out
	payload []byte
	next    uint8  // protocol of payload
	whole   []byte // the packet, while payload lies behind its IP header there

	used [ipsec.MaxBundle]*inSA
	n    int // of used
}

// other handles what is not ESP: AH, IPComp, IP-in-IP.
func (w *ingress) other(a *underlay.Arrival) {
	w.makeRoom()
	b := a.Data[a.Head:]
	if a.Proto == ipsec.Tun {
		w.ipip(b, a)
		return
	}
	spi, ok := numberOf(a.Proto, b)
	if !ok {
		w.p.drops.add(dropShort, 1)
		return
	}
	sa, why := w.named(spi, a)
	if sa == nil {
		w.p.drops.add(why, 1)
		return
	}
	w.unwrap(sa, b, a)
}

// numberOf finds the SPI, or CPI, in the header at the start of b.
func numberOf(p ipsec.Proto, b []byte) (ipsec.SPI, bool) {
	switch {
	case p == ipsec.ESP && len(b) >= 8: // RFC 4303 section 2
		return ipsec.SPI(binary.BigEndian.Uint32(b)), true
	case p == ipsec.AH && len(b) >= 12: // RFC 4302 section 2
		return ipsec.SPI(binary.BigEndian.Uint32(b[4:])), true
	case p == ipsec.Comp && len(b) >= 4: // RFC 3173 section 3.1
		return ipsec.SPI(binary.BigEndian.Uint16(b[2:])), true
	}
	return 0, false
}

// ipip handles IP-in-IP as it comes, which belongs to the first SA between its
// ends that permits what is inside.
func (w *ingress) ipip(b []byte, a *underlay.Arrival) {
	list := (*w.p.sad.tunnels.Load())[ends{a.Remote.Addr(), a.Local}]
	p, ok := parse(b)
	switch {
	case len(list) == 0:
		w.p.drops.add(dropUnknownSA, 1)
		return
	case !ok:
		w.p.drops.add(dropInner, 1)
		return
	}
	f := p.key.flow()
	sa := list[max(slices.IndexFunc(list, func(i *inSA) bool { return i.selects(f) }), 0)]
	if why, ok := sa.usable(a); !ok {
		w.p.drops.add(why, 1)
		return
	}
	x := layers{ids: sa.sa.Bundle, left: 1, payload: b, next: protoIPv4}
	if p.v6 {
		x.next = protoIPv6
	}
	w.finish(&x, a)
}

// unwrap takes off the bundle that sa is the outermost of. b begins with the
// header that names sa.
func (w *ingress) unwrap(sa *inSA, b []byte, a *underlay.Arrival) {
	x := layers{ids: sa.sa.Bundle, left: len(sa.sa.Bundle), payload: b, next: uint8(a.Proto)}
	if a.Head > 0 {
		x.whole = a.Data
	}
	for sa != nil {
		i := slices.Index(x.ids, sa.sa.ID)
		if !optional(x.ids[i+1 : x.left]) {
			w.p.drops.add(dropBundle, 1) // what should be around it is missing
			return
		}
		x.left, x.used[x.n] = i, sa
		x.n++
		why, ok := w.takeOff(sa, &x, a)
		if ok {
			sa, why, ok = w.further(&x, a)
		}
		if !ok {
			w.p.drops.add(why, 1)
			return
		}
	}
	w.finish(&x, a)
}

// further returns the SA that comes next in the bundle and in the packet, nil
// where the packet has come to its content.
func (w *ingress) further(x *layers, a *underlay.Arrival) (*inSA, reason, bool) {
	for i := x.left - 1; i >= 0; i-- {
		id := x.ids[i]
		switch {
		case id.Proto == ipsec.Tun:
			return nil, 0, true
		case uint8(id.Proto) == x.next:
			sa := w.p.sad.lookup(id.SPI, id.Proto, id.Dst)
			if sa == nil {
				return nil, dropUnknownSA, false
			}
			spi, ok := numberOf(id.Proto, x.payload)
			if !ok {
				return nil, dropShort, false
			}
			if spi != id.SPI && !(id.Proto == ipsec.Comp && spi == esp.CPIDeflate) {
				return nil, dropBundle, false
			}
			why, ok := sa.usable(a)
			return sa, why, ok
		case id.Proto != ipsec.Comp:
			return nil, 0, true // finish finds it missing
		}
	}
	return nil, 0, true
}

// takeOff opens the packet with one SA.
func (w *ingress) takeOff(sa *inSA, x *layers, a *underlay.Arrival) (why reason, ok bool) {
	newest := false
	switch {
	case sa.esp != nil:
		x.payload, x.next, newest, why, ok = w.open(sa, x.payload)
	case sa.ah != nil:
		newest, why, ok = w.verify(sa, x, a)
	case sa.comp != nil:
		why, ok = w.decompress(sa, x)
	}
	if !ok {
		return why, false
	}
	x.whole = nil
	if sa.window != nil {
		w.authentic(sa, a, newest)
	}
	return w.spend(sa, len(x.payload))
}

// spend books one packet of n octets.
func (w *ingress) spend(sa *inSA, n int) (reason, bool) {
	sa.usage.last.Store(w.at.UnixNano())
	return dropExpired, sa.spend(w.p, n, 1)
}

// verify checks the AH at the start of the payload, moves the replay window and
// takes the header off. RFC 4302 section 3.4.
func (w *ingress) verify(sa *inSA, x *layers, a *underlay.Arrival) (newest bool, why reason, ok bool) {
	pkt := x.whole
	if pkt == nil {
		if a.Head == 0 {
			return false, dropMode, false // nobody has seen the header that AH covers
		}
		o := onion{head: a.Data[:a.Head], nextAt: 9, payload: x.payload, next: uint8(ipsec.AH)}
		if a.Local.Is6() {
			o.nextAt = 6
		}
		if pkt = o.packet(w.copied(a.Head+len(x.payload)), 0); pkt == nil {
			return false, dropInner, false
		}
	}
	sa.mu.Lock()
	seq, ok := sa.ah.Sequence(pkt[a.Head:])
	sa.mu.Unlock()
	if !ok {
		return false, dropReplay, false
	}
	size, next, err := sa.ah.Open(&w.scratch, pkt, a.Head, seq)
	switch err {
	case nil:
	case esp.ErrAuth:
		return false, dropAuth, false
	default:
		return false, dropShort, false
	}
	sa.mu.Lock()
	newest, err = sa.ah.Accept(seq)
	sa.mu.Unlock()
	if err != nil { // another worker had a copy
		return false, dropReplay, false
	}
	x.payload, x.next = pkt[a.Head+size:], next
	return newest, 0, true
}

// decompress expands the payload, to the longest IP packet at most.
func (w *ingress) decompress(sa *inSA, x *layers) (reason, bool) {
	dst := w.copied(maxPacket)
	b, next, err := sa.comp.Decompress(&w.scratch, dst, x.payload)
	w.arena = w.arena[:len(w.arena)-len(dst)+len(b)]
	if err != nil {
		return dropComp, false
	}
	sa.before.Add(uint64(len(b)))
	sa.after.Add(uint64(len(x.payload)))
	x.payload, x.next = b, next
	return 0, true
}

// finish checks that the packet has gone through all of its bundle, and
// delivers what is inside.
func (w *ingress) finish(x *layers, a *underlay.Arrival) {
	first := w.p.sad.lookup(x.ids[0].SPI, x.ids[0].Proto, x.ids[0].Dst)
	if first == nil {
		w.p.drops.add(dropUnknownSA, 1)
		return
	}
	why, ok := w.complete(x, first, a)
	if !ok {
		w.p.drops.add(why, 1)
		return
	}
	inner, k, why, ok := w.inner(first, first.tunnel, x.payload, x.next, a)
	if ok {
		why, ok = x.permit(first, k.key.flow())
	}
	if !ok {
		w.p.drops.add(why, 1)
		return
	}
	w.deliver(inner, k)
}

// complete reports whether nothing is missing but what may be.
func (w *ingress) complete(x *layers, first *inSA, a *underlay.Arrival) (reason, bool) {
	missing := x.ids[:x.left]
	tun := x.left > 0 && missing[0].Proto == ipsec.Tun
	if tun {
		missing = missing[1:]
	}
	switch {
	case !optional(missing):
		return dropBundle, false
	case x.next == protoNone:
		return dropDummy, false // RFC 4303 section 2.6
	case !tun:
		return 0, true
	}
	if why, ok := first.usable(a); !ok {
		return why, false
	}
	return w.spend(first, len(x.payload))
}

// permit asks the SAs of the packet but first, which has been asked, whether
// they may deliver flow f.
func (x *layers) permit(first *inSA, f ipsec.Flow) (reason, bool) {
	for _, sa := range x.used[:x.n] {
		if sa != first && !sa.permits(f) {
			return dropPolicy, false
		}
	}
	return 0, true
}

// carrier reports whether a packet may be protected itself.
func carrier(k packet) bool {
	switch k.proto {
	case uint8(ipsec.ESP), uint8(ipsec.AH), uint8(ipsec.Comp), protoIPv4, protoIPv6:
		return !k.frag
	case protoUDP:
		return uint16(k.key.rest>>32) == portNATT && !k.frag
	}
	return false
}

// nested takes a packet that came out of one tunnel and is for another one that
// ends here (freeswan.md 5.7, step 5). It reports false for what is not for an
// SA of ours.
func (w *ingress) nested(b []byte, k packet) bool {
	src, dst := k.key.addrs()
	a := underlay.Arrival{Proto: ipsec.Proto(k.proto), Remote: netip.AddrPortFrom(src, 0), Local: dst, TOS: tos(b, k.v6), Data: b, Head: k.l4}
	switch k.proto {
	case protoUDP:
		if k.l4+udpHeaderLen > len(b) {
			return false
		}
		a.Proto, a.Encap, a.Data, a.Head = ipsec.ESP, true, b[k.l4+udpHeaderLen:], 0
		a.Remote = netip.AddrPortFrom(src, uint16(k.key.rest>>48))
	case protoIPv6:
		a.Proto = ipsec.Tun
	}
	a.Seg = len(a.Data)
	if !w.ours(&a) {
		return false
	}
	if w.depth == maxNest {
		w.p.drops.add(dropRecursion, 1)
		return true
	}
	w.depth++
	w.arrival(&a)
	w.depth--
	return true
}

// ours reports whether there is an SA for a packet.
func (w *ingress) ours(a *underlay.Arrival) bool {
	if a.Proto == ipsec.Tun {
		return len((*w.p.sad.tunnels.Load())[ends{a.Remote.Addr(), a.Local}]) > 0
	}
	spi, ok := numberOf(a.Proto, a.Data[a.Head:])
	return ok && w.p.sad.lookup(spi, a.Proto, a.Local) != nil
}
