package dns

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"cygnet/internal/octet"
)

// Sig is an RRSIG, RFC 4034, section 3.
type Sig struct {
	Covered   uint16
	Alg       uint8
	Labels    uint8 // of the owner when it was signed, without a wildcard's star
	OrigTTL   uint32
	Tag       uint16
	Signer    string
	signature []byte
	head      []byte // RDATA before the signature, signer in lower case: part of what is signed

	expire, incept uint32
}

func parseSig(data []byte) (Sig, bool) {
	r := octet.NewReader(data)
	s := Sig{Covered: r.Uint16(), Alg: r.Uint8(), Labels: r.Uint8(), OrigTTL: r.Uint32(), expire: r.Uint32(), incept: r.Uint32(), Tag: r.Uint16()}
	fixed := r.Offset()
	if r.Err() != nil {
		return Sig{}, false
	}
	signer, rest, err := cutName(data[fixed:])
	if err != nil || len(rest) == 0 {
		return Sig{}, false
	}
	s.Signer, s.signature = signer, rest
	s.head = appendName(append([]byte(nil), data[:fixed]...), signer)
	return s, true
}

// valid reports whether now is within the signature's time. Its fields wrap
// around, so they are compared as RFC 4034, section 3.1.5, says: by serial
// number arithmetic.
func (s Sig) valid(now time.Time) bool {
	t := uint32(now.Unix())
	return int32(t-s.incept) >= 0 && int32(s.expire-t) >= 0
}

// end is when the signature runs out.
func (s Sig) end(now time.Time) time.Time {
	return now.Add(time.Duration(int32(s.expire-uint32(now.Unix()))) * time.Second)
}

// ErrBogus is the kind of error that means: what should be proven is not.
var ErrBogus = errors.New("bogus")

// bogus makes an error of that kind. Names in it may be a forger's: whatever
// could break a line of a log is replaced.
func bogus(format string, args ...any) error {
	plain := func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}
	return fmt.Errorf("%w: %s", ErrBogus, strings.Map(plain, fmt.Sprintf(format, args...)))
}

// Bounds of the work that one set can cause (KeyTrap, CVE-2023-50387).
const (
	maxSigChecks  = 8
	maxZoneKeys   = 16
	maxKeysPerTag = 4
)

// Verified says how a set was proven.
type Verified struct {
	Labels int       // that were signed, a star not counted: fewer than the owner has mean a wildcard
	TTL    uint32    // seconds, not above what was signed
	End    time.Time // of the signature
}

// FromWildcard reports whether a set at owner was made from a wildcard: fewer labels
// were signed than it has, and it is not the wildcard itself (RFC 4035, section 5.3.2).
func (v Verified) FromWildcard(owner string) bool {
	l := Labels(owner)
	return v.Labels < len(l) && !(l[0] == "*" && v.Labels == len(l)-1)
}

// Verify checks a set by the keys of its zone at the time now.
func (s Set) Verify(zone string, keys []Key, now time.Time) (Verified, error) {
	checks, expired := 0, false
	owner := Labels(s.Name)
	for _, sig := range s.Sigs {
		if sig.Signer != zone || !Within(zone, s.Name) || !strong(sig.Alg) || int(sig.Labels) > len(owner) || int(sig.Labels) < len(Labels(zone)) {
			continue
		}
		if !sig.valid(now) {
			expired = true
			continue
		}
		name := s.Name
		if int(sig.Labels) < len(owner) { // made from a wildcard, or the wildcard itself
			name = Join(append([]string{"*"}, owner[len(owner)-int(sig.Labels):]...))
		}
		tried := 0
		for _, k := range keys {
			if k.Tag != sig.Tag || k.Alg != sig.Alg || tried == maxKeysPerTag {
				continue
			}
			tried++
			if checks++; checks > maxSigChecks {
				return Verified{}, bogus("more than %d signatures to check at %s", maxSigChecks, s.Name)
			}
			if k.verify(s.signed(sig, name), sig.signature) {
				return Verified{int(sig.Labels), min(s.TTL, sig.OrigTTL), sig.end(now)}, nil
			}
		}
	}
	if expired {
		return Verified{}, bogus("the signature of %s type %d is out of its time", s.Name, s.Type)
	}
	return Verified{}, bogus("no valid signature of %s type %d", s.Name, s.Type)
}

// ZoneKeys are the keys of a DNSKEY set that one of the digests vouches for.
func (s Set) ZoneKeys(ds []DS, now time.Time) ([]Key, Verified, error) {
	var all, entry []Key
	for _, data := range s.Data {
		k, ok := parseKey(data)
		if !ok {
			continue
		}
		if len(all) == maxZoneKeys {
			break
		}
		all = append(all, k)
		for _, d := range ds {
			if d.matches(s.Name, k) {
				entry = append(entry, k)
				break
			}
		}
	}
	if len(entry) == 0 {
		return nil, Verified{}, bogus("no DNSKEY of %s matches its DS", s.Name)
	}
	v, err := s.Verify(s.Name, entry, now)
	return all, v, err
}

// SignedUntil is when the last of the set's signatures of today ends; zero if
// there is none. It proves nothing: it is what a resolver's word is good for.
func (s Set) SignedUntil(now time.Time) (end time.Time) {
	for _, sig := range s.Sigs {
		if e := sig.end(now); sig.valid(now) && e.After(end) {
			end = e
		}
	}
	return end
}
