package wire

import (
	"fmt"

	"cygnet/internal/ike"
	"cygnet/internal/octet"
)

// Nonce is the Nonce payload, RFC 2408 section 3.13: 8 to 256 octets.
type Nonce struct{ Data []byte }

// Type implements Payload.
func (Nonce) Type() ike.PayloadType { return ike.PayloadV1Nonce }

func parseNonce(r *octet.Reader) Nonce {
	p := Nonce{r.Rest()}
	if n := len(p.Data); r.Err() == nil && (n < minNonce || n > maxNonce) {
		r.Fail(fmt.Errorf("nonce of %d octets", n))
	}
	return p
}

func (p Nonce) appendTo(b []byte) []byte { return append(b, p.Data...) }
