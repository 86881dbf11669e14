package host

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"cygnet/internal/tun"
)

// inNamespace runs f on a thread in a network namespace of its own, with a
// veth eth0 (192.0.2.1/24, 2001:db8::1/64) whose other end is wire, and default
// routes by 192.0.2.254 and 2001:db8::fe.
func inNamespace(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("needs root")
		}
		t.Skip("needs root: network namespaces")
	}
	runtime.LockOSThread() // never unlocked: the thread ends with the test's goroutine
	old, err := netns.Get()
	check(t, err)
	ns, err := netns.New()
	check(t, err)
	t.Cleanup(func() { netns.Set(old); ns.Close(); old.Close() })
	os.WriteFile("/proc/sys/net/ipv6/conf/default/accept_dad", []byte("0"), 0o644)
	check(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "wire"}))
	for _, name := range []string{"lo", "wire", "eth0"} {
		l, err := netlink.LinkByName(name)
		check(t, err)
		check(t, netlink.LinkSetUp(l))
	}
	eth, err := netlink.LinkByName("eth0")
	check(t, err)
	for _, p := range []string{"192.0.2.1/24", "2001:db8::1/64"} {
		a, err := netlink.ParseAddr(p)
		check(t, err)
		a.Flags = unix.IFA_F_NODAD
		check(t, netlink.AddrAdd(eth, a))
	}
	for _, gw := range []string{"192.0.2.254", "2001:db8::fe"} {
		check(t, netlink.RouteAdd(&netlink.Route{LinkIndex: eth.Attrs().Index, Gw: net.ParseIP(gw)}))
	}
	f(t)
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func openTUN(t *testing.T) *tun.Linux {
	t.Helper()
	dev, err := tun.Open(tun.Options{Name: "ipsec0", Persist: true})
	check(t, err)
	return dev
}

func open(t *testing.T) *Linux {
	t.Helper()
	h, err := Open()
	check(t, err)
	t.Cleanup(func() { h.Close() })
	return h
}

// routeTo asks the kernel where a packet to dst would go.
func routeTo(t *testing.T, dst string) string {
	t.Helper()
	r, err := netlink.RouteGet(net.ParseIP(dst))
	check(t, err)
	l, err := netlink.LinkByIndex(r[0].LinkIndex)
	check(t, err)
	return l.Attrs().Name
}

var gateway = netip.MustParseAddr("192.0.2.254")

func TestFactsOfTheMachine(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		h := open(t)
		d, err := h.DefaultRoutes()
		check(t, err)
		want := [2]DefaultRoute{
			{"eth0", netip.MustParseAddr("192.0.2.1"), gateway},
			{"eth0", netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::fe")},
		}
		if d != want {
			t.Errorf("default routes %v, want %v", d, want)
		}
		list, err := h.Interfaces()
		check(t, err)
		i := slices.IndexFunc(list, func(i Interface) bool { return i.Name == "eth0" })
		if i < 0 || !list[i].Up || !slices.Contains(list[i].Addrs, netip.MustParsePrefix("192.0.2.1/24")) {
			t.Errorf("eth0 is not listed as it is: %+v", list)
		}
	})
}

func TestRoutes(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		h := open(t)
		defer openTUN(t).Remove()
		check(t, h.SetDevice("ipsec0", 1400, []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1"), netip.IPv6Loopback()}))
		eth, err := netlink.LinkByName("eth0")
		check(t, err)
		foreign := func(p string) {
			check(t, netlink.RouteAdd(&netlink.Route{LinkIndex: eth.Attrs().Index, Dst: ipNet(netip.MustParsePrefix(p)), Gw: net.ParseIP("192.0.2.254")}))
		}
		foreign("10.2.0.0/24")
		foreign("10.9.0.0/24")
		route := func(p string) Route {
			r := Route{Prefix: netip.MustParsePrefix(p), Device: "ipsec0"}
			if r.Prefix.Addr().Is4() {
				r.NextHop = gateway
			}
			return r
		}
		devices := []string{"ipsec0"}
		set := func(want ...Route) {
			t.Helper()
			for range 2 { // idempotent
				check(t, h.SetRoutes(want, devices))
			}
		}
		goes := func(want map[string]string) {
			t.Helper()
			for dst, dev := range want {
				if got := routeTo(t, dst); got != dev {
					t.Errorf("packets to %s go by %s, want %s", dst, got, dev)
				}
			}
		}

		goes(map[string]string{"10.2.0.1": "eth0", "2001:db8:2::1": "eth0"})
		set(route("10.2.0.0/24"), route("2001:db8:2::/48"))
		goes(map[string]string{"10.2.0.1": "ipsec0", "10.9.0.1": "eth0", "8.8.8.8": "eth0", "2001:db8:2::1": "ipsec0"})

		// The Internet as a subnet: two halves, and the default route stays.
		set(route("0.0.0.0/0"), route("::/0"))
		goes(map[string]string{"8.8.8.8": "ipsec0", "200.1.1.1": "ipsec0", "192.0.2.9": "eth0", "2001:db8:2::1": "ipsec0", "9000::1": "ipsec0"})
		d, err := h.DefaultRoutes()
		check(t, err)
		if d[0].Device != "eth0" || d[1].Device != "eth0" {
			t.Errorf("the default route is not what it was: %v", d)
		}

		set()
		// R17.6: the static route that was replaced does not come back.
		goes(map[string]string{"10.9.0.1": "eth0", "8.8.8.8": "eth0", "2001:db8:2::1": "eth0"})
		left, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Dst: ipNet(netip.MustParsePrefix("10.2.0.0/24"))}, netlink.RT_FILTER_DST)
		check(t, err)
		if len(left) != 0 {
			t.Errorf("routes to 10.2.0.0/24 remain: %v", left)
		}
	})
}

