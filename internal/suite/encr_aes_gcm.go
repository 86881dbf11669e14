package suite

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"errors"
)

// AES in Galois/Counter Mode: RFC 4106 for ESP, RFC 5282 for IKE. The nonce is
// the salt and then the IV, 12 octets; the key material ends with the salt.
var (
	aesGCM16 = Encr{
		ID: 20, Name: "aes_gcm_16", KLIPS: "ESP_AES_GCM_16",
		Conf:    []string{"aes_gcm", "aes_gcm_c", "aes_gcm_16", "aesgcm", "aesgcm16", "aesgcm128"},
		KeyBits: []int{256, 128, 192}, Salt: 4, IV: 8, ICV: 16, Block: 4, AEAD: true,
		NewAEAD: func(key []byte) (cipher.AEAD, error) { return newGCM(key, 16) },
	}
	aesGCM12 = Encr{
		ID: 19, Name: "aes_gcm_12", KLIPS: "ESP_AES_GCM_12",
		Conf:    []string{"aes_gcm_b", "aes_gcm_12", "aesgcm12", "aesgcm96"},
		KeyBits: []int{256, 128, 192}, Salt: 4, IV: 8, ICV: 12, Block: 4, AEAD: true,
		NewAEAD: func(key []byte) (cipher.AEAD, error) { return newGCM(key, 12) },
	}
	aesGCM8 = Encr{
		ID: 18, Name: "aes_gcm_8", KLIPS: "ESP_AES_GCM_8",
		Conf:    []string{"aes_gcm_a", "aes_gcm_8", "aesgcm8", "aesgcm64"},
		KeyBits: []int{256, 128, 192}, Salt: 4, IV: 8, ICV: 8, Block: 4, AEAD: true,
		Obsolete: "GCM with a tag of 64 bits is too easy to forge (NIST SP 800-38D appendix C)",
		NewAEAD: func(key []byte) (cipher.AEAD, error) {
			gcm, err := newGCM(key, 16)
			return shortGCM{gcm}, err
		},
	}
)

func newGCM(key []byte, tag int) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithTagSize(block, tag)
}

// shortGCM cuts the tag of GCM to 8 octets, which the standard library refuses
// to do. It serves peers that offer nothing else, so it is simple, not fast:
// opening runs the cipher twice.
type shortGCM struct{ full cipher.AEAD }

const shortTag = 8

var errOpen = errors.New("message authentication failed")

func (g shortGCM) NonceSize() int { return g.full.NonceSize() }
func (g shortGCM) Overhead() int  { return shortTag }

func (g shortGCM) Seal(dst, nonce, plaintext, ad []byte) []byte {
	out := g.full.Seal(dst, nonce, plaintext, ad)
	return out[:len(out)-g.full.Overhead()+shortTag]
}

func (g shortGCM) Open(dst, nonce, sealed, ad []byte) ([]byte, error) {
	if len(sealed) < shortTag {
		return nil, errOpen
	}
	text, tag := sealed[:len(sealed)-shortTag], sealed[len(sealed)-shortTag:]
	// Counter mode is its own inverse: sealing the ciphertext yields the
	// plaintext, and sealing that yields the tag to compare.
	plain := g.full.Seal(nil, nonce, text, nil)[:len(text)]
	again := g.full.Seal(nil, nonce, plain, ad)[len(text):]
	if subtle.ConstantTimeCompare(again[:shortTag], tag) != 1 {
		return nil, errOpen
	}
	return append(dst, plain...), nil
}
