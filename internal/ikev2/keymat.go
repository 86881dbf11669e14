package ikev2

import (
	"cygnet/internal/ikev2/wire"
	"cygnet/internal/ipsec"
	"cygnet/internal/octet"
	"cygnet/internal/suite"
)

// ikeKeys are the keys of an IKE SA, RFC 7296 section 2.14. i and r are the
// initiator and responder of that SA's IKE_SA_INIT, or of the exchange that
// rekeyed it.
type ikeKeys struct {
	d              ipsec.Secret // for deriving
	ai, ar, ei, er ipsec.Secret // integrity and encryption; ai and ar are empty with an AEAD
	pi, pr         ipsec.Secret // for AUTH
}

// seed is SKEYSEED = prf(Ni | Nr, g^ir).
func seed(prf *suite.PRF, ni, nr []byte, shared ipsec.Secret) ipsec.Secret {
	return ipsec.NewSecret(prf.Sum(concat(ni, nr), shared.Bytes()))
}

// rekeySeed is SKEYSEED = prf(SK_d (old), g^ir (new) | Ni | Nr), section 2.18.
// prf is that of the old IKE SA. more are the secrets of additional key
// exchanges in their order, SK(1) | ... SK(n), RFC 9370 section 2.2.4.
func rekeySeed(prf *suite.PRF, d, shared ipsec.Secret, ni, nr []byte, more ...[]byte) ipsec.Secret {
	return ipsec.NewSecret(prf.Sum(d.Bytes(), append([][]byte{shared.Bytes(), ni, nr}, more...)...))
}

// deriveIKE computes
//
//	{SK_d | SK_ai | SK_ar | SK_ei | SK_er | SK_pi | SK_pr}
//	   = prf+ (SKEYSEED, Ni | Nr | SPIi | SPIr)
//
// and wipes the seed.
func deriveIKE(c suite.Chosen, seed ipsec.Secret, ni, nr []byte, spiI, spiR uint64) ikeKeys {
	integ := 0
	if c.Integ != nil {
		integ = c.Integ.Key
	}
	encr, p := c.Encr.KeyLen(), c.PRF.Key
	s := octet.AppendUint64(octet.AppendUint64(concat(ni, nr), spiI), spiR)
	cut := cutter(c.PRF.Plus(seed.Bytes(), s, 3*p+2*integ+2*encr))
	seed.Wipe()
	return ikeKeys{
		d:  cut(p),
		ai: cut(integ), ar: cut(integ),
		ei: cut(encr), er: cut(encr),
		pi: cut(p), pr: cut(p),
	}
}

// ciphers returns what protects messages of the initiator and of the responder.
func (k ikeKeys) ciphers(c suite.Chosen) (i, r wire.SKCipher, err error) {
	if i, err = wire.NewCipher(c.Encr, c.Integ, k.ei, k.ai); err != nil {
		return nil, nil, err
	}
	r, err = wire.NewCipher(c.Encr, c.Integ, k.er, k.ar)
	return i, r, err
}

func (k ikeKeys) wipe() {
	for _, s := range []ipsec.Secret{k.d, k.ai, k.ar, k.ei, k.er, k.pi, k.pr} {
		s.Wipe()
	}
}

// childKeys are those of a pair of Child SAs; i is what the initiator of the
// exchange sends with.
type childKeys struct{ encrI, integI, encrR, integR ipsec.Secret }

// deriveChild computes KEYMAT = prf+(SK_d, [g^ir (new) |] Ni | Nr), RFC 7296
// section 2.17. shared is empty without PFS. more are the secrets of additional key
// exchanges in their order, which follow the nonces: SK(1) | ... SK(n), RFC 9370
// section 2.2.4.
func deriveChild(c suite.Chosen, prf *suite.PRF, d, shared ipsec.Secret, ni, nr []byte, more ...[]byte) childKeys {
	integ := 0
	if c.Integ != nil {
		integ = c.Integ.Key
	}
	encr := c.Encr.KeyLen()
	s := concat(append([][]byte{shared.Bytes(), ni, nr}, more...)...)
	cut := cutter(prf.Plus(d.Bytes(), s, 2*(encr+integ)))
	clear(s)
	shared.Wipe()
	return childKeys{encrI: cut(encr), integI: cut(integ), encrR: cut(encr), integR: cut(integ)}
}

// cutter returns a function that takes key material from the front of b. Each
// key gets octets of its own, so that wiping one leaves the others.
func cutter(b []byte) func(n int) ipsec.Secret {
	return func(n int) ipsec.Secret {
		key := concat(b[:n])
		clear(b[:n])
		b = b[n:]
		return ipsec.NewSecret(key)
	}
}

func concat(parts ...[]byte) []byte {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	b := make([]byte, 0, n)
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}
