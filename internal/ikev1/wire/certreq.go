package wire

import (
	"cygnet/internal/ike"
	"cygnet/internal/octet"
)

// CERTREQ is the Certificate Request payload, RFC 2408 section 3.10. Authority
// is empty where any will do.
type CERTREQ struct {
	Encoding  uint8
	Authority []byte
}

// Type implements Payload.
func (CERTREQ) Type() ike.PayloadType { return ike.PayloadV1CERTREQ }

func parseCERTREQ(r *octet.Reader) CERTREQ { return CERTREQ{r.Uint8(), r.Rest()} }

func (p CERTREQ) appendTo(b []byte) []byte { return append(append(b, p.Encoding), p.Authority...) }
