package klips

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"cygnet/internal/esp"
	"cygnet/internal/ipsec"
	"cygnet/internal/tun"
	"cygnet/internal/underlay"
)

// part is one SA of a bundle, as far as both directions share it.
type part struct {
	proto     ipsec.Proto
	transform ipsec.Transform
	key, mac  int // octets
}

var (
	partTun     = part{proto: ipsec.Tun}
	partComp    = part{proto: ipsec.Comp}
	partGCM     = part{proto: ipsec.ESP, transform: gcm, key: 20}
	part3DES    = part{proto: ipsec.ESP, transform: ipsec.Transform{Encr: 3, Integ: 1}, key: 24, mac: 16}
	partAES     = part{proto: ipsec.ESP, transform: ipsec.Transform{Encr: 12, KeyBits: 128, Integ: 12}, key: 16, mac: 32}
	partNull    = part{proto: ipsec.ESP, transform: ipsec.Transform{Encr: 11, Integ: 2}, mac: 20}
	partNoMAC   = part{proto: ipsec.ESP, transform: ipsec.Transform{Encr: 12, KeyBits: 128}, key: 16}
	partAHMD5   = part{proto: ipsec.AH, transform: ipsec.Transform{Integ: 1}, mac: 16}
	partAHSHA   = part{proto: ipsec.AH, transform: ipsec.Transform{Integ: 2}, mac: 20}
	partAHSHA2  = part{proto: ipsec.AH, transform: ipsec.Transform{Integ: 12}, mac: 32}
	partAHLarge = part{proto: ipsec.AH, transform: ipsec.Transform{Integ: 14, ESN: true}, mac: 64}
)

// stack is a bundle between the two gateways.
type stack struct {
	setup          // its mode, addresses, encap
	parts   []part // innermost first
	grouped bool   // inbound SAs know their bundle
}

// sas returns the SAs of one direction as gateway me sees them.
func (s stack) sas(from, me int) (list []ipsec.SA) {
	to := 1 - from
	var ids []ipsec.SAID
	for i, p := range s.parts {
		ids = append(ids, ipsec.SAID{Dst: s.outer[to], Proto: p.proto, SPI: ipsec.SPI(0x300 + 2*i + from)})
	}
	for i, p := range s.parts {
		sa := ipsec.SA{ID: ids[i], Src: s.outer[from], Mode: ipsec.Transport, Transform: p.transform, Owner: "west-east", DF: s.df, Life: s.life,
			EncrKey:  ipsec.NewSecret(bytes.Repeat([]byte{byte(1 + from)}, p.key)),
			IntegKey: ipsec.NewSecret(bytes.Repeat([]byte{byte(3 + from)}, p.mac))}
		if p.proto == ipsec.ESP || p.proto == ipsec.AH {
			sa.Replay = 64
		}
		if i == 0 {
			sa.Mode = s.mode
		}
		if s.encap && p.proto == ipsec.ESP {
			sa.Encap = ipsec.Encap{LocalPort: 4500, RemotePort: 4500}
		}
		if from != me {
			sa.Dir = ipsec.In
			sa.Selectors = []ipsec.Selector{{Src: s.inner[from], Dst: s.inner[to]}}
			if s.grouped {
				sa.Bundle = ids
			}
		}
		list = append(list, sa)
	}
	return list
}

func (s stack) policy(from int) ipsec.Policy {
	p := ipsec.Policy{Selector: ipsec.Selector{Src: s.inner[from], Dst: s.inner[1-from]}, Action: ipsec.Protect, Owner: "west-east"}
	for _, sa := range s.sas(from, from) {
		p.Bundle = append(p.Bundle, sa.ID)
	}
	return p
}

func (s stack) connect(t testing.TB, g [2]*gateway) {
	t.Helper()
	for me := range g {
		for from := range g {
			g[me].add(t, s.sas(from, me)...)
		}
		g[me].set(t, s.policy(me))
	}
}

func (g *gateway) add(t testing.TB, list ...ipsec.SA) {
	t.Helper()
	for _, sa := range list {
		if err := g.AddSA(context.Background(), sa); err != nil {
			t.Fatal(err)
		}
	}
}

