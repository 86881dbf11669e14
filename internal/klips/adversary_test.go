package klips

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"cygnet/internal/ipsec"
	"cygnet/internal/tun"
	"cygnet/internal/underlay"
)

// captured returns the ESP packets that gateway 0 makes of list, as they arrive
// at gateway 1, which gets none of them.
func captured(t *testing.T, g [2]*gateway, list ...[]byte) []underlay.Arrival {
	t.Helper()
	seen := make(chan underlay.Arrival, len(list))
	g[1].wire.Intercept(func(a underlay.Arrival) []underlay.Arrival {
		a.Data = bytes.Clone(a.Data)
		seen <- a
		return nil
	})
	defer g[1].wire.Intercept(nil)
	var out []underlay.Arrival
	for _, p := range list {
		g[0].send(t, tun.Header{}, p)
		out = append(out, <-seen)
	}
	return out
}

// worker is a receiver of g that the test plays itself, with a clock of its own.
func (g *gateway) worker(q tun.Queue, at time.Time) *ingress {
	w := newIngress(g.Plane, g.devices[0], nil, q)
	w.at = at
	return w
}

// take plays one arrival; the copy is what the worker may write to.
func (w *ingress) take(a underlay.Arrival) {
	a.Data = bytes.Clone(a.Data)
	w.arrival(&a)
	w.empty()
}

// A flood of packets that no SA is for is counted one by one and told of once a
// second, with the number of all and the first of them.
func TestAdv_ESP_02_UnknownSPIFlood(t *testing.T) {
	g := newLab(t, Options{})
	connect(t, g, tunnel4())
	start := now()
	w := g[1].worker(g[1].devices[0].TUN.Queues()[0], start)
	const perSecond = 100_000
	packet := make([]byte, 64)
	a := underlay.Arrival{Local: outer4[1], Remote: netip.AddrPortFrom(outer4[0], 4500), Proto: ipsec.ESP, Encap: true, Data: packet, Seg: len(packet)}
	for second := range 3 {
		for i := range perSecond {
			binary.BigEndian.PutUint32(packet, 0x70000000+uint32(second*perSecond+i))
			w.arrival(&a)
		}
		g[1].tick(start.Add(time.Duration(second+1) * time.Second))
		want := ipsec.Strays{
			ID:    ipsec.SAID{Dst: outer4[1], Proto: ipsec.ESP, SPI: ipsec.SPI(0x70000000 + second*perSecond)},
			From:  outer4[0],
			Count: perSecond,
		}
		if got := g[1].event(t); got != want {
			t.Errorf("second %d: event %+v, want %+v", second, got, want)
		}
	}
	g[1].tick(start.Add(4 * time.Second))
	g[1].waitDrop(t, "no_sa", 3*perSecond)
	select {
	case e := <-g[1].Events():
		t.Errorf("event %+v after a second without strays", e)
	case <-time.After(10 * time.Millisecond):
	}
	g[1].quiet(t)
}

// The peer’s address follows the newest authentic packet only, and not more
// often than once a second: what is old, replayed or forged moves nothing.
func TestAdv_ESP_23_EndpointMoves(t *testing.T) {
	g := newLab(t, Options{})
	s := tunnel4()
	s.encap = true
	connect(t, g, s)
	a, b := ports(inner4)
	one := udp(a, b, 9)
	p := captured(t, g, one, one, one, one, one, one)
	from := func(i int, port uint16) underlay.Arrival {
		x := p[i]
		x.Remote = netip.AddrPortFrom(netip.MustParseAddr("198.51.100.9"), port)
		return x
	}
	forged := from(5, 7005)
	forged.Data = bytes.Clone(forged.Data)
	forged.Data[len(forged.Data)-1] ^= 1
	start := now()
	w := g[1].worker(g[1].devices[0].TUN.Queues()[0], start)
	steps := []struct {
		after time.Duration
		a     underlay.Arrival
		moves bool
	}{
		{0, from(2, 7002), true},                   // newest
		{moveEvery, from(0, 7000), false},          // good but old
		{2 * moveEvery, from(2, 7009), false},      // a copy
		{3 * moveEvery, forged, false},             // bad
		{3 * moveEvery, from(3, 7003), true},       // newest
		{4*moveEvery - 1, from(4, 7004), false},    // newest, but too soon
		{5 * moveEvery, p[5], false},               // from where the SA says
		{6 * moveEvery, from(1, 7001), false},      // good but old
		{time.Hour, from(5, 7005), false},          // a copy
		{2 * time.Hour, from(0, 7000), false},      // a copy, long after
		{3 * time.Hour, underlay.Arrival{}, false}, // nothing at all
	}
	var want []netip.AddrPort
	for _, x := range steps {
		if w.at = start.Add(x.after); x.a.Data != nil {
			w.take(x.a)
		}
		if x.moves {
			want = append(want, x.a.Remote)
		}
	}
	if e, ok := g[1].event(t).(ipsec.FirstUse); !ok {
		t.Fatalf("event %+v, want the first use", e)
	}
	for _, m := range want {
		if e, ok := g[1].event(t).(ipsec.PeerMoved); !ok || e.From != m || e.ID != s.sa(0, 1).ID {
			t.Errorf("event %+v, want a move to %s", e, m)
		}
	}
	select {
	case e := <-g[1].Events():
		t.Errorf("event %+v too much", e)
	case <-time.After(10 * time.Millisecond):
	}
}

