package pki

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"slices"

	"cygnet/internal/config"
	"cygnet/internal/ike"
	"cygnet/internal/rawkey"
)

// Store is what this machine knows of certificates: the CAs that it trusts, its
// own certificates with their private keys, peers' that are trusted by
// themselves, and CRLs. The zero value trusts nobody. It never changes.
type Store struct {
	// cas are the certificates of cacerts/. Those that no other of them has
	// issued are anchors: where a chain may end. The others are trusted as far
	// as their issuer says, so that their revocation counts.
	cas     []*x509.Certificate
	anchors *x509.CertPool
	// middle are CA certificates that may stand between: the rest of cas, and
	// those found in certs/, which are trusted for nothing.
	middle []*x509.Certificate

	ends      map[string]*x509.Certificate // end entities of certs/ by name
	names     []string                     // of ends, sorted
	crls      map[string][]*crl            // by the issuer's name in DER, newest first
	responses [][]byte                     // OCSP responses
	published map[string]publication       // by a CA's key
	private   []config.PrivateKey
}

// Len is how many CAs, end entities, CRLs and private keys there are.
func (s *Store) Len() (cas, ends, crls, private int) {
	for _, list := range s.crls {
		crls += len(list)
	}
	return len(s.cas), len(s.ends), crls, len(s.private)
}

// Names lists the end entities, as leftcert= would name them.
func (s *Store) Names() []string { return slices.Clone(s.names) }

// Certificate returns the end entity that leftcert= names, or nil.
func (s *Store) Certificate(name string) *x509.Certificate { return s.ends[name] }

// Identity is what leftid=%fromcert means: the subject of a certificate, or
// its first alternative name where it has no subject.
func (s *Store) Identity(name string) (ike.ID, bool) {
	c := s.ends[name]
	switch {
	case c == nil:
		return ike.ID{}, false
	case !noName(c.RawSubject):
		return subjectOf(c), true
	case len(c.DNSNames) > 0:
		return ike.ID{Kind: ike.IDFQDN, Data: c.DNSNames[0]}, true
	case len(c.EmailAddresses) > 0:
		return ike.ID{Kind: ike.IDUser, Data: c.EmailAddresses[0]}, true
	}
	return ike.ID{}, false
}

// PrivateKey returns the private key of which pub is the public half.
func (s *Store) PrivateKey(pub crypto.PublicKey) (crypto.Signer, bool) {
	for _, k := range s.private {
		if rawkey.Equal(k.Signer().Public(), pub) {
			return k.Signer(), true
		}
	}
	return nil, false
}

// arrange sorts CA certificates into anchors and others.
func (s *Store) arrange() {
	s.anchors = x509.NewCertPool()
	anchored := make([]bool, len(s.cas)) // leads to an anchor
	for i, c := range s.cas {
		if selfIssued(c) {
			anchored[i] = true
			s.anchors.AddCert(c)
		}
	}
	for again := true; again; {
		again = false
		for i, c := range s.cas {
			if !anchored[i] && s.issuedBy(c, anchored) {
				anchored[i], again = true, true
				s.middle = append(s.middle, c)
			}
		}
	}
	for i, c := range s.cas {
		if !anchored[i] {
			s.anchors.AddCert(c)
		}
	}
}

func (s *Store) issuedBy(c *x509.Certificate, among []bool) bool {
	for i, ca := range s.cas {
		if among[i] && issued(ca, c) {
			return true
		}
	}
	return false
}

// issued reports whether ca has signed c.
func issued(ca, c *x509.Certificate) bool {
	return bytes.Equal(ca.RawSubject, c.RawIssuer) && checkAlgorithm(c.SignatureAlgorithm) == nil && c.CheckSignatureFrom(ca) == nil
}

// known reports whether a CA certificate is one of ours: name and key both, for
// anybody may give a CA of his the name of another.
func (s *Store) known(c *x509.Certificate) bool {
	return slices.ContainsFunc(s.cas, func(ca *x509.Certificate) bool {
		return bytes.Equal(ca.RawSubject, c.RawSubject) && sameKey(ca, c)
	})
}

func contains(list []*x509.Certificate, c *x509.Certificate) bool {
	return slices.ContainsFunc(list, c.Equal)
}
