package oe

import (
	"crypto"
	"fmt"
	"net/netip"

	"cygnet/internal/rawkey"
)

// Gateways asks who may speak for a destination: the initiator's question
// before it sends anything (opportunistic.md 6.2). Each offer has an address to
// contact and a key that the peer must prove.
func Gateways(dest netip.Addr, o Options) *Inquiry {
	dest = dest.Unmap()
	return newInquiry(o, func(e *evaluation) Finding {
		s := search{evaluation: e, owner: dest, home: ReverseName(dest), level: LevelSecure}
		return s.run(s.contact)
	})
}

// search goes through the records at one name and collects offers.
type search struct {
	*evaluation
	owner  netip.Addr // of a reverse name
	home   string     // the name where the records are
	level  Level      // of what is found, if the answer is Secure
	offers []Offer
	none   result // why there is no offer, as far as known
}

// run has each record examined. With what is found, or the weightiest cause of
// finding nothing, it makes the finding.
func (s *search) run(examine func(Record, result)) Finding {
	types := s.i.opts.gatewayTypes()
	found := s.records(s.home, types)
	if !found.usable() {
		return Finding{Cause: found.cause, Why: found.why}
	}
	for _, rec := range found.recs {
		examine(rec, found)
	}
	if len(s.offers) > 0 {
		return Finding{Offers: s.offers}
	}
	return Finding{Cause: s.none.cause, Why: s.none.why}
}

// fail notes why a record leads nowhere.
func (s *search) fail(cause Cause, format string, args ...any) {
	why := fmt.Sprintf(format, args...)
	s.ignore("%s", why)
	s.none = worse(s.none, result{cause: cause, why: why})
}

// contact is the initiator's examination: where is that gateway, may it be
// contacted, and what is its key?
func (s *search) contact(rec Record, from result) {
	addr, ok := s.locate(rec)
	if !ok {
		return
	}
	if why := unfit(addr, s.owner, s.i.opts.Own); why != "" {
		s.fail(CauseUnusableKey, "%s: gateway %s %s", s.home, addr, why)
		return
	}
	// What nobody validated may not send us to somebody else (6.2).
	if from.weak && addr != s.owner {
		s.fail(CauseInsecure, "%s: the answer is not protected by DNSSEC and names another gateway, %s", s.home, addr)
		return
	}
	level := s.level
	if from.weak {
		level = LevelWeak
	}
	s.offer(Offer{Addr: addr, Name: rec.Gateway.Name, Precedence: rec.Precedence, Key: rec.Key, Type: rec.Type, Level: level})
}

// locate finds the address of the gateway.
func (s *search) locate(rec Record) (netip.Addr, bool) {
	switch g := rec.Gateway; {
	case g.Self():
		return s.owner, true
	case g.Addr.IsValid():
		return g.Addr.Unmap(), true
	case rec.Type == TypeTXT:
		// 7.3: such a record confirms a gateway, it cannot find one.
		s.fail(CauseUnusableKey, "%s: gateway @%s of a TXT: the gateway's address is not specified", s.home, g.Name)
		return netip.Addr{}, false
	}
	addrs := s.addresses(rec.Gateway.Name)
	if len(addrs) == 0 {
		return netip.Addr{}, false
	}
	return addrs[0], true
}

// addresses looks a gateway's name up, in the family of the owner. Only a
// Secure answer counts.
func (s *search) addresses(name string) []netip.Addr {
	q := Query{name, TypeA}
	if s.owner.Is6() {
		q.Type = TypeAAAA
	}
	a, known := s.ask(q)
	if !known {
		s.pending = true
		return nil
	}
	s.uses(a)
	if r, failed := judge(q, a, false); failed {
		s.fail(r.cause, "address of the gateway: %s", r.why)
		return nil
	}
	var out []netip.Addr
	for _, raw := range a.Raw {
		if addr, ok := netip.AddrFromSlice(raw); ok && addr.BitLen() == s.owner.BitLen() {
			out = append(out, addr)
		}
	}
	if len(out) == 0 {
		s.fail(CauseMalformed, "%s: no address in the answer", q)
	}
	return out
}

// offer takes an offer. Without a key it is completed by those that the
// gateway's own name has: the second lookup of a keyless record.
func (s *search) offer(o Offer) {
	if o.Key != nil {
		s.offers = append(s.offers, o)
		return
	}
	for _, k := range s.ownKeys(o) {
		o.Key = k
		s.offers = append(s.offers, o)
	}
}

// ownKeys are the keys that a gateway has at its own name: its forward name if
// the record used that, else the reverse name of its address.
func (s *search) ownKeys(o Offer) []crypto.PublicKey {
	home := Name(o.Name)
	if o.Name == "" {
		home = ReverseName(o.Addr)
	}
	types := s.i.opts.keyTypes()
	if home == s.home { // a keyless record that points at itself leads nowhere else
		types = nil
		if s.i.opts.KEY {
			types = []uint16{TypeKEY}
		}
	}
	found := s.records(home, types)
	var keys []crypto.PublicKey
	for _, rec := range found.recs {
		if rec.Key != nil && (found.weak == (o.Level == LevelWeak)) && speaksForItself(rec.Gateway, o) {
			keys = append(keys, rec.Key)
		}
	}
	if len(keys) == 0 && !s.pending {
		s.fail(max(found.cause, CauseUnusableKey), "%s: no key of gateway %s at its own name", home, o.title())
	}
	return keys
}

// title is how messages call the gateway.
func (o Offer) title() string {
	if o.Name != "" {
		return o.Name
	}
	return o.Addr.String()
}

// speaksForItself reports whether a record at a gateway's own name is about
// that gateway.
func speaksForItself(g Gateway, o Offer) bool {
	switch {
	case g.Self():
		return true
	case g.Addr.IsValid():
		return g.Addr.Unmap() == o.Addr
	}
	return sameName(g.Name, o.Name)
}

// unfit says why an address is no gateway to contact for a destination; empty
// if it is (opportunistic.md 6.2, end).
func unfit(gw, dest netip.Addr, own []netip.Addr) string {
	switch {
	case gw.BitLen() != dest.BitLen():
		return "is of another family than its client"
	case gw.IsUnspecified() || gw.Is4() && gw.As4()[0] == 0:
		return "is no address"
	case gw.IsLoopback():
		return "is a loopback address"
	case gw.IsMulticast():
		return "is a multicast address"
	case gw.Is4() && gw.As4()[0] >= 240:
		return "is a broadcast or reserved address"
	case gw.IsLinkLocalUnicast():
		return "is a link-local address"
	}
	for _, a := range own {
		if a.Unmap() == gw {
			return "is this machine itself"
		}
	}
	return ""
}

// equalKeys reports whether two keys are the same; no key equals nothing.
func equalKeys(a, b crypto.PublicKey) bool { return a != nil && b != nil && rawkey.Equal(a, b) }
