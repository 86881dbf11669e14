package oe

import (
	"cygnet/internal/octet"
)

// Fields of a KEY record that is about IPsec, opportunistic.md 7.4.
const (
	keyProtocolIPsec = 4
	keyAlgorithmRSA  = 1
	keyFlagsBad      = 0x8000 | 0x2cf0 // may not authenticate, or bits that RFC 2535 reserves
	keyFlagsHost     = 0x4200          // authenticates only, and belongs to a host
)

// parseKEY reads a KEY record of a host. RFC 3445 took this use away in 2002;
// it is read where oe-legacy-key=yes asks for it.
func parseKEY(rdata []byte, maxRSA int) (Record, error) {
	r := octet.NewReader(rdata)
	flags, protocol, alg := r.Uint16(), r.Uint8(), r.Uint8()
	field := r.Rest()
	if r.Err() != nil || protocol != keyProtocolIPsec || alg != keyAlgorithmRSA || flags&keyFlagsBad != 0 {
		return Record{}, ErrForeign
	}
	key, err := parseRSA(field, maxRSA)
	return Record{Type: TypeKEY, Key: key}, err
}
