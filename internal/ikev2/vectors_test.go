package ikev2

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
	"cygnet/internal/ipsec"
	"cygnet/internal/octet"
	"cygnet/internal/suite"
)

// vectors reads "name = value" lines; an empty line begins the next case.
func vectors(t *testing.T, file string) []map[string]string {
	t.Helper()
	b, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var all []map[string]string
	for _, block := range strings.Split(string(b), "\n\n") {
		one := map[string]string{}
		for _, line := range strings.Split(block, "\n") {
			if name, value, ok := strings.Cut(line, " = "); ok {
				one[name] = value
			}
		}
		if len(one) > 0 {
			all = append(all, one)
		}
	}
	return all
}

type hexed struct {
	t *testing.T
	m map[string]string
}

func (h hexed) get(name string) []byte {
	h.t.Helper()
	b, err := hex.DecodeString(h.m[name])
	if err != nil || len(b) == 0 {
		h.t.Fatalf("vector %s: %q", name, h.m[name])
	}
	return b
}

func (h hexed) spi(name string) uint64 { return octet.NewReader(h.get(name)).Uint64() }

func (h hexed) secret(name string) ipsec.Secret { return ipsec.NewSecret(h.get(name)) }

// TestNISTKeyDerivation checks every derivation of RFC 7296 against NIST's
// published cases.
func TestNISTKeyDerivation(t *testing.T) {
	prfs := map[string]uint16{"SHA-1": 2, "SHA-256": 5, "SHA-384": 6, "SHA-512": 7}
	cases := vectors(t, "nist_ikev2_kdf.txt")
	if len(cases) != 4 {
		t.Fatalf("%d cases", len(cases))
	}
	for _, c := range cases {
		h := hexed{t, c}
		t.Run(c["hash"], func(t *testing.T) {
			prf := suite.PRFByID(prfs[c["hash"]])
			ni, nr := h.get("Ni"), h.get("Nr")
			s := seed(prf, ni, nr, h.secret("g^ir"))
			equal(t, "SKEYSEED", s.Bytes(), h.get("SKEYSEED"))

			// DKM is prf+ cut at 132 octets or so; our keys are its beginning.
			dkm := h.get("DKM")
			k := deriveIKE(suite.Chosen{Encr: suite.EncrChoice{Encr: suite.EncrByID(12), Bits: 128}, PRF: prf, Integ: suite.IntegByID(2)},
				s, ni, nr, h.spi("SPIi"), h.spi("SPIr"))
			all := concat(k.d.Bytes(), k.ai.Bytes(), k.ar.Bytes(), k.ei.Bytes(), k.er.Bytes(), k.pi.Bytes(), k.pr.Bytes())
			n := min(len(all), len(dkm))
			equal(t, "DKM", all[:n], dkm[:n])

			d := ipsec.NewSecret(dkm[:prf.Key])
			for name, shared := range map[string]ipsec.Secret{"DKM_Child_SA": {}, "DKM_Child_SA_D-H": h.secret("g^ir__new")} {
				c := deriveChild(suite.Chosen{Encr: suite.EncrChoice{Encr: suite.EncrByID(12), Bits: 256}, Integ: suite.IntegByID(2)}, prf, d, shared, ni, nr)
				all := concat(c.encrI.Bytes(), c.integI.Bytes(), c.encrR.Bytes(), c.integR.Bytes())
				equal(t, name, all, h.get(name)[:len(all)])
			}
			equal(t, "SKEYSEED_Rekey", rekeySeed(prf, d, h.secret("g^ir__new"), ni, nr).Bytes(), h.get("SKEYSEED_Rekey"))
		})
	}
}

func equal(t *testing.T, name string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s:\n got %x\nwant %x", name, got, want)
	}
}

func chosenVA() suite.Chosen {
	return suite.Chosen{Protocol: suite.ProtoIKE, Encr: suite.EncrChoice{Encr: suite.EncrByID(20), Bits: 256}, PRF: suite.PRFByID(5), KE: suite.KEByID(31)}
}

