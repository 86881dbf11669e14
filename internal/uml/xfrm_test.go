package uml

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"cygnet/internal/ipsec"
	"cygnet/internal/klips"
	"cygnet/internal/lab"
	"cygnet/internal/lab/labtest"
	"cygnet/internal/tun"
	"cygnet/internal/underlay"
)

// addrs are the addresses of the two kernels in one family: we are the first.
type addrs struct {
	outer, inner [2]netip.Addr
	bits         int // of the inner nets
}

var (
	ip4 = addrs{pair("10.90.0.1", "10.90.0.2"), pair("10.91.1.1", "10.91.2.1"), 24}
	ip6 = addrs{pair("fd00:90::1", "fd00:90::2"), pair("fd00:91:1::1", "fd00:91:2::1"), 64}
)

func pair(a, b string) [2]netip.Addr {
	return [2]netip.Addr{netip.MustParseAddr(a), netip.MustParseAddr(b)}
}

// net is what lies behind one of the kernels.
func (a addrs) net(i int) netip.Prefix { return netip.PrefixFrom(a.inner[i], a.bits).Masked() }

// host is one of the kernels itself.
func (a addrs) host(i int) netip.Prefix { return netip.PrefixFrom(a.outer[i], a.outer[i].BitLen()) }

const serverPort = 7001

// alg is one algorithm as Linux and as IKEv2 call it.
type alg struct {
	linux string // with its kind, before the key
	trunc int    // bits of the ICV
	id    uint16
	key   int // octets
}

var (
	des3   = alg{linux: "enc cbc(des3_ede)", id: 3, key: 24}
	aes128 = alg{linux: "enc cbc(aes)", id: 12, key: 16}
	aes256 = alg{linux: "enc cbc(aes)", id: 12, key: 32}
	null   = alg{linux: "enc ecb(cipher_null)", id: 11}
	gcm128 = alg{linux: "aead rfc4106(gcm(aes))", trunc: 128, id: 20, key: 20}
	md5    = alg{linux: "auth-trunc hmac(md5)", trunc: 96, id: 1, key: 16}
	sha1   = alg{linux: "auth-trunc hmac(sha1)", trunc: 96, id: 2, key: 20}
	sha2   = alg{linux: "auth-trunc hmac(sha256)", trunc: 128, id: 12, key: 32}
)

// layer is one SA of a bundle.
type layer struct {
	proto       ipsec.Proto
	encr, integ alg
}

func esp(encr, integ alg) layer { return layer{ipsec.ESP, encr, integ} }
func ah(integ alg) layer        { return layer{proto: ipsec.AH, integ: integ} }

var comp = layer{proto: ipsec.Comp}

// suite is a bundle, innermost first, in one mode and family.
type suite struct {
	name   string
	mode   ipsec.Mode
	layers []layer
	addrs
}

func suites() (list []suite) {
	for _, x := range []struct {
		name   string
		layers []layer
		only4  bool
	}{
		{"3des-md5", []layer{esp(des3, md5)}, false},
		{"3des-sha1", []layer{esp(des3, sha1)}, true},
		{"aes128-sha1", []layer{esp(aes128, sha1)}, true},
		{"aes256-sha256", []layer{esp(aes256, sha2)}, true},
		{"aes_gcm128", []layer{esp(gcm128, alg{})}, true},
		{"null-sha1", []layer{esp(null, sha1)}, true},
		{"ah-md5", []layer{ah(md5)}, true},
		{"ah-sha1", []layer{ah(sha1)}, false},
		{"ah-sha256", []layer{ah(sha2)}, false},
		{"aes128-sha1+ah-sha1", []layer{esp(aes128, sha1), ah(sha1)}, true},
		{"aes128+ah-sha256", []layer{esp(aes128, alg{}), ah(sha2)}, false},
		{"comp+3des-md5", []layer{comp, esp(des3, md5)}, true},
		{"comp+aes128-sha1+ah-md5", []layer{comp, esp(aes128, sha1), ah(md5)}, true},
		{"comp", []layer{comp}, true},
	} {
		for _, mode := range []ipsec.Mode{ipsec.Tunnel, ipsec.Transport} {
			if x.name == "comp" && mode == ipsec.Transport {
				continue // what does not shrink would be in clear
			}
			list = append(list, suite{mode.String() + "/" + x.name, mode, x.layers, ip4})
			if !x.only4 {
				list = append(list, suite{mode.String() + "6/" + x.name, mode, x.layers, ip6})
			}
		}
	}
	return list
}

