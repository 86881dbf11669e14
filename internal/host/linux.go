package host

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Linux is the kernel of this network namespace.
type Linux struct {
	proxyMu sync.Mutex
	proxies []Proxy // as SetProxies has left them

	nl      *netlink.Handle
	changes chan struct{}
	done    chan struct{}
	wg      sync.WaitGroup
}

var _ Host = (*Linux)(nil)

// Open opens the netlink sockets and starts to watch for changes.
func Open() (*Linux, error) {
	nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	h := &Linux{nl: nl, changes: make(chan struct{}, 1), done: make(chan struct{})}
	if err := h.watch(); err != nil {
		nl.Close()
		return nil, err
	}
	return h, nil
}

// Close stops watching.
func (h *Linux) Close() error {
	close(h.done)
	h.wg.Wait()
	h.nl.Close()
	return nil
}

// Changes implements Host.
func (h *Linux) Changes() <-chan struct{} { return h.changes }

// watch turns three netlink subscriptions into one channel of hints.
func (h *Linux) watch() error {
	links := make(chan netlink.LinkUpdate, 16)
	addrs := make(chan netlink.AddrUpdate, 16)
	routes := make(chan netlink.RouteUpdate, 16)
	if err := netlink.LinkSubscribe(links, h.done); err != nil {
		return fmt.Errorf("watch links: %w", err)
	}
	if err := netlink.AddrSubscribe(addrs, h.done); err != nil {
		return fmt.Errorf("watch addresses: %w", err)
	}
	if err := netlink.RouteSubscribe(routes, h.done); err != nil {
		return fmt.Errorf("watch routes: %w", err)
	}
	h.wg.Go(func() {
		for links != nil || addrs != nil || routes != nil {
			select {
			case _, ok := <-links:
				if !ok {
					links = nil
				}
			case _, ok := <-addrs:
				if !ok {
					addrs = nil
				}
			case r, ok := <-routes:
				if !ok {
					routes = nil
				} else if r.Protocol == Protocol || !isDefault(r.Dst) {
					continue // only default routes say something about us
				}
			}
			select {
			case h.changes <- struct{}{}:
			default:
			}
		}
	})
	return nil
}

func isDefault(dst *net.IPNet) bool {
	if dst == nil {
		return true
	}
	ones, _ := dst.Mask.Size()
	return ones == 0
}

// Interfaces implements Host.
func (h *Linux) Interfaces() ([]Interface, error) {
	links, err := h.nl.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	list := make([]Interface, 0, len(links))
	for _, l := range links {
		a := l.Attrs()
		i := Interface{Name: a.Name, Index: a.Index, MTU: a.MTU, Up: a.Flags&net.FlagUp != 0}
		if i.Addrs, err = h.addrs(l); err != nil {
			return nil, fmt.Errorf("list addresses of %s: %w", a.Name, err)
		}
		list = append(list, i)
	}
	return list, nil
}

func (h *Linux) addrs(l netlink.Link) ([]netip.Prefix, error) {
	found, err := h.nl.AddrList(l, netlink.FAMILY_ALL)
	if err != nil {
		return nil, err
	}
	var list []netip.Prefix
	for _, a := range found {
		p, ok := prefix(a.IPNet)
		if ok && !p.Addr().IsLinkLocalUnicast() && a.Flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) != unix.IFA_F_DADFAILED {
			list = append(list, p)
		}
	}
	return list, nil
}

func prefix(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	a, ok := netip.AddrFromSlice(n.IP)
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(a.Unmap(), ones), ok
}

