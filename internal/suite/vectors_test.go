package suite

import (
	"bytes"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// vector is one case of a file in testdata: names and values.
type vector map[string]string

// vectors reads a file of testdata. A file without cases fails the test, so it
// cannot rot in silence.
func vectors(t testing.TB, file string) []vector {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	var all []vector
	for block := range strings.SplitSeq(string(text), "\n\n") {
		v := vector{}
		for line := range strings.SplitSeq(block, "\n") {
			if name, value, ok := strings.Cut(line, " = "); ok && !strings.HasPrefix(line, "#") {
				v[name] = value
			}
		}
		if len(v) > 0 {
			all = append(all, v)
		}
	}
	if len(all) == 0 {
		t.Fatalf("%s has no cases", file)
	}
	return all
}

// one returns the case that has a name.
func one(t testing.TB, file, name string) vector {
	t.Helper()
	for _, v := range vectors(t, file) {
		if _, ok := v[name]; ok {
			return v
		}
	}
	t.Fatalf("%s has no case with %s", file, name)
	return nil
}

// hex decodes a value and fails the test where it is missing.
func (v vector) hex(t testing.TB, name string) []byte {
	t.Helper()
	b, err := hex.DecodeString(v[name])
	if err != nil || v[name] == "" {
		t.Fatalf("%s: %q, %v", name, v[name], err)
	}
	return b
}

func same(t testing.TB, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s:\n got %x\nwant %x", what, got, want)
	}
}

// stream is an endless reader that repeats a byte pattern made from a seed.
type stream struct{ n uint32 }

func (s *stream) Read(p []byte) (int, error) {
	for i := range p {
		s.n = s.n*1664525 + 1013904223
		p[i] = byte(s.n >> 24)
	}
	return len(p), nil
}

var _ io.Reader = (*stream)(nil)
