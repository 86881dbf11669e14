package config

import (
	"slices"

	"cygnet/internal/ike"
)

// authentication checks what each end may prove itself by, when defaults have
// been filled in.
func (k *checker) authentication() *Problem {
	for _, s := range k.sides() {
		if p := k.nullAuth(s); p != nil {
			return p
		}
	}
	return nil
}

// nullAuth is about an end that need not say who it is (RFC 7619).
func (k *checker) nullAuth(s side) *Problem {
	if !slices.Contains(s.Auth, ike.AuthNULL) {
		return nil
	}
	named := s.ID.Kind != IdentityUnset && s.ID.Kind != IdentityNull && s.ID.Kind != IdentityAny
	switch {
	case k.Version == 1:
		return k.problem(k.authKey(s), "IKEv1 has no NULL authentication", "leave keyexchange= out")
	case len(s.Auth) == 1 && named:
		return k.problem(s.name+"id", "NULL authentication proves no identity", "leave "+s.name+"id= out")
	case s.Host.Kind == HostAny && len(s.Subnets)+len(s.sets) > 0:
		return k.problem(s.name+"subnet", "with NULL authentication anybody could be the gateway of that net", "leave "+s.name+"subnet= out: the peer's own address is what it may protect")
	}
	return nil
}

// authKey is the parameter that says how an end proves itself.
func (k *checker) authKey(s side) string {
	if k.given(s.name + "auth") {
		return s.name + "auth"
	}
	return "authby"
}