// A route of somebody's to a single host, such as the only way to a peer, makes
// room for ours but stays: sockets of the device outside still go by it, and
// everybody does when ours is gone.
func TestWayToAPeerStays(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		h := open(t)
		defer openTUN(t).Remove()
		check(t, h.SetDevice("ipsec0", 1400, []netip.Addr{netip.MustParseAddr("192.0.2.1")}))
		eth, err := netlink.LinkByName("eth0")
		check(t, err)
		peer := netip.MustParsePrefix("198.51.100.7/32")
		check(t, netlink.RouteAdd(&netlink.Route{LinkIndex: eth.Attrs().Index, Dst: ipNet(peer), Gw: net.ParseIP("192.0.2.254")}))
		bound := func() string {
			routes, err := netlink.RouteGetWithOptions(peer.Addr().AsSlice(), &netlink.RouteGetOptions{Oif: "eth0"})
			if err != nil || len(routes) != 1 {
				return fmt.Sprint(err)
			}
			return routes[0].Gw.String()
		}
		ours := Route{Prefix: peer, Device: "ipsec0", NextHop: gateway}
		for _, mtu := range []int{0, 1300, 0} { // changed, ours is replaced in place
			ours.MTU = mtu
			for range 2 {
				check(t, h.SetRoutes([]Route{ours}, []string{"ipsec0"}))
			}
			if got := routeTo(t, "198.51.100.7"); got != "ipsec0" {
				t.Errorf("packets to the peer go by %s", got)
			}
			if got := bound(); got != "192.0.2.254" {
				t.Errorf("packets of sockets outside go by %s", got)
			}
		}
		check(t, h.SetRoutes(nil, []string{"ipsec0"}))
		if got := routeTo(t, "198.51.100.7"); got != "eth0" {
			t.Errorf("afterwards they go by %s", got)
		}
		if got := bound(); got != "192.0.2.254" {
			t.Errorf("afterwards by gateway %s", got)
		}
		list, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Dst: ipNet(peer)}, netlink.RT_FILTER_DST)
		check(t, err)
		if len(list) != 1 {
			t.Errorf("routes to the peer: %v", list)
		}
	})
}

func TestRouteWithoutDevice(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		h := open(t)
		r := Route{Prefix: netip.MustParsePrefix("10.2.0.0/24"), Device: "ipsec7"}
		if err := h.SetRoutes([]Route{r}, []string{"ipsec7"}); err == nil {
			t.Error("a route through a missing device was accepted")
		}
	})
}

func TestRemoveDeviceSparesOthers(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		h := open(t)
		if err := h.RemoveDevice("eth0"); err == nil {
			t.Error("a device that is no tunnel was deleted")
		}
		check(t, h.RemoveDevice("ipsec0"))
		dev := openTUN(t)
		dev.Close()
		check(t, h.RemoveDevice("ipsec0"))
		if _, err := netlink.LinkByName("ipsec0"); err == nil {
			t.Error("ipsec0 is still there")
		}
	})
}

// Linux refuses an IPv6 next hop that another device reaches, as eth0 reaches our
// router: the route stands without it, and asked for again it is left alone.
func TestRoutesByRouterOfIPv6(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		h := open(t)
		dev := openTUN(t)
		defer dev.Close()
		defer h.RemoveDevice("ipsec0")
		us := netip.MustParseAddr("2001:db8::1")
		check(t, h.SetDevice("ipsec0", 1400, []netip.Addr{us}))
		want := []Route{
			{Prefix: netip.MustParsePrefix("::/0"), Device: "ipsec0", NextHop: netip.MustParseAddr("2001:db8::fe"), Source: us},
			{Prefix: netip.MustParsePrefix("2001:db8:2::/48"), Device: "ipsec0", NextHop: netip.MustParseAddr("2001:db8::fe")},
		}
		for range 2 {
			check(t, h.SetRoutes(want, []string{"ipsec0"}))
		}
		for _, dst := range []string{"2001:db8:2::1", "2001:db8:77::1"} {
			if got := routeTo(t, dst); got != "ipsec0" {
				t.Errorf("packets to %s go by %s", dst, got)
			}
		}
		if list, err := h.Routes([]string{"ipsec0"}); err != nil || len(list) != 3 {
			t.Errorf("%v, %v", list, err)
		}
		check(t, h.SetRoutes(nil, []string{"ipsec0"}))
		if list, err := h.Routes([]string{"ipsec0"}); err != nil || len(list) != 0 {
			t.Errorf("left over: %v, %v", list, err)
		}
	})
}

