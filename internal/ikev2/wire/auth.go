package wire

import (
	"cygnet/internal/ike"
	"cygnet/internal/octet"
)

// Authentication methods, RFC 7296 section 3.8, RFC 4754, RFC 7619, RFC 7427.
const (
	AuthRSA       uint8 = 1 // RSASSA-PKCS1-v1_5, usually with SHA-1
	AuthSharedKey uint8 = 2
	AuthECDSA256  uint8 = 9
	AuthECDSA384  uint8 = 10
	AuthECDSA521  uint8 = 11
	AuthNull      uint8 = 13
	AuthSignature uint8 = 14
)

// AUTH is the Authentication payload, RFC 7296 section 3.8.
//
//	| Auth Method   |                RESERVED                       |
//	~                      Authentication Data                      ~
type AUTH struct {
	Method uint8
	Data   []byte
}

// Type implements Payload.
func (AUTH) Type() ike.PayloadType { return ike.PayloadAUTH }

func parseAUTH(r *octet.Reader) AUTH {
	p := AUTH{Method: r.Uint8()}
	r.Skip(3) // RESERVED
	p.Data = r.Rest()
	return p
}

func (p AUTH) appendTo(b []byte) []byte {
	return append(append(b, p.Method, 0, 0, 0), p.Data...)
}
