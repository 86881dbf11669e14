package connection

import (
	"net/netip"
	"slices"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
)

// When a connection with a caller ends, whoever was spoken to behind us does not
// know: his answers are on their way and would leave in the clear, for nothing
// covers them any more. So what the connection covered rests for restTime: its
// packets still go into the device and are dropped there. That holds
// whoever ended it, the peer included, and for a new version of the connection
// too; `--delete' and `--unroute' are explicit wishes and leave nothing behind.
//
// Whatever a connection claims comes before what rests, and what a wider one
// would protect or drop is left to it. One that passes packets, or an entry of
// a policy group, has what rests as little as it had the connection itself.

// rest is what is left of the claims of one connection.
type rest struct {
	by        *conn // for its name and age; it may be gone from the table
	selectors []ipsec.Selector
	routes    []KernelRoute
	until     time.Time
}

// lay lets what c covers rest. What c passes in the clear is the user's wish
// and stays so.
func (t *Table) lay(c *conn) {
	if c.Stranger != nil || !c.state.Routed() || c.action(c.state) == ipsec.Pass {
		return
	}
	r := rest{by: c, selectors: c.Selectors(), routes: c.Routes(), until: t.now.Add(restTime)}
	if len(r.selectors) == 0 {
		return
	}
	if len(t.resting) >= maxResting {
		t.resting = t.resting[1:] // the oldest
	}
	t.resting, t.dirty = append(t.resting, r), true
}

// rise ends the rest of what has lain long enough. All lie equally long, so
// the oldest are first.
func (t *Table) rise() {
	for len(t.resting) > 0 && !t.resting[0].until.After(t.now) {
		t.resting, t.dirty = t.resting[1:], true
	}
}

// raise ends the rest of what a user means by name.
func (t *Table) raise(name string) {
	n := len(t.resting)
	t.resting = slices.DeleteFunc(t.resting, func(r rest) bool { return r.by.Name == name || r.by.Alias == name })
	t.dirty = t.dirty || len(t.resting) < n
}

// restingPolicies are the policies of what rests, by selector, as far as no
// policy of a connection covers it.
func (t *Table) restingPolicies(conns []ipsec.Policy) []ipsec.Policy {
	if len(t.resting) == 0 {
		return nil
	}
	var list []ipsec.Policy
	covers := coverOf(conns)
	for _, r := range slices.Backward(t.resting) { // of equal ones the newest has it
		for _, s := range r.selectors {
			if !covers.has(s) {
				list = append(list, ipsec.Policy{Selector: s, Action: ipsec.Drop, Owner: r.by.key().owner()})
			}
		}
	}
	slices.SortStableFunc(list, func(a, b ipsec.Policy) int { return ipsec.Selector.Compare(a.Selector, b.Selector) })
	return slices.CompactFunc(list, func(a, b ipsec.Policy) bool { return a.Selector == b.Selector })
}

// restingRoutes are the routes of what rests, by prefix, as far as the SPD has
// policies there.
func (t *Table) restingRoutes() []KernelRoute {
	if len(t.resting) == 0 {
		return nil
	}
	stands := map[netip.Prefix]bool{}
	for _, p := range t.spd.list {
		stands[p.Selector.Dst] = true
	}
	var list []KernelRoute
	for _, r := range slices.Backward(t.resting) {
		for _, k := range r.routes {
			if stands[k.Prefix] {
				list = append(list, k)
			}
		}
	}
	slices.SortStableFunc(list, func(a, b KernelRoute) int { return comparePrefixes(a.Prefix, b.Prefix) })
	return slices.CompactFunc(list, func(a, b KernelRoute) bool { return a.Prefix == b.Prefix })
}

// cover finds the policies that let nothing out in the clear by destination:
// there are few lengths of prefixes, and many connections.
type cover struct {
	lengths []int
	to      map[netip.Prefix][]ipsec.Selector
}

func coverOf(list []ipsec.Policy) cover {
	c := cover{to: map[netip.Prefix][]ipsec.Selector{}}
	for _, p := range list {
		if p.Action == ipsec.Pass {
			continue
		}
		d := p.Selector.Dst
		c.to[d] = append(c.to[d], p.Selector)
		if !slices.Contains(c.lengths, d.Bits()) {
			c.lengths = append(c.lengths, d.Bits())
		}
	}
	return c
}

// has reports whether one of them matches all that s does.
func (c cover) has(s ipsec.Selector) bool {
	for _, n := range c.lengths {
		p, err := s.Dst.Addr().Prefix(n)
		if err != nil || n > s.Dst.Bits() {
			continue
		}
		if slices.ContainsFunc(c.to[p], func(w ipsec.Selector) bool {
			return within(s.Src, w.Src) && (w.Proto == 0 || w.Proto == s.Proto) && inPorts(s.SrcPorts, w.SrcPorts) && inPorts(s.DstPorts, w.DstPorts)
		}) {
			return true
		}
	}
	return false
}

func inPorts(p, q ipsec.Ports) bool { return q.Any() || !p.Any() && q.Lo <= p.Lo && p.Hi <= q.Hi }

// endIKE deletes an IKE SA with all that rides on it. What the peer has sent before
// it knows is received only where something has taken its place: a packet that
// nobody could answer is let in no more.
func (t *Table) endIKE(sa *ikeSA) {
	t.do(ToMachine{sa.serial, ike.Delete{Moved: t.moved(sa)}})
}

// moved reports whether a connection that rides on sa rides on another IKE SA
// as well.
func (t *Table) moved(sa *ikeSA) bool {
	return slices.ContainsFunc(t.at.riders[sa.serial], func(ch *child) bool {
		return slices.ContainsFunc(ch.conn.children, func(x *child) bool { return x.ike != sa.serial && !x.closing })
	})
}
