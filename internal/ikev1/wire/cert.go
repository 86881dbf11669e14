package wire

import (
	"cygnet/internal/ike"
	"cygnet/internal/octet"
)

// CERT is the Certificate payload, RFC 2408 section 3.9.
type CERT struct {
	Encoding uint8
	Data     []byte
}

// Type implements Payload.
func (CERT) Type() ike.PayloadType { return ike.PayloadV1CERT }

func parseCERT(r *octet.Reader) CERT { return CERT{r.Uint8(), r.Rest()} }

func (p CERT) appendTo(b []byte) []byte { return append(append(b, p.Encoding), p.Data...) }
