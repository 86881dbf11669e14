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
		r.describe(&st, device)
		out = append(out, st)
	}
	slices.SortFunc(out, func(a, b ipsec.SAStatus) int {
		return cmp.Or(a.ID.Dst.Compare(b.ID.Dst), cmp.Compare(a.ID.Proto, b.ID.Proto), cmp.Compare(a.ID.SPI, b.ID.SPI))
	})
	return out
}

func (r *record) describe(st *ipsec.SAStatus, device int) {
	if o := r.out; o != nil {
		st.Seq = o.esp.Last()
		if device > 0 {
			st.PathMTU, st.EffectiveMTU = o.pathMTU(device), o.room(device)
		}
	}
	if i := r.in; i != nil {
		i.mu.Lock()
		st.Seq, st.Window = i.esp.Top(), []uint64{i.esp.Bits()}
		i.mu.Unlock()
		s := i.esp.Stats()
		st.ReplayErrs, st.AuthErrs, st.PadErrs = s.Replay+s.Late, s.Auth, s.Pad
		st.MaxSeqDiff, st.PolicyErrs = s.MaxGap, i.policyErrs.Load()
	}
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
