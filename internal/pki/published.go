package pki

import (
	"crypto/x509"
	"slices"
)

// Authority is a CA that a ca section of ipsec.conf names.
type Authority struct {
	Name  string // of the section, for problems
	File  string // a name in cacerts/, or a path
	CRLs  []string
	OCSPs []string
}

// publication is where a ca section says that a CA tells its revocations.
type publication struct{ crls, ocsps []string }

// publish notes what a ca section says of each CA in its file.
func (s *Store) publish(a Authority, cas []*x509.Certificate) {
	if s.published == nil {
		s.published = map[string]publication{}
	}
	for _, c := range cas {
		p := s.published[string(c.RawSubjectPublicKeyInfo)]
		p.crls, p.ocsps = append(p.crls, a.CRLs...), append(p.ocsps, a.OCSPs...)
		s.published[string(c.RawSubjectPublicKeyInfo)] = p
	}
}

// Lists are the CRLs that ca sections say where to fetch.
func (s *Store) Lists() []Fetch {
	var list []Fetch
	for _, c := range slices.Concat(s.cas, s.middle) {
		for _, uri := range s.published[string(c.RawSubjectPublicKeyInfo)].crls {
			if !slices.ContainsFunc(list, func(f Fetch) bool { return f.URI == uri }) {
				list = append(list, Fetch{URI: uri, Configured: true, issuer: c})
			}
		}
	}
	return list
}
