package tun

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"pgregory.net/rapid"
)

func TestHeaderRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := Header{
			NeedsCsum:  rapid.Bool().Draw(t, "csum"),
			GSO:        rapid.SampledFrom([]GSO{GSONone, GSOTCP4, GSOTCP6, GSOUDP}).Draw(t, "gso"),
			ECN:        rapid.Bool().Draw(t, "ecn"),
			HdrLen:     rapid.Uint16().Draw(t, "len"),
			Size:       rapid.Uint16().Draw(t, "size"),
			CsumStart:  rapid.Uint16().Draw(t, "start"),
			CsumOffset: rapid.Uint16().Draw(t, "offset"),
		}
		var b [HeaderLen]byte
		h.Put(b[:])
		if got := ParseHeader(b[:]); got != h {
			t.Fatalf("got %+v, want %+v", got, h)
		}
	})
}

func TestPair(t *testing.T) {
	a, b := Pair("a", "b")
	buf := make([]byte, MaxRead)
	if _, err := b.Queues()[0].Read(buf, false); !errors.Is(err, ErrAgain) {
		t.Fatalf("empty queue: %v", err)
	}
	if err := a.Queues()[0].Write([][]byte{make([]byte, HeaderLen), []byte("packet"), []byte("s")}); err != nil {
		t.Fatal(err)
	}
	n, err := b.Queues()[0].Read(buf, true)
	if err != nil || !bytes.Equal(buf[HeaderLen:n], []byte("packets")) {
		t.Fatalf("read %q, %v", buf[:n], err)
	}
	b.Close()
	if _, err := a.Queues()[0].Read(buf, true); !errors.Is(err, os.ErrClosed) {
		t.Fatalf("after Close: %v", err)
	}
}
