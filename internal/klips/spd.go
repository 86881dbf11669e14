package klips

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"

	"github.com/gaissmai/bart"

	"cygnet/internal/ipsec"
)

// entry is a policy at work. An entry lives on through SetPolicies as long as
// its policy stays the same, so its counters and held packets do too.
type entry struct {
	policy  ipsec.Policy
	packets atomic.Uint64
	out     atomic.Pointer[bundle] // of Protect; nil while the bundle is incomplete
	left    bool                   // the SPD since the last bury; under Plane.mu
}

// snapshot is one version of the SPD. It never changes.
//
// The order of freeswan.md 5.4 is source first: a trie of source prefixes,
// each with a trie of destination prefixes, each with the rules for exactly
// that pair. When the longest prefixes have no rule that matches protocol and
// ports, the search goes on at the next shorter destination, then at the next
// shorter source; parent leads there, so nothing is searched twice.
type snapshot struct {
	version uint64
	sources bart.Table[*source]
	entries []*entry // most specific first
	bySA    map[ipsec.SAID][]*entry
}

type source struct {
	parent       *source // of the next shorter prefix that covers this one
	destinations bart.Table[*destination]
}

type destination struct {
	parent *destination
	rules  []*entry // most specific first
}

// lookup returns the most specific policy that matches f, or nil.
func (s *snapshot) lookup(f ipsec.Flow) *entry {
	src, _ := s.sources.Lookup(f.Src)
	for ; src != nil; src = src.parent {
		dst, _ := src.destinations.Lookup(f.Dst)
		for ; dst != nil; dst = dst.parent {
			for _, e := range dst.rules {
				if e.policy.Selector.Contains(f) {
					return e
				}
			}
		}
	}
	return nil
}

// newSnapshot builds the SPD of want, taking over entries of old.
func newSnapshot(want []ipsec.Policy, old *snapshot) (*snapshot, error) {
	s := &snapshot{version: old.version + 1, bySA: map[ipsec.SAID][]*entry{}}
	was := make(map[ipsec.Selector]*entry, len(old.entries))
	for _, e := range old.entries {
		was[e.policy.Selector] = e
	}
	seen := make(map[ipsec.Selector]struct{}, len(want))
	s.entries = make([]*entry, 0, len(want))
	for _, p := range want {
		p.Selector = normal(p.Selector)
		if err := checkPolicy(p); err != nil {
			return nil, err
		}
		if _, dup := seen[p.Selector]; dup {
			return nil, fmt.Errorf("policy %s: another one has the same selector", p.Selector)
		}
		seen[p.Selector] = struct{}{}
		e := was[p.Selector]
		if e == nil || !samePolicy(e.policy, p) {
			p.Bundle = slices.Clone(p.Bundle)
			e = &entry{policy: p}
		}
		s.entries = append(s.entries, e)
	}
	slices.SortFunc(s.entries, func(a, b *entry) int { return order(a.policy.Selector, b.policy.Selector) })
	for _, e := range s.entries {
		s.insert(e)
	}
	s.link()
	return s, nil
}

// normal makes equal selectors compare equal.
func normal(s ipsec.Selector) ipsec.Selector {
	s.Src, s.Dst = s.Src.Masked(), s.Dst.Masked()
	for _, p := range []*ipsec.Ports{&s.SrcPorts, &s.DstPorts} {
		if p.Any() {
			*p = ipsec.Ports{}
		}
	}
	return s
}

var errNoBundle = errors.New("protect needs at least one SA")

func checkPolicy(p ipsec.Policy) error {
	s := p.Selector
	switch {
	case !s.Src.IsValid() || !s.Dst.IsValid():
		return fmt.Errorf("policy %s: selector without source or destination", s)
	case s.Src.Addr().Is4() != s.Dst.Addr().Is4():
		return fmt.Errorf("policy %s: source and destination are of two families", s)
	case s.SrcPorts.Lo > s.SrcPorts.Hi || s.DstPorts.Lo > s.DstPorts.Hi:
		return fmt.Errorf("policy %s: port range ends before it begins", s)
	case p.Action > ipsec.Protect:
		return fmt.Errorf("policy %s: unknown action %d", s, p.Action)
	case p.Action == ipsec.Protect && len(p.Bundle) == 0:
		return fmt.Errorf("policy %s: %w", s, errNoBundle)
	}
	if err := checkIDs(p.Bundle); err != nil {
		return fmt.Errorf("policy %s: %w", s, err)
	}
	return nil
}

func samePolicy(a, b ipsec.Policy) bool {
	return a.Selector == b.Selector && a.Action == b.Action && a.Owner == b.Owner && slices.Equal(a.Bundle, b.Bundle)
}

// order sorts the most specific selector first; selectors that are equally
// specific are in order of their addresses, so that lists come out the same.
func order(a, b ipsec.Selector) int {
	return cmp.Or(
		cmp.Compare(b.Src.Bits(), a.Src.Bits()),
		cmp.Compare(b.Dst.Bits(), a.Dst.Bits()),
		cmp.Compare(one(b.Proto != 0), one(a.Proto != 0)),
		cmp.Compare(width(a.SrcPorts), width(b.SrcPorts)),
		cmp.Compare(width(a.DstPorts), width(b.DstPorts)),
		a.Src.Addr().Compare(b.Src.Addr()),
		a.Dst.Addr().Compare(b.Dst.Addr()),
		cmp.Compare(a.Proto, b.Proto),
		cmp.Compare(a.SrcPorts.Lo, b.SrcPorts.Lo),
		cmp.Compare(a.DstPorts.Lo, b.DstPorts.Lo),
	)
}

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}

// width is how many ports a range has; any port is wider than all of them,
// since packets without ports match it as well.
func width(p ipsec.Ports) int {
	if p.Any() {
		return 1 << 16
	}
	return int(p.Hi) - int(p.Lo) + 1
}

// insert puts e, which comes in order, behind the rules of its prefix pair.
func (s *snapshot) insert(e *entry) {
	src, ok := s.sources.Get(e.policy.Selector.Src)
	if !ok {
		src = new(source)
		s.sources.Insert(e.policy.Selector.Src, src)
	}
	dst, ok := src.destinations.Get(e.policy.Selector.Dst)
	if !ok {
		dst = new(destination)
		src.destinations.Insert(e.policy.Selector.Dst, dst)
	}
	dst.rules = append(dst.rules, e)
	for _, id := range e.policy.Bundle {
		s.bySA[id] = append(s.bySA[id], e)
	}
}

func (s *snapshot) link() {
	for p, src := range s.sources.All() {
		src.parent, _ = covering(&s.sources, p)
		for p, dst := range src.destinations.All() {
			dst.parent, _ = covering(&src.destinations, p)
		}
	}
}

// covering returns the value of the longest prefix in t that covers p and is
// shorter than it.
func covering[V any](t *bart.Table[V], p netip.Prefix) (v V, ok bool) {
	if p.Bits() == 0 {
		return v, false
	}
	return t.LookupPrefix(netip.PrefixFrom(p.Addr(), p.Bits()-1).Masked())
}
