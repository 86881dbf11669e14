package keys

import (
	"crypto/rand"
	"fmt"

	"cygnet/internal/ike"
	"cygnet/internal/suite"
)

var _ ike.HashSigner = (*Ring)(nil)

// SignHash implements ike.HashSigner: the RSA signature of IKEv1.
func (r *Ring) SignHash(c *ike.Conn, hash []byte) ([]byte, error) {
	key, err := r.signer(c)
	if err != nil {
		return nil, err
	}
	sig, err := suite.SignHash(rand.Reader, key, hash)
	if err != nil {
		return nil, fmt.Errorf("sign as %s: %w", show(c.Local.ID), err)
	}
	return sig, nil
}
