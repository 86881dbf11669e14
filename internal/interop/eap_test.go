package interop

import (
	"strings"
	"testing"

	"cygnet/internal/pki/pkitest"
)

// eapPlan makes the end that initiates prove itself by a method of EAP. ours and
// theirs are the lines that say so; secrets are those of both ends.
func eapPlan(t *testing.T, a *authority, byUs bool, method string) plan {
	return a.certified(t, plan{spoil: func(x *parts) {
		ours, theirs := "leftauth=pubkey rightauth=eap-"+method, "local"
		if byUs {
			ours, theirs = "rightauth=pubkey leftauth=eap-"+method, "remote"
		}
		auth := "auth = eap-" + method
		if method == "mschapv2" {
			ours += " eap_identity=carol"
			auth += "\n\t\t\teap_id = carol"
			x.secrets += "carol : EAP \"Ar3etTnp01qlpOgb\"\n"
			x.swanctl = strings.Replace(x.swanctl, "secrets {", "secrets {\n\teap-carol {\n\t\tid = carol\n\t\tsecret = Ar3etTnp01qlpOgb\n\t}", 1)
		}
		x.conf = strings.Replace(x.conf, "\tauthby=rsasig\n", lines(ours), 1)
		head, tail, _ := strings.Cut(x.swanctl, theirs+" {")
		x.swanctl = head + theirs + " {" + strings.Replace(tail, "auth = pubkey", auth, 1)
	}})
}

// Passwords, with strongSwan as the gateway and as the road warrior.
func TestEAPMSCHAPv2(t *testing.T) {
	a := newAuthority(t, pkitest.P256)
	sides(t, func(t *testing.T, byUs bool) {
		r := start(t, eapPlan(t, a, byUs, "mschapv2"))
		r.initiate(byUs)
		r.traffic()
	})
}

// Certificates inside EAP. strongSwan 5.9 has TLS 1.2 for that, without the
// extended master secret; its TLS 1.3 ends in a crash.
func TestEAPTLS(t *testing.T) {
	a := newAuthority(t, pkitest.P256)
	sides(t, func(t *testing.T, byUs bool) {
		r := start(t, eapPlan(t, a, byUs, "tls"))
		r.initiate(byUs)
		r.traffic()
	})
}

// Both ends by EAP-TLS, and no other proof (RFC 5998).
func TestEAPOnly(t *testing.T) {
	a := newAuthority(t, pkitest.RSA2048)
	sides(t, func(t *testing.T, byUs bool) {
		r := start(t, a.certified(t, plan{spoil: func(x *parts) {
			x.conf = strings.Replace(x.conf, "\tauthby=rsasig\n", "\tauthby=eap-tls\n", 1)
			x.swanctl = strings.ReplaceAll(x.swanctl, "auth = pubkey", "auth = eap-tls")
		}}))
		r.initiate(byUs)
		r.traffic()
	})
}

// A wrong password is refused, and each end says so.
func TestEAPRefused(t *testing.T) {
	a := newAuthority(t, pkitest.P256)
	sides(t, func(t *testing.T, byUs bool) {
		p := eapPlan(t, a, byUs, "mschapv2")
		spoil := p.spoil
		p.spoil = func(x *parts) {
			spoil(x)
			x.secrets = strings.Replace(x.secrets, "Ar3etTnp", "ar3etTnp", 1)
		}
		why := "wrong password"
		if byUs {
			why = "the server refuses"
		}
		start(t, p).refused(byUs, why)
	})
}
