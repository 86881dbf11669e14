package klips

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"cygnet/internal/ipsec"
	"cygnet/internal/tun"
	"cygnet/internal/underlay"
)

// setups are all combinations of modes, families and kinds of suite.
func setups() map[string]setup {
	out := map[string]setup{}
	suites := map[string]setup{
		"gcm":     {transform: gcm, key: 20},
		"gcm-esn": {transform: ipsec.Transform{Encr: 20, KeyBits: 256, ESN: true}, key: 36},
		"chacha":  {transform: ipsec.Transform{Encr: 28}, key: 36},
		"cbc":     {transform: ipsec.Transform{Encr: 12, KeyBits: 256, Integ: 12}, key: 32, mac: 32},
	}
	for name, s := range suites {
		for _, encap := range []bool{false, true} {
			for _, outer := range [][2]netip.Addr{outer4, outer6} {
				for _, inner := range [][2]netip.Addr{inner4, inner6} {
					s.encap, s.outer, s.inner, s.mode = encap, outer, nets(inner, 32), ipsec.Tunnel
					out[fmt.Sprintf("tunnel-%s-udp=%v-%v-in-%v", name, encap, inner[0], outer[0])] = s
				}
				s.inner, s.mode = nets(outer, outer[0].BitLen()), ipsec.Transport
				out[fmt.Sprintf("transport-%s-udp=%v-%v", name, encap, outer[0])] = s
			}
		}
	}
	return out
}

func (s setup) ends() (a, b netip.AddrPort) {
	x := [2]netip.Addr{s.inner[0].Addr(), s.inner[1].Addr()}
	return ports(x)
}

// TestThrough sends packets of every length class both ways through every
// setup, and finds them unchanged.
func TestThrough(t *testing.T) {
	for name, s := range setups() {
		t.Run(name, func(t *testing.T) {
			g := newLab(t, Options{})
			connect(t, g, s)
			a, b := s.ends()
			for _, n := range []int{0, 1, 2, 3, 15, 16, 17, 100, 1200} {
				for from, p := range [][]byte{udp(a, b, n), udp(b, a, n)} {
					g[from].send(t, tun.Header{}, p)
					h, got := g[1-from].receive(t)
					if h != (tun.Header{}) || !bytes.Equal(got, p) {
						t.Fatalf("%d octets from %d: got %+v\n%x, want\n%x", n, from, h, got, p)
					}
				}
			}
			u, err := g[0].Usage(context.Background(), s.sa(0, 0).ID)
			if err != nil || u.Packets != 9 || u.LastUsed.IsZero() {
				t.Errorf("usage %+v, %v", u, err)
			}
			if g[0].counted() != "" || g[1].counted() != "" {
				t.Errorf("drops %s / %s", g[0].counted(), g[1].counted())
			}
			for i := range g {
				if e, ok := g[i].event(t).(ipsec.FirstUse); !ok || e.ID != s.sa(1-i, i).ID {
					t.Errorf("gateway %d: event %+v", i, e)
				}
			}
		})
	}
}

// TestWire: nothing of the inner packet shows outside, and encapsulation is
// what the SA says.
func TestWire(t *testing.T) {
	g := newLab(t, Options{})
	s := tunnel4()
	s.encap = true
	connect(t, g, s)
	seen := make(chan underlay.Arrival, 1)
	g[1].wire.Intercept(func(a underlay.Arrival) []underlay.Arrival { seen <- a; return nil })
	a, b := ports(inner4)
	p := udp(a, b, 500)
	g[0].send(t, tun.Header{}, p)
	w := <-seen
	if !w.Encap || w.TOS != 0 || w.Remote.Addr() != outer4[0] || bytes.Contains(w.Data, p[12:20]) || bytes.Contains(w.Data, p[100:130]) {
		t.Errorf("on the wire: %+v", w)
	}
}

