package oe

import (
	"crypto"
	"net/netip"
)

// Speaker is a peer as IKE has proven it: by the address it spoke from, by the
// name of its identity, or both.
type Speaker struct {
	Addr netip.Addr
	Name string
}

// is reports whether a record's gateway is the speaker. Owner is the address at
// whose reverse name the record stands.
func (p Speaker) is(g Gateway, owner netip.Addr) bool {
	switch {
	case g.Self():
		return owner.IsValid() && owner == p.Addr
	case g.Addr.IsValid():
		return g.Addr.Unmap() == p.Addr
	}
	return p.Name != "" && sameName(g.Name, p.Name)
}

func (p Speaker) String() string {
	if p.Name != "" {
		return "@" + p.Name
	}
	return p.Addr.String()
}

// MaySpeak asks whether a peer that proved key may speak for client: the
// responder's question at AUTH, and that of the self-check with ourselves as
// the peer (opportunistic.md 6.2). The record of the client must name both the
// peer and the key; a record without a key needs the peer's own record with it.
func MaySpeak(client netip.Addr, peer Speaker, key crypto.PublicKey, o Options) *Inquiry {
	client, peer.Addr = client.Unmap(), peer.Addr.Unmap()
	return newInquiry(o, func(e *evaluation) Finding {
		s := search{evaluation: e, owner: client, home: ReverseName(client), level: LevelSecure}
		return s.run(func(rec Record, from result) { s.confirm(rec, from, peer, key) })
	})
}

// confirm is the responder's examination: does this record name the peer, and
// the key that it proved?
func (s *search) confirm(rec Record, from result, peer Speaker, key crypto.PublicKey) {
	g := rec.Gateway
	if !peer.is(g, s.owner) && !s.nameIs(rec, peer) {
		s.fail(CauseUnlisted, "%s: names gateway %s, not %s", s.home, s.show(g), peer)
		return
	}
	if from.weak && peer.Addr != s.owner {
		s.fail(CauseInsecure, "%s: the answer is not protected by DNSSEC and names another gateway, %s", s.home, peer)
		return
	}
	offer := Offer{Addr: peer.Addr, Name: g.Name, Precedence: rec.Precedence, Key: rec.Key, Type: rec.Type, Level: s.level}
	if from.weak {
		offer.Level = LevelWeak
	}
	before := len(s.offers)
	s.offer(offer)
	kept := s.offers[:before]
	for _, have := range s.offers[before:] {
		if equalKeys(have.Key, key) {
			kept = append(kept, have)
		} else {
			s.fail(CauseUnlisted, "%s: names gateway %s with another key", s.home, peer)
		}
	}
	s.offers = kept
}

// nameIs reports whether an IPSECKEY names its gateway by a name that has the
// peer's address.
func (s *search) nameIs(rec Record, peer Speaker) bool {
	if rec.Gateway.Name == "" || rec.Type != TypeIPSECKEY || !peer.Addr.IsValid() {
		return false
	}
	for _, a := range s.addresses(rec.Gateway.Name) {
		if a == peer.Addr {
			return true
		}
	}
	return false
}

func (s *search) show(g Gateway) string {
	if g.Self() {
		return s.owner.String()
	}
	return g.String()
}

// KeysOfAddr asks for the keys with which an address speaks for itself: the
// responder's question when the peer's identity is an address.
func KeysOfAddr(addr netip.Addr, o Options) *Inquiry {
	addr = addr.Unmap()
	self := Speaker{Addr: addr}
	return newInquiry(o, func(e *evaluation) Finding {
		s := search{evaluation: e, owner: addr, home: ReverseName(addr), level: LevelSecure}
		return s.keys(func(rec Record) bool {
			return rec.Type == TypeKEY || self.is(rec.Gateway, addr) || s.nameIs(rec, self)
		})
	})
}

// KeysOfName asks for the keys of a host name: the question when the peer's
// identity is a name. An IPSECKEY there may name any gateway, for its owner
// wrote the key; a TXT has to name the owner (opportunistic.md 6.2).
func KeysOfName(name string, o Options) *Inquiry {
	home := Name(name)
	return newInquiry(o, func(e *evaluation) Finding {
		s := search{evaluation: e, home: home, level: LevelNamed}
		return s.keys(func(rec Record) bool {
			return rec.Type != TypeTXT || sameName(rec.Gateway.Name, home)
		})
	})
}

// keys collects the keys of the records that mine accepts, 8 at most.
func (s *search) keys(mine func(Record) bool) Finding {
	found := s.records(s.home, s.i.opts.keyTypes())
	if !found.usable() {
		return Finding{Cause: found.cause, Why: found.why}
	}
	level := s.level
	if found.weak {
		level = LevelWeak
	}
	for _, rec := range found.recs {
		switch {
		case !mine(rec):
			s.fail(CauseUnlisted, "%s: names another gateway, %s", s.home, s.show(rec.Gateway))
		case rec.Key == nil:
			s.fail(CauseUnusableKey, "%s: a record without a key", s.home)
		case len(s.offers) == maxKeys:
			s.ignore("%s: a key beyond the first %d", s.home, maxKeys)
		default:
			s.offers = append(s.offers, Offer{Addr: s.owner, Name: s.nameOf(), Precedence: rec.Precedence, Key: rec.Key, Type: rec.Type, Level: level})
		}
	}
	if len(s.offers) > 0 {
		return Finding{Offers: s.offers}
	}
	return Finding{Cause: s.none.cause, Why: s.none.why}
}

func (s *search) nameOf() string {
	if s.owner.IsValid() {
		return ""
	}
	return s.home
}
