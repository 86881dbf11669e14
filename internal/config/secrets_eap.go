package config

import (
	"fmt"

	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
)

// eap reads the password of users, strongSwan's form:
//
//	carol : EAP "the password"
func (r *secretsReader) eap(entry *Secret, tokens []token) bool {
	switch {
	case len(tokens) == 0:
		r.fail(entry.Where, "EAP without a password", "")
		return false
	case !tokens[0].quoted:
		r.fail(tokens[0].at, "the password is not in quotes", `write NAME : EAP "the password"`)
		return false
	case len(tokens) > 1:
		r.fail(tokens[1].at, "unexpected text after the password", "a password cannot contain its own quote")
		return false
	case tokens[0].text == "":
		r.fail(tokens[0].at, "the password is empty", "")
		return false
	case len(tokens[0].text) > maxPSK:
		r.fail(tokens[0].at, fmt.Sprintf("the password is longer than %d octets", maxPSK), "")
		return false
	}
	for _, i := range entry.Index {
		switch {
		case i.Any:
			r.fail(entry.Where, "a password of everybody proves nobody", `write NAME : EAP "the password"`)
			return false
		case i.Name != "":
			entry.Users = append(entry.Users, i.Name)
		default:
			entry.Users = append(entry.Users, ike.UserName(i.ID))
		}
	}
	if len(entry.Users) == 0 {
		r.fail(entry.Where, "a password needs the name of its user", `write NAME : EAP "the password"`)
		return false
	}
	entry.Kind, entry.Index = SecretEAP, nil
	entry.Password = ipsec.NewSecret([]byte(tokens[0].text))
	return true
}
