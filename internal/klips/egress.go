package klips

import (
	"errors"
	"time"

	"cygnet/internal/esp"
	"cygnet/internal/ipsec"
	"cygnet/internal/tun"
	"cygnet/internal/underlay"
)

// egress carries packets of one TUN queue out. It belongs to one goroutine.
type egress struct {
	p   *Plane
	d   *device
	q   tun.Queue
	out underlay.Sender

	buf     []byte // slack, tun.Header, packet, slack
	batch   *batch
	flows   flowCache
	scratch esp.Scratch
	seg     segmenter
	covered []byte // of cover
	errs    icmpSender
	levels  [maxNest + 1]*level
	depth   int       // of tunnels in tunnels, for the packet at hand
	at      time.Time // of this batch
}

func newEgress(p *Plane, d *device, q tun.Queue, n int) *egress {
	w := &egress{p: p, d: d, q: q, out: d.Underlay.NewSender(n), batch: newBatch()}
	w.buf = make([]byte, slack+tun.MaxRead+slack)
	w.scratch.Borrow = true // what lies behind a packet in buf is ours
	return w
}

// run drains the queue until it is empty, sends what came of it, and only
// then sleeps: a batch grows by load, never by waiting.
func (w *egress) run() {
	reads, octets := 0, 0
	for {
		n, err := w.q.Read(w.buf[slack:slack+tun.MaxRead], reads == 0)
		switch {
		case errors.Is(err, tun.ErrAgain):
			w.flush()
			reads, octets = 0, 0
			continue
		case err != nil:
			w.flush()
			return // closed, or the device is gone
		}
		if reads == 0 {
			w.at = now()
		}
		w.read(n)
		reads++
		if octets += n; reads >= maxReads || octets >= maxDrained {
			w.flush()
			reads, octets = 0, 0
		}
	}
}

// read handles what Read has put into buf: a header and a packet.
func (w *egress) read(n int) {
	h := tun.ParseHeader(w.buf[slack:])
	b := w.buf[slack+tun.HeaderLen : slack+n] // with capacity to the end of buf
	p, ok := parse(b)
	if !ok {
		w.p.drops.add(dropInner, 1)
		return
	}
	b = b[:p.len]
	if h.GSO == tun.GSONone {
		if ok = finishChecksum(b, h); ok {
			w.packet(b, p)
		}
	} else if ok = w.seg.begin(b, p, h); ok {
		w.superpacket(b, p)
	}
	if !ok {
		w.p.drops.add(dropInner, 1)
	}
}

// superpacket finds one policy for all segments.
func (w *egress) superpacket(b []byte, p packet) {
	s := w.p.spd.Load()
	e := w.flows.find(w.p, s, &p.key)
	if e != nil && e.policy.Action == ipsec.Protect {
		e.packets.Add(uint64(w.seg.count()))
		w.protectTrain(e, b, p)
		return
	}
	for seg := w.seg.next(); seg != nil; seg = w.seg.next() {
		q := p
		q.len = len(seg)
		w.packet(seg, q)
	}
}

// packet does with one packet what policy says.
func (w *egress) packet(b []byte, p packet) {
	for {
		s := w.p.spd.Load()
		e := w.flows.find(w.p, s, &p.key)
		if e == nil {
			w.p.drops.add(dropNoEroute, 1)
			return
		}
		if a := e.policy.Action; a == ipsec.Hold || a == ipsec.Trap {
			if !w.hold(s, e, b, p) {
				continue // the policy changed meanwhile
			}
			return
		}
		e.packets.Add(1)
		w.act(e, b, p)
		return
	}
}

func (w *egress) act(e *entry, b []byte, p packet) {
	switch e.policy.Action {
	case ipsec.Protect:
		w.protect(e, b, p)
	case ipsec.Pass:
		w.pass(b, p)
	case ipsec.Reject:
		w.p.drops.add(dropReject, 1)
		w.errs.prohibited(w, b, p)
	default:
		w.p.drops.add(dropDrop, 1)
	}
}

// hold stores the packet, and reports a flow that met a trap. It returns false
// when s is no longer the SPD, so that no packet is held by a policy that is
// gone and would never release it.
func (w *egress) hold(s *snapshot, e *entry, b []byte, p packet) bool {
	acquire, ok, stale := w.p.hold(s, e, b, p, w)
	if stale {
		return false
	}
	e.packets.Add(1)
	if !ok {
		w.p.drops.add(dropHoldFull, 1)
		return true
	}
	w.p.drops.add(dropHold, 1)
	if acquire && !w.p.events.add(ipsec.Acquire{Owner: e.policy.Owner, Flow: p.key.flow()}) {
		w.p.holds.unreported(e, &p.key)
	}
	return true
}

// flush sends the batch.
func (w *egress) flush() {
	if w.batch.empty() {
		return
	}
	res := w.out.Send(w.batch.msgs)
	w.count(res)
	if len(w.batch.clear) > 0 {
		w.count(w.out.SendClear(w.batch.clear))
	}
	w.batch.reset()
}

func (w *egress) count(res underlay.Result) {
	if res.TooBig > 0 {
		w.p.drops.add(dropTooBig, res.TooBig)
		w.d.mtu.Store(int64(w.d.Underlay.MTU())) // it must have shrunk
	}
	if res.Failed > 0 {
		w.p.drops.add(dropSend, res.Failed)
	}
}

// reinject sends a packet that was held, under the policy of now.
func (d *device) reinject(p *Plane, b []byte) {
	d.injectMu.Lock()
	defer d.injectMu.Unlock()
	if d.inject == nil {
		d.inject = newEgress(p, d, d.TUN.Queues()[0], 0)
	}
	w := d.inject
	w.at = now()
	k, ok := parse(b)
	if !ok {
		return // it was parsed before it was held
	}
	n := copy(w.buf[slack+tun.HeaderLen:], b)
	w.packet(w.buf[slack+tun.HeaderLen:slack+tun.HeaderLen+n], k)
	w.flush()
}