// A peer that may send from anywhere (rightsubnet=0.0.0.0/0) still sends from no
// address that is nobody's, or ours, or behind another tunnel.
func TestAdv_ESP_28_InnerSource(t *testing.T) {
	for _, x := range []struct {
		name, source, reason string
		encap                bool
	}{
		{"the Internet", "203.0.113.77", "", false},
		{"loopback", "127.0.0.1", "martian", false},
		{"multicast", "224.0.0.251", "martian", false},
		{"broadcast", "255.255.255.255", "martian", false},
		{"our own address", outer4[1].String(), "martian", false},
		{"a net behind another tunnel", "10.77.0.5", "policy", false},
		{"a host behind another tunnel", "10.78.0.5", "policy", false},
		{"beside the other tunnel's net", "10.79.0.5", "", false},
		{"a net of the same peer", "10.80.0.5", "", false},
		{"a net behind another port of the peer's address", "10.80.0.5", "policy", true},
	} {
		t.Run(x.name, func(t *testing.T) {
			g := newLab(t, Options{})
			s := tunnel4()
			s.inner[0], s.encap = netip.MustParsePrefix("0.0.0.0/0"), x.encap
			connect(t, g, s)
			ours := s.policy(1)
			policies := []ipsec.Policy{ours}
			for n, other := range []struct {
				dst  netip.Addr
				net  string
				port uint16
			}{
				{netip.MustParseAddr("198.51.100.1"), "10.77.0.0/16", 0},
				{netip.MustParseAddr("198.51.100.2"), "10.78.0.5/32", 0},
				{outer4[0], "10.80.0.0/16", 61000},
			} {
				out := s.sa(1, 1)
				out.ID.SPI += ipsec.SPI(0x100 + n)
				out.ID.Dst = other.dst
				if x.encap {
					out.Encap.RemotePort = other.port
				}
				if err := g[1].AddSA(context.Background(), out); err != nil {
					t.Fatal(err)
				}
				p := ours
				p.Owner, p.Bundle = "other", []ipsec.SAID{out.ID}
				p.Selector.Dst = netip.MustParsePrefix(other.net)
				policies = append(policies, p)
			}
			if err := g[1].SetPolicies(context.Background(), policies); err != nil {
				t.Fatal(err)
			}
			src, dst := netip.AddrPortFrom(netip.MustParseAddr(x.source), 99), netip.AddrPortFrom(inner4[1], 99)
			p := udp(src, dst, 20)
			for range 2 { // the second time by what is remembered
				g[0].send(t, tun.Header{}, p)
				if x.reason == "" {
					if _, got := g[1].receive(t); !bytes.Equal(got, p) {
						t.Errorf("got %x", got)
					}
				}
			}
			if x.reason != "" {
				g[1].waitDrop(t, x.reason, 2)
				g[1].quiet(t)
			}
			// Without the other tunnels their nets are of the Internet again.
			if x.reason == "policy" {
				if err := g[1].SetPolicies(context.Background(), policies[:1]); err != nil {
					t.Fatal(err)
				}
				g[0].send(t, tun.Header{}, p)
				g[1].receive(t)
			}
		})
	}
}

