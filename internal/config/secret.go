package config

import (
	"crypto"

	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
)

// SecretKind is the class of a secret; lookups never cross classes (R7.9).
type SecretKind uint8

// The classes.
const (
	SecretPSK SecretKind = iota
	SecretPrivate
	SecretEAP
	SecretPPK
)

// Secrets is the content of ipsec.secrets, includes expanded, in file order.
type Secrets struct {
	Entries  []Secret
	Files    []string // every file read, in order
	Errors   []Problem
	Warnings []Problem
}

// Secret is one entry of ipsec.secrets.
type Secret struct {
	Kind  SecretKind
	Index []Index // none: the entry serves every pair
	Where Pos

	PSK ipsec.Secret // SecretPSK

	Private PrivateKey // SecretPrivate: an RSA, ECDSA or Ed25519 key

	Users    []string     // SecretEAP: whose Password it is; Index is not used
	Password ipsec.Secret // SecretEAP

	PPKID string       // SecretPPK: what both ends call it
	PPK   ipsec.Secret // SecretPPK

	// Comment is the text after the bit count of the line that newhostkey
	// writes: host and date. Empty if there is none.
	Comment string
}

// Index is one identity before the colon of an entry.
type Index struct {
	ID   ike.ID // IDNone with Any or Name
	Any  bool   // %any, %any6, 0.0.0.0, ::
	Name string // a host name to be resolved
}

// PrivateKey wraps a signing key so that nothing prints it: the key is behind a
// function, which fmt and encoders cannot look into, whatever field it is in.
type PrivateKey struct{ signer func() crypto.Signer }

// NewPrivateKey wraps key.
func NewPrivateKey(key crypto.Signer) PrivateKey {
	return PrivateKey{func() crypto.Signer { return key }}
}

// Signer returns the key itself; nil if there is none.
func (k PrivateKey) Signer() crypto.Signer {
	if k.signer == nil {
		return nil
	}
	return k.signer()
}
