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
	e := r.private(c)
	if e == nil {
		return nil, fmt.Errorf("%w for %s", ErrNoPrivateKey, show(c.Local.ID))
	}
	sig, err := suite.SignHash(rand.Reader, e.Private.Signer(), hash)
	if err != nil {
		return nil, fmt.Errorf("sign as %s: %w", show(c.Local.ID), err)
	}
	return sig, nil
}
