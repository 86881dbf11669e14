package klips

import (
	"net/netip"

	"cygnet/internal/ipsec"
)

// A peer whose SA is wide, such as one that is our way to the Internet, could
// send packets that claim to come from the net behind another peer. The policy
// for what goes to that net says whose it is (RFC 4301 section 5.2: SPD entries
// and SAs match for one packet, or it is dropped).

// trespasses reports whether a packet k that sa permits is for a tunnel to
// somebody else, as the policy of s for the way back says. Nearly all SAs surround no
// other tunnel, and cost a comparison.
func (w *ingress) trespasses(s *snapshot, sa *inSA, k *key) bool {
	if !sa.surrounds(s) {
		return false
	}
	r := k.reverse()
	e := w.back.find(w.p, s, &r)
	if e == nil || !e.foreign(sa) {
		return false
	}
	f := k.flow()
	for _, sel := range sa.sa.Selectors {
		if sel.Contains(f) && narrower(e.policy.Selector, sel) {
			sa.policyErrs.Add(1)
			return true
		}
	}
	return false
}

// reverse is the key of the answer.
func (k *key) reverse() key {
	r := key{rest: k.rest&(1<<32-1) | k.rest>>48<<32 | k.rest>>32<<48}
	if k.rest>>16&keyIPv6 == 0 {
		r.addr[0] = k.addr[0] // addresses of IPv4 share a word
		r.addr[0] = r.addr[0]<<32 | r.addr[0]>>32
	} else {
		r.addr = [4]uint64{k.addr[2], k.addr[3], k.addr[0], k.addr[1]}
	}
	return r
}

// narrower reports whether policy p is for a smaller net of the peer's side
// than inbound selector s.
func narrower(p, s ipsec.Selector) bool { return p.Dst.Bits() > s.Src.Bits() }

// foreign reports whether e protects for somebody who is not the peer of sa.
// Behind one address there may be several, each with a port of its own.
func (e *entry) foreign(sa *inSA) bool {
	if e.policy.Action != ipsec.Protect {
		return false
	}
	if e.destination() != sa.from.Addr() {
		return true
	}
	bd := e.out.Load()
	return sa.encap && bd != nil && bd.outer.encap && bd.outer.remote.Port() != sa.from.Port()
}

// surrounds reports whether snapshot s has policies for nets inside those of
// sa's peer that may be somebody else's. It is found out once for each version
// of the SPD; sa.others keeps version and answer.
func (i *inSA) surrounds(s *snapshot) bool {
	known := i.others.Load()
	if known>>1 != s.version {
		known = s.version << 1
		if s.inside(i) {
			known |= 1
		}
		i.others.Store(known)
	}
	return known&1 != 0
}

// inside looks for one entry that trespasses could find.
func (s *snapshot) inside(sa *inSA) bool {
	for _, sel := range sa.sa.Selectors {
		for _, src := range s.sources.Supernets(sel.Dst) {
			if src.inside(sa, sel.Src) {
				return true
			}
		}
		for _, src := range s.sources.Subnets(sel.Dst) {
			if src.inside(sa, sel.Src) {
				return true
			}
		}
	}
	return false
}

func (s *source) inside(sa *inSA, net netip.Prefix) bool {
	for p, dst := range s.destinations.Subnets(net) {
		if p.Bits() == net.Bits() {
			continue
		}
		for _, e := range dst.rules {
			if e.policy.Action == ipsec.Protect && (sa.encap || e.destination() != sa.from.Addr()) {
				return true
			}
		}
	}
	return false
}
