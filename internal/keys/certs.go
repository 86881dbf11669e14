package keys

import (
	"crypto"
	"errors"
	"fmt"
	"slices"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/pki"
)

// Certificates are what a Ring knows of X.509. The zero value: nothing.
type Certificates struct {
	Store     *pki.Store
	Strict    pki.Strict  // strictcrlpolicy=
	NoRequest bool        // nocrsend=
	Fetch     pki.Fetcher // nil: nothing is fetched
	// Lists and Responders say whether CRLs and OCSP responders that only
	// certificates name are asked (crlcheckinterval=, ocsp-enable=).
	Lists, Responders bool
}

// maxFetches is how much one authentication may have fetched.
const maxFetches = 4

var _ ike.CertStore = (*Ring)(nil)

// SetCertificates replaces what is known of certificates at once, as Set does
// for secrets.
func (r *Ring) SetCertificates(c Certificates) { r.certs.Store(&c) }

var noCertificates = Certificates{Store: &pki.Store{}}

func (r *Ring) certificates() *Certificates {
	if c := r.certs.Load(); c != nil && c.Store != nil {
		return c
	}
	return &noCertificates
}

// Certified implements ike.CertStore.
func (r *Ring) Certified(c *ike.Conn, remote ike.ID, certs []ike.Cert, now time.Time, holds func(crypto.PublicKey) error) (ike.Certified, error) {
	if id := c.Remote.ID; !id.Admits(remote) || !id.IsZero() && !id.Wild() && !pki.Same(id, remote) {
		return ike.Certified{}, fmt.Errorf("connection %s is for %s, not for %s", c.Title(), show(c.Remote.ID), show(remote))
	}
	x := r.certificates()
	var leaf *pki.Leaf
	var err error
	if c.Remote.Certs.File != "" {
		if leaf, err = x.Store.Pinned(now, c.Remote.Certs.File, remote); err == nil {
			err = holds(leaf.Key)
		}
	} else {
		leaf, err = r.chained(x, c, remote, certs, now, holds)
	}
	if err != nil {
		return ike.Certified{}, err
	}
	return ike.Certified{Key: leaf.Key, Origin: leaf.String(), Issuer: leaf.Issuer, Until: leaf.Until, Chain: leaf.Chain, Warnings: leaf.Warnings}, nil
}

// chained is for a certificate that a CA of ours vouches for. The peer must
// have shown that it holds the key before anything is fetched on its behalf:
// anybody can send somebody else's certificate.
func (r *Ring) chained(x *Certificates, c *ike.Conn, remote ike.ID, certs []ike.Cert, now time.Time, holds func(crypto.PublicKey) error) (*pki.Leaf, error) {
	ca, err := x.constraint(c)
	if err != nil {
		return nil, err
	}
	path, err := x.Store.Chain(now, certs, remote, ca)
	if err != nil {
		return nil, err
	}
	if err := holds(path.Key()); err != nil {
		return nil, fmt.Errorf("signature check on %s by the key of its certificate: %w", remote, err)
	}
	return path.Leaf(r.refresh(x, path, now), now, x.Strict)
}

// constraint is rightca=.
func (x *Certificates) constraint(c *ike.Conn) (ike.ID, error) {
	if !c.Remote.Certs.SameCA {
		return c.Remote.Certs.CA, nil
	}
	ca, ok := x.Store.Issuer(c.Local.Certs.File)
	if !ok {
		return ike.ID{}, fmt.Errorf("connection %s wants a certificate of the CA that issued ours, but has none of ours", c.Title())
	}
	return ca, nil
}

// refresh fetches what is missing about a chain, keeps it for others, and
// returns the store that knows it.
func (r *Ring) refresh(x *Certificates, path *pki.Path, now time.Time) *pki.Store {
	if x.Fetch == nil {
		return x.Store
	}
	store := x.Store
	asked := 0
	for _, f := range path.Wanted(store, now) {
		if asked == maxFetches || !x.may(f) {
			continue
		}
		asked++
		answer, err := x.Fetch.Fetch(f)
		if err == nil {
			store, err = keep(f, store, now, answer)
		}
		if err != nil {
			r.opts.Note(fmt.Sprintf("fetch %q: %v", f.URI, err))
		}
	}
	if store != x.Store {
		more := *x
		more.Store = store
		r.certs.CompareAndSwap(x, &more) // somebody who was faster knows better
	}
	return store
}

