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

	"cygnet/internal/ipsec"
	"cygnet/internal/klips"
	"cygnet/internal/lab"
	"cygnet/internal/lab/labtest"
	"cygnet/internal/tun"
	"cygnet/internal/underlay"
)

// The addresses of the two kernels: we are the first.
var (
	outer = [2]netip.Addr{netip.MustParseAddr("10.90.0.1"), netip.MustParseAddr("10.90.0.2")}
	inner = [2]netip.Addr{netip.MustParseAddr("10.91.1.1"), netip.MustParseAddr("10.91.2.1")}
)

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

// suite is a bundle, innermost first, in one mode.
type suite struct {
	name   string
	mode   ipsec.Mode
	layers []layer
}

func suites() (list []suite) {
	for _, mode := range []ipsec.Mode{ipsec.Tunnel, ipsec.Transport} {
		for _, s := range []suite{
			{"3des-md5", mode, []layer{esp(des3, md5)}},
			{"3des-sha1", mode, []layer{esp(des3, sha1)}},
			{"aes128-sha1", mode, []layer{esp(aes128, sha1)}},
			{"aes256-sha256", mode, []layer{esp(aes256, sha2)}},
			{"aes_gcm128", mode, []layer{esp(gcm128, alg{})}},
			{"null-sha1", mode, []layer{esp(null, sha1)}},
			{"ah-md5", mode, []layer{ah(md5)}},
			{"ah-sha1", mode, []layer{ah(sha1)}},
			{"ah-sha256", mode, []layer{ah(sha2)}},
			{"aes128-sha1+ah-sha1", mode, []layer{esp(aes128, sha1), ah(sha1)}},
			{"aes128+ah-sha256", mode, []layer{esp(aes128, alg{}), ah(sha2)}},
			{"comp+3des-md5", mode, []layer{comp, esp(des3, md5)}},
			{"comp+aes128-sha1+ah-md5", mode, []layer{comp, esp(aes128, sha1), ah(md5)}},
		} {
			s.name = mode.String() + "/" + s.name
			list = append(list, s)
		}
	}
	// In transport mode what does not shrink would be in clear.
	return append(list, suite{"tunnel/comp", ipsec.Tunnel, []layer{comp}})
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
	local, remote := inner[1].String()+"/24", inner[0].String()+"/24"
	if s.mode == ipsec.Transport {
		local, remote = outer[1].String(), outer[0].String()
	}
	for dir := range 2 { // 0: to the guest
		src, dst := outer[dir], outer[1-dir]
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
		from, to, name := remote, local, "in"
		if dir == 1 {
			from, to, name = local, remote, "out"
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
	src, dst := outer[dir], outer[1-dir]
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
		return ipsec.Selector{Src: netip.PrefixFrom(outer[0], 32), Dst: netip.PrefixFrom(outer[1], 32)}
	}
	return ipsec.Selector{Src: netip.PrefixFrom(inner[0], 24).Masked(), Dst: netip.PrefixFrom(inner[1], 24).Masked()}
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
		ip addr add %s/24 dev vec0
		ip link set vec0 up
		ip addr add %s/24 dev lo
		ip route add 10.91.1.0/24 via %s src %s
		%s %s 0.0.0.0:%d >/run/server.log 2>&1 &`, outer[1], inner[1], outer[0], inner[1], self, serverRole, serverPort))
	return p
}

// attach gives our side its TUN device, with routes for both modes, and its
// sockets on the tap.
func (p *peers) attach() error {
	dev, err := tun.Open(tun.Options{Name: "ipsec0", Queues: 1, MTU: 16260, Persist: true})
	if err != nil {
		return err
	}
	wire, err := underlay.Open(underlay.Options{Device: "tap0", Addrs: outer[:1]})
	if err != nil {
		dev.Close()
		return err
	}
	if err := p.plane.Attach(klips.Interface{Virtual: "ipsec0", Physical: "tap0", TUN: dev, Underlay: wire, Addrs: outer[:1]}); err != nil {
		return err
	}
	link, err := netlink.LinkByName("ipsec0")
	if err != nil {
		return err
	}
	addr, err := netlink.ParseAddr(inner[0].String() + "/24")
	if err != nil {
		return err
	}
	if err := netlink.AddrAdd(link, addr); err != nil {
		return err
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return err
	}
	for dst, src := range map[string]netip.Addr{"10.91.2.0/24": inner[0], outer[1].String() + "/32": outer[0]} {
		to, err := netlink.ParseIPNet(dst)
		if err != nil {
			return err
		}
		if err := netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: to, Src: net.IP(src.AsSlice())}); err != nil {
			return fmt.Errorf("route %s: %w", dst, err)
		}
	}
	return nil
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
func (p *peers) traffic(t *testing.T, ctx context.Context, src, dst netip.Addr) {
	t.Helper()
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
		if c.Count > 0 {
			s += fmt.Sprintf("%s=%d ", c.Reason, c.Count)
		}
	}
	return s
}

// TestKernel: our data plane and Linux's XFRM understand each other in every
// suite, and nothing goes beside the SAs.
func TestKernel(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	p := newPeers(t, ctx)
	for _, s := range suites() {
		t.Run(s.name, func(t *testing.T) {
			p.install(t, ctx, s)
			before := p.drops()
			src, dst := inner[0], inner[1]
			if s.mode == ipsec.Transport {
				src, dst = outer[0], outer[1]
			}
			p.traffic(t, ctx, src, dst)
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
		ip route replace 10.91.1.0/24 dev ipip9 src %s`, outer[1], outer[0], inner[1]))
	s := suite{name: "ipip", mode: ipsec.Tunnel}
	p.install(t, ctx, s)
	p.traffic(t, ctx, inner[0], inner[1])
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
			out := p.guest.do(t, ctx, fmt.Sprintf("ip -s xfrm state get src %s dst %s proto %s spi %#x", outer[dir], outer[1-dir], l.proto, uint32(spi(i, dir))))
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
