package klips

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"cygnet/internal/esp"
	"cygnet/internal/ipsec"
	"cygnet/internal/tun"
	"cygnet/internal/underlay"
)

// ingress carries what one receiver gets into a TUN queue. It belongs to one
// goroutine.
type ingress struct {
	p  *Plane
	d  *device
	rx underlay.Receiver

	scratch   esp.Scratch
	coalescer coalescer
	good      verdict   // of the packet before
	back      flowCache // of the policies for what would go the other way
	arena     []byte    // what had to be copied, in use until the end of the batch
	last      *inSA     // of the packet before
	depth     int       // of tunnels in tunnels, for the packet at hand
	at        time.Time
}

func newIngress(p *Plane, d *device, rx underlay.Receiver, q tun.Queue) *ingress {
	w := &ingress{p: p, d: d, rx: rx}
	w.coalescer.init(q, d.TUN.Offloads(), &p.drops)
	return w
}

// run handles one batch after the other: decrypt in place, coalesce, write
// everything before the buffers are used again.
func (w *ingress) run() {
	for {
		list, err := w.rx.Read()
		if err != nil {
			return
		}
		w.at = now()
		for i := range list {
			w.arrival(&list[i])
		}
		w.empty()
		w.last, w.good = nil, verdict{} // an SA may have gone before the next batch
	}
}

func (w *ingress) arrival(a *underlay.Arrival) {
	if a.Proto != ipsec.ESP {
		w.other(a)
		return
	}
	for b := a.Data[a.Head:]; len(b) > 0; {
		n := min(max(a.Seg, 1), len(b))
		w.packet(b[:n:n], a)
		b = b[n:]
	}
}

// packet is freeswan.md 5.7 for one ESP packet.
func (w *ingress) packet(b []byte, a *underlay.Arrival) {
	w.makeRoom()
	if len(b) < 8 {
		w.p.drops.add(dropShort, 1)
		return
	}
	sa, why := w.named(ipsec.SPI(binary.BigEndian.Uint32(b)), a)
	if sa == nil {
		w.p.drops.add(why, 1)
		return
	}
	if !sa.alone {
		w.unwrap(sa, b, a)
		return
	}
	payload, next, newest, why, ok := w.open(sa, b)
	if !ok {
		w.p.drops.add(why, 1)
		return
	}
	w.authentic(sa, a, newest)
	if !sa.spend(w.p, len(payload), 1) {
		w.p.drops.add(dropExpired, 1)
		return
	}
	if next == protoNone { // RFC 4303 section 2.6: a dummy packet
		w.p.drops.add(dropDummy, 1)
		return
	}
	inner, k, why, ok := w.inner(sa, sa.tunnel, payload, next, a)
	if !ok {
		w.p.drops.add(why, 1)
		return
	}
	w.deliver(inner, k)
}

// deliver hands on an inner packet: to the TUN, or, when it is a protected
// packet for ourselves, to its SA.
func (w *ingress) deliver(inner []byte, k packet) {
	if carrier(k) && w.nested(inner, k) {
		return
	}
	if w.p.o.ClampMSS && k.proto == protoTCP && !k.frag {
		w.clamp(inner, k)
	}
	w.coalescer.add(inner, k)
}

// named returns the SA of that number, if it may be used.
func (w *ingress) named(spi ipsec.SPI, a *underlay.Arrival) (*inSA, reason) {
	if spi < ipsec.MinSPI {
		return nil, dropSPI
	}
	sa := w.last
	if sa == nil || sa.sa.ID.SPI != spi || sa.sa.ID.Dst != a.Local || sa.sa.ID.Proto != a.Proto {
		if sa = w.p.sad.lookup(spi, a.Proto, a.Local); sa == nil {
			w.p.strays.note(ipsec.SAID{Dst: a.Local, Proto: a.Proto, SPI: spi}, a.Remote.Addr())
			return nil, dropUnknownSA
		}
		w.last = sa
	}
	if why, ok := sa.usable(a); !ok {
		return nil, why
	}
	return sa, 0
}

