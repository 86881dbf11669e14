// Package dnslab is a small signed DNS for demonstrations and tests: zones in
// the usual text form, from the root down, signed with keys of its own, served
// by one server that answers for all of them as a recursive one would. It can
// break zones in the ways that occur. It serves nobody else: its keys exist only
// while it runs.
package dnslab

import (
	"crypto"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Fault is how a zone is broken.
type Fault uint8

// The faults.
const (
	Sound    Fault = iota
	WrongDS        // the parent vouches for a key that nobody has
	Altered        // IPSECKEY and TXT records were changed after signing
	Expired        // the signatures are over
	Stripped       // signatures and proofs are missing
	Silent         // the server does not answer
	ServFail       // the server answers SERVFAIL
)

// Zone is what to serve under a name. Its SOA and NS records are made.
type Zone struct {
	Name     string // absolute
	Text     string // records in the form of RFC 1035, relative to Name
	Unsigned bool   // provably: the parent says that it has no key
	NSEC3    bool
	Fault    Fault
	// Dynamic makes the records of names below the apex instead of Text. It is
	// called by one goroutine at a time.
	Dynamic func(name string, rrtype uint16) Reply
}

// Reply is what a dynamic zone says.
type Reply struct {
	Set    []dns.RR      // signed if it is of the asked name
	Types  []uint16      // that the name has, for the proof that the asked one is missing
	RCode  int           // not 0: nothing but this
	Delay  time.Duration // before the answer
	Drop   bool          // no answer at all
	Lonely bool          // Set goes out as it is, whatever was asked
}

// Options of a server. The zero value serves.
type Options struct {
	Now func() time.Time // nil: time.Now
	// Validates makes the server speak like a validating resolver on the same
	// machine: AD where all is signed, SERVFAIL with a reason where it is not.
	Validates bool
	NoReasons bool          // SERVFAIL without extended error
	Life      time.Duration // of signatures; 0: two days
	// Root is the key of the root; nil: one is made. Whoever validates trusts it.
	Root ed25519.PrivateKey
	// Asked, if not nil, is told every question.
	Asked func(name string, rrtype uint16)
	// Updates are the keys that may change zones, by name (absolute).
	Updates map[string]UpdateKey
}

// Server answers for its zones.
type Server struct {
	opts Options
	mu   sync.Mutex
	// zones by name; guarded by mu, as are their signatures
	zones   map[string]*zone
	queries map[dns.Question]int
	open    []*dns.Server
}

// zone is a loaded Zone.
type zone struct {
	Zone
	key    *dns.DNSKEY
	signer crypto.Signer
	sets   map[string]map[uint16][]dns.RR
	names  []string // with records or a delegation, in canonical order
	sigs   map[string]*dns.RRSIG
}

const ttl = 60 // seconds, of what a zone does not give one

// New loads zones and signs them. Parents up to the root that are missing are
// made.
func New(zones []Zone, o Options) (*Server, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Life == 0 {
		o.Life = 48 * time.Hour
	}
	s := &Server{opts: o, zones: map[string]*zone{}, queries: map[dns.Question]int{}}
	for _, z := range zones {
		z.Name = dns.CanonicalName(z.Name)
		if s.zones[z.Name] != nil {
			return nil, fmt.Errorf("zone %s is there twice", z.Name)
		}
		if err := s.add(z); err != nil {
			return nil, fmt.Errorf("zone %s: %w", z.Name, err)
		}
	}
	for _, top := range []string{".", "arpa.", "in-addr.arpa.", "ip6.arpa."} {
		if s.zones[top] == nil {
			if err := s.add(Zone{Name: top}); err != nil {
				return nil, err
			}
		}
	}
	for name := range s.zones {
		if err := s.delegate(name); err != nil {
			return nil, err
		}
	}
	for _, z := range s.zones {
		z.order()
	}
	return s, nil
}

// add parses a zone and makes its key.
func (s *Server) add(spec Zone) error {
	z := &zone{Zone: spec, sets: map[string]map[uint16][]dns.RR{}, sigs: map[string]*dns.RRSIG{}}
	z.key = &dns.DNSKEY{Hdr: head(z.Name, dns.TypeDNSKEY), Flags: 257, Protocol: 3, Algorithm: dns.ED25519}
	if z.Name == "." && s.opts.Root != nil {
		z.key.PublicKey = base64.StdEncoding.EncodeToString(s.opts.Root.Public().(ed25519.PublicKey))
		z.signer = s.opts.Root
	} else {
		private, err := z.key.Generate(256)
		if err != nil {
			return err
		}
		z.signer = private.(crypto.Signer)
	}
	if !z.Unsigned {
		z.put(z.key)
	}
	z.put(&dns.SOA{Hdr: head(z.Name, dns.TypeSOA), Ns: below("ns", z.Name), Mbox: below("hostmaster", z.Name), Serial: 1, Refresh: 3600, Retry: 600, Expire: 86400, Minttl: 30})
	z.put(&dns.NS{Hdr: head(z.Name, dns.TypeNS), Ns: below("ns", z.Name)})
	// The library loses the end of a line after an IPSECKEY and takes the next
	// line for a part of it; an empty line between makes up for it.
	text := "$TTL 60\n" + strings.ReplaceAll(z.Text, "\n", "\n\n")
	p := dns.NewZoneParser(strings.NewReader(text), z.Name, "")
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		if !dns.IsSubDomain(z.Name, rr.Header().Name) {
			return fmt.Errorf("%s is not in the zone", rr.Header().Name)
		}
		z.put(rr)
	}
	s.zones[z.Name] = z
	return p.Err()
}