// TestExchangeVA recomputes a whole recorded exchange: keys, AUTH, messages,
// Child SA keys and rekeying.
func TestExchangeVA(t *testing.T) {
	all := map[string]string{}
	for _, c := range vectors(t, "exchange_va.txt") {
		for k, v := range c {
			all[k] = v
		}
	}
	h := hexed{t, all}
	c := chosenVA()
	ni, nr := h.get("Ni"), h.get("Nr")
	k := deriveIKE(c, seed(c.PRF, ni, nr, h.secret("g_ir")), ni, nr, h.spi("SPIi"), h.spi("SPIr"))
	for name, got := range map[string]ipsec.Secret{"SK_d": k.d, "SK_ei": k.ei, "SK_er": k.er, "SK_pi": k.pi, "SK_pr": k.pr} {
		equal(t, name, got.Bytes(), h.get(name))
	}

	i, r, err := k.ciphers(c)
	if err != nil {
		t.Fatal(err)
	}
	m3, err := wire.Open(h.get("m3"), i)
	if err != nil {
		t.Fatal(err)
	}
	m4, err := wire.Open(h.get("m4"), r)
	if err != nil {
		t.Fatal(err)
	}
	keys := &keyring{psk: string(h.get("psk"))}
	idi, _ := m3.IDi()
	idr, _ := m4.IDr()
	for _, end := range []struct {
		name           string
		message, nonce []byte
		p              ipsec.Secret
		id             wire.Identity
		ps             wire.Payloads
	}{
		{"AUTH_i", h.get("m1"), nr, k.pi, idi.Identity, m3},
		{"AUTH_r", h.get("m2"), ni, k.pr, idr.Identity, m4},
	} {
		octets := signedOctets(c.PRF, end.message, end.nonce, end.p, end.id.Body())
		got, err := ike.Prove{Method: ike.AuthPSK, PRF: c.PRF, Octets: octets}.Run(ike.Env{Keys: keys})
		if err != nil {
			t.Fatal(err)
		}
		equal(t, end.name, got.(ike.Signature).Data, h.get(end.name))
		auth, _ := end.ps.AUTH()
		v, err := ike.Verify{PRF: c.PRF, Octets: octets, Remote: end.id.ID, Auth: ike.Signature{Method: auth.Method, Data: auth.Data}}.Run(ike.Env{Keys: keys})
		if err != nil || !v.(ike.Verified).Proves(end.id.ID) {
			t.Errorf("%s does not verify: %v", end.name, err)
		}
	}

	child := suite.Chosen{Protocol: suite.ProtoESP, Encr: c.Encr}
	ck := deriveChild(child, c.PRF, k.d, ipsec.Secret{}, ni, nr)
	equal(t, "child i to r", ck.encrI.Bytes(), h.get("child_key_i_to_r"))
	equal(t, "child r to i", ck.encrR.Bytes(), h.get("child_key_r_to_i"))

	ni, nr = h.get("new_Ni"), h.get("new_Nr")
	s := rekeySeed(c.PRF, k.d, h.secret("new_g_ir"), ni, nr)
	equal(t, "rekey SKEYSEED", s.Bytes(), h.get("ike_rekey_SKEYSEED"))
	n := deriveIKE(c, s, ni, nr, h.spi("new_SPIi"), h.spi("new_SPIr"))
	equal(t, "rekey keys", concat(n.d.Bytes(), n.ei.Bytes(), n.er.Bytes(), n.pi.Bytes(), n.pr.Bytes()), h.get("ike_rekey_keys_d_ei_er_pi_pr"))
	for name, shared := range map[string]ipsec.Secret{"child_rekey_KEYMAT_with_DH": h.secret("new_g_ir"), "child_rekey_KEYMAT_no_DH": {}} {
		ck := deriveChild(child, c.PRF, k.d, shared, ni, nr)
		equal(t, name, concat(ck.encrI.Bytes(), ck.encrR.Bytes()), h.get(name))
	}

	// V-D1: Ed25519 over the initiator's octets.
	octets := signedOctets(c.PRF, h.get("m1"), h.get("Nr"), k.pi, idi.Body())
	priv := ed25519.NewKeyFromSeed(h.get("seed"))
	keys.signer = priv
	sig, err := ike.Prove{Method: ike.AuthPubkey, PRF: c.PRF, Octets: octets, Hashes: []uint16{5}}.Run(ike.Env{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "Ed25519 AUTH", concat([]byte{sig.(ike.Signature).Method, 0, 0, 0}, sig.(ike.Signature).Data), h.get("AUTH_payload_body"))
}