// bundles are all kinds of bundle, by name.
func bundles() map[string][]part {
	return map[string][]part{
		"tun":              {partTun},
		"tun-esp":          {partTun, part3DES},
		"tun-ah":           {partTun, partAHMD5},
		"tun-comp":         {partTun, partComp},
		"tun-comp-esp":     {partTun, partComp, partAES},
		"tun-esp-ah":       {partTun, partNoMAC, partAHSHA},
		"tun-comp-esp-ah":  {partTun, partComp, partAES, partAHSHA2},
		"esp":              {partNull},
		"esp-ah":           {partGCM, partAHSHA2},
		"ah":               {partAHLarge},
		"ah-esp":           {partAHSHA2, part3DES}, // the other way round
		"comp":             {partComp},
		"comp-esp":         {partComp, partGCM},
		"esp-esp":          {partAES, partGCM},
		"comp-ah":          {partComp, partAHSHA},
		"three-and-tunnel": {partAES, partComp, partGCM, partAHMD5},
	}
}

func sorted[V any](m map[string]V) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// stacks are all bundles in all modes and families, by name.
func stacks() map[string]stack {
	out := map[string]stack{}
	for name, parts := range bundles() {
		for _, outer := range [][2]netip.Addr{outer4, outer6} {
			for _, inner := range [][2]netip.Addr{inner4, inner6} {
				s := stack{setup{outer: outer, inner: nets(inner, 24), mode: ipsec.Tunnel}, parts, true}
				out[fmt.Sprintf("%s-tunnel-%s-in-%s", name, inner[0], outer[0])] = s
				if parts[len(parts)-1].proto == ipsec.ESP && name != "ah-esp" && name != "esp-esp" {
					s.encap = true
					out[fmt.Sprintf("%s-tunnel-%s-in-%s-udp", name, inner[0], outer[0])] = s
				}
			}
			if parts[0].proto != ipsec.Tun && name != "comp" { // what does not shrink would be in clear
				out[fmt.Sprintf("%s-transport-%s", name, outer[0])] = stack{setup{outer: outer, inner: nets(outer, outer[0].BitLen()), mode: ipsec.Transport}, parts, true}
			}
		}
	}
	return out
}

// TestBundlesThrough sends packets of every length class, of what compresses
// and of what does not, both ways through every bundle.
func TestBundlesThrough(t *testing.T) {
	all := stacks()
	for _, name := range sorted(all) {
		s := all[name]
		t.Run(name, func(t *testing.T) {
			g := newLab(t, Options{})
			s.connect(t, g)
			a, b := s.ends()
			count := 0
			for _, n := range []int{0, 1, 17, 100, 1200} {
				for _, noise := range []bool{false, true} {
					for from, p := range [][]byte{udp(a, b, n), udp(b, a, n)} {
						if noise {
							p = noisy(p)
						}
						g[from].send(t, tun.Header{}, p)
						h, got := g[1-from].receive(t)
						if h != (tun.Header{}) || !bytes.Equal(got, p) {
							t.Fatalf("%d octets from %d: got %+v\n%x, want\n%x", n, from, h, got, p)
						}
					}
					count++
				}
			}
			if g[0].counted() != "" || g[1].counted() != "" {
				t.Errorf("drops %s / %s", g[0].counted(), g[1].counted())
			}
			for from := range g {
				for _, sa := range s.sas(from, from) {
					u, err := g[from].Usage(context.Background(), sa.ID)
					if err != nil || u.Packets != uint64(count) || u.LastUsed.IsZero() {
						t.Errorf("%s out: %+v, %v", sa.ID, u, err)
					}
					if u, err = g[1-from].Usage(context.Background(), sa.ID); err != nil || sa.ID.Proto != ipsec.Comp && u.Packets != uint64(count) {
						t.Errorf("%s in: %+v, %v", sa.ID, u, err)
					}
				}
			}
		})
	}
}

// noisy makes the content of a UDP packet incompressible.
func noisy(p []byte) []byte {
	k, _ := parse(p)
	r := rand.New(rand.NewPCG(1, uint64(len(p))))
	for i := k.l4 + udpHeaderLen; i < len(p); i++ {
		p[i] = byte(r.Uint32())
	}
	p[k.l4+6], p[k.l4+7] = 0, 0
	putUDPSum(p[k.l4+6:], sum(p[k.l4:], pseudo(p, protoUDP, len(p)-k.l4)))
	return p
}