// key is the same on both sides, and another one for each direction and use.
func key(n int, use string, dir int) []byte {
	b := bytes.Repeat([]byte{byte(0x11*(dir+1)) ^ use[0]}, n)
	for i := range b {
		b[i] += byte(7 * i)
	}
	return b
}

// spi numbers the SA of one layer in one direction.
func spi(i, dir int) ipsec.SPI { return ipsec.SPI(0x300 + 2*i + dir) }

// linux is the suite as `ip` in the guest takes it: an SA for each layer and
// direction, and a policy for each direction whose templates are the layers.
func (s suite) linux() string {
	var b strings.Builder
	b.WriteString("set -e\nip xfrm policy flush\nip xfrm state flush\n")
	sel := s.selector()
	for dir := range 2 { // 0: to the guest
		src, dst := s.outer[dir], s.outer[1-dir]
		templates := ""
		for i, l := range s.layers {
			mode := "transport"
			if i == 0 {
				mode = s.mode.String()
			}
			fmt.Fprintf(&b, "ip xfrm state add src %s dst %s proto %s spi %#x mode %s %s\n", src, dst, l.proto, uint32(spi(i, dir)), mode, l.linux(dir))
			templates += fmt.Sprintf(" tmpl src %s dst %s proto %s mode %s", src, dst, l.proto, mode)
			if l.proto == ipsec.Comp && dir == 0 {
				templates += " level use" // not every packet shrinks
			}
		}
		from, to, name := sel.Src, sel.Dst, "in"
		if dir == 1 {
			from, to, name = to, from, "out"
		}
		fmt.Fprintf(&b, "ip xfrm policy add src %s dst %s dir %s%s\n", from, to, name, templates)
	}
	return b.String()
}

func (l layer) linux(dir int) string {
	if l.proto == ipsec.Comp {
		return "comp deflate"
	}
	words := "replay-window 32"
	if l.proto == ipsec.AH {
		words += " flag align4" // else Linux pads as for IPv6
	}
	for _, a := range []struct {
		alg
		use string
	}{{l.encr, "e"}, {l.integ, "i"}} {
		if a.linux == "" {
			continue
		}
		kind, name, _ := strings.Cut(a.linux, " ")
		words += fmt.Sprintf(" %s '%s' 0x%s", kind, name, hex.EncodeToString(key(a.key, a.use, dir)))
		if a.key == 0 {
			words = strings.TrimSuffix(words, "0x") + "''"
		}
		if a.trunc > 0 {
			words += " " + strconv.Itoa(a.trunc)
		}
	}
	return words
}

// ours are the SAs of one direction as our side has them, behind a tun SA in
// tunnel mode.
func (s suite) ours(dir int) (list []ipsec.SA) {
	src, dst := s.outer[dir], s.outer[1-dir]
	if s.mode == ipsec.Tunnel {
		list = append(list, ipsec.SA{ID: ipsec.SAID{Dst: dst, Proto: ipsec.Tun, SPI: spi(7, dir)}})
	}
	for i, l := range s.layers {
		sa := ipsec.SA{ID: ipsec.SAID{Dst: dst, Proto: l.proto, SPI: spi(i, dir)}, Mode: ipsec.Transport}
		if i == 0 {
			sa.Mode = s.mode
		}
		if l.proto != ipsec.Comp {
			sa.Replay = 64
			sa.Transform = ipsec.Transform{Encr: l.encr.id, Integ: l.integ.id}
			sa.EncrKey, sa.IntegKey = ipsec.NewSecret(key(l.encr.key, "e", dir)), ipsec.NewSecret(key(l.integ.key, "i", dir))
		}
		list = append(list, sa)
	}
	var ids []ipsec.SAID
	for _, sa := range list {
		ids = append(ids, sa.ID)
	}
	for i := range list {
		list[i].Src, list[i].Owner = src, s.name
		if dir == 1 {
			list[i].Dir, list[i].Bundle = ipsec.In, ids
			list[i].Selectors = []ipsec.Selector{s.selector().Reverse()}
		}
	}
	return list
}

// selector is what we send.
func (s suite) selector() ipsec.Selector {
	if s.mode == ipsec.Transport {
		return ipsec.Selector{Src: s.host(0), Dst: s.host(1)}
	}
	return ipsec.Selector{Src: s.net(0), Dst: s.net(1)}
}

