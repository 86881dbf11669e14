package dns

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"cygnet/internal/octet"
	"cygnet/internal/rawkey"
)

// Algorithms of signatures that count, RFC 8624 and 8080. A zone with only
// others is insecure to us (RFC 4035, section 5.2).
const (
	algRSASHA256 = 8
	algRSASHA512 = 10
	algP256      = 13
	algP384      = 14
	algEd25519   = 15
)

func strong(alg uint8) bool {
	return alg == algRSASHA256 || alg == algRSASHA512 || alg == algP256 || alg == algP384 || alg == algEd25519
}

// Key is a DNSKEY, RFC 4034, section 2.
type Key struct {
	Alg    uint8
	Tag    uint16
	data   []byte // RDATA
	public []byte
}

// Flags of a DNSKEY.
const (
	flagZone   = 0x100
	flagRevoke = 0x80 // RFC 5011
)

// parseKey reads a DNSKEY that may sign a zone.
func parseKey(data []byte) (Key, bool) {
	r := octet.NewReader(data)
	flags, protocol, alg := r.Uint16(), r.Uint8(), r.Uint8()
	k := Key{Alg: alg, Tag: keyTag(data), data: data, public: r.Rest()}
	return k, r.Err() == nil && flags&flagZone != 0 && flags&flagRevoke == 0 && protocol == 3 && strong(alg)
}

// keyTag is RFC 4034, appendix B.
func keyTag(data []byte) uint16 {
	var sum uint32
	for i, c := range data {
		if i%2 == 0 {
			sum += uint32(c) << 8
		} else {
			sum += uint32(c)
		}
	}
	return uint16(sum + sum>>16)
}

// maxRSAModulus bounds the work of one verification, in octets.
const maxRSAModulus = 512

// verify checks a signature by the key.
func (k Key) verify(signed, sig []byte) bool {
	switch k.Alg {
	case algRSASHA256, algRSASHA512:
		if len(k.public) > maxRSAModulus+8 {
			return false
		}
		pub, err := rawkey.ParseRSA(k.public)
		if err != nil {
			return false
		}
		if k.Alg == algRSASHA256 {
			h := sha256.Sum256(signed)
			return rsa.VerifyPKCS1v15(pub, crypto.SHA256, h[:], sig) == nil
		}
		h := sha512.Sum512(signed)
		return rsa.VerifyPKCS1v15(pub, crypto.SHA512, h[:], sig) == nil
	case algP256:
		h := sha256.Sum256(signed)
		return verifyECDSA(elliptic.P256(), 64, k.public, h[:], sig)
	case algP384:
		h := sha512.Sum384(signed)
		return verifyECDSA(elliptic.P384(), 96, k.public, h[:], sig)
	case algEd25519:
		return len(k.public) == ed25519.PublicKeySize && ed25519.Verify(k.public, signed, sig)
	}
	return false
}

// verifyECDSA is RFC 6605, section 4: key and signature are two numbers each.
func verifyECDSA(curve elliptic.Curve, size int, public, hash, sig []byte) bool {
	if len(public) != size || len(sig) != size {
		return false
	}
	pub, err := ecdsa.ParseUncompressedPublicKey(curve, append([]byte{4}, public...))
	if err != nil {
		return false
	}
	r, s := new(big.Int).SetBytes(sig[:size/2]), new(big.Int).SetBytes(sig[size/2:])
	return ecdsa.Verify(pub, hash, r, s)
}

// DS is the digest of a key, RFC 4034, section 5.
type DS struct {
	Tag    uint16
	Alg    uint8
	Kind   uint8 // 2 SHA-256, 4 SHA-384
	Digest []byte
}

func parseDS(data []byte) (DS, bool) {
	r := octet.NewReader(data)
	d := DS{Tag: r.Uint16(), Alg: r.Uint8(), Kind: r.Uint8()}
	d.Digest = r.Rest()
	return d, r.Err() == nil && d.known()
}