// The key of an answer is that of the packet the other way round.
func TestReverseKey(t *testing.T) {
	for _, in := range [][2]netip.Addr{inner4, inner6} {
		a, b := ports(in)
		there, _ := parse(udp(a, b, 4))
		back, _ := parse(udp(b, a, 4))
		if there.key.reverse() != back.key || back.key.reverse() != there.key {
			t.Errorf("%v: %x reversed is %x, want %x", in, there.key, there.key.reverse(), back.key)
		}
	}
}

// Transport mode behind a NAT: what is not of the protocol that was agreed on is
// dropped, and the checksum is right again. Where the original addresses are
// known, a packet that was wrong before it was protected stays wrong.
func TestAdv_ESP_34_TransportBehindNAT(t *testing.T) {
	inside := netip.MustParseAddr("10.0.0.5") // what the peer behind the NAT calls itself
	known := ipsec.Original{Src: inside, Dst: outer4[1]}
	for _, x := range []struct {
		name     string
		original ipsec.Original
		packet   func(src netip.Addr) []byte
		reason   string
		damaged  bool
	}{
		{name: "UDP, original known", original: known, packet: func(a netip.Addr) []byte { return udpTo(a, 40) }},
		{name: "UDP of odd length, original known", original: known, packet: func(a netip.Addr) []byte { return udpTo(a, 41) }},
		{name: "TCP, original known", original: known, packet: tcpTo},
		{name: "UDP, original unknown", packet: func(a netip.Addr) []byte { return udpTo(a, 40) }},
		{name: "TCP, original unknown", packet: tcpTo},
		{name: "damaged before, original known", original: known, packet: tcpTo, damaged: true},
		{name: "protocol outside the selector", original: known, packet: func(a netip.Addr) []byte {
			return ipHeader(a, outer4[1], 47, make([]byte, 20))
		}, reason: "policy"},
	} {
		t.Run(x.name, func(t *testing.T) {
			g := newLab(t, Options{})
			s := tunnel4()
			s.mode, s.encap, s.inner = ipsec.Transport, true, nets(outer4, 32)
			connect(t, g, s)
			in := s.sa(0, 1)
			in.Original = x.original
			in.Selectors = []ipsec.Selector{
				{Src: s.inner[0], Dst: s.inner[1], Proto: protoUDP}, {Src: s.inner[0], Dst: s.inner[1], Proto: protoTCP},
			}
			if err := g[1].AddSA(context.Background(), in); err != nil {
				t.Fatal(err)
			}
			// Gateway 0 has no NAT in front of it, so its packet is given the
			// checksum that it would have there.
			p, want := x.packet(inside), x.packet(outer4[0])
			copy(p[12:16], want[12:16])
			sumIPv4(p, ipv4HeaderLen)
			if x.damaged {
				p[len(p)-1] ^= 1
				want[len(want)-1] ^= 1
			}
			g[0].send(t, tun.Header{}, p)
			if x.reason != "" {
				g[1].waitDrop(t, x.reason, 1)
				g[1].quiet(t)
				return
			}
			_, got := g[1].receive(t)
			if !bytes.Equal(got[ipv4HeaderLen:], want[ipv4HeaderLen:]) {
				t.Errorf("got\n%x, want\n%x", got, want)
			}
			if k, ok := parse(got); !ok || verified(got, k) == x.damaged {
				t.Errorf("the checksum is right: %v", !x.damaged)
			}
		})
	}
}

func udpTo(src netip.Addr, n int) []byte {
	return udp(netip.AddrPortFrom(src, 1701), netip.AddrPortFrom(outer4[1], 1701), n)
}

func tcpTo(src netip.Addr) []byte {
	return tcp(netip.AddrPortFrom(src, 99), netip.AddrPortFrom(outer4[1], 80), 7, tcpACK, nil, make([]byte, 33))
}

// The difference that goes into a checksum is the same as all of it made anew,
// in both families and at the edges of one's complement.
func TestExchangeEqualsAnew(t *testing.T) {
	for _, in := range [][2]netip.Addr{outer4, outer6} {
		for n := range 300 {
			was := ipsec.Original{Src: in[0], Dst: in[1]}
			for range n {
				was.Src, was.Dst = was.Src.Next(), was.Dst.Prev()
			}
			old := udp(netip.AddrPortFrom(was.Src, uint16(n)), netip.AddrPortFrom(was.Dst, 9), n)
			want := udp(netip.AddrPortFrom(in[0], uint16(n)), netip.AddrPortFrom(in[1], 9), n)
			head := len(old) - udpHeaderLen - n
			got := append(bytes.Clone(want[:head]), old[head:]...)
			natChecksum(got, protoUDP, was)
			if !bytes.Equal(got, want) {
				t.Fatalf("%v to %v: checksum %x, want %x", was, in, got[head+6:head+8], want[head+6:head+8])
			}
		}
	}
}

