package klips

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"cygnet/internal/ipsec"
	"cygnet/internal/tun"
	"cygnet/internal/underlay"
)

// namespace is a network namespace with a thread of its own. It ends with the
// thread.
type namespace struct {
	work chan func()
	h    netns.NsHandle
}

func newNamespace(t testing.TB) *namespace {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("not root: the lab needs CAP_NET_ADMIN")
		}
		t.Skip("not root: the lab needs CAP_NET_ADMIN")
	}
	n := &namespace{work: make(chan func())}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread is thrown away
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			n.h, err = netns.Get()
		}
		ready <- err
		for f := range n.work {
			f()
		}
	}()
	if err := <-ready; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		close(n.work)
		n.h.Close()
	})
	return n
}

// do runs f in the namespace.
func (n *namespace) do(t testing.TB, f func() error) {
	t.Helper()
	done := make(chan error)
	n.work <- func() { done <- f() }
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// site is one gateway of the lab: 192.0.2.N outside, 10.N.0.1 and fd00:N::1
// on its ipsec0.
type site struct {
	*namespace
	plane *Plane
}

// newSites connects two namespaces by a veth and starts a plane in each.
func newSites(t testing.TB) [2]*site {
	t.Helper()
	s := [2]*site{{namespace: newNamespace(t)}, {namespace: newNamespace(t)}}
	s[0].do(t, func() error {
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "eth0", PeerNamespace: netlink.NsFd(s[1].h)})
	})
	for i := range s {
		s[i].do(t, func() error { return address("eth0", fmt.Sprintf("192.0.2.%d/24", i+1)) })
		s[i].open(t, i)
	}
	return s
}

func (s *site) open(t testing.TB, i int) {
	s.do(t, func() error { return s.start(i) })
	t.Cleanup(func() { s.plane.Close() })
}

// newRoutedSites puts a router between the sites, whose second link has a
// smaller MTU than anybody knows.
func newRoutedSites(t testing.TB, mtu int) [2]*site {
	t.Helper()
	s := [2]*site{{namespace: newNamespace(t)}, {namespace: newNamespace(t)}}
	r := newNamespace(t)
	const hop = "192.0.2.254/32"
	for i, dev := range []string{"west", "east"} {
		far := fmt.Sprintf("192.0.2.%d/32", 2-i)
		s[i].do(t, func() error {
			err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: dev, PeerNamespace: netlink.NsFd(r.h)})
			if err == nil {
				err = address("eth0", fmt.Sprintf("192.0.2.%d/32", i+1))
			}
			if err == nil {
				err = route("eth0", hop, nil)
			}
			if err == nil {
				err = route("eth0", far, net.IPv4(192, 0, 2, 254))
			}
			return err
		})
		r.do(t, func() error {
			if err := address(dev, hop); err != nil {
				return err
			}
			return route(dev, fmt.Sprintf("192.0.2.%d/32", i+1), nil)
		})
		s[i].open(t, i)
	}
	r.do(t, func() error {
		l, err := netlink.LinkByName("east")
		if err == nil {
			err = netlink.LinkSetMTU(l, mtu)
		}
		if err == nil {
			err = os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0)
		}
		return err
	})
	return s
}

func route(dev, dst string, via net.IP) error {
	l, err := netlink.LinkByName(dev)
	if err != nil {
		return err
	}
	to, err := netlink.ParseIPNet(dst)
	if err != nil {
		return err
	}
	r := &netlink.Route{LinkIndex: l.Attrs().Index, Dst: to, Gw: via}
	if via == nil {
		r.Scope = netlink.SCOPE_LINK
	}
	if err := netlink.RouteAdd(r); err != nil {
		return fmt.Errorf("route %s dev %s: %w", dst, dev, err)
	}
	return nil
}

