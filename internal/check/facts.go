package check

import (
	"net/netip"
	"time"
)

// Facts is what rules may know of the machine a configuration is for. A nil
// member is not known, and the rules that need it do not apply; an empty one is
// known to be empty.
type Facts struct {
	Interfaces []Interface
	Default    []string // devices of the default routes
	Routes     []Route
	NAT        []NATRule
	DNS        []netip.Addr             // servers this machine asks
	TXT        []KeyRecord              // what DNS says of the gateway and its clients
	Age        map[string]time.Duration // of files, since they were last written
}

// Interface is one network device.
type Interface struct {
	Name  string
	Up    bool
	MTU   int
	Addrs []netip.Prefix
}

// Route is one route of the main table.
type Route struct {
	Prefix netip.Prefix
	Device string
	Ours   bool // set by this product
}

// NATRule is a rule that rewrites source addresses of what is forwarded or
// sent.
type NATRule struct {
	Text   string       // as the machine shows it
	Out    string       // device; empty: all
	Source netip.Prefix // invalid: all
	Dest   netip.Prefix // invalid: all
	Exempt bool         // it ends the search without rewriting
}

// KeyRecord is one X-IPsec-Server record in a reverse zone.
type KeyRecord struct {
	Owner   netip.Addr // whose reverse name it stands at
	Gateway netip.Addr
	Key     string // base64
}

// device finds an interface.
func (f *Facts) device(name string) *Interface {
	for i := range f.Interfaces {
		if f.Interfaces[i].Name == name {
			return &f.Interfaces[i]
		}
	}
	return nil
}

// owns reports whether an address is on one of the machine's interfaces.
func (f *Facts) owns(a netip.Addr) bool {
	for _, i := range f.Interfaces {
		for _, p := range i.Addrs {
			if p.Addr() == a {
				return true
			}
		}
	}
	return false
}

// The conditions of rules.

func knowsInterfaces(g *Gateway) bool { return g.Facts != nil && g.Facts.Interfaces != nil }
func knowsRoutes(g *Gateway) bool     { return g.Facts != nil && g.Facts.Routes != nil }
func knowsNAT(g *Gateway) bool        { return g.Facts != nil && g.Facts.NAT != nil }
func knowsDNS(g *Gateway) bool        { return g.Facts != nil && g.Facts.DNS != nil }
func knowsTXT(g *Gateway) bool        { return g.Facts != nil && g.Facts.TXT != nil }
