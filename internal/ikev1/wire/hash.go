package wire

import (
	"fmt"

	"cygnet/internal/ike"
	"cygnet/internal/octet"
)

// HASH is the Hash payload, RFC 2408 section 3.11: the output of the PRF.
type HASH struct{ Data []byte }

// Type implements Payload.
func (HASH) Type() ike.PayloadType { return ike.PayloadV1Hash }

func parseHASH(r *octet.Reader) HASH {
	p := HASH{r.Rest()}
	if n := len(p.Data); r.Err() == nil && (n == 0 || n > maxHash) {
		r.Fail(fmt.Errorf("hash of %d octets", n))
	}
	return p
}

func (p HASH) appendTo(b []byte) []byte { return append(b, p.Data...) }
