package resolve

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"cygnet/internal/dns"
	"cygnet/internal/dnslab"
	"cygnet/internal/dnslab/labzones"
	"cygnet/internal/oe"
)

// renamed are zones with a DNAME, and with one at a wildcard.
func renamed() []dnslab.Zone {
	text := "old IN DNAME new\n*.wild IN DNAME new\nhost.new IN A 192.0.2.7\n*.any.new IN A 192.0.2.8\nx.*.deep IN A 192.0.2.9\n*.plain IN A 192.0.2.10\n"
	return append(labzones.Zones(), dnslab.Zone{Name: "d.test.", Text: text}, dnslab.Zone{Name: "d3.test.", Text: text, NSEC3: true})
}

// redirections are questions about them, each with the verdict.
var redirections = map[string]string{
	"host.old.":  "SECURE 1",
	"none.old.":  "SECURE 0 no such name",
	"old.":       "SECURE 0",              // a DNAME redirects what is below it
	"x.any.old.": "SECURE 1",              // then a wildcard
	"x.wild.":    "SECURE 0",              // that has a DNAME and nothing else
	"x.deep.":    "SECURE 0",              // the wildcard *.deep exists, but nothing is at it
	"*.plain.":   "SECURE 1",              // asked for by its name, it is not expanded
	"y.plain.":   "SECURE 1",              //
	"x.none.":    "SECURE 0 no such name", //
	// What is made from a wildcard's DNAME is nobody's word.
	"host.x.wild.": "BOGUS 0",
	"none.x.wild.": "BOGUS 0",
}

func withRenamed(t *testing.T) (*dnslab.Server, netip.AddrPort) {
	t.Helper()
	s, err := dnslab.New(renamed(), dnslab.Options{})
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

const typeA = 1

// RFC 6672: answers that a DNAME has made. Nothing is believed of a DNAME that was
// made from a wildcard.
func TestRedirections(t *testing.T) {
	s, at := withRenamed(t)
	own := open(t, Options{Servers: []netip.AddrPort{at}, Method: BySelf, Anchors: anchors(t, s)})
	for _, zone := range []string{"d.test.", "d3.test."} {
		for name, want := range redirections {
			if a := lookup(t, own, name+zone, typeA); verdict(a) != want {
				t.Errorf("%s%s: %s, want %s (%s)", name, zone, verdict(a), want, a.Why)
			}
		}
	}
}

// Unbound judges them as we do.
func TestRedirectionsAgreeWithUnbound(t *testing.T) {
	s, at := withRenamed(t)
	theirs := open(t, Options{Servers: []netip.AddrPort{unbound(t, s, at)}})
	for _, zone := range []string{"d.test.", "d3.test."} {
		for _, name := range slices.Sorted(maps.Keys(redirections)) {
			want := redirections[name]
			a := lookup(t, theirs, name+zone, typeA)
			// Of what a wildcard's DNAME makes, unbound may say that there is nothing,
			// by the proof of another answer (RFC 8198).
			if verdict(a) != want && (want != "BOGUS 0" || a.Found) {
				t.Errorf("%s%s: unbound says %s, we %s (%s)", name, zone, verdict(a), want, a.Why)
			}
		}
	}
}

// liar gives answers another rcode than the server's.
type liar struct {
	asker
	rcode map[uint16]uint16
}

func (l liar) exchange(ctx context.Context, q dns.Question) (*dns.Message, error) {
	m, err := l.asker.exchange(ctx, q)
	if err == nil && q.Type == typeA {
		for from, to := range l.rcode {
			if uint16(m.RCode) == from {
				m.RCode = to
				break
			}
		}
	}
	return m, err
}

// RFC 4035, 5.4: the rcode is signed by nobody. Whether a name exists is what the
// proof says.
func TestNoSuchNameIsProven(t *testing.T) {
	s, at := withRenamed(t)
	honest := open(t, Options{Servers: []netip.AddrPort{at}, Method: BySelf, Anchors: anchors(t, s)}).validator
	v := &Validator{x: liar{honest.x, map[uint16]uint16{dns.RCodeSuccess: dns.RCodeNXDomain, dns.RCodeNXDomain: dns.RCodeSuccess}},
		anchors: honest.anchors, watch: watch{now: time.Now}, zones: map[string]known{}}
	for _, zone := range []string{"d.test.", "d3.test."} {
		for _, name := range []string{"old.", "x.deep.", "x.none."} {
			if a := lookup(t, v, name+zone, typeA); verdict(a) != redirections[name] || a.Security != oe.Secure {
				t.Errorf("%s%s: %s, want %s (%s)", name, zone, verdict(a), redirections[name], a.Why)
			}
		}
	}
}
