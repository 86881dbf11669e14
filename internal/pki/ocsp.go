package pki

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	_ "crypto/sha1" // names issuers in OCSP, signs nothing
	_ "crypto/sha256"
	_ "crypto/sha512"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
	"golang.org/x/crypto/ocsp"
)

// WithResponse returns a store that knows one OCSP response more, which must
// be about c and made for issuer.
func (s *Store) WithResponse(now time.Time, der []byte, c, issuer *x509.Certificate) (*Store, error) {
	if _, err := readResponse(now, der, c, issuer); err != nil {
		return nil, err
	}
	more := *s
	more.responses = append(slices.Clone(s.responses), bytes.Clone(der))
	if n := len(more.responses) - maxFiles; n > 0 {
		more.responses = more.responses[n:]
	}
	return &more, nil
}

// byOCSP asks responses about c: those of the store and those that the peer
// sent beside its certificate.
func byOCSP(now time.Time, c, issuer *x509.Certificate, responses [][]byte) verdict {
	v := verdict{}
	for _, der := range responses {
		r, err := readResponse(now, der, c, issuer)
		switch {
		case errors.Is(err, errOther):
		case err != nil:
			v.why = err.Error()
		case r.Status == ocsp.Revoked:
			return verdict{state: revoked, why: fmt.Sprintf("its OCSP responder says so since %s", stamp(r.RevokedAt))}
		case r.Status == ocsp.Good:
			v = verdict{state: good}
		case v.state != good:
			v.why = "its OCSP responder does not know it"
		}
	}
	return v
}

// errOther is for a response about other certificates.
var errOther = errors.New("the OCSP response is not about this certificate")

// readResponse checks a response, RFC 6960 section 3.2: it is about c and its
// issuer, signed by the issuer or by whom the issuer has made a responder, and
// it is of now. ocsp.ParseResponseForCert alone takes any certificate of the
// issuer for a responder's, and compares nothing but the serial number.
func readResponse(now time.Time, der []byte, c, issuer *x509.Certificate) (*ocsp.Response, error) {
	if len(der) > maxResponse {
		return nil, fmt.Errorf("an OCSP response of %d octets is longer than %d", len(der), maxResponse)
	}
	if !about(der, c, issuer) {
		return nil, errOther
	}
	r, err := ocsp.ParseResponseForCert(der, c, issuer)
	if err != nil {
		return nil, fmt.Errorf("OCSP response: %s", plain(err))
	}
	if e := checkAlgorithm(r.SignatureAlgorithm); e != nil {
		return nil, fmt.Errorf("OCSP response: %w", e)
	}
	if r.Certificate != nil {
		if err := checkResponder(now, r.Certificate, issuer); err != nil {
			return nil, err
		}
	}
	until := r.NextUpdate
	if until.IsZero() {
		until = r.ThisUpdate.Add(responseLife)
	}
	switch {
	case r.ThisUpdate.After(now.Add(skew)):
		return nil, fmt.Errorf("the OCSP response is not valid before %s", stamp(r.ThisUpdate))
	case now.After(until) && r.Status != ocsp.Revoked:
		return nil, fmt.Errorf("the OCSP response expired at %s", stamp(until))
	}
	return r, nil
}

// checkResponder wants the issuer itself or a responder of its own, RFC 6960
// section 4.2.2.2. Its signature has been checked.
func checkResponder(now time.Time, r, issuer *x509.Certificate) error {
	if sameKey(r, issuer) {
		return nil
	}
	var e *Error
	switch {
	case !bytes.Equal(r.RawIssuer, issuer.RawSubject) || !slices.Contains(r.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning):
		return fmt.Errorf("the OCSP response is signed by '%s', which is no responder of '%s'", nameOf(r.RawSubject), nameOf(issuer.RawSubject))
	case checkKey(r.PublicKey) != nil:
		e = checkKey(r.PublicKey)
	case checkAlgorithm(r.SignatureAlgorithm) != nil:
		e = checkAlgorithm(r.SignatureAlgorithm)
	default:
		e = checkTime(r, now)
	}
	if e != nil {
		return fmt.Errorf("OCSP responder: %w", e.of(nameOf(r.RawSubject)))
	}
	return nil
}

