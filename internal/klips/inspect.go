package klips

import (
	"cmp"
	"slices"

	"cygnet/internal/ipsec"
)

var _ ipsec.Inspector = (*Plane)(nil)

// Policies implements ipsec.Inspector. The flows that traps hold are listed as
// the %hold eroutes they amount to.
func (p *Plane) Policies() []ipsec.PolicyStatus {
	out := p.holds.list()
	for _, e := range p.spd.Load().entries {
		out = append(out, ipsec.PolicyStatus{Policy: e.policy, Packets: e.packets.Load()})
	}
	slices.SortStableFunc(out, func(a, b ipsec.PolicyStatus) int { return order(a.Selector, b.Selector) })
	return out
}

// SAs implements ipsec.Inspector. Reservations are not listed.
func (p *Plane) SAs() []ipsec.SAStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	device := 0
	for _, d := range p.devices {
		if m := int(d.mtu.Load()); device == 0 || m < device {
			device = m
		}
	}
	out := make([]ipsec.SAStatus, 0, len(p.records))
	for _, r := range p.records {
		c := r.common()
		if c == nil {
			continue
		}
		st := ipsec.SAStatus{SA: c.sa, Usage: c.usage.read(), Age: int64(now().Sub(c.born).Seconds())}
		if r.out != nil {
			r.out.describe(&st, p.spd.Load(), device)
		} else {
			r.in.describe(&st)
		}
		out = append(out, st)
	}
	slices.SortFunc(out, func(a, b ipsec.SAStatus) int {
		return cmp.Or(a.ID.Dst.Compare(b.ID.Dst), cmp.Compare(a.ID.Proto, b.ID.Proto), cmp.Compare(a.ID.SPI, b.ID.SPI))
	})
	return out
}

func (o *outSA) describe(st *ipsec.SAStatus, s *snapshot, device int) {
	if o.numbers != nil {
		st.Seq = o.numbers.Last()
	}
	st.CompressedFrom, st.CompressedTo = o.before.Load(), o.after.Load()
	if device > 0 {
		st.PathMTU, st.EffectiveMTU = o.pathMTU(device), o.room(s, device)
	}
}

// room is the largest inner packet that fits the bundles that sa is part of,
// or, before it is part of one, what it would be with sa alone.
func (o *outSA) room(s *snapshot, device int) int {
	for _, e := range s.bySA[o.sa.ID] {
		if bd := e.out.Load(); bd != nil {
			return bd.room(device)
		}
	}
	bd, _ := newBundle(recipe{sas: [ipsec.MaxBundle]*outSA{o}})
	return bd.room(device)
}

func (i *inSA) describe(st *ipsec.SAStatus) {
	st.PolicyErrs = i.policyErrs.Load()
	st.CompressedFrom, st.CompressedTo = i.before.Load(), i.after.Load()
	if i.window == nil {
		return
	}
	i.mu.Lock()
	st.Seq, st.Window = i.window.Top(), []uint64{i.window.Bits()}
	i.mu.Unlock()
	s := i.window.Stats()
	st.ReplayErrs, st.AuthErrs, st.PadErrs, st.MaxSeqDiff = s.Replay+s.Late, s.Auth, s.Pad, s.MaxGap
}

// Drops implements ipsec.Inspector: the plane's own reasons, then those of the
// attached devices' sockets.
func (p *Plane) Drops() []ipsec.Counter {
	p.mu.Lock()
	devices := p.devices
	p.mu.Unlock()
	out := p.drops.list()
	own := len(out)
	for _, d := range devices {
		for i, c := range d.Underlay.Drops() {
			if own+i == len(out) {
				out = append(out, c)
			} else {
				out[own+i].Count += c.Count
			}
		}
	}
	return out
}
