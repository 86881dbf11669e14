package resolve

import (
	"container/list"
	"context"
	"errors"
	"sync"
	"time"

	"cygnet/internal/dns"
	"cygnet/internal/oe"
)

// Cache keeps the answers of a resolver: by TTL, negative ones too, failures
// briefly (opportunistic.md 8.4, rule 7). A question is asked once however many
// want to know, and goes on when they have left, so that a late answer serves
// the next one. It is an oe.Resolver.
type Cache struct {
	r     oe.Resolver
	now   func() time.Time
	watch watch
	slots chan struct{} // one per question in flight

	ctx    context.Context // of the questions; ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	entries map[oe.Query]*list.Element // of *entry
	byAge   *list.List                 // oldest first
	flights map[oe.Query]*flight
	closed  bool
}

type entry struct {
	query  oe.Query
	answer oe.Answer
}

// flight is a question under way.
type flight struct {
	done      chan struct{}
	answer    oe.Answer
	forgotten bool // asked before Forget: the answer is for those who wait, and not kept
}

// ErrClosed is the error of a closed cache.
var ErrClosed = errors.New("the resolver is closed")

// NewCache returns a cache in front of r. now is the wall clock.
func NewCache(r oe.Resolver, now func() time.Time) *Cache {
	c := &Cache{
		r: r, now: now, watch: watch{now: now}, slots: make(chan struct{}, inFlight),
		entries: map[oe.Query]*list.Element{}, byAge: list.New(), flights: map[oe.Query]*flight{},
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// Close ends what is under way and waits for it.
func (c *Cache) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.wg.Wait()
}

// Lookup implements oe.Resolver.
func (c *Cache) Lookup(ctx context.Context, name string, rrtype uint16) (oe.Answer, error) {
	q := oe.Query{Name: dns.Canonical(name), Type: rrtype}
	c.mu.Lock()
	if c.watch.set() {
		c.forget("")
	}
	if a, ok := c.fresh(q); ok {
		c.mu.Unlock()
		return a, nil
	}
	f := c.flights[q]
	if f == nil {
		if c.closed {
			c.mu.Unlock()
			return oe.Answer{}, ErrClosed
		}
		f = &flight{done: make(chan struct{})}
		c.flights[q] = f
		c.wg.Go(func() { c.fly(q, f) })
	}
	c.mu.Unlock()
	select {
	case <-f.done:
		return f.answer, nil
	case <-ctx.Done():
		return oe.Answer{Why: "no answer in time"}, ctx.Err()
	}
}

// fly asks and stores. When all slots are taken it waits for one, which is a
// part of the answer's time.
func (c *Cache) fly(q oe.Query, f *flight) {
	ctx, cancel := context.WithTimeout(c.ctx, lookupLimit)
	defer cancel()
	a := oe.Answer{Why: "too many questions at once"}
	select {
	case c.slots <- struct{}{}:
		var err error
		if a, err = c.r.Lookup(ctx, q.Name, q.Type); err != nil {
			a = oe.Answer{Why: err.Error()}
		}
		<-c.slots
	case <-ctx.Done():
	}
	c.mu.Lock()
	f.answer = c.lived(a)
	if !f.forgotten {
		c.store(q, f.answer)
		delete(c.flights, q)
	}
	c.mu.Unlock()
	close(f.done)
}

// fresh returns an answer that has not run out.
func (c *Cache) fresh(q oe.Query) (oe.Answer, bool) {
	if el := c.entries[q]; el != nil {
		e := el.Value.(*entry)
		return e.answer, c.now().Before(e.answer.Expires)
	}
	return oe.Answer{}, false
}

// lived gives an answer the life that its kind has.
func (c *Cache) lived(a oe.Answer) oe.Answer {
	switch a.Security {
	case oe.Bogus:
		a.Expires = c.now().Add(bogusTTL)
	case oe.Indeterminate:
		a.Expires = c.now().Add(errorTTL)
	}
	return a
}

func (c *Cache) store(q oe.Query, a oe.Answer) {
	if old := c.entries[q]; old != nil {
		c.drop(old)
	}
	c.entries[q] = c.byAge.PushBack(&entry{q, a})
	for len(c.entries) > maxEntries {
		c.drop(c.byAge.Front())
	}
}

func (c *Cache) drop(el *list.Element) {
	delete(c.entries, el.Value.(*entry).query)
	c.byAge.Remove(el)
}

// Forget drops what is known of a name, and of everything if name is empty: a
// key was changed a moment ago, or another network was joined. Questions under way
// are asked again by whoever wants to know from now on.
func (c *Cache) Forget(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(name)
}

func (c *Cache) forget(name string) {
	for q, f := range c.flights {
		if name == "" || q.Name == dns.Canonical(name) {
			f.forgotten = true
			delete(c.flights, q)
		}
	}
	for el := c.byAge.Front(); el != nil; el = el.Next() {
		if e := el.Value.(*entry); name == "" || e.query.Name == dns.Canonical(name) {
			e.answer.Expires = time.Time{}
		}
	}
}

// Len is how many answers are kept.
func (c *Cache) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.entries)
}
