package main

import (
	"context"
	"crypto"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"cygnet/internal/config"
	"cygnet/internal/oe"
	"cygnet/internal/rawkey"
	"cygnet/internal/whack"
)

// reachable is verify --host and --ip: can a stranger encrypt with that host?
func (o *verifyOrder) reachable(ctx context.Context, show func(finding)) (bool, error) {
	r, opts, err := openDNS(where())
	if err != nil {
		return false, fail(whack.ExitConfig, "%w", err)
	}
	defer r.Close()
	c := &dnsCheck{r: r, opts: opts, show: show}
	subject := o.host
	if subject == "" {
		subject = o.addr
	}
	c.note(fmt.Sprintf("Checking %s for Opportunistic Encryption:", subject))
	c.validates(ctx, r) // if it does not, no record below is usable
	var gateways []netip.Addr
	var fine bool
	if o.host != "" {
		gateways, fine = c.host(ctx, o.host)
	} else {
		addr, err := netip.ParseAddr(o.addr)
		if err != nil {
			return false, fail(whack.ExitUsage, "--ip: %w", err)
		}
		gateways, fine = c.addr(ctx, addr)
	}
	if !fine {
		return false, nil
	}
	public, private := ownAddresses()
	for _, gw := range gateways {
		// Nobody reaches pluto from its own machine: its sockets are bound to the
		// devices that it guards.
		here := slices.Contains(append(public, private...), gw)
		if o.dnsOnly || here || c.ok(answersIKE(ctx, netip.AddrPortFrom(gw, ikePort), ikeWait), fmt.Sprintf("Gateway %s answers IKE on udp %d", gw, ikePort), verdictFailed) {
			c.note(fmt.Sprintf("%s can be reached opportunistically through %s", subject, gw))
			return true, nil
		}
	}
	return false, nil
}

const ikePort = 500

// checkOwnRecords is what verify says about this machine's own records. Nobody
// has to publish any, so that there are none is only worth a note.
func checkOwnRecords(ctx context.Context, at places) []finding {
	setup := config.Load(at.conf).Setup
	if setup.OE == config.OENo {
		return []finding{{Label: "Opportunistic Encryption DNS checks", Verdict: verdictNA, Advice: []string{"oe=no"}}}
	}
	c := &dnsCheck{show: func(finding) {}}
	r, opts, err := openDNS(at)
	if err != nil {
		c.ok(false, "Opportunistic Encryption DNS checks", verdictFailed, err.Error())
		return c.all
	}
	defer r.Close()
	c.r, c.opts = r, opts
	c.note("Opportunistic Encryption DNS checks:")
	if !c.validates(ctx, r) {
		return harmless(c.all)
	}
	public, private := ownAddresses()
	c.ok(len(public) > 0, "Does the machine have at least one non-private address?", verdictWarn, "private addresses serve in a DNS of one's own only")
	own, err := findHostKey(at.secrets(), "")
	for _, a := range append(public, private...) {
		c.own(ctx, a, own.public)
	}
	if err != nil {
		c.say(finding{Label: "A key for opportunistic encryption", Verdict: verdictWarn, Advice: []string{err.Error()}})
	}
	return harmless(c.all)
}

// own checks the record of one of this machine's addresses.
func (c *dnsCheck) own(ctx context.Context, a netip.Addr, key crypto.PublicKey) {
	f := c.find(ctx, oe.KeysOfAddr(a, c.opts))
	if !c.reverse(ctx, a, f) || key == nil {
		return
	}
	c.ok(has(f.Offers, key), "    key matches "+rawkey.Describe(key)+" "+rawkey.KeyID(key), verdictMismatch,
		"peers who look here find another key than ours: publish what `ipsec showhostkey --ipseckey --gateway "+a.String()+"' prints")
}

// harmless makes a machine without records no failure; a forged or outdated
// record stays one.
func harmless(found []finding) []finding {
	for i, f := range found {
		if f.Verdict == verdictMissing || f.Verdict == verdictFailed || f.Verdict == verdictInsecure {
			found[i].harmless = true
		}
	}
	return found
}

// shared is RFC 6598: addresses that providers give to many.
var shared = netip.MustParsePrefix("100.64.0.0/10")

// ownAddresses lists this machine's addresses that others can reach, and those
// of private networks.
func ownAddresses() (public, private []netip.Addr) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil, nil
	}
	for _, entry := range list {
		p, err := netip.ParsePrefix(entry.String())
		if err != nil {
			continue
		}
		switch a := p.Addr().Unmap(); {
		case a.IsLoopback() || a.IsLinkLocalUnicast():
		case a.IsPrivate() || shared.Contains(a):
			private = append(private, a)
		default:
			public = append(public, a)
		}
	}
	return public, private
}
