package eap

import (
	"errors"
	"fmt"

	"cygnet/internal/octet"
)

// Handshake is a handshake of TLS whose messages travel in EAP-TLS.
type Handshake interface {
	// Next takes the other end's flight (none at the client's beginning) and
	// returns ours. done means that nothing more is expected from the other
	// end. What comes with an error is an alert.
	Next(flight []byte) (ours []byte, done bool, err error)
	// Result is what has come of it, after done.
	Result() (Proven, error)
}

// Flags of EAP-TLS, RFC 5216 section 3.1.
const (
	tlsLength = 0x80 // the length of the whole flight precedes
	tlsMore   = 0x40 // fragments follow
	tlsStart  = 0x20
)

// tlsFlow carries flights over packets, RFC 5216 section 2.1.5: long ones in
// fragments, each of which the other end acknowledges with an empty packet.
type tlsFlow struct {
	h      Handshake
	in     []byte // the flight that is coming in
	want   int    // its length, if that was said
	out    []byte // what is left of ours
	first  bool   // out has not begun
	done   bool   // the handshake has ended, perhaps with out still to send
	failed error
}

// take handles the data of one packet from the other end. ready means that a
// whole flight has come, or that ours has gone out and the turn is ours.
func (f *tlsFlow) take(data []byte) (ready bool, err error) {
	r := octet.NewReader(data)
	flags, total := r.Uint8(), 0
	if flags&tlsLength != 0 {
		total = int(r.Uint32())
	}
	part := r.Rest()
	switch {
	case r.Err() != nil:
		return false, fmt.Errorf("%w: EAP-TLS: %w", ErrPacket, r.Err())
	case len(f.out) > 0:
		if len(part) > 0 {
			return false, fmt.Errorf("%w: EAP-TLS data before our flight was out", ErrPacket)
		}
		return false, nil
	case total > maxTLS, len(f.in)+len(part) > maxTLS:
		return false, fmt.Errorf("%w: EAP-TLS flight longer than %d octets", ErrPacket, maxTLS)
	case f.in == nil:
		f.want = total
	}
	f.in = append(f.in, part...)
	if flags&tlsMore != 0 {
		return false, nil
	}
	if f.want != 0 && f.want != len(f.in) {
		return false, fmt.Errorf("%w: EAP-TLS flight of %d octets, %d were announced", ErrPacket, len(f.in), f.want)
	}
	return true, nil
}

// pump hands the flight to TLS.
func (f *tlsFlow) pump() {
	in := f.in
	f.in = nil
	f.out, f.done, f.failed = f.h.Next(in)
	f.first = true
}

// part is the data of our next packet: a fragment, or an acknowledgement.
func (f *tlsFlow) part() []byte {
	n := min(len(f.out), tlsPerPart)
	flags, head := byte(0), []byte(nil)
	if n < len(f.out) {
		flags |= tlsMore
		if f.first {
			flags |= tlsLength
			head = octet.AppendUint32(nil, uint32(len(f.out)))
		}
	}
	data := append(append([]byte{flags}, head...), f.out[:n]...)
	f.out, f.first = f.out[n:], false
	return data
}

// tlsServer is EAP-TLS as the server runs it.
type tlsServer struct{ tlsFlow }

// TLSServer is the method over a handshake of a TLS server.
func TLSServer(h Handshake) ServerMethod { return ServerMethod{TypeTLS, &tlsServer{tlsFlow{h: h}}} }

func (s *tlsServer) begin() ([]byte, error) { return []byte{tlsStart}, nil }

func (s *tlsServer) answer(data []byte) ([]byte, bool, error) {
	ready, err := s.take(data)
	if err != nil {
		return nil, false, err
	}
	if ready {
		switch {
		case s.done && len(data) > 1:
			return nil, false, fmt.Errorf("%w: EAP-TLS data after the handshake", ErrPacket)
		case s.done:
			return nil, true, nil
		}
		s.pump()
		if s.failed != nil && len(s.out) == 0 {
			return nil, false, s.failed
		}
	}
	next := s.part()
	if s.failed != nil && len(s.out) == 0 {
		return next, false, s.failed
	}
	return next, false, nil
}

func (s *tlsServer) result() (Proven, error) { return s.h.Result() }

// tlsPeer is EAP-TLS as the peer runs it.
type tlsPeer struct {
	tlsFlow
	begun bool
}

// TLSPeer is the method over a handshake of a TLS client.
func TLSPeer(h Handshake) PeerMethod { return PeerMethod{TypeTLS, &tlsPeer{tlsFlow: tlsFlow{h: h}}} }

func (p *tlsPeer) answer(data []byte) ([]byte, bool, error) {
	if !p.begun {
		if len(data) == 0 || data[0]&tlsStart == 0 {
			return nil, false, errors.New("EAP-TLS without a start")
		}
		p.begun = true
		p.pump()
		return p.said()
	}
	ready, err := p.take(data)
	switch {
	case err != nil:
		return nil, false, err
	case p.done && ready:
		return nil, false, fmt.Errorf("%w: EAP-TLS data after the handshake", ErrPacket)
	case ready:
		p.pump()
	}
	return p.said()
}

// said is our next packet, and whether it is the last.
func (p *tlsPeer) said() ([]byte, bool, error) {
	if p.failed != nil && len(p.out) == 0 {
		return nil, false, p.failed
	}
	next := p.part()
	if p.failed != nil {
		return next, false, p.failed
	}
	return next, p.done && len(p.out) == 0, nil
}

func (p *tlsPeer) result() (Proven, error) { return p.h.Result() }