// broken is a TUN queue that refuses writes as a kernel may.
type broken struct {
	tun.Queue
	err atomic.Pointer[error]
}

func (q *broken) Write(parts [][]byte) error {
	if e := q.err.Load(); e != nil {
		return *e
	}
	return q.Queue.Write(parts)
}

type brokenTUN struct {
	*tun.Memory
	q broken
}

func (d *brokenTUN) Queues() []tun.Queue { return []tun.Queue{&d.q} }

// A TUN that takes nothing for a while loses and counts what it is given, and is
// as good as new after; when it is gone, the next one goes on with the same SAs.
func TestAdv_ESP_40_TUNWrites(t *testing.T) {
	g := newLab(t, Options{})
	s := tunnel4()
	connect(t, g, s)
	device := func() *brokenTUN {
		inside, host := tun.Pair("ipsec0", "host")
		d := &brokenTUN{Memory: inside}
		d.q.Queue = inside.Queues()[0]
		g[1].host = host
		return d
	}
	d := device()
	w := g[1].worker(&d.q, now())
	a, b := ports(inner4)
	p := captured(t, g, udp(a, b, 1), udp(a, b, 2), udp(a, b, 3), udp(a, b, 4), udp(a, b, 5))
	lost := uint64(0)
	for i, err := range []error{syscall.EAGAIN, syscall.ENOBUFS, syscall.EIO, nil} {
		d.q.err.Store(&err)
		if err == nil {
			d.q.err.Store(nil)
		}
		w.take(p[i])
		if err == nil {
			if _, got := g[1].receive(t); !bytes.Equal(got, udp(a, b, i+1)) {
				t.Errorf("got %x", got)
			}
			continue
		}
		lost++
		g[1].waitDrop(t, "tun", lost)
		g[1].quiet(t)
	}
	// Gone: the worker's reads and writes end, the replay window stays.
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	w.take(p[4])
	w = g[1].worker(&device().q, now())
	w.take(p[4])
	g[1].waitDrop(t, "replay", 1)
	w.take(captured(t, g, udp(a, b, 6))[0])
	if _, got := g[1].receive(t); !bytes.Equal(got, udp(a, b, 6)) {
		t.Errorf("behind the new device: %x", got)
	}
}

