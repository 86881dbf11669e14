package suite

import (
	"crypto/ecdh"
	"fmt"
	"io"
)

// Curve25519, RFC 8031.
var x25519 = KE{
	ID: 31, Name: "x25519",
	Conf:   []string{"x25519", "curve25519", "dh31"},
	Public: 32, Answer: 32,
	New: newX25519, Respond: respond(newX25519),
}

type x25519Private struct{ key *ecdh.PrivateKey }

func newX25519(rand io.Reader) (Private, error) {
	b, err := secretOctets(rand, 32)
	if err != nil {
		return nil, err
	}
	// Any 32 octets are a private key; the curve's own rules clamp them.
	key, err := ecdh.X25519().NewPrivateKey(b)
	if err != nil {
		return nil, err
	}
	return x25519Private{key}, nil
}

func (p x25519Private) Public() []byte { return p.key.PublicKey().Bytes() }

func (p x25519Private) Shared(peer []byte) ([]byte, error) {
	if len(peer) != 32 {
		return nil, errPublicSize("x25519", len(peer), 32)
	}
	pub, err := ecdh.X25519().NewPublicKey(peer)
	if err != nil {
		return nil, fmt.Errorf("public value of x25519: %w", err)
	}
	// RFC 8031, 2.1 and RFC 7748, 6.1: a point of small order gives the
	// secret zero, which ECDH returns as an error. Points on the twist and
	// values above the prime are accepted as RFC 7748 has it.
	shared, err := p.key.ECDH(pub)
	if err != nil {
		return nil, fmt.Errorf("public value of x25519: %w", err)
	}
	return shared, nil
}
