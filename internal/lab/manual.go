package lab

import (
	"fmt"
	"net/netip"
	"slices"
)

// The networks that the manual protects; nobody outside may see their
// addresses.
var (
	WestNet = netip.MustParsePrefix("192.168.100.0/24")
	EastNet = netip.MustParsePrefix("192.168.200.0/24")
)

// The manual's addresses.
var (
	Sunset  = netip.MustParseAddr("192.168.100.10")
	West    = netip.MustParseAddr("101.101.101.101")
	East    = netip.MustParseAddr("202.202.202.202")
	Sunrise = netip.MustParseAddr("192.168.200.10")
	Road    = netip.MustParseAddr("203.0.113.7")
	World   = netip.MustParseAddr("198.51.100.80")
)

// The manual's addresses of guests beside Road and World.
var (
	Road2 = netip.MustParseAddr("203.0.113.8")
	Road3 = netip.MustParseAddr("203.0.113.9")
	Alice = netip.MustParseAddr("192.168.100.20")
	Bob   = netip.MustParseAddr("192.168.200.20")
)

// Guests are the hosts that BuildManual adds on request: three road warriors,
// a NAT box that the first of them then sits behind, a server on the Internet,
// and a second host on either local net.
var Guests = []string{"road", "road2", "road3", "north", "world", "alice", "bob"}

// BuildManual builds the network of the manual's picture:
//
//	sunset ===== west ------- nic ------- east ===== sunrise
//	 .100.10  .100.1|101.101.101.101  202.202.202.202|.200.1  .200.10
//
// Interfaces of gateways are eth0 (outside) and eth1 (inside); those of nic are
// called after the neighbour. nic has no route to the inside networks: what
// west sends there without a tunnel goes no further. Where a local net has two
// hosts, eth1 of its gateway is a bridge.
func BuildManual(l *Lab, guests []string) error {
	return buildManual(&builder{lab: l}, guests)
}

// BuildLossyManual builds the same with a bad wire between west and nic.
func BuildLossyManual(l *Lab, guests []string, loss Loss) (*Wire, error) {
	b := &builder{lab: l, loss: &loss}
	err := buildManual(b, guests)
	return b.wire, err
}

func buildManual(b *builder, guests []string) error {
	l := b.lab
	for _, g := range guests {
		if !slices.Contains(Guests, g) {
			return fmt.Errorf("no host %q in the manual's network", g)
		}
	}
	for _, n := range []string{"sunset", "west", "nic", "east", "sunrise"} {
		if _, err := l.AddHost(n); err != nil {
			return err
		}
	}
	for _, n := range Guests {
		if !slices.Contains(guests, n) {
			continue
		}
		if _, err := l.AddHost(n); err != nil {
			return err
		}
	}
	for _, n := range []string{"west", "nic", "east"} {
		b.do(l.Host(n).Forward())
	}
	b.localNet("west", "192.168.100.1/24", guests, "sunset", "192.168.100.10/24", "alice", "192.168.100.20/24")
	b.outerLink("west", "eth0", "101.101.101.101/24", "nic", "west", "101.101.101.1/24")
	b.link("nic", "east", "202.202.202.1/24", "east", "eth0", "202.202.202.202/24")
	b.localNet("east", "192.168.200.1/24", guests, "sunrise", "192.168.200.10/24", "bob", "192.168.200.20/24")
	b.defaultRoute("west", "101.101.101.1")
	b.defaultRoute("east", "202.202.202.1")
	if slices.Contains(guests, "world") {
		b.link("nic", "world", "198.51.100.1/24", "world", "eth0", "198.51.100.80/24")
		b.defaultRoute("world", "198.51.100.1")
	}
	switch {
	case slices.Contains(guests, "north"):
		b.north(slices.Contains(guests, "road"))
	case slices.Contains(guests, "road"):
		b.link("nic", "road", "203.0.113.1/24", "road", "eth0", "203.0.113.7/24")
		b.defaultRoute("road", "203.0.113.1")
	}
	for _, r := range []struct{ name, addr string }{{"road2", "203.0.113.8/24"}, {"road3", "203.0.113.9/24"}} {
		if slices.Contains(guests, r.name) {
			b.roadWarrior(r.name, r.addr)
		}
	}
	return b.err
}

// localNet joins a gateway and one or two hosts: by a cable, or by a bridge
// that is the gateway's eth1.
func (b *builder) localNet(gateway, addr string, guests []string, host, hostAddr, guest, guestAddr string) {
	router := netip.MustParsePrefix(addr).Addr().String()
	if !slices.Contains(guests, guest) {
		b.link(host, "eth0", hostAddr, gateway, "eth1", addr)
		b.defaultRoute(host, router)
		return
	}
	b.link(host, "eth0", hostAddr, gateway, "lan1", "")
	b.link(guest, "eth0", guestAddr, gateway, "lan2", "")
	if b.err == nil {
		b.err = b.lab.Bridge(b.port(gateway, "eth1", addr), "lan1", "lan2")
	}
	b.defaultRoute(host, router)
	b.defaultRoute(guest, router)
}

// roadWarrior has a link of its own with nic, which has the same address on
// all of these links and tells them apart by host routes.
func (b *builder) roadWarrior(name, addr string) {
	b.link(name, "eth0", addr, "nic", name, "203.0.113.1/32")
	b.defaultRoute(name, "203.0.113.1")
	if b.err == nil {
		host := netip.MustParsePrefix(addr).Addr()
		b.err = b.lab.Host("nic").AddDeviceRoute(netip.PrefixFrom(host, host.BitLen()), name)
	}
}

// north is a NAT box with the address 203.0.113.254 outside.
func (b *builder) north(road bool) {
	b.link("nic", "north", "203.0.113.1/24", "north", "eth0", "203.0.113.254/24")
	b.defaultRoute("north", "203.0.113.1")
	b.do(b.lab.Host("north").Forward())
	b.do(b.lab.Host("north").Masquerade(netip.MustParsePrefix("10.77.0.0/24"), "eth0", true))
	if road {
		b.link("north", "eth1", "10.77.0.1/24", "road", "eth0", "10.77.0.7/24")
		b.defaultRoute("road", "10.77.0.1")
	}
}

// builder keeps the first error.
type builder struct {
	lab  *Lab
	loss *Loss // of outer links; nil: good ones
	wire *Wire
	err  error
}

func (b *builder) do(err error) {
	if b.err == nil {
		b.err = err
	}
}

func (b *builder) port(host, dev, addr string) Port {
	p := Port{Host: b.lab.Host(host), Dev: dev}
	if addr != "" {
		p.Addrs = []netip.Prefix{netip.MustParsePrefix(addr)}
	}
	return p
}

func (b *builder) link(hostA, devA, addrA, hostB, devB, addrB string) {
	if b.err == nil {
		b.err = b.lab.Link(b.port(hostA, devA, addrA), b.port(hostB, devB, addrB))
	}
}

func (b *builder) outerLink(hostA, devA, addrA, hostB, devB, addrB string) {
	if b.loss == nil || b.err != nil {
		b.link(hostA, devA, addrA, hostB, devB, addrB)
		return
	}
	b.wire, b.err = b.lab.LossyLink(b.port(hostA, devA, addrA), b.port(hostB, devB, addrB), *b.loss)
}

func (b *builder) defaultRoute(host, via string) {
	if b.err == nil {
		b.err = b.lab.Host(host).AddRoute(netip.MustParsePrefix("0.0.0.0/0"), netip.MustParseAddr(via))
	}
}
