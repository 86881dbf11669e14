package pki

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"maps"
	"slices"
	"time"
)

// crl is a certificate revocation list, RFC 5280 section 5.
type crl struct {
	list    *x509.RevocationList // without its entries
	serials map[string]bool      // what it revokes
	// partial says that the list is not about all certificates of its issuer:
	// it may revoke one, but never clear one.
	partial string
	by      *x509.Certificate // of our CAs, whose signature it was found to have
	fetched bool              // not from a file
}

var (
	oidAuthorityKey = asn1.ObjectIdentifier{2, 5, 29, 35}
	oidCRLNumber    = asn1.ObjectIdentifier{2, 5, 29, 20}
	oidDelta        = asn1.ObjectIdentifier{2, 5, 29, 27}
	oidDistribution = asn1.ObjectIdentifier{2, 5, 29, 28}
)

// removeFromCRL is the reason of an entry in a delta CRL that revokes nothing
// (RFC 5280 section 5.3.1).
const removeFromCRL = 8

// parseCRL reads a list in DER. Its signature is checked when it is known who
// should have made it.
func parseCRL(der []byte) (*crl, error) {
	if len(der) > maxCRL {
		return nil, fmt.Errorf("a CRL of %d octets is longer than %d", len(der), maxCRL)
	}
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, fmt.Errorf("no CRL: %s", plain(err))
	}
	c := &crl{serials: map[string]bool{}}
	if e := checkAlgorithm(list.SignatureAlgorithm); e != nil {
		return nil, fmt.Errorf("the CRL of '%s' is not accepted: %w", nameOf(list.RawIssuer), e)
	}
	for _, x := range list.Extensions {
		switch {
		case x.Id.Equal(oidDelta):
			c.partial = "is a delta CRL"
		case x.Id.Equal(oidDistribution):
			c.partial = "is for some certificates only"
		case x.Critical && !x.Id.Equal(oidAuthorityKey) && !x.Id.Equal(oidCRLNumber):
			return nil, fmt.Errorf("critical extension %s of the CRL of '%s' is not understood", x.Id, nameOf(list.RawIssuer))
		}
	}
	for _, e := range list.RevokedCertificateEntries {
		for _, x := range e.Extensions {
			if x.Critical { // certificateIssuer: the entries are of other CAs
				return nil, fmt.Errorf("the CRL of '%s' is an indirect one", nameOf(list.RawIssuer))
			}
		}
		if e.ReasonCode != removeFromCRL {
			c.serials[string(e.SerialNumber.Bytes())] = true
		}
	}
	c.list = &x509.RevocationList{ // the entries would take much more room than serials
		RawTBSRevocationList: list.RawTBSRevocationList, RawIssuer: list.RawIssuer,
		Signature: list.Signature, SignatureAlgorithm: list.SignatureAlgorithm,
		ThisUpdate: list.ThisUpdate, NextUpdate: list.NextUpdate,
	}
	return c, nil
}

// addCRL keeps a list, and finds out whether a CA of ours has made it. Only
// while a store is being made.
func (s *Store) addCRL(c *crl) {
	for _, ca := range slices.Concat(s.cas, s.middle) {
		if bytes.Equal(ca.RawSubject, c.list.RawIssuer) && c.list.CheckSignatureFrom(ca) == nil {
			c.by = ca
			break
		}
	}
	key := string(c.list.RawIssuer)
	if s.crls[key] == nil && len(s.crls) >= maxFiles {
		return
	}
	if slices.ContainsFunc(s.crls[key], func(o *crl) bool {
		return bytes.Equal(o.list.RawTBSRevocationList, c.list.RawTBSRevocationList)
	}) {
		return
	}
	list := append(slices.Clone(s.crls[key]), c)
	slices.SortStableFunc(list, func(a, b *crl) int { return b.list.ThisUpdate.Compare(a.list.ThisUpdate) })
	s.crls[key] = list[:min(len(list), maxPerIssuer)]
}

// WithCRL returns a store that knows one list more, DER or PEM, which must be
// signed by issuer.
func (s *Store) WithCRL(data []byte, issuer *x509.Certificate) (*Store, error) {
	found := blocks(data, pemCRL)
	if len(found) != 1 {
		return nil, fmt.Errorf("%d CRLs instead of one", len(found))
	}
	c, err := parseCRL(found[0])
	if err != nil {
		return nil, err
	}
	c.fetched = true
	if !c.from(issuer) {
		return nil, fmt.Errorf("the CRL is not signed by '%s'", nameOf(issuer.RawSubject))
	}
	more := *s
	more.crls = maps.Clone(s.crls)
	if more.crls == nil {
		more.crls = map[string][]*crl{}
	}
	more.addCRL(c)
	return &more, nil
}

// Inherit returns s with what was fetched for an earlier store: reading files
// again must not forget who is revoked. Lists of CAs that are not there any
// more have no say.
func (s *Store) Inherit(earlier *Store) *Store {
	more := *s
	more.responses = slices.Clone(earlier.responses)
	more.crls = maps.Clone(s.crls)
	if more.crls == nil {
		more.crls = map[string][]*crl{}
	}
	for _, key := range slices.Sorted(maps.Keys(earlier.crls)) {
		for _, c := range earlier.crls[key] {
			if c.fetched {
				again := *c
				again.by = nil
				more.addCRL(&again)
			}
		}
	}
	return &more
}

// from reports whether issuer has made the list.
func (c *crl) from(issuer *x509.Certificate) bool {
	if !bytes.Equal(c.list.RawIssuer, issuer.RawSubject) {
		return false
	}
	if c.by != nil && sameKey(c.by, issuer) {
		return true
	}
	return c.list.CheckSignatureFrom(issuer) == nil
}

// byCRL asks the lists of issuer about c. The newest list that speaks of all
// certificates decides, an outdated one too if it revokes; later partial lists
// may only add.
func (s *Store) byCRL(now time.Time, c, issuer *x509.Certificate) verdict {
	serial := c.SerialNumber.Bytes()
	v := verdict{why: fmt.Sprintf("there is no CRL of '%s'", nameOf(issuer.RawSubject))}
	for _, l := range s.crls[string(issuer.RawSubject)] {
		switch {
		case !l.from(issuer):
		case l.list.ThisUpdate.After(now.Add(skew)):
			v.why = fmt.Sprintf("the CRL of '%s' is not valid before %s", nameOf(issuer.RawSubject), stamp(l.list.ThisUpdate))
		case l.serials[string(serial)]:
			return verdict{state: revoked, why: fmt.Sprintf("it is on the CRL that '%s' made at %s", nameOf(issuer.RawSubject), stamp(l.list.ThisUpdate))}
		case l.partial != "":
			v.why = fmt.Sprintf("the CRL of '%s' %s", nameOf(issuer.RawSubject), l.partial)
		case l.list.NextUpdate.IsZero():
			v.why = fmt.Sprintf("the CRL of '%s' does not say how long it is valid", nameOf(issuer.RawSubject))
			return v
		case now.After(l.list.NextUpdate):
			v.stale = true
			v.why = fmt.Sprintf("the CRL of '%s' expired at %s", nameOf(issuer.RawSubject), stamp(l.list.NextUpdate))
			return v
		default:
			return verdict{state: good}
		}
	}
	return v
}
