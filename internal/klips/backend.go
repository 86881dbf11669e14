package klips

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"

	"cygnet/internal/esp"
	"cygnet/internal/ipsec"
)

// record is what the control side knows of an SAID: a reservation, or an SA.
type record struct {
	slot bool // its SPI came from sad.reserve
	out  *outSA
	in   *inSA
}

var _ ipsec.Backend = (*Plane)(nil)

// ReserveSPI implements ipsec.Backend. SPIs of ESP and AH are random, those of
// tun count up, and so do CPIs of IPComp from a random start: there are so few of
// them that a random one might still be in use at a peer.
func (p *Plane) ReserveSPI(_ context.Context, dst netip.Addr, proto ipsec.Proto) (ipsec.SPI, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch proto {
	case ipsec.ESP, ipsec.AH:
		spi, err := p.sad.reserve(p.o.Rand)
		if err != nil {
			return 0, fmt.Errorf("reserve %s SPI for %s: %w", proto, dst, err)
		}
		p.records[ipsec.SAID{Dst: dst, Proto: proto, SPI: spi}] = &record{slot: true}
		return spi, nil
	case ipsec.Tun:
		spi := p.nextTun
		for p.records[ipsec.SAID{Dst: dst, Proto: proto, SPI: spi}] != nil {
			spi++
		}
		p.nextTun = spi + 1
		p.records[ipsec.SAID{Dst: dst, Proto: proto, SPI: spi}] = new(record)
		return spi, nil
	case ipsec.Comp:
		return p.reserveCPI(dst)
	}
	return 0, fmt.Errorf("reserve SPI of %s: %w", proto, ipsec.ErrUnsupported)
}

// reserveCPI picks a CPI between MinAutoSPI and 0xefff; RFC 3173 section 3.3
// leaves 0x100 to 0xefff to negotiation.
func (p *Plane) reserveCPI(dst netip.Addr) (ipsec.SPI, error) {
	const lo, hi = ipsec.MinAutoSPI, 0xf000
	if p.nextCPI == 0 {
		var b [4]byte
		if _, err := io.ReadFull(p.o.Rand, b[:]); err != nil {
			return 0, fmt.Errorf("random CPI: %w", err)
		}
		p.nextCPI = lo + ipsec.SPI(binary.BigEndian.Uint32(b[:])%uint32(hi-lo))
	}
	for range hi - lo {
		id := ipsec.SAID{Dst: dst, Proto: ipsec.Comp, SPI: p.nextCPI}
		if p.nextCPI++; p.nextCPI == hi {
			p.nextCPI = lo
		}
		if p.records[id] == nil {
			p.records[id] = new(record)
			return id.SPI, nil
		}
	}
	return 0, fmt.Errorf("reserve CPI for %s: %w", dst, errFull)
}

// AddSA implements ipsec.Backend.
//
// An SA that is added again with the same keys, to the same destination or, as
// long as the first is there, to another one, goes on with the sequence number
// or replay window it had.
func (p *Plane) AddSA(_ context.Context, sa ipsec.SA) error {
	if sa.ID.SPI < ipsec.MinSPI && !wellKnown(sa) {
		return fmt.Errorf("add SA %s: SPIs below %#x are reserved", sa.ID, uint32(ipsec.MinSPI))
	}
	r, err := p.newRecord(sa)
	if err != nil {
		return fmt.Errorf("add SA: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return fmt.Errorf("add SA %s: %w", sa.ID, errClosed)
	}
	if r.in != nil {
		if err := p.listen(r.in); err != nil {
			return fmt.Errorf("add SA %s: %w", sa.ID, err)
		}
	}
	old := p.records[sa.ID]
	if old == nil {
		old = new(record)
	}
	r.slot = old.slot
	p.records[sa.ID] = r
	switch {
	case r.in != nil:
		r.in.inherit(old.in)
		p.sad.put(r.in, old.in, r.slot)
	case old.in != nil:
		p.sad.remove(old.in, old.slot)
	}
	if r.out != nil {
		r.out.inherit(p.newest[r.out.series()])
		p.newest[r.out.series()] = r.out
	}
	s := p.spd.Load()
	p.resolve(s, s.bySA[sa.ID])
	return nil
}

// wellKnown: peers may take IPComp's number of DEFLATE instead of negotiating
// one, RFC 3173 section 3.3.
func wellKnown(sa ipsec.SA) bool {
	return sa.ID.Proto == ipsec.Comp && sa.ID.SPI == esp.CPIDeflate && sa.Dir == ipsec.Out
}

func (p *Plane) newRecord(sa ipsec.SA) (r *record, err error) {
	r = new(record)
	if sa.Dir == ipsec.In {
		r.in, err = newIn(sa, now())
	} else {
		r.out, err = newOut(sa, p.o.Rand, now())
	}
	return r, err
}

// DeleteSA implements ipsec.Backend.
func (p *Plane) DeleteSA(_ context.Context, id ipsec.SAID) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.records[id]
	if r == nil {
		return fmt.Errorf("delete SA %s: %w", id, ipsec.ErrNotFound)
	}
	delete(p.records, id)
	if r.out != nil && p.newest[r.out.series()] == r.out {
		delete(p.newest, r.out.series())
	}
	if r.in != nil {
		p.sad.remove(r.in, r.slot)
	}
	if r.slot {
		p.sad.release(id.SPI)
	}
	s := p.spd.Load()
	p.resolve(s, s.bySA[id])
	return nil
}

// SetPolicies implements ipsec.Backend.
func (p *Plane) SetPolicies(_ context.Context, want []ipsec.Policy) error {
	held, err := p.replaceSPD(want)
	if err != nil {
		return fmt.Errorf("set policies: %w", err)
	}
	for _, h := range held {
		h.from.reinject(p, h.data)
	}
	return nil
}

func (p *Plane) replaceSPD(want []ipsec.Policy) ([]heldPacket, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errClosed
	}
	s, err := newSnapshot(want, p.spd.Load())
	if err != nil {
		return nil, err
	}
	p.resolve(s, s.entries)
	p.retire(p.spd.Swap(s), s)
	return p.holds.release(s, p.lookup), nil
}

// Usage implements ipsec.Backend.
func (p *Plane) Usage(_ context.Context, id ipsec.SAID) (ipsec.Usage, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.records[id].common()
	if c == nil {
		return ipsec.Usage{}, fmt.Errorf("usage of SA %s: %w", id, ipsec.ErrNotFound)
	}
	return c.usage.read(), nil
}

// common returns what the SA's direction shares; nil for a reservation.
func (r *record) common() *common {
	switch {
	case r == nil:
		return nil
	case r.out != nil:
		return &r.out.common
	case r.in != nil:
		return &r.in.common
	}
	return nil
}
