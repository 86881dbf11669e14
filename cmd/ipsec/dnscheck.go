package main

import (
	"context"
	"crypto"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"cygnet/internal/config"
	"cygnet/internal/oe"
	"cygnet/internal/rawkey"
	"cygnet/internal/resolve"
)

// Verdicts about the DNS.
const (
	verdictSecure     = "SECURE"
	verdictInsecure   = "INSECURE"
	verdictBogus      = "BOGUS"
	verdictMismatch   = "MISMATCH"
	verdictUnusable   = "UNUSABLE"
	verdictDeprecated = "DEPRECATED"
)

// dnsCheck looks at the records of hosts as a stranger who wants to encrypt
// would, and says each step.
type dnsCheck struct {
	r    oe.Resolver
	opts oe.Options
	show func(finding)
	all  []finding
}

// openDNS makes what the configuration says about the DNS.
func openDNS(at places) (*resolve.Resolver, oe.Options, error) {
	setup := config.Load(at.conf).Setup
	r, err := resolve.ForSetup(at.conf, &setup)
	return r, resolve.RecordOptions(&setup, nil), err
}

func (c *dnsCheck) say(f finding) {
	c.all = append(c.all, f)
	c.show(f)
}

func (c *dnsCheck) ok(ok bool, label, otherwise string, advice ...string) bool {
	f := finding{Label: label, Verdict: verdictOK}
	if !ok {
		f.Verdict, f.Advice = otherwise, advice
	}
	c.say(f)
	return ok
}

// ask asks one question.
func (c *dnsCheck) ask(ctx context.Context, name string, rrtype uint16) oe.Answer {
	ctx, cancel := context.WithTimeout(ctx, dnsWait)
	defer cancel()
	a, err := c.r.Lookup(ctx, name, rrtype)
	if err != nil {
		a = oe.Answer{Why: err.Error()}
	}
	return a
}

// verdictOf is the word for an answer, as far as it goes.
func verdictOf(a oe.Answer) string {
	switch {
	case a.Security == oe.Bogus:
		return verdictBogus
	case a.Security == oe.Indeterminate:
		return verdictFailed
	case !a.Found:
		return verdictMissing
	}
	return verdictOK
}

// validates says whether answers can be believed at all.
func (c *dnsCheck) validates(ctx context.Context, r *resolve.Resolver) bool {
	var whom []string
	for _, s := range r.Servers() {
		whom = append(whom, s.Addr().String())
	}
	ctx, cancel := context.WithTimeout(ctx, dnsWait)
	defer cancel()
	v := r.Validates(ctx)
	return c.ok(v.Validates, "Resolver "+strings.Join(whom, ", ")+" validates", verdictFailed,
		v.Why, "without DNSSEC no key from the DNS is used; install a validating resolver, or say dnssec=validate in config setup")
}

// host checks a host name: its forward records, which never fail the check by
// themselves, and the reverse records of its addresses.
func (c *dnsCheck) host(ctx context.Context, name string) (gateways []netip.Addr, ok bool) {
	for _, t := range c.types() {
		a := c.ask(ctx, oe.Name(name), t)
		c.say(finding{Label: fmt.Sprintf("Looking for %s in forward map: %s", oe.TypeName(t), name), Verdict: verdictOf(a), harmless: true})
	}
	c.deprecated(ctx, "forward", name)
	addrs := c.addresses(ctx, name)
	if len(addrs) == 0 {
		c.ok(false, name+" has an address", verdictMissing)
		return nil, false
	}
	for _, addr := range addrs {
		c.note(fmt.Sprintf("%s has address %s", name, addr))
		found, fine := c.addr(ctx, addr)
		gateways, ok = append(gateways, found...), ok || fine
	}
	return gateways, ok
}

// deprecated tells of a KEY record, which is nobody's way of publishing any more.
func (c *dnsCheck) deprecated(ctx context.Context, which, name string) {
	if c.ask(ctx, oe.Name(name), oe.TypeKEY).Found {
		c.say(finding{Label: fmt.Sprintf("Looking for KEY in %s map: %s", which, name), Verdict: verdictDeprecated,
			Advice: []string{"RFC 3445 has taken KEY away from IPsec; IPSECKEY is what peers look for"}})
	}
}

// note is a line without a verdict.
func (c *dnsCheck) note(text string) { c.say(finding{Label: text}) }

func (c *dnsCheck) types() []uint16 {
	if c.opts.TXT {
		return []uint16{oe.TypeIPSECKEY, oe.TypeTXT}
	}
	return []uint16{oe.TypeIPSECKEY}
}

