package pki

import (
	"crypto/x509"
	"fmt"
	"slices"
	"time"
)

// Strict is strictcrlpolicy=: what it means that nothing fresh is known about a
// certificate's revocation. One that is known to be revoked is always refused.
type Strict uint8

// The values of strictcrlpolicy=: no, ifuri, yes.
const (
	StrictNo    Strict = iota // a warning, if the CA publishes anything
	StrictIfURI               // refused if the certificate says where to look
	StrictYes                 // refused
)

type state uint8

const (
	unknown state = iota
	good
	revoked
)

// verdict is what is known about one certificate.
type verdict struct {
	state state
	why   string
	stale bool // something was known, but is too old
}

// judge asks everything that is known about c.
func (s *Store) judge(now time.Time, c, issuer *x509.Certificate, staples [][]byte) verdict {
	list := s.byCRL(now, c, issuer)
	if list.state == revoked {
		return list
	}
	answer := byOCSP(now, c, issuer, slices.Concat(staples, s.responses))
	switch {
	case answer.state != unknown:
		return answer
	case list.state == good:
		return list
	case answer.why != "":
		list.why += "; " + answer.why
	}
	return list
}

// standing is what the revocation check of a chain came to.
type standing struct {
	warnings []string
	wanted   []Fetch
	err      *Error
}

// standing looks at every certificate of a chain but the last, which is trusted
// for being there.
func (s *Store) standing(now time.Time, chain []*x509.Certificate, staples [][]byte, strict Strict) standing {
	var out standing
	for i, c := range chain[:len(chain)-1] {
		issuer := chain[i+1]
		v := s.judge(now, c, issuer, staples)
		switch {
		case v.state == good:
			continue
		case v.state == revoked:
			out.err = refuse(StepRevoked, "it is revoked: %s", v.why).of(nameOf(c.RawSubject))
			out.wanted = nil
			return out
		}
		fetches := s.fetchesFor(c, issuer)
		out.wanted = append(out.wanted, fetches...)
		switch {
		case strict == StrictYes, strict == StrictIfURI && (published(c) || s.told(issuer)):
			if out.err == nil {
				out.err = refuse(StepUnknown, "it may be revoked: %s", v.why).of(nameOf(c.RawSubject))
			}
		case v.stale || published(c) || s.told(issuer):
			out.warnings = append(out.warnings, fmt.Sprintf("certificate of '%s' may be revoked: %s", nameOf(c.RawSubject), v.why))
		}
	}
	return out
}

// told reports whether a ca section says where a CA tells its revocations.
func (s *Store) told(issuer *x509.Certificate) bool {
	p := s.published[string(issuer.RawSubjectPublicKeyInfo)]
	return len(p.crls) > 0 || len(p.ocsps) > 0
}

// published reports whether a certificate says where its revocation would be
// told.
func published(c *x509.Certificate) bool {
	return len(c.CRLDistributionPoints) > 0 || len(c.OCSPServer) > 0
}

// Revoked says why a chain that was good once is not any more, as far as
// revocation goes; empty if nothing speaks against it. chain is in DER, as Leaf
// has it. A single certificate is a pinned one, whose issuer may be a CA of
// ours.
func (s *Store) Revoked(now time.Time, chain [][]byte) string {
	var certs []*x509.Certificate
	for _, der := range chain {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return ""
		}
		certs = append(certs, c)
	}
	if len(certs) == 1 {
		i := slices.IndexFunc(s.cas, func(ca *x509.Certificate) bool { return issued(ca, certs[0]) })
		if i < 0 {
			return ""
		}
		certs = append(certs, s.cas[i])
	}
	for i := 0; i+1 < len(certs); i++ {
		if v := s.judge(now, certs[i], certs[i+1], nil); v.state == revoked {
			return fmt.Sprintf("certificate of '%s' is revoked: %s", nameOf(certs[i].RawSubject), v.why)
		}
	}
	return ""
}
