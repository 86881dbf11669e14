package suite

import (
	"fmt"
	"io"
)

// secretOctets takes n octets from rand. Every private value of this package
// comes from here, so that a simulation with a seeded reader repeats itself.
func secretOctets(rand io.Reader, n int) ([]byte, error) {
	b := make([]byte, n)
	if _, err := io.ReadFull(rand, b); err != nil {
		return nil, fmt.Errorf("read random octets: %w", err)
	}
	return b, nil
}

// respond is the responder's side of a Diffie-Hellman exchange, in which both
// sides do the same.
func respond(make func(io.Reader) (Private, error)) func(io.Reader, []byte) ([]byte, []byte, error) {
	return func(rand io.Reader, peer []byte) (public, shared []byte, err error) {
		own, err := make(rand)
		if err != nil {
			return nil, nil, err
		}
		shared, err = own.Shared(peer)
		if err != nil {
			return nil, nil, err
		}
		return own.Public(), shared, nil
	}
}

func errPublicSize(name string, got, want int) error {
	return fmt.Errorf("public value of %s has %d octets, not %d", name, got, want)
}