func (c *dnsCheck) addresses(ctx context.Context, name string) (out []netip.Addr) {
	for _, t := range []uint16{oe.TypeA, oe.TypeAAAA} {
		for _, raw := range c.ask(ctx, oe.Name(name), t).Raw {
			if a, ok := netip.AddrFromSlice(raw); ok && (t == oe.TypeAAAA) == a.Is6() {
				out = append(out, a)
			}
		}
	}
	return out
}

// addr checks the reverse name of an address, then that of each gateway named
// there.
func (c *dnsCheck) addr(ctx context.Context, addr netip.Addr) (gateways []netip.Addr, ok bool) {
	f := c.find(ctx, oe.Gateways(addr, c.opts))
	found := c.reverse(ctx, addr, f)
	c.deprecated(ctx, "reverse", oe.ReverseName(addr))
	if !found {
		return nil, false
	}
	for _, o := range f.Offers {
		c.say(finding{Label: fmt.Sprintf("    gateway %s, precedence %d, %s, usable", o.Addr, o.Precedence, rawkey.Describe(o.Key)), Verdict: verdictOK})
		if slices.Contains(gateways, o.Addr) {
			continue
		}
		if o.Addr == addr || c.gateway(ctx, o.Addr, f) {
			gateways = append(gateways, o.Addr)
		}
	}
	return gateways, len(gateways) > 0
}

func (c *dnsCheck) find(ctx context.Context, i *oe.Inquiry) oe.Finding {
	ctx, cancel := context.WithTimeout(ctx, dnsWait)
	defer cancel()
	return resolve.Ask(ctx, c.r, i)
}

// reverse says what stands at the reverse name of an address.
func (c *dnsCheck) reverse(ctx context.Context, addr netip.Addr, f oe.Finding) bool {
	name := oe.ReverseName(addr)
	var held []uint16 // types that the finding came from, or all that were asked
	for _, t := range c.types() {
		if f.Cause != oe.CauseNone || slices.ContainsFunc(f.Offers, func(o oe.Offer) bool { return o.Type == t }) {
			held = append(held, t)
		}
	}
	for _, t := range held {
		a := c.ask(ctx, name, t)
		line := finding{Label: fmt.Sprintf("Looking for %s in reverse map: %s", oe.TypeName(t), name), Verdict: verdictOf(a)}
		if line.Verdict != verdictOK && line.Verdict != verdictMissing {
			line.Advice = []string{a.Why}
		}
		// Of two kinds of records one is enough.
		line.harmless = line.Verdict == verdictMissing && f.Cause != oe.CauseNoRecord
		c.say(line)
		if a.Found {
			c.say(finding{Label: "    DNSSEC", Verdict: a.Security.String(), Advice: insecureAdvice(a), harmless: f.Cause == oe.CauseNone})
		}
	}
	if f.Cause == oe.CauseNone {
		return true
	}
	if f.Cause == oe.CauseUnusableKey || f.Cause == oe.CauseMalformed {
		c.ok(false, "    a record that can be used", verdictUnusable, append(f.Ignored, f.Why)...)
	}
	return false
}

func insecureAdvice(a oe.Answer) []string {
	if a.Security == oe.Secure {
		return nil
	}
	return []string{"the zone, or one above it, is not signed: its keys are not used" + because(a.Why)}
}

func because(why string) string {
	if why == "" {
		return ""
	}
	return " (" + why + ")"
}

// gateway checks the gateway's own record, and that its key is that of the
// client's record: a client with another key is refused (freeswan.md R15.3).
func (c *dnsCheck) gateway(ctx context.Context, gw netip.Addr, client oe.Finding) bool {
	f := c.find(ctx, oe.KeysOfAddr(gw, c.opts))
	if f.Cause != oe.CauseNone {
		c.reverseOfGateway(ctx, gw, f)
		return false
	}
	c.reverse(ctx, gw, f)
	same := slices.ContainsFunc(client.Offers, func(o oe.Offer) bool { return o.Addr == gw && has(f.Offers, o.Key) })
	return c.ok(same, "    same key as the client's record", verdictMismatch,
		"the record of the client has a key that the gateway's own has not: whoever checks both refuses it")
}

func (c *dnsCheck) reverseOfGateway(ctx context.Context, gw netip.Addr, f oe.Finding) {
	if c.reverse(ctx, gw, f); f.Cause == oe.CauseUnlisted {
		c.ok(false, "    a record of the gateway about itself", verdictMissing, f.Why)
	}
}

func has(offers []oe.Offer, key crypto.PublicKey) bool {
	return slices.ContainsFunc(offers, func(o oe.Offer) bool { return rawkey.Equal(o.Key, key) })
}
