package ike

import (
	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

// Detail is what a machine knows of both sides of a failure, for `ipsec why`.
// What did not matter is zero.
type Detail struct {
	// Algorithms are those that the two sides have not in common.
	Algorithms *suite.Mismatch
	// Ours is what the nearest of our connections protects, Theirs what the peer
	// asked for, both seen from here.
	Ours, Theirs TSPair
	// Expected are the identities that connections with this peer's address
	// have for it, Declared is the one it gave.
	Expected []ID
	Declared ID
}

// TSPair is what a Child SA is to protect.
type TSPair struct{ Local, Remote []ipsec.TS }