// wire records what arrives at g.
func (g *gateway) record() chan underlay.Arrival {
	seen := make(chan underlay.Arrival, 64)
	g.wire.Intercept(func(a underlay.Arrival) []underlay.Arrival {
		x := a
		x.Data = bytes.Clone(a.Data)
		seen <- x
		return []underlay.Arrival{a}
	})
	return seen
}

// TestBundleOnWire: the headers outside are those of the bundle, in its order.
// R20.2: AH and IP-in-IP with the inner packet as it was.
func TestBundleOnWire(t *testing.T) {
	for name, want := range map[string][]ipsec.Proto{
		"tun": {ipsec.Tun}, "tun-esp": {ipsec.ESP}, "tun-ah": {ipsec.AH, ipsec.Tun}, "tun-comp": {ipsec.Comp},
		"tun-esp-ah": {ipsec.AH, ipsec.ESP}, "esp-ah": {ipsec.AH, ipsec.ESP}, "ah-esp": {ipsec.ESP}, "comp-ah": {ipsec.AH, ipsec.Comp},
	} {
		s := stack{setup{outer: outer4, inner: nets(inner4, 24), mode: ipsec.Tunnel}, bundles()[name], true}
		g := newLab(t, Options{})
		s.connect(t, g)
		seen := g[1].record()
		a, b := s.ends()
		g[0].send(t, tun.Header{}, udp(a, b, 500))
		w := <-seen
		var got []ipsec.Proto
		next, rest := w.Proto, w.Data[w.Head:]
		for range want {
			got = append(got, next)
			if next == ipsec.AH {
				next, rest = ipsec.Proto(rest[0]), rest[(int(rest[1])+2)*4:]
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
		if w.Head == 0 {
			continue // the socket made it
		}
		if id := binary.BigEndian.Uint16(w.Data[4:]); id == 0 || w.Data[8] != hopLimit || w.Data[1] != 0 || df(w.Data) {
			t.Errorf("%s: outer header %x", name, w.Data[:w.Head])
		}
	}
}

// TestBundleRefused is ESP-32 and ESP-33 of adversary.md: what comes with an
// SA of its bundle missing, in another order, or changed on the way.
// R20.2: what was changed is dropped.
func TestBundleRefused(t *testing.T) {
	strip := func(a underlay.Arrival) []underlay.Arrival { // the AH
		ah := a.Data[a.Head:]
		a.Proto = ipsec.Proto(ah[0])
		a.Data = append(a.Data[:a.Head:a.Head], ah[(int(ah[1])+2)*4:]...)
		a.Seg = len(a.Data)
		return []underlay.Arrival{a}
	}
	flip := func(at int) func(underlay.Arrival) []underlay.Arrival {
		return change(func(d []byte) []byte { d[at] ^= 1; return d })
	}
	a, b := ports(inner4)
	far := netip.MustParseAddrPort("10.9.0.1:5")
	zeros := ipHeader(inner4[0], inner4[1], protoUDP, make([]byte, 30000))
	for _, x := range []struct {
		name, reason string
		sent, known  []part // nil: the same
		packet       []byte
		change       func(underlay.Arrival) []underlay.Arrival
		delivered    bool
	}{
		{"whole", "", []part{partTun, partNoMAC, partAHSHA}, nil, udp(a, b, 9), nil, true},
		{"AH taken off", "bundle", []part{partTun, partNoMAC, partAHSHA}, nil, udp(a, b, 9), strip, false},
		{"AH taken off IP-in-IP", "no_sa", []part{partTun, partAHSHA}, nil, udp(a, b, 9), strip, false},
		{"ESP inside missing", "bundle", []part{partTun, partAHSHA}, []part{partTun, partAHSHA, partAES}, udp(a, b, 9), nil, false},
		{"TTL", "", []part{partTun, partAHSHA2}, nil, udp(a, b, 9), flip(8), true},
		{"TOS", "", []part{partTun, partAHSHA2}, nil, udp(a, b, 9), flip(1), true},
		{"DF", "", []part{partTun, partAHSHA2}, nil, udp(a, b, 9), change(func(d []byte) []byte { d[6] ^= 0x40; return d }), true},
		{"ID", "auth", []part{partTun, partAHSHA2}, nil, udp(a, b, 9), flip(4), false},
		{"source in the header", "auth", []part{partTun, partAHSHA2}, nil, udp(a, b, 9), flip(15), false},
		{"next header", "auth", []part{partTun, partAHSHA2}, nil, udp(a, b, 9), flip(20), false},
		{"length of AH", "short", []part{partTun, partAHSHA2}, nil, udp(a, b, 9), flip(21), false},
		{"sequence number", "auth", []part{partTun, partAHSHA2}, nil, udp(a, b, 9), change(func(d []byte) []byte { d[31] ^= 2; return d }), false},
		{"content", "auth", []part{partTun, partAHSHA2}, nil, udp(a, b, 9), flip(80), false},
		{"AH cut", "short", []part{partTun, partAHSHA2}, nil, udp(a, b, 9), change(func(d []byte) []byte { return d[:31] }), false},
		{"IPComp cut", "short", []part{partTun, partComp}, nil, udp(a, b, 900), change(func(d []byte) []byte { return d[:22] }), false},
		{"IPComp damaged", "ipcomp", []part{partTun, partComp}, nil, udp(a, b, 900), change(func(d []byte) []byte { d[24] = 0x07; return d }), false},
		{"another CPI", "bundle", []part{partTun, partComp, partNoMAC}, []part{partTun, {proto: ipsec.ESP}, partNoMAC}, udp(a, b, 900), nil, false},
		{"inner source outside the selectors", "policy", []part{partTun, partAHSHA}, nil, udp(far, b, 9), nil, false},
		{"source loopback", "martian", []part{partTun}, nil, udp(netip.MustParseAddrPort("127.0.0.1:1"), b, 9), nil, false},
		{"IP-in-IP outside the selectors", "policy", []part{partTun}, nil, udp(far, b, 9), nil, false},
		{"IP-in-IP of rubbish", "inner", []part{partTun}, nil, udp(a, b, 9), change(func(d []byte) []byte { d[20] = 0x15; return d }), false},
		{"from elsewhere", "outer_source", []part{partTun, partAHSHA}, nil, udp(a, b, 9), from("192.0.2.77"), false},
		{"IP-in-IP from elsewhere", "no_sa", []part{partTun}, nil, udp(a, b, 9), from("192.0.2.77"), false},
		{"replayed", "replay", []part{partTun, partAHSHA}, nil, udp(a, b, 9), func(x underlay.Arrival) []underlay.Arrival {
			y := x
			y.Data = bytes.Clone(x.Data)
			return []underlay.Arrival{x, y}
		}, true},
		{"30 kB in a few octets", "", []part{partTun, partComp}, nil, zeros, nil, true},
	} {
		t.Run(x.name, func(t *testing.T) {
			g := newLab(t, Options{})
			sent := stack{setup{outer: outer4, inner: nets(inner4, 24), mode: ipsec.Tunnel}, x.sent, true}
			known := sent
			if x.name == "another CPI" {
				list := sent.sas(0, 1)
				for i := range list {
					list[i].Bundle = slices.Clone(list[i].Bundle)
					list[i].Bundle[1].SPI++
				}
				list[1].ID.SPI++
				g[1].add(t, list...)
			} else {
				if x.known != nil {
					known.parts = x.known
				}
				g[1].add(t, known.sas(0, 1)...)
			}
			g[0].add(t, sent.sas(0, 0)...)
			all := sent.policy(0)
			all.Selector.Src, all.Selector.Dst = netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("0.0.0.0/0")
			g[0].set(t, all)
			if x.change != nil {
				g[1].wire.Intercept(x.change)
			}
			g[0].send(t, tun.Header{}, x.packet)
			if x.delivered {
				if _, got := g[1].receive(t); !bytes.Equal(got, x.packet) {
					t.Errorf("got %x", got)
				}
			}
			if x.reason != "" {
				g[1].waitDrop(t, x.reason, 1)
			}
			g[1].quiet(t)
			if g[0].counted() != "" {
				t.Errorf("sender drops %s", g[0].counted())
			}
		})
	}
}

func from(addr string) func(underlay.Arrival) []underlay.Arrival {
	return func(a underlay.Arrival) []underlay.Arrival {
		a.Remote = netip.AddrPortFrom(netip.MustParseAddr(addr), a.Remote.Port())
		return []underlay.Arrival{a}
	}
}

// TestBomb: compressed octets that expand beyond the longest IP packet
// (adversary.md ESP-26).
func TestBomb(t *testing.T) {
	g := newLab(t, Options{})
	s := stack{setup{outer: outer4, inner: nets(inner4, 24), mode: ipsec.Tunnel}, []part{partTun, partComp}, true}
	s.connect(t, g)
	out, err := esp.NewCompOut(s.sas(0, 0)[1])
	if err != nil {
		t.Fatal(err)
	}
	bomb, ok := out.Compress(new(esp.Scratch), make([]byte, 4096), protoIPv4, make([]byte, 1<<20))
	if !ok {
		t.Fatal("zeros did not shrink")
	}
	p := ipHeader(outer4[0], outer4[1], uint8(ipsec.Comp), bomb)
	g[1].wire.Deliver(underlay.Arrival{Proto: ipsec.Comp, Local: outer4[1], Remote: netip.AddrPortFrom(outer4[0], 0), Data: p, Head: 20, Seg: len(p)})
	g[1].waitDrop(t, "ipcomp", 1)
	a, b := s.ends()
	g[0].send(t, tun.Header{}, udp(a, b, 1000))
	g[1].receive(t)
}

// TestUncompressed: of a bundle with IPComp what shrinks goes compressed, the
// rest as if IPComp were not there, and `ipsec spi` can tell how well it works.
// adversary.md ESP-27.
func TestUncompressed(t *testing.T) {
	g := newLab(t, Options{})
	s := stack{setup{outer: outer4, inner: nets(inner4, 24), mode: ipsec.Tunnel}, []part{partTun, partComp, partAES}, true}
	s.connect(t, g)
	seen := g[1].record()
	a, b := s.ends()
	short, long := 0, 0
	for _, p := range [][]byte{udp(a, b, 1000), noisy(udp(a, b, 1000))} {
		g[0].send(t, tun.Header{}, p)
		g[1].receive(t)
		short, long = long, len((<-seen).Data)
	}
	if short > 400 || long < 1028 {
		t.Errorf("%d and %d octets on the wire", short, long)
	}
	for i := range g {
		for _, st := range g[i].SAs() {
			if st.ID.Proto != ipsec.Comp || st.ID.Dst != outer4[1] {
				continue
			}
			saved := st.CompressedFrom > 1000 && st.CompressedTo > 0 && st.CompressedFrom-st.CompressedTo > 600
			if !saved {
				t.Errorf("gateway %d: %d octets became %d", i, st.CompressedFrom, st.CompressedTo)
			}
		}
	}
}

// TestRoomOfBundles: what fits is known to the octet. The longest packet that
// fits is not longer than the MTU outside, one octet more is too long.
func TestRoomOfBundles(t *testing.T) {
	all := stacks()
	for _, name := range sorted(all) {
		s := all[name]
		for _, mtu := range []int{1500, 1499, 1283} {
			g := newLab(t, Options{})
			s.connect(t, g)
			seen := g[1].record()
			g[0].wire.SetMTU(9000) // so that nothing is fragmented
			g[0].devices[0].mtu.Store(9000)
			bd := g[0].spd.Load().entries[0].out.Load()
			room := bd.room(mtu)
			a, b := s.ends()
			overhead := len(udp(a, b, 0))
			for _, n := range []int{room, room + 1} {
				g[0].send(t, tun.Header{}, noisy(udp(a, b, n-overhead)))
				w := <-seen
				outer := len(w.Data)
				if w.Head == 0 {
					outer += bd.outer.outer
				}
				if fits := outer <= mtu; fits != (n == room) {
					t.Errorf("%s: MTU %d: of %d octets come %d", name, mtu, n, outer)
				}
			}
		}
	}
}

// The figures of freeswan.md 5.8, M1.
func TestRoomOfOld(t *testing.T) {
	for name, x := range map[string]struct {
		parts []part
		want  int
	}{"ESP-3DES": {[]part{partTun, part3DES}, 1446}, "AH": {[]part{partTun, partAHMD5}, 1456}, "IP-in-IP": {[]part{partTun}, 1480}} {
		g := newLab(t, Options{})
		s := stack{setup{outer: outer4, inner: nets(inner4, 24), mode: ipsec.Tunnel}, x.parts, true}
		s.connect(t, g)
		for _, st := range g[0].SAs() {
			if st.Dir == ipsec.Out && st.EffectiveMTU != x.want {
				t.Errorf("%s: %s: %d, want %d", name, st.ID, st.EffectiveMTU, x.want)
			}
		}
	}
}

// TestSameEnds: several tunnels of plain IP-in-IP between two gateways are told
// apart by what is inside.
func TestSameEnds(t *testing.T) {
	g := newLab(t, Options{})
	for i := range 3 {
		in := ipsec.SA{ID: ipsec.SAID{Dst: outer4[1], Proto: ipsec.Tun, SPI: ipsec.SPI(0x300 + i)}, Src: outer4[0], Dir: ipsec.In}
		net := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, byte(i), 0}), 24)
		in.Selectors = []ipsec.Selector{{Src: net, Dst: nets(inner4, 24)[1]}}
		g[1].add(t, in)
		out := in
		out.Dir, out.Selectors = ipsec.Out, nil
		g[0].add(t, out)
	}
	if err := g[1].DeleteSA(context.Background(), ipsec.SAID{Dst: outer4[1], Proto: ipsec.Tun, SPI: 0x301}); err != nil {
		t.Fatal(err)
	}
	g[0].set(t, ipsec.Policy{Selector: ipsec.Selector{Src: netip.MustParsePrefix("10.1.0.0/16"), Dst: nets(inner4, 24)[1]}, Action: ipsec.Protect,
		Bundle: []ipsec.SAID{{Dst: outer4[1], Proto: ipsec.Tun, SPI: 0x300}}})
	_, b := ports(inner4)
	for i := range 3 {
		p := udp(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(i), 9}), 9), b, 9)
		g[0].send(t, tun.Header{}, p)
		if i == 1 {
			g[1].waitDrop(t, "policy", 1)
			continue
		}
		if _, got := g[1].receive(t); !bytes.Equal(got, p) {
			t.Errorf("packet %d changed", i)
		}
		if u, err := g[1].Usage(context.Background(), ipsec.SAID{Dst: outer4[1], Proto: ipsec.Tun, SPI: ipsec.SPI(0x300 + i)}); err != nil || u.Packets != 1 {
			t.Errorf("tunnel %d: %+v, %v", i, u, err)
		}
	}
}

