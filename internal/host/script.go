package host

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ScriptProtocol marks routes that were put by scripts, one at a time. They
// are not among those that SetRoutes knows as ours, and go with their device.
const ScriptProtocol = 251

// Router changes single routes: what updown scripts do, in a process of their
// own.
type Router interface {
	// PutRoute adds a route, or replaces one to the same prefix and metric.
	PutRoute(r Route) error
	// DropRoute removes a route that PutRoute has put. One that is not there
	// is no error.
	DropRoute(r Route) error
	// ClearRoutes removes every route to exactly that prefix from the main
	// table, whoever has set it. A prefix of length 0 means its two halves: the
	// default route is never removed.
	ClearRoutes(p netip.Prefix) error
}

var (
	_ Router = (*Linux)(nil)
	_ Router = (*Fake)(nil)
)

// PutRoute implements Router.
func (h *Linux) PutRoute(r Route) error {
	link, err := h.nl.LinkByName(r.Device)
	if err != nil {
		return fmt.Errorf("look up device %s: %w", r.Device, err)
	}
	for _, half := range halves([]Route{r}) {
		if err := h.put(half, map[string]int{r.Device: link.Attrs().Index}, ScriptProtocol); err != nil {
			return fmt.Errorf("put route %s: %w", half, err)
		}
	}
	return nil
}

// DropRoute implements Router.
func (h *Linux) DropRoute(r Route) error {
	return h.removeRoutes(r.Prefix, func(raw netlink.Route) bool {
		link, err := h.nl.LinkByName(r.Device)
		return err == nil && raw.Protocol == ScriptProtocol && raw.LinkIndex == link.Attrs().Index
	})
}

// ClearRoutes implements Router.
func (h *Linux) ClearRoutes(p netip.Prefix) error {
	return h.removeRoutes(p, func(netlink.Route) bool { return true })
}

// removeRoutes removes those routes to p that match.
func (h *Linux) removeRoutes(p netip.Prefix, match func(netlink.Route) bool) error {
	family := netlink.FAMILY_V4
	if p.Addr().Is6() {
		family = netlink.FAMILY_V6
	}
	var errs []error
	for _, half := range halves([]Route{{Prefix: p}}) {
		list, err := h.nl.RouteListFiltered(family, &netlink.Route{Dst: ipNet(half.Prefix), Table: unix.RT_TABLE_MAIN},
			netlink.RT_FILTER_DST|netlink.RT_FILTER_TABLE)
		if err != nil {
			return fmt.Errorf("list routes to %s: %w", half.Prefix, err)
		}
		for _, raw := range list {
			if !match(raw) {
				continue
			}
			if err := h.nl.RouteDel(&raw); err != nil && !errors.Is(err, unix.ESRCH) {
				errs = append(errs, fmt.Errorf("remove route to %s: %w", half.Prefix, err))
			}
		}
	}
	return errors.Join(errs...)
}

// PutRoute implements Router.
func (f *Fake) PutRoute(r Route) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, half := range halves([]Route{r}) {
		f.routes = slices.DeleteFunc(f.routes, func(have Route) bool { return slotOf(have) == slotOf(half) })
		f.routes = append(f.routes, half)
	}
	return nil
}

// DropRoute implements Router.
func (f *Fake) DropRoute(r Route) error {
	return f.removeRoutes(r.Prefix, func(have Route) bool { return have.Device == r.Device })
}

// ClearRoutes implements Router.
func (f *Fake) ClearRoutes(p netip.Prefix) error {
	return f.removeRoutes(p, func(Route) bool { return true })
}

func (f *Fake) removeRoutes(p netip.Prefix, match func(Route) bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, half := range halves([]Route{{Prefix: p}}) {
		f.routes = slices.DeleteFunc(f.routes, func(have Route) bool { return have.Prefix == half.Prefix && match(have) })
	}
	return nil
}
