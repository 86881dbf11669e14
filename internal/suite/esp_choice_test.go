package suite

import "testing"

// CRY-27: for ESP, an AEAD with an integrity algorithm beside it and a cipher
// without one are not chosen (RFC 7296, 3.3.6; RFC 5282, 8), whatever else we
// would take; the same transforms in order are.
func TestAdv_CRY_27_ESPIntegrity(t *testing.T) {
	ours := mustESP(t, "aes_gcm256,aes256-sha2_256")
	offer := func(transforms ...func(*Offer)) Offer {
		o := Offer{Number: 1, Protocol: ProtoESP}
		for _, add := range transforms {
			add(&o)
		}
		o.add(TypeESN, 0, 0)
		return o
	}
	gcm := func(o *Offer) { o.add(TypeEncr, 20, 256) }
	cbc := func(o *Offer) { o.add(TypeEncr, 12, 256) }
	sha := func(o *Offer) { o.add(TypeInteg, 12, 0) }
	none := func(o *Offer) { o.add(TypeInteg, 0, 0) }
	for _, c := range []struct {
		name string
		o    Offer
		want bool
	}{
		{"AEAD", offer(gcm), true},
		{"AEAD, integrity NONE", offer(gcm, none), true},
		{"AEAD and integrity", offer(gcm, sha), false},
		{"CBC and integrity", offer(cbc, sha), true},
		{"CBC", offer(cbc), false},
		{"CBC, integrity NONE", offer(cbc, none), false},
	} {
		chosen, _, err := Select(ours, []Offer{c.o})
		if (err == nil) != c.want {
			t.Errorf("%s: %v, %v", c.name, chosen, err)
		}
		for n := range ours { // as an answer, to either of our proposals
			c.o.Number = uint8(n + 1)
			_, err := Check(ours, c.o)
			if fits := c.want && ours[n].Encr[0].ID == c.o.Transforms[0].ID; (err == nil) != fits {
				t.Errorf("%s as an answer to proposal %d: %v", c.name, n+1, err)
			}
		}
	}
}
