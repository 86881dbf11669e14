package suite

import (
	"errors"
	"strings"
	"testing"

	"cygnet/internal/ipsec"
)

// mustIKE and mustESP read a line that is known to be good.
func mustIKE(t testing.TB, text string) []Proposal {
	t.Helper()
	p, err := ParseIKE(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func mustESP(t testing.TB, text string) []Proposal {
	t.Helper()
	p, err := ParseESP(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func offers(list []Proposal) []Offer {
	var out []Offer
	for i, p := range list {
		out = append(out, p.Offer(uint8(i+1), nil))
	}
	return out
}

func TestSelectIKE(t *testing.T) {
	for _, c := range []struct {
		name, ours, theirs string
		want               string
		number             uint8
	}{
		{"our order of proposals", "aes_gcm256-sha2-x25519,aes256-sha2-dh14", "aes256-sha2-dh14,aes_gcm256-sha2-x25519", "AES_GCM_16_256/PRF_HMAC_SHA2_256/X25519", 2},
		{"our order inside", "aes128+aes256-sha2-x25519+dh14", "aes256+aes128-sha2-dh14+x25519", "AES_CBC_128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/X25519", 1},
		{"the second of ours", "aes_gcm256-sha2-x25519,aes256-sha2-dh14", "aes256-sha2-dh14", "AES_CBC_256/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_2048", 1},
		{"their third", "chacha20poly1305-sha2_512-dh19", "aes-sha2-dh14,3des-md5-dh5,chacha20_poly1305-sha2_512-p256", "CHACHA20_POLY1305/PRF_HMAC_SHA2_512/ECP_256", 3},
		{"PRF apart from integrity", "aes256-sha1-sha2-dh14", "aes256-sha1-sha2+sha1-dh14", "AES_CBC_256/HMAC_SHA1_96/PRF_HMAC_SHA2_256/MODP_2048", 1},
	} {
		ours, theirs := mustIKE(t, c.ours), mustIKE(t, c.theirs)
		chosen, took, err := Select(ours, offers(theirs))
		if err != nil || chosen.String() != c.want || took.Number != c.number {
			t.Errorf("%s: %v from %d, %v; want %s from %d", c.name, chosen, took.Number, err, c.want, c.number)
			continue
		}
		// What the responder answers, the initiator must accept as the same.
		back, err := Check(theirs, chosen.Offer(took.Number, nil))
		if err != nil || back != chosen {
			t.Errorf("%s: initiator reads %v, %v", c.name, back, err)
		}
	}
}

func TestSelectESP(t *testing.T) {
	ours := mustESP(t, "aes_gcm256,aes256-sha2_256")
	for _, c := range []struct {
		name   string
		change func(o *Offer)
		want   string // empty: refused
	}{
		{"as it is", func(*Offer) {}, "AES_GCM_16_256/ESN"},
		{"no ESN transform at all", func(o *Offer) { *o = o.drop(TypeESN) }, "AES_GCM_16_256"},
		{"integrity NONE beside an AEAD", func(o *Offer) { o.add(TypeInteg, 0, 0) }, "AES_GCM_16_256/ESN"},
		{"integrity beside an AEAD", func(o *Offer) { o.add(TypeInteg, 12, 0) }, ""},
		{"group where we want none", func(o *Offer) { o.add(TypeKE, 14, 0) }, ""},
		{"group or none", func(o *Offer) { o.add(TypeKE, 14, 0); o.add(TypeKE, 0, 0) }, "AES_GCM_16_256/ESN"},
		{"a PRF", func(o *Offer) { o.add(TypePRF, 5, 0) }, ""},
		{"an unknown transform type", func(o *Offer) { o.add(6, 36, 0) }, ""},
		{"transform type 0", func(o *Offer) { o.add(0, 1, 0) }, ""},
		{"another protocol", func(o *Offer) { o.Protocol = ProtoAH }, ""},
		{"another key length", func(o *Offer) { o.Transforms[0].KeyBits = 128 }, ""},
		{"no key length", func(o *Offer) { o.Transforms[0].KeyBits = 0 }, ""},
		{"unknown ciphers first", func(o *Offer) { o.Transforms = append([]Transform{{TypeEncr, 4711, 99}}, o.Transforms...) }, "AES_GCM_16_256/ESN"},
	} {
		o := ours[0].Offer(1, []byte{1, 2, 3, 4})
		c.change(&o)
		chosen, _, err := Select(ours, []Offer{o})
		if (err == nil) != (c.want != "") || err == nil && chosen.String() != c.want {
			t.Errorf("%s: %v, %v; want %q", c.name, chosen, err, c.want)
		}
	}
}

func (o Offer) drop(t TransformType) Offer {
	var kept []Transform
	for _, x := range o.Transforms {
		if x.Type != t {
			kept = append(kept, x)
		}
	}
	o.Transforms = kept
	return o
}

func TestPFS(t *testing.T) {
	ours := DefaultESP(true)
	chosen, _, err := Select(ours, offers(DefaultESP(true)))
	if err != nil || chosen.KE != KEByID(31) {
		t.Errorf("%v, %v", chosen, err)
	}
	var m *Mismatch
	if _, _, err = Select(ours, offers(DefaultESP(false))); !errors.As(err, &m) || m.Differs[0].Type != TypeKE {
		t.Errorf("PFS wanted, none offered: %v", err)
	}
	first, theirs := ours[0].WithoutKE(), ours[0].Offer(1, nil).WithoutKE()
	if chosen, _, err = Select([]Proposal{first}, []Offer{theirs}); err != nil || chosen.KE != nil {
		t.Errorf("IKE_AUTH: %v, %v", chosen, err)
	}
	if len(ours[0].KE) == 0 {
		t.Error("WithoutKE changed its receiver")
	}
	if p := first.WithKE([]*KE{KEByID(14)}); p.KE[0].ID != 14 || len(first.KE) != 0 {
		t.Error("WithKE")
	}
}

// CRY: an answer that is not one choice out of what was offered.
func TestCheckRefuses(t *testing.T) {
	ours := mustIKE(t, "aes_gcm256-sha2-x25519,aes256-sha2-dh14")
	good := ours[0].Offer(1, nil)
	if _, err := Check(ours, good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(o *Offer){
		"number 0":            func(o *Offer) { o.Number = 0 },
		"number 3":            func(o *Offer) { o.Number = 3 },
		"another's number":    func(o *Offer) { o.Number = 2 },
		"nothing":             func(o *Offer) { o.Transforms = nil },
		"two ciphers":         func(o *Offer) { o.add(TypeEncr, 20, 128) },
		"the same twice":      func(o *Offer) { o.Transforms = append(o.Transforms, o.Transforms[0]) },
		"no group":            func(o *Offer) { *o = o.drop(TypeKE) },
		"no PRF":              func(o *Offer) { *o = o.drop(TypePRF) },
		"a group not offered": func(o *Offer) { *o = o.drop(TypeKE); o.add(TypeKE, 2, 0) },
		"a smaller key":       func(o *Offer) { o.Transforms[0].KeyBits = 128 },
		"integrity as well":   func(o *Offer) { o.add(TypeInteg, 12, 0) },
		"an unknown type":     func(o *Offer) { o.add(99, 1, 0) },
		"ESP":                 func(o *Offer) { o.Protocol = ProtoESP },
	} {
		o := ours[0].Offer(1, nil)
		change(&o)
		if c, err := Check(ours, o); err == nil {
			t.Errorf("%s is accepted as %v", name, c)
		}
	}
	// NONE is the same as no integrity transform.
	good.add(TypeInteg, 0, 0)
	if _, err := Check(ours, good); err != nil {
		t.Errorf("integrity NONE: %v", err)
	}
}

func TestMismatchSaysWhatDiffers(t *testing.T) {
	for _, c := range []struct{ ours, theirs, want string }{
		{"aes256-sha2-dh14", "3des-sha2-dh14", "no common proposal: encryption: ours AES_CBC_256, theirs 3DES_CBC"},
		{"aes256-sha2-dh14", "aes256-sha2-dh2", "no common proposal: key exchange: ours MODP_2048, theirs MODP_1024"},
		{"aes256-sha2-dh14", "aes128-sha1-dh5,aes256-sha1-dh14",
			"no common proposal: integrity: ours HMAC_SHA2_256_128, theirs HMAC_SHA1_96; PRF: ours PRF_HMAC_SHA2_256, theirs PRF_HMAC_SHA1"},
	} {
		_, _, err := Select(mustIKE(t, c.ours), offers(mustIKE(t, c.theirs)))
		var m *Mismatch
		if !errors.As(err, &m) || err.Error() != c.want {
			t.Errorf("%s and %s:\n got %v\nwant %s", c.ours, c.theirs, err, c.want)
			continue
		}
		if m.OursText() == "" || !strings.Contains(m.TheirsText(), "/") {
			t.Errorf("texts %q, %q", m.OursText(), m.TheirsText())
		}
	}
	if _, _, err := Select(DefaultIKE(), nil); err == nil || err.Error() != "the peer's SA payload has no proposal" {
		t.Error(err)
	}
	_, _, err := Select(DefaultIKE(), []Offer{{Number: 1, Protocol: ProtoIKE, Transforms: []Transform{{TypeEncr, 4711, 256}}}})
	if err == nil || !strings.Contains(err.Error(), "theirs ENCRYPTION 4711_256") {
		t.Error(err)
	}
}

// A peer's list, however long, makes a short line.
func TestMismatchIsBounded(t *testing.T) {
	var theirs []Offer
	for n := range 200 {
		o := Offer{Number: uint8(n), Protocol: ProtoIKE}
		for i := range uint16(255) {
			o.add(TransformType(i), 40000+i, 1)
			o.add(TypeEncr, 40000+i, 1)
		}
		theirs = append(theirs, o)
	}
	_, _, err := Select(DefaultIKE(), theirs)
	var m *Mismatch
	if !errors.As(err, &m) || len(err.Error()) > 4096 || len(m.TheirsText()) > 16384 {
		t.Errorf("%d and %d characters", len(err.Error()), len(m.TheirsText()))
	}
}

func TestOfferOnTheWire(t *testing.T) {
	o := DefaultESP(false)[0].Offer(1, []byte{0xc1, 0xc2, 0xc3, 0xc4})
	want := []Transform{{TypeEncr, 20, 256}, {TypeEncr, 20, 128}, {TypeEncr, 28, 0}, {TypeESN, 1, 0}, {TypeESN, 0, 0}}
	if len(o.Transforms) != len(want) {
		t.Fatalf("%v", o.Transforms)
	}
	for i := range want {
		if o.Transforms[i] != want[i] {
			t.Errorf("transform %d is %v, want %v", i, o.Transforms[i], want[i])
		}
	}
	if o.Number != 1 || o.Protocol != ProtoESP || len(o.SPI) != 4 {
		t.Errorf("%+v", o)
	}
}

func TestChosenTransform(t *testing.T) {
	for text, want := range map[string]ipsec.Transform{
		"aes_gcm128-noesn":      {Encr: 20, KeyBits: 128},
		"chacha20poly1305-esn":  {Encr: 28, ESN: true},
		"aes256-sha2_512-noesn": {Encr: 12, KeyBits: 256, Integ: 14},
		"3des-md5-noesn":        {Encr: 3, Integ: 1},
		"null-sha2_256-noesn":   {Encr: 11, Integ: 12},
	} {
		p := mustESP(t, text)
		c, _, err := Select(p, offers(p))
		if err != nil || c.Transform() != want {
			t.Errorf("%s: %+v, %v; want %+v", text, c.Transform(), err, want)
		}
	}
}
