package ipsec

import (
	"crypto/subtle"
	"fmt"
)

// Secret holds key material. Nothing that prints, logs or marshals it can show
// more than its length; Bytes is the only way to the octets. Copies share the
// octets, so one Wipe clears them all.
type Secret struct{ b []byte }

// NewSecret takes ownership of b.
func NewSecret(b []byte) Secret { return Secret{b} }

// Bytes returns the octets themselves, not a copy.
func (s Secret) Bytes() []byte { return s.b }

// Len returns the number of octets.
func (s Secret) Len() int { return len(s.b) }

// Equal compares in time that depends only on the lengths.
func (s Secret) Equal(t Secret) bool { return subtle.ConstantTimeCompare(s.b, t.b) == 1 }

// Wipe overwrites the octets with zeros.
func (s Secret) Wipe() { clear(s.b) }

// String says how long the secret is.
func (s Secret) String() string { return fmt.Sprintf("secret(%d octets)", len(s.b)) }

// Format implements fmt.Formatter for every verb, so that no flag prints octets.
func (s Secret) Format(f fmt.State, _ rune) { f.Write([]byte(s.String())) }

// MarshalText serves encoding/json, log/slog and every other encoder.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
