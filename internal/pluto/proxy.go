package pluto

import (
	"fmt"
	"net/netip"
	"slices"

	"cygnet/internal/connection"
	"cygnet/internal/host"
)

// follow brings in line what follows from the SPD: packet filter and proxy
// ARP. It comes after the routes: they must not wait for it.
func (d *Daemon) follow() {
	if !d.unfollowed || d.batching {
		return
	}
	d.unfollowed = false
	d.settleAddrs()
	d.refilter()
	want := d.wantedProxies()
	if slices.Equal(want, d.proxies) {
		return
	}
	d.proxies = want
	d.rememberProxies() // before they stand: a crash between leaves nothing unknown
	if err := d.o.Host.SetProxies(want); err != nil {
		d.log.Error(err.Error())
	}
}

// wantedProxies lists the addresses that we answer for in place of a peer, on
// the device whose network they lie in: neighbours there then send to us what
// is for the far end of a tunnel (R18.6).
func (d *Daemon) wantedProxies() []host.Proxy {
	var addrs []netip.Addr
	for _, v := range d.table.Views() {
		if !v.ProxyARP || v.State != connection.Erouted {
			continue
		}
		for _, c := range v.Children {
			for _, ts := range c.Up.TSRemote {
				list := addresses(ts.Prefixes())
				if list == nil && c.Using {
					d.log.Warn(fmt.Sprintf("%q: leftproxyarp=yes is for at most %d addresses, not for %s", v.Name, maxProxies, ts))
				}
				addrs = append(addrs, list...)
			}
		}
	}
	for _, c := range d.hand.table.UpNow() {
		for _, ts := range c.Remote.TS {
			if c.ProxyARP {
				addrs = append(addrs, addresses(ts.Prefixes())...)
			}
		}
	}
	if len(addrs) == 0 {
		return nil
	}
	devices, err := d.o.Host.Interfaces()
	if err != nil {
		d.log.Error(err.Error())
		return d.proxies
	}
	ours := d.devices()
	var list []host.Proxy
	for _, h := range devices {
		if slices.Contains(ours, h.Name) {
			continue
		}
		for _, a := range addrs {
			p := host.Proxy{Device: h.Name, Addr: a}
			onLink := slices.ContainsFunc(h.Addrs, func(n netip.Prefix) bool { return n.Contains(a) && n.Addr() != a })
			if onLink && !slices.Contains(list, p) {
				list = append(list, p)
			}
		}
	}
	return list
}

// addresses lists all addresses of some prefixes; nil if they are too many.
func addresses(prefixes []netip.Prefix) []netip.Addr {
	var list []netip.Addr
	for _, p := range prefixes {
		for a := p.Masked().Addr(); p.Contains(a); a = a.Next() {
			if len(list) == maxProxies {
				return nil
			}
			list = append(list, a)
		}
	}
	return list
}
