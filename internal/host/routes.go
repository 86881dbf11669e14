package host

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// defaultMetric6 is the metric of an IPv6 route that was given none.
const defaultMetric6 = 1024

// installed is one route of ours in the kernel.
type installed struct {
	Route
	raw netlink.Route
}

// SetRoutes implements Host.
func (h *Linux) SetRoutes(want []Route, devices []string) error {
	want = withoutHops6(halves(want))
	index := h.indexes(devices)
	have, err := h.ours(index)
	if err != nil {
		return err
	}
	there, wanted := map[Route]bool{}, map[slot]bool{}
	for _, i := range have {
		there[i.Route] = true
	}
	var errs []error
	var add []Route
	for _, r := range want {
		if wanted[slotOf(r)] = true; !there[r] {
			add = append(add, r)
		}
	}
	ways, err := h.waysToHosts(add, index)
	if err != nil {
		errs = append(errs, err)
	}
	for _, r := range add {
		err := h.put(r, index, Protocol)
		for _, way := range ways[slotOf(r)] {
			if err != nil {
				break
			}
			if err = h.nl.RouteAppend(&way); errors.Is(err, unix.EEXIST) {
				err = nil // it stands there already, and only ours was replaced
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("route %s: %w", r, err))
		}
	}
	for _, i := range have {
		if wanted[slotOf(i.Route)] {
			continue // wanted, or replaced in place by what is
		}
		if err := h.nl.RouteDel(&i.raw); err != nil && !errors.Is(err, unix.ESRCH) {
			errs = append(errs, fmt.Errorf("remove route %s: %w", i.Route, err))
		}
	}
	return errors.Join(errs...)
}

// withoutHops6 takes the next hop from IPv6 routes. Linux refuses one that another
// device reaches, and that is where our router usually is; put does without.
func withoutHops6(want []Route) []Route {
	for i := range want {
		if want[i].Prefix.Addr().Is6() {
			want[i].NextHop = netip.Addr{}
		}
	}
	return want
}

// waysToHosts lists routes of others that put will replace and that stand for one
// IPv4 host: somebody's way to a peer, perhaps the only one. They are put back
// behind ours. There our own sockets still find them, which are bound to the device
// outside, and so does everybody when ours is gone.
func (h *Linux) waysToHosts(add []Route, index map[string]int) (map[slot][]netlink.Route, error) {
	hosts := map[slot]bool{}
	for _, r := range add {
		if r.Prefix.IsSingleIP() && r.Prefix.Addr().Is4() {
			hosts[slotOf(r)] = true
		}
	}
	if len(hosts) == 0 {
		return nil, nil
	}
	devices := map[int]bool{}
	for _, i := range index {
		devices[i] = true
	}
	all, err := h.nl.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return nil, fmt.Errorf("list the ways to peers: %w", err)
	}
	ways := map[slot][]netlink.Route{}
	for _, r := range all {
		p, _ := prefix(r.Dst)
		if s := (slot{p, r.Priority}); hosts[s] && !devices[r.LinkIndex] {
			ways[s] = append(ways[s], r)
		}
	}
	return ways, nil
}

// Routes implements Host.
func (h *Linux) Routes(devices []string) ([]Route, error) {
	have, err := h.ours(h.indexes(devices))
	list := make([]Route, len(have))
	for i, r := range have {
		list[i] = r.Route
	}
	return list, err
}

// indexes finds the devices that are there.
func (h *Linux) indexes(devices []string) map[string]int {
	index := map[string]int{}
	for _, d := range devices {
		if l, err := h.nl.LinkByName(d); err == nil {
			index[d] = l.Attrs().Index
		}
	}
	return index
}

// slot is what the kernel keeps only one route of.
type slot struct {
	prefix netip.Prefix
	metric int
}

func slotOf(r Route) slot { return slot{r.Prefix, r.Metric} }

// ours lists our routes through our devices.
func (h *Linux) ours(index map[string]int) ([]installed, error) {
	var list []installed
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		filter := &netlink.Route{Protocol: Protocol, Table: unix.RT_TABLE_MAIN}
		routes, err := h.nl.RouteListFiltered(family, filter, netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TABLE)
		if err != nil {
			return nil, fmt.Errorf("list routes: %w", err)
		}
		for _, r := range routes {
			for name, i := range index {
				if r.LinkIndex == i {
					list = append(list, installed{describe(r, name), r})
				}
			}
		}
	}
	return list, nil
}

func describe(r netlink.Route, device string) Route {
	d := Route{Device: device, MTU: r.MTU, Metric: r.Priority}
	d.Prefix, _ = prefix(r.Dst)
	if a, ok := netip.AddrFromSlice(r.Gw); ok {
		d.NextHop = a.Unmap()
	}
	if a, ok := netip.AddrFromSlice(r.Src); ok {
		d.Source = a.Unmap()
	}
	if d.Prefix.Addr().Is6() && d.Metric == defaultMetric6 {
		d.Metric = 0
	}
	return d
}

// put sets one route. The next hop need not be reachable by the device's own
// addresses: what is sent there is ours to deliver. So it is for show only, and IPv6
// goes without, see withoutHops6.
func (h *Linux) put(r Route, index map[string]int, by netlink.RouteProtocol) error {
	i, ok := index[r.Device]
	if !ok {
		return fmt.Errorf("there is no device %s", r.Device)
	}
	raw := &netlink.Route{LinkIndex: i, Dst: ipNet(r.Prefix), Protocol: by, Table: unix.RT_TABLE_MAIN,
		Priority: r.Metric, MTU: r.MTU}
	if r.NextHop.Is4() && r.Prefix.Addr().Is4() {
		raw.Gw = net.IP(r.NextHop.AsSlice())
		raw.SetFlag(netlink.FLAG_ONLINK)
	}
	if r.Source.IsValid() {
		raw.Src = net.IP(r.Source.AsSlice())
	}
	return h.nl.RouteReplace(raw)
}
