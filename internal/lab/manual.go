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

// Guests are the hosts that BuildManual adds on request: a road warrior, a NAT
// box that the road warrior then sits behind, and a server on the Internet.
var Guests = []string{"road", "north", "world"}

// BuildManual builds the network of the manual's picture:
//
//	sunset ===== west ------- nic ------- east ===== sunrise
//	 .100.10  .100.1|101.101.101.101  202.202.202.202|.200.1  .200.10
//
// Interfaces of gateways are eth0 (outside) and eth1 (inside); those of nic are
// called after the neighbour. nic has no route to the inside networks: what
// west sends there without a tunnel goes no further.
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
	b.link("sunset", "eth0", "192.168.100.10/24", "west", "eth1", "192.168.100.1/24")
	b.outerLink("west", "eth0", "101.101.101.101/24", "nic", "west", "101.101.101.1/24")
	b.link("nic", "east", "202.202.202.1/24", "east", "eth0", "202.202.202.202/24")
	b.link("east", "eth1", "192.168.200.1/24", "sunrise", "eth0", "192.168.200.10/24")
	b.defaultRoute("sunset", "192.168.100.1")
	b.defaultRoute("west", "101.101.101.1")
	b.defaultRoute("east", "202.202.202.1")
	b.defaultRoute("sunrise", "192.168.200.1")
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
	return b.err
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
	return Port{Host: b.lab.Host(host), Dev: dev, Addrs: []netip.Prefix{netip.MustParsePrefix(addr)}}
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
