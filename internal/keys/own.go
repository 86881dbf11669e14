package keys

import (
	"crypto"

	"cygnet/internal/config"
)

// Own lists the public halves of this machine's private keys, in the order of
// the files: by one of them strangers may know us.
func (r *Ring) Own() []crypto.PublicKey {
	var list []crypto.PublicKey
	for _, e := range r.entries() {
		if e.Kind == config.SecretPrivate {
			list = append(list, e.Private.Signer().Public())
		}
	}
	return list
}
