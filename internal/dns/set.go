package dns

import (
	"bytes"
	"slices"
	"strings"

	"cygnet/internal/octet"
)

// Set is an RRset with the signatures over it.
type Set struct {
	Name string
	Type uint16
	TTL  uint32 // the lowest of its records, seconds
	Data [][]byte
	Sigs []Sig
}

// Sets groups the records of a section by owner and type, in order of their
// appearance; a record that is there twice counts once (RFC 2181, section 5).
// Signatures that cannot be read are left out, as if they were not
// there.
func Sets(rrs []RR) []Set {
	type key struct {
		name   string
		rrtype uint16
	}
	index := map[key]int{}
	var sets []Set
	for _, rr := range rrs {
		if rr.Type == TypeRRSIG {
			continue
		}
		k := key{rr.Name, rr.Type}
		n, ok := index[k]
		if !ok {
			n = len(sets)
			index[k] = n
			sets = append(sets, Set{Name: rr.Name, Type: rr.Type, TTL: rr.TTL})
		}
		sets[n].TTL = min(sets[n].TTL, rr.TTL)
		if !slices.ContainsFunc(sets[n].Data, func(d []byte) bool { return bytes.Equal(d, rr.Data) }) {
			sets[n].Data = append(sets[n].Data, rr.Data)
		}
	}
	for _, rr := range rrs {
		if rr.Type != TypeRRSIG {
			continue
		}
		if sig, ok := parseSig(rr.Data); ok {
			if n, ok := index[key{rr.Name, sig.Covered}]; ok {
				sets[n].Sigs = append(sets[n].Sigs, sig)
			}
		}
	}
	return sets
}

// Find returns the set of that name and type, or none.
func Find(sets []Set, name string, rrtype uint16) (Set, bool) {
	for _, s := range sets {
		if s.Name == name && s.Type == rrtype {
			return s, true
		}
	}
	return Set{}, false
}

// Target is where a CNAME set points: one record, one name, nothing after it.
func (s Set) Target() (string, bool) {
	if s.Type != TypeCNAME || len(s.Data) != 1 {
		return "", false
	}
	name, rest, err := cutName(s.Data[0])
	return name, err == nil && len(rest) == 0
}

// Redirect is the name that a DNAME set makes of name, RFC 6672, section 2.2.
func (s Set) Redirect(name string) (string, bool) {
	if s.Type != TypeDNAME || len(s.Data) != 1 || name == s.Name || !Within(s.Name, name) {
		return "", false
	}
	target, rest, err := cutName(lowerBytes(s.Data[0]))
	l := Labels(name)
	to := Join(append(l[:len(l)-len(Labels(s.Name)):len(l)-len(Labels(s.Name))], Labels(target)...))
	return to, err == nil && len(rest) == 0 && len(to) < 255
}

func lowerBytes(b []byte) []byte { return []byte(lower(string(b))) }

// signed is what a signature covers: the signature's own fields and the records
// in canonical order, RFC 4034, section 3.1.8.1. owner is the name under which
// they were signed, a wildcard perhaps.
func (s Set) signed(sig Sig, owner string) []byte {
	b := append([]byte(nil), sig.head...)
	name := appendName(nil, owner)
	data := slices.Clone(s.Data)
	if s.Type == TypeDNAME { // a name of old that may not be compressed but has no case
		for n := range data {
			data[n] = lowerBytes(data[n])
		}
	}
	slices.SortFunc(data, func(a, b []byte) int { return bytes.Compare(a, b) })
	for _, d := range slices.CompactFunc(data, bytes.Equal) { // section 6.3: no duplicates
		b = append(b, name...)
		b = octet.AppendUint16(b, s.Type)
		b = octet.AppendUint16(b, 1) // IN
		b = octet.AppendUint32(b, sig.OrigTTL)
		b = octet.AppendUint16(b, uint16(len(d)))
		b = append(b, d...)
	}
	return b
}

// SOAMinimum is how long a negative answer may be remembered, RFC 2308, section
// 5, in seconds, by the SOA set beside it; none: zero.
func SOAMinimum(sets []Set) uint32 {
	for _, s := range sets {
		if s.Type != TypeSOA || len(s.Data) == 0 {
			continue
		}
		_, rest, err := cutName(s.Data[0])
		if err == nil {
			_, rest, err = cutName(rest)
		}
		r := octet.NewReader(rest)
		r.Skip(16)
		if minimum := r.Uint32(); err == nil && r.Err() == nil {
			return min(minimum, s.TTL)
		}
	}
	return 0
}

// SOAMailbox is who is responsible for a zone, RFC 1035, section 3.3.13: the
// first label of the RNAME is the user, with its dots, the rest the domain.
func SOAMailbox(rdata []byte) (user, domain string, ok bool) {
	_, rest, err := cutName(rdata)
	if err != nil || len(rest) == 0 || int(rest[0]) >= len(rest) || rest[0] == 0 || rest[0] > 63 {
		return "", "", false
	}
	user = string(rest[1 : 1+rest[0]])
	domain, _, err = cutName(rest[1+rest[0]:])
	return user, strings.TrimSuffix(domain, "."), err == nil && domain != "."
}
