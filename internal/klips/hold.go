package klips

import (
	"bytes"
	"slices"
	"sync"
	"time"

	"cygnet/internal/ipsec"
)

// holds keeps the packets of flows that wait for an SA: of each flow that met
// a %trap, and of each %hold policy, the first and the newest packet.
type holds struct {
	mu    sync.Mutex
	table map[holdKey]*hold
}

type holdKey struct {
	entry *entry
	key   key // of a trapped flow, without what its trap did not ask about; zero for %hold
}

type hold struct {
	policy        ipsec.Policy // as `ipsec eroute` shows it
	flow          ipsec.Flow   // of the first packet
	first, newest heldPacket
	packets       uint64
	reported      time.Time // zero: no Acquire was sent, or it is due again
	used          time.Time
}

// heldPacket remembers the device it came from, and goes out there again.
type heldPacket struct {
	data []byte
	from *device
}

// narrow reduces k to what a hold of trap e distinguishes: the address pair,
// and protocol and ports where the trap had them (freeswan.md 5.5).
func narrow(e *entry, k *key) key {
	n := *k
	s := &e.policy.Selector
	keep := uint64(keyIPv6) << 16
	if s.Proto != 0 {
		keep |= 0xff << 24
	}
	if !s.SrcPorts.Any() {
		keep |= 0xffff << 48
	}
	if !s.DstPorts.Any() {
		keep |= 0xffff << 32
	}
	n.rest &= keep
	return n
}

// add stores a copy of packet b; h.mu is held. It tells whether an Acquire is
// due, and false when there was no room.
func (h *holds) add(e *entry, k *key, b []byte, from *device, now time.Time) (acquire, ok bool) {
	hk := holdKey{entry: e}
	if e.policy.Action == ipsec.Trap {
		hk.key = narrow(e, k)
	}
	x := h.table[hk]
	if x == nil {
		if len(h.table) >= maxHolds {
			return false, false
		}
		x = &hold{policy: holdPolicy(e, hk.key), flow: k.flow()}
		h.table[hk] = x
	}
	x.packets++
	x.used = now
	x.store(b, from)
	if e.policy.Action == ipsec.Trap && now.Sub(x.reported) >= acquireEvery {
		x.reported = now
		return true, true
	}
	return false, true
}

func (x *hold) store(b []byte, from *device) {
	if len(b) > holdPacket {
		return // a superpacket: its sender repeats it
	}
	p := heldPacket{bytes.Clone(b), from}
	if x.first.data == nil {
		x.first = p
		return
	}
	x.newest = p
}

// unreported makes the Acquire of a hold due again.
func (h *holds) unreported(e *entry, k *key) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if x := h.table[holdKey{e, narrow(e, k)}]; x != nil {
		x.reported = time.Time{}
	}
}

// holdPolicy is the eroute that a hold amounts to.
func holdPolicy(e *entry, k key) ipsec.Policy {
	p := e.policy
	if p.Action == ipsec.Trap {
		src, dst := k.addrs()
		p.Action = ipsec.Hold
		p.Selector.Src, _ = src.Prefix(src.BitLen())
		p.Selector.Dst, _ = dst.Prefix(dst.BitLen())
		if p.Selector.Proto != 0 {
			f := k.flow()
			for _, r := range []struct {
				ports *ipsec.Ports
				port  uint16
			}{{&p.Selector.SrcPorts, f.SrcPort}, {&p.Selector.DstPorts, f.DstPort}} {
				if !r.ports.Any() {
					*r.ports = ipsec.Ports{Lo: r.port, Hi: r.port}
				}
			}
		}
	}
	return p
}

// release takes out the packets whose policy in s is no longer the entry that
// holds them, oldest first.
func (h *holds) release(s *snapshot, lookup func(*snapshot, *key) *entry) (out []heldPacket) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for hk, x := range h.table {
		k := x.key()
		if k != nil && lookup(s, k) == hk.entry {
			continue
		}
		delete(h.table, hk)
		for _, p := range []heldPacket{x.first, x.newest} {
			if p.data != nil {
				out = append(out, p)
			}
		}
	}
	// The order of a map must not reach the wire.
	slices.SortStableFunc(out, func(a, b heldPacket) int { return bytes.Compare(a.sortKey(), b.sortKey()) })
	return out
}

func (x *hold) key() *key {
	if x.first.data == nil {
		return nil
	}
	p, _ := parse(x.first.data)
	return &p.key
}

// sortKey orders by addresses, which keeps first before newest of one flow.
func (p *heldPacket) sortKey() []byte {
	if p.data[0]>>4 == 4 {
		return p.data[12:20]
	}
	return p.data[8:40]
}

// expire forgets holds without recent packets.
func (h *holds) expire(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for hk, x := range h.table {
		if now.Sub(x.used) > holdIdle {
			delete(h.table, hk)
		}
	}
}

// list shows the flows that traps hold.
func (h *holds) list() (out []ipsec.PolicyStatus) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for hk, x := range h.table {
		if hk.entry.policy.Action == ipsec.Trap {
			out = append(out, ipsec.PolicyStatus{Policy: x.policy, Packets: x.packets})
		}
	}
	return out
}