func head(name string, rrtype uint16) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: rrtype, Class: dns.ClassINET, Ttl: ttl}
}

func below(label, zone string) string { return label + "." + strings.TrimPrefix(zone, ".") }

func (z *zone) put(rr dns.RR) {
	h := rr.Header()
	h.Name = dns.CanonicalName(h.Name)
	if z.sets[h.Name] == nil {
		z.sets[h.Name] = map[uint16][]dns.RR{}
	}
	z.sets[h.Name][h.Rrtype] = append(z.sets[h.Name][h.Rrtype], rr)
}

// delegate writes into the parent what it has to say about a zone.
func (s *Server) delegate(name string) error {
	z, parent := s.zones[name], s.parent(name)
	if parent == nil {
		return nil
	}
	parent.put(&dns.NS{Hdr: head(name, dns.TypeNS), Ns: below("ns", name)})
	switch {
	case z.Unsigned:
		return nil
	case z.Fault == WrongDS:
		parent.put(&dns.DS{Hdr: head(name, dns.TypeDS), KeyTag: 4711, Algorithm: dns.ED25519, DigestType: dns.SHA256, Digest: strings.Repeat("00", 32)})
		return nil
	}
	ds := z.key.ToDS(dns.SHA256)
	if ds == nil {
		return fmt.Errorf("zone %s: no digest of its key", name)
	}
	ds.Hdr.Ttl = ttl
	parent.put(ds)
	return nil
}

func (s *Server) parent(name string) *zone {
	for name != "." {
		_, rest, _ := strings.Cut(name, ".")
		if name = rest; name == "" {
			name = "."
		}
		if z := s.zones[name]; z != nil {
			return z
		}
	}
	return nil
}

// order sorts the names of a zone, RFC 4034, section 6.1.
func (z *zone) order() {
	z.names = z.names[:0]
	for name := range z.sets {
		z.names = append(z.names, name)
	}
	slices.SortFunc(z.names, compare)
}

func compare(a, b string) int {
	x, y := dns.SplitDomainName(a), dns.SplitDomainName(b)
	slices.Reverse(x)
	slices.Reverse(y)
	return slices.Compare(x, y)
}

// Anchor is the DS record of the root, which whoever validates has to trust.
func (s *Server) Anchor() string { return s.zones["."].key.ToDS(dns.SHA256).String() + "\n" }

// Replace gives a zone other records, as its administrator would at run time.
func (s *Server) Replace(name, text string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.zones[dns.CanonicalName(name)]
	if old == nil {
		return fmt.Errorf("there is no zone %s", name)
	}
	kept := *old
	spec := old.Zone
	spec.Text = text
	if err := s.add(spec); err != nil {
		s.zones[old.Name] = old
		return fmt.Errorf("zone %s: %w", name, err)
	}
	z := s.zones[old.Name]
	z.key, z.signer = kept.key, kept.signer
	if !z.Unsigned {
		z.sets[z.Name][dns.TypeDNSKEY] = []dns.RR{z.key}
	}
	for child := range s.zones {
		if s.parent(child) == z {
			if err := s.delegate(child); err != nil {
				return err
			}
		}
	}
	z.order()
	return nil
}

// Queries is how often a question has been asked.
func (s *Server) Queries(name string, rrtype uint16) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queries[dns.Question{Name: dns.CanonicalName(name), Qtype: rrtype, Qclass: dns.ClassINET}]
}
