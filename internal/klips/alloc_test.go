package klips

import (
	"fmt"
	"net/netip"
	"testing"

	"cygnet/internal/ipsec"
	"cygnet/internal/tun"
	"cygnet/internal/underlay"
)

// rig is one worker of each direction without goroutines: what egress sends
// is what ingress gets.
type rig struct {
	g   [2]*gateway
	out *egress
	in  *ingress
	s   setup
	a   underlay.Arrival
}

func newRig(t testing.TB, s setup) *rig {
	r := &rig{g: newLab(t, Options{}), s: s}
	connect(t, r.g, s)
	r.begin()
	return r
}

// newBundleRig is the same for a bundle.
func newBundleRig(t testing.TB, s stack) *rig {
	r := &rig{g: newLab(t, Options{}), s: s.setup}
	s.connect(t, r.g)
	r.begin()
	return r
}

func (r *rig) begin() {
	r.out = newEgress(r.g[0].Plane, r.g[0].devices[0], new(sink), 0)
	r.out.at = now()
	r.out.out = r
	r.in = newIngress(r.g[1].Plane, r.g[1].devices[0], nil, new(sink))
	r.in.at = now()
}

// Send implements underlay.Sender.
func (r *rig) Send(msgs []underlay.Message) underlay.Result {
	for i := range msgs {
		m := &msgs[i]
		if m.Whole {
			head, proto := ipv4HeaderLen, m.Data[9]
			if m.Data[0]>>4 == 6 {
				head, proto = ipv6HeaderLen, m.Data[6]
			}
			r.a = underlay.Arrival{Proto: ipsec.Proto(proto), Local: r.s.outer[1], Remote: netip.AddrPortFrom(r.s.outer[0], 0), Data: m.Data, Head: head, Seg: m.Seg}
			r.in.arrival(&r.a)
			continue
		}
		r.a = underlay.Arrival{Proto: m.Proto, Encap: m.Encap, Local: r.s.outer[1], Remote: netip.AddrPortFrom(r.s.outer[0], m.Remote.Port()), Data: m.Data, Seg: m.Seg}
		r.in.arrival(&r.a)
	}
	r.in.coalescer.flush()
	r.in.arena = r.in.arena[:0]
	return underlay.Result{}
}

func (r *rig) SendClear([][]byte) underlay.Result { panic("not here") }

// pass carries one read of the TUN from end to end.
func (r *rig) pass(h tun.Header, b []byte) {
	h.Put(r.out.buf[slack:])
	n := copy(r.out.buf[slack+tun.HeaderLen:], b)
	r.out.read(tun.HeaderLen + n)
	r.out.flush()
}

func TestNoAllocations(t *testing.T) {
	type traffic struct {
		h tun.Header
		b []byte
	}
	a, b := ports(inner4)
	tcpHeader, tcpTrain := super(false, true, 60000, 1300, tcpACK)
	kinds := map[string]traffic{"small": {b: udp(a, b, 64)}, "tcp": {tcpHeader, tcpTrain}}
	suites := map[string]setup{}
	for _, name := range []string{"gcm", "gcm-esn", "chacha", "cbc"} {
		suites[name] = setups()["tunnel-"+name+"-udp=true-10.1.0.5-in-192.0.2.1"]
	}
	suites["transport"] = setups()["transport-gcm-udp=false-192.0.2.1"]
	for name, s := range suites {
		r := newRig(t, s)
		for kind, x := range kinds {
			if s.mode == ipsec.Transport {
				src, dst := s.ends()
				x = traffic{b: udp(src, dst, 64)}
			}
			if n := testing.AllocsPerRun(100, func() { r.pass(x.h, x.b) }); n != 0 {
				t.Errorf("%s, %s: %v allocations", name, kind, n)
			}
		}
		if r.g[0].counted()+r.g[1].counted() != "" {
			t.Errorf("%s: drops %s %s", name, r.g[0].counted(), r.g[1].counted())
		}
		if r.in.coalescer.q.(*sink).written == 0 {
			t.Errorf("%s: nothing was written", name)
		}
	}
}

