package wire

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"reflect"
	"strings"
	"testing"

	"cygnet/internal/ike"
)

// vector reads testdata/vc.txt: exchange V-C, made independently of this code
// and decrypted by tshark.
func vector(t testing.TB) func(name string) []byte {
	t.Helper()
	text, err := os.ReadFile("testdata/vc.txt")
	if err != nil {
		t.Fatal(err)
	}
	values := map[string][]byte{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " = ")
		if values[name], err = hex.DecodeString(value); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	return func(name string) []byte {
		t.Helper()
		if values[name] == nil {
			t.Fatalf("no value %s", name)
		}
		return bytes.Clone(values[name])
	}
}

func block(t testing.TB, key []byte) cipher.Block {
	t.Helper()
	b, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestVectorMainMode(t *testing.T) {
	vc := vector(t)
	m, err := Parse(vc("mm1"))
	if err != nil {
		t.Fatal(err)
	}
	sa, ok := m.SA()
	if !ok || !bytes.Equal(sa.Body(), vc("SAi_b")) {
		t.Errorf("SAi_b %x", sa.Body())
	}
	want := []Proposal{{Number: 1, Protocol: ProtoISAKMP, SPI: []byte{}, Transforms: []Transform{{Number: 1, ID: 1, Attrs: []Attr{
		NewAttr(1, 7), NewAttr(14, 256), NewAttr(2, 4), NewAttr(3, 1), NewAttr(4, 14), NewAttr(11, 1), NewAttr(12, 28800),
	}}}}}
	if !reflect.DeepEqual(sa.Proposals, want) {
		t.Errorf("proposals %+v", sa.Proposals)
	}
	built := Append(nil, m.Header, SA{Proposals: want})
	if !bytes.Equal(built, vc("mm1")) {
		t.Errorf("encoded anew:\n%x\n%x", built, vc("mm1"))
	}
	c := block(t, vc("SKEYID_e"))
	iv := vc("IV0")
	for _, step := range []struct{ msg, hash, id string }{{"mm5", "HASH_I", "192.0.2.1"}, {"mm6", "HASH_R", "198.51.100.2"}} {
		o, err := Open(vc(step.msg), c, iv)
		if err != nil {
			t.Fatalf("%s: %v", step.msg, err)
		}
		if err := MainHash.Check(o.Payloads, false); err != nil {
			t.Error(err)
		}
		h, _ := o.HASH()
		if !bytes.Equal(h.Data, vc(step.hash)) {
			t.Errorf("%s: HASH %x", step.msg, h.Data)
		}
		if id := o.IDs()[0].Identity(); id.String() != step.id {
			t.Errorf("%s: identity %s", step.msg, id)
		}
		head, _ := ike.ParseHeader(vc(step.msg))
		sealed, next := Seal(nil, head, c, iv, o.Payloads...)
		if !bytes.Equal(sealed, vc(step.msg)) || !bytes.Equal(next, o.IV) {
			t.Errorf("%s: encoded anew:\n%x\n%x", step.msg, sealed, vc(step.msg))
		}
		iv = o.IV
	}
}

// Quick Mode and DPD: the HASH covers what After gives.
func TestVectorQuickMode(t *testing.T) {
	vc := vector(t)
	c := block(t, vc("SKEYID_e"))
	prf := func(parts ...[]byte) []byte {
		m := hmac.New(sha256.New, vc("SKEYID_a"))
		for _, p := range parts {
			m.Write(p)
		}
		return m.Sum(nil)
	}
	id := []byte{0x5e, 0xed, 0, 1}
	iv := vc("QM_IV")
	ni := bytes.Repeat([]byte{0x33}, 16)
	nr := bytes.Repeat([]byte{0x44}, 16)
	for _, step := range []struct {
		msg, hash string
		shape     Shape
		prf       func(o *Opened) []byte
	}{
		{"qm1", "HASH1", Quick, func(o *Opened) []byte { return prf(id, o.After[0]) }},
		{"qm2", "HASH2", Quick, func(o *Opened) []byte { return prf(id, ni, o.After[0]) }},
		{"qm3", "HASH3", QuickLast, func(*Opened) []byte { return prf([]byte{0}, id, ni, nr) }},
	} {
		o, err := Open(vc(step.msg), c, iv)
		if err != nil {
			t.Fatalf("%s: %v", step.msg, err)
		}
		if err := step.shape.Check(o.Payloads, false); err != nil {
			t.Error(err)
		}
		h, _ := o.HASH()
		if want := vc(step.hash); !bytes.Equal(h.Data, want) || !bytes.Equal(step.prf(o), want) {
			t.Errorf("%s: HASH %x, computed %x", step.msg, h.Data, step.prf(o))
		}
		head, _ := ike.ParseHeader(vc(step.msg))
		if sealed, _ := Seal(nil, head, c, iv, o.Payloads...); !bytes.Equal(sealed, vc(step.msg)) {
			t.Errorf("%s: encoded anew:\n%x\n%x", step.msg, sealed, vc(step.msg))
		}
		iv = o.IV
	}
}

// Every flipped bit of an encrypted message is noticed by the decoder or by
// HASH(1); and a message that does not decode leaves the IV alone (V1-25).
func TestFlippedBitsNeverPass(t *testing.T) {
	vc := vector(t)
	c := block(t, vc("SKEYID_e"))
	good := vc("qm1")
	for i := ike.HeaderLen; i < len(good); i++ {
		msg := bytes.Clone(good)
		msg[i] ^= 1 << (i % 8)
		o, err := Open(msg, c, vc("QM_IV"))
		if err != nil {
			continue
		}
		m := hmac.New(sha256.New, vc("SKEYID_a"))
		m.Write([]byte{0x5e, 0xed, 0, 1})
		m.Write(o.After[0])
		h, ok := o.HASH()
		if ok && hmac.Equal(m.Sum(nil), h.Data) && i < len(good)-16 {
			t.Errorf("octet %d: passes", i)
		}
	}
}

func encrypt(c cipher.Block, iv, text []byte) []byte {
	out := make([]byte, len(text))
	cipher.NewCBCEncrypter(c, iv).CryptBlocks(out, text)
	return out
}
