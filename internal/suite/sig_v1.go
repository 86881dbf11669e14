package suite

import (
	"crypto"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
)

// SignHash makes an RSA signature of IKEv1, RFC 2409 section 5.1: PKCS#1 v1.5
// padding around the hash itself, without the DigestInfo that names a hash
// algorithm, for the hash is the output of the negotiated PRF.
func SignHash(rand io.Reader, signer crypto.Signer, hash []byte) ([]byte, error) {
	if _, ok := signer.Public().(*rsa.PublicKey); !ok {
		return nil, fmt.Errorf("IKEv1 signs with RSA, the key is %T", signer.Public())
	}
	return signer.Sign(rand, hash, crypto.Hash(0))
}

// VerifyHash checks what SignHash makes. Nil is the only yes.
func (p SignaturePolicy) VerifyHash(pub crypto.PublicKey, hash, signature []byte) error {
	key, ok := pub.(*rsa.PublicKey)
	if !ok {
		return fmt.Errorf("IKEv1 verifies with RSA, the key is %T", pub)
	}
	if len(hash) == 0 {
		return errors.New("no hash to verify")
	}
	if err := p.checkKey(key); err != nil {
		return err
	}
	if rsa.VerifyPKCS1v15(key, crypto.Hash(0), hash, signature) != nil {
		return errSignature
	}
	return nil
}
