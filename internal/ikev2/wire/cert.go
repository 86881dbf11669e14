package wire

import (
	"cygnet/internal/ike"
	"cygnet/internal/octet"
)

// Certificate encodings, RFC 7296 section 3.6 and RFC 7670.
const (
	CertX509Signature uint8 = 4
	CertCRL           uint8 = 7
	CertHashURL       uint8 = 12
	CertRawPublicKey  uint8 = 15 // SubjectPublicKeyInfo
)

// CERT is the Certificate payload, RFC 7296 section 3.6.
type CERT struct {
	Encoding uint8
	Data     []byte
}

// Type implements Payload.
func (CERT) Type() ike.PayloadType { return ike.PayloadCERT }

func parseCERT(r *octet.Reader) CERT { return CERT{r.Uint8(), r.Rest()} }

func (p CERT) appendTo(b []byte) []byte { return append(append(b, p.Encoding), p.Data...) }

// CERTREQ is the Certificate Request payload, RFC 7296 section 3.7.
// Authorities is a concatenation of SHA-1 hashes of CA public keys for the
// X.509 encodings; a length that fits no number of hashes is the reader's to
// ignore.
type CERTREQ struct {
	Encoding    uint8
	Authorities []byte
}

// Type implements Payload.
func (CERTREQ) Type() ike.PayloadType { return ike.PayloadCERTREQ }

func parseCERTREQ(r *octet.Reader) CERTREQ { return CERTREQ{r.Uint8(), r.Rest()} }

func (p CERTREQ) appendTo(b []byte) []byte { return append(append(b, p.Encoding), p.Authorities...) }
