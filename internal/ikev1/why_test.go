package ikev1

import (
	"strings"
	"testing"

	"cygnet/internal/ike"
	"cygnet/internal/ikev1/wire"
	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

// A responder's refusals say in what the two sides differ, as IKEv2's do.
func TestMismatch(t *testing.T) {
	ours := func(ikeText, espText string) *ike.Conn {
		c := &ike.Conn{Name: "net", Version: ike.Version1}
		c.Local.Auth, c.Remote.Auth = []ike.AuthMethod{ike.AuthPSK}, []ike.AuthMethod{ike.AuthPSK}
		var err error
		if c.IKE, err = suite.ParseIKE(ikeText); err != nil {
			t.Fatal(err)
		}
		if c.ESP, err = suite.ParseESP(espText); err != nil {
			t.Fatal(err)
		}
		return c
	}
	us := ours("aes128-sha2_256-modp2048", "aes128-sha2_256-modp2048")
	for _, x := range []struct{ theirs, differs string }{
		{"aes256-sha2_256-modp2048", "encryption: ours AES_CBC_128, theirs AES_CBC_256"},
		{"aes128-sha2_512-modp2048", "integrity: ours HMAC_SHA2_256_128, theirs HMAC_SHA2_512_256; PRF: ours PRF_HMAC_SHA2_256, theirs PRF_HMAC_SHA2_512"},
		{"aes128-sha2_256-modp4096", "key exchange: ours MODP_2048, theirs MODP_4096"},
		{"aes128-sha2_256-modp2048", ""},
	} {
		m := mismatch1([]*ike.Conn{us}, offers1(ours(x.theirs, "aes128-sha1")))
		if x.differs == "" {
			if m != nil {
				t.Errorf("%s: %v", x.theirs, m)
			}
			continue
		}
		if m == nil || !strings.HasSuffix(m.Error(), x.differs) {
			t.Errorf("%s: %v", x.theirs, m)
		}
	}
	if m := mismatch1(nil, nil); m != nil {
		t.Error(m)
	}
	for _, x := range []struct {
		theirs  string
		pfs     bool // theirs; ours is yes
		differs string
	}{
		{"aes256-sha2_256-modp2048", true, "encryption: ours AES_CBC_128, theirs AES_CBC_256"},
		{"aes128-sha2_256-modp4096", true, "key exchange: ours MODP_2048, theirs MODP_4096"},
		{"aes128-sha2_256-modp2048", false, "key exchange: ours MODP_2048, theirs none"},
		{"aes128-sha2_256-modp2048", true, ""},
	} {
		us.PFS = true
		them := ours("aes128-sha2_256-modp2048", x.theirs)
		terms := terms{mode: ipsec.Tunnel}
		if x.pfs {
			terms.group = them.ESP[0].KE[0]
		}
		transform := (&SA{}).transform2(1, ipsec.ESP, choices(them, ipsec.ESP)[0], terms)
		sa := wire.SA{Proposals: []wire.Proposal{{Number: 1, Protocol: wire.ProtoESP, Transforms: []wire.Transform{transform}}}}
		if m := mismatch2(us, sa); x.differs == "" && m != nil || x.differs != "" && (m == nil || !strings.HasSuffix(m.Error(), x.differs)) {
			t.Errorf("%s, PFS %v: %v", x.theirs, x.pfs, m)
		}
	}
}