// known reports whether the key and the digest are of kinds that count. SHA-1
// does not (RFC 8624).
func (d DS) known() bool {
	return strong(d.Alg) && (d.Kind == 2 && len(d.Digest) == sha256.Size || d.Kind == 4 && len(d.Digest) == sha512.Size384)
}

// matches reports whether d is the digest of a zone's key.
func (d DS) matches(zone string, k Key) bool {
	if d.Tag != k.Tag || d.Alg != k.Alg {
		return false
	}
	return bytes.Equal(d.Digest, digest(d.Kind, zone, k.data))
}

func digest(kind uint8, zone string, data []byte) []byte {
	b := append(appendName(nil, zone), data...)
	if kind == 2 {
		h := sha256.Sum256(b)
		return h[:]
	}
	h := sha512.Sum384(b)
	return h[:]
}

// DSOf are the usable records of a DS set.
func DSOf(s Set) []DS {
	var out []DS
	for _, data := range s.Data {
		if d, ok := parseDS(data); ok {
			out = append(out, d)
		}
	}
	return out
}

// Anchors are the keys that are trusted without proof, by zone.
type Anchors map[string][]DS

// Closest is the zone of the anchor nearest above a name.
func (a Anchors) Closest(name string) (zone string, ok bool) {
	for l := Labels(name); ; l = l[1:] {
		if zone = Join(l); len(a[zone]) > 0 {
			return zone, true
		}
		if len(l) == 0 {
			return "", false
		}
	}
}

// Read adds the DS and DNSKEY records of a file in the form of a zone file,
// one record per line, which is how root.key and ldns-key2ds have them. Of a
// DNSKEY its SHA-256 digest is kept.
func (a Anchors) Read(text string) error {
	for n, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, ";")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		zone, d, err := parseAnchor(words)
		if err != nil {
			return fmt.Errorf("line %d: %w", n+1, err)
		}
		a[zone] = append(a[zone], d)
	}
	return nil
}

// parseAnchor reads owner [TTL] [class] DS|DNSKEY fields.
func parseAnchor(words []string) (string, DS, error) {
	zone, words := Canonical(words[0]), words[1:]
	for len(words) > 0 && words[0] != "DS" && words[0] != "DNSKEY" {
		if _, err := strconv.ParseUint(words[0], 10, 31); err != nil && words[0] != "IN" {
			break
		}
		words = words[1:]
	}
	if len(words) < 5 {
		return "", DS{}, errors.New("a trust anchor is a DS or DNSKEY record")
	}
	var num [3]uint64
	for i := range num {
		v, err := strconv.ParseUint(words[i+1], 10, 16)
		if err != nil {
			return "", DS{}, fmt.Errorf("%s: %q is no number", words[0], words[i+1])
		}
		num[i] = v
	}
	last := strings.Join(words[4:], "")
	var d DS
	switch words[0] {
	case "DS":
		digest, err := hex.DecodeString(last)
		if err != nil {
			return "", DS{}, errors.New("DS: the digest is not hexadecimal")
		}
		d = DS{Tag: uint16(num[0]), Alg: uint8(num[1]), Kind: uint8(num[2]), Digest: digest}
	case "DNSKEY":
		public, err := base64.StdEncoding.DecodeString(last)
		if err != nil {
			return "", DS{}, errors.New("DNSKEY: the key is no base64")
		}
		data := append(octet.AppendUint16(nil, uint16(num[0])), byte(num[1]), byte(num[2]))
		data = append(data, public...)
		d = DS{Tag: keyTag(data), Alg: uint8(num[2]), Kind: 2, Digest: digest(2, zone, data)}
	default:
		return "", DS{}, fmt.Errorf("%q is no trust anchor; DS or DNSKEY is", words[0])
	}
	if !d.known() {
		return "", DS{}, fmt.Errorf("%s: algorithm %d or digest %d does not count", words[0], d.Alg, d.Kind)
	}
	return zone, d, nil
}
