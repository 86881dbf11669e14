package pki

import (
	"bytes"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"time"

	"cygnet/internal/ike"
)

// Path is a certificate that chains to a CA of ours, is for IKE, satisfies the
// connection and names the identity. Whether it is revoked is still open; see
// Leaf. Only Chain makes valid ones.
type Path struct {
	id      ike.ID
	chains  [][]*x509.Certificate // each good, leaf first, anchor last
	staples [][]byte
}

// Chain judges the CERT payloads of a peer, in whatever order they came, except
// for revocation. want is the peer's ID payload. ca, if it is not IDNone, is the
// CA of ours that must stand in the chain. The error is an *Error.
func (s *Store) Chain(now time.Time, certs []ike.Cert, want, ca ike.ID) (*Path, error) {
	if now.IsZero() { // which crypto/x509 takes for the present
		return nil, refuse(StepTime, "it is not known what time it is")
	}
	r, err := receive(certs)
	if err != nil {
		return nil, err
	}
	leaf, err := r.leaf(want)
	if err != nil {
		return nil, err
	}
	who := nameOf(leaf.RawSubject)
	for _, e := range []*Error{checkAlgorithm(leaf.SignatureAlgorithm), checkLeaf(leaf), checkTime(leaf, now), checkExtensions(leaf)} {
		if e != nil {
			return nil, e.of(who)
		}
	}
	chains, err := s.build(now, leaf, r)
	if err != nil {
		return nil, err
	}
	good, err := s.choose(chains, ca)
	if err != nil {
		return nil, err
	}
	if e := checkName(leaf, want); e != nil {
		return nil, e.of(who)
	}
	return &Path{id: want, chains: good, staples: r.staples}, nil
}

// received is what was found in a peer's CERT payloads.
type received struct {
	certs   []*x509.Certificate
	staples [][]byte // OCSP responses
	flaw    *Error   // the first that could not be used, and why
	url     bool     // there was a hash and URL
}

// receive sorts CERT payloads. Kinds that are not used here (PKCS #7, attribute
// certificates, CRLs, raw keys) are skipped, and so is what cannot be read: it
// may be for somebody else.
func receive(certs []ike.Cert) (*received, error) {
	total := 0
	for _, c := range certs {
		total += len(c.Data)
	}
	if len(certs) > maxPayloads || total > maxReceived {
		return nil, refuse(StepBounds, "%d certificates of %d octets in all are more than %d of %d", len(certs), total, maxPayloads, maxReceived)
	}
	r := &received{}
	for _, c := range certs {
		switch c.Encoding {
		case ike.CertX509:
			cert, e := parse(c.Data)
			if e == nil {
				r.certs = append(r.certs, cert)
			} else if r.flaw == nil {
				r.flaw = e
			}
		case ike.CertHashURL, ike.CertBundle:
			r.url = true
		case ike.CertOCSP:
			if len(r.staples) < maxStaples {
				r.staples = append(r.staples, c.Data)
			}
		}
	}
	return r, nil
}

// leaf picks the peer's own certificate: the first that names the identity, or,
// to say what is wrong with it, the first that is no CA's.
func (r *received) leaf(want ike.ID) (*x509.Certificate, error) {
	var first *x509.Certificate
	for _, c := range r.certs {
		switch {
		case isCA(c):
		case Names(c, want):
			return c, nil
		case first == nil:
			first = c
		}
	}
	switch {
	case first != nil:
		return first, nil
	case r.flaw != nil:
		return nil, r.flaw
	case len(r.certs) > 0:
		return nil, checkLeaf(r.certs[0]).of(nameOf(r.certs[0].RawSubject))
	case r.url:
		return nil, refuse(StepHashURL, "the peer sent where its certificate is to be fetched instead of the certificate, which we did not offer to accept (hash and URL)")
	}
	return nil, refuse(StepNone, "the peer sent no certificate")
}

// build finds the chains from leaf to anchors. crypto/x509 tries at most 100
// signatures (X509-15).
func (s *Store) build(now time.Time, leaf *x509.Certificate, r *received) ([][]*x509.Certificate, error) {
	if len(s.cas) == 0 {
		return nil, refuse(StepChain, "no CA is trusted here: there is none in cacerts")
	}
	pool := x509.NewCertPool()
	for _, c := range s.middle {
		pool.AddCert(c)
	}
	for _, c := range r.certs {
		if isCA(c) {
			pool.AddCert(c)
		}
	}
	chains, err := leaf.Verify(x509.VerifyOptions{
		Roots: s.anchors, Intermediates: pool, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}, // checkPurposes does it
	})
	if err == nil {
		return chains, nil
	}
	e := s.explain(now, leaf, r, err)
	if e.Cert == "" {
		e = e.of(nameOf(leaf.RawSubject))
	}
	return nil, e
}

