package ike

import (
	"strings"
	"testing"

	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

// ppks is a KeyStore that has one PPK.
type ppks struct {
	store
	ppk []byte
}

func (s ppks) PPK(*Conn, ID, ID, string) (string, ipsec.Secret, error) {
	return "alpha", ipsec.NewSecret(s.ppk), nil
}

// CRY-19: an empty PPK is refused where it is mixed in, wherever it came from
// (ipsec.secrets refuses it too, which config's golden file has); a store without
// PPKs has none; and what is mixed are all three keys, each at its own length.
func TestAdv_CRY_19_MixPPK(t *testing.T) {
	prf := suite.PRFByID(5)
	key := func(b byte, n int) ipsec.Secret { return ipsec.NewSecret([]byte(strings.Repeat(string(rune(b)), n))) }
	job := MixPPK{PRF: prf, D: key('d', 32), Pi: key('i', 32), Pr: key('r', 32)}
	if r, err := job.Run(Env{Keys: ppks{}}); err == nil || !strings.Contains(err.Error(), `the PPK "alpha" is empty`) {
		t.Errorf("an empty PPK: %v, %v", r, err)
	}
	if r, err := job.Run(Env{Keys: store{}}); err == nil || !strings.Contains(err.Error(), "holds no PPK") {
		t.Errorf("no PPK: %v, %v", r, err)
	}
	ppk := []byte("thirty-two octets of real secret")
	r, err := job.Run(Env{Keys: ppks{ppk: ppk}})
	if err != nil {
		t.Fatal(err)
	}
	m := r.(Mixed)
	for name, k := range map[string][2]ipsec.Secret{"SK_d": {job.D, m.D}, "SK_pi": {job.Pi, m.Pi}, "SK_pr": {job.Pr, m.Pr}} {
		// RFC 8784, 3, with prf+ of one block written out: prf(PPK, SK | 0x01).
		if want := ipsec.NewSecret(prf.Sum(ppk, k[0].Bytes(), []byte{1})); !k[1].Equal(want) {
			t.Errorf("%s is not mixed as it should be", name)
		}
	}
}
