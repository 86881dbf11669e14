package pki

import (
	"crypto"
	"crypto/x509"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ocsp"
)

// Fetcher gets what a certificate says is published about it. An
// implementation decides which addresses it talks to, and bounds time, size
// and redirects; what it returns is not trusted. An authentication waits for
// Fetch, so that this must return soon: what comes later it returns when it is
// asked again.
type Fetcher interface {
	Fetch(f Fetch) ([]byte, error)
}

// Fetch is one thing that could be fetched: a CRL by GET, or an OCSP response
// by POST of Request. Only a Path makes them, so only for certificates that
// chain to a CA of ours (MS-17).
type Fetch struct {
	URI     string
	Request []byte // of OCSP
	// Configured: a ca section names URI. Others stand in a certificate, whose
	// maker need not wish us well.
	Configured bool

	about, issuer *x509.Certificate
}

// OCSP reports whether it is an OCSP response.
func (f Fetch) OCSP() bool { return f.Request != nil }

// Add puts what was fetched into a store, if it is what it should be.
func (f Fetch) Add(s *Store, now time.Time, answer []byte) (*Store, error) {
	if f.OCSP() {
		return s.WithResponse(now, answer, f.about, f.issuer)
	}
	return s.WithCRL(answer, f.issuer)
}

// fetchesFor lists where revocation of c is told: where ca sections say, and
// where c itself says.
func (s *Store) fetchesFor(c, issuer *x509.Certificate) []Fetch {
	at := s.published[string(issuer.RawSubjectPublicKeyInfo)]
	var list []Fetch
	request, err := ocsp.CreateRequest(c, issuer, &ocsp.RequestOptions{Hash: crypto.SHA1})
	add := func(ask []byte, uris []string, configured bool) {
		for _, uri := range uris {
			if !slices.ContainsFunc(list, func(f Fetch) bool { return f.URI == uri && f.OCSP() == (ask != nil) }) {
				list = append(list, Fetch{URI: uri, Request: ask, Configured: configured, about: c, issuer: issuer})
			}
		}
	}
	if err == nil {
		add(request, at.ocsps, true)
		add(request, usable(c.OCSPServer), false)
	}
	add(nil, at.crls, true)
	add(nil, usable(c.CRLDistributionPoints), false)
	return list
}

// usable keeps the first URIs of http and https. Others, such as file and ldap,
// are nothing that a stranger's certificate may have us open.
func usable(uris []string) []string {
	var list []string
	for _, u := range uris {
		l := lower(u)
		if len(list) < maxURIs && len(u) <= maxURI && (strings.HasPrefix(l, "http://") || strings.HasPrefix(l, "https://")) {
			list = append(list, u)
		}
	}
	return list
}