// usable reports whether packet a may go through the SA, as far as can be said
// without opening it.
func (i *inSA) usable(a *underlay.Arrival) (reason, bool) {
	switch {
	case i.hard.Load():
		return dropExpired, false
	case !(i.encap && a.Encap) && a.Remote.Addr() != i.from.Addr():
		// An SA in UDP may follow its peer through a NAT; others may not.
		return dropSource, false
	}
	return 0, true
}

// open authenticates and decrypts b in place and moves the replay window.
func (w *ingress) open(sa *inSA, b []byte) (payload []byte, next uint8, newest bool, why reason, ok bool) {
	sa.mu.Lock()
	seq, ok := sa.esp.Sequence(b)
	sa.mu.Unlock()
	if !ok {
		if len(b) < sa.esp.MinLen() {
			return nil, 0, false, dropShort, false
		}
		return nil, 0, false, dropReplay, false
	}
	payload, next, err := sa.esp.Open(&w.scratch, b, seq)
	switch err {
	case nil:
	case esp.ErrAuth:
		return nil, 0, false, dropAuth, false
	case esp.ErrPad:
		return nil, 0, false, dropPad, false
	default:
		return nil, 0, false, dropShort, false
	}
	sa.mu.Lock()
	newest, err = sa.esp.Accept(seq)
	sa.mu.Unlock()
	if err != nil { // another worker had a copy
		return nil, 0, false, dropReplay, false
	}
	return payload, next, newest, 0, true
}

// authentic reports what the first and the newest packet of an SA say.
func (w *ingress) authentic(sa *inSA, a *underlay.Arrival, newest bool) {
	sa.usage.last.Store(w.at.UnixNano())
	if !sa.used.Load() && sa.used.CompareAndSwap(false, true) {
		w.p.events.add(ipsec.FirstUse{ID: sa.sa.ID})
	}
	if !newest || !a.Encap || !sa.encap || a.Stream != sa.sa.Encap.Stream || a.Remote == sa.from {
		return
	}
	last, t := sa.moved.Load(), w.at.UnixNano()
	if t-last >= int64(moveEvery) && sa.moved.CompareAndSwap(last, t) {
		w.p.events.add(ipsec.PeerMoved{ID: sa.sa.ID, From: a.Remote})
	}
}

// inner returns the IP packet that was protected, once it is known to be one
// that sa may deliver.
func (w *ingress) inner(sa *inSA, tunnel bool, payload []byte, next uint8, a *underlay.Arrival) (b []byte, p packet, why reason, ok bool) {
	switch {
	case !tunnel:
		b = w.rebuild(payload, next, a)
		if a.Encap {
			natChecksum(b, next, sa.sa.Original)
		}
	case next == protoIPv4 && len(payload) > 0 && payload[0]>>4 == 4, next == protoIPv6 && len(payload) > 0 && payload[0]>>4 == 6:
		b = payload
	case next == protoIPv4 || next == protoIPv6:
		return nil, p, dropInner, false
	default:
		return nil, p, dropMode, false
	}
	p, ok = parse(b)
	if !ok {
		return nil, p, dropInner, false
	}
	b = b[:p.len:p.len]
	if why, ok := w.judge(sa, tunnel, &p.key); !ok {
		return nil, p, why, false
	}
	if tunnel && !congestion(b, p.v6, a.TOS) {
		return nil, p, dropECN, false
	}
	return b, p, 0, true
}

// verdict is what judge has found right: a flow of an SA, under one SPD and with
// the addresses that were ours.
type verdict struct {
	sa  *inSA
	spd *snapshot
	own *[]netip.Addr
	key key
}

