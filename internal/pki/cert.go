package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"slices"
	"time"
)

// parse reads one certificate in DER and refuses what no signature check must
// ever get to see.
func parse(der []byte) (*x509.Certificate, *Error) {
	if len(der) > maxCertificate {
		return nil, refuse(StepBounds, "a certificate of %d octets is longer than %d", len(der), maxCertificate)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, refuse(StepParse, "no certificate: %s", plain(err))
	}
	if n := len(c.DNSNames) + len(c.EmailAddresses) + len(c.IPAddresses) + len(c.URIs); n > maxNames {
		return nil, refuse(StepBounds, "%d alternative names are more than %d", n, maxNames).of(nameOf(c.RawSubject))
	}
	if e := checkKey(c.PublicKey); e != nil {
		return nil, e.of(nameOf(c.RawSubject))
	}
	return c, nil
}

// checkKey refuses keys before any arithmetic with them (X509-16).
func checkKey(key crypto.PublicKey) *Error {
	switch k := key.(type) {
	case *rsa.PublicKey:
		switch n := k.N.BitLen(); {
		case n < minRSA:
			return refuse(StepKey, "RSA key of %d bits is shorter than %d", n, minRSA)
		case n > maxRSA:
			return refuse(StepKey, "RSA key of %d bits is longer than %d", n, maxRSA)
		case k.N.Bit(0) == 0:
			return refuse(StepKey, "RSA modulus is even")
		case k.E < 3 || k.E%2 == 0 || int64(k.E) > 1<<31-1:
			return refuse(StepKey, "RSA exponent %d is none", k.E)
		}
		return nil
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256(), elliptic.P384(), elliptic.P521():
			return nil
		}
		return refuse(StepKey, "ECDSA key is on none of P-256, P-384 and P-521")
	case ed25519.PublicKey:
		return nil
	}
	return refuse(StepKey, "the kind of its key is not used for signatures here")
}

// algorithms are the signatures that are accepted on certificates, CRLs and
// OCSP responses. MD5 and SHA-1 are not among them: both have had collisions
// made to order.
var algorithms = []x509.SignatureAlgorithm{
	x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA,
	x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS,
	x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512,
	x509.PureEd25519,
}

func checkAlgorithm(a x509.SignatureAlgorithm) *Error {
	if slices.Contains(algorithms, a) {
		return nil
	}
	if a == x509.UnknownSignatureAlgorithm {
		return refuse(StepAlgorithm, "it is signed with an unknown algorithm")
	}
	return refuse(StepAlgorithm, "it is signed with %s, which is not accepted", a)
}

// checkTime is RFC 5280 section 4.1.2.5: both ends of the validity belong to
// it.
func checkTime(c *x509.Certificate, now time.Time) *Error {
	switch {
	case now.Before(c.NotBefore):
		return refuse(StepTime, "not valid before %s, and it is %s", stamp(c.NotBefore), stamp(now))
	case now.After(c.NotAfter):
		return refuse(StepTime, "expired at %s, and it is %s", stamp(c.NotAfter), stamp(now))
	}
	return nil
}

func checkExtensions(c *x509.Certificate) *Error {
	if len(c.UnhandledCriticalExtensions) > 0 {
		return refuse(StepExtension, "its critical extension %s is not understood", c.UnhandledCriticalExtensions[0])
	}
	return nil
}

// isCA reports whether c may issue: RFC 4945 section 5.1.3.9 has us refuse
// issuers without basic constraints.
func isCA(c *x509.Certificate) bool { return c.BasicConstraintsValid && c.IsCA }

// selfIssued reports whether subject and issuer are the same.
func selfIssued(c *x509.Certificate) bool { return string(c.RawSubject) == string(c.RawIssuer) }

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
