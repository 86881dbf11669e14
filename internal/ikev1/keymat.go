package ikev1

import (
	"crypto/cipher"
	"fmt"
	"net/netip"

	"cygnet/internal/ipsec"
	"cygnet/internal/octet"
	"cygnet/internal/suite"
)

// keys are those of an ISAKMP SA, RFC 2409 section 5.
type keys struct {
	id   ipsec.Secret // SKEYID
	d    ipsec.Secret // SKEYID_d, for deriving
	a    ipsec.Secret // SKEYID_a, for authentication
	e    ipsec.Secret // SKEYID_e, for encryption
	encr ipsec.Secret // the cipher's key, made from SKEYID_e
}

func (k keys) wipe() {
	for _, s := range []ipsec.Secret{k.id, k.d, k.a, k.e, k.encr} {
		s.Wipe()
	}
}

// skeyidSig is SKEYID for signatures: prf(Ni_b | Nr_b, g^xy). For pre-shared
// keys see ike.SharedKeyV1.
func skeyidSig(prf *suite.PRF, ni, nr []byte, shared ipsec.Secret) ipsec.Secret {
	return ipsec.NewSecret(prf.Sum(concat(ni, nr), shared.Bytes()))
}

// deriveKeys computes, from SKEYID and the shared secret,
//
//	SKEYID_d = prf(SKEYID, g^xy | CKY-I | CKY-R | 0)
//	SKEYID_a = prf(SKEYID, SKEYID_d | g^xy | CKY-I | CKY-R | 1)
//	SKEYID_e = prf(SKEYID, SKEYID_a | g^xy | CKY-I | CKY-R | 2)
func deriveKeys(prf *suite.PRF, skeyid, shared ipsec.Secret, spiI, spiR uint64) keys {
	k := keys{id: skeyid}
	cookies := cookiesOf(spiI, spiR)
	next := func(last ipsec.Secret, n byte) ipsec.Secret {
		return ipsec.NewSecret(prf.Sum(skeyid.Bytes(), last.Bytes(), shared.Bytes(), cookies, []byte{n}))
	}
	k.d = next(ipsec.Secret{}, 0)
	k.a = next(k.d, 1)
	k.e = next(k.a, 2)
	return k
}

// cipherKey makes n octets of key from SKEYID_e, RFC 2409 appendix B: its
// first octets, or where it is too short
//
//	K1 = prf(SKEYID_e, 0), K2 = prf(SKEYID_e, K1), ...
func cipherKey(prf *suite.PRF, e ipsec.Secret, n int) ipsec.Secret {
	if n <= e.Len() {
		return ipsec.NewSecret(concat(e.Bytes()[:n]))
	}
	var out []byte
	last := []byte{0}
	for len(out) < n {
		last = prf.Sum(e.Bytes(), last)
		out = append(out, last...)
	}
	return ipsec.NewSecret(out[:n:n])
}

// block makes the cipher of the ISAKMP SA.
func (k *keys) block(c suite.Chosen) (cipher.Block, error) {
	k.encr = cipherKey(c.PRF, k.e, c.Encr.KeyLen())
	b, err := c.Encr.NewBlock(k.encr.Bytes())
	if err != nil {
		return nil, fmt.Errorf("ISAKMP SA with %s: %w", c, err)
	}
	return b, nil
}

// mainIV is the IV of Main Mode's first encrypted message, RFC 2409 appendix
// B: the beginning of hash(g^xi | g^xr).
func mainIV(prf *suite.PRF, publicI, publicR []byte, size int) []byte {
	h := newHash(prf)
	h.Write(publicI)
	h.Write(publicR)
	return h.Sum(nil)[:size]
}

// phase2IV is the IV of the first message of a Quick Mode or Informational:
// the beginning of hash(last block of Main Mode | M-ID).
func phase2IV(prf *suite.PRF, last []byte, id uint32) []byte {
	h := newHash(prf)
	h.Write(last)
	h.Write(octet.AppendUint32(nil, id))
	return h.Sum(nil)[:len(last)]
}

// authHash is HASH_I or HASH_R, RFC 2409 section 5:
//
//	HASH_I = prf(SKEYID, g^xi | g^xr | CKY-I | CKY-R | SAi_b | IDii_b)
//	HASH_R = prf(SKEYID, g^xr | g^xi | CKY-R | CKY-I | SAi_b | IDir_b)
//
// own and other are the halves of the key exchange and the cookies of who is
// being authenticated and of the other end.
func authHash(prf *suite.PRF, skeyid ipsec.Secret, own, other half, sa, id []byte) []byte {
	return prf.Sum(skeyid.Bytes(), own.public, other.public, cookiesOf(own.cookie, other.cookie), sa, id)
}

// half is one end's part of Main Mode.
type half struct {
	public []byte
	cookie uint64
}

func cookiesOf(a, b uint64) []byte { return octet.AppendUint64(octet.AppendUint64(nil, a), b) }

// keymat computes n octets of KEYMAT for one SA, RFC 2409 section 5.5:
//
//	K1 = prf(SKEYID_d, [g(qm)^xy |] protocol | SPI | Ni_b | Nr_b)
//	K2 = prf(SKEYID_d, K1 | [g(qm)^xy |] protocol | SPI | Ni_b | Nr_b), ...
//
// shared is empty without PFS; the SPI is the one its receiver chose.
func keymat(prf *suite.PRF, d, shared ipsec.Secret, protocol uint8, spi ipsec.SPI, ni, nr []byte, n int) []byte {
	var out, last []byte
	head := octet.AppendUint32([]byte{protocol}, uint32(spi))
	for len(out) < n {
		last = prf.Sum(d.Bytes(), last, shared.Bytes(), head, ni, nr)
		out = append(out, last...)
	}
	return out[:n:n]
}

// natHash is the content of a NAT-D payload, RFC 3947 section 3.2:
// HASH(CKY-I | CKY-R | IP | Port).
func natHash(prf *suite.PRF, spiI, spiR uint64, a netip.AddrPort) []byte {
	h := newHash(prf)
	h.Write(cookiesOf(spiI, spiR))
	h.Write(a.Addr().Unmap().AsSlice())
	h.Write(octet.AppendUint16(nil, a.Port()))
	return h.Sum(nil)
}

func concat(parts ...[]byte) []byte {
	var b []byte
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

func clone(b []byte) []byte { return append([]byte(nil), b...) }
