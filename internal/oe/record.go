package oe

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
	"net/netip"

	"cygnet/internal/rawkey"
)

// Record is one record that says: this gateway may speak for the owner, with
// this key.
type Record struct {
	Type       uint16 // TypeIPSECKEY, TypeTXT or TypeKEY
	Precedence uint16 // lower first
	Gateway    Gateway
	Key        crypto.PublicKey // nil: the key is at the gateway's own name
}

// Gateway is who a record names: an address, a name, or neither, which means
// the owner itself.
type Gateway struct {
	Addr netip.Addr
	Name string // absolute, lower case
}

// Self reports whether the gateway is the owner of the record.
func (g Gateway) Self() bool { return g == Gateway{} }

// String is the gateway as a zone file or a TXT record has it.
func (g Gateway) String() string {
	switch {
	case g.Addr.IsValid():
		return g.Addr.String()
	case g.Name != "":
		return g.Name
	}
	return "."
}

// Kinds of useless records, to be tested with errors.Is.
var (
	ErrForeign   = errors.New("not about IPsec")
	ErrMalformed = errors.New("malformed")
	ErrUnusable  = errors.New("not usable")
)

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...)
}

func unusable(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrUnusable}, args...)...)
}

// ParseRecord reads the RDATA of a record of type IPSECKEY, TXT or KEY. maxRSA
// is the longest RSA modulus to accept, in bits; 0 means 4096.
func ParseRecord(rrtype uint16, rdata []byte, maxRSA int) (Record, error) {
	if maxRSA == 0 {
		maxRSA = defaultMaxRSA
	}
	rec, err := parseRecord(rrtype, rdata, maxRSA)
	if err != nil {
		return Record{}, err
	}
	return rec, nil
}

func parseRecord(rrtype uint16, rdata []byte, maxRSA int) (Record, error) {
	switch {
	case rrtype == TypeTXT:
		return parseTXT(rdata, maxRSA)
	case rrtype != TypeIPSECKEY && rrtype != TypeKEY:
		return Record{}, fmt.Errorf("record of type %d: %w", rrtype, ErrForeign)
	case len(rdata) > maxRDATA:
		return Record{}, unusable("record of %d octets, more than %d", len(rdata), maxRDATA)
	case rrtype == TypeKEY:
		return parseKEY(rdata, maxRSA)
	}
	return parseIPSECKEY(rdata, maxRSA)
}

// parseKey reads a key field, opportunistic.md 7.6. What cannot be used is
// ErrUnusable, whether it is broken or only unknown: others' keys are beside it.
func parseKey(alg uint8, field []byte, maxRSA int) (crypto.PublicKey, error) {
	switch alg {
	case rawkey.DNSAlgRSA:
		return parseRSA(field, maxRSA)
	case rawkey.DNSAlgECDSA:
		return parseECDSA(field)
	case rawkey.DNSAlgEd25519:
		// RFC 8080, section 3: 32 octets are Ed25519; 57 would be Ed448.
		if len(field) != ed25519.PublicKeySize {
			return nil, unusable("EdDSA key of %d octets, Ed25519 has 32", len(field))
		}
		return ed25519.PublicKey(append([]byte(nil), field...)), nil
	}
	return nil, unusable("key of algorithm %d", alg)
}

// parseRSA bounds the size before anything is computed. Exponents above 31 bits,
// which RFC 3110 allows, crypto/rsa cannot use.
func parseRSA(field []byte, maxRSA int) (*rsa.PublicKey, error) {
	if len(field) > maxRSA/8+3+4 {
		return nil, unusable("RSA key in %d octets is longer than %d bits", len(field), maxRSA)
	}
	key, err := rawkey.ParseRSA(field)
	if err != nil {
		return nil, unusable("%w", err)
	}
	if bits := key.N.BitLen(); bits < minRSABits || bits > maxRSA {
		return nil, unusable("RSA key of %d bits, not %d to %d", bits, minRSABits, maxRSA)
	}
	return key, nil
}

// parseECDSA reads x and y, RFC 6605, section 4; RFC 8005 leaves the curve to
// the length.
func parseECDSA(field []byte) (*ecdsa.PublicKey, error) {
	curve := elliptic.P256()
	switch len(field) {
	case 64:
	case 96:
		curve = elliptic.P384()
	default:
		return nil, unusable("ECDSA key of %d octets, P-256 has 64 and P-384 has 96", len(field))
	}
	key, err := ecdsa.ParseUncompressedPublicKey(curve, append([]byte{4}, field...))
	if err != nil {
		return nil, unusable("ECDSA key that is no point of %s", curve.Params().Name)
	}
	return key, nil
}