// peers is our data plane in a namespace and Linux's in a guest, on one wire.
type peers struct {
	host  *lab.Host
	guest *Guest
	plane *klips.Plane
}

func newPeers(t *testing.T, ctx context.Context) *peers {
	need(t)
	l := labtest.New(t, "kx")
	h, err := l.AddHost("west")
	if err != nil {
		t.Fatal(err)
	}
	p := &peers{host: h, guest: boot(t, ctx, h), plane: klips.New(klips.Options{ClampMSS: true})}
	if err := h.AddAddr("tap0", netip.PrefixFrom(ip6.outer[0], ip6.bits)); err != nil {
		t.Fatal(err)
	}
	if err := h.Do(p.attach); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.plane.Close() })
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p.guest.do(t, ctx, fmt.Sprintf(`set -e
		for f in all default vec0; do echo 0 >/proc/sys/net/ipv4/conf/$f/rp_filter; done
		ip link set lo up
		ip link set vec0 up
		%s %s :%d >/run/server.log 2>&1 &`, self, serverRole, serverPort))
	for _, a := range []addrs{ip4, ip6} {
		nodad := ""
		if a.outer[0].Is6() {
			nodad = "nodad"
		}
		p.guest.do(t, ctx, fmt.Sprintf(`set -e
			ip addr add %s/%d dev vec0 %s
			ip addr add %s/%d dev lo %s
			ip route add %s via %s src %s`, a.outer[1], a.bits, nodad, a.inner[1], a.bits, nodad, a.net(0), a.outer[0], a.inner[1]))
	}
	return p
}

// attach gives our side its TUN device, with routes for both modes, and its
// sockets on the tap.
func (p *peers) attach() error {
	dev, err := tun.Open(tun.Options{Name: "ipsec0", Queues: 1, MTU: 16260, Persist: true})
	if err != nil {
		return err
	}
	own := []netip.Addr{ip4.outer[0], ip6.outer[0]}
	wire, err := underlay.Open(underlay.Options{Device: "tap0", Addrs: own})
	if err != nil {
		dev.Close()
		return err
	}
	if err := p.plane.Attach(klips.Interface{Virtual: "ipsec0", Physical: "tap0", TUN: dev, Underlay: wire, Addrs: own}); err != nil {
		return err
	}
	link, err := netlink.LinkByName("ipsec0")
	if err != nil {
		return err
	}
	for _, a := range []addrs{ip4, ip6} {
		addr := &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(a.inner[0], a.bits)), Flags: unix.IFA_F_NODAD}
		if err := netlink.AddrAdd(link, addr); err != nil {
			return err
		}
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return err
	}
	for _, a := range []addrs{ip4, ip6} {
		for dst, src := range map[netip.Prefix]netip.Addr{a.net(1): a.inner[0], a.host(1): a.outer[0]} {
			if err := netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(dst), Src: src.AsSlice()}); err != nil {
				return fmt.Errorf("route %s: %w", dst, err)
			}
		}
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// install gives both sides the SAs and policies of a suite, in place of those
// of the one before.
func (p *peers) install(t *testing.T, ctx context.Context, s suite) {
	t.Helper()
	p.guest.do(t, ctx, s.linux())
	p.clear(t, ctx)
	var bundle []ipsec.SAID
	for dir := range 2 {
		for _, sa := range s.ours(dir) {
			if err := p.plane.AddSA(ctx, sa); err != nil {
				t.Fatal(err)
			}
			if dir == 0 {
				bundle = append(bundle, sa.ID)
			}
		}
	}
	if err := p.plane.SetPolicies(ctx, []ipsec.Policy{{Selector: s.selector(), Action: ipsec.Protect, Bundle: bundle, Owner: s.name}}); err != nil {
		t.Fatal(err)
	}
}

func (p *peers) clear(t *testing.T, ctx context.Context) {
	t.Helper()
	if err := p.plane.SetPolicies(ctx, nil); err != nil {
		t.Fatal(err)
	}
	for _, st := range p.plane.SAs() {
		if err := p.plane.DeleteSA(ctx, st.ID); err != nil {
			t.Fatal(err)
		}
	}
}

