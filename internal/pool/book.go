package pool

import (
	"cmp"
	"errors"
	"net/netip"
	"slices"
	"time"
)

// Rest is how long an address that was given back is only for its owner: a
// peer that lost its way is soon back, and what is still on its way to it
// must not reach another.
const Rest = 2 * time.Minute

// ErrFull says that no address is left.
var ErrFull = errors.New("the pool has no address left")

// Lease is one address and who has it, or had it last.
type Lease struct {
	Addr  netip.Addr
	Owner string
	Conn  string    // the connection that it was given in
	Uses  int       // how many hold it now; 0: it is kept for its owner
	Since time.Time // when that began
}

// Book is who has which address. The zero value is empty and ready.
type Book struct {
	byAddr  map[netip.Addr]*Lease
	byOwner map[string][]*Lease  // in the order in which they were given
	next    map[Range]netip.Addr // all before it in a range were given once
	changed map[netip.Addr]bool
}

// Request is what somebody wants.
type Request struct {
	Owner  string
	Conn   string
	Ranges []Range
	// Want is an address, or the unspecified one of its family: any.
	Want netip.Addr
	// Alone says that an owner is one peer, which gets what it still holds;
	// otherwise an address that is in use is never given again.
	Alone bool
}

// Take gives out an address. The owner gets what it has or had last; then
// comes what it asks for, then one that nobody ever had, then the one that has
// rested longest.
func (b *Book) Take(now time.Time, r Request) (netip.Addr, error) {
	b.ready()
	for _, choose := range []func(time.Time, Request) (netip.Addr, bool){b.own, b.wanted, b.fresh, b.rested} {
		if a, ok := choose(now, r); ok {
			b.give(now, r, a)
			return a, nil
		}
	}
	return netip.Addr{}, ErrFull
}

func (b *Book) ready() {
	if b.byAddr == nil {
		b.byAddr, b.byOwner = map[netip.Addr]*Lease{}, map[string][]*Lease{}
		b.next, b.changed = map[Range]netip.Addr{}, map[netip.Addr]bool{}
	}
}

// admits reports whether a request may be answered with a.
func (r *Request) admits(a netip.Addr) bool {
	return a.Is6() == r.Want.Is6() && slices.ContainsFunc(r.Ranges, func(x Range) bool { return x.Contains(a) })
}

func (b *Book) own(_ time.Time, r Request) (netip.Addr, bool) {
	for _, l := range b.byOwner[r.Owner] {
		if (l.Uses == 0 || r.Alone) && r.admits(l.Addr) {
			return l.Addr, true
		}
	}
	return netip.Addr{}, false
}

func (b *Book) wanted(now time.Time, r Request) (netip.Addr, bool) {
	if r.Want.IsUnspecified() || !r.admits(r.Want) {
		return netip.Addr{}, false
	}
	l := b.byAddr[r.Want]
	return r.Want, l == nil || l.free(now)
}

// free reports whether an address may go to another owner.
func (l *Lease) free(now time.Time) bool { return l.Uses == 0 && now.Sub(l.Since) >= Rest }

func (b *Book) fresh(_ time.Time, r Request) (netip.Addr, bool) {
	for _, x := range r.Ranges {
		if x.Is6() != r.Want.Is6() {
			continue
		}
		a, begun := b.next[x]
		if !begun {
			a = x.First
		}
		for a.IsValid() && x.Contains(a) && b.byAddr[a] != nil {
			a = a.Next()
		}
		b.next[x] = a
		if x.Contains(a) {
			return a, true
		}
	}
	return netip.Addr{}, false
}

func (b *Book) rested(now time.Time, r Request) (netip.Addr, bool) {
	var best *Lease
	for _, l := range b.byAddr {
		if r.admits(l.Addr) && l.free(now) && (best == nil || l.before(best)) {
			best = l
		}
	}
	if best == nil {
		return netip.Addr{}, false
	}
	return best.Addr, true
}

// before orders leases by how long they have rested; the address decides
// between equals, so that the choice is always the same.
func (l *Lease) before(m *Lease) bool {
	return cmp.Or(l.Since.Compare(m.Since), l.Addr.Compare(m.Addr)) < 0
}

func (b *Book) give(now time.Time, r Request, a netip.Addr) {
	l := b.byAddr[a]
	if l == nil || l.Owner != r.Owner {
		b.forget(a)
		l = &Lease{Addr: a, Owner: r.Owner}
		b.byAddr[a] = l
		b.byOwner[r.Owner] = append(b.byOwner[r.Owner], l)
	}
	if l.Uses++; l.Uses == 1 {
		l.Since, l.Conn = now, r.Conn
		b.changed[a] = true
	}
}

func (b *Book) forget(a netip.Addr) {
	l := b.byAddr[a]
	if l == nil {
		return
	}
	delete(b.byAddr, a)
	rest := slices.DeleteFunc(b.byOwner[l.Owner], func(x *Lease) bool { return x == l })
	if len(rest) == 0 {
		delete(b.byOwner, l.Owner)
		return
	}
	b.byOwner[l.Owner] = rest
}

// Return gives an address back once; it is kept for its owner.
func (b *Book) Return(now time.Time, owner string, a netip.Addr) {
	l := b.byAddr[a]
	if l == nil || l.Owner != owner || l.Uses == 0 {
		return
	}
	if l.Uses--; l.Uses == 0 {
		l.Since = now
		b.changed[a] = true
	}
}

// Restore takes in what was kept of an earlier Book. Nobody holds an address
// any more: those who did died with it.
func (b *Book) Restore(now time.Time, list []Lease) {
	b.ready()
	for _, l := range list {
		if b.byAddr[l.Addr] != nil {
			continue
		}
		if l.Uses > 0 || l.Since.After(now) {
			l.Uses, l.Since = 0, now
		}
		b.byAddr[l.Addr] = &l
		b.byOwner[l.Owner] = append(b.byOwner[l.Owner], &l)
	}
}

// Changed lists the leases that are not as they were when it was last called,
// by address.
func (b *Book) Changed() []Lease {
	list := make([]Lease, 0, len(b.changed))
	for a := range b.changed {
		list = append(list, *b.byAddr[a])
	}
	clear(b.changed)
	return sorted(list)
}

// Leases lists all, by address.
func (b *Book) Leases() []Lease {
	list := make([]Lease, 0, len(b.byAddr))
	for _, l := range b.byAddr {
		list = append(list, *l)
	}
	return sorted(list)
}

func sorted(list []Lease) []Lease {
	slices.SortFunc(list, func(a, b Lease) int { return a.Addr.Compare(b.Addr) })
	return list
}
