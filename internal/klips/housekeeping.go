package klips

import (
	"time"

	"cygnet/internal/ipsec"
	"cygnet/internal/underlay"
)

// housekeeping does once a second what depends on time and not on packets.
func (p *Plane) housekeeping() {
	defer p.ended.Done()
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case at := <-t.C:
			p.tick(at)
		case <-p.stop:
			return
		}
	}
}

func (p *Plane) tick(at time.Time) {
	p.holds.expire(at)
	if s, any := p.strays.take(); any {
		p.events.add(s)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bury()
	for _, d := range p.devices {
		d.mtu.Store(int64(d.Underlay.MTU()))
	}
	for _, r := range p.records {
		if c := r.common(); c != nil && c.sa.Life.HardTime > 0 && at.Sub(c.born) >= c.sa.Life.HardTime {
			c.expire(p)
		}
		if r.out != nil && r.out.path.Load() != 0 && at.UnixNano() >= r.out.pathEnd.Load() {
			r.out.path.Store(0)
		}
	}
}

// tooBig takes an ICMP report about an outer packet. It is believed only when
// it quotes the SPI of an SA of ours, lowers the MTU and stays above the
// floor; anybody on the path could still forge it, so it ends by itself, and
// changes nothing more than once in pathMTUEvery.
func (p *Plane) tooBig(t underlay.TooBig) { p.tooBigAt(t, now()) }

func (p *Plane) tooBigAt(t underlay.TooBig, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.records[ipsec.SAID{Dst: t.Remote, Proto: t.Proto, SPI: t.SPI}]
	if r == nil || r.out == nil || at.Sub(r.out.pathSet) < pathMTUEvery {
		return
	}
	floor := minPathMTU4
	if t.Remote.Is6() {
		floor = minPathMTU6
	}
	mtu := int64(max(t.MTU, floor))
	if was := r.out.path.Load(); was != 0 && was <= mtu {
		return
	}
	r.out.pathSet = at
	r.out.pathEnd.Store(at.Add(pathMTUAge).UnixNano())
	r.out.path.Store(mtu)
}
