package host

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
)

// Fake is a machine in memory. The zero value has nothing; fill the exported
// fields before use.
type Fake struct {
	Links    []Interface
	Defaults [2]DefaultRoute

	mu       sync.Mutex
	routes   []Route
	proxies  []Proxy
	devices  map[string]device
	made     int // devices, ever
	switches map[Switch]string
	changes  chan struct{}
}

// device is a tunnel device, with an index that none has had before.
type device struct {
	index int
	addrs []netip.Addr
}

// firstDevice is above the indices of Links in tests.
const firstDevice = 1000

var _ Host = (*Fake)(nil)

// Interfaces implements Host: Links, then the tunnel devices by name.
func (f *Fake) Interfaces() ([]Interface, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := slices.Clone(f.Links)
	for _, name := range slices.Sorted(maps.Keys(f.devices)) {
		i := Interface{Name: name, Index: f.devices[name].index, Up: true}
		for _, a := range f.devices[name].addrs {
			i.Addrs = append(i.Addrs, netip.PrefixFrom(a, a.BitLen()))
		}
		list = append(list, i)
	}
	return list, nil
}

// DefaultRoutes implements Host.
func (f *Fake) DefaultRoutes() ([2]DefaultRoute, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.Defaults, nil
}

// SetRoutes implements Host.
func (f *Fake) SetRoutes(want []Route, devices []string) error {
	for _, r := range want {
		if !slices.Contains(devices, r.Device) {
			return fmt.Errorf("route %s: there is no device %s", r, r.Device)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.routes = halves(want)
	return nil
}

// Routes implements Host.
func (f *Fake) Routes([]string) ([]Route, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.routes), nil
}

// SetDevice implements Host.
func (f *Fake) SetDevice(name string, _ int, addrs []netip.Addr) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.devices == nil {
		f.devices = map[string]device{}
	}
	d, ok := f.devices[name]
	if !ok {
		d.index = firstDevice + f.made
		f.made++
	}
	d.addrs = slices.Clone(addrs)
	f.devices[name] = d
	return nil
}

// Device returns the addresses of a tunnel device, and whether it is there.
func (f *Fake) Device(name string) ([]netip.Addr, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d, ok := f.devices[name]
	return d.addrs, ok
}

// RemoveDevice implements Host.
func (f *Fake) RemoveDevice(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.devices, name)
	f.routes = slices.DeleteFunc(f.routes, func(r Route) bool { return r.Device == name })
	return nil
}

// Switch implements Host; switches start as 0.
func (f *Fake) Switch(s Switch) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if v, ok := f.switches[s]; ok {
		return v, nil
	}
	return "0", nil
}

// SetSwitch implements Host.
func (f *Fake) SetSwitch(s Switch, value string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.switches == nil {
		f.switches = map[Switch]string{}
	}
	f.switches[s] = value
	return nil
}

// Change replaces interfaces and default routes, and says so.
func (f *Fake) Change(links []Interface, defaults [2]DefaultRoute) {
	f.mu.Lock()
	f.Links, f.Defaults = links, defaults
	f.mu.Unlock()
	select {
	case f.channel() <- struct{}{}:
	default:
	}
}

// Changes implements Host.
func (f *Fake) Changes() <-chan struct{} { return f.channel() }

func (f *Fake) channel() chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.changes == nil {
		f.changes = make(chan struct{}, 1)
	}
	return f.changes
}

// Close implements Host.
func (f *Fake) Close() error { return nil }
