package dns

import (
	"slices"
	"time"

	"cygnet/internal/octet"
)

// Denial is what a negative answer proves.
type Denial uint8

// The kinds.
const (
	NoData   Denial = iota // the name exists, the type does not
	NoName                 // the name does not exist
	Unsigned               // an unsigned delegation, or a proof that counts for nothing (RFC 9276)
)

// Zone is who must have signed: a zone with its verified keys.
type Zone struct {
	Name string
	Keys []Key
}

// maxProofs is how many NSEC or NSEC3 sets of one answer are looked at; a
// proof needs at most three.
const maxProofs = 8

// proofs are the verified NSEC and NSEC3 records of a section.
type proofs struct {
	nsec  []nsec
	nsec3 hashed
	end   time.Time // of the first signature
	ttl   uint32
}

// bitmap is the type bit maps field, RFC 4034, section 4.1.2.
type bitmap []byte

func (b bitmap) has(rrtype uint16) bool {
	r := octet.NewReader(b)
	for r.Len() > 0 {
		window, bits := r.Uint8(), r.Bytes(int(r.Uint8()))
		if i := int(rrtype & 255 >> 3); r.Err() == nil && window == byte(rrtype>>8) && i < len(bits) {
			return bits[i]&(0x80>>(rrtype&7)) != 0
		}
	}
	return false
}

// cut reports whether the name is a delegation seen from its parent: what is
// below is not this zone's to deny (RFC 6840, section 4.1).
func (b bitmap) cut() bool { return b.has(TypeNS) && !b.has(TypeSOA) }

// denies judges the record at the very name: does it say that the type is not
// there, and may it say so?
func (b bitmap) denies(name string, rrtype uint16) (Denial, error) {
	switch {
	case b.has(rrtype) || b.has(TypeCNAME):
		return 0, bogus("the proof at %s says that the type exists", name)
	case rrtype == TypeDS && b.has(TypeSOA):
		return 0, bogus("%s denies its own DS", name)
	case rrtype == TypeDS && b.has(TypeNS):
		return Unsigned, nil
	case rrtype != TypeDS && b.cut():
		return 0, bogus("the parent of %s denies what is not its own", name)
	}
	return NoData, nil
}

// collect verifies the proofs in an authority section.
func (z Zone) collect(authority []Set, now time.Time) (*proofs, error) {
	p := &proofs{ttl: 1<<32 - 1}
	looked := 0
	for _, set := range authority {
		if set.Type != TypeNSEC && set.Type != TypeNSEC3 || !Within(z.Name, set.Name) {
			continue
		}
		if looked++; looked > maxProofs {
			break
		}
		v, err := set.Verify(z.Name, z.Keys, now)
		if err != nil {
			return nil, err
		}
		if v.FromWildcard(set.Name) {
			return nil, bogus("a proof at %s that was made from a wildcard", set.Name)
		}
		if p.end.IsZero() || v.End.Before(p.end) {
			p.end = v.End
		}
		p.ttl = min(p.ttl, v.TTL)
		for _, data := range set.Data {
			p.add(set, data)
		}
	}
	return p, nil
}

func (p *proofs) add(set Set, data []byte) {
	if set.Type == TypeNSEC3 {
		p.nsec3.add(set.Name, data)
		return
	}
	if next, types, err := cutName(data); err == nil {
		p.nsec = append(p.nsec, nsec{set.Name, next, types})
	}
}

// Deny checks that the authority section of a negative answer proves that
// there is no such type at name. The Verified holds the proof's life.
func (z Zone) Deny(authority []Set, name string, rrtype uint16, now time.Time) (Denial, Verified, error) {
	p, err := z.collect(authority, now)
	if err != nil {
		return 0, Verified{}, err
	}
	life := Verified{TTL: p.ttl, End: p.end}
	if len(p.nsec) > 0 {
		kind, err := p.denyNSEC(z.Name, name, rrtype)
		return kind, life, err
	}
	if len(p.nsec3.recs) > 0 || p.nsec3.tooMuch {
		kind, err := p.nsec3.deny(z.Name, name, rrtype)
		return kind, life, err
	}
	return 0, Verified{}, bogus("no proof that %s type %d does not exist", name, rrtype)
}

// Expanded checks what an answer made from a wildcard needs: that no closer
// name exists (RFC 4035, section 5.3.4). Labels are those of the wildcard. The
// Denial is NoName, or Unsigned where an unsigned delegation may be closer (RFC
// 5155, section 9.2), or where the proof counts for nothing: the answer is
// insecure then.
func (z Zone) Expanded(authority []Set, name string, labels int, now time.Time) (Denial, Verified, error) {
	p, err := z.collect(authority, now)
	if err != nil {
		return 0, Verified{}, err
	}
	next, life := Ancestor(name, labels+1), Verified{TTL: p.ttl, End: p.end}
	gap := p.nsec3.cover(next)
	switch {
	case slices.ContainsFunc(p.nsec, func(n nsec) bool { return n.covers(z.Name, next) && !n.excused(next) && !Within(next, n.next) }):
		return NoName, life, nil
	case p.nsec3.tooMuch, gap != nil && gap.optOut:
		return Unsigned, life, nil
	case gap != nil:
		return NoName, life, nil
	}
	return 0, Verified{}, bogus("%s was made from a wildcard, without proof that nothing closer exists", name)
}

// nsec is a record of RFC 4034, section 4: there is nothing between name and
// next.
type nsec struct {
	name, next string
	types      bitmap
}

func (n nsec) covers(zone, name string) bool {
	if compare(n.name, name) >= 0 {
		return false
	}
	return n.next == zone || compare(name, n.next) < 0 // the last one points at the apex
}

// excused reports whether the record is silent about name although it covers
// it: name is below a delegation or a DNAME.
func (n nsec) excused(name string) bool {
	return Within(n.name, name) && (n.types.cut() || n.types.has(TypeDNAME))
}

func (p *proofs) denyNSEC(zone, name string, rrtype uint16) (Denial, error) {
	for _, n := range p.nsec {
		if n.name == name {
			return n.types.denies(name, rrtype)
		}
	}
	for _, n := range p.nsec {
		if !n.covers(zone, name) || n.excused(name) {
			continue
		}
		if Within(name, n.next) {
			return NoData, nil // nothing is at name, but something is below
		}
		// The closest name that exists is the longest one that either end of
		// the gap shares with name.
		encloser := Ancestor(name, max(common(name, n.name), common(name, n.next)))
		if kind, ok := p.wildcardNSEC(zone, encloser, rrtype); ok {
			return kind, nil
		}
	}
	return 0, bogus("NSEC records do not prove that %s type %d does not exist", name, rrtype)
}

// wildcardNSEC asks whether a wildcard below the encloser is denied as well.
func (p *proofs) wildcardNSEC(zone, encloser string, rrtype uint16) (Denial, bool) {
	wild := wildcardOf(encloser)
	for _, n := range p.nsec {
		if n.name == wild {
			return NoData, !n.types.has(rrtype) && !n.types.has(TypeCNAME)
		}
		if n.covers(zone, wild) && !n.excused(wild) {
			if Within(wild, n.next) {
				return NoData, true // only something below it exists
			}
			return NoName, true
		}
	}
	return 0, false
}

func wildcardOf(encloser string) string { return Join(append([]string{"*"}, Labels(encloser)...)) }
