// Package authority is a certification authority for those who have none: it
// issues certificates for IKE from requests, and lists those it has revoked. It
// keeps no files and knows no clock; `ipsec ca` does. What others' authorities
// issue is judged by package pki, not here.
package authority

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"math/big"
	"time"

	"cygnet/internal/ike"
)

// Authority is a CA: its certificate and the key that signs.
type Authority struct {
	Cert *x509.Certificate
	Key  crypto.Signer
	Rand io.Reader
}

// clockSkew is by how much the clock of who judges a certificate may be behind.
const clockSkew = time.Hour

// New makes an authority that has issued itself, for days from now.
func New(rand io.Reader, key crypto.Signer, subject ike.ID, now time.Time, days int) (*Authority, error) {
	if subject.Kind != ike.IDDN {
		return nil, fmt.Errorf("%q is no distinguished name, as in C=CH, O=Lab, CN=Lab CA", subject)
	}
	a := &Authority{Key: key, Rand: rand}
	template := &x509.Certificate{
		RawSubject: []byte(subject.Data), NotBefore: now.Add(-clockSkew), NotAfter: now.AddDate(0, 0, days),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	var err error
	a.Cert, err = a.issue(template, template, key.Public())
	return a, err
}

// Read joins a certificate and a key that belong together.
func Read(rand io.Reader, cert *x509.Certificate, key crypto.Signer) (*Authority, error) {
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	switch {
	case !ok || !public.Equal(cert.PublicKey):
		return nil, errors.New("the key is not that of the certificate")
	case !cert.IsCA:
		return nil, errors.New("the certificate is no CA's")
	}
	return &Authority{Cert: cert, Key: key, Rand: rand}, nil
}

// Request asks for a certificate, RFC 2986: subject may be IDNone, names are
// alternative names (host, mail and IP addresses).
func Request(rand io.Reader, key crypto.Signer, subject ike.ID, names []ike.ID) ([]byte, error) {
	template := &x509.CertificateRequest{RawSubject: emptyName}
	switch subject.Kind {
	case ike.IDNone:
	case ike.IDDN:
		template.RawSubject = []byte(subject.Data)
	default:
		return nil, fmt.Errorf("%q is no distinguished name, as in C=CH, O=Lab, CN=gateway", subject)
	}
	for _, id := range names {
		switch id.Kind {
		case ike.IDFQDN:
			template.DNSNames = append(template.DNSNames, id.Data)
		case ike.IDUser:
			template.EmailAddresses = append(template.EmailAddresses, id.Data)
		case ike.IDIPv4, ike.IDIPv6:
			template.IPAddresses = append(template.IPAddresses, []byte(id.Data))
		default:
			return nil, fmt.Errorf("%q cannot be an alternative name: @host, user@host and addresses can", id)
		}
	}
	if subject.Kind == ike.IDNone && len(names) == 0 {
		return nil, errors.New("a certificate must name somebody")
	}
	return x509.CreateCertificateRequest(rand, template, key)
}

// emptyName is a distinguished name without any part.
var emptyName = []byte{0x30, 0}

// oidIPsecIKE is id-kp-ipsecIKE, RFC 4945 section 5.1.3.12.
var oidIPsecIKE = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 17}

// Sign issues what a request asks for; who it is for has been made sure of. The
// usages are those of RFC 4945, and those of TLS, which the clients of Windows
// and iOS insist on.
func (a *Authority) Sign(request []byte, now time.Time, days int, crls []string) (*x509.Certificate, error) {
	r, err := x509.ParseCertificateRequest(request)
	if err != nil {
		return nil, fmt.Errorf("read the request: %w", err)
	}
	if err := r.CheckSignature(); err != nil {
		return nil, fmt.Errorf("the request was not made by who has the key: %w", err)
	}
	until := now.AddDate(0, 0, days)
	if until.After(a.Cert.NotAfter) {
		until = a.Cert.NotAfter
	}
	return a.issue(&x509.Certificate{
		RawSubject: r.RawSubject, DNSNames: r.DNSNames, EmailAddresses: r.EmailAddresses, IPAddresses: r.IPAddresses,
		NotBefore: now.Add(-clockSkew), NotAfter: until, BasicConstraintsValid: true, CRLDistributionPoints: crls,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, UnknownExtKeyUsage: []asn1.ObjectIdentifier{oidIPsecIKE},
	}, a.Cert, r.PublicKey)
}

// issue signs a template, with a serial number that nobody can guess and that is
// positive (RFC 5280 section 4.1.2.2).
func (a *Authority) issue(template, issuer *x509.Certificate, key crypto.PublicKey) (*x509.Certificate, error) {
	number := make([]byte, 16)
	if _, err := io.ReadFull(a.Rand, number); err != nil {
		return nil, err
	}
	number[0] = number[0]&0x7f | 0x40
	template.SerialNumber = new(big.Int).SetBytes(number)
	spki, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, err
	}
	id := sha256.Sum256(spki)
	template.SubjectKeyId = id[:20]
	der, err := x509.CreateCertificate(a.Rand, template, issuer, key, a.Key)
	if err != nil {
		return nil, fmt.Errorf("issue a certificate: %w", err)
	}
	return x509.ParseCertificate(der)
}

// Revoked is one certificate that counts no more.
type Revoked struct {
	Serial *big.Int
	Since  time.Time
}

// CRL lists what is revoked, valid for days. Its number is the time, so that it
// rises (RFC 5280 section 5.2.3).
func (a *Authority) CRL(list []Revoked, now time.Time, days int) ([]byte, error) {
	template := &x509.RevocationList{Number: big.NewInt(now.Unix()), ThisUpdate: now.Add(-time.Minute), NextUpdate: now.AddDate(0, 0, days)}
	for _, r := range list {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: r.Serial, RevocationTime: r.Since})
	}
	der, err := x509.CreateRevocationList(a.Rand, template, a.Cert, a.Key)
	if err != nil {
		return nil, fmt.Errorf("make a CRL: %w", err)
	}
	return der, nil
}
