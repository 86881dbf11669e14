package pluto

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"cygnet/internal/config"
	"cygnet/internal/connection"
	"cygnet/internal/host"
	"cygnet/internal/ike"
	"cygnet/internal/underlay"
)

// defaultRoute is what interfaces= calls the device of the default route.
const defaultRoute = "%defaultroute"

// overhead is the most that a packet grows in a tunnel: IPv4 or IPv6, UDP, ESP
// with the longest IV, padding and ICV, rounded up.
const (
	overhead4 = 100
	overhead6 = 120
)

// link is an attached device.
type link struct {
	Attachment
	index  int // of the physical device
	vindex int // of the virtual one
	mtu    int
	nets   []netip.Prefix // of its addresses
	wire   underlay.Underlay

	inside []netip.Addr  // of the virtual device, beside Addrs
	done   chan struct{} // ends its reader
}

// attachAll attaches what interfaces= names and what is there. What is absent,
// or has no address yet, is attached when it comes, unless
// interfaces-optional=no: then the start fails (R19.1, R19.7).
func (d *Daemon) attachAll() error {
	have, err := d.o.Host.Interfaces()
	if err != nil {
		return err
	}
	defaults, err := d.o.Host.DefaultRoutes()
	if err != nil {
		return err
	}
	for _, i := range d.file.Setup.Interfaces {
		if d.linkNamed(i.Virtual) != nil || d.hand.detached(i.Virtual) {
			continue
		}
		phys := physical(i, defaults)
		if phys == "" {
			d.awaiting(i.Virtual, "interfaces=%defaultroute, but there is no default route")
			continue
		}
		n := slices.IndexFunc(have, func(h host.Interface) bool { return h.Name == phys })
		absent := ""
		switch {
		case n < 0:
			absent = fmt.Sprintf("interfaces= names %s=%s, but there is no device %s", i.Virtual, phys, phys)
		case len(have[n].Addrs) == 0: // the Ethernet beneath PPPoE, say (R12.4)
			absent = fmt.Sprintf("interfaces= names %s=%s, but %s has no address", i.Virtual, phys, phys)
		}
		if absent != "" {
			if !d.started && !d.file.Setup.MayBeAbsent {
				return errors.New(absent)
			}
			d.awaiting(i.Virtual, absent)
			continue
		}
		delete(d.awaited, i.Virtual)
		if err := d.attach(i.Virtual, have[n]); err != nil {
			if !d.started {
				return err
			}
			d.notAttached(err)
		}
	}
	if len(d.links) == 0 {
		d.log.Warn("no public interfaces found")
	}
	return nil
}

// attachAgain is attach for a device that was attached before.
func (d *Daemon) attachAgain(virtual string, phys host.Interface) {
	if err := d.attach(virtual, phys); err != nil {
		d.notAttached(err)
	}
}

// notAttached sees to it that what failed is tried again: descriptors or memory
// may have run out, and that passes.
func (d *Daemon) notAttached(err error) {
	d.log.Error(err.Error())
	d.rescanAt = time.Now().Add(attachWait)
}

// awaiting says, once, why a device is not attached yet.
func (d *Daemon) awaiting(virtual, why string) {
	if d.awaited[virtual] != why {
		d.awaited[virtual] = why
		d.log.Warn(why + ": waiting for it")
	}
}

func physical(i config.Interface, defaults [2]host.DefaultRoute) string {
	if i.Physical != defaultRoute {
		return i.Physical
	}
	return cmp.Or(defaults[0].Device, defaults[1].Device)
}

func (d *Daemon) attach(virtual string, phys host.Interface) error {
	l := &link{index: phys.Index, mtu: phys.MTU, nets: nets(phys), done: make(chan struct{}), Attachment: Attachment{
		Virtual: virtual, Physical: phys.Name, IKEPort: d.ikePort(), NATPort: d.natPort(), CopyTOS: !d.file.Setup.HideTOS, NoIKE: d.o.NoIKE, ListenTCP: d.file.Setup.ListenTCP}}
	for _, p := range phys.Addrs {
		l.Addrs = append(l.Addrs, p.Addr())
	}
	wire, err := d.o.Plane.Attach(l.Attachment)
	if err != nil {
		return fmt.Errorf("attach %s to %s: %w", virtual, phys.Name, err)
	}
	l.wire = wire
	l.inside = d.insideAddrs(l) // of a device that was attached before
	if err := d.o.Host.SetDevice(virtual, d.mtuOf(l), append(slices.Clone(l.Addrs), l.inside...)); err != nil {
		d.o.Plane.Detach(virtual)
		return err
	}
	have, err := d.o.Host.Interfaces()
	if err != nil {
		d.o.Plane.Detach(virtual)
		return err
	}
	l.vindex = interfaceNamed(have, virtual).Index
	d.links = append(d.links, l)
	d.readers.Go(func() { d.read(l) })
	for _, a := range l.Addrs {
		d.log.Info(fmt.Sprintf("adding interface %s/%s %s", virtual, phys.Name, a))
	}
	d.reversePath(phys.Name)
	return nil
}

