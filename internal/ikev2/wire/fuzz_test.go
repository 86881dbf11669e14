package wire

import (
	"bytes"
	"errors"
	"testing"

	"cygnet/internal/ike"
)

// expressible reports whether what was decoded can be written down again: a TS
// payload of which nothing usable was left cannot.
func expressible(ps Payloads) bool {
	for _, p := range ps {
		switch p := p.(type) {
		case TSi:
			if len(p.Selectors) == 0 {
				return false
			}
		case TSr:
			if len(p.Selectors) == 0 {
				return false
			}
		}
	}
	return true
}

// FuzzParse: no panic; errors are of the two kinds; what parses, re-encodes
// and parses equal.
func FuzzParse(f *testing.F) {
	va := vector(f)
	for _, name := range []string{"m1", "m2", "m3", "m6", "m3_frag2"} {
		f.Add(va(name))
	}
	h := infoHeader
	f.Add(Append(nil, h, everyPayload()...))
	f.Fuzz(func(t *testing.T, msg []byte) {
		m, err := Parse(msg)
		if err != nil {
			checkError(t, err, true)
			return
		}
		if !expressible(m.Payloads) {
			return
		}
		b := Append(nil, m.Header, m.Payloads...)
		again, err := Parse(b)
		if err != nil {
			t.Fatalf("re-encoded: %v\n%x", err, b)
		}
		if d := equal(m.Payloads, again.Payloads); d != "" {
			t.Fatal(d)
		}
		if c := Append(nil, again.Header, again.Payloads...); !bytes.Equal(b, c) {
			t.Fatalf("encoded in two ways:\n%x\n%x", b, c)
		}
	})
}

func checkError(t *testing.T, err error, clear bool) {
	t.Helper()
	if _, ok := errors.AsType[*ike.DropError](err); ok {
		if !clear {
			t.Fatalf("authenticated content dropped: %v", err)
		}
		return
	}
	ne, ok := errors.AsType[*ike.NotifyError](err)
	if !ok {
		t.Fatalf("error %T: %v", err, err)
	}
	switch {
	case ne.Type == ike.NotifyUnsupportedCritical:
		if len(ne.Data) != 1 {
			t.Fatalf("data %x", ne.Data)
		}
	case clear:
		t.Fatalf("unprotected octets answered: %v", err)
	case ne.Type != ike.NotifyInvalidSyntax && ne.Type != ike.NotifyAuthenticationFailed:
		t.Fatalf("unexpected notify: %v", err)
	}
}

// FuzzOpen is a peer that holds the keys and seals what it likes.
func FuzzOpen(f *testing.F) {
	va := vector(f)
	f.Add(uint8(35), uint8(ike.Auth), uint8(ike.FlagInitiator), va("m3_inner"))
	f.Add(uint8(36), uint8(ike.Auth), uint8(ike.FlagResponse), va("m4_inner"))
	f.Add(uint8(33), uint8(ike.Informational), uint8(0), AppendPayloads(nil, everyPayload()))
	f.Add(uint8(0), uint8(ike.Informational), uint8(0), []byte{})
	f.Add(uint8(46), uint8(ike.CreateChild), uint8(0), one(0, 1, 0, 1))
	f.Fuzz(func(t *testing.T, next, exchange, flags uint8, inner []byte) {
		if len(inner) > 60000 || ike.ExchangeType(exchange) == ike.SAInit {
			return
		}
		h := infoHeader
		h.Exchange, h.Flags = ike.ExchangeType(exchange), ike.Flags(flags)
		for _, ends := range pair(t) {
			ps, err := Open(seal(nil, h, SK{Next: ike.PayloadType(next)}, inner, ends[0]), ends[1])
			if err != nil {
				checkError(t, err, false)
				continue
			}
			if !expressible(ps) {
				continue
			}
			again, err := Open(Seal(nil, h, ps, ends[0]), ends[1])
			if err != nil {
				t.Fatalf("re-encoded: %v", err)
			}
			if d := equal(ps, again); d != "" {
				t.Fatal(d)
			}
		}
	})
}

// FuzzOpenForged is somebody without the keys: nothing opens.
func FuzzOpenForged(f *testing.F) {
	va := vector(f)
	for _, name := range []string{"m1", "m3", "m4", "m6", "m3_frag1"} {
		f.Add(va(name))
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		for name, ends := range pair(t) {
			if _, err := Open(msg, ends[1]); err == nil {
				t.Fatalf("%s: opened", name)
			} else {
				checkError(t, err, true)
			}
			if _, err := OpenFragment(msg, ends[1]); err == nil {
				t.Fatalf("%s: fragment opened", name)
			}
		}
	})
}
