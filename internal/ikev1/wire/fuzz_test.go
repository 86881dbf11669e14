package wire

import (
	"bytes"
	"errors"
	"testing"

	"cygnet/internal/ike"
)

func checkError(t *testing.T, err error) {
	t.Helper()
	if _, ok := errors.AsType[*ike.DropError](err); !ok {
		t.Fatalf("error %T: %v", err, err)
	}
}

var shapes = []Shape{MainSA, MainKE, MainHash, MainSig, Quick, QuickLast, Info, InfoClear}

// FuzzParse: no panic; what parses, re-encodes and parses equal.
func FuzzParse(f *testing.F) {
	vc := vector(f)
	f.Add(vc("mm1"))
	f.Add(vc("mm5"))
	f.Add(Append(nil, mainHeader, everyPayload()...))
	f.Add(raw(ike.PayloadV1SA, one(0, []byte{0, 0, 0, 1, 0, 0, 0, 1, 2, 0, 0, 8, 1, 1, 255, 255})))
	f.Add(raw(draftNATD, one(132, make([]byte, 20))))
	f.Fuzz(func(t *testing.T, msg []byte) {
		m, err := Parse(msg)
		if err != nil {
			checkError(t, err)
			return
		}
		same(t, m.Payloads, func(ps Payloads) Payloads {
			again, err := Parse(Append(nil, m.Header, ps...))
			if err != nil {
				t.Fatalf("re-encoded: %v", err)
			}
			return again.Payloads
		})
	})
}

// same checks that payloads survive encoding, SA payloads without their octets
// as received as well.
func same(t *testing.T, ps Payloads, through func(Payloads) Payloads) {
	t.Helper()
	for _, s := range shapes {
		if err := s.Check(ps, true); err != nil {
			checkError(t, err)
		}
	}
	bare := make(Payloads, len(ps))
	for i, p := range ps {
		if sa, ok := p.(SA); ok {
			sa.raw = nil
			p = sa
		}
		if n, ok := p.(Notify); ok {
			_ = n.Error()
		}
		bare[i] = p
	}
	b := AppendPayloads(nil, through(ps)...)
	if c := AppendPayloads(nil, ps...); !bytes.Equal(b, c) {
		t.Fatalf("encoded in two ways:\n%x\n%x", b, c)
	}
	b = AppendPayloads(nil, through(bare)...)
	if c := AppendPayloads(nil, bare...); !bytes.Equal(b, c) {
		t.Fatalf("encoded in two ways:\n%x\n%x", b, c)
	}
}

// FuzzOpen is a peer that holds the keys and encrypts what it likes.
func FuzzOpen(f *testing.F) {
	vc := vector(f)
	c, iv := block(f, vc("SKEYID_e")), vc("QM_IV")
	o, err := Open(vc("qm1"), c, iv)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint8(8), AppendPayloads(nil, o.Payloads...))
	f.Add(uint8(8), AppendPayloads(nil, everyPayload()...))
	f.Add(uint8(0), []byte{})
	f.Fuzz(func(t *testing.T, next uint8, inner []byte) {
		if len(inner) > 60000 {
			return
		}
		h := ike.Header{SPIi: 1, SPIr: 2, Major: 1, Exchange: ike.QuickMode, MessageID: 7, Next: ike.PayloadType(next), Flags: ike.FlagEncryption}
		text := append(bytes.Clone(inner), make([]byte, (16-len(inner)%16)%16)...)
		msg := append(h.Append(nil), encrypt(c, iv, text)...)
		setLength(msg)
		o, err := Open(msg, c, iv)
		if err != nil {
			checkError(t, err)
			return
		}
		for i, rest := range o.After {
			if len(rest) > len(inner) || i == len(o.After)-1 && len(rest) != 0 {
				t.Fatalf("After[%d] has %d octets", i, len(rest))
			}
		}
		same(t, o.Payloads, func(ps Payloads) Payloads {
			sealed, next := Seal(nil, h, c, iv, ps...)
			again, err := Open(sealed, c, iv)
			if err != nil {
				t.Fatalf("re-encoded: %v", err)
			}
			if !bytes.Equal(next, again.IV) {
				t.Fatal("IVs differ")
			}
			return again.Payloads
		})
	})
}
