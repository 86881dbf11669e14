package wire

import (
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"

	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

// SKCipher protects the messages of one direction of an IKE SA. It counts
// what it seals, so one value serves one key and must not be copied.
type SKCipher interface {
	// Size is the length of the cipher's part of a message (IV to ICV) with
	// n octets of payloads.
	Size(n int) int
	// Seal appends the cipher's part to b. The message begins at b[start]
	// and is complete up to here, lengths included. Padding is added here.
	Seal(b []byte, start int, plain []byte) []byte
	// Open verifies msg, whose cipher part begins at msg[body], and returns
	// a fresh slice of the plaintext, padding and pad length included.
	// Nothing is decrypted before it is verified.
	Open(msg []byte, body int) ([]byte, error)
}

var errICV = errors.New("integrity check failed")

// NewCipher returns the cipher of one direction: AEADs after RFC 5282, for
// which integ is nil and the salt follows the key; CBC with a separate MAC
// after RFC 7296 section 3.14. It does not keep the secrets.
func NewCipher(encr suite.EncrChoice, integ *suite.Integ, encrKey, integKey ipsec.Secret) (SKCipher, error) {
	if encr.Encr == nil {
		return nil, errors.New("IKE SA without encryption")
	}
	if n := encr.Bits/8 + encr.Salt; encr.Bits <= 0 || encrKey.Len() != n {
		return nil, fmt.Errorf("%s key of %d octets, need %d", encr.Name, encrKey.Len(), n)
	}
	key := encrKey.Bytes()
	if encr.AEAD {
		a, err := encr.NewAEAD(key[:encr.Bits/8])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", encr.Name, err)
		}
		salt := append([]byte(nil), key[encr.Bits/8:]...)
		return &aeadCipher{aead: a, salt: salt, ivLen: encr.IV, icv: a.Overhead()}, nil
	}
	if encr.NewBlock == nil || integ == nil {
		return nil, fmt.Errorf("%s cannot protect an IKE SA by itself", encr.Name)
	}
	if integKey.Len() != integ.Key || integ.Key == 0 {
		return nil, fmt.Errorf("%s key of %d octets, need %d", integ.Name, integKey.Len(), integ.Key)
	}
	block, err := encr.NewBlock(key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", encr.Name, err)
	}
	return &cbcCipher{block: block, mac: integ.New(integKey.Bytes()), icv: integ.ICV}, nil
}

// aeadCipher is RFC 5282. The nonce is salt and IV, the IV a counter, which
// section 3.1 allows; the additional data is everything before the IV.
type aeadCipher struct {
	aead  cipher.AEAD
	salt  []byte
	ivLen int
	icv   int
	sent  uint64
}

// Size implements SKCipher. RFC 5282, 3: no alignment is asked of an AEAD, so
// only the pad length is added.
func (c *aeadCipher) Size(n int) int { return c.ivLen + n + 1 + c.icv }

// Seal implements SKCipher.
func (c *aeadCipher) Seal(b []byte, start int, plain []byte) []byte {
	c.sent++
	iv := make([]byte, c.ivLen)
	binary.BigEndian.PutUint64(iv[c.ivLen-8:], c.sent)
	aad := b[start:len(b):len(b)]
	padded := append(append(make([]byte, 0, len(plain)+1), plain...), 0)
	return c.aead.Seal(append(b, iv...), c.nonce(iv), padded, aad)
}

// Open implements SKCipher.
func (c *aeadCipher) Open(msg []byte, body int) ([]byte, error) {
	if len(msg)-body < c.ivLen+c.icv {
		return nil, errors.New("too short for IV and ICV")
	}
	iv, sealed := msg[body:body+c.ivLen], msg[body+c.ivLen:]
	plain, err := c.aead.Open(nil, c.nonce(iv), sealed, msg[:body])
	if err != nil {
		return nil, errICV
	}
	return plain, nil
}

func (c *aeadCipher) nonce(iv []byte) []byte {
	return append(append(make([]byte, 0, len(c.salt)+len(iv)), c.salt...), iv...)
}

// cbcCipher is CBC with a MAC over the whole message up to the ICV, RFC 7296
// section 3.14. The IV must be unpredictable: it is a counter encrypted under
// the same key, NIST SP 800-38A appendix C, which needs no randomness.
type cbcCipher struct {
	block cipher.Block
	mac   hash.Hash
	icv   int
	sent  uint64
}

// Size implements SKCipher.
func (c *cbcCipher) Size(n int) int {
	bs := c.block.BlockSize()
	return bs + (n/bs+1)*bs + c.icv
}

// Seal implements SKCipher.
func (c *cbcCipher) Seal(b []byte, start int, plain []byte) []byte {
	c.sent++
	bs := c.block.BlockSize()
	at := len(b)
	b = append(b, make([]byte, bs)...)
	iv := b[at:]
	binary.BigEndian.PutUint64(iv[bs-8:], c.sent)
	c.block.Encrypt(iv, iv)

	pad := bs - 1 - len(plain)%bs
	b = append(b, plain...)
	b = append(b, make([]byte, pad)...)
	b = append(b, uint8(pad))
	text := b[at+bs:]
	cipher.NewCBCEncrypter(c.block, b[at:at+bs]).CryptBlocks(text, text)
	return append(b, c.sum(b[start:])...)
}

// Open implements SKCipher.
func (c *cbcCipher) Open(msg []byte, body int) ([]byte, error) {
	bs, end := c.block.BlockSize(), len(msg)-c.icv
	n := end - body - bs
	if n < bs || n%bs != 0 {
		return nil, errors.New("ciphertext is no whole number of blocks")
	}
	if subtle.ConstantTimeCompare(c.sum(msg[:end]), msg[end:]) != 1 {
		return nil, errICV
	}
	plain := make([]byte, n)
	cipher.NewCBCDecrypter(c.block, msg[body:body+bs]).CryptBlocks(plain, msg[body+bs:end])
	return plain, nil
}

func (c *cbcCipher) sum(b []byte) []byte {
	c.mac.Reset()
	c.mac.Write(b)
	return c.mac.Sum(nil)[:c.icv]
}
