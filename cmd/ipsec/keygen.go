package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"math/big"

	"cygnet/internal/rawkey"
)

const (
	defaultBits = 3072
	minBits     = 2048 // below: --allow-weak
)

// keyOrder says what key to make.
type keyOrder struct {
	kind      string // rsa, ecdsa, ed25519
	bits      int
	exponent  int
	phi       bool // private exponent modulo (p-1)(q-1), as --noopt had it
	allowWeak bool
}

func (o keyOrder) check() error {
	if o.kind != "rsa" {
		return nil
	}
	switch {
	case o.bits%16 != 0:
		return fmt.Errorf("the number of bits must be a multiple of 16, not %d", o.bits)
	case o.bits > maxRandomBits || o.bits > rawkey.MaxRSABits:
		return fmt.Errorf("an RSA key has at most %d bits", min(maxRandomBits, rawkey.MaxRSABits))
	case o.bits < rawkey.MinRSABits:
		return fmt.Errorf("an RSA key of fewer than %d bits protects nothing", rawkey.MinRSABits)
	case o.bits < minBits && !o.allowWeak:
		return fmt.Errorf("an RSA key of fewer than %d bits is too weak today; --allow-weak makes it all the same", minBits)
	case o.exponent != 3 && o.exponent != 65537:
		return errors.New("the public exponent is 3 or 65537")
	}
	return nil
}

func (o keyOrder) generate() (crypto.Signer, error) {
	switch o.kind {
	case "rsa":
		return o.generateRSA()
	case "ecdsa":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ed25519":
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	}
	return nil, fmt.Errorf("unknown kind of key %q: rsa, ecdsa or ed25519", o.kind)
}

func (o keyOrder) generateRSA() (*rsa.PrivateKey, error) {
	if o.exponent == 65537 {
		key, err := rsa.GenerateKey(rand.Reader, o.bits)
		if err != nil {
			return nil, err
		}
		return rawkey.Arrange(key, o.phi)
	}
	for {
		key, err := rsaWithExponent(o.bits, o.exponent)
		if err != nil {
			return nil, err
		}
		if key != nil {
			return rawkey.Arrange(key, o.phi)
		}
	}
}

// rsaWithExponent makes a key with an exponent that the standard library does
// not offer, which FreeS/WAN's peers may need. It returns nil where the primes
// happen not to suit.
func rsaWithExponent(bits, exponent int) (*rsa.PrivateKey, error) {
	one, e := big.NewInt(1), big.NewInt(int64(exponent))
	p, err := primeFor(bits-bits/2, e)
	if err != nil {
		return nil, err
	}
	q, err := primeFor(bits/2, e)
	if err != nil {
		return nil, err
	}
	n := new(big.Int).Mul(p, q)
	if n.BitLen() != bits || p.Cmp(q) == 0 {
		return nil, nil
	}
	phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
	key := &rsa.PrivateKey{
		PublicKey: rsa.PublicKey{N: n, E: exponent},
		D:         new(big.Int).ModInverse(e, phi),
		Primes:    []*big.Int{p, q},
	}
	key.Precompute()
	return key, key.Validate()
}

// primeFor returns a prime p with gcd(p-1, e) = 1, for prime e.
func primeFor(bits int, e *big.Int) (*big.Int, error) {
	for {
		p, err := rand.Prime(rand.Reader, bits)
		if err != nil {
			return nil, err
		}
		if new(big.Int).Mod(p, e).Cmp(big.NewInt(1)) != 0 {
			return p, nil
		}
	}
}
