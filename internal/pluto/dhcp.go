package pluto

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"iter"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"cygnet/internal/config"
	"cygnet/internal/connection"
	"cygnet/internal/dhcp"
	"cygnet/internal/ipsec"
	"cygnet/internal/whack"
)

// DHCP over IPsec, RFC 3456. On a gateway dhcprelay= relays what comes out of
// tunnels for ports 67 and 68. A client with leftsourceip=%dhcp gets its
// address in three steps: a connection made for the purpose carries DHCP and
// nothing else; the address that comes by it becomes the client's subnet in the
// connection that was asked for; and that is brought up.

const (
	dhcpSuffix = ".dhcp"
	dhcpTime   = 20 * time.Second // for a server to answer
	dhcpLife   = 2 * time.Minute  // of the SA for DHCP; it is not replaced
)

// dhcpState is the part of a daemon that has to do with DHCP.
type dhcpState struct {
	leases map[string]*dhcp.Lease // of connections of ours, by name
	relays map[string]*dhcp.Relay // by virtual device
	failed map[string]string      // why a device has no relay, as last told
}

// setRelays makes every device with a relay have one, and no other.
func (d *Daemon) setRelays() {
	s := &d.dhcp
	if s.relays == nil {
		s.relays, s.failed = map[string]*dhcp.Relay{}, map[string]string{}
	}
	servers := d.file.Setup.DHCPRelay
	for _, name := range d.devices() {
		attached := d.linkNamed(name) != nil && len(servers) > 0 && !d.stopping
		switch r := s.relays[name]; {
		case r != nil && !attached:
			r.Close()
			delete(s.relays, name)
		case r == nil && attached:
			d.startRelay(name, servers)
		}
	}
}

func (d *Daemon) startRelay(device string, servers []netip.Addr) {
	r, err := dhcp.NewRelay(device, servers, func(text string) { d.log.Info(text) })
	if err != nil {
		if why := err.Error(); d.dhcp.failed[device] != why {
			d.dhcp.failed[device] = why
			d.log.Error(fmt.Sprintf("dhcprelay=: %v", err))
		}
		return
	}
	delete(d.dhcp.failed, device)
	d.dhcp.relays[device] = r
}

// dropRelays ends those that another configuration has other servers for.
func (d *Daemon) dropRelays(f *config.File) {
	if d.file != nil && slices.Equal(d.file.Setup.DHCPRelay, f.Setup.DHCPRelay) {
		return
	}
	for name, r := range d.dhcp.relays {
		r.Close()
		delete(d.dhcp.relays, name)
	}
}

// withLease is a connection with the address that it has from DHCP.
func (d *Daemon) withLease(c *config.Conn) *config.Conn {
	l := d.dhcp.leases[c.Name]
	if l == nil {
		return c
	}
	k := *c
	for _, e := range []*config.End{&k.Left, &k.Right} {
		if e.DHCP {
			e.Subnets, e.Within = []netip.Prefix{netip.PrefixFrom(l.Addr, l.Addr.BitLen())}, nil
		}
	}
	return &k
}

// leased tells a description what has come with the address.
func (d *Daemon) leased(desc *connection.Description) {
	if l := d.dhcp.leases[desc.Name]; desc.DHCP && l != nil {
		desc.Assigned = connection.Assigned{Addrs: []netip.Addr{l.Addr}, DNS: l.DNS, Domains: l.Domains}
	}
}

// byDHCP reports whether a connection gets our address by DHCP.
func (d *Daemon) byDHCP(ctx context.Context, name string) bool {
	is := false
	d.call(ctx, func() {
		v := d.view(name)
		is = v != nil && v.DHCP
	})
	return is
}

// upByDHCP brings such a connection up. It runs in the goroutine of whoever
// asks, and yields what is to be told.
func (d *Daemon) upByDHCP(ctx context.Context, name string, async bool) iter.Seq[whack.Reply] {
	return func(yield func(whack.Reply) bool) {
		// The carrier stays until the end, and its IKE SA is that of both.
		defer d.call(context.WithoutCancel(ctx), func() { d.stepTable(connection.Delete{Name: name + dhcpSuffix}) })
		lease, refusal := d.obtain(ctx, name, yield)
		if refusal != nil {
			yield(*refusal)
			return
		}
		if !yield(whack.Reply{Code: whack.CodeSuccess, Text: fmt.Sprintf("%q: DHCP has given %s", name, lease.Addr)}) {
			return
		}
		for r := range d.ask(ctx, func(id uint64) connection.Event { return connection.Up{Waiter: id, Name: name, Async: async} }) {
			if !yield(r) {
				return
			}
		}
	}
}

// obtain gets a lease by a connection of its own, and gives it to the
// connection that is meant.
func (d *Daemon) obtain(ctx context.Context, name string, tell func(whack.Reply) bool) (*dhcp.Lease, *whack.Reply) {
	carrier := name + dhcpSuffix
	var desc *connection.Description
	var wish netip.Addr
	var err error
	if !d.call(ctx, func() { desc, wish, err = d.dhcpCarrier(name) }) {
		return nil, &gone
	}
	if err != nil {
		return nil, refuse(whack.ExitFailed, fmt.Sprintf("%q: %v", name, err))
	}
	define := connection.Replace{Name: carrier, List: []*connection.Description{desc}}
	d.call(ctx, func() { d.stepTable(define) })
	for r := range d.ask(ctx, func(id uint64) connection.Event { return connection.Up{Waiter: id, Name: carrier} }) {
		switch {
		case r.Final && r.Exit != whack.ExitDone:
			return nil, &r
		case !r.Final && !tell(r):
			return nil, refuse(whack.ExitFailed, "nobody waits for the address any more")
		}
	}
	lease, err := d.exchange(ctx, desc, wish)
	if err != nil {
		return nil, refuse(whack.ExitFailed, fmt.Sprintf("%q: %v", name, err))
	}
	if !d.call(ctx, func() { err = d.takeLease(name, lease) }) {
		return nil, &gone
	}
	if err != nil {
		return nil, refuse(whack.ExitFailed, err.Error())
	}
	return lease, nil
}

