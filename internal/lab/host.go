package lab

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Host is one network namespace, seen as a machine.
type Host struct {
	Name  string // sunset, west, …
	Netns string // the namespace's name, for `ip netns exec`
	Dir   string // files of this host; made when first needed

	ns netns.NsHandle
	nl *netlink.Handle
}

func newHost(nsName, name, dir string) (*Host, error) {
	h := &Host{Name: name, Netns: nsName, Dir: dir}
	err := onOwnThread(func() error {
		ns, err := netns.NewNamed(nsName)
		if err != nil {
			return fmt.Errorf("namespace %s: %w", nsName, err)
		}
		h.ns = ns
		return nil
	})
	if err != nil {
		return nil, err
	}
	if h.nl, err = netlink.NewHandleAt(h.ns); err != nil {
		h.close()
		return nil, err
	}
	if err := h.prepare(); err != nil {
		h.close()
		return nil, err
	}
	return h, nil
}

// openHost opens a namespace that exists.
func openHost(nsName, name, dir string) (*Host, error) {
	h := &Host{Name: name, Netns: nsName, Dir: dir}
	var err error
	if h.ns, err = netns.GetFromName(nsName); err != nil {
		return nil, fmt.Errorf("namespace %s: %w", nsName, err)
	}
	if h.nl, err = netlink.NewHandleAt(h.ns); err != nil {
		h.ns.Close()
		return nil, err
	}
	return h, nil
}

// prepare sets what a lab wants of every host: no source checks that would
// hide packets, no waiting for IPv6 addresses, no redirects.
func (h *Host) prepare() error {
	for _, s := range []struct{ key, value string }{
		{"net/ipv4/conf/all/rp_filter", "0"},
		{"net/ipv4/conf/default/rp_filter", "0"},
		{"net/ipv4/conf/all/send_redirects", "0"},
		{"net/ipv4/conf/default/send_redirects", "0"},
		{"net/ipv6/conf/all/accept_dad", "0"},
		{"net/ipv6/conf/default/accept_dad", "0"},
		{"net/ipv6/conf/default/router_solicitations", "0"},
	} {
		if err := h.Sysctl(s.key, s.value); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	lo, err := h.nl.LinkByName("lo")
	if err != nil {
		return err
	}
	return h.nl.LinkSetUp(lo)
}

// onOwnThread runs f on a thread that ends with it, so that what f does to
// the thread's namespaces cannot leak.
func onOwnThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread dies with the goroutine
		done <- f()
	}()
	return <-done
}

// Do runs f inside the host's namespace. Sockets and processes that f makes
// belong there; goroutines that f starts do not run there.
func (h *Host) Do(f func() error) error {
	return onOwnThread(func() error {
		if err := netns.Set(h.ns); err != nil {
			return fmt.Errorf("enter %s: %w", h.Netns, err)
		}
		return f()
	})
}

// Sysctl writes a setting below /proc/sys, key with slashes.
func (h *Host) Sysctl(key, value string) error {
	return h.Do(func() error {
		return os.WriteFile(filepath.Join("/proc/sys", key), []byte(value), 0)
	})
}

// Forward makes the host a router.
func (h *Host) Forward() error {
	if err := h.Sysctl("net/ipv4/ip_forward", "1"); err != nil {
		return err
	}
	if err := h.Sysctl("net/ipv6/conf/all/forwarding", "1"); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}

// AddAddr gives interface dev an address with its prefix length.
func (h *Host) AddAddr(dev string, addr netip.Prefix) error {
	link, err := h.nl.LinkByName(dev)
	if err != nil {
		return fmt.Errorf("%s: interface %s: %w", h.Name, dev, err)
	}
	a, err := netlink.ParseAddr(addr.String())
	if err != nil {
		return err
	}
	if addr.Addr().Is6() {
		a.Flags = unix.IFA_F_NODAD
	}
	if err := h.nl.AddrAdd(link, a); err != nil {
		return fmt.Errorf("%s: address %s on %s: %w", h.Name, addr, dev, err)
	}
	return nil
}

// RemoveAddr takes an address away again.
func (h *Host) RemoveAddr(dev string, addr netip.Prefix) error {
	link, err := h.nl.LinkByName(dev)
	if err != nil {
		return fmt.Errorf("%s: interface %s: %w", h.Name, dev, err)
	}
	a, err := netlink.ParseAddr(addr.String())
	if err != nil {
		return err
	}
	return h.nl.AddrDel(link, a)
}

// AddRoute sends dst by way of the router via.
func (h *Host) AddRoute(dst netip.Prefix, via netip.Addr) error {
	r := &netlink.Route{Dst: ipNet(dst), Gw: via.AsSlice()}
	if err := h.nl.RouteAdd(r); err != nil {
		return fmt.Errorf("%s: route %s via %s: %w", h.Name, dst, via, err)
	}
	return nil
}

// AddDeviceRoute sends dst out by dev, where it is a neighbour.
func (h *Host) AddDeviceRoute(dst netip.Prefix, dev string) error {
	link, err := h.nl.LinkByName(dev)
	if err != nil {
		return fmt.Errorf("%s: interface %s: %w", h.Name, dev, err)
	}
	r := &netlink.Route{Dst: ipNet(dst), LinkIndex: link.Attrs().Index, Scope: netlink.SCOPE_LINK}
	if err := h.nl.RouteAdd(r); err != nil {
		return fmt.Errorf("%s: route %s by %s: %w", h.Name, dst, dev, err)
	}
	return nil
}

// Up and Down switch an interface.
func (h *Host) Up(dev string) error { return h.switchLink(dev, h.nl.LinkSetUp) }

// Down switches an interface off, as pulling its cable does.
func (h *Host) Down(dev string) error { return h.switchLink(dev, h.nl.LinkSetDown) }

func (h *Host) switchLink(dev string, f func(netlink.Link) error) error {
	link, err := h.nl.LinkByName(dev)
	if err != nil {
		return fmt.Errorf("%s: interface %s: %w", h.Name, dev, err)
	}
	return f(link)
}

// RouteDevice is the interface that the route of exactly prefix dst leaves by,
// "" if there is no such route in the main table.
func (h *Host) RouteDevice(dst netip.Prefix) (string, error) {
	want := &netlink.Route{Dst: ipNet(dst), Table: unix.RT_TABLE_MAIN}
	family := netlink.FAMILY_V4
	if dst.Addr().Is6() {
		family = netlink.FAMILY_V6
	}
	routes, err := h.nl.RouteListFiltered(family, want, netlink.RT_FILTER_DST|netlink.RT_FILTER_TABLE)
	if err != nil || len(routes) == 0 {
		return "", err
	}
	link, err := h.nl.LinkByIndex(routes[0].LinkIndex)
	if err != nil {
		return "", err
	}
	return link.Attrs().Name, nil
}

// HasLink reports whether the host has an interface of that name.
func (h *Host) HasLink(dev string) bool {
	_, err := h.nl.LinkByName(dev)
	return err == nil
}

func (h *Host) close() error {
	if h.nl != nil {
		h.nl.Close()
	}
	h.ns.Close()
	return netns.DeleteNamed(h.Netns)
}