// After a crash the persistent device has no reader, but its routes stand:
// packets must go nowhere, above all not by eth0.
func TestFailClosedWithoutReader(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		h := open(t)
		dev := openTUN(t)
		defer h.RemoveDevice("ipsec0")
		check(t, h.SetDevice("ipsec0", 1400, []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}))
		check(t, h.SetRoutes([]Route{
			{Prefix: netip.MustParsePrefix("10.2.0.0/24"), Device: "ipsec0", NextHop: gateway},
			{Prefix: netip.MustParsePrefix("2001:db8:2::/48"), Device: "ipsec0"},
		}, []string{"ipsec0"}))
		dev.Close() // as the kernel does for a process that dies
		time.Sleep(200 * time.Millisecond)

		wire := sniff(t, "wire")
		for _, dst := range []string{"10.2.0.1", "2001:db8:2::1"} {
			if got := routeTo(t, dst); got != "ipsec0" {
				t.Errorf("packets to %s go by %s", dst, got)
			}
			send(t, dst)
		}
		send(t, "192.0.2.77") // proof that the wire is watched: ARP at least
		if leaked := read(t, wire); leaked != nil {
			t.Errorf("leaked on the wire: %x", leaked)
		}
	})
}

func sniff(t *testing.T, dev string) int {
	l, err := netlink.LinkByName(dev)
	check(t, err)
	all := uint16(unix.ETH_P_ALL)<<8 | unix.ETH_P_ALL>>8
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK, int(all))
	check(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	check(t, unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: l.Attrs().Index}))
	return fd
}

func send(t *testing.T, dst string) {
	a := netip.MustParseAddr(dst)
	var err error
	var fd int
	if a.Is4() {
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		check(t, err)
		err = unix.Sendto(fd, []byte("canary-canary"), 0, &unix.SockaddrInet4{Port: 9, Addr: a.As4()})
	} else {
		fd, err = unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM, 0)
		check(t, err)
		err = unix.Sendto(fd, []byte("canary-canary"), 0, &unix.SockaddrInet6{Port: 9, Addr: a.As16()})
	}
	unix.Close(fd)
	t.Logf("send to %s: %v", dst, err)
}

// read returns a frame that carries a packet to the protected networks, or
// asks for a neighbour among them; nil if there is none. It fails the test
// when it sees nothing at all.
func read(t *testing.T, fd int) []byte {
	seen := 0
	inside4, inside6 := []byte{10, 2, 0, 1}, netip.MustParseAddr("2001:db8:2::1").AsSlice()
	for deadline := time.Now().Add(time.Second); time.Now().Before(deadline); {
		b := make([]byte, 2048)
		n, _, err := unix.Recvfrom(fd, b, 0)
		if err != nil {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		seen++
		for _, needle := range [][]byte{inside4, inside6, []byte("canary")} {
			if contains(b[:n], needle) {
				return b[:n]
			}
		}
	}
	if seen == 0 {
		t.Error("nothing was seen on the wire at all")
	}
	return nil
}

func contains(b, needle []byte) bool {
	for i := 0; i+len(needle) <= len(b); i++ {
		if slices.Equal(b[i:i+len(needle)], needle) {
			return true
		}
	}
	return false
}

func TestChanges(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		h := open(t)
		for len(h.Changes()) > 0 {
			<-h.Changes()
		}
		eth, err := netlink.LinkByName("eth0")
		check(t, err)
		a, err := netlink.ParseAddr("192.0.2.2/24")
		check(t, err)
		check(t, netlink.AddrAdd(eth, a))
		select {
		case <-h.Changes():
		case <-time.After(5 * time.Second):
			t.Error("a new address went unnoticed")
		}
	})
}

func TestHalves(t *testing.T) {
	got := halves([]Route{{Prefix: netip.MustParsePrefix("0.0.0.0/0"), Device: "x"}, {Prefix: netip.MustParsePrefix("::/0"), Device: "x"}, {Prefix: netip.MustParsePrefix("10.0.0.0/8")}})
	var words []string
	for _, r := range got {
		words = append(words, r.Prefix.String())
	}
	want := []string{"0.0.0.0/1", "128.0.0.0/1", "::/1", "8000::/1", "10.0.0.0/8"}
	if !slices.Equal(words, want) {
		t.Errorf("halves: %v, want %v", words, want)
	}
}
