package ikev2

import (
	"net/netip"

	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
)

// Traffic selectors and how two ends agree on them, RFC 7296 section 2.9. A
// selector is a box of addresses, ports and protocol; what both ends want is
// the intersection of their boxes.

// sides are the traffic selectors of a Child SA as we see them.
type sides struct{ local, remote []ipsec.TS }

// narrow is the responder's choice for conn out of what the initiator asks for.
// Unless the connection allows less, it must come out whole.
func narrow(c *ike.Conn, want, ask sides) (got sides, ok bool) {
	got = sides{intersect(want.local, ask.local), intersect(want.remote, ask.remote)}
	if len(got.local) == 0 || len(got.remote) == 0 {
		return got, false
	}
	return got, c.Narrow || got.equal(want)
}

// within reports whether every packet of s is one of t.
func (s sides) within(t sides) bool {
	return covered(s.local, t.local) && covered(s.remote, t.remote)
}

func (s sides) equal(t sides) bool { return s.within(t) && t.within(s) }

// nearness counts on how many ends s and t are the same or overlap.
func (s sides) nearness(t sides) int {
	n := 0
	for _, end := range [][2][]ipsec.TS{{s.local, t.local}, {s.remote, t.remote}} {
		switch {
		case covered(end[0], end[1]) && covered(end[1], end[0]):
			n += 2
		case len(intersect(end[0], end[1])) > 0:
			n++
		}
	}
	return n
}

// first reports whether s has room for the packet that the initiator put
// first (2.9).
func (s sides) first(ask sides) bool {
	return len(intersect(s.local, ask.local[:1])) > 0 && len(intersect(s.remote, ask.remote[:1])) > 0
}

func (s sides) String() string { return textOf(s.local) + " === " + textOf(s.remote) }

func textOf(ts []ipsec.TS) string {
	text := ""
	for i, t := range ts {
		if i > 0 {
			text += ","
		}
		text += t.String()
	}
	return text
}

// intersect returns what two lists have in common, in the order of ours, each
// box once.
func intersect(ours, theirs []ipsec.TS) []ipsec.TS {
	ours, theirs = ours[:min(len(ours), maxTS)], theirs[:min(len(theirs), maxTS)]
	var all []ipsec.TS
	for _, a := range ours {
		for _, b := range theirs {
			if x, ok := common(boxOf(a), boxOf(b)); ok && x.expressible() {
				all = appendBox(all, x.ts())
			}
		}
	}
	return all[:min(len(all), maxTS)]
}

// appendBox adds t unless another contains it, and drops those it contains.
func appendBox(all []ipsec.TS, t ipsec.TS) []ipsec.TS {
	kept := all[:0]
	for i, u := range all {
		if contains(u, t) {
			return all
		}
		if contains(t, u) {
			continue
		}
		kept = append(kept, all[i])
	}
	return append(kept, t)
}

// box is a TS with ports as plain numbers, so that port 0 is not "any".
type box struct {
	start, end netip.Addr
	proto      uint8
	lo, hi     int
}

func boxOf(t ipsec.TS) box {
	b := box{t.Start, t.End, t.Proto, int(t.Ports.Lo), int(t.Ports.Hi)}
	if t.Ports.Any() {
		b.lo, b.hi = 0, 0xffff
	}
	return b
}

func (b box) ts() ipsec.TS {
	t := ipsec.TS{Start: b.start, End: b.end, Proto: b.proto}
	if b.lo != 0 || b.hi != 0xffff {
		t.Ports = ipsec.Ports{Lo: uint16(b.lo), Hi: uint16(b.hi)}
	}
	return t
}

// expressible reports whether a TS can say b: one of port 0 alone would be read
// as any port.
func (b box) expressible() bool { return b.lo != 0 || b.hi != 0 }

// common is the intersection of two boxes. OPAQUE ports (lo after hi) have
// none with anything: nobody here could match them.
func common(a, b box) (box, bool) {
	if a.start.Is4() != b.start.Is4() {
		return box{}, false
	}
	x := box{later(a.start, b.start), earlier(a.end, b.end), a.proto, max(a.lo, b.lo), min(a.hi, b.hi)}
	if x.proto == 0 {
		x.proto = b.proto
	}
	fits := b.proto == 0 || b.proto == x.proto
	return x, fits && !x.end.Less(x.start) && x.lo <= x.hi
}

func later(a, b netip.Addr) netip.Addr {
	if a.Less(b) {
		return b
	}
	return a
}

func earlier(a, b netip.Addr) netip.Addr {
	if a.Less(b) {
		return a
	}
	return b
}

