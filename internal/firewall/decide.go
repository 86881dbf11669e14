package firewall

import (
	"iter"
	"net/netip"

	"github.com/gaissmai/bart"

	"cygnet/internal/ipsec"
)

// box is one entry of an ordered list in which the first match decides. Its
// selector has the direction of the packets that it is compared with.
type box struct {
	ipsec.Selector
	device string // empty: any
	value  uint32 // what is decided
}

// shape is what the boxes of one nftables set have in common.
type shape struct {
	v6     bool
	device bool   // the key begins with a device
	only   string // or all are of this device, which a rule asks for: a key has five fields at most
	proto  bool   // the key has the protocol
	ports  bool   // and the ports; only with proto
	value  uint32
}

func (b box) shape() shape {
	ports := !b.SrcPorts.Any() || !b.DstPorts.Any()
	s := shape{v6: b.Src.Addr().Is6(), device: b.device != "", proto: b.Proto != 0 || ports, ports: ports, value: b.value}
	if s.device && s.ports {
		s.device, s.only = false, b.device
	}
	return s
}

// layer is a set of boxes of one shape that are disjoint.
type layer struct {
	shape
	boxes []box
}

// layers turns an ordered list into sets that, asked one after the other,
// decide the same. nftables refuses overlapping elements in a set of ranges,
// and has no order among them: boxes that overlap go into different layers, the
// earlier one first. A gateway has one or two layers, whatever the number of
// its connections; nested selectors need one each.
func layers(list []box) []layer {
	var out []layer
	var placed []int // the layer of each box in kept
	var kept []box
	var index pairs
	for _, b := range list {
		at, reachable := 0, true
		for i := range index.near(b) {
			if !kept[i].overlaps(b) {
				continue
			}
			if kept[i].covers(b) {
				reachable = false
			}
			at = max(at, placed[i]+1)
		}
		if !reachable {
			continue
		}
		for at < len(out) && out[at].shape != b.shape() {
			at++
		}
		if at == len(out) {
			out = append(out, layer{shape: b.shape()})
		}
		out[at].boxes = append(out[at].boxes, b)
		index.add(b, len(kept))
		kept, placed = append(kept, b), append(placed, at)
	}
	return out
}

// pairs finds boxes by their two prefixes. Policy groups have thousands of
// destinations for one source, road warriors the other way round.
type pairs struct {
	bySrc bart.Table[*bart.Table[[]int]]
}

func (x *pairs) add(b box, n int) {
	byDst, ok := x.bySrc.Get(b.Src)
	if !ok {
		byDst = new(bart.Table[[]int])
		x.bySrc.Insert(b.Src, byDst)
	}
	byDst.Modify(b.Dst, func(list []int, _ bool) ([]int, bool) { return append(list, n), false })
}

// near yields the boxes whose prefixes overlap those of b.
func (x *pairs) near(b box) iter.Seq[int] {
	return func(yield func(int) bool) {
		for byDst := range overlapping(&x.bySrc, b.Src) {
			for list := range overlapping(byDst, b.Dst) {
				for _, n := range list {
					if !yield(n) {
						return
					}
				}
			}
		}
	}
}

// overlapping yields what a table has for the prefixes that cover p, for p and
// for those in p.
func overlapping[V any](t *bart.Table[V], p netip.Prefix) iter.Seq[V] {
	return func(yield func(V) bool) {
		for _, v := range t.Supernets(p) { // includes p itself
			if !yield(v) {
				return
			}
		}
		for q, v := range t.Subnets(p) {
			if q != p && !yield(v) {
				return
			}
		}
	}
}

// overlaps reports whether a packet may match both.
func (b box) overlaps(c box) bool {
	return (b.device == "" || c.device == "" || b.device == c.device) &&
		b.Src.Overlaps(c.Src) && b.Dst.Overlaps(c.Dst) &&
		(b.Proto == 0 || c.Proto == 0 || b.Proto == c.Proto) &&
		meet(b.SrcPorts, c.SrcPorts) && meet(b.DstPorts, c.DstPorts)
}

// covers reports whether each packet that matches c matches b. With ports in
// b that is left open, which costs at most a layer.
func (b box) covers(c box) bool {
	return (b.device == "" || b.device == c.device) &&
		within(c.Src, b.Src) && within(c.Dst, b.Dst) &&
		(b.Proto == 0 || b.Proto == c.Proto) &&
		(b.SrcPorts.Any() || b.SrcPorts == c.SrcPorts) && (b.DstPorts.Any() || b.DstPorts == c.DstPorts)
}

func within(inner, outer netip.Prefix) bool {
	return outer.Bits() <= inner.Bits() && outer.Contains(inner.Addr())
}

func meet(a, b ipsec.Ports) bool {
	return a.Any() || b.Any() || a.Lo <= b.Hi && b.Lo <= a.Hi
}
