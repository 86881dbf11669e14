package eap

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"cygnet/internal/ipsec"
)

// echo is a toy in the place of TLS: the client sends a long flight, the server
// another one, and both hash what they saw. It has no last flight of the
// client, as TLS 1.2 has none after the server's Finished.
type echo struct {
	client bool
	size   int
	seen   []byte
	bad    string // what fails
}

func (e *echo) Next(in []byte) ([]byte, bool, error) {
	switch {
	case e.client && e.seen == nil:
		e.seen = bytes.Repeat([]byte("c"), e.size)
		return e.seen, false, nil
	case e.bad != "":
		return []byte("alert"), false, errors.New(e.bad)
	case e.client:
		e.seen = append(e.seen, in...)
		return nil, true, nil
	}
	mine := bytes.Repeat([]byte("s"), e.size)
	e.seen = append(append([]byte(nil), in...), mine...)
	return mine, true, nil
}

func (e *echo) Result() (Proven, error) {
	sum := sum(e.seen)
	return Proven{MSK: ipsec.NewSecret(append(sum, make([]byte, mskLen-len(sum))...)), Name: "carol"}, nil
}

// Flights of all lengths around the size of a packet arrive whole.
func TestTLSFragments(t *testing.T) {
	for _, size := range []int{1, tlsPerPart - 1, tlsPerPart, tlsPerPart + 1, 3 * tlsPerPart, maxTLS / 2} {
		s, p := converse(t, NewServer(0, nil, TLSServer(&echo{size: size})), NewPeer("carol", TLSPeer(&echo{client: true, size: size})))
		if s.Outcome != Succeeded || p.Outcome != Succeeded || !s.MSK.Equal(p.MSK) || s.Name != "carol" {
			t.Errorf("%d: %+v, %+v", size, s, p)
		}
	}
}

// An alert reaches the other end, and then both have failed, with the reason at
// the end that knows it.
func TestTLSAlerts(t *testing.T) {
	s, p := converse(t, NewServer(0, nil, TLSServer(&echo{size: 9, bad: "no such user"})), NewPeer("carol", TLSPeer(&echo{client: true, size: 9, bad: "alert"})))
	if s.Outcome != Failed || p.Outcome != Failed || s.Why != "no such user" {
		t.Errorf("%+v, %+v", s, p)
	}
}

// Flights that would need a large buffer, and lengths that are not true, end the
// conversation.
func TestTLSBounds(t *testing.T) {
	for name, parts := range map[string][][]byte{
		"announced too long": {{tlsLength | tlsMore, 0, 2, 0, 0, 'x'}},
		"too long":           repeat(append([]byte{tlsMore}, bytes.Repeat([]byte("x"), 4096)...), 17),
		"shorter than said":  {{tlsLength, 0, 0, 0, 9, 'x'}},
		"nothing":            {{}},
		"half a length":      {{tlsLength, 0, 0}},
		"never ends":         repeat([]byte{tlsMore, 'x'}, maxRounds+1),
	} {
		server := NewServer(0, nil, TLSServer(&echo{size: 1}))
		r, err := server.Next(nil)
		for i := 0; i < len(parts) && err == nil && r.Outcome == Going; i++ {
			r, err = server.Next(Packet{Code: Response, ID: uint8(i), Type: TypeTLS, Data: parts[i]}.Append(nil))
		}
		if err == nil && r.Outcome != Failed {
			t.Errorf("%s: %+v", name, r)
		}
		if err == nil && !strings.Contains(r.Why, "EAP-TLS") {
			t.Errorf("%s: %s", name, r.Why)
		}
	}
}

func repeat(b []byte, n int) (out [][]byte) {
	for range n {
		out = append(out, b)
	}
	return out
}