// TestBundlesAllocateNothing: neither does the longer way.
func TestBundlesAllocateNothing(t *testing.T) {
	a, b := ports(inner4)
	for _, name := range []string{"tun", "tun-esp", "tun-ah", "tun-esp-ah", "tun-comp-esp-ah", "ah-esp"} {
		r := newBundleRig(t, stack{setup{outer: outer4, inner: nets(inner4, 24)}, bundles()[name], true})
		for _, n := range []int{64, 1200} {
			p := noisy(udp(a, b, n))
			if got := testing.AllocsPerRun(300, func() { r.pass(tun.Header{}, p) }); got != 0 {
				t.Errorf("%s, %d octets: %v allocations", name, n, got)
			}
		}
		if r.g[0].counted()+r.g[1].counted() != "" {
			t.Errorf("%s: drops %s %s", name, r.g[0].counted(), r.g[1].counted())
		}
	}
}

// TestIdleMemory: one worker of each direction, before any load, stays below
// 2 MB (datapath.md 7.7); the receive buffers of the underlay, 128 KB at first,
// come on top.
func TestIdleMemory(t *testing.T) {
	g := newLab(t, Options{})
	connect(t, g, tunnel4())
	a, b := ports(inner4)
	p := udp(a, b, 64)
	res := testing.Benchmark(func(bench *testing.B) {
		for bench.Loop() {
			w := newEgress(g[0].Plane, g[0].devices[0], new(sink), 0)
			w.out, w.at = new(sink), now()
			n := copy(w.buf[slack+tun.HeaderLen:], p)
			w.read(tun.HeaderLen + n)
			newIngress(g[1].Plane, g[1].devices[0], nil, new(sink))
		}
	})
	if got := res.AllocedBytesPerOp(); got > 2<<20-2<<16 {
		t.Errorf("%d octets per worker", got)
	} else {
		t.Logf("%d octets per worker", got)
	}
}

// BenchmarkPath is everything but the kernel: TUN read to TUN write.
func BenchmarkPath(b *testing.B) {
	src, dst := ports(inner4)
	h, train := super(false, true, 60000, 1386, tcpACK)
	for _, suite := range []string{"gcm", "chacha", "cbc"} {
		s := setups()["tunnel-"+suite+"-udp=true-10.1.0.5-in-192.0.2.1"]
		s.inner = nets(inner4, 24)
		for _, x := range []struct {
			name string
			h    tun.Header
			b    []byte
		}{{"tso", h, train}, {"64", tun.Header{}, udp(src, dst, 64)}, {"1400", tun.Header{}, udp(src, dst, 1372)}} {
			b.Run(suite+"/"+x.name, func(b *testing.B) {
				r := newRig(b, s)
				b.SetBytes(int64(len(x.b)))
				b.ReportAllocs()
				for b.Loop() {
					r.pass(x.h, x.b)
				}
			})
		}
	}
}

// BenchmarkBundle is the longer way.
func BenchmarkBundle(b *testing.B) {
	src, dst := ports(inner4)
	for _, name := range []string{"tun", "tun-esp", "tun-ah", "tun-esp-ah"} {
		for _, n := range []int{64, 1372} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				r := newBundleRig(b, stack{setup{outer: outer4, inner: nets(inner4, 24)}, bundles()[name], true})
				p := udp(src, dst, n)
				b.SetBytes(int64(len(p)))
				b.ReportAllocs()
				for b.Loop() {
					r.pass(tun.Header{}, p)
				}
			})
		}
	}
}

// BenchmarkLookup is a flow that the cache does not know, among n tunnels.
func BenchmarkLookup(b *testing.B) {
	for _, n := range []int{1, 1000, 100000} {
		var list []ipsec.Policy
		for i := range n {
			list = append(list, ipsec.Policy{Selector: ipsec.Selector{Src: netip.MustParsePrefix("10.1.0.0/24"),
				Dst: netip.PrefixFrom(netip.AddrFrom4([4]byte{20, byte(i >> 16), byte(i >> 8), byte(i)}), 32)}})
		}
		s, err := newSnapshot(list, &snapshot{})
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			i := 0
			for b.Loop() {
				f := ipsec.Flow{Src: inner4[0], Dst: netip.AddrFrom4([4]byte{20, byte(i >> 16), byte(i >> 8), byte(i)}), Proto: 17}
				if s.lookup(f) == nil {
					b.Fatal("not found")
				}
				i = (i + 7919) % n
			}
		})
	}
}
