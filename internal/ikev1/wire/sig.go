package wire

import (
	"errors"

	"cygnet/internal/ike"
	"cygnet/internal/octet"
)

// SIG is the Signature payload, RFC 2408 section 3.12.
type SIG struct{ Data []byte }

// Type implements Payload.
func (SIG) Type() ike.PayloadType { return ike.PayloadV1Signature }

func parseSIG(r *octet.Reader) SIG {
	p := SIG{r.Rest()}
	if r.Err() == nil && len(p.Data) == 0 {
		r.Fail(errors.New("empty signature"))
	}
	return p
}

func (p SIG) appendTo(b []byte) []byte { return append(b, p.Data...) }
