package lab

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// Port is one end of a link: an interface of a host with its addresses.
type Port struct {
	Host  *Host
	Dev   string
	Addrs []netip.Prefix
	MTU   int // 0: 1500
}

// Link joins two ports by a virtual cable (a veth pair) and sets them up.
func (l *Lab) Link(a, b Port) error {
	pair := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: a.Dev, MTU: a.MTU},
		PeerName:      b.Dev,
		PeerNamespace: netlink.NsFd(int(b.Host.ns)),
	}
	if err := a.Host.nl.LinkAdd(pair); err != nil {
		return fmt.Errorf("link %s of %s to %s of %s: %w", a.Dev, a.Host.Name, b.Dev, b.Host.Name, err)
	}
	if err := a.setUp(); err != nil {
		return err
	}
	return b.setUp()
}

// Bridge makes p an Ethernet bridge whose ports are the named interfaces of
// the same host, which have no addresses of their own.
func (l *Lab) Bridge(p Port, ports ...string) error {
	h := p.Host
	if err := h.nl.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: p.Dev}}); err != nil {
		return fmt.Errorf("%s: bridge %s: %w", h.Name, p.Dev, err)
	}
	bridge, err := h.nl.LinkByName(p.Dev)
	if err != nil {
		return err
	}
	for _, name := range ports {
		port, err := h.nl.LinkByName(name)
		if err != nil {
			return fmt.Errorf("%s: interface %s: %w", h.Name, name, err)
		}
		if err := h.nl.LinkSetMaster(port, bridge); err != nil {
			return fmt.Errorf("%s: put %s into bridge %s: %w", h.Name, name, p.Dev, err)
		}
	}
	return p.setUp()
}

func (p Port) setUp() error {
	link, err := p.Host.nl.LinkByName(p.Dev)
	if err != nil {
		return fmt.Errorf("%s: interface %s: %w", p.Host.Name, p.Dev, err)
	}
	if p.MTU != 0 {
		if err := p.Host.nl.LinkSetMTU(link, p.MTU); err != nil {
			return fmt.Errorf("%s: MTU of %s: %w", p.Host.Name, p.Dev, err)
		}
	}
	for _, a := range p.Addrs {
		if err := p.Host.AddAddr(p.Dev, a); err != nil {
			return err
		}
	}
	if err := p.Host.nl.LinkSetUp(link); err != nil {
		return fmt.Errorf("%s: switch on %s: %w", p.Host.Name, p.Dev, err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	p = p.Masked()
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
