package suite

import "testing"

// What an offer is called in ipsec.conf can be read again, and means it.
func TestOfferConf(t *testing.T) {
	for text, want := range map[string]string{
		"aes256-sha2_256-modp2048":          "aes256-sha2_256-modp2048",
		"aes_gcm256-sha2_512-x25519":        "",
		"aes+3des-sha2-dh14":                "",
		"3des-md5-modp1024":                 "3des-md5-modp1024",
		"3des+aes128-md5+sha2_256-modp2048": "aes128-sha2_256-modp2048",
		"chacha20_poly1305-sha2_256-ecp384": "",
		"aes256gcm16-prfsha384-ecp384":      "",
	} {
		list, err := ParseIKE(text)
		if err != nil {
			t.Fatal(err)
		}
		o := list[0].Offer(1, nil)
		got := o.Conf()
		if got == "" || want != "" && got != want || !o.means(got) {
			t.Errorf("%s is called %q", text, got)
		}
	}
	for _, p := range append(append(DefaultIKE(), DefaultESP(true)...), append(DefaultESP(false), FreeSWANIKE()...)...) {
		o := p.Offer(1, nil)
		if got := o.Conf(); got == "" || !o.means(got) {
			t.Errorf("%s is called %q", p, got)
		}
	}
	unknown := Offer{Number: 1, Protocol: ProtoIKE, Transforms: []Transform{{TypeEncr, 999, 128}, {TypePRF, 999, 0}, {TypeKE, 999, 0}}}
	if got := unknown.Conf(); got != "" {
		t.Errorf("unknown algorithms are called %q", got)
	}
}
