package wire

import (
	"fmt"

	"cygnet/internal/ike"
	"cygnet/internal/octet"
)

// EAP is the Extensible Authentication Protocol payload, RFC 7296 section
// 3.16: one EAP message, whose own length must be the payload's.
//
//	|     Code      | Identifier    |           Length              |
type EAP struct{ Message []byte }

// Type implements Payload.
func (EAP) Type() ike.PayloadType { return ike.PayloadEAP }

func parseEAP(r *octet.Reader) EAP {
	p := EAP{r.Rest()}
	h := octet.NewReader(p.Message)
	h.Skip(2)
	if n := int(h.Uint16()); h.Err() != nil || n != len(p.Message) {
		r.Fail(&ike.NotifyError{Type: ike.NotifyAuthenticationFailed,
			Why: fmt.Sprintf("EAP message with length %d in %d octets", n, len(p.Message))})
	}
	return p
}

func (p EAP) appendTo(b []byte) []byte { return append(b, p.Message...) }
