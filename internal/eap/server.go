package eap

import (
	"fmt"
	"slices"
	"unicode/utf8"
)

// ServerMethod is a method as a server has it.
type ServerMethod struct {
	kind   Type
	method serverMethod
}

// serverMethod is what happens inside the packets of one type.
type serverMethod interface {
	// begin returns the data of the first request.
	begin() ([]byte, error)
	// answer takes the data of a response and returns that of the next request,
	// or done. Data with an error are the method's own last word.
	answer(data []byte) (next []byte, done bool, err error)
	// result is what has come of it, after done.
	result() (Proven, error)
}

// Server asks a peer who it is. It implements Talk.
type Server struct {
	methods []ServerMethod // not tried yet
	now     ServerMethod
	name    func(string) // told what the peer calls itself; nil: it is not asked
	id      uint8
	asked   Type // what the last request was
	rounds  int
	last    error // why the conversation ends with the next packet
	over    bool
}

// NewServer returns a conversation that tries the methods in order, as far as
// the peer wants others. With identity, the peer is first asked what it calls
// itself, which identity is told and which proves nothing. first is the
// identifier of the first request.
func NewServer(first uint8, identity func(string), methods ...ServerMethod) *Server {
	return &Server{id: first, name: identity, methods: methods}
}

// Next implements Talk.
func (s *Server) Next(packet []byte) (Reply, error) {
	if s.asked == 0 && !s.over {
		if s.name != nil {
			return s.ask(TypeIdentity, nil), nil
		}
		return s.begin()
	}
	p, err := Parse(packet)
	if s.rounds++; s.rounds > maxRounds {
		err = ErrTooLong
	}
	if err == nil && (s.over || p.Code != Response || p.ID != s.id) {
		err = fmt.Errorf("%w: it answers nothing that was asked", ErrPacket)
	}
	if err != nil {
		return Reply{}, err
	}
	s.id++
	switch {
	case p.Type == TypeNak && s.asked == s.now.kind && s.last == nil:
		return s.other(p.Data)
	case p.Type != s.asked:
		return Reply{}, fmt.Errorf("%w: type %d, asked was %d", ErrPacket, p.Type, s.asked)
	case p.Type == TypeIdentity && s.now.method == nil:
		if len(p.Data) > maxName || !utf8.Valid(p.Data) {
			return Reply{}, fmt.Errorf("%w: no identity", ErrPacket)
		}
		s.name(string(p.Data))
		return s.begin()
	}
	return s.answered(p.Data)
}

// begin takes the next method.
func (s *Server) begin() (Reply, error) {
	if len(s.methods) == 0 {
		return s.fail("the peer wants none of our EAP methods"), nil
	}
	s.now, s.methods = s.methods[0], s.methods[1:]
	data, err := s.now.method.begin()
	if err != nil {
		return s.fail(err.Error()), nil
	}
	return s.ask(s.now.kind, data), nil
}

// other follows a Nak, RFC 3748 section 5.3.1: the first method of ours that the
// peer would have instead.
func (s *Server) other(wanted []byte) (Reply, error) {
	s.methods = slices.DeleteFunc(s.methods, func(m ServerMethod) bool { return !slices.Contains(wanted, byte(m.kind)) })
	return s.begin()
}

func (s *Server) answered(data []byte) (Reply, error) {
	if s.last != nil {
		return s.fail(s.last.Error()), nil
	}
	next, done, err := s.now.method.answer(data)
	switch {
	case err != nil && next != nil: // told to the peer before the end
		s.last = err
		return s.ask(s.now.kind, next), nil
	case err != nil:
		return s.fail(err.Error()), nil
	case !done:
		return s.ask(s.now.kind, next), nil
	}
	proven, err := s.now.method.result()
	if err != nil {
		return s.fail(err.Error()), nil
	}
	s.over = true
	return Reply{Packet: Packet{Code: Success, ID: s.id}.Append(nil), Outcome: Succeeded, Proven: proven}, nil
}

func (s *Server) ask(t Type, data []byte) Reply {
	s.asked = t
	return Reply{Packet: Packet{Code: Request, ID: s.id, Type: t, Data: data}.Append(nil)}
}

func (s *Server) fail(why string) Reply {
	s.over = true
	return Reply{Packet: Packet{Code: Failure, ID: s.id}.Append(nil), Outcome: Failed, Why: why}
}
