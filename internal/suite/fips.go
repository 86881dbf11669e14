package suite

import (
	"crypto/fips140"
	"errors"
)

// FIPSOnly is the error of a process that Go lets use nothing but what FIPS 140-3
// approves (GODEBUG=fips140=only): there the other functions panic or fail when
// they are called, and no choice of algorithms keeps IKE away from all of them.
// It needs SHA-1 to find NATs (RFC 7296 section 2.23) whatever ike= says, and
// groups of modular arithmetic are not Go's. So the process is turned away
// before it reads a packet, rather than ended by one. Nil in every other mode.
func FIPSOnly() error {
	if !fips140.Enforced() {
		return nil
	}
	return errors.New("GODEBUG=fips140=only forbids SHA-1, by which IKE finds NATs (RFC 7296 section 2.23), and would end the daemon with the first packet: " +
		"use GODEBUG=fips140=on, and name approved algorithms in ike= and esp=")
}
