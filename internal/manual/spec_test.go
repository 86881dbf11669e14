package manual

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"cygnet/internal/ipsec"
	"cygnet/internal/rawkey"
)

func secret(t *testing.T, text string) ipsec.Secret {
	t.Helper()
	if text == "" {
		return ipsec.Secret{}
	}
	b, err := rawkey.Data(text)
	if err != nil {
		t.Fatal(err)
	}
	return ipsec.NewSecret(b)
}

// P1 to P5 of freeswan.md 4.9.
func TestSpec(t *testing.T) {
	good := func() Spec {
		return Spec{ID: id(t, "esp0x200@198.51.100.1"), Src: west, ESP: "3des-md5-96", EncKey: secret(t, key192), AuthKey: secret(t, key128)}
	}
	ours := func(a netip.Addr) bool { return a == west }
	sa, err := good().SA(ours)
	if err != nil || sa.Transform.Encr != 3 || sa.Transform.Integ != 1 || sa.Dir != ipsec.Out || sa.Replay != 0 {
		t.Fatalf("%+v, %v", sa.Transform, err)
	}
	for _, tc := range []struct {
		name   string
		change func(*Spec)
		want   string
	}{
		{"short key", func(s *Spec) { s.EncKey = secret(t, key128) }, "encryption: key of 128 bits, but 3des_cbc needs 192"},
		{"no integrity key", func(s *Spec) { s.AuthKey = ipsec.Secret{} }, "authentication: no key, but hmac_md5_96 needs one of 128 bits"},
		{"other protocol", func(s *Spec) { s.ID.Proto = ipsec.AH }, "the transform is one of esp"},
		{"no transform", func(s *Spec) { s.ESP = "" }, "the transform is one of tun"},
		{"other family", func(s *Spec) { s.Src = netip.MustParseAddr("2001:db8::1") }, "one family"},
		{"replay", func(s *Spec) { s.Replay = 65 }, "0 to 64"},
		{"NULL without integrity", func(s *Spec) { s.ESP, s.EncKey, s.AuthKey = "null", ipsec.Secret{}, ipsec.Secret{} }, "that protects nothing"},
		{"unknown compression", func(s *Spec) { s.ESP, s.Comp, s.ID.Proto = "", "lzs", ipsec.Comp }, "there is deflate"},
		{"life", func(s *Spec) { s.Life = "hard-usetime=7" }, "there are soft-bytes"},
		{"life without a number", func(s *Spec) { s.Life = "hard-bytes" }, "not ITEM=NUMBER"},
		{"long life", func(s *Spec) { s.Life = "hard-addtime=90000" }, "longer than 24h"},
	} {
		s := good()
		tc.change(&s)
		if _, err := s.SA(ours); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	s := good()
	s.Life, s.Replay = "soft-bytes=1000,hard-bytes=2000,soft-packets=3,hard-packets=4,hard-addtime=60", 64
	sa, err = s.SA(ours)
	want := ipsec.Lifetime{SoftBytes: 1000, HardBytes: 2000, SoftPackets: 3, HardPackets: 4, HardTime: time.Minute}
	if err != nil || sa.Life != want || sa.Replay != 64 {
		t.Errorf("%+v, %v", sa.Life, err)
	}
	null := Spec{ID: id(t, "esp0x200@192.0.2.1"), Src: east, ESP: "null-sha1-96", AuthKey: secret(t, key160)}
	if sa, err := null.SA(ours); err != nil || sa.Transform.Encr != 11 || sa.Dir != ipsec.In {
		t.Errorf("ESP without encryption: %+v, %v", sa.Transform, err)
	}
}

// The spellings of FreeS/WAN and of its successors.
func TestSpellings(t *testing.T) {
	for text, want := range map[string]string{
		"3des-md5-96": "3des_cbc hmac_md5_96", "3des-sha1-96": "3des_cbc hmac_sha1_96", "3des": "3des_cbc",
		"3DES-MD5": "3des_cbc hmac_md5_96", "aes128-sha1": "aes_cbc hmac_sha1_96", "aes-128-sha1-96": "aes_cbc hmac_sha1_96",
		"aes-sha2_256-128": "aes_cbc hmac_sha2_256_128", "null-sha2_256": "null hmac_sha2_256_128",
	} {
		s, err := ParseESP(text)
		got := ""
		if err == nil {
			got = s.Encr.Name
			if s.Integ != nil {
				got += " " + s.Integ.Name
			}
		}
		if got != want {
			t.Errorf("%s: %q, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{"hmac-md5-96": "hmac_md5_96", "hmac-sha1-96": "hmac_sha1_96", "hmac-md5": "hmac_md5_96",
		"hmac-sha1": "hmac_sha1_96", "sha2_256": "hmac_sha2_256_128", "hmac_sha2_512": "hmac_sha2_512_256"} {
		if s, err := ParseAH(text); err != nil || s.Integ.Name != want || s.Encr != nil {
			t.Errorf("%s: %+v, %v", text, s, err)
		}
	}
}

// Whatever is written, a suite that is accepted makes sense.
func FuzzParseESP(f *testing.F) {
	for _, s := range []string{"3des-md5-96", "aes-sha1", "-", "null-none", "aes+3des-md5", "aes256-sha2_256;modp2048"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseESP(text)
		if err == nil && (s.Encr == nil || s.Encr.AEAD) {
			t.Fatalf("%q: %+v", text, s)
		}
		if s, err := ParseAH(text); err == nil && s.Integ == nil {
			t.Fatalf("AH %q: %+v", text, s)
		}
	})
}
