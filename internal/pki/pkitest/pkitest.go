// Package pkitest makes certificates for tests: authorities, chains, lists and
// responses, right or wrong in whatever way a test needs.
package pkitest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"cygnet/internal/ike"
	"cygnet/internal/rawkey"
)

// Now is the time of the tests; certificates are valid around it unless a Spec
// says otherwise.
var Now = time.Date(2030, 3, 1, 12, 0, 0, 0, time.UTC)

// KeyKind is which key a certificate gets.
type KeyKind uint8

// The kinds of keys.
const (
	P256 KeyKind = iota
	P384
	RSA2048
	Ed25519
)

// NoUsage leaves the key usage extension out.
const NoUsage x509.KeyUsage = -1

// Spec describes a certificate. The zero value is a sound end entity without
// any name.
type Spec struct {
	Subject string // as leftid= has it: C=CH, O=Lab, CN=gw
	RawName []byte // subject in DER, instead
	DNS     []string
	Mail    []string
	IP      []netip.Addr

	From, Until time.Time // zero: a year around Now

	CA          bool
	NotBasic    bool // no basic constraints
	MaxPath     int  // 0: no limit; -1: none may follow
	Usage       x509.KeyUsage
	ExtUsage    []x509.ExtKeyUsage
	OtherUsage  []asn1.ObjectIdentifier
	Permit      []string // name constraints on DNS names
	Exclude     []string
	ExcludeMail []string
	ExcludeIP   []netip.Prefix
	Extra       []pkix.Extension

	CDP, AIA []string // where CRLs are, where an OCSP responder is

	Kind      KeyKind
	Key       crypto.Signer    // instead of Kind
	Public    crypto.PublicKey // instead of Key: nobody has the private half
	Algorithm x509.SignatureAlgorithm
	Serial    int64 // 0: random
}

// Cert is a certificate with its key.
type Cert struct {
	*x509.Certificate
	Key    crypto.Signer
	Issuer *Cert // nil: itself
}

// Root makes an authority that has issued itself.
func Root(t testing.TB, spec Spec) *Cert {
	spec.CA = true
	return issue(t, nil, spec)
}

// Self makes an end entity that has issued itself.
func Self(t testing.TB, spec Spec) *Cert { return issue(t, nil, spec) }

// Sub makes an authority below c.
func (c *Cert) Sub(t testing.TB, spec Spec) *Cert {
	spec.CA = true
	return issue(t, c, spec)
}

// Leaf makes an end entity below c.
func (c *Cert) Leaf(t testing.TB, spec Spec) *Cert { return issue(t, c, spec) }

// Name is the DER of a name.
func Name(t testing.TB, text string) []byte {
	t.Helper()
	if text == "" {
		return []byte{0x30, 0}
	}
	id, err := ike.ParseID(text)
	if err != nil {
		t.Fatal(err)
	}
	return []byte(id.Data)
}

func issue(t testing.TB, issuer *Cert, spec Spec) *Cert {
	t.Helper()
	key := spec.Key
	if key == nil && spec.Public == nil {
		key = newKey(t, spec.Kind)
	}
	public := spec.Public
	if public == nil {
		public = key.Public()
	}
	template := spec.template(t)
	parent, signer := template, key
	if issuer != nil {
		parent, signer = issuer.Certificate, issuer.Key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, signer)
	if err != nil {
		t.Fatalf("%s: %v", spec.Subject, err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatalf("%s: %v", spec.Subject, err)
	}
	return &Cert{Certificate: made, Key: key, Issuer: issuer}
}

func (s Spec) template(t testing.TB) *x509.Certificate {
	c := &x509.Certificate{
		SerialNumber: big.NewInt(s.Serial), RawSubject: s.RawName, NotBefore: s.From, NotAfter: s.Until,
		DNSNames: s.DNS, EmailAddresses: s.Mail, KeyUsage: s.Usage, ExtKeyUsage: s.ExtUsage, UnknownExtKeyUsage: s.OtherUsage,
		BasicConstraintsValid: !s.NotBasic, IsCA: s.CA && !s.NotBasic, MaxPathLen: s.MaxPath,
		PermittedDNSDomains: s.Permit, ExcludedDNSDomains: s.Exclude, ExcludedEmailAddresses: s.ExcludeMail,
		PermittedDNSDomainsCritical: true, ExtraExtensions: s.Extra, SignatureAlgorithm: s.Algorithm,
		CRLDistributionPoints: s.CDP, OCSPServer: s.AIA,
	}
	if s.Serial == 0 {
		c.SerialNumber = serial(t)
	}
	if s.RawName == nil {
		c.RawSubject = Name(t, s.Subject)
	}
	if s.From.IsZero() {
		c.NotBefore = Now.AddDate(0, -6, 0)
	}
	if s.Until.IsZero() {
		c.NotAfter = Now.AddDate(0, 6, 0)
	}
	switch {
	case s.Usage == NoUsage:
		c.KeyUsage = 0
	case s.Usage == 0 && s.CA:
		c.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	case s.Usage == 0:
		c.KeyUsage = x509.KeyUsageDigitalSignature
	}
	if s.MaxPath < 0 {
		c.MaxPathLen, c.MaxPathLenZero = 0, true
	}
	for _, a := range s.IP {
		c.IPAddresses = append(c.IPAddresses, a.AsSlice())
	}
	for _, p := range s.ExcludeIP {
		c.ExcludedIPRanges = append(c.ExcludedIPRanges, &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())})
	}
	return c
}

