package pki

import (
	"crypto"
	"crypto/x509"
	"slices"

	"cygnet/internal/ike"
)

// keyHash is how CERTREQ names a CA: the SHA-1 hash of its
// SubjectPublicKeyInfo, RFC 7296 section 3.7. It is a name, not a proof.
const keyHash = 20

func authority(c *x509.Certificate) string {
	return string(sum(crypto.SHA1, c.RawSubjectPublicKeyInfo))
}

// Authorities is the content of our CERTREQ: the CA that ca names, or all if it
// is IDNone. ok is false if there is none to ask for. Where there are more than
// fit, it is empty, which asks for any.
func (s *Store) Authorities(ca ike.ID) (hashes []byte, ok bool) {
	var list []string
	for _, c := range s.cas {
		if h := authority(c); (ca.IsZero() || ca.Equal(subjectOf(c))) && !slices.Contains(list, h) {
			list = append(list, h)
		}
	}
	if len(list) > maxAuthorities {
		return nil, true
	}
	for _, h := range list {
		hashes = append(hashes, h...)
	}
	return hashes, len(list) > 0
}

// Issuer is the name of the CA that issued an end entity's certificate.
func (s *Store) Issuer(name string) (ike.ID, bool) {
	if c := s.ends[name]; c != nil {
		return issuerOf(c), true
	}
	return ike.ID{}, false
}

// Certificates chooses what to send with our signature: the end entity that
// leftcert= names, then the CAs between it and its root, but not the root, which
// whoever trusts it has (RFC 7296 section 3.6 wants the end entity first).
func (s *Store) Certificates(name string, send ike.CertSend, asked []ike.CertRequest) []ike.Cert {
	leaf := s.ends[name]
	if leaf == nil || send == ike.CertSendNever {
		return nil
	}
	chain := s.ownChain(leaf)
	if send == ike.CertSendIfAsked && !isAskedFor(chain, asked) {
		return nil
	}
	var out []ike.Cert
	for i, c := range chain {
		if i == 0 || !selfIssued(c) {
			out = append(out, ike.Cert{Encoding: ike.CertX509, Data: c.Raw})
		}
	}
	return out
}

// ownChain follows the issuers of a certificate of ours as far as we know them.
func (s *Store) ownChain(leaf *x509.Certificate) []*x509.Certificate {
	chain := []*x509.Certificate{leaf}
	for len(chain) < maxPath {
		last := chain[len(chain)-1]
		if selfIssued(last) {
			break
		}
		next := slices.IndexFunc(s.middle, func(c *x509.Certificate) bool { return !contains(chain, c) && issued(c, last) })
		if next >= 0 {
			chain = append(chain, s.middle[next])
			continue
		}
		next = slices.IndexFunc(s.cas, func(c *x509.Certificate) bool { return !contains(chain, c) && issued(c, last) })
		if next < 0 {
			break
		}
		chain = append(chain, s.cas[next])
	}
	return chain
}

// Missing is the name of the CA that issued a certificate of ours, if it is in
// none of our files; else empty. We cannot send it then, and a peer that does not
// know it either has no way to trust us. Whether its own issuer is known is of no
// interest here: that may be the root, which every peer must have.
func (s *Store) Missing(name string) string {
	leaf := s.ends[name]
	if leaf == nil {
		return ""
	}
	if len(s.ownChain(leaf)) > 1 || selfIssued(leaf) {
		return ""
	}
	return nameOf(leaf.RawIssuer)
}

// isAskedFor reports whether a CERTREQ asks for a CA of a chain, or for any.
func isAskedFor(chain []*x509.Certificate, asked []ike.CertRequest) bool {
	var names []string
	for i, c := range chain {
		if i > 0 {
			names = append(names, authority(c))
		}
	}
	looked := 0
	for _, r := range asked {
		// RFC 7296, 3.7: hashes and nothing else. What is cut off or padded asks
		// for nobody.
		if r.Encoding != ike.CertX509 || len(r.Authorities)%keyHash != 0 {
			continue
		}
		if len(r.Authorities) == 0 || !selfIssued(chain[len(chain)-1]) { // any, or it may be a CA that we do not know
			return true
		}
		for b := r.Authorities; len(b) >= keyHash && looked < maxAsked; b = b[keyHash:] {
			looked++
			if slices.Contains(names, string(b[:keyHash])) {
				return true
			}
		}
	}
	return false
}
