package suite

import (
	"slices"
	"testing"
)

func hybrid(methods ...*KE) Proposal {
	p := DefaultIKE()[0]
	p.KE = []*KE{&x25519}
	for i, k := range methods {
		p.AddKE[i] = []*KE{k}
	}
	return p
}

func TestAdditionalKeyExchange(t *testing.T) {
	pq, plain := hybrid(&mlkem768), hybrid()
	both := []Proposal{pq, plain}
	c, _, err := Select(both, []Offer{plain.Offer(1, nil), pq.Offer(2, nil)})
	if err != nil || c.AddKE[0] != &mlkem768 || len(c.Additional()) != 1 {
		t.Fatalf("%s, %v", c, err)
	}
	if got := c.String(); got != "AES_GCM_16_256/PRF_HMAC_SHA2_256/X25519/ML_KEM_768" {
		t.Error(got)
	}
	if got, err := Check(both, c.Offer(1, nil)); err != nil || got != c {
		t.Errorf("%s, %v", got, err)
	}
	// The initiator must not find an exchange left out or added.
	if _, err := Check(both, plain.chosen().Offer(1, nil)); err == nil {
		t.Error("ML-KEM was dropped and nobody noticed")
	}
	if _, err := Check(both, c.Offer(2, nil)); err == nil {
		t.Error("an additional key exchange that was not offered")
	}
	// A peer that does not know the transform type takes the other proposal.
	if c, o, err := Select([]Proposal{plain}, []Offer{pq.Offer(1, nil), plain.Offer(2, nil)}); err != nil || o.Number != 2 || len(c.Additional()) != 0 {
		t.Errorf("%s of %d, %v", c, o.Number, err)
	}
	if got := Classical(both); len(got) != 1 || got[0].Hybrid() {
		t.Errorf("%v", got)
	}
}

func (p Proposal) chosen() Chosen {
	c, _ := p.meet(p.Offer(1, nil))
	return c
}

// The same method twice, all seven, and NONE (adversary.md CRY-17).
func TestAdv_CRY_17_OddAdditions(t *testing.T) {
	twice := hybrid(&mlkem768, &mlkem768)
	if _, _, err := Select([]Proposal{twice}, []Offer{twice.Offer(1, nil)}); err == nil {
		t.Error("ML-KEM twice")
	}
	same := hybrid(&x25519)
	if _, _, err := Select([]Proposal{same}, []Offer{same.Offer(1, nil)}); err == nil {
		t.Error("X25519 after X25519")
	}
	pq, plain := hybrid(&mlkem768), hybrid()
	maybe := pq.Offer(1, nil)
	maybe.Transforms = append(maybe.Transforms, Transform{Type: TypeAddKE1})
	c, o, err := Select([]Proposal{plain}, []Offer{maybe})
	if err != nil || len(c.Additional()) != 0 {
		t.Fatalf("%s, %v", c, err)
	}
	if !slices.Contains(c.Offer(o.Number, nil).Transforms, Transform{Type: TypeAddKE1}) {
		t.Error("NONE was chosen and not named")
	}
	if _, _, err := Select([]Proposal{plain}, []Offer{pq.Offer(1, nil)}); err == nil {
		t.Error("an exchange that we do not have")
	}
	beyond := plain.Offer(1, nil)
	beyond.Transforms = append(beyond.Transforms, Transform{Type: TypeAddKE1 + NumAddKE, ID: 36})
	if _, _, err := Select([]Proposal{plain}, []Offer{beyond}); err == nil {
		t.Error("an eighth additional key exchange")
	}
}

func TestParseAdditional(t *testing.T) {
	ps, err := ParseIKE("aes256gcm16-prfsha384-x25519-ke1_mlkem768, aes256-sha2_256-x25519")
	if err != nil || ps[0].AddKE[0][0] != &mlkem768 || ps[1].Hybrid() {
		t.Fatalf("%v, %v", ps, err)
	}
	for _, bad := range []string{"aes256-sha2-x25519-ke0_mlkem768", "aes256-sha2-x25519-ke8_mlkem768", "aes256-sha2-x25519-ke1_foo"} {
		if _, err := ParseIKE(bad); err == nil {
			t.Errorf("%s is accepted", bad)
		}
	}
	ps, err = ParseESP("aes256-sha2-x25519-ke1_mlkem768")
	if err != nil || ps[0].AddKE[0][0] != &mlkem768 {
		t.Errorf("esp=: %v, %v", ps, err)
	}
}

// A Child SA is offered with what its IKE SA has, and without after that. In
// IKE_AUTH both are the same, and offered once.
func TestFollowed(t *testing.T) {
	esp := DefaultESP(true)
	got := Followed(esp, DefaultIKEv2())
	if len(got) != 2*len(esp) || !got[0].Hybrid() || !got[1].Hybrid() || len(Classical(got)) != len(esp) || esp[0].Hybrid() {
		t.Errorf("%v", got)
	}
	if once := WithoutKE(got); len(once) != len(esp) || once[0].Hybrid() || len(once[0].KE) > 0 {
		t.Errorf("in IKE_AUTH: %v", once)
	}
	if got := Followed(esp, DefaultIKE()); len(got) != len(esp) {
		t.Errorf("after a classical IKE SA: %v", got)
	}
	if got := Followed(DefaultESP(false), DefaultIKEv2()); len(got) != len(esp) {
		t.Errorf("without PFS: %v", got)
	}
}
