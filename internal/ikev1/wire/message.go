package wire

import (
	"encoding/binary"

	"cygnet/internal/ike"
	"cygnet/internal/octet"
)

// Message is a decoded message in the clear.
type Message struct {
	Header ike.Header
	Payloads
}

// Parse decodes msg, a whole datagram without the non-ESP marker, that is not
// encrypted. The error is a *ike.DropError.
func Parse(msg []byte) (*Message, error) {
	h, err := ike.ParseHeader(msg)
	if err != nil {
		return nil, err
	}
	if h.Flags&ike.FlagEncryption != 0 {
		return nil, dropped("protected", "an encrypted message where a clear one is due")
	}
	if h.Next == ike.NoPayload {
		return nil, dropped("missing", "message without payloads")
	}
	r := octet.NewReader(msg)
	r.Skip(ike.HeaderLen)
	c, err := parseChain(h.Next, r)
	if err != nil {
		return nil, err
	}
	if r.Len() > 0 {
		return nil, dropped("trailing", "%d octets after the last payload", r.Len())
	}
	return &Message{h, c.payloads}, nil
}

// Append appends a message in the clear to b. Next and Length of h are filled
// in here.
func Append(b []byte, h ike.Header, payloads ...Payload) []byte {
	start := len(b)
	h.Next = first(payloads)
	b = AppendPayloads(h.Append(b), payloads...)
	setLength(b[start:])
	return b
}

// lengthAt is the offset of the header's Length field.
const lengthAt = 24

func setLength(msg []byte) { binary.BigEndian.PutUint32(msg[lengthAt:], uint32(len(msg))) }
