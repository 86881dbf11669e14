package connection

import (
	"fmt"

	"cygnet/internal/config"
	"cygnet/internal/ike"
	"cygnet/internal/pki"
)

// certs is what a connection wants of certificates, RFC 7296 section 2.15 and
// RFC 4945. other is the opposite end.
func (f *Facts) certs(e, other end) ike.Certs {
	return ike.Certs{
		File: e.Cert.File, Send: e.Cert.Send,
		CA: e.Cert.CA.Name, SameCA: e.Cert.CA.Same,
		Accept: e.AcceptsCertificate(other.End),
	}
}

// store is never nil.
func (f *Facts) store() *pki.Store {
	if f.Certs == nil {
		return &pki.Store{}
	}
	return f.Certs
}

// fromCertificate is leftid=%fromcert, which leftcert= alone means as well.
func (f *Facts) fromCertificate(e end) (ike.ID, error) {
	if f.store().Certificate(e.Cert.File) == nil {
		return ike.ID{}, noCertificate(e)
	}
	id, ok := f.store().Identity(e.Cert.File)
	if !ok {
		return ike.ID{}, fmt.Errorf("certificate %q has neither a subject nor a DNS or mail name: write an id= that it has", e.Cert.File)
	}
	return id, nil
}

func noCertificate(e end) error {
	return fmt.Errorf("certificate %q is not there: put it into ipsec.d/certs (the log says why a file there is not used)", e.Cert.File)
}

// checkCertificate looks whether the certificate of an end can prove its
// identity. Without that every negotiation would end in the other end's
// refusal, so that it is better said when the connection is loaded.
func (f *Facts) checkCertificate(e end, id ike.ID) error {
	c := f.store().Certificate(e.Cert.File)
	switch {
	case e.Cert.File == "":
		return nil
	case c == nil:
		return noCertificate(e)
	case id.IsZero() || id.Wild() || pki.Names(c, id):
		return nil
	}
	return fmt.Errorf("certificate %q is not for '%s': it names %s; write one of them as id=, or %%fromcert", e.Cert.File, id, pki.NamesOf(c))
}

// namedByCertificate reports whether an identity comes from the certificate.
func namedByCertificate(e end) bool {
	return e.ID.Kind == config.IdentityFromCert || e.ID.Kind == config.IdentityUnset && e.Cert.File != ""
}
