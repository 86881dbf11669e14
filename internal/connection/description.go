package connection

import (
	"net/netip"
	"strings"

	"cygnet/internal/config"
	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

// Description is one connection of the configuration, seen from this machine:
// what IKE needs, and what happens to its packets and routes. It is immutable
// once it is in a Table.
type Description struct {
	*ike.Conn
	Alias    string // the name in the file, where that made several connections
	Oriented bool   // one of its ends is an address of this machine
	Right    bool   // the local end is what the file calls right
	Auto     config.Startup

	// Shunt covers its packets while it is routed without an SA: Trap for
	// what is negotiated, or Pass, Drop, Reject for the shunt types.
	Shunt   ipsec.Action
	Hold    ipsec.Action // while negotiating
	Failure ipsec.Action // after the last keying attempt; Trap means none

	Virtual, Physical string     // ipsec0, eth0; empty while unoriented
	NextHop           netip.Addr // ours; invalid: the peer's address, once known
	PeerHop           netip.Addr // the peer's, for display
	Pool              Pool       // addresses for the peer
	Within            bool       // the peer has a part of Remote.TS, which it names when it calls
	DHCP              bool       // our address inside comes by DHCP; without one in Assigned there is none yet
	NoRoutes          bool       // nothing is routed into it: it is for one program, which uses its device
	Assigned          Assigned   // what has come of that, or of what we asked for
	SourceIP          netip.Addr // preferred source of packets of our own
	MTU, Metric       int        // of its routes; 0: the system's
	Updown            []string   // command and arguments that replace our own routing; none: we route
	Firewall          bool       // leftfirewall=: forwarding is open between the clients while it is up
	ProxyARP          bool       // leftproxyarp=: we answer ARP for the peer's addresses while it is routed
	RemoteWord        string     // %any and the like, where the address is not known
	DontRekey         bool
	Unique            config.UniqueIDs // what a new IKE SA of the peer does to older ones
}

// Negotiable reports whether the connection ever uses IKE.
func (d *Description) Negotiable() bool { return d.Shunt == ipsec.Trap }

// Selectors lists what its outbound packets match: each of our traffic
// selectors with each of the peer's.
func (d *Description) Selectors() []ipsec.Selector { return product(d.Sides()) }

func product(local, remote []ipsec.TS) []ipsec.Selector {
	var list []ipsec.Selector
	for _, l := range local {
		for _, r := range remote {
			list = append(list, join(l, r)...)
		}
	}
	return list
}

// join makes selectors of two traffic selectors; none, if no packet could
// match both.
func join(l, r ipsec.TS) []ipsec.Selector {
	if l.Start.Is4() != r.Start.Is4() || l.Proto != 0 && r.Proto != 0 && l.Proto != r.Proto {
		return nil
	}
	var list []ipsec.Selector
	for _, src := range l.Prefixes() {
		for _, dst := range r.Prefixes() {
			list = append(list, ipsec.Selector{Src: src, Dst: dst, Proto: max(l.Proto, r.Proto),
				SrcPorts: canonical(l.Ports), DstPorts: canonical(r.Ports)})
		}
	}
	return list
}

// canonical writes "any port" in one way, so that equal selectors compare so.
func canonical(p ipsec.Ports) ipsec.Ports {
	if p.Any() {
		return ipsec.Ports{}
	}
	return p
}

// remotePrefixes lists what its routes cover, in the order of the selectors.
func (d *Description) remotePrefixes() []netip.Prefix {
	var list []netip.Prefix
	_, remote := d.Sides()
	for _, ts := range remote {
		list = append(list, ts.Prefixes()...)
	}
	return list
}

// Routes lists the kernel's routes that lead its packets into its device; none
// if a script of its own does that.
func (d *Description) Routes() []KernelRoute {
	if d.Virtual == "" || len(d.Updown) > 0 || d.NoRoutes {
		return nil
	}
	var list []KernelRoute
	for _, p := range d.remotePrefixes() {
		r := KernelRoute{Prefix: p, Device: d.Virtual, Source: d.Source(p.Addr().Is6()), MTU: d.MTU, Metric: d.Metric}
		if h := d.Hop(); h.Is4() == p.Addr().Is4() {
			r.NextHop = h
		}
		list = append(list, r)
	}
	return list
}

// Hop is the next hop of its routes; invalid if there is none to name.
func (d *Description) Hop() netip.Addr {
	if d.NextHop.IsValid() {
		return d.NextHop
	}
	if d.Remote.Addr.IsValid() && !d.Remote.Addr.IsUnspecified() {
		return d.Remote.Addr
	}
	return netip.Addr{}
}

// PolicyWords is the policy as Pluto's status writes it.
func (d *Description) PolicyWords(up bool) string {
	var words []string
	add := func(on bool, word string) {
		if on {
			words = append(words, word)
		}
	}
	for _, a := range d.Local.Auth {
		add(a == ike.AuthPSK, "PSK")
		add(a == ike.AuthPubkey, "RSASIG")
	}
	if d.Negotiable() {
		alone := len(d.ESP) > 0 && d.ESP[0].Protocol == suite.ProtoAH
		add(!alone, "ENCRYPT")
		add(alone || len(d.AH) > 0, "AUTHENTICATE")
		add(d.Compress, "COMPRESS")
		add(d.Mode == ipsec.Tunnel, "TUNNEL")
		add(d.PFS, "PFS")
		add(!d.CheckArrival, "DISABLEARRIVALCHECK")
		add(d.DontRekey, "DONTREKEY")
		add(d.Failure != ipsec.Trap, "failure"+strings.ToUpper(strings.TrimPrefix(d.Failure.String(), "%")))
	} else {
		add(true, strings.ToUpper(strings.TrimPrefix(d.Shunt.String(), "%")))
		add(true, "NEVER_NEGOTIATE")
	}
	add(up, "UP")
	return strings.Join(words, "+")
}
