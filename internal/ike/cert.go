package ike

import (
	"crypto"
	"time"
)

// CertEncoding is the Cert Encoding of CERT and CERTREQ payloads, RFC 7296
// section 3.6; RFC 2408 section 3.9 has the same numbers.
type CertEncoding uint8

// The encodings that mean something here; all others are skipped.
const (
	CertX509    CertEncoding = 4  // X.509 Certificate - Signature
	CertCRL     CertEncoding = 7  // not used: CRLs come from ipsec.d/crls
	CertHashURL CertEncoding = 12 // hash and URL of a certificate: refused
	CertBundle  CertEncoding = 13 // hash and URL of a bundle: refused
	CertOCSP    CertEncoding = 14 // RFC 4806: an OCSP response
)

// Cert is the content of one CERT payload.
type Cert struct {
	Encoding CertEncoding
	Data     []byte
}

// CertRequest is the content of one CERTREQ payload. Of encoding CertX509,
// Authorities is a row of SHA-1 hashes, each of a CA's SubjectPublicKeyInfo
// (RFC 7296 section 3.7); none at all asks for any certificate.
type CertRequest struct {
	Encoding    CertEncoding
	Authorities []byte
}

// CertSend is leftsendcert=. The default is to send always: macOS and iOS need
// a certificate and never ask for one.
type CertSend uint8

// The values of leftsendcert=.
const (
	CertSendAlways CertSend = iota
	CertSendIfAsked
	CertSendNever
)

// Certs says what an end has to do with certificates. The zero value: nothing.
type Certs struct {
	// File is leftcert=, a name that the key store knows. Of the local end it
	// is ours, and its key is the one that signs. Of the remote end it is the
	// only certificate that counts: it is trusted for being there, whoever
	// issued it.
	File string
	// Accept, of the remote end, is rightrsasigkey=%cert: whoever shows a
	// certificate that chains to a CA of ours and names the identity is taken
	// for it.
	Accept bool
	// CA is rightca=: a CA of ours that must have issued the certificate, itself
	// or through others. IDNone: any.
	CA ID
	// SameCA is rightca=%same: the CA that issued the local end's certificate.
	SameCA bool
	Send   CertSend // of the local end
}

// Use reports whether certificates may prove who that end is.
func (c Certs) Use() bool { return c.Accept || c.File != "" }

// Certified is a key that a certificate binds to an identity.
type Certified struct {
	Key    crypto.PublicKey
	Origin string // what to call it in a log line
	Issuer ID     // the CA's distinguished name
	// Until is when the first certificate of the chain runs out.
	Until time.Time
	// Chain is the chain in DER, the peer's certificate first.
	Chain [][]byte
	// Warnings are lines for the log: what a stricter policy would have refused.
	Warnings []string
}

// CertStore is what a KeyStore is as well if it knows certificates.
type CertStore interface {
	// Certified judges the certificates of a peer that claims to be remote. It
	// calls holds with the key as soon as a chain to a CA of ours stands;
	// holds says whether the peer has the private key, and nothing is fetched
	// or returned before it said so. Every error means no.
	Certified(c *Conn, remote ID, certs []Cert, now time.Time, holds func(crypto.PublicKey) error) (Certified, error)
	// Certificates lists what goes with our signature: our own certificate
	// first, then those between it and its root. None is no error.
	Certificates(c *Conn, asked []CertRequest) []Cert
	// Authorities is the content of our CERTREQ payload of encoding CertX509
	// for the remote end of c (nil: for whoever calls). ok is false if no
	// certificate is wanted.
	Authorities(c *Conn) (hashes []byte, ok bool)
}