// choose keeps the chains that satisfy what crypto/x509 does not look at.
func (s *Store) choose(chains [][]*x509.Certificate, ca ike.ID) ([][]*x509.Certificate, error) {
	var kept [][]*x509.Certificate
	var first *Error
	for _, chain := range chains {
		e := s.accept(chain, ca)
		if e == nil {
			kept = append(kept, chain)
		} else if first == nil {
			first = e
		}
	}
	if len(kept) == 0 {
		return nil, first
	}
	return kept, nil
}

func (s *Store) accept(chain []*x509.Certificate, ca ike.ID) *Error {
	who := nameOf(chain[0].RawSubject)
	if len(chain) > maxPath {
		return refuse(StepBounds, "its chain of %d certificates is longer than %d", len(chain), maxPath).of(who)
	}
	for _, c := range chain[1:] {
		if e := checkConstraints(c); e != nil {
			return e.of(nameOf(c.RawSubject))
		}
	}
	if e := checkPurposes(chain); e != nil {
		return e
	}
	if ca.IsZero() {
		return nil
	}
	for _, c := range chain[1:] {
		if ca.Equal(subjectOf(c)) && s.known(c) {
			return nil
		}
	}
	return refuse(StepCA, "it was issued by '%s', not by '%s' as the connection wants", nameOf(chain[0].RawIssuer), ca).of(who)
}

// explain turns an error of crypto/x509 into one that says what failed. Of a
// chain that does not hold that package tells only the beginning.
func (s *Store) explain(now time.Time, leaf *x509.Certificate, r *received, err error) *Error {
	var invalid x509.CertificateInvalidError
	if errors.As(err, &invalid) {
		who := leaf
		if invalid.Cert != nil {
			who = invalid.Cert
		}
		return refuse(stepOf(invalid.Reason), "%s", plain(err)).of(nameOf(who.RawSubject))
	}
	if errors.As(err, &x509.UnhandledCriticalExtension{}) {
		return refuse(StepExtension, "%s", plain(err))
	}
	at, flaw := s.follow(now, leaf, r)
	switch {
	case flaw != nil:
		return flaw
	case r.flaw != nil:
		return refuse(StepChain, "no chain to a CA of ours: '%s' did not come with it, but something that is of no use (%s)", nameOf(at.RawIssuer), r.flaw)
	case s.named(at.RawIssuer):
		return refuse(StepChain, "no chain to a CA of ours: its issuer has the name of '%s', but this did not sign it", nameOf(at.RawIssuer))
	}
	return refuse(StepChain, "no chain to a CA of ours: '%s' is not known here", nameOf(at.RawIssuer))
}

func stepOf(r x509.InvalidReason) Step {
	switch r {
	case x509.CANotAuthorizedForThisName, x509.UnconstrainedName, x509.TooManyConstraints:
		return StepConstraint
	case x509.Expired:
		return StepTime
	case x509.TooManyIntermediates:
		return StepChain
	}
	return StepUsage
}

// follow goes from leaf by the names of issuers to the first certificate with a
// flaw, or to the last before an issuer that is not there.
func (s *Store) follow(now time.Time, leaf *x509.Certificate, r *received) (last *x509.Certificate, flaw *Error) {
	last = leaf
	all := slices.Concat(r.certs, s.middle, s.cas)
	for range maxPath {
		i := slices.IndexFunc(all, func(c *x509.Certificate) bool {
			return bytes.Equal(c.RawSubject, last.RawIssuer) && !c.Equal(last)
		})
		if i < 0 || selfIssued(all[i]) {
			break
		}
		if flaw = s.flaw(now, last, all[i]); flaw != nil {
			return last, flaw
		}
		last = all[i]
	}
	i := slices.IndexFunc(s.cas, func(c *x509.Certificate) bool { return bytes.Equal(c.RawSubject, last.RawIssuer) })
	if i >= 0 {
		flaw = s.flaw(now, last, s.cas[i])
	}
	return last, flaw
}

// named reports whether a CA of ours has a name.
func (s *Store) named(der []byte) bool {
	return slices.ContainsFunc(s.cas, func(c *x509.Certificate) bool { return bytes.Equal(c.RawSubject, der) })
}

// flaw says why issuer cannot have issued c, if it is plain.
func (s *Store) flaw(now time.Time, c, issuer *x509.Certificate) *Error {
	var e *Error
	switch {
	case !isCA(issuer):
		e = refuse(StepUsage, "it is no CA's, so it cannot have issued for '%s'", nameOf(c.RawSubject))
	case !maySign(issuer, x509.KeyUsageCertSign):
		e = refuse(StepUsage, "its key usage does not allow it to issue certificates")
	default:
		for _, e = range []*Error{checkAlgorithm(issuer.SignatureAlgorithm), checkTime(issuer, now), checkExtensions(issuer), checkConstraints(issuer)} {
			if e != nil {
				break
			}
		}
	}
	return e.of(nameOf(issuer.RawSubject))
}

// plain is the text of an error without its package's name.
func plain(err error) string {
	return printable(strings.TrimPrefix(err.Error(), "x509: "))
}
