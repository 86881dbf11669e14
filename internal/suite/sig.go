package suite

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"

	_ "crypto/sha1" // AUTH method 1
	_ "crypto/sha256"
	_ "crypto/sha512"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"cygnet/internal/octet"
)

// Authentication methods of the AUTH payload that sign, RFC 7296 section 3.8.
const (
	MethodRSA      uint8 = 1  // RSASSA-PKCS1-v1_5 with SHA-1
	MethodECDSA256 uint8 = 9  // RFC 4754: SHA2-256 on P-256, r and s as they are
	MethodECDSA384 uint8 = 10 // SHA2-384 on P-384
	MethodECDSA521 uint8 = 11 // SHA2-512 on P-521
	MethodDigital  uint8 = 14 // RFC 7427
)

// SignaturePolicy says which weak signatures are accepted. The zero value
// accepts none: SHA-1 in AUTH invites transcript collisions (SLOTH), RFC 7427
// section 5 and RFC 8247 section 4.2 advise against it.
type SignaturePolicy struct {
	SHA1     bool // method 1
	ShortRSA bool // RSA keys of 1024 to 2047 bits
}

// VerifySignature checks an AUTH payload that signs octets, under the zero
// SignaturePolicy.
func VerifySignature(pub crypto.PublicKey, method uint8, octets, signature []byte) error {
	return SignaturePolicy{}.Verify(pub, method, octets, signature)
}

var errSignature = errors.New("signature does not verify")

// Verify checks an AUTH payload: method and signature are what it carries
// (with method 14 the AlgorithmIdentifier and its length come first), octets
// what the peer must have signed, pub a key bound to its identity. There is one
// way to say yes, which is a nil error.
func (p SignaturePolicy) Verify(pub crypto.PublicKey, method uint8, octets, signature []byte) error {
	if err := p.checkKey(pub); err != nil {
		return err
	}
	switch method {
	case MethodRSA:
		return p.verifySHA1(pub, octets, signature)
	case MethodECDSA256, MethodECDSA384, MethodECDSA521:
		return verifyRaw(pub, method, octets, signature)
	case MethodDigital:
		return verifyDigital(pub, octets, signature)
	}
	return fmt.Errorf("authentication method %d is not a signature", method)
}

func (p SignaturePolicy) checkKey(pub crypto.PublicKey) error {
	key, ok := pub.(*rsa.PublicKey)
	if !ok {
		return nil
	}
	least := 2048
	if p.ShortRSA {
		least = 1024
	}
	if bits := key.N.BitLen(); bits < least {
		return fmt.Errorf("RSA key of %d bits, at least %d are needed", bits, least)
	}
	return nil
}

func (p SignaturePolicy) verifySHA1(pub crypto.PublicKey, octets, signature []byte) error {
	key, ok := pub.(*rsa.PublicKey)
	if !ok {
		return fmt.Errorf("authentication method 1 is RSA, the key is %T", pub)
	}
	if !p.SHA1 {
		return errors.New("the peer signs with SHA-1 (authentication method 1), which is not allowed here")
	}
	if rsa.VerifyPKCS1v15(key, crypto.SHA1, digest(crypto.SHA1, octets), signature) != nil {
		return errSignature
	}
	return nil
}

// verifyRaw checks r and s side by side, each at the length of the curve's
// order: RFC 4754 section 7.
func verifyRaw(pub crypto.PublicKey, method uint8, octets, signature []byte) error {
	key, ok := pub.(*ecdsa.PublicKey)
	if !ok || rawMethod(key) != method {
		return fmt.Errorf("authentication method %d does not fit the key", method)
	}
	n := (key.Curve.Params().BitSize + 7) / 8
	if len(signature) != 2*n {
		return fmt.Errorf("signature of %d octets, not %d", len(signature), 2*n)
	}
	r, s := new(big.Int).SetBytes(signature[:n]), new(big.Int).SetBytes(signature[n:])
	if !ecdsa.Verify(key, digest(rawHash(method), octets), r, s) {
		return errSignature
	}
	return nil
}

// verifyDigital checks method 14: a length octet, the AlgorithmIdentifier, and
// the signature (RFC 7427 section 3).
func verifyDigital(pub crypto.PublicKey, octets, data []byte) error {
	r := octet.NewReader(data)
	id := r.Bytes(int(r.Uint8()))
	signature := r.Rest()
	if err := r.Err(); err != nil {
		return fmt.Errorf("AlgorithmIdentifier: %w", err)
	}
	s := schemeOf(id)
	if s == nil {
		return errors.New("signature algorithm is not one that is accepted here")
	}
	ok := false
	switch key := pub.(type) {
	case *rsa.PublicKey:
		ok = s.verifyRSA(key, octets, signature)
	case *ecdsa.PublicKey:
		// VerifyASN1 wants strict DER and 0 < r, s < n.
		ok = s.kind == sigECDSA && ecdsa.VerifyASN1(key, digest(s.hash, octets), signature)
	case ed25519.PublicKey:
		// RFC 8420: the message itself is signed, hash "identity".
		ok = s.kind == sigEd25519 && len(key) == ed25519.PublicKeySize && ed25519.Verify(key, octets, signature)
	default:
		return fmt.Errorf("key type %T cannot sign", pub)
	}
	if !ok {
		return fmt.Errorf("%s: %w", s.name, errSignature)
	}
	return nil
}

