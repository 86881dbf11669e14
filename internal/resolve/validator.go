package resolve

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"cygnet/internal/dns"
	"cygnet/internal/oe"
)

// Validator proves answers itself (opportunistic.md 8.5, dnssec=validate). The
// servers it asks need to be recursive, but need not be trusted. It is an
// oe.Resolver.
type Validator struct {
	x       asker
	anchors dns.Anchors

	mu    sync.Mutex
	watch watch
	zones map[string]known
}

// known is what was proven about a name: that it is a zone with these keys, or
// that nothing below it is signed, or that no zone begins there.
type known struct {
	cut    bool
	signed bool
	keys   []dns.Key
	end    time.Time // of the signatures
	until  time.Time // of the TTL
}

// walk is one lookup with its budget of questions.
type walk struct {
	*Validator
	ctx  context.Context
	left int
	now  time.Time // what TTLs count from
	wall time.Time // what signatures go by
}

// walk begins a lookup.
func (v *Validator) walk(ctx context.Context) *walk {
	now, wall := v.watch.read()
	return &walk{Validator: v, ctx: ctx, left: maxQueries, now: now, wall: wall}
}

// ends is when a proof runs out, on the clock of TTLs.
func (w *walk) ends(v dns.Verified) time.Time { return w.now.Add(v.End.Sub(w.wall)) }

// errServer says that a server did not do its part; nothing is proven by that.
var errServer = errors.New("no usable answer")

func (w *walk) ask(name string, rrtype uint16) (*dns.Message, error) {
	if w.left--; w.left < 0 {
		return nil, fmt.Errorf("%w: more than %d questions for one name", errServer, maxQueries)
	}
	m, err := w.x.exchange(w.ctx, dns.Question{Name: name, Type: rrtype, CD: true, DO: true})
	if err != nil {
		return nil, err
	}
	if m.RCode != dns.RCodeSuccess && m.RCode != dns.RCodeNXDomain {
		return nil, fmt.Errorf("%w: %s", errServer, dns.RCodeName(m.RCode))
	}
	return m, nil
}

// Lookup implements oe.Resolver.
func (v *Validator) Lookup(ctx context.Context, name string, rrtype uint16) (oe.Answer, error) {
	w := v.walk(ctx)
	a, err := w.lookup(dns.Canonical(name), rrtype)
	switch {
	case err == nil:
		return a, nil
	case errors.Is(err, dns.ErrBogus):
		return oe.Answer{Security: oe.Bogus, Why: err.Error()}, nil
	}
	return oe.Answer{Why: err.Error()}, ctx.Err()
}

// life is the shortest one of all that an answer rests on.
type life struct {
	ttl uint32
	end time.Time
}

func (l *life) add(v dns.Verified, end time.Time) {
	l.ttl = min(l.ttl, v.TTL)
	l.end = sooner(l.end, end)
}

// lookup follows the chain from name, one link after the other, and proves each.
func (w *walk) lookup(name string, rrtype uint16) (oe.Answer, error) {
	l := life{ttl: 1<<32 - 1}
	a := oe.Answer{Security: oe.Secure}
	seen := map[string]bool{}
	for range maxChain + 1 {
		if seen[name] {
			return oe.Answer{}, fmt.Errorf("%w: CNAME loop at %s", errServer, printable(name))
		}
		seen[name] = true
		m, err := w.ask(name, rrtype)
		if err != nil {
			return oe.Answer{}, err
		}
		z, err := w.zoneOf(name, rrtype == dns.TypeDS)
		if err != nil {
			return oe.Answer{}, err
		}
		if !z.signed {
			a.Security = oe.Insecure
		}
		l.end = sooner(l.end, z.end)
		sets := dns.Sets(m.Answer)
		set, next, linked := here(sets, name, rrtype)
		if set.Name == "" {
			err := w.absent(m, z, name, rrtype, &l, &a)
			return w.finish(a, l), err
		}
		if z.signed {
			if err := w.proveSet(set, m, z, name, &l, &a); err != nil {
				return oe.Answer{}, err
			}
		} else {
			l.ttl = min(l.ttl, set.TTL)
		}
		if !linked {
			a.Found, a.Raw = true, set.Data
			return w.finish(a, l), nil
		}
		name = next
	}
	return oe.Answer{}, fmt.Errorf("%w: more than %d CNAMEs in a chain", errServer, maxChain)
}

