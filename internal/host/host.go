// Package host is this machine as pluto needs it: its interfaces and default
// routes, the addresses and routes of tunnel devices, and a few switches of
// the kernel. Linux is the real one, over netlink; Fake is one in memory, for
// tests. What the package sets up is recognisable as ours, and it removes
// nothing else. All methods are safe for concurrent use.
package host

import (
	"fmt"
	"net/netip"
)

// Protocol marks our routes in the kernel's tables (RTPROT, see `ip route`):
// it is how we know them again, also after a crash. 250 is in the range that
// the kernel leaves to routing daemons and in nobody's well-known list; a line
// "250 ipsec" in /etc/iproute2/rt_protos gives it a name.
const Protocol = 250

// Host is one machine, or one network namespace of it.
type Host interface {
	// Interfaces lists all devices with their addresses.
	Interfaces() ([]Interface, error)
	// DefaultRoutes returns the default route of IPv4 and of IPv6; the zero
	// value where there is none.
	DefaultRoutes() ([2]DefaultRoute, error)

	// SetRoutes makes want the whole set of our routes; devices are all those
	// that may ever carry one. It adds before it removes. A route of others to
	// the same prefix and metric gives way, once and for all (R17.6). Routes
	// that cannot be set are named in the error; the others are set.
	SetRoutes(want []Route, devices []string) error
	// Routes lists our routes through devices, halves as halves.
	Routes(devices []string) ([]Route, error)
	// SetDevice brings a tunnel device up with that MTU (0: as it is) and
	// exactly those addresses, each alone in its prefix.
	SetDevice(name string, mtu int, addrs []netip.Addr) error
	// RemoveDevice deletes a tunnel device, and with it its routes. One that
	// is not there is no error; one that is no TUN device is never deleted.
	RemoveDevice(name string) error

	// SetProxies makes want all the addresses that we answer for in place of
	// others. It knows again only what it has set itself.
	SetProxies(want []Proxy) error

	// Switch reads a switch of the kernel, and Set writes it.
	Switch(s Switch) (string, error)
	SetSwitch(s Switch, value string) error

	// Changes delivers a value after interfaces, addresses or default routes
	// have changed; several changes may be one value.
	Changes() <-chan struct{}
	Close() error
}

// Interface is one network device.
type Interface struct {
	Name  string
	Index int
	Up    bool
	MTU   int
	Addrs []netip.Prefix // without link-local ones of IPv6
}

// DefaultRoute is where packets to the world go.
type DefaultRoute struct {
	Device  string
	Addr    netip.Addr // our address there
	NextHop netip.Addr // on a point-to-point link the peer, where that has an address
}

// Route sends a prefix into a tunnel device. A prefix of length 0 is set as
// two halves, so that the default route stays in its place, eclipsed (R3.5).
type Route struct {
	Prefix  netip.Prefix
	Device  string
	NextHop netip.Addr // invalid: none
	Source  netip.Addr // invalid: the system's choice
	MTU     int        // 0: the device's
	Metric  int        // 0: the system's default
}

// String is like 10.2.0.0/24 via 192.0.2.254 dev ipsec0.
func (r Route) String() string {
	s := r.Prefix.String()
	if r.NextHop.IsValid() {
		s += " via " + r.NextHop.String()
	}
	s += " dev " + r.Device
	if r.Source.IsValid() {
		s += " src " + r.Source.String()
	}
	return s
}

// halves replaces prefixes of length 0 by their two halves.
func halves(want []Route) []Route {
	var out []Route
	for _, r := range want {
		if r.Prefix.Bits() != 0 {
			out = append(out, r)
			continue
		}
		low, high := r, r
		low.Prefix = netip.PrefixFrom(r.Prefix.Addr(), 1)
		top := netip.AddrFrom4([4]byte{0x80})
		if r.Prefix.Addr().Is6() {
			top = netip.AddrFrom16([16]byte{0x80})
		}
		high.Prefix = netip.PrefixFrom(top, 1)
		out = append(out, low, high)
	}
	return out
}

// Switch names a switch of the kernel, relative to /proc/sys/net.
type Switch string

// The switches.
const (
	Forward4 Switch = "ipv4/ip_forward"
	Forward6 Switch = "ipv6/conf/all/forwarding"
)

// ReversePath is the reverse path filter of a device.
func ReversePath(device string) Switch {
	return Switch(fmt.Sprintf("ipv4/conf/%s/rp_filter", device))
}
