package klips

import (
	"net/netip"
	"sync/atomic"

	"cygnet/internal/ipsec"
)

// recipe is what decides how an entry protects. Two bundles of one recipe are
// the same.
type recipe struct {
	sas  [ipsec.MaxBundle]*outSA // innermost first, then nil
	nest *entry                  // protects the result once more
}

// bundle is what a Protect entry does to its packets. It never changes.
type bundle struct {
	recipe
	n      int    // of sas
	outer  *outSA // the last of sas: it says where packets go
	tunnel bool   // a new IP header comes around the packet

	// plain says that all there is to do is outer, an ESP SA. This is the fast
	// path.
	plain bool
	// whole says that the outer IP header is ours and not the socket's: AH
	// covers it, or it is needed to go on.
	whole bool

	fits atomic.Uint64 // cache of room: outer MTU << 32 | octets
}

// newBundle completes a recipe. ok is false for what cannot be done: then
// nothing is sent at all, for never must a packet leave protected in part
// (freeswan.md 5.6, step 4).
func newBundle(r recipe) (bd *bundle, ok bool) {
	bd = &bundle{recipe: r}
	ah := false
	for i, sa := range r.sas {
		if sa == nil {
			break
		}
		if i > 0 && (sa.tun() || bd.outer.encap || sa.sa.Src != bd.outer.sa.Src) {
			return nil, false
		}
		bd.n, bd.outer = i+1, sa
		ah = ah || sa.ah != nil
	}
	if ah && bd.outer.encap {
		return nil, false // who receives from UDP does not see what AH covers
	}
	bd.tunnel = r.sas[0].tunnel
	bd.whole = ah || bd.outer.esp == nil || r.nest != nil
	bd.plain = !bd.whole && bd.n == 1
	return bd, true
}

// resolve makes the bundles of entries of s anew; p.mu is held.
func (p *Plane) resolve(s *snapshot, list []*entry) {
	for _, e := range list {
		r, ok := p.recipe(s, e)
		old := e.out.Load()
		if ok && old != nil && old.recipe == r {
			continue
		}
		var bd *bundle
		if ok {
			bd, ok = newBundle(r)
		}
		if !ok {
			bd = nil
		}
		e.out.Store(bd)
	}
}

// recipe collects the SAs of an entry. ok is false while one is missing, and
// for an entry that does not protect.
func (p *Plane) recipe(s *snapshot, e *entry) (r recipe, ok bool) {
	n := len(e.policy.Bundle)
	if n == 0 {
		return r, false
	}
	for i, id := range e.policy.Bundle {
		rec := p.records[id]
		if rec == nil || rec.out == nil {
			return r, false
		}
		r.sas[i] = rec.out
	}
	if r.sas[0].tunnel {
		r.nest = s.nest(r.sas[n-1])
	}
	return r, true
}

// nest finds the entry that protects what sa sends once more: a tunnel inside
// a tunnel (freeswan.md 5.6, step 6; R20.5). Shunts do not count, and neither
// does an entry that leads to the same place, or there were no end to it.
func (s *snapshot) nest(sa *outSA) *entry {
	f := ipsec.Flow{Src: sa.sa.Src, Dst: sa.sa.ID.Dst, Proto: uint8(sa.sa.ID.Proto)}
	if sa.encap {
		f.Proto, f.SrcPort, f.DstPort = protoUDP, sa.sa.Encap.LocalPort, sa.sa.Encap.RemotePort
	}
	e := s.lookup(f)
	if e == nil || e.policy.Action != ipsec.Protect || e.destination() == sa.sa.ID.Dst {
		return nil
	}
	return e
}

// destination is where the packets of a Protect entry go.
func (e *entry) destination() netip.Addr { return e.policy.Bundle[len(e.policy.Bundle)-1].Dst }

// expired reports whether the hard limit of one of the SAs is reached.
func (bd *bundle) expired() bool {
	for _, sa := range bd.sas[:bd.n] {
		if sa.hard.Load() {
			return true
		}
	}
	return false
}

// room is the largest inner packet that fits an outer packet, given the MTU of
// the device and what is known of the path.
func (bd *bundle) room(device int) int { return bd.roomAt(device, 0) }

func (bd *bundle) roomAt(device, depth int) int {
	mtu := bd.outer.pathMTU(device)
	if bd.nest != nil && depth < maxNest {
		if next := bd.nest.out.Load(); next != nil {
			mtu = min(mtu, next.roomAt(device, depth+1))
		}
	}
	c := bd.fits.Load()
	if int(c>>32) == mtu {
		return int(uint32(c))
	}
	n := bd.within(mtu)
	bd.fits.Store(uint64(mtu)<<32 | uint64(n))
	return n
}

// within is the largest inner packet whose outer form has at most mtu octets.
// IPComp does not count: not every packet shrinks.
func (bd *bundle) within(mtu int) int {
	n := mtu - bd.outer.outer
	for i := bd.n - 1; i >= 0; i-- {
		n = bd.sas[i].maxPayload(n)
	}
	if !bd.tunnel {
		// In transport mode the inner IP header becomes the outer one.
		n += ipv4HeaderLen
		if bd.outer.remote.Addr().Is6() {
			n += ipv6HeaderLen - ipv4HeaderLen
		}
	}
	return max(n, 0)
}
