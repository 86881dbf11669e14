package resolve

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"cygnet/internal/dns"
	"cygnet/internal/dnslab"
	"cygnet/internal/dnslab/labzones"
	"cygnet/internal/oe"
)

// serve starts the laboratory and returns where.
func serve(t testing.TB, o dnslab.Options) (*dnslab.Server, netip.AddrPort) {
	t.Helper()
	s, err := dnslab.New(labzones.Zones(), o)
	if err != nil {
		t.Fatal(err)
	}
	at, err := s.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, netip.MustParseAddrPort(at)
}

func anchors(t testing.TB, s *dnslab.Server) dns.Anchors {
	t.Helper()
	a := dns.Anchors{}
	if err := a.Read(s.Anchor()); err != nil {
		t.Fatal(err)
	}
	return a
}

func open(t testing.TB, o Options) *Resolver {
	t.Helper()
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func lookup(t testing.TB, r oe.Resolver, name string, rrtype uint16) oe.Answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	a, err := r.Lookup(ctx, name, rrtype)
	if err != nil {
		t.Errorf("%s: %v", name, err)
	}
	return a
}

func verdict(a oe.Answer) string {
	s := fmt.Sprintf("%s %d", a.Security, len(a.Raw))
	if a.NXDomain {
		s += " no such name"
	}
	return s
}

// The validator agrees with a validating resolver on every name of the
// laboratory, also on the one with malformed RDATA that a library's would lose.
func TestValidatorAgreesOnTheLabNames(t *testing.T) {
	s, at := serve(t, dnslab.Options{})
	_, ad := serve(t, dnslab.Options{Validates: true})
	own := open(t, Options{Servers: []netip.AddrPort{at}, Method: BySelf, Anchors: anchors(t, s)})
	stub := open(t, Options{Servers: []netip.AddrPort{ad}})
	questions := labzones.Questions()
	if len(questions) != 55 {
		t.Fatalf("%d names", len(questions))
	}
	for _, q := range questions {
		a, b := lookup(t, own, q.Name, q.Type), lookup(t, stub, q.Name, q.Type)
		// What cannot be used may be called bogus by one and unknown by the other
		// where the server itself misbehaves.
		if verdict(a) != verdict(b) && (a.Security >= oe.Insecure || b.Security >= oe.Insecure || !strings.HasSuffix(q.Name, ".9.18.198.in-addr.arpa.")) {
			t.Errorf("%s %s: ours %s (%s), the resolver's %s (%s)", q.Name, oe.TypeName(q.Type), verdict(a), a.Why, verdict(b), b.Why)
		}
	}
}
