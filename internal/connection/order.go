package connection

import (
	"net/netip"
	"slices"

	"cygnet/internal/ipsec"
)

// order is how a table of the runtime, SPD or routes, is sorted: by a key that
// occurs once.
type order[K, V any] struct {
	key     func(V) K
	compare func(a, b K) int
	same    func(a, b V) bool
}

var (
	spdOrder   = order[ipsec.Selector, ipsec.Policy]{func(p ipsec.Policy) ipsec.Selector { return p.Selector }, ipsec.Selector.Compare, samePolicy}
	routeOrder = order[netip.Prefix, KernelRoute]{func(r KernelRoute) netip.Prefix { return r.Prefix }, comparePrefixes, func(a, b KernelRoute) bool { return a == b }}
)

// change is the difference between two versions of a table: entries that are
// gone, and those that are new or other than they were.
type change[K, V any] struct {
	gone []K
	set  []V
}

func (c change[K, V]) empty() bool { return len(c.gone) == 0 && len(c.set) == 0 }

func (o order[K, V]) find(list []V, k K) (int, bool) {
	return slices.BinarySearchFunc(list, k, func(v V, k K) int { return o.compare(o.key(v), k) })
}

// apply changes a list in place and returns it.
func (o order[K, V]) apply(list []V, c change[K, V]) []V {
	for _, k := range c.gone {
		if i, ok := o.find(list, k); ok {
			list = slices.Delete(list, i, i+1)
		}
	}
	for _, v := range c.set {
		if i, ok := o.find(list, o.key(v)); ok {
			list[i] = v
		} else {
			list = slices.Insert(list, i, v)
		}
	}
	return list
}

// differ compares two whole lists.
func (o order[K, V]) differ(old, now []V) (c change[K, V]) {
	for len(old) > 0 || len(now) > 0 {
		switch {
		case len(now) == 0 || len(old) > 0 && o.compare(o.key(old[0]), o.key(now[0])) < 0:
			c.gone, old = append(c.gone, o.key(old[0])), old[1:]
		case len(old) == 0 || o.compare(o.key(old[0]), o.key(now[0])) > 0:
			c.set, now = append(c.set, now[0]), now[1:]
		default:
			if !o.same(old[0], now[0]) {
				c.set = append(c.set, now[0])
			}
			old, now = old[1:], now[1:]
		}
	}
	return c
}

// amend compares a list with what it shall be at some keys. Wanted tells what is
// wanted there, if anything.
func (o order[K, V]) amend(list []V, keys []K, wanted func(K) (V, bool)) (c change[K, V]) {
	slices.SortFunc(keys, o.compare)
	for i, k := range keys {
		if i > 0 && o.compare(keys[i-1], k) == 0 {
			continue
		}
		at, have := o.find(list, k)
		switch v, want := wanted(k); {
		case have && !want:
			c.gone = append(c.gone, k)
		case want && !(have && o.same(list[at], v)):
			c.set = append(c.set, v)
		}
	}
	return c
}

// told is a table as the runtime knows it.
type told[K, V any] struct {
	list  []V
	stale []K  // keys at which it may have to be another
	whole bool // it may anywhere
}

// update brings it up to date. What is to be known of the entry of one key, wanted
// tells; of all of them, all.
func (t *told[K, V]) update(o order[K, V], whole bool, all func() []V, wanted func(K) (V, bool)) (c change[K, V]) {
	if whole || t.whole {
		now := all()
		c = o.differ(t.list, now)
		t.list = now
	} else {
		c = o.amend(t.list, t.stale, wanted)
		t.list = o.apply(t.list, c)
	}
	t.stale, t.whole = t.stale[:0], whole
	return c
}
