package ikev1

import (
	"bytes"
	"encoding/hex"
	"math/big"
	"net/netip"
	"os"
	"strings"
	"testing"

	"cygnet/internal/ike"
	"cygnet/internal/ikev1/wire"
	"cygnet/internal/ipsec"
	"cygnet/internal/octet"
	"cygnet/internal/suite"
)

// blocks reads a file of vectors: blocks of "name = value" between lines that
// have no "=".
func blocks(t *testing.T, file string) []map[string]string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out []map[string]string
	current := map[string]string{}
	for line := range strings.Lines(string(text)) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), " = ")
		if ok {
			current[name] = value
		} else if len(current) > 0 {
			out, current = append(out, current), map[string]string{}
		}
	}
	if len(current) > 0 {
		out = append(out, current)
	}
	return out
}

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil || len(b) == 0 {
		t.Fatalf("%q: %v", text, err)
	}
	return b
}

func number(t *testing.T, text string) uint64 {
	return octet.NewReader(unhex(t, text)).Uint64()
}

// NIST CAVP: SKEYID and its children.
func TestVectorsN2(t *testing.T) {
	prfs := map[string]*suite.PRF{"SHA-1": suite.PRFByID(2), "SHA-256": suite.PRFByID(5)}
	all := blocks(t, "testdata/n2.txt")
	if len(all) != 4 {
		t.Fatalf("%d cases", len(all))
	}
	for _, v := range all {
		prf := prfs[v["hash"]]
		ni, nr := unhex(t, v["Ni"]), unhex(t, v["Nr"])
		shared := ipsec.NewSecret(unhex(t, v["g^xy"]))
		var skeyid ipsec.Secret
		if v["mode"] == "psk" {
			store := &keyring{psk: string(unhex(t, v["pre-shared-key"]))}
			got, err := ike.SharedKeyV1{Conn: &ike.Conn{}, PRF: prf, Remotes: []ike.ID{{}}, Ni: ni, Nr: nr}.Run(ike.Env{Keys: store})
			if err != nil {
				t.Fatal(err)
			}
			skeyid = got.(ipsec.Secret)
		} else {
			skeyid = skeyidSig(prf, ni, nr, shared)
		}
		k := deriveKeys(prf, skeyid, shared, number(t, v["CKY_I"]), number(t, v["CKY_R"]))
		for name, got := range map[string]ipsec.Secret{"SKEYID": k.id, "SKEYID_d": k.d, "SKEYID_a": k.a, "SKEYID_e": k.e} {
			if !bytes.Equal(got.Bytes(), unhex(t, v[name])) {
				t.Errorf("%s %s: %s is %x", v["mode"], v["hash"], name, got.Bytes())
			}
		}
	}
}

func hexed(s ipsec.Secret) string { return hex.EncodeToString(s.Bytes()) }

// V-C: Main Mode and Quick Mode from the exponents on.
func TestVectorVC(t *testing.T) {
	v := blocks(t, "testdata/vc.txt")[0]
	want := func(name, got string) {
		t.Helper()
		if v[name] != got {
			t.Errorf("%s is %s", name, got)
		}
	}
	kp := func(b byte) suite.Private {
		x, err := suite.KEByID(14).New(bytes.NewReader(bytes.Repeat([]byte{b}, 512)))
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	// Exponents are drawn at the length of testdata's, 32 octets.
	xi, xr := kp(0x11), kp(0x22)
	gxy, err := xi.Shared(xr.Public())
	if err != nil {
		t.Fatal(err)
	}
	var ni, nr []byte
	for i := range byte(16) {
		ni, nr = append(ni, i), append(nr, 0x80+i)
	}
	prf := suite.PRFByID(5)
	psk := []byte("correct horse battery staple")
	skeyid := ipsec.NewSecret(prf.Sum(psk, ni, nr))
	const ci, cr = 0xa1a2a3a4a5a6a7a8, 0xb1b2b3b4b5b6b7b8
	k := deriveKeys(prf, skeyid, ipsec.NewSecret(gxy), ci, cr)
	want("SKEYID", hexed(k.id))
	want("SKEYID_d", hexed(k.d))
	want("SKEYID_a", hexed(k.a))
	want("SKEYID_e", hexed(k.e))
	want("IV0", hex.EncodeToString(mainIV(prf, xi.Public(), xr.Public(), 16)))
	i, r := half{xi.Public(), ci}, half{xr.Public(), cr}
	idi := wire.NewID(ike.IDOfAddr(netip.MustParseAddr("192.0.2.1"))).Body()
	idr := wire.NewID(ike.IDOfAddr(netip.MustParseAddr("198.51.100.2"))).Body()
	sa := unhex(t, v["SAi_b"])
	want("HASH_I", hex.EncodeToString(authHash(prf, k.id, i, r, sa, idi)))
	want("HASH_R", hex.EncodeToString(authHash(prf, k.id, r, i, sa, idr)))
	mm6 := unhex(t, v["mm6"])
	want("QM_IV", hex.EncodeToString(phase2IV(prf, mm6[len(mm6)-16:], 0x5eed0001)))
	qi, qr := bytes.Repeat([]byte{0x33}, 16), bytes.Repeat([]byte{0x44}, 16)
	want("KEYMAT_i_to_r_spi_d1d2d3d4", hex.EncodeToString(keymat(prf, k.d, ipsec.Secret{}, 3, 0xd1d2d3d4, qi, qr, 64)))
	want("KEYMAT_r_to_i_spi_c1c2c3c4", hex.EncodeToString(keymat(prf, k.d, ipsec.Secret{}, 3, 0xc1c2c3c4, qi, qr, 64)))

	e := ipsec.NewSecret(unhex(t, v["appendix_B_expand_SKEYID_e"]))
	want("appendix_B_AES256_key_SHA1", hexed(cipherKey(suite.PRFByID(2), e, 32)))

	// The first message is what we would send.
	p := phase1{suite.Chosen{Protocol: suite.ProtoIKE, Encr: suite.EncrChoice{Encr: suite.EncrByID(12), Bits: 256}, PRF: prf, KE: suite.KEByID(14)}, ike.AuthPSK, 28800e9}
	want("SAi_b", hex.EncodeToString(offerSA([]phase1{p}).Body()))
	if new(big.Int).SetBytes(gxy).Sign() == 0 {
		t.Error("no shared secret")
	}
}

func TestNumbersGoBothWays(t *testing.T) {
	for _, n := range encrNumbers {
		e := suite.EncrByID(n.v2)
		if e == nil {
			t.Fatalf("no cipher %d", n.v2)
		}
		if n.phase1 != 0 && encrOfPhase1(uint64(encrPhase1(e))) != e || encrOfESP(uint8(encrESP(e))) != e {
			t.Errorf("%s", e.Name)
		}
	}
	for _, p := range suite.PRFs() {
		if prfOfPhase1(uint64(hashPhase1(p))) != p || newHash(p).Size() != p.Out {
			t.Errorf("%s", p.Name)
		}
	}
	for _, i := range suite.Integs() {
		auth, ah := integNumbers(i)
		if integOfAuth(uint64(auth)) != i || integOfAH(uint8(ah)) != i {
			t.Errorf("%s", i.Name)
		}
	}
	for _, k := range groupNumbers {
		if groupOf(uint64(k)) == nil {
			t.Errorf("group %d", k)
		}
	}
	for _, bad := range []uint64{0, 1, 4, 6, 22, 31, 32, 1 << 16, 1<<64 - 1} {
		if groupOf(bad) != nil {
			t.Errorf("group %d is one", bad)
		}
	}
}
