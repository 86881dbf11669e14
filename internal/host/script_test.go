package host

import (
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
)

// What a script routes is left alone by SetRoutes, and removed by its own.
func TestRoutesOfScripts(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		h := open(t)
		defer openTUN(t).Remove()
		check(t, h.SetDevice("ipsec0", 1400, nil))
		eth, err := netlink.LinkByName("eth0")
		check(t, err)
		check(t, netlink.RouteAdd(&netlink.Route{LinkIndex: eth.Attrs().Index, Gw: net.ParseIP("192.0.2.254"),
			Dst: ipNet(netip.MustParsePrefix("10.2.0.0/24"))}))
		goes := func(dst, want string) {
			t.Helper()
			if got := routeTo(t, dst); got != want {
				t.Errorf("packets to %s go by %s, want %s", dst, got, want)
			}
		}
		lan := Route{Prefix: netip.MustParsePrefix("10.2.0.0/24"), Device: "ipsec0", NextHop: gateway}
		check(t, h.ClearRoutes(lan.Prefix))
		check(t, h.ClearRoutes(lan.Prefix)) // none there is no error
		check(t, h.PutRoute(lan))
		goes("10.2.0.1", "ipsec0")
		check(t, h.SetRoutes(nil, []string{"ipsec0"}))
		goes("10.2.0.1", "ipsec0")
		check(t, h.DropRoute(lan))
		goes("10.2.0.1", "eth0")
		check(t, h.DropRoute(lan))

		all := Route{Prefix: netip.MustParsePrefix("0.0.0.0/0"), Device: "ipsec0"}
		check(t, h.PutRoute(all))
		goes("8.8.8.8", "ipsec0")
		check(t, h.ClearRoutes(all.Prefix))
		goes("8.8.8.8", "eth0")
		all6 := Route{Prefix: netip.MustParsePrefix("::/0"), Device: "ipsec0"}
		check(t, h.PutRoute(all6))
		goes("9000::1", "ipsec0")
		check(t, h.DropRoute(all6))
		goes("9000::1", "eth0")
		if h.PutRoute(Route{Prefix: lan.Prefix, Device: "ipsec9"}) == nil {
			t.Error("a route by a device that is not there")
		}
	})
}
