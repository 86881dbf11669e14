package eap

import "fmt"

// PeerMethod is a method as a peer has it.
type PeerMethod struct {
	kind   Type
	method peerMethod
}

type peerMethod interface {
	// answer takes the data of a request and returns that of our response. done
	// means that the server has proven what it must, so that a Success counts.
	// Data with an error are the method's own last word.
	answer(data []byte) (next []byte, done bool, err error)
	// result is what has come of it, after done.
	result() (Proven, error)
}

// Peer says who we are. It implements Talk.
type Peer struct {
	name   string
	m      PeerMethod
	begun  bool // the method: whoever asks for another one now is too late
	done   bool
	failed error
	rounds int
}

// NewPeer returns a conversation in which we are called name and do m.
func NewPeer(name string, m PeerMethod) *Peer { return &Peer{name: name, m: m} }

// Next implements Talk.
func (p *Peer) Next(packet []byte) (Reply, error) {
	in, err := Parse(packet)
	if p.rounds++; p.rounds > maxRounds {
		err = ErrTooLong
	}
	if err != nil {
		return Reply{}, err
	}
	switch in.Code {
	case Request:
		return p.request(in)
	case Success:
		return p.success()
	case Failure:
		why := "the server refuses us"
		if p.failed != nil {
			why = p.failed.Error()
		}
		return Reply{Outcome: Failed, Why: why}, nil
	}
	return Reply{}, fmt.Errorf("%w: code %d", ErrPacket, in.Code)
}

func (p *Peer) request(in Packet) (Reply, error) {
	answer := func(t Type, data []byte) (Reply, error) {
		return Reply{Packet: Packet{Code: Response, ID: in.ID, Type: t, Data: data}.Append(nil)}, nil
	}
	switch {
	case in.Type == TypeNotification: // section 5.2: it is only acknowledged
		return answer(TypeNotification, nil)
	case in.Type == TypeIdentity && !p.begun:
		return answer(TypeIdentity, []byte(p.name))
	case in.Type != p.m.kind && !p.begun:
		return answer(TypeNak, []byte{byte(p.m.kind)})
	case in.Type != p.m.kind, p.done, p.failed != nil:
		return Reply{}, fmt.Errorf("%w: request of type %d", ErrPacket, in.Type)
	}
	p.begun = true
	next, done, err := p.m.method.answer(in.Data)
	if err != nil {
		if next == nil {
			return Reply{Outcome: Failed, Why: err.Error()}, nil
		}
		p.failed = err
	}
	p.done = done && err == nil
	return answer(p.m.kind, next)
}

// success counts only when the method has come to its own end: a server that
// goes there straight has proven nothing.
func (p *Peer) success() (Reply, error) {
	if !p.done {
		return Reply{}, ErrUnproven
	}
	proven, err := p.m.method.result()
	if err != nil {
		return Reply{Outcome: Failed, Why: err.Error()}, nil
	}
	return Reply{Outcome: Succeeded, Proven: proven}, nil
}