// judge reports whether sa may deliver packets of k. Most come in trains of one
// flow, and are judged once.
func (w *ingress) judge(sa *inSA, tunnel bool, k *key) (reason, bool) {
	v := &w.good
	s, own := w.p.spd.Load(), w.p.own.Load()
	if v.sa == sa && v.spd == s && v.own == own && v.key == *k {
		return 0, true
	}
	f := k.flow()
	switch {
	case tunnel && (martian(f.Src) || slices.Contains(*own, f.Src)):
		return dropMartian, false
	case !sa.permits(f) || w.trespasses(s, sa, k):
		return dropPolicy, false
	}
	*v = verdict{sa, s, own, *k}
	return 0, true
}

// martian addresses are nobody's source, whatever the selectors say; neither
// are our own that of a packet from outside.
func martian(a netip.Addr) bool {
	return a.IsLoopback() || a.IsMulticast() || a.Is4In6() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// congestion carries a congestion mark of the outer header over to the inner
// one, RFC 6040 section 4.2. It returns false for a packet to be dropped:
// marked outside, while its transport does not understand marks.
func congestion(b []byte, v6 bool, outer uint8) bool {
	const mask, ce = 3, 3
	if outer&mask != ce {
		return true
	}
	switch tos(b, v6) & mask {
	case 0:
		return false
	case ce:
		return true
	}
	if v6 {
		b[1] |= ce << 4
		return true
	}
	old := binary.BigEndian.Uint16(b)
	b[1] |= ce
	adjust(b[10:], old, binary.BigEndian.Uint16(b))
	return true
}

// rebuild puts an IP header in front of what transport mode carried: that of
// the outer packet, as far as it is known. The copy lives until the end of the
// batch.
func (w *ingress) rebuild(payload []byte, next uint8, a *underlay.Arrival) []byte {
	head := ipv4HeaderLen
	if a.Local.Is6() {
		head = ipv6HeaderLen
	}
	n := head + len(payload)
	b := w.copied(n)
	clear(b[:head])
	copy(b[head:], payload)
	src, dst := a.Remote.Addr(), a.Local
	if head == ipv4HeaderLen {
		s, d := src.As4(), dst.As4()
		b[0], b[1] = 0x45, a.TOS
		binary.BigEndian.PutUint16(b[2:], uint16(n))
		b[8], b[9] = hopLimit, next
		copy(b[12:], s[:])
		copy(b[16:], d[:])
		sumIPv4(b, head)
	} else {
		s, d := src.As16(), dst.As16()
		b[0], b[1] = 0x60|a.TOS>>4, a.TOS<<4
		binary.BigEndian.PutUint16(b[4:], uint16(len(payload)))
		b[6], b[7] = next, hopLimit
		copy(b[8:], s[:])
		copy(b[24:], d[:])
	}
	return b
}

// copied returns n octets that are good until the end of the batch.
func (w *ingress) copied(n int) []byte {
	at := len(w.arena)
	if at+n > cap(w.arena) {
		// What the old one holds may still be needed.
		at, w.arena = 0, make([]byte, 0, max(arenaLen, n))
	}
	w.arena = w.arena[:at+n]
	return w.arena[at : at+n : at+n]
}

// makeRoom is called between packets from outside, when nothing but the
// coalescer looks at the arena.
func (w *ingress) makeRoom() {
	if len(w.arena) > arenaLen-arenaFree && w.depth == 0 {
		w.empty()
	}
}

// empty gives the whole arena back.
func (w *ingress) empty() {
	w.coalescer.flush()
	w.arena = w.arena[:0]
}

// clamp lowers the MSS of an arriving SYN to what fits the tunnel back.
func (w *ingress) clamp(b []byte, p packet) {
	if p.l4+tcpHeaderLen > len(b) || b[p.l4+13]&tcpSYN == 0 {
		return
	}
	f := p.key.flow()
	e := w.p.spd.Load().lookup(ipsec.Flow{Src: f.Dst, Dst: f.Src, Proto: f.Proto, SrcPort: f.DstPort, DstPort: f.SrcPort})
	if e == nil {
		return
	}
	if bd := e.out.Load(); bd != nil {
		clampMSS(b, p, bd.room(int(w.d.mtu.Load())))
	}
}
