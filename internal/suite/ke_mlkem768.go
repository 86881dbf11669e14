package suite

import (
	"crypto/mlkem"
	"crypto/mlkem/mlkemtest"
	"fmt"
	"io"
)

// ML-KEM-768, FIPS 203, with the transform ID of draft-ietf-ipsecme-ikev2-mlkem.
// As a KEM it is not symmetric: the initiator sends an encapsulation key, the
// responder a ciphertext. It is meant as an additional key exchange (RFC 9370)
// after a classical one, as DefaultIKEv2 has it.
var mlkem768 = KE{
	ID: 36, Name: "ml_kem_768",
	Conf:   []string{"mlkem768", "ml_kem_768"},
	Public: mlkem.EncapsulationKeySize768, Answer: mlkem.CiphertextSize768,
	New: newMLKEM768, Respond: respondMLKEM768,
}

type mlkem768Private struct{ key *mlkem.DecapsulationKey768 }

func newMLKEM768(rand io.Reader) (Private, error) {
	seed, err := secretOctets(rand, mlkem.SeedSize)
	if err != nil {
		return nil, err
	}
	key, err := mlkem.NewDecapsulationKey768(seed)
	if err != nil {
		return nil, err
	}
	return mlkem768Private{key}, nil
}

func (p mlkem768Private) Public() []byte { return p.key.EncapsulationKey().Bytes() }

// Shared decapsulates. A forged ciphertext of the right length gives a secret
// that nobody knows, not an error (FIPS 203, implicit rejection).
func (p mlkem768Private) Shared(peer []byte) ([]byte, error) {
	if len(peer) != mlkem.CiphertextSize768 {
		return nil, errPublicSize("ml_kem_768", len(peer), mlkem.CiphertextSize768)
	}
	return p.key.Decapsulate(peer)
}

func respondMLKEM768(rand io.Reader, peer []byte) (public, shared []byte, err error) {
	// NewEncapsulationKey768 makes the modulus check of FIPS 203, 7.2.
	ek, err := mlkem.NewEncapsulationKey768(peer)
	if err != nil {
		return nil, nil, fmt.Errorf("public value of ml_kem_768: %w", err)
	}
	m, err := secretOctets(rand, 32)
	if err != nil {
		return nil, nil, err
	}
	// The library draws m itself in Encapsulate; the form for known answers
	// takes it from us. With m from the system's generator both are
	// ML-KEM.Encaps of FIPS 203, 7.2, and this one can be simulated.
	shared, public, err = mlkemtest.Encapsulate768(ek, m)
	return public, shared, err
}