// mtuOf is the MTU of a virtual device: what certainly fits into the physical
// one when it is protected, unless overridemtu= knows better.
func (d *Daemon) mtuOf(l *link) int {
	if n := d.file.Setup.OverrideMTU; n != 0 {
		return n
	}
	for _, a := range l.Addrs {
		if a.Is6() {
			return max(1280, l.mtu-overhead6)
		}
	}
	return max(576, l.mtu-overhead4)
}

func (d *Daemon) reversePath(device string) {
	want := d.file.Setup.RPFilter
	if want < 0 {
		return
	}
	s, value := host.ReversePath(device), fmt.Sprint(want)
	if now, err := d.o.Host.Switch(s); err != nil || now == value {
		return
	}
	d.log.Warn(fmt.Sprintf("changing the reverse path filter of %s to %s", device, value))
	if err := d.o.Host.SetSwitch(s, value); err != nil {
		d.log.Error(err.Error())
	}
}

// read carries the messages of one device to the loop.
func (d *Daemon) read(l *link) {
	for g := range l.wire.IKE() {
		select {
		case d.datagrams <- g:
		case <-l.done:
			return
		}
	}
}

// detach stops a device. With keep it stays in the kernel, and its routes with
// it, for the next attach.
func (d *Daemon) detach(l *link, keep bool) {
	for _, a := range l.Addrs {
		d.log.Info(fmt.Sprintf("shutting down interface %s/%s %s", l.Virtual, l.Physical, a))
	}
	close(l.done)
	if err := d.o.Plane.Detach(l.Virtual); err != nil {
		d.log.Error(fmt.Sprintf("detach %s: %v", l.Virtual, err))
	}
	if !keep {
		if err := d.o.Host.RemoveDevice(l.Virtual); err != nil {
			d.log.Error(err.Error())
		}
	}
	d.links = slices.DeleteFunc(d.links, func(x *link) bool { return x == l })
}

// rescan follows changes of the machine: devices that came, went and came
// back, addresses, default routes. Connections that they do not touch go on. A
// virtual device that somebody has deleted is made again: until then the packet
// filter keeps what it was for from leaving in the clear.
func (d *Daemon) rescan() {
	have, err := d.o.Host.Interfaces()
	if err != nil {
		d.log.Error(err.Error())
		return
	}
	defaults, err := d.o.Host.DefaultRoutes()
	if err != nil {
		d.log.Error(err.Error())
		return
	}
	changed := false
	for _, l := range slices.Clone(d.links) {
		phys, virtual := interfaceNamed(have, l.Physical), interfaceNamed(have, l.Virtual)
		gone := virtual.Index != l.vindex
		stays := l.is(phys) && !d.movedAway(l, defaults)
		if stays && !gone {
			l.nets = nets(phys)
			if !virtual.Up {
				d.wake(l)
			}
			continue
		}
		changed = true
		d.detach(l, true)
		if stays {
			d.log.Warn(fmt.Sprintf("somebody has deleted %s: making it again", l.Virtual))
			d.attachAgain(l.Virtual, phys)
		}
	}
	before := len(d.links)
	if err := d.attachAll(); err != nil {
		d.log.Error(err.Error())
	}
	d.setRelays()
	if changed || len(d.links) != before {
		d.reorient()
	}
	d.setRoutes() // the kernel takes those whose addresses or devices went, or were down
	d.noteDefaults()
	d.unfollowed = true
	d.follow()
}

