package esp

import (
	"errors"
	"fmt"
	"io"

	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

// transform is the part of an SA that touches every octet. It is shared by
// all goroutines that use the SA; what they may not share is in the Scratch.
// A batch implementation would add methods here; see the package comment.
type transform interface {
	// seal fills pkt, whose SPI and sequence number are set and whose
	// length is right: IV, encrypted payload and trailer, ICV.
	seal(s *Scratch, pkt, payload []byte, t trailer, seq uint64)
	// open verifies pkt, of at least the smallest length, and decrypts it
	// in place. It reports false, and nothing about pkt, on a bad ICV.
	open(s *Scratch, pkt []byte, seq uint64) bool
}

var (
	errNoEncr  = errors.New("ESP without encryption transform")
	errNothing = errors.New("ESP with neither encryption nor integrity")
	errTwice   = errors.New("an AEAD takes no integrity transform")
)

// newTransform makes the transform of sa and its sizes.
func newTransform(sa ipsec.SA, rand io.Reader) (transform, sizes, error) {
	if sa.ID.Proto != ipsec.ESP {
		return nil, sizes{}, fmt.Errorf("protocol %s is not ESP", sa.ID.Proto)
	}
	encr, err := encrOf(sa)
	if err != nil {
		return nil, sizes{}, err
	}
	integ, err := integOf(sa)
	if err != nil {
		return nil, sizes{}, err
	}
	switch {
	case encr.AEAD && integ != nil:
		return nil, sizes{}, errTwice
	case encr.AEAD:
		return newAEAD(encr, sa)
	case encr.NewBlock == nil && integ == nil:
		return nil, sizes{}, errNothing
	}
	return newCBC(encr, integ, sa, rand)
}

// encrOf returns the encryption algorithm of sa, having checked the length of
// its key.
func encrOf(sa ipsec.SA) (*suite.Encr, error) {
	id := sa.Transform.Encr
	if id == 0 {
		return nil, errNoEncr
	}
	encr := suite.EncrByID(id)
	if encr == nil && id == encrGMAC {
		encr = &gmacEncr
	}
	if encr == nil {
		return nil, fmt.Errorf("encryption transform %d: %w", id, ipsec.ErrUnsupported)
	}
	return encr, checkEncrKey(encr, sa)
}

// integOf returns the integrity algorithm of sa, nil for none, having checked
// the length of its key.
func integOf(sa ipsec.SA) (*suite.Integ, error) {
	if sa.Transform.Integ == 0 {
		return nil, nil
	}
	integ := suite.IntegByID(sa.Transform.Integ)
	if integ == nil {
		return nil, fmt.Errorf("integrity transform %d: %w", sa.Transform.Integ, ipsec.ErrUnsupported)
	}
	if got := sa.IntegKey.Len(); got != integ.Key {
		return nil, fmt.Errorf("%s: integrity key of %d bits, want %d", integ.Name, got*8, integ.Key*8)
	}
	return integ, nil
}

// checkEncrKey compares the key's length with what the transform says and, for
// ciphers of several sizes that leave KeyBits 0, with the sizes that exist.
func checkEncrKey(encr *suite.Encr, sa ipsec.SA) error {
	bits := (sa.EncrKey.Len() - encr.Salt) * 8
	if want := sa.Transform.KeyBits; want != 0 && bits != want {
		return fmt.Errorf("%s: encryption key of %d bits, want %d (and %d of salt)", encr.Name, bits, want, encr.Salt*8)
	}
	if len(encr.KeyBits) == 0 && bits == 0 { // NULL
		return nil
	}
	for _, b := range encr.KeyBits {
		if b == bits {
			return nil
		}
	}
	return fmt.Errorf("%s: encryption key of %d bits, want one of %v (and %d of salt)", encr.Name, bits, encr.KeyBits, encr.Salt*8)
}
