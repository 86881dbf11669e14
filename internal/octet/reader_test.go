package octet

import (
	"bytes"
	"errors"
	"testing"
)

func TestReaderReadsFieldsInOrder(t *testing.T) {
	r := NewReader([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17})
	if a, b, c, d := r.Uint8(), r.Uint16(), r.Uint32(), r.Uint64(); a != 1 || b != 0x0203 || c != 0x04050607 || d != 0x08090a0b0c0d0e0f {
		t.Fatalf("got %x %x %x %x", a, b, c, d)
	}
	if r.Offset() != 15 || r.Len() != 2 || r.Err() != nil {
		t.Fatalf("offset %d, %d left, %v", r.Offset(), r.Len(), r.Err())
	}
	if rest := r.Rest(); !bytes.Equal(rest, []byte{16, 17}) || r.Len() != 0 {
		t.Fatalf("rest %x", rest)
	}
}

func TestFirstErrorSticks(t *testing.T) {
	r := NewReader([]byte{1, 2, 3})
	r.Uint16()
	if got := r.Uint32(); got != 0 || !errors.Is(r.Err(), ErrShort) {
		t.Fatalf("got %d, %v", got, r.Err())
	}
	first := r.Err()
	r.Fail(errors.New("later"))
	if r.Err() != first || r.Uint8() != 0 || r.Len() != 0 {
		t.Fatal("an error did not stick")
	}
}

func TestSubKeepsToItsPart(t *testing.T) {
	r := NewReader([]byte{1, 2, 3, 4})
	s := r.Sub(2)
	if s.Uint32() != 0 || s.Err() == nil {
		t.Fatal("a part read past its end")
	}
	if r.Err() != nil || r.Uint16() != 0x0304 {
		t.Fatal("a failure in a part reached the whole")
	}
	if r.Sub(1).Err() == nil {
		t.Fatal("a part of nothing has no error")
	}
}

func TestBytesCannotGrowIntoTheRest(t *testing.T) {
	in := []byte{1, 2, 3}
	p := NewReader(in).Bytes(1)
	_ = append(p, 9)
	if in[1] != 2 {
		t.Fatal("append to a read slice overwrote the input")
	}
}

func TestAppendLen16CountsItsHeader(t *testing.T) {
	b := AppendLen16([]byte{0xaa}, 4, func(b []byte) []byte { return append(b, 1, 2, 3) })
	if !bytes.Equal(b, []byte{0xaa, 0, 7, 1, 2, 3}) {
		t.Fatalf("%x", b)
	}
}

// FuzzReader drives a Reader by a script of operations and checks that it
// never hands out an octet twice or one that is not there.
func FuzzReader(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5}, []byte("some octets to read"))
	f.Add([]byte{5, 255, 4, 200, 0}, []byte{1})
	f.Fuzz(func(t *testing.T, script, input []byte) {
		r := NewReader(input)
		for i := 0; i < len(script); i++ {
			before, wasErr := r.Offset(), r.Err()
			n := 0
			switch script[i] % 6 {
			case 0:
				r.Uint8()
				n = 1
			case 1:
				r.Uint16()
				n = 2
			case 2:
				r.Uint32()
				n = 4
			case 3:
				r.Uint64()
				n = 8
			case 4:
				if i++; i < len(script) {
					n = int(int8(script[i]))
				}
				if p := r.Bytes(n); p != nil && !bytes.Equal(p, input[before:before+n]) {
					t.Fatal("wrong octets")
				}
			case 5:
				if i++; i < len(script) {
					n = int(script[i])
				}
				r.Sub(n).Rest()
			}
			switch {
			case wasErr != nil && (r.Err() != wasErr || r.Offset() != before):
				t.Fatal("moved after an error")
			case r.Err() == nil && r.Offset() != before+n:
				t.Fatalf("read %d octets, moved %d", n, r.Offset()-before)
			case r.Offset() > len(input):
				t.Fatal("read past the end")
			}
		}
	})
}
