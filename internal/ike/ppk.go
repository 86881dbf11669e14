package ike

import (
	"errors"
	"fmt"

	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

// PPKUse is ppk=: what a connection does about post-quantum preshared keys, RFC
// 8784.
type PPKUse uint8

// The values of ppk=.
const (
	PPKNo     PPKUse = iota
	PPKPermit        // used where the peer has it too
	PPKInsist        // nothing without
)

// PPKStore is what a KeyStore is as well if it holds PPKs.
type PPKStore interface {
	// PPK returns that of two identities, by its name, or any if there is none
	// given, with its name.
	PPK(c *Conn, local, remote ID, name string) (string, ipsec.Secret, error)
}

// MixPPK mixes a PPK into the keys of an IKE SA, RFC 8784 section 3; its result
// is a Mixed. The PPK itself never leaves the job.
type MixPPK struct {
	Conn          *Conn
	PRF           *suite.PRF
	Local, Remote ID
	Name          string // as the peer has it; empty: our choice
	D, Pi, Pr     ipsec.Secret
}

// Mixed is the result of MixPPK.
type Mixed struct {
	Name      string
	D, Pi, Pr ipsec.Secret
}

// Run implements Job.
func (j MixPPK) Run(env Env) (any, error) {
	store, ok := env.Keys.(PPKStore)
	if !ok {
		return nil, errors.New("this key store holds no PPK")
	}
	name, ppk, err := store.PPK(j.Conn, j.Local, j.Remote, j.Name)
	if err != nil {
		return nil, err
	}
	if ppk.Len() == 0 {
		return nil, fmt.Errorf("the PPK %q is empty", name)
	}
	// SK_d = prf+ (PPK, SK_d'), and SK_pi and SK_pr likewise.
	mix := func(key ipsec.Secret) ipsec.Secret {
		return ipsec.NewSecret(j.PRF.Plus(ppk.Bytes(), key.Bytes(), key.Len()))
	}
	return Mixed{Name: name, D: mix(j.D), Pi: mix(j.Pi), Pr: mix(j.Pr)}, nil
}

// String implements Job.
func (j MixPPK) String() string { return "mix PPK for " + j.Remote.String() }
