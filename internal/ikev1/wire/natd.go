package wire

import (
	"fmt"

	"cygnet/internal/ike"
	"cygnet/internal/octet"
)

// NATD is the NAT-D payload, RFC 3947 section 3.2: a hash of cookies, address
// and port. Draft says that it has the number of the drafts.
type NATD struct {
	Draft bool
	Hash  []byte
}

// Type implements Payload.
func (p NATD) Type() ike.PayloadType {
	if p.Draft {
		return draftNATD
	}
	return ike.PayloadV1NATD
}

func parseNATD(r *octet.Reader, draft bool) NATD {
	p := NATD{draft, r.Rest()}
	if n := len(p.Hash); r.Err() == nil && (n == 0 || n > maxHash) {
		r.Fail(fmt.Errorf("hash of %d octets", n))
	}
	return p
}

func (p NATD) appendTo(b []byte) []byte { return append(b, p.Hash...) }
