package suite

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/big"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// agree runs one exchange from fixed private octets and returns the secret.
func agree(t testing.TB, k *KE, initiator, responder []byte) []byte {
	t.Helper()
	own, err := k.New(bytes.NewReader(initiator))
	if err != nil {
		t.Fatal(err)
	}
	public, theirs, err := k.Respond(bytes.NewReader(responder), own.Public())
	if err != nil {
		t.Fatal(err)
	}
	ours, err := own.Shared(public)
	if err != nil {
		t.Fatal(err)
	}
	if len(own.Public()) != k.Public || len(public) != k.Answer {
		t.Errorf("%s: public values of %d and %d octets", k.Name, len(own.Public()), len(public))
	}
	same(t, k.Name+" both sides", ours, theirs)
	return ours
}

func sum(b []byte) []byte { s := sha256.Sum256(b); return s[:] }

func TestModp2048Vector(t *testing.T) {
	v, k := one(t, "ke.txt", "gxi_sha256"), KEByID(14)
	own, err := k.New(bytes.NewReader(v.hex(t, "xi")))
	if err != nil {
		t.Fatal(err)
	}
	same(t, "g^xi", sum(own.Public()), v.hex(t, "gxi_sha256"))
	same(t, "g^xi begins", own.Public()[:16], v.hex(t, "gxi_first16"))
	shared := agree(t, k, v.hex(t, "xi"), v.hex(t, "xr"))
	same(t, "shared", sum(shared), v.hex(t, "shared_sha256"))

	// A secret that begins with a zero octet keeps it (CRY-09).
	exponent := make([]byte, 32)
	big.NewInt(283).FillBytes(exponent)
	shared = agree(t, k, exponent, exponent)
	same(t, "case 2", sum(shared), v.hex(t, "case2_shared_sha256"))
	if len(shared) != 256 || shared[0] != 0 {
		t.Errorf("leading zero lost: %d octets, first %d", len(shared), shared[0])
	}
}

func TestModpPrimes(t *testing.T) {
	for _, g := range []struct{ bits, c int }{{1024, 129093}, {1536, 741804}, {2048, 124476}, {3072, 1690314}, {4096, 240904}} {
		p := modpPrime(g.bits, g.c)
		half := new(big.Int).Rsh(p, 1)
		if p.BitLen() != g.bits || !p.ProbablyPrime(1) || !half.ProbablyPrime(1) {
			t.Errorf("modp_%d is not a safe prime of its size", g.bits)
		}
	}
}

func TestCurveVectors(t *testing.T) {
	v := one(t, "ke.txt", "p256_i")
	same(t, "P-256", agree(t, KEByID(19), v.hex(t, "p256_i"), v.hex(t, "p256_r")), v.hex(t, "p256_shared"))
	same(t, "P-384", agree(t, KEByID(20), v.hex(t, "p384_i"), v.hex(t, "p384_r")), v.hex(t, "p384_shared"))
	own, err := KEByID(19).New(bytes.NewReader(v.hex(t, "p256_i")))
	if err != nil {
		t.Fatal(err)
	}
	same(t, "P-256 public", own.Public(), slices.Concat(v.hex(t, "p256_gi_x"), v.hex(t, "p256_gi_y")))

	// RFC 5903, 7: x at the length of the field, with its leading zero.
	i, r := make([]byte, 32), make([]byte, 32)
	i[31], r[31] = 7, 119
	same(t, "P-256 zero", agree(t, KEByID(19), i, r), v.hex(t, "p256_zero_shared"))

	x, err := KEByID(31).New(bytes.NewReader(v.hex(t, "x25519_i")))
	if err != nil {
		t.Fatal(err)
	}
	shared, err := x.Shared(v.hex(t, "x25519_gr"))
	if err != nil {
		t.Fatal(err)
	}
	same(t, "X25519", shared, v.hex(t, "x25519_shared"))
}

func TestMLKEM768Vector(t *testing.T) {
	v, k := one(t, "ke.txt", "mlkem_seed"), KEByID(36)
	own, err := k.New(bytes.NewReader(v.hex(t, "mlkem_seed")))
	if err != nil {
		t.Fatal(err)
	}
	same(t, "ek", sum(own.Public()), v.hex(t, "ek_sha256"))
	ct, shared, err := k.Respond(bytes.NewReader(v.hex(t, "encaps_m")), own.Public())
	if err != nil {
		t.Fatal(err)
	}
	same(t, "ct", sum(ct), v.hex(t, "ct_sha256"))
	same(t, "shared", shared, v.hex(t, "mlkem_shared"))

	// A value at or above the modulus is refused (FIPS 203, 7.2).
	bad := slices.Clone(own.Public())
	bad[0], bad[1] = 0xff, 0xff
	if _, _, err := k.Respond(&stream{}, bad); err == nil {
		t.Error("modulus overflow accepted")
	}
	// A changed ciphertext gives another secret, not an error.
	ct[5] ^= 1
	if other, err := own.Shared(ct); err != nil || bytes.Equal(other, shared) {
		t.Errorf("implicit rejection: %v", err)
	}
}

// CRY-05 to CRY-08: public values that must not be computed with.
func TestBadPublicValues(t *testing.T) {
	for _, k := range KEs() {
		for name, bad := range badPublic(k) {
			if _, shared, err := k.Respond(&stream{}, bad); err == nil || shared != nil {
				t.Errorf("%s: responder accepts %s", k.Name, name)
			}
			if len(bad) == k.Public && k.Public != k.Answer {
				continue // of a KEM only the responder sees these
			}
			own, err := k.New(&stream{})
			if err != nil {
				t.Fatal(err)
			}
			if shared, err := own.Shared(bad); err == nil || shared != nil {
				t.Errorf("%s: initiator accepts %s", k.Name, name)
			}
		}
	}
}

