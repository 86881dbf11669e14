package updown

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
)

// Link is what the daemon knows of a connection besides its ike.Conn.
type Link struct {
	Interface string       // ipsec0
	NextHop   netip.Addr   // ours; invalid: the peer is the next hop
	Sources   []netip.Addr // of our own packets, at most one of each family
	DNS       []netip.Addr // name servers that the peer has told us
	Domains   []string     // that they are for; none: all
	MTU       int          // 0: the device's
	Metric    int
	Policy    string // as PSK+ENCRYPT+TUNNEL
	PeerCA    string // distinguished name of the issuer of the peer's certificate
}

// Environments makes the variables of a command, once for each pair of nets
// that the connection joins. verb is that of the first pair; the others get
// the suffix of their address family.
func Environments(c *ike.Conn, verb string, l Link) [][]string {
	verb = strings.TrimSuffix(verb, "-v6")
	var all [][]string
	for _, my := range c.Local.TS {
		for _, peer := range c.Remote.TS {
			if my.Start.Is4() != peer.Start.Is4() {
				continue
			}
			for _, m := range my.Prefixes() {
				for _, p := range peer.Prefixes() {
					all = append(all, environment(c, verb, l, client{m, my}, client{p, peer}))
				}
			}
		}
	}
	return all
}

// client is one net behind an end, and the selector that it is part of.
type client struct {
	net netip.Prefix
	ts  ipsec.TS
}

func environment(c *ike.Conn, verb string, l Link, my, peer client) []string {
	family := familyOf(my.net.Addr())
	if my.net.Addr().Is6() {
		verb += "-v6"
	}
	hop := l.NextHop
	if !hop.IsValid() {
		hop = c.Remote.Addr
	}
	var env []string
	set := func(name, value string) { env = append(env, "PLUTO_"+name+"="+harmless(value)) }
	set("VERSION", version)
	set("VERB", verb)
	set("CONNECTION", c.Name)
	set("NEXT_HOP", text(hop))
	set("INTERFACE", l.Interface)
	end := func(name string, e ike.End, cl client) {
		set(name+"_ID", e.ID.String())
		set(name+"_CLIENT", cl.net.String())
		set(name+"_CLIENT_NET", cl.net.Addr().String())
		set(name+"_CLIENT_MASK", mask(cl.net))
		set(name+"_PORT", port(cl.ts))
		set(name+"_PROTOCOL", strconv.Itoa(int(cl.ts.Proto)))
	}
	set("ME", text(c.Local.Addr))
	end("MY", c.Local, my)
	set("PEER", text(c.Remote.Addr))
	end("PEER", c.Remote, peer)
	set("PEER_CA", l.PeerCA)
	for _, a := range l.Sources {
		if a.Is4() == my.net.Addr().Is4() {
			set("MY_SOURCEIP", a.String())
		}
	}
	if len(l.DNS) > 0 {
		set("PEER_DNS_INFO", words(l.DNS))
		set("PEER_DOMAIN_INFO", strings.Join(l.Domains, " "))
	}
	set("STACK", "klips")
	set("METRIC", strconv.Itoa(l.Metric))
	set("MTU", strconv.Itoa(l.MTU))
	set("CONN_POLICY", l.Policy)
	set("CONN_ADDRFAMILY", family)
	set("CONN_CLIENTFAMILY", family)
	set("CONN_ENDFAMILY", familyOf(c.Remote.Addr))
	return env
}

// version is that of the interface, not of the program.
const version = "1.1"

func familyOf(a netip.Addr) string {
	if a.Is6() {
		return "ipv6"
	}
	return "ipv4"
}

func words(list []netip.Addr) string {
	var texts []string
	for _, a := range list {
		texts = append(texts, a.String())
	}
	return strings.Join(texts, " ")
}

func text(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// mask is the netmask of p in the form of an address.
func mask(p netip.Prefix) string { return net.IP(net.CIDRMask(p.Bits(), p.Addr().BitLen())).String() }

// port is the one port of a selector. 0 stands for any, and also for a range,
// which the variable cannot express.
func port(ts ipsec.TS) string {
	if ts.Ports.Any() || ts.Ports.Lo != ts.Ports.Hi {
		return "0"
	}
	return strconv.Itoa(int(ts.Ports.Lo))
}

// harmless encodes a value so that scripts may use it without care: what is
// not in the list becomes %XX, also a percent sign itself, and a minus at the
// beginning, which a command would take for an option. Peers choose some of
// these values (adversary.md CTL-08, trust.md MS-16).
func harmless(s string) string {
	s = s[:min(len(s), maxValue)]
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9',
			c == '-' && i > 0, strings.IndexByte("@._:/=,+ ", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
