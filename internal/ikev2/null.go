package ikev2

import (
	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
)

// NULL authentication, RFC 7619: an end that does not say who it is. Its AUTH
// payload ties IKE_AUTH to the key exchange before it, and proves nothing else.

// identityOf is who a peer is to our policy. One that proves nothing is ID_NULL
// whatever it calls itself: RFC 7619 section 2.2 forbids to act on the name.
func identityOf(claimed ike.ID, m ike.AuthMethod) ike.ID {
	if m == ike.AuthNULL {
		return ike.ID{Kind: ike.IDNULL}
	}
	return claimed
}

// nullSecret is what stands for the shared secret in NULL authentication: the
// SK_p of who makes AUTH (section 2.1). The copy belongs to the job, which may
// outlive the keys of the machine.
func (s *SA) nullSecret(m ike.AuthMethod, p ipsec.Secret) ipsec.Secret {
	if m != ike.AuthNULL {
		return ipsec.Secret{}
	}
	return ipsec.NewSecret(clone(p.Bytes()))
}
