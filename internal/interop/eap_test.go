package interop

import (
	"strings"
	"testing"

	"cygnet/internal/pki/pkitest"
)

// eapPlan makes the end that initiates prove itself by a method of EAP. ours and
// theirs are the lines that say so; secrets are those of both ends.
func eapPlan(t *testing.T, a *authority, byUs bool, method string, options ...string) plan {
	return a.certified(t, plan{options: options, spoil: func(x *parts) {
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

// Certificates inside EAP, by both versions of TLS.
func TestEAPTLS(t *testing.T) {
	a := newAuthority(t, pkitest.P256)
	for _, version := range []string{"1.2", "1.3"} {
		t.Run(version, func(t *testing.T) {
			sides(t, func(t *testing.T, byUs bool) {
				r := start(t, eapPlan(t, a, byUs, "tls", "tls {", "version_min = "+version, "version_max = "+version, "}"))
				r.initiate(byUs)
				r.traffic()
			})
		})
	}
}