// DefaultRoutes implements Host: of several the one with the lowest metric.
func (h *Linux) DefaultRoutes() ([2]DefaultRoute, error) {
	var out [2]DefaultRoute
	for i, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		routes, err := h.nl.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
		if err != nil {
			return out, fmt.Errorf("list routes: %w", err)
		}
		routes = slices.DeleteFunc(routes, func(r netlink.Route) bool {
			return !isDefault(r.Dst) || r.Protocol == Protocol || r.LinkIndex == 0 || r.Type != unix.RTN_UNICAST
		})
		if len(routes) == 0 {
			continue
		}
		r := slices.MinFunc(routes, func(a, b netlink.Route) int { return cmp.Compare(a.Priority, b.Priority) })
		link, err := h.nl.LinkByIndex(r.LinkIndex)
		if err != nil {
			return out, fmt.Errorf("look up device of the default route: %w", err)
		}
		out[i], err = h.defaultRoute(r, link, i == 0)
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

func (h *Linux) defaultRoute(r netlink.Route, link netlink.Link, v4 bool) (DefaultRoute, error) {
	d := DefaultRoute{Device: link.Attrs().Name}
	if a, ok := netip.AddrFromSlice(r.Gw); ok {
		d.NextHop = a.Unmap()
	}
	if !d.NextHop.IsValid() {
		d.NextHop = h.farEnd(link, v4)
	}
	if a, ok := netip.AddrFromSlice(r.Src); ok {
		d.Addr = a.Unmap()
		return d, nil
	}
	addrs, err := h.addrs(link)
	if err != nil {
		return d, fmt.Errorf("list addresses of %s: %w", d.Device, err)
	}
	for _, p := range addrs { // the one that shares a prefix with the next hop, else the first
		if p.Addr().Is4() != v4 {
			continue
		}
		if !d.Addr.IsValid() || d.NextHop.IsValid() && p.Contains(d.NextHop) {
			d.Addr = p.Addr()
		}
		if d.NextHop.IsValid() && p.Contains(d.NextHop) {
			break
		}
	}
	return d, nil
}

// farEnd is the peer's address on a point-to-point link, or invalid.
func (h *Linux) farEnd(link netlink.Link, v4 bool) netip.Addr {
	family := netlink.FAMILY_V6
	if v4 {
		family = netlink.FAMILY_V4
	}
	found, err := h.nl.AddrList(link, family)
	if err != nil {
		return netip.Addr{}
	}
	for _, a := range found {
		if peer, ok := prefix(a.Peer); ok && !a.Peer.IP.Equal(a.IP) {
			return peer.Addr()
		}
	}
	return netip.Addr{}
}

// SetDevice implements Host.
func (h *Linux) SetDevice(name string, mtu int, addrs []netip.Addr) error {
	link, err := h.nl.LinkByName(name)
	if err != nil {
		return fmt.Errorf("look up device %s: %w", name, err)
	}
	if mtu != 0 && link.Attrs().MTU != mtu {
		if err := h.nl.LinkSetMTU(link, mtu); err != nil {
			return fmt.Errorf("set MTU of %s to %d: %w", name, mtu, err)
		}
	}
	have, err := h.addrs(link)
	if err != nil {
		return fmt.Errorf("list addresses of %s: %w", name, err)
	}
	for _, a := range addrs {
		p := netip.PrefixFrom(a, a.BitLen())
		if slices.Contains(have, p) || a == netip.IPv6Loopback() { // which the kernel gives to loopback devices only
			continue
		}
		// No prefix route and no duplicate address detection: the address is
		// the physical device's, here only for packets that leave by us.
		addr := &netlink.Addr{IPNet: ipNet(p), Flags: unix.IFA_F_NOPREFIXROUTE}
		if a.Is6() {
			addr.Flags |= unix.IFA_F_NODAD
		}
		if err := h.nl.AddrReplace(link, addr); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("give %s to %s: %w", a, name, err)
		}
	}
	for _, p := range have {
		if !slices.Contains(addrs, p.Addr()) {
			if err := h.nl.AddrDel(link, &netlink.Addr{IPNet: ipNet(p)}); err != nil {
				return fmt.Errorf("take %s from %s: %w", p, name, err)
			}
		}
	}
	// No link-local address, and so no router solicitations into the tunnels.
	if err := h.SetSwitch(Switch("ipv6/conf/"+name+"/addr_gen_mode"), "1"); err != nil {
		return err
	}
	if err := h.nl.LinkSetUp(link); err != nil {
		return fmt.Errorf("bring %s up: %w", name, err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// RemoveDevice implements Host.
func (h *Linux) RemoveDevice(name string) error {
	link, err := h.nl.LinkByName(name)
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look up device %s: %w", name, err)
	}
	if link.Type() != "tuntap" && link.Type() != "tun" {
		return fmt.Errorf("device %s is no TUN device of ours (%s)", name, link.Type())
	}
	if err := h.nl.LinkDel(link); err != nil {
		return fmt.Errorf("delete device %s: %w", name, err)
	}
	return nil
}

const sysctls = "/proc/sys/net"

// Switch implements Host.
func (h *Linux) Switch(s Switch) (string, error) {
	b, err := os.ReadFile(filepath.Join(sysctls, string(s)))
	if err != nil {
		return "", fmt.Errorf("read switch: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// SetSwitch implements Host. A kernel without the switch is no error: what it
// would switch is not there either.
func (h *Linux) SetSwitch(s Switch, value string) error {
	err := os.WriteFile(filepath.Join(sysctls, string(s)), []byte(value), 0o644)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("write switch: %w", err)
	}
	return nil
}