// wake brings a virtual device up that somebody has brought down.
func (d *Daemon) wake(l *link) {
	d.log.Warn(fmt.Sprintf("somebody has brought %s down: bringing it up again", l.Virtual))
	if err := d.o.Host.SetDevice(l.Virtual, d.mtuOf(l), append(slices.Clone(l.Addrs), l.inside...)); err != nil {
		d.log.Error(err.Error())
	}
}

// interfaceNamed is the zero value, whose index no device has, if there is none.
func interfaceNamed(have []host.Interface, name string) host.Interface {
	for _, h := range have {
		if h.Name == name {
			return h
		}
	}
	return host.Interface{}
}

// is reports whether a device is still what l was attached to.
func (l *link) is(h host.Interface) bool {
	if l.index != h.Index || len(l.Addrs) != len(h.Addrs) {
		return false
	}
	for _, p := range h.Addrs {
		if !slices.Contains(l.Addrs, p.Addr()) {
			return false
		}
	}
	return true
}

// movedAway reports whether l follows the default route, and that has left.
// When there is none at all, l stays where it was.
func (d *Daemon) movedAway(l *link, defaults [2]host.DefaultRoute) bool {
	if d.hand.attached(l.Virtual, l.Physical) {
		return false
	}
	for _, i := range d.file.Setup.Interfaces {
		if i.Virtual == l.Virtual {
			phys := physical(i, defaults)
			return phys != "" && phys != l.Physical
		}
	}
	return true // interfaces= does not name it any more
}

// netOf is the network that an address of a device is in; invalid if it is alone.
func (l *link) netOf(a netip.Addr) netip.Prefix {
	for _, p := range l.nets {
		if p.Contains(a) {
			return p
		}
	}
	return netip.Prefix{}
}

func (d *Daemon) linkNamed(virtual string) *link {
	for _, l := range d.links {
		if l.Virtual == virtual {
			return l
		}
	}
	return nil
}

func (d *Daemon) linkOf(a netip.Addr) *link {
	for _, l := range d.links {
		if slices.Contains(l.Addrs, a) {
			return l
		}
	}
	return nil
}

// devices lists all virtual devices that may carry routes of ours.
func (d *Daemon) devices() []string {
	var list []string
	for _, i := range d.file.Setup.Interfaces {
		list = append(list, i.Virtual)
	}
	for _, l := range d.links {
		if !slices.Contains(list, l.Virtual) {
			list = append(list, l.Virtual)
		}
	}
	return list
}

// setRoutes makes the kernel's routes what the table wants now.
func (d *Daemon) setRoutes() {
	if d.batching {
		return
	}
	d.gainAddrs()
	var want []host.Route
	for _, r := range d.hand.table.Routes(d.table.Routes()) {
		want = append(want, host.Route(r))
	}
	if err := d.o.Host.SetRoutes(want, d.devices()); err != nil {
		for _, text := range strings.Split(err.Error(), "\n") { // one route, one line
			d.log.Error(fmt.Sprintf("routes: %s (incorrect or missing nexthop setting??)", text))
		}
	}
}

func (d *Daemon) ikePort() uint16 { return cmp.Or(d.file.Setup.IKEPort, 500) }
func (d *Daemon) natPort() uint16 { return cmp.Or(d.file.Setup.NATPort, 4500) }

// endpoints are the addresses of the first message of a connection.
func endpoints(c *ike.Conn, port uint16) (local, remote netip.AddrPort) {
	return netip.AddrPortFrom(c.Local.Addr, cmp.Or(c.Local.Port, port)),
		netip.AddrPortFrom(c.Remote.Addr, cmp.Or(c.Remote.Port, 500))
}

// facts is what orientation must know.
func (d *Daemon) facts() *connection.Facts {
	f := &connection.Facts{Names: d.names, Certs: d.certStore(), Unique: d.file.Setup.UniqueIDs}
	_, f.UniqueGiven = d.file.Setup.Keys["uniqueids"]
	for _, l := range d.links {
		for _, a := range l.Addrs {
			f.Ours = append(f.Ours, connection.Address{Addr: a, Net: l.netOf(a), Virtual: l.Virtual, Physical: l.Physical})
		}
	}
	defaults, err := d.o.Host.DefaultRoutes()
	if err != nil {
		d.log.Error(err.Error())
	}
	for i, r := range defaults {
		f.Default[i] = connection.Gateway{Device: r.Device, Addr: r.Addr, NextHop: r.NextHop}
	}
	f.MyID = d.myID
	return f
}