func badPublic(k *KE) map[string][]byte {
	bad := map[string][]byte{
		"nothing": {}, "one octet": {2},
		"one octet less": make([]byte, k.Public-1), "one octet more": make([]byte, k.Public+1),
		"all ones": bytes.Repeat([]byte{0xff}, k.Public),
	}
	switch k.ID {
	case 31:
		delete(bad, "all ones") // not canonical, but RFC 7748 accepts it
		for i, point := range lowOrder {
			bad["low order "+string(rune('1'+i))] = unhex(point)
			top := unhex(point)
			top[31] |= 0x80
			bad["low order with top bit "+string(rune('1'+i))] = top
		}
	case 19, 20, 21:
		bad["infinity"] = make([]byte, k.Public)
		own, _ := k.New(&stream{})
		off := slices.Clone(own.Public())
		off[len(off)-1] ^= 1
		bad["a point off the curve"] = off
		bad["a compressed point"] = append([]byte{2}, off[:k.Public/2]...)
		bad["an SEC 1 point"] = append([]byte{4}, own.Public()...)
	case 36:
	default:
		p := new(big.Int).SetBytes(modulusOf(k))
		for name, v := range map[string]*big.Int{
			"0": big.NewInt(0), "1": big.NewInt(1), "p": p,
			"p-1": new(big.Int).Sub(p, big.NewInt(1)), "p+1": new(big.Int).Add(p, big.NewInt(1)),
		} {
			bad[name] = v.FillBytes(make([]byte, k.Public))
		}
	}
	return bad
}

// modulusOf returns the prime of a MODP group.
func modulusOf(k *KE) []byte {
	own, err := k.New(&stream{})
	if err != nil {
		panic(err)
	}
	return own.(modpPrivate).p.Nat().Bytes(own.(modpPrivate).p)
}

// The X25519 points of small order (Wycheproof).
var lowOrder = []string{
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000000",
	"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
	"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
}

// The smallest and greatest values that are good, so that the checks are not
// stricter than 1 < y < p-1.
func TestGoodPublicValues(t *testing.T) {
	for _, id := range []uint16{2, 5, 14, 15, 16} {
		k := KEByID(id)
		p := new(big.Int).SetBytes(modulusOf(k))
		for _, v := range []*big.Int{big.NewInt(2), new(big.Int).Sub(p, big.NewInt(2))} {
			if _, _, err := k.Respond(&stream{}, v.FillBytes(make([]byte, k.Public))); err != nil {
				t.Errorf("%s refuses a good value: %v", k.Name, err)
			}
		}
	}
}

// The same octets make the same keys: simulations depend on it.
func TestKeysComeFromTheReader(t *testing.T) {
	for _, k := range KEs() {
		a, err1 := k.New(&stream{n: 7})
		b, err2 := k.New(&stream{n: 7})
		c, err3 := k.New(&stream{n: 8})
		if err := errors.Join(err1, err2, err3); err != nil {
			t.Fatal(err)
		}
		same(t, k.Name, a.Public(), b.Public())
		if bytes.Equal(a.Public(), c.Public()) {
			t.Errorf("%s ignores the reader", k.Name)
		}
		p1, s1, err1 := k.Respond(&stream{n: 9}, a.Public())
		p2, s2, err2 := k.Respond(&stream{n: 9}, a.Public())
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		same(t, k.Name+" answer", p1, p2)
		same(t, k.Name+" secret", s1, s2)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("no entropy") }

// adversary.md CRY-25.
func TestBrokenReaders(t *testing.T) {
	for _, k := range KEs() {
		for name, r := range map[string]io.Reader{"broken": broken{}, "short": bytes.NewReader(make([]byte, 3))} {
			if _, err := k.New(r); err == nil {
				t.Errorf("%s makes a key from a %s reader", k.Name, name)
			}
		}
	}
	// Octets at or above the order of the curve are drawn again.
	good := bytes.Repeat([]byte{0x11}, 32)
	again := io.MultiReader(bytes.NewReader(bytes.Repeat([]byte{0xff}, 32)), bytes.NewReader(good))
	first, err1 := KEByID(19).New(bytes.NewReader(good))
	second, err2 := KEByID(19).New(again)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	same(t, "drawn again", second.Public(), first.Public())
	// But not for ever.
	if _, err := KEByID(19).New(ones{}); err == nil {
		t.Error("ecp_256 makes a key from ones")
	}
}

type ones struct{}

func (ones) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 0xff
	}
	return len(p), nil
}

// Whatever the random octets are, both sides agree.
func TestBothSidesAgree(t *testing.T) {
	for _, k := range KEs() {
		if k.ID == 15 || k.ID == 16 {
			continue // slow, and the same code as 14
		}
		rapid.Check(t, func(t *rapid.T) {
			own, err := k.New(&stream{n: rapid.Uint32().Draw(t, "initiator")})
			if err != nil {
				t.Fatal(err)
			}
			public, theirs, err := k.Respond(&stream{n: rapid.Uint32().Draw(t, "responder")}, own.Public())
			if err != nil {
				t.Fatal(err)
			}
			if ours, err := own.Shared(public); err != nil || !bytes.Equal(ours, theirs) {
				t.Fatalf("%s: %x and %x, %v", k.Name, ours, theirs, err)
			}
		})
	}
}

func BenchmarkKE(b *testing.B) {
	for _, k := range KEs() {
		own, err := k.New(&stream{})
		if err != nil {
			b.Fatal(err)
		}
		b.Run(k.Name, func(b *testing.B) {
			for b.Loop() {
				if _, _, err := k.Respond(&stream{}, own.Public()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
