package pool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strings"
)

// Range is the addresses from First to Last, both included, of one family.
type Range struct{ First, Last netip.Addr }

// ParseRange reads an address, a prefix, or two addresses joined by a hyphen.
// Of an IPv4 prefix the addresses of the net and of broadcast are left out, of
// an IPv6 prefix its first, the anycast address of its routers (RFC 4291, 2.6.1).
func ParseRange(text string) (Range, error) {
	if low, high, ok := strings.Cut(text, "-"); ok {
		return parseEnds(strings.TrimSpace(low), strings.TrimSpace(high))
	}
	if !strings.Contains(text, "/") {
		return parseEnds(text, text)
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return Range{}, fmt.Errorf("%q is not a range of addresses", text)
	}
	return Hosts(p), nil
}

func parseEnds(low, high string) (Range, error) {
	first, err := netip.ParseAddr(low)
	last, err2 := netip.ParseAddr(high)
	r := Range{first.Unmap(), last.Unmap()}
	switch {
	case err != nil:
		return Range{}, fmt.Errorf("%q is not an address", low)
	case err2 != nil:
		return Range{}, fmt.Errorf("%q is not an address", high)
	case r.First.Zone() != "" || r.Last.Zone() != "":
		return Range{}, errors.New("addresses of a pool have no zone")
	case r.First.Is4() != r.Last.Is4():
		return Range{}, fmt.Errorf("%s and %s are of different families", r.First, r.Last)
	case r.Last.Less(r.First):
		return Range{}, fmt.Errorf("%s is after %s", r.First, r.Last)
	case r.First.IsUnspecified() || r.Last.IsMulticast() || r.First.IsMulticast():
		return Range{}, fmt.Errorf("%s holds addresses that no host can have", r)
	}
	return r, nil
}

// Hosts is the range of a prefix's host addresses; see ParseRange.
func Hosts(p netip.Prefix) Range {
	p = p.Masked()
	r := Range{p.Addr(), lastOf(p)}
	if p.Bits() >= p.Addr().BitLen()-1 { // one address, or the two of a link (RFC 3021)
		return r
	}
	r.First = r.First.Next()
	if r.Last.Is4() {
		r.Last = r.Last.Prev()
	}
	return r
}

// lastOf is the highest address of a prefix.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := range b {
		host := max(0, min(8, (i+1)*8-p.Bits()))
		b[i] |= byte(1<<host - 1)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// String is how ParseRange reads it.
func (r Range) String() string {
	if r.First == r.Last {
		return r.First.String()
	}
	return r.First.String() + "-" + r.Last.String()
}

// Is6 reports whether the range is of IPv6.
func (r Range) Is6() bool { return r.First.Is6() }

// Contains reports whether a is in the range.
func (r Range) Contains(a netip.Addr) bool {
	return a.Is6() == r.Is6() && !a.Less(r.First) && !r.Last.Less(a)
}

// Overlaps reports whether the ranges have an address in common.
func (r Range) Overlaps(s Range) bool {
	return r.Is6() == s.Is6() && !r.Last.Less(s.First) && !s.Last.Less(r.First)
}

// Size is how many addresses the range has, at most math.MaxUint64.
func (r Range) Size() uint64 {
	highA, lowA := halves(r.First)
	highB, lowB := halves(r.Last)
	high, low := highB-highA, lowB-lowA
	if lowB < lowA {
		high--
	}
	if high > 0 || low == math.MaxUint64 {
		return math.MaxUint64
	}
	return low + 1
}

func halves(a netip.Addr) (high, low uint64) {
	b := a.As16()
	return binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
}
