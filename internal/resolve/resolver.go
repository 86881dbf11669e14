package resolve

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"time"

	"cygnet/internal/dns"
	"cygnet/internal/oe"
)

// Method is how answers are proven (dnssec= in config setup).
type Method uint8

// The methods.
const (
	ByResolver Method = iota // a validating resolver says so
	BySelf                   // signatures are checked here
	ByNobody                 // all answers are insecure
)

// Options of New.
type Options struct {
	Servers []netip.AddrPort
	Trust   bool        // servers elsewhere are trusted as well
	Method  Method      //
	Anchors dns.Anchors // for BySelf
	Dialer  Dialer      // nil: the system's
	Now     func() time.Time
	Wall    func() time.Time // the time of day, apart from Now; nil: Now is good for both, as time.Now is

	repeat time.Duration // of queries; 0: repeatAfter
}

// Resolver is a cache in front of a Stub or Validator.
type Resolver struct {
	*Cache
	stub      *Stub      // one of the two
	validator *Validator //
	method    Method
	servers   []netip.AddrPort
}

// New returns a resolver that Close ends.
func New(o Options) (*Resolver, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Dialer == nil {
		o.Dialer = &net.Dialer{}
	}
	x := &exchanger{servers: o.Servers, dialer: o.Dialer, repeat: cmp.Or(o.repeat, repeatAfter)}
	r := &Resolver{method: o.Method, servers: o.Servers}
	if o.Method == BySelf {
		if len(o.Anchors) == 0 {
			return nil, errors.New("dnssec=validate needs a trust anchor")
		}
		r.validator = &Validator{x: x, anchors: o.Anchors, watch: watch{now: o.Now, wall: o.Wall}, zones: map[string]known{}}
		r.Cache = NewCache(r.validator, o.Now)
		r.Cache.watch.wall = o.Wall
		return r, nil
	}
	r.stub = &Stub{x: x, at: o.Servers, trust: o.Trust, now: o.Now}
	var base oe.Resolver = r.stub
	if o.Method == ByNobody {
		base = unproven{r.stub}
	}
	r.Cache = NewCache(base, o.Now)
	r.Cache.watch.wall = o.Wall
	return r, nil
}

// Servers lists whom r asks, best first.
func (r *Resolver) Servers() []netip.AddrPort {
	return slices.Clone(r.servers)
}

// Validates reports whether answers can be Secure at all: the resolver
// validates, or the keys of the trust anchor's zone can be proven.
func (r *Resolver) Validates(ctx context.Context) Validation {
	switch {
	case r.method == ByNobody:
		return Validation{Why: "dnssec=off"}
	case r.validator == nil:
		return r.stub.Validates(ctx)
	}
	if err := r.validator.Clock(ctx); err != nil {
		return Validation{Why: err.Error()}
	}
	return Validation{Validates: true}
}

// unproven takes a stub's answers for what they are worth without validation.
type unproven struct{ s *Stub }

// Lookup implements oe.Resolver.
func (u unproven) Lookup(ctx context.Context, name string, rrtype uint16) (oe.Answer, error) {
	a, err := u.s.Lookup(ctx, name, rrtype)
	if a.Security == oe.Secure {
		a.Security, a.Why = oe.Insecure, "dnssec=off"
	}
	return a, err
}