func address(dev string, addrs ...string) error {
	l, err := netlink.LinkByName(dev)
	if err != nil {
		return err
	}
	for _, a := range addrs {
		addr, err := netlink.ParseAddr(a)
		if err != nil {
			return err
		}
		addr.Flags = unix.IFA_F_NODAD
		if err := netlink.AddrAdd(l, addr); err != nil {
			return fmt.Errorf("address %s: %w", a, err)
		}
	}
	return netlink.LinkSetUp(l)
}

func (s *site) start(i int) error {
	dev, err := tun.Open(tun.Options{Name: "ipsec0", Queues: runtime.GOMAXPROCS(0), MTU: 1438, Persist: true})
	if err != nil {
		return err
	}
	if err := address("ipsec0", fmt.Sprintf("10.%d.0.1/24", i+1), fmt.Sprintf("fd00:%d::1/64", i+1)); err != nil {
		return err
	}
	for _, net := range []string{fmt.Sprintf("10.%d.0.0/24", 2-i), fmt.Sprintf("fd00:%d::/64", 2-i)} {
		if err := route("ipsec0", net, nil); err != nil {
			return err
		}
	}
	sockets, err := underlay.Open(underlay.Options{Device: "eth0", Queues: runtime.GOMAXPROCS(0)})
	if err != nil {
		return err
	}
	s.plane = New(Options{ClampMSS: true})
	return s.plane.Attach(Interface{Virtual: "ipsec0", Physical: "eth0", TUN: dev, Underlay: sockets})
}

// join installs a tunnel between the sites for both families.
func join(t testing.TB, s [2]*site, encap, df bool) {
	t.Helper()
	set := setup{outer: outer4, inner: [2]netip.Prefix{netip.MustParsePrefix("10.1.0.0/24"), netip.MustParsePrefix("10.2.0.0/24")},
		encap: encap, transform: gcm, key: 20, df: df}
	nets6 := [2]netip.Prefix{netip.MustParsePrefix("fd00:1::/64"), netip.MustParsePrefix("fd00:2::/64")}
	for me := range s {
		var list []ipsec.Policy
		for from := range s {
			sa := set.sa(from, me)
			sa.Replay = 1024
			if sa.Dir == ipsec.In {
				sa.Selectors = append(sa.Selectors, ipsec.Selector{Src: nets6[from], Dst: nets6[1-from]})
			}
			if err := s[me].plane.AddSA(context.Background(), sa); err != nil {
				t.Fatal(err)
			}
		}
		p := set.policy(me)
		list = append(list, p)
		p.Selector = ipsec.Selector{Src: nets6[me], Dst: nets6[1-me]}
		if err := s[me].plane.SetPolicies(context.Background(), append(list, p)); err != nil {
			t.Fatal(err)
		}
	}
}

// ping sends one ICMP echo from site 0 to site 1 and waits for the answer.
func ping(t testing.TB, s [2]*site) {
	t.Helper()
	s[0].do(t, func() error {
		c, err := net.DialIP("ip4:icmp", nil, &net.IPAddr{IP: net.IPv4(10, 2, 0, 1)})
		if err != nil {
			return err
		}
		defer c.Close()
		echo := []byte{8, 0, 0, 0, 0x12, 0x34, 0, 1, 'c', 'y', 'g', 'n', 'e', 't'}
		putSum(echo[2:], sum(echo, 0))
		if _, err := c.Write(echo); err != nil {
			return err
		}
		c.SetDeadline(time.Now().Add(5 * time.Second))
		b := make([]byte, 100)
		n, err := c.Read(b)
		if err != nil {
			return fmt.Errorf("ping: %w; drops %s / %s", err, shown(s[0].plane), shown(s[1].plane))
		}
		if icmp := b[min(n, ipv4HeaderLen):n]; len(icmp) < 8 || icmp[0] != 0 || !bytes.Equal(icmp[4:], echo[4:]) {
			return fmt.Errorf("ping: answer %x", b[:n])
		}
		return nil
	})
}

func shown(p *Plane) string { return (&gateway{Plane: p}).counted() }