// here is the set of an answer that is about name: of the asked type, or a link
// to another name.
func here(sets []dns.Set, name string, rrtype uint16) (set dns.Set, next string, linked bool) {
	if set, ok := dns.Find(sets, name, rrtype); ok {
		return set, "", false
	}
	set, next, linked = link(sets, name)
	return set, next, linked
}

// proveSet checks the signature of a set, and of one that was made from a
// wildcard that nothing closer exists.
func (w *walk) proveSet(set dns.Set, m *dns.Message, z zone, name string, l *life, a *oe.Answer) error {
	v, err := set.Verify(z.Name, z.Keys, w.wall)
	if err != nil {
		return err
	}
	l.add(v, w.ends(v))
	if v.FromWildcard(set.Name) {
		// RFC 4592, section 4.4, leaves open what a wildcard's DNAME means, and RFC
		// 6672, section 3.3, advises against it: who trusts an answer made from one
		// trusts the server.
		if set.Type == dns.TypeDNAME {
			return fmt.Errorf("%w: DNAME of %s made from a wildcard", dns.ErrBogus, printable(set.Name))
		}
		kind, proof, err := z.Expanded(dns.Sets(m.Authority), name, v.Labels, w.wall)
		if err != nil {
			return err
		}
		l.add(proof, w.ends(proof))
		if kind == dns.Unsigned {
			a.Security = oe.Insecure
		}
	}
	return nil
}

// absent proves that there is no record. Whether there is no such name either is what
// the proof says: nobody has signed the rcode (RFC 4035, section 5.4).
func (w *walk) absent(m *dns.Message, z zone, name string, rrtype uint16, l *life, a *oe.Answer) error {
	authority := dns.Sets(m.Authority)
	l.ttl = min(l.ttl, dns.SOAMinimum(authority))
	if !z.signed {
		a.NXDomain = m.RCode == dns.RCodeNXDomain
		return nil
	}
	kind, v, err := z.Deny(authority, name, rrtype, w.wall)
	if err != nil {
		return err
	}
	l.add(v, w.ends(v))
	switch kind {
	case dns.Unsigned:
		a.Security, a.NXDomain = oe.Insecure, m.RCode == dns.RCodeNXDomain
	case dns.NoName:
		a.NXDomain = true
	}
	return nil
}

func (w *walk) finish(a oe.Answer, l life) oe.Answer {
	a.ProofEnd = l.end
	if a.Security != oe.Secure {
		a.ProofEnd = time.Time{}
	}
	if a.Found {
		a.Expires = w.now.Add(positiveLife(l.ttl))
	} else {
		a.Expires = w.now.Add(negativeLife(l.ttl))
	}
	return a
}

// zone is where a name's records are signed.
type zone struct {
	dns.Zone
	signed bool
	end    time.Time
}

// zoneOf walks from the closest trust anchor down to the deepest zone at or
// above name; atParent stops short of name itself, for its DS is the parent's.
func (w *walk) zoneOf(name string, atParent bool) (zone, error) {
	top, ok := w.anchors.Closest(name)
	if !ok {
		return zone{}, nil // no trust begins above it: nothing can be proven
	}
	k, err := w.keysOf(top, w.anchors[top])
	if err != nil {
		return zone{}, err
	}
	z := zone{dns.Zone{Name: top, Keys: k.keys}, true, k.end}
	total := len(dns.Labels(name))
	for n := len(dns.Labels(top)) + 1; n <= total; n++ {
		child := dns.Ancestor(name, n)
		if n == total && atParent {
			break
		}
		k, gone, err := w.delegation(child, z)
		switch {
		case err != nil:
			return zone{}, err
		case k.cut && !k.signed:
			return zone{}, nil
		case k.cut:
			z = zone{dns.Zone{Name: child, Keys: k.keys}, true, sooner(z.end, k.end)}
		case gone:
			return z, nil // nothing exists below either
		}
	}
	return z, nil
}

