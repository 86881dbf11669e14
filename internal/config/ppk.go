package config

import (
	"errors"
	"fmt"
	"strings"
)

// Post-quantum preshared keys, RFC 8784.

const (
	leastPPK = 32 // octets: section 6 asks for 256 bits
	maxPPKID = 64
)

// ppk reads one of ipsec.secrets, libreswan's form:
//
//	@west @east : PPKS "its name" 0sSecret
func (r *secretsReader) ppk(entry *Secret, tokens []token) bool {
	if len(tokens) < 2 || !tokens[0].quoted {
		r.fail(entry.Where, "PPKS needs a name and a secret", `write : PPKS "its name" 0s…`)
		return false
	}
	name := tokens[0].text
	if name == "" || len(name) > maxPPKID || strings.Contains(name, ",") {
		r.fail(tokens[0].at, fmt.Sprintf("the name of a PPK has 1 to %d octets and no comma", maxPPKID), "")
		return false
	}
	secret := Secret{Where: entry.Where}
	if !r.psk(&secret, tokens[1:]) {
		return false
	}
	if secret.PSK.Len() < leastPPK {
		r.warn(entry.Where, fmt.Sprintf("the PPK has fewer than %d octets, so that a quantum computer may find it", leastPPK), "make one with ipsec ranbits 256")
	}
	entry.Kind, entry.PPKID, entry.PPK = SecretPPK, name, secret.PSK
	return true
}

// ppkIDs is ppk-ids=.
var ppkIDs = field[Conn]{
	parse: func(c *Conn, v value) error {
		c.PPKIDs = nil
		for _, name := range strings.Split(v.text, ",") {
			name = strings.TrimSpace(name)
			if name == "" || len(name) > maxPPKID {
				return errors.New("ppk-ids needs names joined by commas")
			}
			c.PPKIDs = append(c.PPKIDs, name)
		}
		return nil
	},
	print: func(c *Conn) string { return strings.Join(c.PPKIDs, ",") },
}