func contains(outer, inner ipsec.TS) bool {
	x, ok := common(boxOf(outer), boxOf(inner))
	return ok && x == boxOf(inner)
}

// covered reports whether the boxes of outer together contain those of inner.
func covered(inner, outer []ipsec.TS) bool {
	for _, t := range inner {
		rest := []box{boxOf(t)}
		for _, o := range outer {
			var left []box
			for _, r := range rest {
				left = append(left, subtract(r, boxOf(o))...)
			}
			rest = left
		}
		if len(rest) > 0 {
			return false
		}
	}
	return true
}

// subtract returns boxes that together are a without b.
func subtract(a, b box) []box {
	x, ok := common(a, b)
	if !ok || x.proto != a.proto {
		return []box{a}
	}
	var rest []box
	if a.start.Less(x.start) {
		below := a
		below.end = x.start.Prev()
		rest = append(rest, below)
	}
	if x.end.Less(a.end) {
		above := a
		above.start = x.end.Next()
		rest = append(rest, above)
	}
	a.start, a.end = x.start, x.end
	if a.lo < x.lo {
		below := a
		below.hi = x.lo - 1
		rest = append(rest, below)
	}
	if x.hi < a.hi {
		above := a
		above.lo = x.hi + 1
		rest = append(rest, above)
	}
	return rest
}

// selectors returns what an inbound SA of s may deliver: every pair of
// prefixes, from the peer's side to ours. ok is false when that is more than a
// data plane should be asked to keep.
func (s sides) selectors() (all []ipsec.Selector, ok bool) {
	for _, r := range s.remote {
		for _, l := range s.local {
			proto := max(r.Proto, l.Proto)
			if min(r.Proto, l.Proto) != 0 && r.Proto != l.Proto {
				continue // no packet has two protocols
			}
			for _, src := range r.Prefixes() {
				for _, dst := range l.Prefixes() {
					if src.Addr().Is4() != dst.Addr().Is4() {
						continue
					}
					if len(all) == maxSelectors {
						return nil, false
					}
					all = append(all, ipsec.Selector{Src: src, Dst: dst, Proto: proto, SrcPorts: r.Ports, DstPorts: l.Ports})
				}
			}
		}
	}
	return all, len(all) > 0
}

// wants returns the traffic selectors of a connection's two ends. A host that
// is known by address only when it calls stands for the address it calls from.
func (s *SA) wants(c *ike.Conn) sides {
	switch {
	case c.FromPool: // nothing without a lease
		return sides{local: endTS(&c.Local, s.local.Addr()), remote: s.virtual.selectors()}
	case len(c.RequestIP) > 0 && len(s.virtual.Addrs) > 0:
		return sides{local: s.virtual.selectors(), remote: endTS(&c.Remote, s.remote.Addr())}
	case len(c.RequestIP) > 0:
		return sides{local: everything(c.RequestIP), remote: endTS(&c.Remote, s.remote.Addr())}
	}
	return sides{endTS(&c.Local, s.local.Addr()), endTS(&c.Remote, s.remote.Addr())}
}

func endTS(e *ike.End, seen netip.Addr) []ipsec.TS {
	if !e.Host || len(e.TS) > 0 && !e.TS[0].Start.IsUnspecified() {
		return e.TS
	}
	seen = seen.Unmap()
	t := ipsec.TSOf(netip.PrefixFrom(seen, seen.BitLen()), 0, ipsec.Ports{})
	if len(e.TS) > 0 {
		t.Proto, t.Ports = e.TS[0].Proto, e.TS[0].Ports
	}
	return []ipsec.TS{t}
}

// withTrigger puts the packet that asked for the SA first, RFC 7296, 2.9.
func (s sides) withTrigger(f *ipsec.Flow) sides {
	if f == nil {
		return s
	}
	src := hostTS(f.Src, f.Proto, f.SrcPort, f.Fragment)
	dst := hostTS(f.Dst, f.Proto, f.DstPort, f.Fragment)
	if !covered([]ipsec.TS{src}, s.local) || !covered([]ipsec.TS{dst}, s.remote) {
		return s // not a packet of this connection after all
	}
	return sides{append([]ipsec.TS{src}, s.local...), append([]ipsec.TS{dst}, s.remote...)}
}

func hostTS(a netip.Addr, proto uint8, port uint16, fragment bool) ipsec.TS {
	a = a.Unmap()
	t := ipsec.TSOf(netip.PrefixFrom(a, a.BitLen()), proto, ipsec.Ports{})
	if !fragment && port != 0 {
		t.Ports = ipsec.Ports{Lo: port, Hi: port}
	}
	return t
}