// delegation proves whether a zone begins at child, below z, and with which
// keys. gone: there is no such name at all.
func (w *walk) delegation(child string, z zone) (k known, gone bool, err error) {
	if k, ok := w.recall(child); ok {
		return k, false, nil
	}
	m, err := w.ask(child, dns.TypeDS)
	if err != nil {
		return known{}, false, err
	}
	sets := dns.Sets(m.Answer)
	if set, ok := dns.Find(sets, child, dns.TypeDS); ok {
		v, err := set.Verify(z.Name, z.Keys, w.wall)
		if err != nil {
			return known{}, false, err
		}
		if v.Labels != len(dns.Labels(child)) {
			return known{}, false, fmt.Errorf("%w: DS of %s made from a wildcard", dns.ErrBogus, printable(child))
		}
		digests := dns.DSOf(set)
		if len(digests) == 0 { // RFC 4035, section 5.2: only kinds that we do not know
			return w.remember(child, known{cut: true}, v), false, nil
		}
		k, err := w.keysOf(child, digests)
		return k, false, err
	}
	if _, _, linked := link(sets, child); linked {
		return known{}, false, nil // no zone begins at a CNAME or below a DNAME; the chain proves it later
	}
	kind, v, err := z.Deny(dns.Sets(m.Authority), child, dns.TypeDS, w.wall)
	if err != nil {
		return known{}, false, err
	}
	switch kind {
	case dns.Unsigned:
		return w.remember(child, known{cut: true}, v), false, nil
	case dns.NoName:
		return known{}, true, nil
	}
	return w.remember(child, known{}, v), false, nil
}

// keysOf fetches and proves the keys of a zone.
func (w *walk) keysOf(name string, digests []dns.DS) (known, error) {
	if k, ok := w.recall(name); ok {
		return k, nil
	}
	m, err := w.ask(name, dns.TypeDNSKEY)
	if err != nil {
		return known{}, err
	}
	set, ok := dns.Find(dns.Sets(m.Answer), name, dns.TypeDNSKEY)
	if !ok {
		return known{}, fmt.Errorf("%w: %s has a DS and no DNSKEY", dns.ErrBogus, printable(name))
	}
	keys, v, err := set.ZoneKeys(digests, w.wall)
	if err != nil {
		return known{}, err
	}
	return w.remember(name, known{cut: true, signed: true, keys: keys}, v), nil
}

func (v *Validator) recall(name string) (known, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.watch.set() {
		clear(v.zones)
	}
	k, ok := v.zones[name]
	return k, ok && v.watch.now().Before(k.until)
}

// remember keeps what was proven about a name for its TTL, five seconds at
// least, so that one lookup need not ask twice.
func (w *walk) remember(name string, k known, v dns.Verified) known {
	k.end = w.ends(v)
	k.until = w.now.Add(max(min(seconds(v.TTL), maxTTL), errorTTL))
	if k.until.After(k.end) {
		k.until = k.end
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.zones) >= maxZoneCache {
		clear(w.zones)
	}
	w.zones[name] = k
	return k
}

// Clock checks this machine's clock by the signature of the top zone's keys:
// a clock that is far off makes everything bogus.
func (v *Validator) Clock(ctx context.Context) error {
	w := v.walk(ctx)
	for _, zone := range slices.Sorted(maps.Keys(v.anchors)) {
		if _, err := w.keysOf(zone, v.anchors[zone]); err != nil {
			return fmt.Errorf("keys of %s: %w", printable(zone), err)
		}
	}
	return nil
}
