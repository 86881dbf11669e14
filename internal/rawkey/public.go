package rawkey

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"

	"cygnet/internal/octet"
)

// Limits of RSA keys. Below the first no signature is worth checking (Go's
// crypto/rsa refuses too); above the second, checking one costs a peer nothing
// and us seconds.
const (
	MinRSABits = 1024
	MaxRSABits = 16384
)

// MarshalRSA returns the blob of RFC 3110 (and RFC 2537): the length of the
// exponent in one octet, the exponent, the modulus.
func MarshalRSA(pub *rsa.PublicKey) []byte {
	e := big.NewInt(int64(pub.E)).Bytes()
	return append(append([]byte{byte(len(e))}, e...), pub.N.Bytes()...)
}

// ParseRSA reads the blob of RFC 3110. Exponents of more than 31 bits, which
// crypto/rsa cannot use, and leading zeros, which the RFC forbids, are errors.
func ParseRSA(blob []byte) (*rsa.PublicKey, error) {
	r := octet.NewReader(blob)
	n := int(r.Uint8())
	if n == 0 {
		n = int(r.Uint16())
	}
	e, modulus := r.Bytes(n), r.Rest()
	if r.Err() != nil {
		return nil, fmt.Errorf("RSA key: %w", r.Err())
	}
	if n > 4 {
		return nil, fmt.Errorf("RSA key: exponent of %d octets is longer than 31 bits", n)
	}
	if len(e) == 0 || len(modulus) == 0 || e[0] == 0 || modulus[0] == 0 {
		return nil, errors.New("RSA key: exponent or modulus is empty or begins with zero")
	}
	pub := &rsa.PublicKey{N: new(big.Int).SetBytes(modulus), E: int(new(big.Int).SetBytes(e).Int64())}
	return pub, checkRSA(pub)
}

func checkRSA(pub *rsa.PublicKey) error {
	switch bits := pub.N.BitLen(); {
	case bits < MinRSABits:
		return fmt.Errorf("RSA key of %d bits is shorter than %d", bits, MinRSABits)
	case bits > MaxRSABits:
		return fmt.Errorf("RSA key of %d bits is longer than %d", bits, MaxRSABits)
	case pub.N.Bit(0) == 0:
		return errors.New("RSA key: modulus is even")
	case pub.E < 3 || pub.E%2 == 0 || pub.E > 1<<31-1:
		return fmt.Errorf("RSA key: exponent %d is not odd, at least 3 and below 2^31", pub.E)
	}
	return nil
}

// Parse reads a public key as leftrsasigkey= and leftpubkey= have it: key data
// (base64 without 0s is accepted too) that hold an RFC 3110 blob or a
// SubjectPublicKeyInfo, or a whole PEM text. The first octet tells the two
// binary forms apart: as an RFC 3110 blob, a DER SEQUENCE would have an
// exponent of 48 octets.
func Parse(text string) (crypto.PublicKey, error) {
	if strings.HasPrefix(text, "-----BEGIN ") {
		return parsePublicPEM([]byte(text))
	}
	if !IsData(text) {
		text = "0s" + text
	}
	blob, err := Data(text)
	if err != nil {
		return nil, err
	}
	if blob[0] == 0x30 {
		return ParseSPKI(blob)
	}
	pub, err := ParseRSA(blob)
	if err != nil {
		return nil, err
	}
	return pub, nil
}

// ParseSPKI reads a SubjectPublicKeyInfo, RFC 5280 section 4.1: RSA, ECDSA on
// a NIST curve, or Ed25519.
func ParseSPKI(der []byte) (crypto.PublicKey, error) {
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, errors.New("not a public key in the form of SubjectPublicKeyInfo")
	}
	return key, checkPublic(key)
}

func parsePublicPEM(text []byte) (crypto.PublicKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("damaged PEM text")
	}
	switch block.Type {
	case "PUBLIC KEY":
		return ParseSPKI(block.Bytes)
	case "RSA PUBLIC KEY":
		key, err := x509.ParsePKCS1PublicKey(block.Bytes)
		if err != nil {
			return nil, errors.New("damaged PKCS#1 public key")
		}
		return key, checkPublic(key)
	}
	return nil, fmt.Errorf("PEM text holds %q, not a public key", block.Type)
}

func checkPublic(key crypto.PublicKey) error {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return checkRSA(k)
	case *ecdsa.PublicKey:
		if k.Curve.Params().BitSize < 256 {
			return fmt.Errorf("ECDSA key on %s, a curve of less than 256 bits", k.Curve.Params().Name)
		}
		return nil
	case ed25519.PublicKey:
		return nil
	}
	return fmt.Errorf("public key of kind %T is not supported", key)
}

// Format is the 0s text of a public key: the RFC 3110 blob of an RSA key, the
// SubjectPublicKeyInfo of any other.
func Format(key crypto.PublicKey) (string, error) {
	if pub, ok := key.(*rsa.PublicKey); ok {
		return "0s" + base64.StdEncoding.EncodeToString(MarshalRSA(pub)), nil
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return "", err
	}
	return "0s" + base64.StdEncoding.EncodeToString(der), nil
}

// Keyword is the ipsec.conf keyword, without left or right, under which Format
// of that key belongs.
func Keyword(key crypto.PublicKey) string {
	if _, ok := key.(*rsa.PublicKey); ok {
		return "rsasigkey"
	}
	return "pubkey"
}

// KeyID is the short name of a public key in logs and dumps: the first nine
// base64 digits of its key field as DNS has it (RFC 4025), which for RSA is
// the FreeS/WAN key ID.
func KeyID(key crypto.PublicKey) string {
	field, _, err := DNSKey(key)
	if err != nil {
		return "unknown"
	}
	text := base64.StdEncoding.EncodeToString(field)
	return text[:min(9, len(text))]
}

// Equal reports whether two public keys are the same.
func Equal(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

// Describe is like RSA 3072 bits, ECDSA P-256 or Ed25519.
func Describe(key crypto.PublicKey) string {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d bits", k.N.BitLen())
	case *ecdsa.PublicKey:
		return "ECDSA " + k.Curve.Params().Name
	case ed25519.PublicKey:
		return "Ed25519"
	}
	return fmt.Sprintf("%T", key)
}
