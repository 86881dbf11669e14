package config

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"cygnet/internal/pool"
)

// Addresses inside that one end gives to the other: leftsourceip= and
// leftaddresspool=, in the meanings of strongSwan and of Libreswan.

// askWords are the texts of leftsourceip= that ask the other end for an
// address: of the family that the ends speak, of IPv4, of IPv6.
var askWords = []word[int]{
	{"%config", 0, ""}, {"%cfg", 0, ""}, {"%modeconfig", 0, ""}, {"%modecfg", 0, ""}, {"%config4", 4, ""}, {"%config6", 6, ""},
}

// sourceIP is leftsourceip=: words that ask for an address, addresses, or
// ranges for the peer at that end. What an address means depends on the
// subnets, see checker.virtual.
var sourceIP = field[End]{
	parse: func(e *End, v value) error {
		e.sources = nil
		for _, w := range commaList(v.text) {
			s, err := parseSource(w)
			if err != nil {
				return mendable{err, "addresses joined by commas, %config, %config4, %config6 or %dhcp, or a range for peers at that end"}
			}
			e.sources = append(e.sources, s)
		}
		return nil
	},
	print: func(e *End) string {
		var texts []string
		for _, s := range e.sources {
			texts = append(texts, s.String())
		}
		return strings.Join(texts, ",")
	},
}

// source is one word of leftsourceip=.
type source struct {
	dhcp   bool
	ask    bool
	family int // ask: 4, 6, or 0 for that of the ends
	pool   pool.Range
}

func parseSource(text string) (source, error) {
	if strings.EqualFold(text, dhcpWord) {
		return source{dhcp: true}, nil
	}
	if w, ok := lookup(askWords, text); ok {
		return source{ask: true, family: w.value}, nil
	}
	if strings.HasPrefix(text, "%") {
		return source{}, fmt.Errorf("illegal word %q", text)
	}
	if !strings.ContainsAny(text, "/-") {
		a, err := ParseAddress(text)
		if err == nil && a.IsUnspecified() {
			err = errors.New("the unspecified address means nothing here")
		}
		return source{pool: pool.Range{First: a, Last: a}}, err
	}
	r, err := pool.ParseRange(text)
	return source{pool: r}, err
}

// dhcpWord asks for an address by DHCP through a tunnel (RFC 3456).
const dhcpWord = "%dhcp"

func (s source) single() bool { return !s.ask && !s.dhcp && s.pool.First == s.pool.Last }

// String is how parseSource reads it.
func (s source) String() string {
	if s.dhcp {
		return dhcpWord
	}
	if !s.ask {
		return s.pool.String()
	}
	for _, w := range askWords {
		if w.value == s.family {
			return w.text
		}
	}
	return ""
}

// ranges is leftaddresspool=.
func ranges(at func(*End) *[]pool.Range) field[End] {
	return field[End]{
		parse: func(e *End, v value) error {
			*at(e) = nil
			for _, w := range commaList(v.text) {
				r, err := pool.ParseRange(w)
				if err != nil {
					return mendable{err, "10.3.0.1-10.3.0.99 or 10.3.0.0/24, several joined by commas"}
				}
				if err := addRange(at(e), r); err != nil {
					return err
				}
			}
			return nil
		},
		print: func(e *End) string {
			var texts []string
			for _, r := range *at(e) {
				texts = append(texts, r.String())
			}
			return strings.Join(texts, ",")
		},
	}
}

func addRange(list *[]pool.Range, r pool.Range) error {
	for _, have := range *list {
		if have.Overlaps(r) {
			return fmt.Errorf("%s and %s have addresses in common", have, r)
		}
	}
	*list = append(*list, r)
	return nil
}

// addresses is a list of addresses, joined by blanks or commas.
func addresses[T any](at func(*T) *[]netip.Addr) field[T] {
	return field[T]{
		parse: func(t *T, v value) error {
			*at(t) = nil
			for _, w := range commaList(v.text) {
				a, err := ParseAddress(w)
				if err != nil {
					return err
				}
				if a.IsUnspecified() || a.IsMulticast() {
					return fmt.Errorf("%s is the address of no server", a)
				}
				*at(t) = append(*at(t), a)
			}
			return nil
		},
		print: func(t *T) string {
			var texts []string
			for _, a := range *at(t) {
				texts = append(texts, a.String())
			}
			return strings.Join(texts, ",")
		},
	}
}

// domains is a list of DNS domains, joined by blanks or commas.
func domains[T any](at func(*T) *[]string) field[T] {
	return field[T]{
		parse: func(t *T, v value) error {
			*at(t) = nil
			for _, w := range commaList(v.text) {
				d := strings.TrimSuffix(strings.ToLower(w), ".")
				if !isDomain(d) {
					return fmt.Errorf("%q is not a DNS domain", w)
				}
				*at(t) = append(*at(t), d)
			}
			return nil
		},
		print: func(t *T) string { return strings.Join(*at(t), ",") },
	}
}

// isDomain admits letters, digits, hyphens and dots, as RFC 1123 has them.
func isDomain(name string) bool {
	if len(name) > 253 {
		return false
	}
	for _, label := range strings.Split(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return false
		}
	}
	return true
}

func commaList(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == '\t' || r == ',' })
}

// maxSources bounds how many addresses one end asks for.
const maxSources = 8

