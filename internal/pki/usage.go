package pki

import (
	"crypto/x509"
	"encoding/asn1"
	"slices"
)

var (
	oidKeyUsage        = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidNameConstraints = asn1.ObjectIdentifier{2, 5, 29, 30}
	oidIPsecIKE        = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 17}
	oidIKEIntermediate = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 8, 2, 2}
)

// purpose is a set of extended key usages that are good for IKE.
type purpose uint8

// What RFC 4945 section 5.1.3.12 names; what Apple's and Microsoft's products
// want to see in a gateway's certificate, and therefore real certificates have;
// and the usage of clients that also speak TLS.
const (
	forIKE purpose = 1 << iota // id-kp-ipsecIKE
	forIntermediate
	forServer
	forClient
	forAnything = forIKE | forIntermediate | forServer | forClient
)

// purposes are the IKE purposes of one certificate; one without the extension,
// or with anyExtendedKeyUsage, has them all.
func purposes(c *x509.Certificate) purpose {
	if len(c.ExtKeyUsage) == 0 && len(c.UnknownExtKeyUsage) == 0 {
		return forAnything
	}
	var p purpose
	for _, u := range c.ExtKeyUsage {
		switch u {
		case x509.ExtKeyUsageAny:
			return forAnything
		case x509.ExtKeyUsageServerAuth:
			p |= forServer
		case x509.ExtKeyUsageClientAuth:
			p |= forClient
		}
	}
	for _, u := range c.UnknownExtKeyUsage {
		switch {
		case u.Equal(oidIPsecIKE):
			p |= forIKE
		case u.Equal(oidIKEIntermediate):
			p |= forIntermediate
		}
	}
	return p
}

// checkPurposes wants one purpose that every certificate of a chain allows: a
// CA that is limited to other things cannot issue for IKE.
func checkPurposes(chain []*x509.Certificate) *Error {
	left := forAnything
	for _, c := range chain {
		if left &= purposes(c); left == 0 {
			return refuse(StepUsage, "its extended key usage allows neither IKE nor TLS").of(nameOf(c.RawSubject))
		}
	}
	return nil
}

// checkLeaf is what an end entity must be: RFC 4945 section 5.1.3.2 wants
// digitalSignature or nonRepudiation where there is a key usage at all, and a
// CA's own certificate says nothing about who speaks IKE.
func checkLeaf(c *x509.Certificate) *Error {
	switch {
	case isCA(c):
		return refuse(StepUsage, "it is a CA's, not an end entity's")
	case has(c, oidKeyUsage) && c.KeyUsage&(x509.KeyUsageDigitalSignature|x509.KeyUsageContentCommitment) == 0:
		return refuse(StepUsage, "its key usage does not allow signatures")
	}
	return checkPurposes([]*x509.Certificate{c})
}

func has(c *x509.Certificate, oid asn1.ObjectIdentifier) bool {
	return extension(c, oid) >= 0
}

func extension(c *x509.Certificate, oid asn1.ObjectIdentifier) int {
	for i := range c.Extensions {
		if c.Extensions[i].Id.Equal(oid) {
			return i
		}
	}
	return -1
}

// maySign reports whether a CA's key usage, if it has one, allows a use.
func maySign(c *x509.Certificate, u x509.KeyUsage) bool {
	return !has(c, oidKeyUsage) || c.KeyUsage&u != 0
}

func sameKey(a, b *x509.Certificate) bool {
	return slices.Equal(a.RawSubjectPublicKeyInfo, b.RawSubjectPublicKeyInfo)
}
