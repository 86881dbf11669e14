// Package keys finds and uses this machine's authentication secrets: shared
// secrets and private keys from ipsec.secrets, and the public keys that the
// configuration binds to peers. Private keys do not leave it; others ask for
// signatures. It reads no files: configuration arrives parsed.
//
// A Ring is shared by the goroutines that run jobs; each method may be called
// from any of them.
package keys

import (
	"crypto"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"

	"cygnet/internal/config"
	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

// Options are a Ring's surroundings. The zero value serves.
type Options struct {
	// Resolve looks up a host name that stands in the index of a secret. It
	// is asked by Set only, once per name. Nil: such names match nobody.
	Resolve func(host string) ([]netip.Addr, error)
	// Note receives what is worth a line in the log. It may be called from
	// any goroutine. Nil: nobody wants to know.
	Note func(text string)
	// SHA1 allows signatures with SHA-1 to peers that announce no hash
	// (method 1 of RFC 7296). A transcript collision then suffices to
	// impersonate us (SLOTH), so it is off unless asked for.
	SHA1 bool
}

// Ring is the store of secrets. It implements ike.KeyStore.
type Ring struct {
	opts  Options
	table atomic.Pointer[[]entry] // nil: empty
	certs atomic.Pointer[Certificates]
	names atomic.Pointer[Names]
}

var _ ike.KeyStore = (*Ring)(nil)

// New returns an empty ring.
func New(opts Options) *Ring {
	if opts.Note == nil {
		opts.Note = func(string) {}
	}
	return &Ring{opts: opts}
}

// Set replaces the whole content at once. A lookup sees the old secrets or the
// new ones, never a part; what was handed out before stays valid. The problems
// are host names that could not be resolved.
func (r *Ring) Set(s *config.Secrets) []config.Problem {
	table := make([]entry, 0, len(s.Entries))
	names := resolver{ask: r.opts.Resolve, known: map[string][]ike.ID{}}
	for _, secret := range s.Entries {
		if secret.Kind == config.SecretPrivate && secret.Private.Signer() == nil {
			continue
		}
		table = append(table, entry{secret, names.index(secret)})
	}
	r.table.Store(&table)
	return names.problems
}

// Len is how many secrets there are.
func (r *Ring) Len() int { return len(r.entries()) }

func (r *Ring) entries() []entry {
	if t := r.table.Load(); t != nil {
		return *t
	}
	return nil
}

// PSK implements ike.KeyStore.
func (r *Ring) PSK(c *ike.Conn, local, remote ike.ID) (ipsec.Secret, error) {
	found := r.find(config.SecretPSK, pair{local, peerOf(c, remote)})
	if found == nil {
		return ipsec.Secret{}, fmt.Errorf("no preshared key found for %s and %s", show(local), show(remote))
	}
	return found.PSK, nil
}

// Errors of Sign, to be tested with errors.Is.
var (
	ErrNoPrivateKey = errors.New("unable to locate my private key for RSA Signature")
	ErrSHA1         = errors.New("the peer announced no hash that the key can sign with, and signing with SHA-1 is not allowed")
)

// Sign implements ike.KeyStore.
func (r *Ring) Sign(c *ike.Conn, octets []byte, hashes []uint16) (ike.Signature, error) {
	key, err := r.signer(c)
	if err != nil {
		return ike.Signature{}, err
	}
	method, data, err := suite.SignDigital(rand.Reader, key, octets, hashes)
	if err != nil {
		return ike.Signature{}, fmt.Errorf("sign as %s: %w", show(c.Local.ID), err)
	}
	if method == suite.MethodRSA && !r.opts.SHA1 {
		return ike.Signature{}, fmt.Errorf("sign as %s: %w", show(c.Local.ID), ErrSHA1)
	}
	return ike.Signature{Method: method, Data: data}, nil
}

// signer chooses the key of c's local end: that of its certificate, if it has
// one, and no other.
func (r *Ring) signer(c *ike.Conn) (crypto.Signer, error) {
	if file := c.Local.Certs.File; file != "" {
		return r.certified(file)
	}
	if e := r.private(c); e != nil {
		return e.Private.Signer(), nil
	}
	return nil, fmt.Errorf("%w for %s", ErrNoPrivateKey, show(c.Local.ID))
}

// private chooses among the entries: the one whose public half the
// configuration names (leftrsasigkey=), else the best.
func (r *Ring) private(c *ike.Conn) *entry {
	table := r.entries()
	for _, k := range c.Local.Keys {
		for i := range table {
			if table[i].Kind == config.SecretPrivate && table[i].publicIs(k.Key) {
				return &table[i]
			}
		}
	}
	return r.find(config.SecretPrivate, pair{c.Local.ID, peerOf(c, c.Remote.ID)})
}

// Public implements ike.KeyStore. Keys are bound to the identity of the
// connection's remote end; for any other there are none.
func (r *Ring) Public(c *ike.Conn, remote ike.ID) ([]ike.PublicKey, error) {
	if !c.Remote.ID.Admits(remote) {
		return nil, fmt.Errorf("connection %s has keys of %s, not of %s", c.Title(), show(c.Remote.ID), show(remote))
	}
	if len(c.Remote.Keys) == 0 && c.Remote.DNS {
		return r.fromDNS(c, remote)
	}
	if len(c.Remote.Keys) == 0 {
		return nil, fmt.Errorf("connection %s has no public key of %s", c.Title(), show(remote))
	}
	return append([]ike.PublicKey(nil), c.Remote.Keys...), nil
}

// show is an identity in text; none at all is %any.
func show(id ike.ID) string {
	if id.IsZero() {
		return "%any"
	}
	return fmt.Sprintf("'%s'", id)
}
