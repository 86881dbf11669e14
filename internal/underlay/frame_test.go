package underlay

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

// ESP-25: odd lengths end the stream, slow and joined messages do not matter,
// and no stream has more memory than its longest message.
func TestFrames(t *testing.T) {
	longest := bytes.Repeat([]byte{7}, maxFrame-frameHeader)
	for _, c := range []struct {
		name string
		in   []byte
		want [][]byte
		end  error // nil: any but io.EOF
	}{
		{"nothing", nil, nil, io.EOF},
		{"length 0", []byte{0, 0, 1, 2}, nil, nil},
		{"length 1", []byte{0, 1, 1, 2}, nil, nil},
		{"length 2", []byte{0, 2, 1, 2}, nil, nil},
		{"one octet", []byte{0, 3, 9}, [][]byte{{9}}, io.EOF},
		{"two at once", []byte{0, 3, 9, 0, 4, 8, 7}, [][]byte{{9}, {8, 7}}, io.EOF},
		{"longest", frame(longest), [][]byte{longest}, io.EOF},
		{"half a length", []byte{0, 3, 9, 0}, [][]byte{{9}}, io.ErrUnexpectedEOF},
		{"no message", []byte{0, 9}, nil, io.ErrUnexpectedEOF},
		{"half a message", []byte{0, 9, 1}, nil, io.ErrUnexpectedEOF},
	} {
		for how, r := range map[string]io.Reader{"whole": bytes.NewReader(c.in), "slow": iotest.OneByteReader(bytes.NewReader(c.in))} {
			f := frames{r: r}
			for _, want := range c.want {
				if got, err := f.next(); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s, %s: %d octets, %v, want %d", c.name, how, len(got), err, len(want))
				}
			}
			_, err := f.next()
			if c.end == nil && (err == nil || errors.Is(err, io.EOF)) || c.end != nil && !errors.Is(err, c.end) {
				t.Errorf("%s, %s: ends with %v, want %v", c.name, how, err, c.end)
			}
			if len(f.buf) > maxFrame {
				t.Errorf("%s, %s: %d octets held", c.name, how, len(f.buf))
			}
		}
	}
}

func TestFrame(t *testing.T) {
	if frame() != nil || frame(nil, nil) != nil || frame(make([]byte, maxFrame)) != nil {
		t.Error("a frame of nothing, or of too much")
	}
	if got := frame([]byte{0, 0}, []byte{5}); !bytes.Equal(got, []byte{0, 5, 0, 0, 5}) {
		t.Errorf("% x", got)
	}
}

func TestPrefix(t *testing.T) {
	for in, want := range map[string]error{"IKETCP": nil, "IKETCP\x00\x03x": nil, "iketcp": errPrefix, "GET / HTTP/1.1": errPrefix, "IKE": io.ErrUnexpectedEOF, "": io.EOF} {
		if err := readPrefix(iotest.OneByteReader(bytes.NewReader([]byte(in)))); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", in, err, want)
		}
	}
}

// FuzzFrames: whatever is read, framed again, is what was there.
func FuzzFrames(f *testing.F) {
	f.Add([]byte{0, 3, 9, 0, 4, 8, 7, 0, 0})
	f.Add([]byte{0xff, 0xff})
	f.Fuzz(func(t *testing.T, in []byte) {
		r := frames{r: bytes.NewReader(in)}
		var again []byte
		for {
			msg, err := r.next()
			if err != nil {
				break
			}
			again = append(again, frame(msg)...)
		}
		if !bytes.HasPrefix(in, again) {
			t.Fatalf("% x became % x", in, again)
		}
	})
}