// transfer sends n octets by TCP to addr at site 1 and compares their sums.
func transfer(t testing.TB, s [2]*site, addr string, n int) time.Duration {
	t.Helper()
	var l net.Listener
	s[1].do(t, func() (err error) { l, err = net.Listen("tcp", net.JoinHostPort(addr, "0")); return err })
	defer l.Close()
	_, measure := t.(*testing.B) // sums would cost more than the tunnel
	got := make(chan [32]byte, 1)
	go func() {
		var sum [32]byte
		defer func() { got <- sum }()
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		var h hash.Hash = sha256.New()
		if measure {
			io.CopyBuffer(struct{ io.Writer }{io.Discard}, c, make([]byte, 1<<17))
		} else {
			io.Copy(h, c)
		}
		copy(sum[:], h.Sum(nil))
		c.Write([]byte{1})
	}()
	var c net.Conn
	s[0].do(t, func() (err error) { c, err = net.DialTimeout("tcp", l.Addr().String(), 5*time.Second); return err })
	defer c.Close()
	c.SetDeadline(time.Now().Add(60 * time.Second))
	block := make([]byte, 1<<17)
	for i := range block {
		block[i] = byte(i * 31 >> 3)
	}
	h := sha256.New()
	start := time.Now()
	for sent := 0; sent < n; sent += len(block) {
		if _, err := c.Write(block); err != nil {
			t.Fatalf("write: %v; drops %s / %s", err, shown(s[0].plane), shown(s[1].plane))
		}
		if !measure {
			h.Write(block)
		}
	}
	c.(*net.TCPConn).CloseWrite()
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatalf("end: %v; drops %s / %s", err, shown(s[0].plane), shown(s[1].plane))
	}
	took := time.Since(start)
	if want := <-got; !bytes.Equal(want[:], h.Sum(nil)) {
		t.Error("the octets arrived changed")
	}
	return took
}

// TestNamespaces carries a ping and TCP over both families through real
// devices and sockets, in UDP and raw.
func TestNamespaces(t *testing.T) {
	for _, encap := range []bool{true, false} {
		t.Run(fmt.Sprintf("udp=%v", encap), func(t *testing.T) {
			s := newSites(t)
			join(t, s, encap, false)
			ping(t, s)
			transfer(t, s, "10.2.0.1", 16<<20)
			transfer(t, s, "fd00:2::1", 16<<20)
			u, err := s[0].plane.Usage(context.Background(), ipsec.SAID{Dst: outer4[1], Proto: ipsec.ESP, SPI: firstSPI})
			if err != nil || u.Bytes < 32<<20 {
				t.Errorf("usage %+v, %v", u, err)
			}
			t.Logf("drops %s / %s", shown(s[0].plane), shown(s[1].plane))
		})
	}
}

// TestNamespacesPathMTU: with DF outside, and a link in the middle that is
// smaller than anybody knows, the router's reports lower the SA's MTU and TCP
// flows all the same. Without DF the router fragments, which flows as well.
func TestNamespacesPathMTU(t *testing.T) {
	for _, encap := range []bool{true, false} {
		for _, df := range []bool{true, false} {
			t.Run(fmt.Sprintf("udp=%v,df=%v", encap, df), func(t *testing.T) {
				s := newRoutedSites(t, 1300)
				join(t, s, encap, df)
				ping(t, s)
				transfer(t, s, "10.2.0.1", 4<<20)
				transfer(t, s, "fd00:2::1", 4<<20)
				want := 1500
				if df {
					want = 1300
				}
				for _, st := range s[0].plane.SAs() {
					if st.Dir == ipsec.Out && st.PathMTU != want {
						t.Errorf("path MTU %d, want %d", st.PathMTU, want)
					}
				}
			})
		}
	}
}

