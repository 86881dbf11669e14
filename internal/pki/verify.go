package pki

import (
	"crypto"
	"crypto/x509"
	"fmt"
	"time"

	"cygnet/internal/ike"
)

// Policy is what a connection wants of a peer's certificate.
type Policy struct {
	CA     ike.ID // rightca=: a CA of ours that must stand in the chain; IDNone: any
	Strict Strict // strictcrlpolicy=
}

// Leaf is a certificate that proves its key to be that of ID.
type Leaf struct {
	Key      crypto.PublicKey
	ID       ike.ID // the identity that was asked for
	Subject  ike.ID
	Issuer   ike.ID
	Anchor   ike.ID    // where the chain ends; IDNone for a pinned certificate
	Until    time.Time // when the first certificate of the chain runs out
	Chain    [][]byte  // in DER, the peer's certificate first, the anchor last
	Warnings []string  // what a stricter policy would have refused
}

// Verify is Chain and Leaf in one.
func (s *Store) Verify(now time.Time, certs []ike.Cert, want ike.ID, p Policy) (*Leaf, error) {
	path, err := s.Chain(now, certs, want, p.CA)
	if err != nil {
		return nil, err
	}
	return path.Leaf(s, now, p.Strict)
}

// Key is the public key at the end of the chain, whose owner may still turn out
// to be revoked.
func (p *Path) Key() crypto.PublicKey { return p.chains[0][0].PublicKey }

// Leaf goes on from a chain to what counts: it looks up revocation in s and
// takes the first chain that stands. The error is an *Error.
func (p *Path) Leaf(s *Store, now time.Time, strict Strict) (*Leaf, error) {
	var first *Error
	for _, chain := range p.chains {
		st := s.standing(now, chain, p.staples, strict)
		if st.err == nil {
			return leafOf(p.id, chain, st.warnings), nil
		}
		if first == nil {
			first = st.err
		}
	}
	return nil, first
}

// Wanted lists what could be fetched because nothing fresh is known about a
// certificate of the chain.
func (p *Path) Wanted(s *Store, now time.Time) []Fetch {
	return s.standing(now, p.chains[0], p.staples, StrictNo).wanted
}

func leafOf(id ike.ID, chain []*x509.Certificate, warnings []string) *Leaf {
	leaf := chain[0]
	l := &Leaf{Key: leaf.PublicKey, ID: id, Subject: subjectOf(leaf), Issuer: issuerOf(leaf), Until: leaf.NotAfter, Warnings: warnings}
	for _, c := range chain {
		l.Chain = append(l.Chain, c.Raw)
	}
	for _, c := range chain[1:] {
		l.Anchor = subjectOf(c)
		if c.NotAfter.Before(l.Until) {
			l.Until = c.NotAfter
		}
	}
	return l
}

// Pinned is for a peer's certificate that the configuration names
// (rightcert=): the administrator vouches for it, so that no chain is needed.
// It must still be valid, not on a CRL of a CA of ours, and name the identity.
func (s *Store) Pinned(now time.Time, name string, want ike.ID) (*Leaf, error) {
	c := s.ends[name]
	if c == nil {
		return nil, refuse(StepNone, "there is no certificate '%s'", name)
	}
	if now.IsZero() {
		return nil, refuse(StepTime, "it is not known what time it is")
	}
	for _, e := range []*Error{checkTime(c, now), checkName(c, want)} {
		if e != nil {
			return nil, e.of(nameOf(c.RawSubject))
		}
	}
	for _, ca := range s.cas {
		if !issued(ca, c) {
			continue
		}
		if v := s.judge(now, c, ca, nil); v.state == revoked {
			return nil, refuse(StepRevoked, "it is revoked: %s", v.why).of(nameOf(c.RawSubject))
		}
	}
	return leafOf(want, []*x509.Certificate{c}, nil), nil
}

// String names the certificate for a log line.
func (l *Leaf) String() string {
	if l.Anchor.IsZero() {
		return fmt.Sprintf("pinned certificate of '%s'", nameOf([]byte(l.Subject.Data)))
	}
	return fmt.Sprintf("certificate of '%s' by '%s'", nameOf([]byte(l.Subject.Data)), nameOf([]byte(l.Issuer.Data)))
}
