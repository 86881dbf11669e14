package interop

import (
	"strings"
	"testing"
	"time"
)

// v1 makes both ends of a plan speak IKEv1.
func v1(x *parts) {
	x.conf = strings.Replace(x.conf, "\tauth", "\tkeyexchange=ikev1\n\tauth", 1)
	x.swanctl = strings.Replace(x.swanctl, "version = 2", "version = 1", 1)
}

// IKEv1: Main Mode and Quick Mode in both roles, with both ways to prove one's
// identity, with algorithms of today and with those that old peers want.
//
// What charon proposes by itself is one transform, with a group that IKEv1 does
// not have (31); therefore both ends are told.
func TestVersion1(t *testing.T) {
	for _, p := range []struct{ name, kind, ike, esp string }{
		{"psk", "psk", "aes256-sha256-modp2048", "aes256-sha256"},
		{"rsa", "rsa", "aes128-sha256-modp3072", "aes128gcm16"},
		{"psk-aes-sha1", "psk", "aes128-sha1-modp2048", "aes128-sha1"},
		{"psk-3des", "psk", "3des-sha1-modp1536", "3des-sha1"},
	} {
		t.Run(p.name, func(t *testing.T) {
			sides(t, func(t *testing.T, byUs bool) {
				r := start(t, plan{kind: p.kind, ike: p.ike, esp: p.esp, conn: "pfs=no", spoil: v1})
				r.initiate(byUs)
				// As the responder we are the last to have an outbound SA.
				r.within(5*time.Second, "our side up", func() bool {
					return strings.Contains(r.ipsec(0, "auto", "--status"), "IPsec SA established")
				})
				r.traffic()
				if out := r.swanctl("--list-sas"); !strings.Contains(out, "IKEv1") {
					t.Errorf("charon does not speak IKEv1:\n%s", out)
				}
			})
		})
	}
}

// Our default proposals suit a charon that has its own.
func TestVersion1Defaults(t *testing.T) {
	r := start(t, plan{conn: "pfs=no", spoil: v1})
	r.initiate(true)
	r.traffic()
	r.ipsec(0, "auto", "--down", "net")
	r.within(5*time.Second, "charon without SAs", func() bool { return !strings.Contains(r.swanctl("--list-sas"), "ESTABLISHED") })
}
