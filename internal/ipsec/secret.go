package ipsec

import (
	"crypto/subtle"
	"fmt"
)

// Secret holds key material. Nothing that prints, logs or marshals it can show
// more than its length; Bytes is the only way to the octets. Copies share the
// octets, so one Wipe clears them all. The zero value is an empty secret.
type Secret struct {
	// Package fmt does not ask the methods of a value that it finds in an
	// unexported field of something larger, and prints what it sees. Through
	// a pointer to a struct or slice it may still look (%s in a struct does),
	// never through two: of these, it prints the address.
	p **[]byte
}

// NewSecret takes ownership of b.
func NewSecret(b []byte) Secret {
	p := &b
	return Secret{&p}
}

// Bytes returns the octets themselves, not a copy.
func (s Secret) Bytes() []byte {
	if s.p == nil {
		return nil
	}
	return **s.p
}

// Len returns the number of octets.
func (s Secret) Len() int { return len(s.Bytes()) }

// Equal compares in time that depends only on the lengths.
func (s Secret) Equal(t Secret) bool { return subtle.ConstantTimeCompare(s.Bytes(), t.Bytes()) == 1 }

// Wipe overwrites the octets with zeros.
func (s Secret) Wipe() { clear(s.Bytes()) }

// String says how long the secret is.
func (s Secret) String() string { return fmt.Sprintf("secret(%d octets)", s.Len()) }

// Format implements fmt.Formatter for every verb, so that no flag prints octets.
func (s Secret) Format(f fmt.State, _ rune) { f.Write([]byte(s.String())) }

// MarshalText serves encoding/json, log/slog and every other encoder.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