// TestBadBundles: what cannot be done is refused, or what needs it is dropped.
func TestBadBundles(t *testing.T) {
	g := newLab(t, Options{})[0]
	id := func(p ipsec.Proto, spi ipsec.SPI, dst netip.Addr) ipsec.SAID {
		return ipsec.SAID{Dst: dst, Proto: p, SPI: spi}
	}
	net := ipsec.Selector{Src: nets(inner4, 24)[0], Dst: nets(inner4, 24)[1]}
	five := []ipsec.SAID{}
	for i := range 5 {
		five = append(five, id(ipsec.ESP, ipsec.SPI(0x300+i), outer4[1]))
	}
	for name, ids := range map[string][]ipsec.SAID{
		"five SAs":         five,
		"one twice":        {five[0], five[0]},
		"two destinations": {five[0], id(ipsec.AH, 0x300, outer4[0])},
		"tun outside":      {five[0], id(ipsec.Tun, 0x300, outer4[1])},
	} {
		if err := g.SetPolicies(context.Background(), []ipsec.Policy{{Selector: net, Action: ipsec.Protect, Bundle: ids}}); err == nil {
			t.Errorf("%s: policy accepted", name)
		}
		sa := stack{tunnel4(), []part{partGCM}, false}.sas(0, 1)[0]
		sa.ID, sa.Bundle = ids[0], ids
		if err := g.AddSA(context.Background(), sa); err == nil {
			t.Errorf("%s: SA accepted", name)
		}
	}
	for name, s := range map[string]ipsec.SA{
		"AH in UDP":           {ID: id(ipsec.AH, 0x300, outer4[1]), Src: outer4[0], Transform: partAHMD5.transform, IntegKey: ipsec.NewSecret(make([]byte, 16)), Encap: ipsec.Encap{LocalPort: 1, RemotePort: 1}},
		"AH without MAC":      {ID: id(ipsec.AH, 0x300, outer4[1]), Src: outer4[0]},
		"shunt":               {ID: id(ipsec.Int, 0x300, outer4[1]), Src: outer4[0]},
		"CPI of 17 bits":      {ID: id(ipsec.Comp, 0x10000, outer4[1]), Src: outer4[0]},
		"families":            {ID: id(ipsec.Tun, 0x300, outer4[1]), Src: outer6[0]},
		"bundle of strangers": {ID: id(ipsec.Tun, 0x300, outer4[1]), Src: outer4[0], Dir: ipsec.In, Bundle: five[:1]},
		"reserved CPI":        {ID: id(ipsec.Comp, 2, outer4[1]), Src: outer4[0], Dir: ipsec.In},
	} {
		if err := g.AddSA(context.Background(), s); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	// The peer may have chosen the number that all know.
	g.add(t, ipsec.SA{ID: id(ipsec.Comp, esp.CPIDeflate, outer4[1]), Src: outer4[0]})
	if err := g.AddSA(context.Background(), ipsec.SA{ID: id(ipsec.Int, 0x300, outer4[1]), Src: outer4[0]}); !errors.Is(err, ipsec.ErrUnsupported) {
		t.Errorf("shunt: %v", err)
	}
}

// TestIncomplete: never is a packet sent protected in part.
func TestIncomplete(t *testing.T) {
	s := stack{setup{outer: outer4, inner: nets(inner4, 24), mode: ipsec.Tunnel}, []part{partTun, partComp, partAES, partAHMD5}, true}
	a, b := s.ends()
	for missing := range s.parts {
		g := newLab(t, Options{})
		s.connect(t, g)
		seen := g[1].record()
		if err := g[0].DeleteSA(context.Background(), s.sas(0, 0)[missing].ID); err != nil {
			t.Fatal(err)
		}
		g[0].send(t, tun.Header{}, udp(a, b, 9))
		g[0].waitDrop(t, "no_sa_out", 1)
		g[0].add(t, s.sas(0, 0)[missing])
		g[0].send(t, tun.Header{}, udp(a, b, 10))
		if _, got := g[1].receive(t); !bytes.Equal(got, udp(a, b, 10)) {
			t.Error("changed")
		}
		if len(seen) != 1 {
			t.Errorf("%d packets left", len(seen))
		}
		// And on the other end.
		if err := g[1].DeleteSA(context.Background(), s.sas(0, 0)[missing].ID); err != nil {
			t.Fatal(err)
		}
		g[0].send(t, tun.Header{}, udp(a, b, 1000))
		g[1].waitDrop(t, "no_sa", 1)
		g[1].quiet(t)
	}
}

// TestBundleLimits: the hard limit of each SA ends the use of all.
func TestBundleLimits(t *testing.T) {
	for i := range 3 {
		g := newLab(t, Options{})
		s := stack{setup{outer: outer4, inner: nets(inner4, 24), mode: ipsec.Tunnel}, []part{partTun, partAES, partAHMD5}, true}
		s.connect(t, g)
		sa := s.sas(0, 0)[i]
		sa.Life.HardPackets = 2
		g[0].add(t, sa)
		a, b := s.ends()
		for n := range 4 {
			g[0].send(t, tun.Header{}, udp(a, b, n))
			if n < 2 {
				g[1].receive(t)
			}
		}
		g[0].waitDrop(t, "sa_expired", 2)
		if e := g[0].event(t); e != (ipsec.Expire{ID: sa.ID, Hard: true}) {
			t.Errorf("event %+v", e)
		}
	}
}
