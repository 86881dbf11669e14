package suite

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"hash"
)

// HMAC with the hashes of FreeS/WAN, cut to 96 bits: RFC 2403 and RFC 2404.
// RFC 8221 section 6 keeps SHA-1 for old peers and forbids MD5.
var (
	hmacMD5 = Integ{
		ID: 1, Name: "hmac_md5_96", KLIPS: "HMAC_MD5",
		Conf: []string{"md5", "hmac_md5", "md5_96"},
		Key:  16, ICV: 12, New: newHMACMD5,
		Obsolete: "MD5 is broken as a hash (RFC 8221 forbids it)",
	}
	hmacSHA1 = Integ{
		ID: 2, Name: "hmac_sha1_96", KLIPS: "HMAC_SHA1",
		Conf: []string{"sha1", "sha", "hmac_sha1", "sha1_96"},
		Key:  20, ICV: 12, New: newHMACSHA1,
		Obsolete: "SHA-1 is broken as a hash",
	}
)

func newHMACMD5(key []byte) hash.Hash  { return hmac.New(md5.New, key) }
func newHMACSHA1(key []byte) hash.Hash { return hmac.New(sha1.New, key) }
