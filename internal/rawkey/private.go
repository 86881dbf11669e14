package rawkey

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// ErrEncrypted is the error for a private key that a passphrase protects.
var ErrEncrypted = errors.New("private key is encrypted with a passphrase")

// ParsePrivate reads a private key file: PEM or DER, in PKCS#8, PKCS#1 or SEC 1
// form; RSA, ECDSA on a NIST curve, or Ed25519.
func ParsePrivate(data []byte) (crypto.Signer, error) {
	der := data
	if bytes.Contains(data, []byte("-----BEGIN ")) {
		block, err := privatePEM(data)
		if err != nil {
			return nil, err
		}
		der = block.Bytes
	}
	key, err := parsePrivateDER(der)
	if err != nil {
		return nil, err
	}
	return key, checkPublic(key.Public())
}

// privatePEM finds the first private key among the blocks; EC PARAMETERS and
// certificates may stand before it.
func privatePEM(data []byte) (*pem.Block, error) {
	for rest := data; ; {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			return nil, errors.New("PEM file holds no private key")
		}
		switch block.Type {
		case "ENCRYPTED PRIVATE KEY":
			return nil, ErrEncrypted
		case "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY":
			if block.Headers["DEK-Info"] != "" {
				return nil, ErrEncrypted
			}
			return block, nil
		}
	}
}

func parsePrivateDER(der []byte) (crypto.Signer, error) {
	if key, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		switch k := key.(type) {
		case *rsa.PrivateKey:
			return k, nil
		case *ecdsa.PrivateKey:
			return k, nil
		case ed25519.PrivateKey:
			return k, nil
		}
		return nil, fmt.Errorf("private key of kind %T is not supported", key)
	}
	if k, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return k, nil
	}
	if k, err := x509.ParseECPrivateKey(der); err == nil {
		return k, nil
	}
	return nil, errors.New("not a private key in PKCS#8, PKCS#1 or SEC 1 form")
}

// FormatPrivate returns a private key as a PKCS#8 PEM file.
func FormatPrivate(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
