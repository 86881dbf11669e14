package suite

import (
	"crypto/ecdh"
	"errors"
	"fmt"
	"io"
)

// The NIST curves, RFC 5903. A public value is x and y at the length of the
// field, without the octet 4 of SEC 1; the shared secret is x alone
// (section 7), at full length.
var (
	ecp256 = nist(19, "ecp_256", ecdh.P256(), 32, 0xff, "p256", "dh19", "ecp256", "secp256r1")
	ecp384 = nist(20, "ecp_384", ecdh.P384(), 48, 0xff, "p384", "dh20", "ecp384", "secp384r1")
	ecp521 = nist(21, "ecp_521", ecdh.P521(), 66, 0x01, "p521", "dh21", "ecp521", "secp521r1")
)

func nist(id uint16, name string, curve ecdh.Curve, size int, mask byte, conf ...string) KE {
	c := nistCurve{name, curve, size, mask}
	return KE{
		ID: id, Name: name, Conf: conf, Public: 2 * size, Answer: 2 * size,
		New: c.make, Respond: respond(c.make),
	}
}

type nistCurve struct {
	name  string
	curve ecdh.Curve
	size  int  // octets of a coordinate and of a private key
	mask  byte // of the first octet of a private key
}

type nistPrivate struct {
	nistCurve
	key *ecdh.PrivateKey
}

// tries bounds the search for a private key below the order of the curve. For
// P-256 one draw in 2^32 misses, for P-521 almost none of the masked ones; only
// a broken reader gets here.
const tries = 64

func (c nistCurve) make(rand io.Reader) (Private, error) {
	for range tries {
		b, err := secretOctets(rand, c.size)
		if err != nil {
			return nil, err
		}
		b[0] &= c.mask
		if key, err := c.curve.NewPrivateKey(b); err == nil {
			return nistPrivate{c, key}, nil
		}
	}
	return nil, errors.New("random octets never made a private key of " + c.name)
}

func (p nistPrivate) Public() []byte { return p.key.PublicKey().Bytes()[1:] }

func (p nistPrivate) Shared(peer []byte) ([]byte, error) {
	if len(peer) != 2*p.size {
		return nil, errPublicSize(p.name, len(peer), 2*p.size)
	}
	// NewPublicKey refuses points off the curve, coordinates at or above
	// the prime, and infinity: RFC 6989, 2.3.
	pub, err := p.curve.NewPublicKey(append([]byte{4}, peer...))
	if err != nil {
		return nil, fmt.Errorf("public value of %s: %w", p.name, err)
	}
	shared, err := p.key.ECDH(pub)
	if err != nil {
		return nil, fmt.Errorf("public value of %s: %w", p.name, err)
	}
	return shared, nil
}