// TestRefused: what a peer that holds the keys must not be able to do, and
// what one that does not hold them tries.
// adversary.md ESP-02, ESP-03, ESP-21, ESP-28; opportunistic.md D21, and D15 for ESP.
func TestRefused(t *testing.T) {
	s := tunnel4()
	s.encap = true
	a, b := ports(inner4)
	far := netip.MustParseAddrPort("10.9.0.1:5")
	for _, x := range []struct {
		name, reason string
		packet       []byte
		change       func(underlay.Arrival) []underlay.Arrival
		delivered    int
	}{
		{"inner source outside the selectors", "policy", udp(far, b, 9), nil, 0},
		{"inner destination outside the selectors", "policy", udp(a, far, 9), nil, 0},
		{"inner source loopback", "martian", udp(netip.MustParseAddrPort("127.0.0.1:1"), b, 9), nil, 0},
		{"replayed", "replay", udp(a, b, 9), func(x underlay.Arrival) []underlay.Arrival {
			y := x
			y.Data = bytes.Clone(x.Data)
			return []underlay.Arrival{x, y}
		}, 1},
		{"bit flipped in the ICV", "auth", udp(a, b, 9), change(func(d []byte) []byte { d[len(d)-1] ^= 1; return d }), 0},
		{"bit flipped in the sequence number", "auth", udp(a, b, 9), change(func(d []byte) []byte { d[7] ^= 2; return d }), 0},
		{"unknown SPI", "no_sa", udp(a, b, 9), change(func(d []byte) []byte { d[0] ^= 1; return d }), 0},
		{"reserved SPI", "reserved_spi", udp(a, b, 9), change(func(d []byte) []byte { copy(d, []byte{0, 0, 0, 255}); return d }), 0},
		{"cut short", "short", udp(a, b, 9), change(func(d []byte) []byte { return d[:20] }), 0},
		{"seven octets", "short", udp(a, b, 9), change(func(d []byte) []byte { return d[:7] }), 0},
		{"congestion mark that the inner packet cannot carry", "ecn", udp(a, b, 9), func(x underlay.Arrival) []underlay.Arrival { x.TOS = 3; return []underlay.Arrival{x} }, 0},
	} {
		t.Run(x.name, func(t *testing.T) {
			g := newLab(t, Options{})
			connect(t, g, s)
			// The sender's policy covers everything; the receiver's SA does not.
			all := s.policy(0)
			all.Selector.Src, all.Selector.Dst = netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("0.0.0.0/0")
			if err := g[0].SetPolicies(context.Background(), []ipsec.Policy{all}); err != nil {
				t.Fatal(err)
			}
			if x.change != nil {
				g[1].wire.Intercept(x.change)
			}
			g[0].send(t, tun.Header{}, x.packet)
			g[1].waitDrop(t, x.reason, 1)
			for range x.delivered {
				g[1].receive(t)
			}
			g[1].quiet(t)
		})
	}
}

func change(f func([]byte) []byte) func(underlay.Arrival) []underlay.Arrival {
	return func(a underlay.Arrival) []underlay.Arrival {
		a.Data = f(a.Data)
		a.Seg = len(a.Data)
		return []underlay.Arrival{a}
	}
}

// TestOuterSource: raw ESP from another address is refused; ESP in UDP from
// another port is delivered and reported, as a NAT may have moved it.
func TestOuterSource(t *testing.T) {
	for _, encap := range []bool{false, true} {
		g := newLab(t, Options{})
		s := tunnel4()
		s.encap = encap
		connect(t, g, s)
		moved := netip.MustParseAddrPort("198.51.100.9:61000")
		if !encap {
			moved = netip.AddrPortFrom(moved.Addr(), 0)
		}
		g[1].wire.Intercept(func(a underlay.Arrival) []underlay.Arrival { a.Remote = moved; return []underlay.Arrival{a} })
		a, b := ports(inner4)
		g[0].send(t, tun.Header{}, udp(a, b, 9))
		if !encap {
			g[1].waitDrop(t, "outer_source", 1)
			continue
		}
		g[1].receive(t)
		g[1].event(t) // FirstUse
		if e, ok := g[1].event(t).(ipsec.PeerMoved); !ok || e.From != moved || e.ID != s.sa(0, 1).ID {
			t.Errorf("event %+v", e)
		}
	}
}

// TestLifetimes: at the soft limit one report and traffic goes on, at the hard
// limit one report and nothing more is sent.
func TestLifetimes(t *testing.T) {
	g := newLab(t, Options{})
	s := tunnel4()
	s.life = ipsec.Lifetime{SoftPackets: 2, HardPackets: 4}
	connect(t, g, s)
	a, b := ports(inner4)
	for i := range 4 {
		g[0].send(t, tun.Header{}, udp(a, b, i))
		g[1].receive(t)
	}
	g[0].send(t, tun.Header{}, udp(a, b, 9))
	g[0].send(t, tun.Header{}, udp(a, b, 9))
	g[0].waitDrop(t, "sa_expired", 2)
	id := s.sa(0, 0).ID
	for _, want := range []ipsec.Event{ipsec.Expire{ID: id}, ipsec.Expire{ID: id, Hard: true}} {
		if got := g[0].event(t); got != want {
			t.Errorf("event %+v, want %+v", got, want)
		}
	}
	g[1].quiet(t)
}

