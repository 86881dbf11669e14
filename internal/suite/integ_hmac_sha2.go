package suite

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"hash"
)

// HMAC with SHA-2, cut to half of its length: RFC 4868.
var (
	hmacSHA256 = Integ{
		ID: 12, Name: "hmac_sha2_256_128", KLIPS: "HMAC_SHA2_256",
		Conf: []string{"sha2_256", "sha256", "sha2", "hmac_sha2_256", "sha2_256_128", "hmac_sha256"},
		Key:  32, ICV: 16, New: newHMACSHA256,
	}
	hmacSHA384 = Integ{
		ID: 13, Name: "hmac_sha2_384_192", KLIPS: "HMAC_SHA2_384",
		Conf: []string{"sha2_384", "sha384", "hmac_sha2_384", "sha2_384_192", "hmac_sha384"},
		Key:  48, ICV: 24, New: newHMACSHA384,
	}
	hmacSHA512 = Integ{
		ID: 14, Name: "hmac_sha2_512_256", KLIPS: "HMAC_SHA2_512",
		Conf: []string{"sha2_512", "sha512", "hmac_sha2_512", "sha2_512_256", "hmac_sha512"},
		Key:  64, ICV: 32, New: newHMACSHA512,
	}
)

func newHMACSHA256(key []byte) hash.Hash { return hmac.New(sha256.New, key) }
func newHMACSHA384(key []byte) hash.Hash { return hmac.New(sha512.New384, key) }
func newHMACSHA512(key []byte) hash.Hash { return hmac.New(sha512.New, key) }
