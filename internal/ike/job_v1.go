package ike

import (
	"crypto"
	"errors"
	"fmt"
	"time"

	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

// HashSigner is what a KeyStore must also be for IKEv1, whose signatures cover
// a hash that is signed as it stands (RFC 2409 section 5.1).
type HashSigner interface {
	// SignHash signs with the RSA private key of c's local end.
	SignHash(c *Conn, hash []byte) ([]byte, error)
}

// SharedKeyV1 makes SKEYID of IKEv1 from a pre-shared key, RFC 2409 section
// 5.4: prf(pre-shared-key, Ni_b | Nr_b). Its result is an ipsec.Secret; the
// pre-shared key itself never leaves the job.
type SharedKeyV1 struct {
	Conn    *Conn
	PRF     *suite.PRF
	Local   ID
	Remotes []ID // under which to look for the key, the first that has one counts
	Ni, Nr  []byte
}

// Run implements Job.
func (j SharedKeyV1) Run(env Env) (any, error) {
	var err error
	for _, remote := range j.Remotes {
		var psk ipsec.Secret
		if psk, err = env.Keys.PSK(j.Conn, j.Local, remote); err == nil {
			if psk.Len() == 0 {
				return nil, fmt.Errorf("the pre-shared key for %s and %s is empty", j.Local, remote)
			}
			return ipsec.NewSecret(j.PRF.Sum(psk.Bytes(), j.Ni, j.Nr)), nil
		}
	}
	if err == nil {
		err = errors.New("nobody to share a key with")
	}
	return nil, err
}

// String implements Job.
func (j SharedKeyV1) String() string { return "shared key of " + j.Local.String() }

// ProveV1 makes the content of our SIG payload, RFC 2409 section 5.1; its
// result is a Signature without a Method.
type ProveV1 struct {
	Conn  *Conn
	Hash  []byte // HASH_I or HASH_R
	Asked bool   // the peer wants a certificate, whoever issued it
}

// Run implements Job.
func (j ProveV1) Run(env Env) (any, error) {
	s, ok := env.Keys.(HashSigner)
	if !ok {
		return nil, errors.New("this key store cannot sign for IKEv1")
	}
	data, err := s.SignHash(j.Conn, j.Hash)
	if err != nil {
		return nil, err
	}
	sig := Signature{Data: data}
	if certs, ok := env.Keys.(CertStore); ok {
		var asked []CertRequest
		if j.Asked {
			asked = []CertRequest{{Encoding: CertX509}}
		}
		sig.Certs = certs.Certificates(j.Conn, asked)
	}
	return sig, nil
}

// String implements Job.
func (j ProveV1) String() string { return "prove " + j.Conn.Local.ID.String() + " (IKEv1)" }

// ErrWrongKey is VerifyV1's error when no key that is known makes that
// signature.
var ErrWrongKey = errors.New("wrong key?")

// VerifyV1 checks the peer's SIG payload; its result is a Verified. Keys of
// 1024 bits and more will do: shorter than 2048 they only get into a connection
// that says legacy=freeswan.
type VerifyV1 struct {
	Conn      *Conn
	Hash      []byte // HASH_I or HASH_R, as we compute it
	Remote    ID
	Signature []byte
	Certs     []Cert    // the peer's CERT payloads
	Now       time.Time // the wall clock, for the validity of certificates
}

// Run implements Job.
func (j VerifyV1) Run(env Env) (any, error) {
	policy := suite.SignaturePolicy{ShortRSA: true}
	check := func(key crypto.PublicKey) error { return policy.VerifyHash(key, j.Hash, j.Signature) }
	v, err := j.byKey(env.Keys, check)
	if err != nil {
		v, err = signed{j.Conn, j.Remote, j.Certs, j.Now}.byCert(env.Keys, check, err)
	}
	return v, err
}

func (j VerifyV1) byKey(keys KeyStore, check func(crypto.PublicKey) error) (Verified, error) {
	public, err := keys.Public(j.Conn, j.Remote)
	if err != nil || len(public) == 0 {
		return Verified{}, fmt.Errorf("no RSA public key known for '%s'", j.Remote)
	}
	for _, k := range public {
		if err = check(k.Key); err == nil {
			return Verified{peer: j.Remote, ok: true, How: k.Origin}, nil
		}
	}
	return Verified{}, fmt.Errorf("%w; tried %d: %w", ErrWrongKey, len(public), err)
}

// String implements Job.
func (j VerifyV1) String() string { return "verify " + j.Remote.String() + " (IKEv1)" }
