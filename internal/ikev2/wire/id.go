package wire

import (
	"fmt"

	"cygnet/internal/ike"
	"cygnet/internal/octet"
)

// IDi is the Identification - Initiator payload, RFC 7296 section 3.5.
type IDi struct{ Identity }

// IDr is the Identification - Responder payload.
type IDr struct{ Identity }

// Identity is the body of both identification payloads:
//
//	|   ID Type     |                 RESERVED                      |
//	~                   Identification Data                         ~
type Identity struct {
	ID ike.ID
	// The reserved octets as received. Section 2.15 has AUTH cover the whole
	// body, so they count although nobody reads them.
	reserved [3]byte
}

// NewIDi returns the payload of our identity as initiator.
func NewIDi(id ike.ID) IDi { return IDi{Identity{ID: id}} }

// NewIDr returns the payload of an identity as responder.
func NewIDr(id ike.ID) IDr { return IDr{Identity{ID: id}} }

// Type implements Payload.
func (IDi) Type() ike.PayloadType { return ike.PayloadIDi }

// Type implements Payload.
func (IDr) Type() ike.PayloadType { return ike.PayloadIDr }

// Body returns RestOfInitIDPayload (RestOfRespIDPayload) of RFC 7296 section
// 2.15: the octets that AUTH covers.
func (p Identity) Body() []byte { return p.appendTo(nil) }

func (p Identity) appendTo(b []byte) []byte {
	b = append(b, uint8(p.ID.Kind))
	b = append(b, p.reserved[:]...)
	return append(b, p.ID.Data...)
}

func parseID(r *octet.Reader) Identity {
	var p Identity
	p.ID.Kind = ike.IDKind(r.Uint8())
	copy(p.reserved[:], r.Bytes(3))
	p.ID.Data = string(r.Rest())
	if r.Err() == nil {
		if why := badID(p.ID); why != "" {
			r.Fail(&ike.NotifyError{Type: ike.NotifyAuthenticationFailed, Why: why})
		}
	}
	return p
}

// badID says why id cannot name anybody, or nothing. Type 0 in particular must
// not come in from the wire, because to us it means "anyone".
func badID(id ike.ID) string {
	n := len(id.Data)
	switch {
	case id.Kind == ike.IDNone:
		return "identity of type 0"
	case n == 0 && id.Kind != ike.IDNULL:
		return "empty identity"
	case n > maxID:
		return fmt.Sprintf("identity of %d octets", n)
	case id.Kind == ike.IDIPv4 && n != 4, id.Kind == ike.IDIPv6 && n != 16:
		return fmt.Sprintf("address identity of %d octets", n)
	}
	return ""
}
