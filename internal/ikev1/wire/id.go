package wire

import (
	"fmt"

	"cygnet/internal/ike"
	"cygnet/internal/octet"
)

// ID is the Identification payload, RFC 2407 section 4.6.2. In Main Mode it
// names a peer, in Quick Mode the clients of one side.
//
//	|   ID Type     |  Protocol ID  |             Port              |
//	~                     Identification Data                       ~
type ID struct {
	Kind  uint8
	Proto uint8 // IP protocol, 0 for any
	Port  uint16
	Data  []byte
}

// Identification types, RFC 2407 section 4.6.2.1, beyond those of ike.IDKind.
const (
	IDIPv4Subnet uint8 = 4
	IDIPv6Subnet uint8 = 6
	IDIPv4Range  uint8 = 7
	IDIPv6Range  uint8 = 8
)

// NewID returns the payload of an identity, for any protocol and port.
func NewID(id ike.ID) ID { return ID{Kind: uint8(id.Kind), Data: []byte(id.Data)} }

// Type implements Payload.
func (ID) Type() ike.PayloadType { return ike.PayloadV1ID }

// Body is the payload without its generic header: IDii_b and IDir_b of RFC 2409
// section 5.
func (p ID) Body() []byte { return p.appendTo(nil) }

// Identity is what the payload says as the identity of a peer.
func (p ID) Identity() ike.ID { return ike.ID{Kind: ike.IDKind(p.Kind), Data: string(p.Data)} }

// idLen is the length of the data of those types that have one.
var idLen = map[uint8]int{
	uint8(ike.IDIPv4): 4, uint8(ike.IDIPv6): 16,
	IDIPv4Subnet: 8, IDIPv6Subnet: 32, IDIPv4Range: 8, IDIPv6Range: 32,
}

func parseID(r *octet.Reader) ID {
	p := ID{Kind: r.Uint8(), Proto: r.Uint8(), Port: r.Uint16()}
	p.Data = r.Rest()
	n := len(p.Data)
	want, fixed := idLen[p.Kind]
	switch {
	case r.Err() != nil:
	case p.Kind == 0:
		r.Fail(fmt.Errorf("identity of type 0"))
	case n == 0 || n > maxID || fixed && n != want:
		r.Fail(fmt.Errorf("identity of type %d with %d octets", p.Kind, n))
	}
	return p
}

func (p ID) appendTo(b []byte) []byte {
	b = append(b, p.Kind, p.Proto)
	b = octet.AppendUint16(b, p.Port)
	return append(b, p.Data...)
}
