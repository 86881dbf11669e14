package sim

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// fleet is n gateways with keys and records, 198.19.0.0 on, and what a run of
// them has taken.
func fleet(n int, seed uint64) (*World, []*Node) {
	w := New(seed)
	w.Trace.Quiet, w.Callers = true, n
	w.DNS.Delay = 5 * time.Millisecond
	w.Net.IKE.Delay, w.Net.Data.Delay = 10*time.Millisecond, 10*time.Millisecond
	nodes := make([]*Node, n)
	for i := range nodes {
		addr := netip.AddrFrom4([4]byte{198, 19, byte(i >> 8), byte(i)})
		nodes[i] = w.Add(fmt.Sprintf("f%d", i), addr.String(), IKEv2)
		w.DNS.Publish(addr, addr, 10, nodes[i].Key())
	}
	return w, nodes
}

// D11, D12: a thousand hosts call one at once, and one calls a thousand at once:
// all have tunnels after 15 seconds, no packet is lost, and no network is called
// more than 8 times at once.
func TestD11Thousand(t *testing.T) {
	if testing.Short() {
		t.Skip("a thousand handshakes")
	}
	for name, probe := range map[string]func(hub *Node, others []*Node) (sent []uint64){
		"they call": func(hub *Node, others []*Node) (sent []uint64) {
			for _, x := range others {
				sent = append(sent, ping(x, hub))
			}
			return sent
		},
		"it calls": func(hub *Node, others []*Node) (sent []uint64) {
			for _, x := range others {
				sent = append(sent, ping(hub, x))
			}
			return sent
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, n := fleet(1001, 21)
			for _, x := range n {
				x.Opportunistic("conn packetdefault\n auto=ignore\n", group("private", everyone))
			}
			w.Run(time.Second)
			began := time.Now()
			sent := probe(n[0], n[1:])
			most := 0
			for range 30 {
				w.Run(500 * time.Millisecond)
				calling := 0
				for _, sa := range n[0].Table.IKEs() {
					if sa.Ours && sa.Up == nil {
						calling++
					}
				}
				most = max(most, calling)
			}
			arrived := 0
			for i, p := range sent {
				arrived += n[0].Plane.Delivered[p] + n[i+1].Plane.Delivered[p]
			}
			t.Logf("%s: %d of 1000 packets arrived within 15 s of virtual time, %d calls at once at most, %d questions, %.1f s of computing",
				name, arrived, most, w.DNS.Asked, time.Since(began).Seconds())
			if arrived != 1000 || most > 4*8 { // in four networks
				t.Errorf("%d of 1000 arrived, %d calls at once", arrived, most)
			}
			for _, b := range w.Breaches {
				t.Error(b)
			}
		})
	}
}

// Issue 5, item 7: a thousand gateways, each with one key and one record, encrypt
// any to any: each calls three others that nobody has told it about.
func TestThousandGateways(t *testing.T) {
	if testing.Short() {
		t.Skip("three thousand tunnels")
	}
	w, n := fleet(1000, 22)
	for _, x := range n {
		x.Opportunistic("conn packetdefault\n auto=ignore\n", group("private", everyone))
	}
	w.Run(time.Second)
	began := time.Now()
	type call struct {
		to     *Node
		number uint64
	}
	var calls []call
	for i, x := range n {
		for _, step := range []int{1, 37, 501} {
			y := n[(i*7+step)%len(n)]
			if x != y {
				calls = append(calls, call{y, ping(x, y)})
			}
		}
		if i%100 == 99 {
			w.Run(100 * time.Millisecond)
		}
	}
	w.Run(15 * time.Second)
	arrived := 0
	for _, c := range calls {
		arrived += c.to.Plane.Delivered[c.number]
	}
	tunnels := 0
	for _, x := range n {
		for _, f := range x.Table.Flows() {
			if f.State.String() == "encrypted" {
				tunnels++
			}
		}
	}
	t.Logf("1000 gateways, %d records: %d calls, %d arrived encrypted, %d ends of tunnels, %d messages of IKE, %d questions to the DNS, %.1f s of computing",
		len(n), len(calls), arrived, tunnels, w.Stats.Sent, w.DNS.Asked, time.Since(began).Seconds())
	if arrived != len(calls) || w.Stats.DataSent != arrived {
		t.Errorf("%d of %d arrived, %d were protected", arrived, len(calls), w.Stats.DataSent)
	}
	for _, b := range w.Breaches {
		t.Error(b)
	}
}
