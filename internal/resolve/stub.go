package resolve

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"cygnet/internal/dns"
	"cygnet/internal/oe"
)

// Stub asks resolvers that validate, and believes their AD bit
// (opportunistic.md 8.4). It is an oe.Resolver.
type Stub struct {
	x     asker
	at    []netip.AddrPort
	trust bool // the path to servers elsewhere is protected (resolver-trust=yes)
	now   func() time.Time

	mu     sync.Mutex
	probed time.Time // when validates was last learned
	state  Validation
}

// Validation is what is known about a stub's resolver.
type Validation struct {
	Validates bool
	Why       string // if not
}

// maySay reports whether the AD bit of all servers may be believed: they are on
// this machine, or declared trusted (rule 1).
func (s *Stub) maySay() bool {
	for _, server := range s.at {
		if !s.trust && !server.Addr().Unmap().IsLoopback() {
			return false
		}
	}
	return true
}

// Validates asks for the SOA of the root, whose answer has AD if the resolver
// validates (rule 2). The result is remembered for five minutes.
func (s *Stub) Validates(ctx context.Context) Validation {
	s.mu.Lock()
	defer s.mu.Unlock()
	life := probeEvery
	if !s.state.Validates {
		life = probeSooner
	}
	if now := s.now(); s.probed.IsZero() || now.Sub(s.probed) >= life || now.Before(s.probed) {
		s.state = s.probe(ctx)
		if ctx.Err() == nil {
			s.probed = now
		}
	}
	return s.state
}

func (s *Stub) probe(ctx context.Context) Validation {
	if !s.maySay() {
		return Validation{Why: fmt.Sprintf("%s is not on this machine and resolver-trust=yes is not set", s.at[0].Addr())}
	}
	m, err := s.x.exchange(ctx, dns.Question{Name: ".", Type: dns.TypeSOA})
	switch {
	case err != nil:
		return Validation{Why: err.Error()}
	case m.RCode != dns.RCodeSuccess:
		return Validation{Why: fmt.Sprintf("resolver %s answers %s for the root", s.at[0], dns.RCodeName(m.RCode))}
	case !m.AD:
		return Validation{Why: fmt.Sprintf("resolver %s does not validate (no AD bit for the root)", s.at[0])}
	}
	return Validation{Validates: true}
}

// Lookup implements oe.Resolver.
func (s *Stub) Lookup(ctx context.Context, name string, rrtype uint16) (oe.Answer, error) {
	m, err := s.x.exchange(ctx, dns.Question{Name: name, Type: rrtype, DO: true})
	if err != nil {
		return oe.Answer{Why: err.Error()}, ctx.Err()
	}
	if m.RCode != dns.RCodeSuccess && m.RCode != dns.RCodeNXDomain {
		return s.failed(ctx, m, name, rrtype), nil
	}
	a := s.read(m, name, rrtype)
	if a.Security == oe.Secure {
		if v := s.Validates(ctx); !v.Validates {
			a.Security, a.Why = oe.Insecure, v.Why
		}
	}
	return a, nil
}

// read takes the records of the asked name out of the answer (rule 5). What
// belongs to another name does not count, signed or not.
func (s *Stub) read(m *dns.Message, name string, rrtype uint16) oe.Answer {
	now := s.now()
	a := oe.Answer{Security: oe.Insecure, NXDomain: m.RCode == dns.RCodeNXDomain}
	if m.AD {
		a.Security = oe.Secure
	}
	sets := dns.Sets(m.Answer)
	chain, err := follow(sets, dns.Canonical(name), rrtype)
	if err != nil {
		return oe.Answer{Why: err.Error()}
	}
	ttl := uint32(1<<32 - 1)
	for _, set := range chain {
		ttl = min(ttl, set.TTL)
		a.ProofEnd = sooner(a.ProofEnd, set.SignedUntil(now))
	}
	if n := len(chain); n > 0 && chain[n-1].Type == rrtype {
		a.Found, a.Raw = true, chain[n-1].Data
		a.Expires = now.Add(positiveLife(ttl))
		return a
	}
	if m.RCode == dns.RCodeSuccess && len(chain) == 0 && len(m.Answer) > 0 {
		return oe.Answer{Why: "the answer is about another name"}
	}
	a.Expires = now.Add(negativeLife(min(ttl, dns.SOAMinimum(dns.Sets(m.Authority)))))
	return a
}

// failed tells a failure of validation from others (rule 6): by the extended
// error, or by the same question without validation, whose answer is thrown
// away.
func (s *Stub) failed(ctx context.Context, m *dns.Message, name string, rrtype uint16) oe.Answer {
	why := dns.RCodeName(m.RCode)
	for _, e := range m.Errors {
		why += fmt.Sprintf(", extended error %d", e.Code)
		if e.Text != "" {
			why += fmt.Sprintf(" (%.80q)", e.Text)
		}
		// RFC 8914, section 4: 6 DNSSEC bogus to 12 NSEC missing.
		if m.RCode == dns.RCodeServFail && e.Code >= 6 && e.Code <= 12 {
			return oe.Answer{Security: oe.Bogus, Why: why}
		}
	}
	if m.RCode != dns.RCodeServFail || len(m.Errors) > 0 {
		return oe.Answer{Why: why}
	}
	again, err := s.x.exchange(ctx, dns.Question{Name: name, Type: rrtype, CD: true})
	if err == nil && (again.RCode == dns.RCodeSuccess || again.RCode == dns.RCodeNXDomain) {
		return oe.Answer{Security: oe.Bogus, Why: why + ", but an answer without validation"}
	}
	return oe.Answer{Why: why}
}

// follow walks from name along CNAME and DNAME to the set of the asked type, or
// as far as the answer goes.
func follow(sets []dns.Set, name string, rrtype uint16) (chain []dns.Set, err error) {
	seen := map[string]bool{}
	for range maxChain + 1 {
		if seen[name] {
			return nil, fmt.Errorf("CNAME loop at %s", printable(name))
		}
		seen[name] = true
		if set, ok := dns.Find(sets, name, rrtype); ok {
			return append(chain, set), nil
		}
		set, next, ok := link(sets, name)
		if !ok {
			return chain, nil
		}
		chain, name = append(chain, set), next
	}
	return nil, fmt.Errorf("more than %d CNAMEs in a chain", maxChain)
}

// link is the set that sends name elsewhere.
func link(sets []dns.Set, name string) (dns.Set, string, bool) {
	for _, set := range sets {
		if to, ok := set.Redirect(name); ok {
			return set, to, true
		}
		if to, ok := set.Target(); ok && set.Name == name {
			return set, to, true
		}
	}
	return dns.Set{}, "", false
}

// printable keeps what strangers call things from breaking a line.
func printable(name string) string { return strings.Trim(fmt.Sprintf("%q", name), `"`) }

func positiveLife(ttl uint32) time.Duration { return min(seconds(ttl), maxTTL) }

func negativeLife(ttl uint32) time.Duration {
	return min(max(seconds(ttl), minNegTTL), maxNegTTL)
}

// seconds of a TTL; one with the top bit set counts as none (RFC 2181, section
// 8).
func seconds(ttl uint32) time.Duration {
	if ttl > 1<<31-1 {
		return 0
	}
	return time.Duration(ttl) * time.Second
}

// sooner is the earlier time; zero means unknown.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// Servers reads the name servers of a resolv.conf.
func Servers(resolvConf string) []netip.AddrPort {
	var out []netip.AddrPort
	for line := range strings.Lines(resolvConf) {
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(words[1]); err == nil {
			out = append(out, netip.AddrPortFrom(a, 53))
		}
	}
	return out
}
