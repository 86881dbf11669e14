package suite

import (
	"crypto/cipher"
	"hash"
	"io"
	"slices"
	"testing"
)

// adversary.md CRY-01.
func TestSelfTest(t *testing.T) {
	for _, b := range SelfTest() {
		t.Error(b)
	}
}

// wrongAEAD and the others are what a table with one flipped octet makes of an
// algorithm: one bit of what comes out is another.
type wrongAEAD struct{ cipher.AEAD }

func (w wrongAEAD) Seal(dst, nonce, plain, ad []byte) []byte {
	out := w.AEAD.Seal(dst, nonce, plain, ad)
	out[len(dst)] ^= 0x10
	return out
}

type wrongBlock struct{ cipher.Block }

func (w wrongBlock) Encrypt(dst, src []byte) {
	w.Block.Encrypt(dst, src)
	dst[3] ^= 0x10
}

type wrongHash struct{ hash.Hash }

func (w wrongHash) Sum(b []byte) []byte {
	out := w.Hash.Sum(b)
	out[len(b)] ^= 0x10
	return out
}

// Each algorithm in turn has a wrong table: exactly that one is found, and no
// proposal has it any more.
func TestAdv_CRY_01_WrongTable(t *testing.T) {
	check := func(typ TransformType, id uint16, name string, broken []Broken) {
		t.Helper()
		if len(broken) != 1 || broken[0].Type != typ || broken[0].ID != id || broken[0].Name != name {
			t.Errorf("%s with a wrong table: found %v", name, broken)
			return
		}
		for _, list := range [][]Proposal{DefaultIKE(), DefaultIKEv2(), DefaultESP(true), FreeSWANIKE(), FreeSWANESP(true), DefaultAH(true)} {
			for _, p := range Without(list, broken) {
				for _, tr := range p.Offer(1, nil).Transforms {
					is := tr.Type == typ || typ == TypeKE && tr.Type.isAddKE()
					if is && tr.ID == id {
						t.Errorf("%s is offered all the same", name)
					}
				}
			}
		}
	}
	for n, e := range encrs {
		list, bad := slices.Clone(encrs), *e
		if list[n] = &bad; e.NewAEAD != nil {
			bad.NewAEAD = func(key []byte) (cipher.AEAD, error) { c, err := e.NewAEAD(key); return wrongAEAD{c}, err }
		} else if e.NewBlock != nil {
			bad.NewBlock = func(key []byte) (cipher.Block, error) { c, err := e.NewBlock(key); return wrongBlock{c}, err }
		} else {
			continue // NULL has no table
		}
		check(TypeEncr, e.ID, e.Name, selfTest(list, integs, prfs, kes))
	}
	for n, i := range integs {
		list, bad := slices.Clone(integs), *i
		bad.New = func(key []byte) hash.Hash { return wrongHash{i.New(key)} }
		list[n] = &bad
		check(TypeInteg, i.ID, i.Name, selfTest(encrs, list, prfs, kes))
	}
	for n, p := range prfs {
		list, bad := slices.Clone(prfs), *p
		bad.New = func(key []byte) hash.Hash { return wrongHash{p.New(key)} }
		list[n] = &bad
		check(TypePRF, p.ID, p.Name, selfTest(encrs, integs, list, kes))
	}
	for n, k := range kes {
		list, bad := slices.Clone(kes), *k
		bad.Respond = func(rand io.Reader, peer []byte) (public, shared []byte, err error) {
			if public, shared, err = k.Respond(rand, peer); err == nil {
				shared[0] ^= 0x10
			}
			return public, shared, err
		}
		list[n] = &bad
		check(TypeKE, k.ID, k.Name, selfTest(encrs, integs, prfs, list))
	}
}

// What was asked for is never offered in part: without its only group a proposal
// with PFS is none.
func TestWithoutKeepsWhole(t *testing.T) {
	list, err := ParseESP("aes256gcm16-x25519,aes128-sha2_256-modp2048")
	if err != nil {
		t.Fatal(err)
	}
	left := Without(list, []Broken{{Type: TypeKE, ID: x25519.ID}})
	if len(left) != 1 || len(left[0].KE) != 1 || left[0].KE[0] != &modp2048 {
		t.Errorf("left: %+v", left)
	}
	if left := Without(list, nil); len(left) != 2 {
		t.Errorf("without nothing: %+v", left)
	}
}