// After an SA has ended, nothing alive in the process holds its keys: neither as
// they came, which the caller wipes, nor as the first words of a cipher's key
// schedule, nor as the pad of a MAC. A dump of the live heap is searched for them.
func TestAdv_CRY_28_KeysGoWithTheSA(t *testing.T) {
	g := newLab(t, Options{})
	a, b := ports(inner4)
	suites := []setup{tunnel4(), {outer: outer4, inner: nets(inner4, 24), transform: ipsec.Transform{Encr: 12, KeyBits: 256, Integ: 12}, key: 32, mac: 32}}
	for n, s := range suites {
		// The test keeps keys only in disguise.
		key, mac := hidden(s.key), hidden(s.mac)
		policies := make([]ipsec.Policy, 2)
		for me := range g {
			for from := range g {
				sa := s.sa(from, me)
				sa.ID.SPI += ipsec.SPI(16 * n)
				sa.EncrKey, sa.IntegKey = ipsec.NewSecret(key.plain()), ipsec.NewSecret(mac.plain())
				if err := g[me].AddSA(context.Background(), sa); err != nil {
					t.Fatal(err)
				}
				sa.EncrKey.Wipe()
				sa.IntegKey.Wipe()
			}
			policies[me] = s.policy(me)
			policies[me].Bundle[0].SPI += ipsec.SPI(16 * n)
			if err := g[me].SetPolicies(context.Background(), policies[me:me+1]); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 5 {
			g[0].send(t, tun.Header{}, udp(a, b, i))
			g[1].receive(t)
			g[1].send(t, tun.Header{}, udp(b, a, i))
			g[0].receive(t)
		}
		if found := key.inHeap(t); found == 0 {
			t.Fatalf("suite %d: the key of an SA in use is nowhere: the search finds nothing", n)
		}
		for me := range g {
			if err := g[me].SetPolicies(context.Background(), nil); err != nil {
				t.Fatal(err)
			}
			for from := range g {
				id := s.sa(from, me).ID
				id.SPI += ipsec.SPI(16 * n)
				if err := g[me].DeleteSA(context.Background(), id); err != nil {
					t.Fatal(err)
				}
			}
			g[me].tick(now().Add(time.Second))
			g[me].tick(now().Add(2 * time.Second))
		}
		// Workers let go of an SA when their batch ends.
		for me := range g {
			g[me].send(t, tun.Header{}, udp(a, b, 1))
			g[me].waitDrop(t, "no_eroute", uint64(n+1))
		}
		if found := key.inHeap(t) + mac.inHeap(t); found != 0 {
			t.Errorf("suite %d: the keys stand in %d places after their SAs have ended", n, found)
		}
	}
}

// disguised are octets that are kept inverted.
type disguised []byte

func hidden(n int) disguised {
	d := make(disguised, n)
	for i := range d {
		d[i] = byte(rand.Uint32())
	}
	return d
}

func (d disguised) plain() []byte {
	b := make([]byte, len(d))
	for i := range d {
		b[i] = ^d[i]
	}
	return b
}

// inHeap counts where the first 16 octets stand in live memory: as they are, as
// words of the other order, and with the pads of HMAC.
func (d disguised) inHeap(t *testing.T) (found int) {
	t.Helper()
	if len(d) == 0 {
		return 0
	}
	runtime.GC()
	f, err := os.Create(t.TempDir() + "/heap")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	debug.WriteHeapDump(f.Fd())
	dump, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	for i := range dump {
		if len(dump)-i < 16 {
			break
		}
		x := dump[i : i+16]
		if x[0] == ^d[0] && d.match(x, 0, 0) || x[3] == ^d[0] && d.match(x, 3, 0) || x[0] == ^d[0]^0x36 && d.match(x, 0, 0x36) || x[0] == ^d[0]^0x5c && d.match(x, 0, 0x5c) {
			found++
		}
	}
	return found
}

func (d disguised) match(x []byte, order int, pad byte) bool {
	for i := range 16 {
		if x[i^order] != ^d[i]^pad {
			return false
		}
	}
	return true
}

// Eight workers protect at once with one SA of an AEAD, which is then installed
// once more: every packet has a nonce of its own, and no number is left out.
func TestAdv_CRY_21_NoncesOfEightWorkers(t *testing.T) {
	for _, transform := range []setup{tunnel4(), {outer: outer4, inner: nets(inner4, 24), transform: ipsec.Transform{Encr: 28}, key: 36}} {
		const workers, each = 8, 2000
		g := newLab(t, Options{})
		connect(t, g, transform)
		var mu sync.Mutex
		nonces := map[[8]byte]bool{}
		g[1].wire.Intercept(func(a underlay.Arrival) []underlay.Arrival {
			mu.Lock()
			defer mu.Unlock()
			for b := a.Data; len(b) > 0; {
				n := min(max(a.Seg, 1), len(b))
				iv := [8]byte(b[8:16]) // the salt is one for all
				if nonces[iv] {
					t.Errorf("nonce %x is used twice", iv)
				}
				nonces[iv] = true
				b = b[n:]
			}
			return nil
		})
		a, b := ports(inner4)
		var all sync.WaitGroup
		for n := range workers {
			all.Go(func() {
				w := newEgress(g[0].Plane, g[0].devices[0], g[0].devices[0].TUN.Queues()[0], n)
				w.at = now()
				p := udp(a, b, 20+n)
				k, _ := parse(p)
				for i := range each {
					if i == each/2 && n == 0 {
						if err := g[0].AddSA(context.Background(), transform.sa(0, 0)); err != nil {
							t.Error(err)
						}
					}
					w.packet(append(make([]byte, 0, 512), p...), k)
					if i%16 == 15 {
						w.flush()
					}
				}
				w.flush()
			})
		}
		all.Wait()
		if len(nonces) != workers*each {
			t.Errorf("%d nonces of %d packets", len(nonces), workers*each)
		}
	}
}
