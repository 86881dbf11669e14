package rawkey

import (
	"bytes"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"hash"
)

// Errors of ParsePrivateWith, beside those of ParsePrivate.
var (
	ErrPassphrase = errors.New("the passphrase is wrong")
	ErrOldCipher  = errors.New("private key is encrypted in a way that is not read: only PKCS #8 with PBES2 is")
)

// maxIterations bounds the work that a key file can ask for; OpenSSL's default
// is 2048, and today's advice 600,000.
const maxIterations = 10_000_000

// ParsePrivateWith reads a private key file that may be encrypted with a
// passphrase: PKCS #8 (RFC 5958 section 3) with PBES2 (RFC 8018 section 6.2),
// which OpenSSL has written by default since version 1.1.
func ParsePrivateWith(data []byte, passphrase []byte) (crypto.Signer, error) {
	key, err := ParsePrivate(data)
	if !errors.Is(err, ErrEncrypted) {
		return key, err
	}
	der := data
	for rest := data; bytes.Contains(data, []byte("-----BEGIN ")); {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return nil, ErrOldCipher // RFC 1421's own way, by MD5
		}
		if block.Type == "ENCRYPTED PRIVATE KEY" {
			der = block.Bytes
			break
		}
	}
	plain, err := decrypt(der, passphrase)
	if err != nil {
		return nil, err
	}
	if key, err = parsePrivateDER(plain); err != nil { // a wrong passphrase can pass for padding by chance
		return nil, ErrPassphrase
	}
	return key, checkPublic(key.Public())
}

var (
	oidPBES2  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	oidPBKDF2 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}
)

// prfs are the functions of PBKDF2, RFC 8018 appendix B.1.
var prfs = map[string]func() hash.Hash{
	"1.2.840.113549.2.7":  sha1.New, // the default where none is named
	"1.2.840.113549.2.9":  sha256.New,
	"1.2.840.113549.2.10": sha512.New384,
	"1.2.840.113549.2.11": sha512.New,
}

// bulk is a cipher of PBES2 in CBC mode, RFC 8018 appendix B.2.
type bulk struct {
	keyLen int
	block  func(key []byte) (cipher.Block, error)
}

var ciphers = map[string]bulk{
	"2.16.840.1.101.3.4.1.2":  {16, aes.NewCipher},
	"2.16.840.1.101.3.4.1.22": {24, aes.NewCipher},
	"2.16.840.1.101.3.4.1.42": {32, aes.NewCipher},
	"1.2.840.113549.3.7":      {24, des.NewTripleDESCipher},
}

// The structures of RFC 5958 section 3 and RFC 8018 appendix A.
type (
	encryptedKey struct {
		Algorithm pkix.AlgorithmIdentifier
		Data      []byte
	}
	pbes2 struct {
		KDF    pkix.AlgorithmIdentifier
		Cipher pkix.AlgorithmIdentifier
	}
	pbkdf2Params struct {
		Salt       []byte
		Iterations int
		KeyLength  int                      `asn1:"optional"`
		PRF        pkix.AlgorithmIdentifier `asn1:"optional"`
	}
)

// decrypt opens an EncryptedPrivateKeyInfo.
func decrypt(der, passphrase []byte) ([]byte, error) {
	var e encryptedKey
	if rest, err := asn1.Unmarshal(der, &e); err != nil || len(rest) > 0 || !e.Algorithm.Algorithm.Equal(oidPBES2) {
		return nil, ErrOldCipher
	}
	var scheme pbes2
	if _, err := asn1.Unmarshal(e.Algorithm.Parameters.FullBytes, &scheme); err != nil || !scheme.KDF.Algorithm.Equal(oidPBKDF2) {
		return nil, ErrOldCipher
	}
	var kdf pbkdf2Params
	if _, err := asn1.Unmarshal(scheme.KDF.Parameters.FullBytes, &kdf); err != nil {
		return nil, ErrOldCipher
	}
	prf := sha1.New
	if len(kdf.PRF.Algorithm) > 0 {
		prf = prfs[kdf.PRF.Algorithm.String()]
	}
	c, known := ciphers[scheme.Cipher.Algorithm.String()]
	switch {
	case prf == nil || !known:
		return nil, ErrOldCipher
	case kdf.Iterations < 1 || kdf.Iterations > maxIterations:
		return nil, fmt.Errorf("private key is encrypted with %d iterations, not 1 to %d", kdf.Iterations, maxIterations)
	}
	key, err := pbkdf2.Key(prf, string(passphrase), kdf.Salt, kdf.Iterations, c.keyLen)
	if err != nil {
		return nil, fmt.Errorf("derive the key of the private key file: %w", err)
	}
	block, err := c.block(key)
	if err != nil {
		return nil, fmt.Errorf("open the private key file: %w", err)
	}
	var iv []byte
	if _, err := asn1.Unmarshal(scheme.Cipher.Parameters.FullBytes, &iv); err != nil || len(iv) != block.BlockSize() || len(e.Data) == 0 || len(e.Data)%len(iv) != 0 {
		return nil, ErrOldCipher
	}
	plain := make([]byte, len(e.Data))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, e.Data)
	// RFC 8018 section 6.1.1: n octets of value n, at most a block.
	n := int(plain[len(plain)-1])
	if n == 0 || n > len(iv) || !bytes.Equal(plain[len(plain)-n:], bytes.Repeat([]byte{byte(n)}, n)) {
		return nil, ErrPassphrase
	}
	return plain[:len(plain)-n], nil
}
