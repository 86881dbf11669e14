package suite

import (
	"crypto"
	"slices"
)

// sigKind is a family of signatures.
type sigKind uint8

const (
	sigPSS sigKind = iota + 1
	sigPKCS1
	sigECDSA
	sigEd25519
)

// scheme is a signature scheme of RFC 7427 that we make and accept. id is the
// DER of its AlgorithmIdentifier as we send it; also are other encodings of the
// same meaning. Both are compared octet by octet: nothing is parsed, so there
// is no parameter to play with (CVE-2018-6459, CVE-2021-41990 were such).
type scheme struct {
	name string
	kind sigKind
	num  uint16 // of the hash in SIGNATURE_HASH_ALGORITHMS
	hash crypto.Hash
	id   []byte
	also [][]byte
}

// Hash numbers of RFC 7427 section 7 and RFC 8420.
const (
	HashSHA256   uint16 = 2
	HashSHA384   uint16 = 3
	HashSHA512   uint16 = 4
	HashIdentity uint16 = 5
)

// SignatureHashes are what we announce in SIGNATURE_HASH_ALGORITHMS: the hashes
// that VerifySignature accepts. SHA-1 is not among them.
func SignatureHashes() []uint16 {
	return []uint16{HashSHA256, HashSHA384, HashSHA512, HashIdentity}
}

// The schemes, preferred first within a kind.
var schemes = []scheme{
	pss("RSA-PSS with SHA2-256", HashSHA256, crypto.SHA256, oidSHA256, 32),
	pss("RSA-PSS with SHA2-384", HashSHA384, crypto.SHA384, oidSHA384, 48),
	pss("RSA-PSS with SHA2-512", HashSHA512, crypto.SHA512, oidSHA512, 64),
	pkcs1("RSA with SHA2-256", HashSHA256, crypto.SHA256, 11),
	pkcs1("RSA with SHA2-384", HashSHA384, crypto.SHA384, 12),
	pkcs1("RSA with SHA2-512", HashSHA512, crypto.SHA512, 13),
	ecdsaWith("ECDSA with SHA2-256", HashSHA256, crypto.SHA256, 2),
	ecdsaWith("ECDSA with SHA2-384", HashSHA384, crypto.SHA384, 3),
	ecdsaWith("ECDSA with SHA2-512", HashSHA512, crypto.SHA512, 4),
	{name: "Ed25519", kind: sigEd25519, num: HashIdentity, id: tlv(0x30, tlv(0x06, []byte{0x2b, 0x65, 0x70}))},
}

// Object identifiers, contents octets.
var (
	oidSHA256  = []byte{0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01} // 2.16.840.1.101.3.4.2.1
	oidSHA384  = []byte{0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02}
	oidSHA512  = []byte{0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03}
	oidPKCS1   = []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01} // 1.2.840.113549.1.1
	oidECDSA   = []byte{0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03}       // 1.2.840.10045.4.3
	derNull    = []byte{0x05, 0x00}
	derTrailer = tlv(0xa3, tlv(0x02, []byte{1})) // trailerField 1, the default written out
)

func pkcs1(name string, num uint16, h crypto.Hash, arc byte) scheme {
	oid := tlv(0x06, oidPKCS1, []byte{arc})
	// RFC 4055, 5: the parameters are NULL, and a missing NULL is refused.
	return scheme{name: name, kind: sigPKCS1, num: num, hash: h, id: tlv(0x30, oid, derNull)}
}

func ecdsaWith(name string, num uint16, h crypto.Hash, arc byte) scheme {
	// RFC 5758, 3.2: no parameters.
	return scheme{name: name, kind: sigECDSA, num: num, hash: h, id: tlv(0x30, tlv(0x06, oidECDSA, []byte{arc}))}
}

// pss builds RSASSA-PSS with one hash for message and mask and a salt of its
// length (RFC 4055, 3.1; RFC 7427, A.4). Peers differ in two places where DER
// would settle it: the NULL of the hash (4055, 2.1 wants both accepted) and the
// trailer field, whose default RFC 7427's own example writes out.
func pss(name string, num uint16, h crypto.Hash, oid []byte, salt byte) scheme {
	s := scheme{name: name, kind: sigPSS, num: num, hash: h}
	for _, trailer := range [][]byte{nil, derTrailer} {
		for _, null := range [][]byte{derNull, nil} {
			hash := tlv(0x30, tlv(0x06, oid), null)
			mask := tlv(0x30, tlv(0x06, oidPKCS1, []byte{8}), hash)
			params := tlv(0x30, tlv(0xa0, hash), tlv(0xa1, mask), tlv(0xa2, tlv(0x02, []byte{salt})), trailer)
			id := tlv(0x30, tlv(0x06, oidPKCS1, []byte{10}), params)
			s.also = append(s.also, id)
		}
	}
	s.id = s.also[0]
	return s
}

// tlv is DER of tag and contents, which here are short.
func tlv(tag byte, contents ...[]byte) []byte {
	body := slices.Concat(contents...)
	return append([]byte{tag, byte(len(body))}, body...)
}