func refuse(exit whack.Exit, text string) *whack.Reply {
	r := failed(exit, whack.CodeSerious, text)
	return &r
}

// dhcpCarrier describes the connection for DHCP alone: from our address, to
// whichever server the gateway has. Nothing is routed into it.
func (d *Daemon) dhcpCarrier(name string) (*connection.Description, netip.Addr, error) {
	f := d.loaded[name]
	if f == nil || f.Conn(name) == nil {
		return nil, netip.Addr{}, fmt.Errorf("it is not in the configuration any more")
	}
	k := *f.Conn(name)
	k.Name, k.Alias, k.Auto = k.Name+dhcpSuffix, "", config.AutoAdd
	k.Rekey, k.KeyLife, k.KeyingTries = false, dhcpLife, 1
	for _, e := range []*config.End{&k.Left, &k.Right} {
		e.Proto, e.Updown, e.Firewall, e.ProxyARP = unix.IPPROTO_UDP, nil, false, false
		if e.DHCP {
			e.DHCP, e.Subnets, e.Within = false, nil, nil
			e.Ports = ipsec.Ports{Lo: dhcp.ClientPort, Hi: dhcp.ClientPort}
		} else {
			e.Subnets = []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0)}
			e.Ports = ipsec.Ports{Lo: dhcp.ServerPort, Hi: dhcp.ServerPort}
		}
	}
	desc, err := connection.Orient(&k, d.facts())
	if err != nil {
		return nil, netip.Addr{}, err
	}
	if !desc.Oriented {
		return nil, netip.Addr{}, fmt.Errorf("no address of this machine is one of its ends")
	}
	desc.NoRoutes = true
	var wish netip.Addr
	if l := d.dhcp.leases[name]; l != nil {
		wish = l.Addr
	}
	return desc, wish, nil
}

func (d *Daemon) exchange(ctx context.Context, desc *connection.Description, wish netip.Addr) (*dhcp.Lease, error) {
	ctx, cancel := context.WithTimeout(ctx, dhcpTime)
	defer cancel()
	defer context.AfterFunc(d.ending, cancel)()
	var xid [4]byte
	if _, err := io.ReadFull(d.o.Rand, xid[:]); err != nil {
		return nil, fmt.Errorf("read randomness: %w", err)
	}
	s := dhcp.NewSession(desc.Local.Addr, desc.Local.ID.String(), wish, binary.BigEndian.Uint32(xid[:]))
	return dhcp.Obtain(ctx, desc.Virtual, desc.Local.Addr, s)
}

// takeLease makes the address that of the connection, and sees to it that it is
// renewed in time.
func (d *Daemon) takeLease(name string, l *dhcp.Lease) error {
	f := d.loaded[name]
	if f == nil || f.Conn(name) == nil {
		return fmt.Errorf("%q is not in the configuration any more", name)
	}
	if d.dhcp.leases == nil {
		d.dhcp.leases = map[string]*dhcp.Lease{}
	}
	d.dhcp.leases[name] = l
	list, err := d.orient([]*config.Conn{f.Conn(name)})
	if err != nil {
		return err
	}
	d.stepTable(connection.Replace{Name: name, List: list, Keep: true})
	d.log.Info(fmt.Sprintf("%q: DHCP server %s has given %s for %s", name, l.Server, l.Addr, l.Life))
	d.background.Go(func() { d.renew(name, l) })
	return nil
}

// renew asks for the address again when it is time, and for as long as the
// connection is up. When the lease ends first, so does the connection.
func (d *Daemon) renew(name string, l *dhcp.Lease) {
	end := time.Now().Add(l.Life)
	for wait := l.Renew; ; wait = time.Until(end) / 2 {
		select {
		case <-d.ending.Done():
			return
		case <-time.After(max(wait, time.Second)):
		}
		current := false
		d.call(d.ending, func() {
			v := d.view(name)
			current = d.dhcp.leases[name] == l && v != nil && v.DHCP && len(v.Assigned.Addrs) > 0
		})
		if !current {
			return
		}
		if time.Until(end) < time.Second {
			d.call(d.ending, func() {
				d.log.Warn(fmt.Sprintf("%q: the lease of %s has ended", name, l.Addr))
				d.stepTable(connection.Down{Name: name})
			})
			return
		}
		for r := range d.upByDHCP(d.ending, name, true) {
			if r.Final && r.Exit == whack.ExitDone {
				return // the new lease has a goroutine of its own
			}
			if r.Final {
				d.log.Warn(fmt.Sprintf("%q: the lease of %s is not renewed: %s", name, l.Addr, r.Text))
			}
		}
	}
}

// startByDHCP brings up what auto=start says, in the background.
func (d *Daemon) startByDHCP(name string) {
	d.background.Go(func() {
		for r := range d.upByDHCP(d.ending, name, true) {
			if r.Final && r.Exit != whack.ExitDone {
				d.log.Error(r.Text)
			}
		}
	})
}
