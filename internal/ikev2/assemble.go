package ikev2

import (
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
)

// assembly joins the fragments of one message, RFC 7383 section 2.6. There is
// one for requests and one for responses, each of the only message ID that is
// expected, so that memory is bounded whatever comes. Nothing is kept before
// its integrity is proven.
type assembly struct {
	id     uint32
	next   ike.PayloadType // of the message's first payload
	pieces [][]byte        // by fragment number less one; nil: missing
	have   int
	octets int
	until  time.Time // when the rest is not waited for any more
}

// errMore says that a message is not complete yet. It is dropped without blame.
type errMore struct{}

func (errMore) Error() string { return "more fragments to come" }

// errFragment is a fragment that must be ignored, which costs nobody anything.
type errFragment struct{ why string }

func (e errFragment) Error() string { return e.why }

// isFragment reports whether a message is a fragment by its header.
func isFragment(msg []byte) bool {
	h, err := ike.ParseHeader(msg)
	return err == nil && h.Next == ike.PayloadSKF
}

// assemble takes one fragment and returns the message that it completes.
func (s *step) assemble(in inbound) (opened, error) {
	if !s.fragments {
		return opened{}, errFragment{"fragments were not agreed on"}
	}
	a := &s.asking
	if in.Response() {
		a = &s.answering
	}
	if len(a.pieces) > 0 && a.id != in.MessageID {
		*a = assembly{} // of an exchange that is over
	}
	if err := a.wants(in.msg); err != nil {
		return opened{}, err
	}
	f, err := wire.OpenFragment(in.msg, s.opener)
	if err != nil {
		return opened{}, err
	}
	if err := a.put(in.MessageID, f); err != nil {
		return opened{}, err
	}
	if a.have < len(a.pieces) {
		a.until = s.now.Add(assemblyLife)
		return opened{}, errMore{}
	}
	whole := opened{a.next, concat(a.pieces...)}
	*a = assembly{}
	return whole, nil
}

// wants looks at a fragment before its integrity is checked, which is dear.
func (a *assembly) wants(msg []byte) error {
	m, err := wire.Parse(msg)
	if err != nil {
		return err
	}
	f, ok := m.Payloads[0].(wire.SKF)
	switch {
	case !ok || int(f.Total) > maxFragments:
		return errFragment{"too many fragments"}
	case int(f.Total) < len(a.pieces): // the sender only ever cuts smaller
		return errFragment{"fragment of an older set"}
	case int(f.Total) == len(a.pieces) && a.pieces[f.Number-1] != nil:
		return errFragment{"fragment twice"}
	}
	return nil
}

// put keeps a fragment that is the peer's. A larger number of fragments begins
// a new set: the sender found the path narrower than it thought.
func (a *assembly) put(id uint32, f wire.SKF) error {
	if int(f.Total) > len(a.pieces) {
		*a = assembly{id: id, pieces: make([][]byte, f.Total)}
	}
	if a.octets+len(f.Body) > maxAssembled {
		*a = assembly{}
		return errFragment{"the message is too long"}
	}
	if f.Number == 1 {
		a.next = f.Next
	}
	a.pieces[f.Number-1] = append([]byte{}, f.Body...)
	a.have++
	a.octets += len(f.Body)
	return nil
}

// repeats reports whether a fragment is the first of the last request again.
// Only the first makes us repeat the answer (RFC 7383, 2.6.1), however many
// came; how it is cut this time does not matter, whether it is the peer's does.
func (s *step) repeats(in inbound) bool {
	if !s.fragments || s.opener == nil || !s.icvFailures.Peek(s.now, icvBurst, icvPerSec) {
		return false
	}
	m, err := wire.Parse(in.msg)
	if err != nil {
		return false
	}
	if f, ok := m.Payloads[0].(wire.SKF); !ok || f.Number != 1 {
		return false
	}
	for _, c := range []wire.SKCipher{s.opener, s.openerBefore} {
		if c != nil {
			if _, err := wire.OpenFragment(in.msg, c); err == nil {
				return true
			}
		}
	}
	s.icvFailures.Take(s.now, icvBurst, icvPerSec)
	return false
}
