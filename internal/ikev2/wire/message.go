package wire

import (
	"encoding/binary"
	"errors"

	"cygnet/internal/ike"
	"cygnet/internal/octet"
)

// Message is a decoded message. The payloads of a protected one are a single
// SK or SKF, whose content Open and OpenFragment give.
type Message struct {
	Header ike.Header
	Payloads
}

// Encrypted reports whether the payloads are protected.
func (m *Message) Encrypted() bool {
	t := first(m.Payloads)
	return t == ike.PayloadSK || t == ike.PayloadSKF
}

// Parse decodes msg, a whole datagram without the non-ESP marker, as far as it
// is in the clear. The error is a *ike.DropError, or a *ike.NotifyError of type
// UNSUPPORTED_CRITICAL_PAYLOAD. IKE_SA_INIT messages are checked by Legal.
//
// Payloads beside SK are refused: RFC 7296 allows none that mean anything
// there, and what is in the clear in a protected exchange is nobody's word.
func Parse(msg []byte) (*Message, error) {
	h, err := ike.ParseHeader(msg)
	if err != nil {
		return nil, err
	}
	if h.Next == ike.NoPayload && len(msg) == ike.HeaderLen {
		return nil, &ike.DropError{Reason: "missing", Why: "message without payloads"}
	}
	r := octet.NewReader(msg)
	r.Skip(ike.HeaderLen)
	ps, err := parseChain(h.Next, r, false)
	if err != nil {
		return nil, dropped(err)
	}
	m := &Message{h, ps}
	if last := ps[len(ps)-1].Type(); last == ike.PayloadSK || last == ike.PayloadSKF {
		if len(ps) > 1 {
			return nil, &ike.DropError{Reason: "protected", Why: "payloads in the clear before " + last.String()}
		}
		if h.Exchange == ike.SAInit {
			return nil, &ike.DropError{Reason: "malformed", Why: last.String() + " payload in IKE_SA_INIT"}
		}
	}
	if h.Exchange == ike.SAInit {
		if err := Legal(h, ps); err != nil {
			return nil, dropped(err)
		}
	}
	return m, nil
}

// dropped turns an error met in unauthenticated octets into what may be done
// about it: nothing, but for a critical payload.
func dropped(err error) error {
	if ne, ok := errors.AsType[*ike.NotifyError](err); ok {
		if ne.Type == ike.NotifyUnsupportedCritical {
			return ne
		}
		return &ike.DropError{Reason: "malformed", Why: ne.Error()}
	}
	if f, ok := errors.AsType[*fault](err); ok {
		return &ike.DropError{Reason: f.reason, Why: err.Error()}
	}
	return &ike.DropError{Reason: "malformed", Why: err.Error()}
}

// Append appends a message in the clear to b. Next and Length of h are filled
// in here.
func Append(b []byte, h ike.Header, payloads ...Payload) []byte {
	start := len(b)
	h.Next = first(payloads)
	b = appendChain(h.Append(b), payloads)
	setLength(b[start:])
	return b
}

// lengthAt is the offset of the header's Length field.
const lengthAt = 24

func setLength(msg []byte) { binary.BigEndian.PutUint32(msg[lengthAt:], uint32(len(msg))) }