// may reports whether something is to be fetched at all.
func (x *Certificates) may(f pki.Fetch) bool {
	return f.Configured || f.OCSP() && x.Responders || !f.OCSP() && x.Lists
}

// Refresh fetches the CRLs that ca sections name, whether or not the last ones
// are still valid. It reports whether it learned of any.
func (r *Ring) Refresh(now time.Time) bool {
	x := r.certificates()
	if x.Fetch == nil {
		return false
	}
	news := false
	for _, f := range x.Store.Lists() {
		answer, err := x.Fetch.Fetch(f)
		if err == nil {
			news = r.learn(func(s *pki.Store) (*pki.Store, error) { return f.Add(s, now, answer) }, &err) || news
		}
		if err != nil {
			r.opts.Note(fmt.Sprintf("fetch %q: %v", f.URI, err))
		}
	}
	return news
}

// learn changes the store under the eyes of others who may change it too.
func (r *Ring) learn(add func(*pki.Store) (*pki.Store, error), failed *error) bool {
	for {
		x := r.certs.Load()
		if x == nil {
			return false
		}
		store, err := add(x.Store)
		if err != nil {
			*failed = err
			return false
		}
		more := *x
		more.Store = store
		if r.certs.CompareAndSwap(x, &more) {
			return true
		}
	}
}

// Store is what is known of certificates; never nil.
func (r *Ring) Store() *pki.Store { return r.certificates().Store }

// HasPrivate reports whether we have the private key of a certificate.
func (r *Ring) HasPrivate(name string) bool {
	_, err := r.certified(name)
	return err == nil
}

// keep is f.Add, which leaves the store as it is if it fails.
func keep(f pki.Fetch, store *pki.Store, now time.Time, answer []byte) (*pki.Store, error) {
	more, err := f.Add(store, now, answer)
	if err != nil {
		return store, err
	}
	return more, nil
}

// Certificates implements ike.CertStore.
func (r *Ring) Certificates(c *ike.Conn, asked []ike.CertRequest) []ike.Cert {
	return r.certificates().Store.Certificates(c.Local.Certs.File, c.Local.Certs.Send, asked)
}

// Authorities implements ike.CertStore.
func (r *Ring) Authorities(c *ike.Conn) ([]byte, bool) {
	x := r.certificates()
	switch {
	case x.NoRequest:
		return nil, false
	case c == nil:
		return x.Store.Authorities(ike.ID{})
	case !c.Remote.Certs.Accept || c.Remote.Certs.File != "":
		return nil, false
	}
	ca, err := x.constraint(c)
	if err != nil {
		return nil, false
	}
	return x.Store.Authorities(ca)
}

// AuthorityV1 is what Authorities is for IKEv1, whose CERTREQ payload has the
// name of one CA, or nothing for any (RFC 2408 section 3.10).
func (r *Ring) AuthorityV1(c *ike.Conn) (name []byte, ok bool) {
	if _, ok := r.Authorities(c); !ok {
		return nil, false
	}
	ca, err := r.certificates().constraint(c)
	if err != nil || ca.IsZero() {
		return nil, err == nil
	}
	return []byte(ca.Data), true
}

// ErrNoKeyOfCertificate is Sign's error where the certificate that leftcert=
// names has no private key.
var ErrNoKeyOfCertificate = errors.New("unable to locate the private key of my certificate")

// certified finds the private key of the certificate that leftcert= names, in
// ipsec.secrets or ipsec.d/private.
func (r *Ring) certified(file string) (crypto.Signer, error) {
	store := r.certificates().Store
	cert := store.Certificate(file)
	if cert == nil {
		return nil, fmt.Errorf("%w: there is no certificate %q in ipsec.d/certs", ErrNoKeyOfCertificate, file)
	}
	table := r.entries()
	i := slices.IndexFunc(table, func(e entry) bool { return e.Private.Signer() != nil && e.publicIs(cert.PublicKey) })
	if i >= 0 {
		return table[i].Private.Signer(), nil
	}
	if key, ok := store.PrivateKey(cert.PublicKey); ok {
		return key, nil
	}
	return nil, fmt.Errorf("%w %q: put its key file into ipsec.d/private, or name that in ipsec.secrets", ErrNoKeyOfCertificate, file)
}
