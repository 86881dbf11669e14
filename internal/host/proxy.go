package host

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Proxy is an address that a device answers ARP or neighbour solicitations
// for, although it is elsewhere.
type Proxy struct {
	Device string
	Addr   netip.Addr
}

// SetProxies implements Host.
func (h *Linux) SetProxies(want []Proxy) error {
	h.proxyMu.Lock()
	defer h.proxyMu.Unlock()
	var errs []error
	var now []Proxy
	for _, p := range want {
		if !slices.Contains(h.proxies, p) {
			if err := h.proxy(p, h.nl.NeighSet); err != nil {
				errs = append(errs, fmt.Errorf("answer for %s on %s: %w", p.Addr, p.Device, err))
				continue
			}
		}
		now = append(now, p)
	}
	for _, p := range h.proxies {
		if slices.Contains(want, p) {
			continue
		}
		err := h.proxy(p, h.nl.NeighDel)
		var missing netlink.LinkNotFoundError
		if err != nil && !errors.Is(err, unix.ENOENT) && !errors.As(err, &missing) {
			errs = append(errs, fmt.Errorf("answer no more for %s on %s: %w", p.Addr, p.Device, err))
		}
	}
	h.proxies = now
	return errors.Join(errs...)
}

// proxy does something with the kernel's entry for p.
func (h *Linux) proxy(p Proxy, do func(*netlink.Neigh) error) error {
	link, err := h.nl.LinkByName(p.Device)
	if err != nil {
		return err
	}
	n := &netlink.Neigh{LinkIndex: link.Attrs().Index, Family: unix.AF_INET, Flags: unix.NTF_PROXY, State: unix.NUD_PERMANENT,
		IP: net.IP(p.Addr.AsSlice())}
	if p.Addr.Is6() {
		n.Family = unix.AF_INET6
		if err := h.SetSwitch(Switch("ipv6/conf/"+p.Device+"/proxy_ndp"), "1"); err != nil {
			return err
		}
	}
	return do(n)
}

// SetProxies implements Host.
func (f *Fake) SetProxies(want []Proxy) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.proxies = slices.Clone(want)
	return nil
}

// Proxies returns what SetProxies has set.
func (f *Fake) Proxies() []Proxy {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.proxies)
}