func serial(t testing.TB) *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		t.Fatal(err)
	}
	return n.Add(n, big.NewInt(1))
}

var oneRSA = sync.OnceValues(func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// newKey makes a key; RSA keys, which take long, are all the same one.
func newKey(t testing.TB, k KeyKind) crypto.Signer {
	t.Helper()
	var key crypto.Signer
	var err error
	switch k {
	case P384:
		key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case RSA2048:
		key, err = oneRSA()
	case Ed25519:
		_, key, err = ed25519.GenerateKey(rand.Reader)
	default:
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// fixed is a P-256 key that signs alike each time.
type fixed struct{ *ecdsa.PrivateKey }

// Sign implements crypto.Signer; without randomness it is RFC 6979.
func (k fixed) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.PrivateKey.Sign(nil, digest, opts)
}

// Fixed is a key made of a number. With it and a Serial, what is made of a Spec
// is the same in every process, as fuzzing needs.
func Fixed(t testing.TB, n byte) crypto.Signer {
	t.Helper()
	raw := make([]byte, 32)
	raw[0], raw[31] = n, 1
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), raw)
	if err != nil {
		t.Fatal(err)
	}
	return fixed{key}
}

// PEM is the certificates as a file.
func PEM(certs ...*Cert) string {
	var out []byte
	for _, c := range certs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return string(out)
}

// KeyPEM is the private key as a file.
func (c *Cert) KeyPEM(t testing.TB) string {
	t.Helper()
	key := c.Key
	if f, ok := key.(fixed); ok {
		key = f.PrivateKey
	}
	out, err := rawkey.FormatPrivate(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// Payloads are the certificates as CERT payloads.
func Payloads(certs ...*Cert) []ike.Cert {
	var out []ike.Cert
	for _, c := range certs {
		out = append(out, ike.Cert{Encoding: ike.CertX509, Data: c.Raw})
	}
	return out
}

// ListSpec describes a CRL. The zero value is of Now and valid for a week.
type ListSpec struct {
	Revoked   []*Cert
	Reason    int
	From      time.Time
	Until     time.Time
	Number    int64
	Extra     []pkix.Extension
	Algorithm x509.SignatureAlgorithm
}

// CRL makes a list of c in DER.
func (c *Cert) CRL(t testing.TB, spec ListSpec) []byte {
	t.Helper()
	list := &x509.RevocationList{Number: big.NewInt(spec.Number + 1), ThisUpdate: spec.From, NextUpdate: spec.Until, ExtraExtensions: spec.Extra, SignatureAlgorithm: spec.Algorithm}
	if spec.From.IsZero() {
		list.ThisUpdate = Now.AddDate(0, 0, -1)
	}
	if spec.Until.IsZero() {
		list.NextUpdate = list.ThisUpdate.AddDate(0, 0, 7)
	}
	for _, r := range spec.Revoked {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: r.SerialNumber, RevocationTime: list.ThisUpdate, ReasonCode: spec.Reason})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, c.Certificate, c.Key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// ResponseSpec describes an OCSP response.
type ResponseSpec struct {
	Status    int // ocsp.Good, ocsp.Revoked, ocsp.Unknown
	From      time.Time
	Until     time.Time
	Responder *Cert // nil: the authority itself
	Issuer    *Cert // whom it says to be about, nil: the authority
}

// OCSP makes a response of c about one of its certificates.
func (c *Cert) OCSP(t testing.TB, about *Cert, spec ResponseSpec) []byte {
	t.Helper()
	r := ocsp.Response{Status: spec.Status, SerialNumber: about.SerialNumber, ThisUpdate: spec.From, NextUpdate: spec.Until, RevokedAt: Now.AddDate(0, 0, -2), IssuerHash: crypto.SHA256}
	if spec.From.IsZero() {
		r.ThisUpdate = Now.Add(-time.Hour)
	}
	if spec.Until.IsZero() {
		r.NextUpdate = Now.Add(time.Hour)
	}
	issuer, responder := c, c
	if spec.Issuer != nil {
		issuer = spec.Issuer
	}
	if spec.Responder != nil {
		responder = spec.Responder
		r.Certificate = spec.Responder.Certificate
	}
	der, err := ocsp.CreateResponse(issuer.Certificate, responder.Certificate, r, responder.Key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}
