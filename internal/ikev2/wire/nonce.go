package wire

import (
	"fmt"

	"cygnet/internal/ike"
	"cygnet/internal/octet"
)

// Lengths of a nonce in octets, RFC 7296 section 3.9. Section 2.10 asks for at
// least half the key size of the PRF on top; that is the machine's check.
const (
	MinNonce = 16
	MaxNonce = 256
)

// Nonce is the Nonce payload, RFC 7296 section 3.9.
type Nonce struct{ Data []byte }

// Type implements Payload.
func (Nonce) Type() ike.PayloadType { return ike.PayloadNonce }

func parseNonce(r *octet.Reader) Nonce {
	p := Nonce{r.Rest()}
	if n := len(p.Data); n < MinNonce || n > MaxNonce {
		r.Fail(fmt.Errorf("nonce of %d octets", n))
	}
	return p
}

func (p Nonce) appendTo(b []byte) []byte { return append(b, p.Data...) }
