package wire

import (
	"errors"

	"cygnet/internal/ike"
	"cygnet/internal/octet"
)

// KE is the Key Exchange payload, RFC 2408 section 3.7: the public value alone.
// Which group it belongs to stands in the SA payload.
type KE struct{ Data []byte }

// Type implements Payload.
func (KE) Type() ike.PayloadType { return ike.PayloadV1KE }

func parseKE(r *octet.Reader) KE {
	p := KE{r.Rest()}
	if r.Err() == nil && len(p.Data) == 0 {
		r.Fail(errors.New("no key exchange data"))
	}
	return p
}

func (p KE) appendTo(b []byte) []byte { return append(b, p.Data...) }