// TestNamespacesFailClosed: a plain route beside the one into ipsec0 would
// carry the packets in clear. They do not leave without an SA, nor after the
// plane is gone as if killed, as long as the persistent device is there.
// adversary.md CRS-02, CRS-05.
func TestNamespacesFailClosed(t *testing.T) {
	s := newSites(t)
	s[0].do(t, func() error {
		_, dst, _ := net.ParseCIDR("10.0.0.0/8")
		return netlink.RouteAdd(&netlink.Route{Dst: dst, Gw: net.IPv4(192, 0, 2, 2)})
	})
	var l net.PacketConn
	s[1].do(t, func() (err error) { l, err = net.ListenPacket("udp", "10.2.0.1:7"); return err })
	defer l.Close()
	say := func(word string) {
		s[0].do(t, func() error {
			c, err := net.Dial("udp", "10.2.0.1:7")
			if err != nil {
				return err
			}
			defer c.Close()
			_, err = c.Write([]byte(word))
			return err
		})
	}
	if err := s[0].plane.SetPolicies(context.Background(), []ipsec.Policy{{Action: ipsec.Drop,
		Selector: ipsec.Selector{Src: netip.MustParsePrefix("10.0.0.0/8"), Dst: netip.MustParsePrefix("10.2.0.0/24")}}}); err != nil {
		t.Fatal(err)
	}
	say("dropped")
	(&gateway{Plane: s[0].plane}).waitDrop(t, "drop", 1)
	s[0].plane.Close()
	say("while no daemon runs")
	// The control, and the proof that nothing came before it.
	s[0].do(t, func() error {
		dev, err := netlink.LinkByName("ipsec0")
		if err != nil {
			return fmt.Errorf("the device did not persist: %w", err)
		}
		return netlink.LinkDel(dev)
	})
	say("in clear")
	l.SetReadDeadline(time.Now().Add(5 * time.Second))
	b := make([]byte, 100)
	n, _, err := l.ReadFrom(b)
	if err != nil || string(b[:n]) != "in clear" {
		t.Errorf("site 1 got %q, %v", b[:n], err)
	}
}

// BenchmarkNamespaces prints the rate of one TCP connection, both ends and both
// planes on the same machine.
func BenchmarkNamespaces(b *testing.B) {
	for _, encap := range []bool{true, false} {
		b.Run(fmt.Sprintf("udp=%v", encap), func(b *testing.B) {
			s := newSites(b)
			join(b, s, encap, false)
			const n = 256 << 20
			total, took := 0, time.Duration(0)
			for b.Loop() {
				took += transfer(b, s, "10.2.0.1", n)
				total += n
			}
			b.ReportMetric(float64(total)*8/took.Seconds()/1e9, "Gbit/s")
		})
	}
}

// BenchmarkMixed offers datagrams of 64 to 280 octets as fast as they can be
// sent, and prints how many come through.
func BenchmarkMixed(b *testing.B) {
	for _, noPadding := range []bool{false, true} {
		b.Run(fmt.Sprintf("padding=%v", !noPadding), func(b *testing.B) {
			s := newSites(b)
			join(b, s, true, false)
			for i := range s {
				s[i].plane.o.NoPadding = noPadding
			}
			var l net.PacketConn
			var c net.Conn
			s[1].do(b, func() (err error) { l, err = net.ListenPacket("udp", "10.2.0.1:0"); return err })
			defer l.Close()
			s[0].do(b, func() (err error) { c, err = net.Dial("udp", l.LocalAddr().String()); return err })
			defer c.Close()
			start, sent := time.Now(), 0
			block := make([]byte, 280)
			for b.Loop() {
				for range 1000 {
					if _, err := c.Write(block[:36+(sent*73)%217]); err == nil {
						sent++
					}
				}
			}
			took := time.Since(start)
			u, err := s[1].plane.Usage(context.Background(), ipsec.SAID{Dst: outer4[1], Proto: ipsec.ESP, SPI: firstSPI})
			if err != nil {
				b.Fatal(err)
			}
			n := u.Packets
			b.ReportMetric(float64(n)/took.Seconds()/1e3, "kpps")
			b.ReportMetric(float64(n)/float64(sent), "delivered")
		})
	}
}