// virtual settles what leftsourceip= means. An end with a subnet has an address
// there of its own (R14.4). An end without one asks for those it names, as
// strongSwan's clients do; where it is the peer, they are what it may be given.
func (k *checker) virtual() *Problem {
	for _, s := range k.sides() {
		if p := k.sources(s); p != nil {
			return p
		}
		if p := k.modeConfig(s); p != nil {
			return p
		}
	}
	for _, s := range k.sides() {
		if p := k.virtualEnd(s); p != nil {
			return p
		}
	}
	servers := len(k.DNS)+len(k.Domains) > 0
	if servers && len(k.Left.Pool)+len(k.Right.Pool) == 0 {
		k.warn("modecfgdns", "name servers are told with an address only, and no end has an addresspool", "give rightaddresspool= too, or leave them out")
	}
	return nil
}

// sources sorts the words of leftsourceip= into what they mean.
func (k *checker) sources(s side) *Problem {
	e, id := s.End, s.name+"sourceip"
	e.Ask, e.SourceIP, e.Pool, e.DHCP = nil, netip.Addr{}, slices.Clone(e.pools), false
	owns := len(e.Subnets)+len(e.sets) > 0
	for _, w := range e.sources {
		switch {
		case w.dhcp && (len(e.sources) > 1 || owns || s.Host.Addr.Is6() || s.other.Host.Addr.Is6()):
			return k.problem(id, "%dhcp stands alone: the address is of IPv4, over IPv4, and all that the end has", "leave the others out")
		case w.dhcp:
			e.DHCP = true
		case w.ask && owns:
			return k.problem(id, fmt.Sprintf("%s asks for an address, but %ssubnet says what that end protects", w, s.name), "leave one of them out")
		case w.ask:
			e.Ask = append(e.Ask, k.anyOf(w.family, s))
		case w.single() && owns && e.SourceIP.IsValid():
			return k.problem(id, "an end with a subnet has one source address", "name one address")
		case w.single() && owns:
			e.SourceIP = w.pool.First
		case owns:
			return k.problem(id, fmt.Sprintf("%s is a range for peers, but %ssubnet says what that end protects", w, s.name), "leave one of them out")
		default:
			if w.single() {
				e.Ask = append(e.Ask, w.pool.First)
			}
			if err := addRange(&e.Pool, w.pool); err != nil && !slices.Contains(e.Pool, w.pool) {
				return k.problem(id, err.Error(), "")
			}
		}
	}
	if len(e.Ask) > maxSources {
		return k.problem(id, fmt.Sprintf("more than %d addresses are asked for", maxSources), "")
	}
	return nil
}

// anyOf is the unspecified address that stands for any one of a family; 0 is
// that of the ends.
func (k *checker) anyOf(family int, s side) netip.Addr {
	if family == 6 || family == 0 && (k.Family == 6 || s.Host.Addr.Is6() || s.other.Host.Addr.Is6()) {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

// modeConfig is leftmodecfgclient=yes, which asks as leftsourceip=%config does,
// and leftmodecfgserver=yes, which says nothing that the pool does not say.
func (k *checker) modeConfig(s side) *Problem {
	if s.ModeClient && len(s.Ask) == 0 && len(s.Pool) == 0 {
		if len(s.Subnets)+len(s.sets) > 0 {
			return k.problem(s.name+"modecfgclient", fmt.Sprintf("%smodecfgclient=yes asks for an address, but %ssubnet says what that end protects", s.name, s.name), "leave one of them out")
		}
		s.Ask = []netip.Addr{k.anyOf(0, s)}
	}
	return nil
}

// virtualEnd checks an end that gets its addresses from the other.
func (k *checker) virtualEnd(s side) *Problem {
	given := ""
	switch {
	case s.DHCP || len(s.Within) > 0:
		return k.inTunnel(s)
	case len(s.Pool) > 0 && k.given(s.name+"addresspool"):
		given = s.name + "addresspool"
	case len(s.Ask)+len(s.Pool) > 0 && len(s.sources) > 0:
		given = s.name + "sourceip"
	case len(s.Ask) > 0:
		given = s.name + "modecfgclient"
	case s.other.ModeServer:
		return k.problem(other(s.name)+"modecfgserver", fmt.Sprintf("%smodecfgserver=yes, but %s has no addresses to be given", other(s.name), s.name), fmt.Sprintf("add %saddresspool=10.3.0.0/24 or the like", s.name))
	default:
		return nil
	}
	switch {
	case k.Version == 1:
		return k.problem(given, "addresses are given with IKEv2 only", "leave keyexchange= out")
	case k.Type != TypeTunnel:
		return k.problem(given, "addresses inside need type=tunnel", "")
	case len(s.Subnets)+len(s.sets) > 0:
		return k.problem(given, fmt.Sprintf("that end gets addresses, but %ssubnet says what it protects", s.name), "leave one of them out")
	case len(s.other.Pool)+len(s.other.Ask) > 0:
		return k.problem(given, "both ends would get their addresses from the other", "one of them gives, the other asks")
	}
	return nil
}

// inTunnel checks an end whose address is settled outside of IKE.
func (k *checker) inTunnel(s side) *Problem {
	given := s.name + "sourceip"
	if len(s.Within) > 0 {
		given = s.name + "subnetwithin"
	}
	switch {
	case k.Version == 1:
		return k.problem(given, "that works with IKEv2 only", "leave keyexchange= out")
	case k.Type != TypeTunnel:
		return k.problem(given, "addresses inside need type=tunnel", "")
	case len(s.Within) > 0 && len(s.Subnets)+len(s.sets) > 0:
		return k.problem(given, fmt.Sprintf("both %ssubnet and %ssubnetwithin are given", s.name, s.name), "leave one of them out")
	case len(s.Within) > 1:
		return k.problem(given, "several subnets are given", "name one that holds them")
	case len(s.Ask)+len(s.Pool) > 0 && !s.DHCP:
		return k.problem(given, "that end gets addresses in another way too", "leave one of them out")
	}
	return nil
}

func other(name string) string {
	if name == "left" {
		return "right"
	}
	return "left"
}
