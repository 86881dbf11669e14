package suite

import (
	"slices"
	"testing"
)

func TestHMAC(t *testing.T) {
	prf := map[string]uint16{"hmac_md5": 1, "hmac_sha1": 2, "hmac_sha256": 5, "hmac_sha384": 6, "hmac_sha512": 7}
	auth := map[string]uint16{"auth_hmac_sha2_256_128": 12, "auth_hmac_sha2_384_192": 13, "auth_hmac_sha2_512_256": 14}
	for _, v := range vectors(t, "hmac.txt") {
		name, key, data, want := v["name"], v.hex(t, "key"), v.hex(t, "data"), v.hex(t, "mac")
		if id, ok := prf[name]; ok {
			p := PRFByID(id)
			same(t, name, p.Sum(key, data), want)
			same(t, name+" in parts", p.Sum(key, data[:3], nil, data[3:]), want)
			if len(want) != p.Out {
				t.Errorf("%s: Out is %d", name, p.Out)
			}
			if i := IntegByName(p.Conf[0]); i != nil {
				same(t, i.Name, i.Sum(key, data), want[:i.ICV])
			}
			continue
		}
		i := IntegByID(auth[name])
		if i == nil {
			t.Fatalf("unknown name %s", name)
		}
		if len(key) != i.Key {
			t.Errorf("%s: Key is %d", name, i.Key)
		}
		same(t, name, i.Sum(key, data), want)
	}
}

// NIST's IKEv2 key derivation: SKEYSEED, DKM, Child SA with and without a new
// exchange, and the SKEYSEED of a rekeyed IKE SA.
func TestIKEv2KDF(t *testing.T) {
	prf := map[string]uint16{"SHA-1": 2, "SHA-256": 5, "SHA-384": 6, "SHA-512": 7}
	cases := vectors(t, "ikev2_kdf.txt")
	if len(cases) != len(prf) {
		t.Fatalf("%d cases", len(cases))
	}
	for _, v := range cases {
		p := PRFByID(prf[v["hash"]])
		ni, nr := v.hex(t, "Ni"), v.hex(t, "Nr")
		nonces := slices.Concat(ni, nr)
		seed := p.Sum(nonces, v.hex(t, "g^ir"))
		same(t, p.Name+" SKEYSEED", seed, v.hex(t, "SKEYSEED"))

		want := v.hex(t, "DKM")
		dkm := p.Plus(seed, slices.Concat(nonces, v.hex(t, "SPIi"), v.hex(t, "SPIr")), len(want))
		same(t, p.Name+" DKM", dkm, want)

		skd := dkm[:p.Out]
		want = v.hex(t, "DKM_Child_SA")
		same(t, p.Name+" child", p.Plus(skd, nonces, len(want)), want)
		want = v.hex(t, "DKM_Child_SA_D-H")
		same(t, p.Name+" child with exchange", p.Plus(skd, slices.Concat(v.hex(t, "g^ir__new"), nonces), len(want)), want)
		same(t, p.Name+" rekey", p.Sum(skd, v.hex(t, "g^ir__new"), nonces), v.hex(t, "SKEYSEED_Rekey"))
	}
}

// The keys of a whole exchange, from the private values on (vectors.md V-A).
func TestExchangeVA(t *testing.T) {
	v, m := one(t, "exchange.txt", "SKEYSEED"), one(t, "exchange.txt", "m1")
	shared := agree(t, KEByID(31), v.hex(t, "x25519_i"), v.hex(t, "x25519_r"))
	same(t, "g_ir", shared, v.hex(t, "g_ir"))

	p, e := PRFByID(5), EncrChoice{EncrByID(20), 256}
	nonces := slices.Concat(v.hex(t, "Ni"), v.hex(t, "Nr"))
	seed := p.Sum(nonces, shared)
	same(t, "SKEYSEED", seed, v.hex(t, "SKEYSEED"))

	keys := p.Plus(seed, slices.Concat(nonces, v.hex(t, "SPIi"), v.hex(t, "SPIr")), 3*p.Key+2*e.KeyLen())
	sk := map[string][]byte{}
	for _, k := range []struct {
		name string
		size int
	}{{"SK_d", p.Key}, {"SK_ei", e.KeyLen()}, {"SK_er", e.KeyLen()}, {"SK_pi", p.Key}, {"SK_pr", p.Key}} {
		sk[k.name], keys = keys[:k.size], keys[k.size:]
		same(t, k.name, sk[k.name], v.hex(t, k.name))
	}
	want := v.hex(t, "child_KEYMAT")
	same(t, "KEYMAT", p.Plus(sk["SK_d"], nonces, 2*e.KeyLen()), want)

	// RFC 7296, 2.15: the initiator signs its first message, Nr, and
	// prf(SK_pi, IDi').
	idi := m.hex(t, "m3_inner")[4 : 4+0x15]
	macedID := p.Sum(sk["SK_pi"], idi)
	same(t, "MACedIDi", macedID, v.hex(t, "MACedIDi"))
	pad := p.Sum(v.hex(t, "psk"), []byte("Key Pad for IKEv2"))
	same(t, "AUTH_i", p.Sum(pad, m.hex(t, "m1"), v.hex(t, "Nr"), macedID), v.hex(t, "AUTH_i"))

	r := one(t, "exchange.txt", "ike_rekey_SKEYSEED")
	same(t, "rekeyed SKEYSEED", p.Sum(sk["SK_d"], r.hex(t, "new_g_ir"), r.hex(t, "new_Ni"), r.hex(t, "new_Nr")), r.hex(t, "ike_rekey_SKEYSEED"))
}

func TestPlusIsAPrefixOfItself(t *testing.T) {
	for _, p := range PRFs() {
		long := p.Plus([]byte("key"), []byte("seed"), 255*p.Out)
		for _, n := range []int{0, 1, p.Out - 1, p.Out, p.Out + 1, 10 * p.Out} {
			same(t, p.Name, p.Plus([]byte("key"), []byte("seed"), n), long[:n])
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: prf+ beyond its counter did not panic", p.Name)
				}
			}()
			p.Plus(nil, nil, 255*p.Out+1)
		}()
	}
}