// about reports whether the first answer in a response that has c's serial
// number also has c's issuer, by both hashes of its CertID:
//
//	ResponseData ::= SEQUENCE { [0] version DEFAULT v1, responderID, producedAt,
//	                            SEQUENCE OF SEQUENCE { CertID, ... }, ... }
//	CertID       ::= SEQUENCE { hashAlgorithm, issuerNameHash, issuerKeyHash, serialNumber }
func about(der []byte, c, issuer *x509.Certificate) bool {
	constructed := asn1.Tag(0).ContextSpecific().Constructed()
	in := cryptobyte.String(der)
	var outer, wrapped, bytesOf, octets, basic, data, answers cryptobyte.String
	if !in.ReadASN1(&outer, asn1.SEQUENCE) || !outer.SkipASN1(asn1.ENUM) || !outer.ReadASN1(&wrapped, constructed) ||
		!wrapped.ReadASN1(&bytesOf, asn1.SEQUENCE) || !bytesOf.SkipASN1(asn1.OBJECT_IDENTIFIER) || !bytesOf.ReadASN1(&octets, asn1.OCTET_STRING) ||
		!octets.ReadASN1(&basic, asn1.SEQUENCE) || !basic.ReadASN1(&data, asn1.SEQUENCE) || !data.SkipOptionalASN1(constructed) ||
		!skipAny(&data) || !data.SkipASN1(asn1.GeneralizedTime) || !data.ReadASN1(&answers, asn1.SEQUENCE) {
		return false
	}
	for !answers.Empty() {
		var answer, id, algorithm, name, key cryptobyte.String
		var oid []byte
		serial := new(big.Int)
		if !answers.ReadASN1(&answer, asn1.SEQUENCE) || !answer.ReadASN1(&id, asn1.SEQUENCE) || !id.ReadASN1(&algorithm, asn1.SEQUENCE) ||
			!algorithm.ReadASN1((*cryptobyte.String)(&oid), asn1.OBJECT_IDENTIFIER) || !id.ReadASN1(&name, asn1.OCTET_STRING) ||
			!id.ReadASN1(&key, asn1.OCTET_STRING) || !id.ReadASN1Integer(serial) {
			return false
		}
		if serial.Cmp(c.SerialNumber) != 0 {
			continue
		}
		h := hashOf(oid)
		return h != 0 && bytes.Equal(name, sum(h, issuer.RawSubject)) && bytes.Equal(key, sum(h, keyBits(issuer)))
	}
	return false
}

func skipAny(s *cryptobyte.String) bool {
	var tag asn1.Tag
	var v cryptobyte.String
	return s.ReadAnyASN1(&v, &tag)
}

// hashOf is the hash of an object identifier's content octets, 0 if unknown.
func hashOf(oid []byte) crypto.Hash {
	switch string(oid) {
	case "\x2b\x0e\x03\x02\x1a":
		return crypto.SHA1
	case "\x60\x86\x48\x01\x65\x03\x04\x02\x01":
		return crypto.SHA256
	case "\x60\x86\x48\x01\x65\x03\x04\x02\x02":
		return crypto.SHA384
	case "\x60\x86\x48\x01\x65\x03\x04\x02\x03":
		return crypto.SHA512
	}
	return 0
}

func sum(h crypto.Hash, b []byte) []byte {
	w := h.New()
	w.Write(b)
	return w.Sum(nil)
}

// keyBits is the content of the BIT STRING in a SubjectPublicKeyInfo.
func keyBits(c *x509.Certificate) []byte {
	in, seq := cryptobyte.String(c.RawSubjectPublicKeyInfo), cryptobyte.String(nil)
	var bits []byte
	if !in.ReadASN1(&seq, asn1.SEQUENCE) || !seq.SkipASN1(asn1.SEQUENCE) || !seq.ReadASN1BitStringAsBytes(&bits) {
		return nil
	}
	return bits
}
