package eap

import (
	"crypto/hmac"
	"errors"
	"fmt"
	"io"

	"cygnet/internal/ipsec"
	"cygnet/internal/octet"
)

// The exchange of EAP-MSCHAPv2, draft-kamath-pppext-eap-mschapv2-02:
//
//	<-- Challenge(name of the server)
//	--> Response(name of the user)
//	<-- Success("S=…")
//	--> Success

// opCode says what a message is, section 2 of the draft.
type opCode uint8

const (
	opChallenge opCode = 1
	opResponse  opCode = 2
	opSuccess   opCode = 3
	opFailure   opCode = 4
)

// mschap is one message.
//
//	|    OpCode     | MS-CHAPv2-ID  |           MS-Length           |
//	|   Value-Size  |  Value, and then Name, or a Message
//
// The peer's last one is the OpCode alone.
type mschap struct {
	op    opCode
	id    uint8
	value []byte // of challenge and response
	text  []byte // a name, or a message
}

func parseMSCHAP(b []byte) (mschap, error) {
	r := octet.NewReader(b)
	m := mschap{op: opCode(r.Uint8())}
	if (m.op == opSuccess || m.op == opFailure) && r.Err() == nil && r.Len() == 0 {
		return m, nil
	}
	m.id = r.Uint8()
	length := int(r.Uint16())
	if m.op == opChallenge || m.op == opResponse {
		m.value = r.Bytes(int(r.Uint8()))
	}
	m.text = r.Rest()
	switch {
	case r.Err() != nil:
		return m, fmt.Errorf("%w: MSCHAPv2: %w", ErrPacket, r.Err())
	case length != len(b):
		return m, fmt.Errorf("%w: MSCHAPv2 with length %d in %d octets", ErrPacket, length, len(b))
	case m.op < opChallenge || m.op > opFailure:
		return m, fmt.Errorf("%w: MSCHAPv2 message %d", ErrPacket, m.op)
	}
	return m, nil
}

func (m mschap) append(b []byte) []byte {
	n := 4 + len(m.text)
	if m.value != nil {
		n += 1 + len(m.value)
	}
	b = append(b, uint8(m.op), m.id)
	b = octet.AppendUint16(b, uint16(n))
	if m.value != nil {
		b = append(append(b, uint8(len(m.value))), m.value...)
	}
	return append(b, m.text...)
}

// response is the value of the message with that name, section 2.2:
// Peer-Challenge, 8 octets that are zero, NT-Response, Flags.
type response struct{ challenge, nt []byte }

const responseLen = challengeLen + 8 + ntLen + 1

func parseResponse(m mschap) (response, error) {
	if m.op != opResponse || len(m.value) != responseLen || len(m.text) > maxName {
		return response{}, fmt.Errorf("%w: no MSCHAPv2 response", ErrPacket)
	}
	return response{m.value[:challengeLen], m.value[challengeLen+8 : responseLen-1]}, nil
}

func (r response) value() []byte {
	b := append([]byte(nil), r.challenge...)
	b = append(b, make([]byte, 8)...)
	return append(append(b, r.nt...), 0)
}

// mschapServer asks for a password.
type mschapServer struct {
	name   string
	users  Users
	rand   io.Reader
	id     uint8
	sent   []byte // our challenge
	proven string
	msk    ipsec.Secret // once the peer has proven itself
}

// Users finds the password of whoever calls himself name, and by which name he
// is known, lest one user with several spellings be several. Its error says why
// there is none.
type Users func(name string) (known string, password ipsec.Secret, err error)

// MSCHAPv2Server is the method of a server called name.
func MSCHAPv2Server(name string, rand io.Reader, users Users) ServerMethod {
	return ServerMethod{TypeMSCHAPv2, &mschapServer{name: name, rand: rand, users: users}}
}

func (s *mschapServer) begin() ([]byte, error) {
	s.sent = random(s.rand, challengeLen)
	s.id = random(s.rand, 1)[0]
	return mschap{op: opChallenge, id: s.id, value: s.sent, text: []byte(s.name)}.append(nil), nil
}

func (s *mschapServer) answer(data []byte) ([]byte, bool, error) {
	m, err := parseMSCHAP(data)
	if err != nil {
		return nil, false, err
	}
	if s.msk.Len() > 0 {
		if m.op != opSuccess {
			return nil, false, errors.New("the peer does not accept our proof")
		}
		return nil, true, nil
	}
	r, err := parseResponse(m)
	if err != nil || m.id != s.id {
		return nil, false, fmt.Errorf("%w: MSCHAPv2 response to something else", ErrPacket)
	}
	return s.judge(string(m.text), r)
}

// judge compares. A name that nobody has takes the same way as a wrong
// password.
func (s *mschapServer) judge(name string, r response) ([]byte, bool, error) {
	known, password, err := s.users(name)
	hash := passwordHash(password)
	challenge := challengeHash(r.challenge, s.sent, name)
	right := hmac.Equal(ntResponse(challenge, hash), r.nt)
	switch {
	case err != nil:
		return nil, false, err
	case password.Len() == 0 || !right:
		return nil, false, fmt.Errorf("wrong password of user %q", name)
	}
	s.proven, s.msk = known, mschapMSK(hash, r.nt)
	text := authenticator(hash, r.nt, challenge) + " M=Welcome"
	return mschap{op: opSuccess, id: s.id, text: []byte(text)}.append(nil), false, nil
}

func (s *mschapServer) result() (Proven, error) { return Proven{MSK: s.msk, Name: s.proven}, nil }

// mschapPeer knows a password.
type mschapPeer struct {
	name     string
	password ipsec.Secret
	rand     io.Reader
	want     string // the server's proof, once we have answered
	msk      ipsec.Secret
}

// MSCHAPv2Peer is the method of a user.
func MSCHAPv2Peer(name string, password ipsec.Secret, rand io.Reader) PeerMethod {
	return PeerMethod{TypeMSCHAPv2, &mschapPeer{name: name, password: password, rand: rand}}
}

func (p *mschapPeer) answer(data []byte) ([]byte, bool, error) {
	m, err := parseMSCHAP(data)
	if err != nil {
		return nil, false, err
	}
	switch {
	case m.op == opChallenge && p.want == "" && len(m.value) == challengeLen:
		return p.respond(m), false, nil
	case m.op == opSuccess && p.want != "":
		// The proof is followed by a message for people, which we do not show.
		if n := len(p.want); len(m.text) < n || !hmac.Equal(m.text[:n], []byte(p.want)) {
			return nil, false, errors.New("the server does not know the password")
		}
		return []byte{uint8(opSuccess)}, true, nil
	case m.op == opFailure:
		return []byte{uint8(opFailure)}, false, fmt.Errorf("the server refuses user %q: %q", p.name, m.text)
	}
	return nil, false, fmt.Errorf("%w: MSCHAPv2 message %d", ErrPacket, m.op)
}

func (p *mschapPeer) respond(m mschap) []byte {
	hash := passwordHash(p.password)
	r := response{challenge: random(p.rand, challengeLen)}
	challenge := challengeHash(r.challenge, m.value, p.name)
	r.nt = ntResponse(challenge, hash)
	p.want, p.msk = authenticator(hash, r.nt, challenge), mschapMSK(hash, r.nt)
	return mschap{op: opResponse, id: m.id, value: r.value(), text: []byte(p.name)}.append(nil)
}

func (p *mschapPeer) result() (Proven, error) { return Proven{MSK: p.msk}, nil }
