package suite

// The pseudo-random functions: HMAC, uncut. RFC 4868 for SHA-2, RFC 2104 for
// the old ones. HMAC takes keys of any length, so nonces are used whole
// (RFC 7296, 2.14).
var (
	prfHMACMD5 = PRF{
		ID: 1, Name: "prf_hmac_md5",
		Conf: []string{"md5", "prfmd5", "hmac_md5"},
		Key:  16, Out: 16, New: newHMACMD5,
		Obsolete: "MD5 is broken as a hash (RFC 8247 forbids it)",
	}
	prfHMACSHA1 = PRF{
		ID: 2, Name: "prf_hmac_sha1",
		Conf: []string{"sha1", "sha", "prfsha1", "hmac_sha1"},
		Key:  20, Out: 20, New: newHMACSHA1,
		Obsolete: "SHA-1 is broken as a hash",
	}
	prfHMACSHA256 = PRF{
		ID: 5, Name: "prf_hmac_sha2_256",
		Conf: []string{"sha2_256", "sha256", "sha2", "prfsha256", "prfsha2_256", "hmac_sha2_256"},
		Key:  32, Out: 32, New: newHMACSHA256,
	}
	prfHMACSHA384 = PRF{
		ID: 6, Name: "prf_hmac_sha2_384",
		Conf: []string{"sha2_384", "sha384", "prfsha384", "prfsha2_384", "hmac_sha2_384"},
		Key:  48, Out: 48, New: newHMACSHA384,
	}
	prfHMACSHA512 = PRF{
		ID: 7, Name: "prf_hmac_sha2_512",
		Conf: []string{"sha2_512", "sha512", "prfsha512", "prfsha2_512", "hmac_sha2_512"},
		Key:  64, Out: 64, New: newHMACSHA512,
	}
)
