package pki

import (
	"crypto/x509"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// General names that crypto/x509 constrains, RFC 5280 section 4.2.1.6.
const (
	nameMail = 1
	nameDNS  = 2
	nameURI  = 6
	nameIP   = 7
)

// checkConstraints refuses a CA whose name constraints are on forms of names
// that crypto/x509 does not check, such as directory names. It would refuse
// them itself, but only if the extension is marked critical, as it must be (RFC
// 5280 section 4.2.1.10).
func checkConstraints(c *x509.Certificate) *Error {
	i := extension(c, oidNameConstraints)
	if i < 0 {
		return nil
	}
	in, seq := cryptobyte.String(c.Extensions[i].Value), cryptobyte.String(nil)
	if !in.ReadASN1(&seq, asn1.SEQUENCE) || !in.Empty() {
		return refuse(StepConstraint, "its name constraints cannot be read")
	}
	for _, tag := range []asn1.Tag{asn1.Tag(0).ContextSpecific().Constructed(), asn1.Tag(1).ContextSpecific().Constructed()} {
		var trees cryptobyte.String
		var present bool
		if !seq.ReadOptionalASN1(&trees, &present, tag) || present && !knownForms(trees) {
			return refuse(StepConstraint, "its name constraints are on a form of names that is not checked here")
		}
	}
	if !seq.Empty() {
		return refuse(StepConstraint, "its name constraints cannot be read")
	}
	return nil
}

func knownForms(trees cryptobyte.String) bool {
	for !trees.Empty() {
		var tree, base cryptobyte.String
		var tag asn1.Tag
		if !trees.ReadASN1(&tree, asn1.SEQUENCE) || !tree.ReadAnyASN1(&base, &tag) {
			return false
		}
		switch tag {
		case asn1.Tag(nameMail).ContextSpecific(), asn1.Tag(nameDNS).ContextSpecific(), asn1.Tag(nameURI).ContextSpecific(), asn1.Tag(nameIP).ContextSpecific():
		default:
			return false
		}
	}
	return true
}
