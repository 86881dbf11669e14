package dns

import (
	"bytes"
	"crypto/sha1"
	"encoding/base32"
	"strings"

	"cygnet/internal/octet"
)

// maxIterations of the hash, above which a proof counts for nothing: RFC 9276
// lets a validator choose, and 150 is what resolvers agreed on.
const maxIterations = 150

// nsec3 is a record of RFC 5155, section 3: no name hashes to a value between
// hash and next.
type nsec3 struct {
	hash, next []byte
	optOut     bool // unsigned delegations may hide in the gap
	types      bitmap
}

// hashed are the NSEC3 records of one answer; all must be of the same kind,
// that of the first.
type hashed struct {
	recs    []nsec3
	salt    []byte
	rounds  uint16
	zone    string
	known   map[string][]byte // hashes already computed
	tooMuch bool              // more iterations than count
}

var base32hex = base32.HexEncoding.WithPadding(base32.NoPadding)

// add reads a record of RFC 5155, section 3.2. One that cannot be read, or is
// of another kind than the others, proves nothing and is left out.
func (h *hashed) add(owner string, data []byte) {
	label, zone, _ := strings.Cut(owner, ".")
	hash, err := base32hex.DecodeString(strings.ToUpper(label))
	r := octet.NewReader(data)
	alg, flags, rounds := r.Uint8(), r.Uint8(), r.Uint16()
	salt := r.Bytes(int(r.Uint8()))
	next := r.Bytes(int(r.Uint8()))
	types := bitmap(r.Rest())
	if err != nil || r.Err() != nil || alg != 1 || flags > 1 || len(hash) != sha1.Size || len(next) != sha1.Size {
		return
	}
	if rounds > maxIterations {
		h.tooMuch = true
		return
	}
	if len(h.recs) == 0 {
		h.salt, h.rounds, h.zone, h.known = salt, rounds, zone, map[string][]byte{}
	}
	if rounds == h.rounds && bytes.Equal(salt, h.salt) && zone == h.zone {
		h.recs = append(h.recs, nsec3{hash, next, flags == 1, types})
	}
}

// of is the hash of a name, RFC 5155, section 5.
func (h *hashed) of(name string) []byte {
	if known := h.known[name]; known != nil {
		return known
	}
	x := sha1.Sum(append(appendName(nil, name), h.salt...))
	for range h.rounds {
		x = sha1.Sum(append(x[:], h.salt...))
	}
	h.known[name] = x[:]
	return x[:]
}

func (h *hashed) match(name string) *nsec3 {
	for i := range h.recs {
		if n := &h.recs[i]; bytes.Equal(n.hash, h.of(name)) {
			return n
		}
	}
	return nil
}

func (h *hashed) cover(name string) *nsec3 {
	for i := range h.recs {
		n, x := &h.recs[i], h.of(name)
		after, before := bytes.Compare(n.hash, x) < 0, bytes.Compare(x, n.next) < 0
		if last := bytes.Compare(n.hash, n.next) >= 0; after && before || last && (after || before) {
			return n
		}
	}
	return nil
}

// deny is RFC 5155, section 8: the closest name that exists is matched, the next
// closer name is covered, and so is the wildcard.
func (h *hashed) deny(zone, name string, rrtype uint16) (Denial, error) {
	if h.tooMuch {
		return Unsigned, nil
	}
	if n := h.match(name); n != nil {
		return n.types.denies(name, rrtype)
	}
	labels := Labels(name)
	for i := 1; i <= len(labels); i++ {
		encloser := Join(labels[i:])
		if !Within(zone, encloser) {
			break
		}
		n := h.match(encloser)
		if n == nil {
			continue
		}
		gap := h.cover(Join(labels[i-1:]))
		switch {
		case gap == nil:
			return 0, bogus("NSEC3 records do not prove what encloses %s", name)
		case n.types.cut() || n.types.has(TypeDNAME):
			return 0, bogus("%s is below a delegation or a DNAME, and yet denied", name)
		case gap.optOut && rrtype == TypeDS:
			return Unsigned, nil
		}
		return h.wildcard(encloser, name, rrtype, gap.optOut)
	}
	return 0, bogus("NSEC3 records do not prove that %s type %d does not exist", name, rrtype)
}

func (h *hashed) wildcard(encloser, name string, rrtype uint16, optOut bool) (Denial, error) {
	wild := wildcardOf(encloser)
	w := h.match(wild)
	noData := w != nil && !w.types.has(rrtype) && !w.types.has(TypeCNAME)
	switch {
	case !noData && h.cover(wild) == nil:
		return 0, bogus("NSEC3 records do not deny a wildcard for %s", name)
	case optOut:
		return Unsigned, nil // an unsigned delegation may be in the gap (section 9.2)
	case noData:
		return NoData, nil
	}
	return NoName, nil
}
