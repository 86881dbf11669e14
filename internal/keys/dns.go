package keys

import (
	"fmt"

	"cygnet/internal/ike"
)

// Names finds the keys that the DNS has for an identity. It may take its time.
type Names interface {
	KeysOf(id ike.ID) ([]ike.PublicKey, error)
}

// SetNames says who is asked for keys where a connection leaves them to the DNS
// (leftrsasigkey=%dnsondemand, freeswan.md R5.4). Nil: nobody.
func (r *Ring) SetNames(n Names) {
	if n == nil {
		r.names.Store(nil)
		return
	}
	r.names.Store(&n)
}

// fromDNS are the keys that the DNS has for the remote end of c.
func (r *Ring) fromDNS(c *ike.Conn, remote ike.ID) ([]ike.PublicKey, error) {
	n := r.names.Load()
	if n == nil {
		return nil, fmt.Errorf("connection %s has no public key of %s, and the DNS is not asked", c.Title(), show(remote))
	}
	found, err := (*n).KeysOf(remote)
	if err != nil {
		return nil, fmt.Errorf("connection %s has no public key of %s, and the DNS has none to use: %w", c.Title(), show(remote), err)
	}
	return found, nil
}
