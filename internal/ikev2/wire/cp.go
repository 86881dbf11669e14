package wire

import (
	"fmt"

	"cygnet/internal/ike"
	"cygnet/internal/octet"
)

// Kinds of Configuration payload, RFC 7296 section 3.15.
const (
	CFGRequest uint8 = 1
	CFGReply   uint8 = 2
	CFGSet     uint8 = 3
	CFGAck     uint8 = 4
)

// Configuration attribute types, RFC 7296 section 3.15.1.
const (
	AttrIP4Address uint16 = 1
	AttrIP4Netmask uint16 = 2
	AttrIP4DNS     uint16 = 3
	AttrIP4NBNS    uint16 = 4
	AttrIP4DHCP    uint16 = 6
	AttrAppVersion uint16 = 7
	AttrIP6Address uint16 = 8
	AttrIP6DNS     uint16 = 10
	AttrIP6DHCP    uint16 = 12
	AttrIP4Subnet  uint16 = 13
	AttrSupported  uint16 = 14
	AttrIP6Subnet  uint16 = 15
	AttrDNSDomain  uint16 = 25 // RFC 8598
)

// attributeLen is the length in octets of attributes that have one; all may be
// empty as well, which asks for a value.
var attributeLen = map[uint16]int{
	AttrIP4Address: 4, AttrIP4Netmask: 4, AttrIP4DNS: 4, AttrIP4NBNS: 4, AttrIP4DHCP: 4,
	AttrIP6Address: 17, AttrIP6DNS: 16, AttrIP6DHCP: 16, AttrIP4Subnet: 8, AttrIP6Subnet: 17,
}

// CP is the Configuration payload, RFC 7296 section 3.15.
//
//	|   CFG Type    |                    RESERVED                   |
//	~                   Configuration Attributes                    ~
type CP struct {
	Kind       uint8
	Attributes []Attribute // unknown ones included
}

// Attribute is one configuration attribute:
//
//	|R|         Attribute Type      |            Length             |
//	~                             Value                             ~
type Attribute struct {
	Kind  uint16
	Value []byte
}

// Type implements Payload.
func (CP) Type() ike.PayloadType { return ike.PayloadCP }

func parseCP(r *octet.Reader) CP {
	p := CP{Kind: r.Uint8()}
	r.Skip(3) // RESERVED
	for r.Len() > 0 {
		if len(p.Attributes) == maxAttributes {
			r.Fail(fmt.Errorf("more than %d attributes", maxAttributes))
			break
		}
		a := Attribute{Kind: r.Uint16() & 0x7fff}
		a.Value = r.Bytes(int(r.Uint16()))
		if n, fixed := attributeLen[a.Kind]; fixed && len(a.Value) != 0 && len(a.Value) != n {
			r.Fail(fmt.Errorf("attribute %d of %d octets", a.Kind, len(a.Value)))
		}
		p.Attributes = append(p.Attributes, a)
	}
	return p
}

func (p CP) appendTo(b []byte) []byte {
	b = append(b, p.Kind, 0, 0, 0)
	for _, a := range p.Attributes {
		b = octet.AppendUint16(b, a.Kind)
		b = octet.AppendLen16(b, 0, func(b []byte) []byte { return append(b, a.Value...) })
	}
	return b
}