func TestHardTime(t *testing.T) {
	g := newLab(t, Options{})
	s := tunnel4()
	s.life = ipsec.Lifetime{HardTime: 100e9}
	connect(t, g, s)
	g[0].tick(now().Add(101e9))
	for range 2 {
		if e, ok := g[0].event(t).(ipsec.Expire); !ok || !e.Hard {
			t.Errorf("event %+v", e)
		}
	}
	a, b := ports(inner4)
	g[0].send(t, tun.Header{}, udp(a, b, 9))
	g[0].waitDrop(t, "sa_expired", 1)
}

// TestMissingSA: what should be protected and cannot be goes nowhere.
func TestMissingSA(t *testing.T) {
	g := newLab(t, Options{})
	s := tunnel4()
	connect(t, g, s)
	if err := g[0].DeleteSA(context.Background(), s.sa(0, 0).ID); err != nil {
		t.Fatal(err)
	}
	a, b := ports(inner4)
	g[0].send(t, tun.Header{}, udp(a, b, 9))
	g[0].waitDrop(t, "no_sa_out", 1)
	if err := g[0].DeleteSA(context.Background(), s.sa(0, 0).ID); !errors.Is(err, ipsec.ErrNotFound) {
		t.Errorf("second delete: %v", err)
	}
	// The same SAID again takes effect at once.
	if err := g[0].AddSA(context.Background(), s.sa(0, 0)); err != nil {
		t.Fatal(err)
	}
	g[0].send(t, tun.Header{}, udp(a, b, 9))
	g[1].receive(t)
}

// TestSameKeysGoOn: an SA that is installed again, or moves to another
// address, never uses a sequence number twice with its keys, and an inbound
// one never accepts a packet twice.
func TestSameKeysGoOn(t *testing.T) {
	g := newLab(t, Options{})
	s := tunnel4()
	connect(t, g, s)
	a, b := ports(inner4)
	var first underlay.Arrival
	g[1].wire.Intercept(func(x underlay.Arrival) []underlay.Arrival {
		if first.Data == nil {
			first = x
			first.Data = bytes.Clone(x.Data)
		}
		return []underlay.Arrival{x}
	})
	for range 3 {
		g[0].send(t, tun.Header{}, udp(a, b, 9))
		g[1].receive(t)
	}
	moved := s.sa(0, 0)
	moved.ID.Dst = netip.MustParseAddr("198.51.100.7")
	fresh := s.sa(0, 0)
	fresh.ID.SPI, fresh.EncrKey = moved.ID.SPI+100, ipsec.NewSecret(bytes.Repeat([]byte{9}, 20))
	other := moved
	other.ID.Dst, other.EncrKey = netip.MustParseAddr("198.51.100.8"), fresh.EncrKey
	for _, sa := range []ipsec.SA{s.sa(0, 0), moved, fresh, other} {
		if err := g[0].AddSA(context.Background(), sa); err != nil {
			t.Fatal(err)
		}
	}
	want := map[ipsec.SAID]uint64{s.sa(0, 0).ID: 3, moved.ID: 3, fresh.ID: 0, other.ID: 0}
	for _, st := range g[0].SAs() {
		if n, ok := want[st.ID]; ok && st.Seq != n {
			t.Errorf("%s is at %d, want %d", st.ID, st.Seq, n)
		}
	}
	if err := g[1].AddSA(context.Background(), s.sa(0, 1)); err != nil {
		t.Fatal(err)
	}
	g[1].wire.Deliver(first)
	g[1].waitDrop(t, "replay", 1)
	// Other keys under the SAID are another SA.
	rekeyed := s.sa(0, 1)
	rekeyed.EncrKey = fresh.EncrKey
	if err := g[1].AddSA(context.Background(), rekeyed); err != nil {
		t.Fatal(err)
	}
	for _, st := range g[1].SAs() {
		if st.ID == rekeyed.ID && st.Seq != 0 {
			t.Errorf("after rekeying at %d", st.Seq)
		}
	}
}

// TestRubbish: what is no IP packet is dropped, from the TUN as from the peer.
// adversary.md ESP-22.
func TestRubbish(t *testing.T) {
	g := newLab(t, Options{})
	connect(t, g, tunnel4())
	n := uint64(0)
	a, b := ports(inner4)
	good := udp(a, b, 9)
	for _, f := range []func([]byte) []byte{
		func(p []byte) []byte { return p[:0] },
		func(p []byte) []byte { return p[:19] },
		func(p []byte) []byte { p[0] = 0x05; return p },
		func(p []byte) []byte { p[0] = 0x55; return p },
		func(p []byte) []byte { p[0] = 0x44; return p },
		func(p []byte) []byte { p[0] = 0x4f; return p[:30] },
		func(p []byte) []byte { p[2] = 9; return p },
		func(p []byte) []byte { p[3] = 22; return p[:22] },
	} {
		n++
		g[0].send(t, tun.Header{}, f(bytes.Clone(good)))
		g[0].waitDrop(t, "inner", n)
	}
}
