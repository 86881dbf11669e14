package sim

import (
	"encoding/binary"
	"flag"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"cygnet/internal/connection"
	"cygnet/internal/ike"
)

var floodTime = flag.Duration("flood", 3*time.Second, "virtual time of the flood, at 100,000 messages in a second")

const (
	floodRate  = 100_000
	floodLimit = 8 << 20 // octets that the gateway may keep because of it
)

// 100,000 forged IKE_SA_INIT requests come in a second, each from another address
// and good in itself: an established tunnel keeps its traffic, loses nothing and
// is rekeyed; a new peer connects; memory stays bounded (RES-06, D13). For the whole
// half minute: -flood 30s.
func TestAdv_RES_06_Flood(t *testing.T) {
	w := New(1)
	w.Trace.Quiet = true
	w.Net.IKE, w.Net.Data = Faults{Delay: 10 * time.Millisecond}, Faults{Delay: 10 * time.Millisecond}
	west, east, north := w.Add("west", "192.0.2.1", IKEv2), w.Add("east", "198.51.100.2", IKEv2), w.Add("north", "203.0.113.9", IKEv2)
	tunnel := w.Tunnel("net", west, east, "10.1.0.0/24", "10.2.0.0/24")
	late := w.Tunnel("late", north, east, "10.3.0.0/24", "10.2.0.0/24")
	// A connection for whoever calls, so that every one of them may be honest.
	w.Tunnel("road", w.Add("road", "203.0.113.77", IKEv2), east, "10.4.0.1/32", "10.2.0.0/24", func(n *Node, d *connection.Description) {
		if n == east {
			d.Template, d.Remote.Addr, d.Remote.ID, d.Remote.Host = true, netip.IPv4Unspecified(), ike.ID{}, true
		}
	})
	west.Up("net")
	if !w.RunUntil(time.Minute, tunnel.Secured) {
		t.Fatal("not up")
	}
	w.Run(time.Second)
	request := firstRequest(t, w, west, east)
	before := heapNow()

	random := rand.New(rand.NewPCG(1, 1))
	stream, sent := w.Stream(tunnel, west, 10*time.Millisecond), 0
	end, halfOpen := w.Elapsed()+*floodTime, 0
	for w.Elapsed() < end {
		for range floodRate / 1000 {
			from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{byte(1 + random.IntN(223)), byte(random.IntN(256)), byte(random.IntN(256)), byte(1 + random.IntN(254))}), uint16(1024+random.IntN(60000)))
			msg := clone(request)
			binary.BigEndian.PutUint64(msg, random.Uint64()|1)
			east.received(netip.AddrPortFrom(east.Addr, 500), from, msg)
			sent++
		}
		switch w.Elapsed() - (end - *floodTime) {
		case *floodTime / 4:
			west.Rekey("net")
			west.RekeyIKE("net")
		case *floodTime / 2:
			north.Up("late")
		}
		w.Run(time.Millisecond)
		halfOpen = max(halfOpen, east.engine.(*v2).gate.HalfOpen())
	}
	if halfOpen == 0 {
		t.Error("no forged request was taken for an honest one: the flood tests nothing")
	}
	if !late.Secured() {
		t.Error("a new peer did not get through")
	}
	stream.Stop()
	w.Run(time.Second)
	w.forgetStrangers()
	grown := int64(heapNow()) - int64(before)
	if lost, twice := stream.Lost(); len(lost)+len(twice) > 0 {
		t.Errorf("of %d packets %d were lost, %d came twice", stream.Sent(), len(lost), len(twice))
	}
	if w.Stats.ChildRekeys != 2 || w.Stats.IKERekeys != 2 {
		t.Errorf("%d Child SAs and %d IKE SAs were rekeyed", w.Stats.ChildRekeys, w.Stats.IKERekeys)
	}
	t.Logf("%d forged requests in %v: at most %d half open, %.2f MiB more on the heap, %d datagrams in answer", sent, *floodTime, halfOpen, float64(grown)/(1<<20), w.Stats.Blocked)
	if grown > floodLimit {
		t.Errorf("%d octets more on the heap", grown)
	}
	fine(t, w, 1)
	w.Run(2 * time.Minute)
	if n := east.engine.(*v2).gate.HalfOpen(); n != 0 || len(east.machines) > 2 {
		t.Errorf("after the flood %d are half open, %d machines there", n, len(east.machines))
	}
	w.Quiet(tunnel, late)
	fine(t, w, 1)
}

// firstRequest is the IKE_SA_INIT request that one node has sent to another.
func firstRequest(t *testing.T, w *World, from, to *Node) []byte {
	for _, r := range w.Net.record[link{from.Addr, to.Addr}] {
		if h, err := ike.ParseHeader(r.msg); err == nil && h.Exchange == ike.SAInit && !h.Response() {
			return clone(r.msg)
		}
	}
	t.Fatal("no IKE_SA_INIT request")
	return nil
}