// traffic pings with packets that fit, that the outer packet is fragmented for
// and that compress, then moves 1 MB each way.
func (p *peers) traffic(t *testing.T, ctx context.Context, s suite) {
	t.Helper()
	src, dst := s.inner[0], s.inner[1]
	if s.mode == ipsec.Transport {
		src, dst = s.outer[0], s.outer[1]
	}
	if s.mode == ipsec.Tunnel && src.Is6() {
		// Of IPv6 the first that is too long is lost, and tells what fits.
		if _, err := p.host.Ping(ctx, lab.Echo{Src: src, Dst: dst, Size: 3000, Wait: 10 * time.Millisecond}); err != nil {
			t.Fatal(err)
		}
	}
	for _, size := range []int{56, 1200, 3000} {
		r, err := p.host.Ping(ctx, lab.Echo{Src: src, Dst: dst, Count: 3, Interval: 20 * time.Millisecond, Size: size, Wait: 5 * time.Second})
		if err != nil || r.Received != r.Sent || r.Foreign > 0 {
			t.Errorf("ping of %d octets: %+v, %v; drops %s", size, r, err, p.drops())
		}
	}
	if err := transfer(ctx, p.host, netip.AddrPortFrom(dst, serverPort).String(), 1<<20); err != nil {
		t.Errorf("%v; drops %s", err, p.drops())
	}
}

func (p *peers) drops() string {
	s := ""
	for _, c := range p.plane.Drops() {
		if c.Count > 0 && c.Reason != "too_big" {
			s += fmt.Sprintf("%s=%d ", c.Reason, c.Count)
		}
	}
	return s
}

// TestKernel (R10.1): our data plane and Linux's XFRM understand each other in every
// suite, and nothing goes beside the SAs.
func TestKernel(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	p := newPeers(t, ctx)
	for _, s := range suites() {
		t.Run(s.name, func(t *testing.T) {
			p.install(t, ctx, s)
			before := p.drops()
			p.traffic(t, ctx, s)
			if after := p.drops(); after != before {
				t.Errorf("drops %s, before %s", after, before)
			}
			p.checkUse(t, ctx, s)
		})
	}
	if t.Failed() {
		r, err := p.guest.Run(ctx, "cat /run/server.log; cat /proc/net/xfrm_stat; ip -s xfrm state; ip -s link show vec0")
		t.Logf("the guest: %s %v", r.Output(), err)
	}
}

// TestIPIP: a tun SA alone is what Linux calls an ipip device (R20.6).
func TestIPIP(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	p := newPeers(t, ctx)
	p.guest.do(t, ctx, fmt.Sprintf(`set -e
		ip tunnel add ipip9 mode ipip local %s remote %s
		ip link set ipip9 up
		ip route replace %s dev ipip9 src %s`, ip4.outer[1], ip4.outer[0], ip4.net(0), ip4.inner[1]))
	s := suite{name: "ipip", mode: ipsec.Tunnel, addrs: ip4}
	p.install(t, ctx, s)
	p.traffic(t, ctx, s)
	if d := p.drops(); d != "" {
		t.Errorf("drops %s", d)
	}
	p.checkUse(t, ctx, s)
	if out := p.guest.do(t, ctx, "cat /sys/class/net/ipip9/statistics/rx_bytes"); len(out) < len("1048576\n") {
		t.Errorf("Linux's device received %s octets", out)
	}
}

// checkUse: every SA has carried a megabyte, on both sides, but for IPComp,
// which carries only what shrinks.
func (p *peers) checkUse(t *testing.T, ctx context.Context, s suite) {
	t.Helper()
	for dir := range 2 {
		for _, sa := range s.ours(dir) {
			u, err := p.plane.Usage(ctx, sa.ID)
			least := uint64(1 << 20)
			if sa.ID.Proto == ipsec.Comp {
				least = 1
			}
			if err != nil || u.Bytes < least {
				t.Errorf("our %s: %+v, %v", sa.ID, u, err)
			}
		}
	}
	for i, l := range s.layers {
		for dir := range 2 {
			out := p.guest.do(t, ctx, fmt.Sprintf("ip -s xfrm state get src %s dst %s proto %s spi %#x", s.outer[dir], s.outer[1-dir], l.proto, uint32(spi(i, dir))))
			_, after, _ := strings.Cut(out, "lifetime current:")
			packets := 0
			for _, w := range strings.Fields(after) {
				if n, ok := strings.CutSuffix(w, "(packets)"); ok {
					packets, _ = strconv.Atoi(n)
				}
			}
			if packets == 0 {
				t.Errorf("Linux's SA of %s in direction %d carried nothing:\n%s", l.proto, dir, out)
			}
			if !strings.Contains(out, "replay 0 failed 0") {
				t.Errorf("Linux's SA of %s in direction %d:\n%s", l.proto, dir, out)
			}
		}
	}
}
