package connection

import (
	"strings"
	"testing"

	"cygnet/internal/suite"
)

// What IKE asks for is what phase2=, auth=, ah=, compress= and pfsgroup= say:
// AH alone (R20.3), and AH beside ESP, which auth=ah means (R20.4). ESP without
// encryption is offered where it is named only (R20.1).
func TestPhase2(t *testing.T) {
	const (
		esp   = "AES_GCM_16_256+AES_GCM_16_128+CHACHA20_POLY1305 AES_CBC_256+AES_CBC_128/HMAC_SHA2_256_128+HMAC_SHA2_384_192+HMAC_SHA2_512_256"
		ah    = "HMAC_SHA2_256_128+HMAC_SHA2_384_192+HMAC_SHA2_512_256"
		oldAH = "HMAC_MD5_96+HMAC_SHA1_96"
	)
	for _, test := range []struct {
		conf    string
		esp, ah string
		words   string // of the policy
	}{
		{"", esp, "", "PSK+ENCRYPT+TUNNEL+PFS"},
		{"compress=yes;pfs=no", esp, "", "PSK+ENCRYPT+COMPRESS+TUNNEL"},
		{"phase2=ah", ah, "", "PSK+AUTHENTICATE+TUNNEL+PFS"},
		{"phase2=ah;phase2alg=sha2_512", "HMAC_SHA2_512_256", "", "PSK+AUTHENTICATE+TUNNEL+PFS"},
		{"ah=sha2_256", "HMAC_SHA2_256_128", "", "PSK+AUTHENTICATE+TUNNEL+PFS"},
		{"keyexchange=ikev1;auth=ah", esp, ah, "PSK+ENCRYPT+AUTHENTICATE+TUNNEL+PFS"},
		{"keyexchange=ikev1;phase2=ah+esp;esp=aes256-sha2;ah=hmac-sha1-96", "AES_CBC_256/HMAC_SHA2_256_128", "HMAC_SHA1_96", "PSK+ENCRYPT+AUTHENTICATE+TUNNEL+PFS"},
		{"legacy=freeswan", "3DES_CBC/HMAC_MD5_96+HMAC_SHA1_96", "", "PSK+ENCRYPT+TUNNEL+PFS"},
		{"legacy=freeswan;phase2=ah", oldAH, "", "PSK+AUTHENTICATE+TUNNEL+PFS"},
		// FreeS/WAN: ESP leaves authentication to AH.
		{"legacy=freeswan;auth=ah;compress=yes", "3DES_CBC", oldAH, "PSK+ENCRYPT+AUTHENTICATE+COMPRESS+TUNNEL+PFS"},
		{"esp=null-sha2_256", "NULL/HMAC_SHA2_256_128", "", "PSK+ENCRYPT+TUNNEL+PFS"},
	} {
		d, err := Orient(parse(t, strings.Split("left=192.0.2.1;right=198.51.100.1;"+test.conf, ";")...), westFacts())
		if err != nil {
			t.Errorf("%s: %v", test.conf, err)
			continue
		}
		if got := algorithms(d.ESP); got != test.esp {
			t.Errorf("%s: offers %q, want %q", test.conf, got, test.esp)
		}
		if got := algorithms(d.AH); got != test.ah {
			t.Errorf("%s: offers %q around it, want %q", test.conf, got, test.ah)
		}
		if got := d.PolicyWords(false); got != test.words {
			t.Errorf("%s: policy %s, want %s", test.conf, got, test.words)
		}
	}
}

// algorithms lists proposals without groups and sequence numbers, each once.
func algorithms(list []suite.Proposal) string {
	var words []string
	for _, p := range suite.WithoutKE(list) {
		p.ESN = nil
		words = append(words, p.String())
	}
	return strings.Join(words, " ")
}

// The groups of PFS are those that a proposal names, else what pfsgroup= says,
// else the IKE SA's.
func TestPFSGroups(t *testing.T) {
	for conf, want := range map[string]string{
		"ike=aes256-sha2-modp2048":                            "MODP_2048",
		"ike=aes256-sha2-modp2048;pfsgroup=dh19":              "ECP_256",
		"esp=aes256-sha2-x25519;pfsgroup=dh19":                "X25519",
		"phase2=ah;pfsgroup=dh19":                             "ECP_256",
		"phase2=ah;pfsgroup=dh19;pfs=no":                      "",
		"legacy=freeswan":                                     "MODP_1536",
		"legacy=freeswan;ike=3des-md5-modp1024;pfsgroup=dh14": "MODP_2048",
		"keyexchange=ikev1;auth=ah;pfsgroup=modp1536":         "MODP_1536",
	} {
		d, err := Orient(parse(t, strings.Split("left=192.0.2.1;right=198.51.100.1;"+conf, ";")...), westFacts())
		if err != nil {
			t.Errorf("%s: %v", conf, err)
			continue
		}
		for _, p := range append(d.ESP, d.AH...) {
			var words []string
			for _, k := range p.KE {
				words = append(words, k.Name)
			}
			if got := strings.ToUpper(strings.Join(words, "+")); got != want {
				t.Errorf("%s: groups %s, want %s", conf, got, want)
			}
		}
	}
}
