package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"cygnet/internal/ike"
)

// authentication checks what each end may prove itself by, when defaults have
// been filled in.
func (k *checker) authentication() *Problem {
	for _, s := range k.sides() {
		if p := k.nullAuth(s); p != nil {
			return p
		}
		if p := k.eapAuth(s); p != nil {
			return p
		}
	}
	if k.PPK != ike.PPKNo && (byEAP(&k.Left) || byEAP(&k.Right)) {
		return k.problem("ppk", "a PPK does not go with EAP", "leave ppk= out")
	}
	if k.PPK != ike.PPKNo && k.Version == 1 {
		return k.problem("ppk", "IKEv1 has no PPK", "leave keyexchange= out")
	}
	if k.SendRedirect != k.RedirectTo.IsValid() {
		return k.problem("send-redirect", "send-redirect= and redirect-to= need each other", "give both, or neither")
	}
	if (k.SendRedirect || k.AcceptRedirect) && k.Version == 1 {
		return k.problem("send-redirect", "IKEv1 has no redirect", "leave keyexchange= out")
	}
	if k.TFC != 0 && k.Version == 1 {
		return k.problem("tfc", "an IKEv1 peer cannot say whether it takes padding", "leave keyexchange= out")
	}
	if k.EAPIdentity != "" && !byEAP(&k.Left) && !byEAP(&k.Right) {
		return k.problem("eap_identity", "neither end proves itself by EAP", "write leftauth=eap-mschapv2, or leave it out")
	}
	return nil
}

func byEAP(e *End) bool { return slices.ContainsFunc(e.Auth, ike.AuthMethod.EAP) }

// eapAuth is about an end that proves itself by EAP. The other end must be known
// before, by a public key (RFC 7296, 2.16): whoever asks for a password learns
// enough to guess it. Only EAP-TLS proves both ends (RFC 5998, 4).
func (k *checker) eapAuth(s side) *Problem {
	if !byEAP(s.End) {
		return nil
	}
	tls := []ike.AuthMethod{ike.AuthEAPTLS}
	switch {
	case k.Version == 1:
		return k.problem(k.authKey(s), "IKEv1 has no EAP", "leave keyexchange= out")
	case slices.Equal(s.Auth, tls) && slices.Equal(s.other.Auth, tls):
		return nil
	case byEAP(s.other):
		return k.problem(k.authKey(s), "EAP cannot prove both ends, except that both say eap-tls", "the gateway's auth=pubkey")
	case !slices.Equal(s.other.Auth, []ike.AuthMethod{ike.AuthPubkey}):
		return k.problem(k.authKey(s), "an end that asks for EAP must prove itself by a public key", "auth=pubkey at the other end")
	}
	return nil
}

// nullAuth is about an end that need not say who it is (RFC 7619).
func (k *checker) nullAuth(s side) *Problem {
	if !slices.Contains(s.Auth, ike.AuthNULL) {
		return nil
	}
	net := ""
	switch {
	case len(s.Within) > 0:
		net = s.name + "subnetwithin"
	case len(s.Subnets)+len(s.sets) > 0:
		net = s.name + "subnet"
	}
	named := s.ID.Kind != IdentityUnset && s.ID.Kind != IdentityNull && s.ID.Kind != IdentityAny
	switch {
	case k.Version == 1:
		return k.problem(k.authKey(s), "IKEv1 has no NULL authentication", "leave keyexchange= out")
	case len(s.Auth) == 1 && named:
		return k.problem(s.name+"id", "NULL authentication proves no identity", "leave "+s.name+"id= out")
	case s.Host.Kind == HostAny && net != "":
		return k.problem(net, "with NULL authentication anybody could be the gateway of that net", "leave "+net+"= out: the peer's own address is what it may protect")
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

// AnyName is eap_identity=%any.
const AnyName = "%any"

const maxEAPName = 253 // RFC 4282, 2.2

var eapIdentity = field[Conn]{
	parse: func(c *Conn, v value) error {
		name := v.text
		switch {
		case name == "%identity":
			name = AnyName
		case name == "":
			return errors.New("eap_identity without a name")
		case len(name) > maxEAPName:
			return fmt.Errorf("eap_identity is longer than %d octets", maxEAPName)
		case strings.HasPrefix(name, "%") && name != AnyName:
			return fmt.Errorf("illegal eap_identity value %q", name)
		}
		c.EAPIdentity = strings.TrimPrefix(name, "@")
		return nil
	},
	print: func(c *Conn) string { return c.EAPIdentity },
}