func (s *scheme) verifyRSA(key *rsa.PublicKey, octets, signature []byte) bool {
	switch s.kind {
	case sigPSS:
		return rsa.VerifyPSS(key, s.hash, digest(s.hash, octets), signature, s.pssOptions()) == nil
	case sigPKCS1:
		return rsa.VerifyPKCS1v15(key, s.hash, digest(s.hash, octets), signature) == nil
	}
	return false
}

// pssOptions fixes the salt to the length of the hash, as the
// AlgorithmIdentifier says.
func (s *scheme) pssOptions() *rsa.PSSOptions {
	return &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: s.hash}
}

func schemeOf(id []byte) *scheme {
	for i := range schemes {
		s := &schemes[i]
		if bytes.Equal(id, s.id) || slices.ContainsFunc(s.also, func(a []byte) bool { return bytes.Equal(id, a) }) {
			return s
		}
	}
	return nil
}

// SignDigital makes the value of an AUTH payload over octets. hashes are what
// the peer announced in SIGNATURE_HASH_ALGORITHMS; where one fits the key the
// method is 14 (RSA then signs with PSS, which RFC 8247 section 4.2 makes the
// one to have), otherwise the older method of the key: 9 to 11 for ECDSA, 1
// with SHA-1 for RSA. Ed25519 has no older method and fails. Whether to sign
// with SHA-1 at all is the caller's decision by the method returned.
//
// rand is for the salt of PSS and the nonce of ECDSA; Go's own keys may draw
// from the system instead.
func SignDigital(rand io.Reader, signer crypto.Signer, octets []byte, hashes []uint16) (method uint8, data []byte, err error) {
	if s := schemeFor(signer.Public(), hashes); s != nil {
		sig, err := s.sign(rand, signer, octets)
		if err != nil {
			return 0, nil, fmt.Errorf("sign with %s: %w", s.name, err)
		}
		return MethodDigital, slices.Concat([]byte{byte(len(s.id))}, s.id, sig), nil
	}
	switch key := signer.Public().(type) {
	case *rsa.PublicKey:
		data, err = signer.Sign(rand, digest(crypto.SHA1, octets), crypto.SHA1)
		return MethodRSA, data, err
	case *ecdsa.PublicKey:
		return signRaw(rand, signer, key, octets)
	}
	return 0, nil, fmt.Errorf("the peer announced no hash that a key of type %T can sign with", signer.Public())
}

// schemeFor returns the first scheme that fits key and hashes. For ECDSA the
// hash of the curve's own strength comes first (RFC 7427, A.3).
func schemeFor(pub crypto.PublicKey, hashes []uint16) *scheme {
	var kind sigKind
	var first crypto.Hash
	switch key := pub.(type) {
	case *rsa.PublicKey:
		kind = sigPSS
	case *ecdsa.PublicKey:
		kind, first = sigECDSA, rawHash(rawMethod(key))
	case ed25519.PublicKey:
		kind = sigEd25519
	}
	var found *scheme
	for i := range schemes {
		s := &schemes[i]
		if s.kind != kind || !slices.Contains(hashes, s.num) {
			continue
		}
		if found == nil || s.hash == first {
			found = s
		}
	}
	return found
}

func (s *scheme) sign(rand io.Reader, signer crypto.Signer, octets []byte) ([]byte, error) {
	switch s.kind {
	case sigPSS:
		return signer.Sign(rand, digest(s.hash, octets), s.pssOptions())
	case sigEd25519:
		return signer.Sign(rand, octets, crypto.Hash(0))
	}
	return signer.Sign(rand, digest(s.hash, octets), s.hash)
}

// signRaw makes r and s side by side from the DER that crypto.Signer returns.
func signRaw(rand io.Reader, signer crypto.Signer, key *ecdsa.PublicKey, octets []byte) (uint8, []byte, error) {
	method := rawMethod(key)
	if method == 0 {
		return 0, nil, fmt.Errorf("no authentication method for curve %s", key.Curve.Params().Name)
	}
	der, err := signer.Sign(rand, digest(rawHash(method), octets), rawHash(method))
	if err != nil {
		return 0, nil, err
	}
	r, s := new(big.Int), new(big.Int)
	in, seq := cryptobyte.String(der), cryptobyte.String(nil)
	if !in.ReadASN1(&seq, asn1.SEQUENCE) || !seq.ReadASN1Integer(r) || !seq.ReadASN1Integer(s) {
		return 0, nil, errors.New("signer returned something other than r and s")
	}
	n := (key.Curve.Params().BitSize + 7) / 8
	out := make([]byte, 2*n)
	r.FillBytes(out[:n])
	s.FillBytes(out[n:])
	return method, out, nil
}

// rawMethod is the method of RFC 4754 for a key, 0 if it has none.
func rawMethod(key *ecdsa.PublicKey) uint8 {
	switch key.Curve.Params().BitSize {
	case 256:
		return MethodECDSA256
	case 384:
		return MethodECDSA384
	case 521:
		return MethodECDSA521
	}
	return 0
}

func rawHash(method uint8) crypto.Hash {
	switch method {
	case MethodECDSA384:
		return crypto.SHA384
	case MethodECDSA521:
		return crypto.SHA512
	}
	return crypto.SHA256
}

func digest(h crypto.Hash, octets []byte) []byte {
	w := h.New()
	w.Write(octets)
	return w.Sum(nil)
}
