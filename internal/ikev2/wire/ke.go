package wire

import (
	"errors"

	"cygnet/internal/ike"
	"cygnet/internal/octet"
)

// KE is the Key Exchange payload, RFC 7296 section 3.4. Whether Data fits the
// group is for the group to say.
//
//	|   Diffie-Hellman Group Num    |           RESERVED            |
//	~                       Key Exchange Data                       ~
type KE struct {
	Group uint16
	Data  []byte
}

// Type implements Payload.
func (KE) Type() ike.PayloadType { return ike.PayloadKE }

func parseKE(r *octet.Reader) KE {
	p := KE{Group: r.Uint16()}
	r.Skip(2) // RESERVED
	p.Data = r.Rest()
	if len(p.Data) == 0 {
		r.Fail(errors.New("no key exchange data"))
	}
	return p
}

func (p KE) appendTo(b []byte) []byte {
	b = octet.AppendUint16(b, p.Group)
	b = append(b, 0, 0)
	return append(b, p.Data...)
}
