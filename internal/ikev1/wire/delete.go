package wire

import (
	"fmt"

	"cygnet/internal/ike"
	"cygnet/internal/octet"
)

// Delete is the Delete payload, RFC 2408 section 3.15. The SPIs are those that
// its sender receives on; of ISAKMP the two cookies together.
//
//	|              Domain of Interpretation  (DOI)                  |
//	|  Protocol-Id  |   SPI Size    |           # of SPIs           |
//	~               Security Parameter Index(es) (SPI)              ~
type Delete struct {
	DOI      uint32
	Protocol Protocol
	SPIs     [][]byte // all of one length
}

// NewDelete returns a Delete payload of the IPsec DOI.
func NewDelete(p Protocol, spis ...[]byte) Delete { return Delete{DOI, p, spis} }

// Type implements Payload.
func (Delete) Type() ike.PayloadType { return ike.PayloadV1Delete }

func parseDelete(r *octet.Reader) Delete {
	p := Delete{DOI: r.Uint32(), Protocol: Protocol(r.Uint8())}
	size, count := int(r.Uint8()), int(r.Uint16())
	switch {
	case r.Err() != nil:
	case p.DOI > DOI:
		r.Fail(fmt.Errorf("DOI %d", p.DOI))
	case size == 0 || count == 0 || count > maxSPIs || size*count != r.Len():
		r.Fail(fmt.Errorf("%d SPIs of %d octets in %d", count, size, r.Len()))
	default:
		for range count {
			p.SPIs = append(p.SPIs, r.Bytes(size))
		}
	}
	return p
}

func (p Delete) appendTo(b []byte) []byte {
	size := 0
	if len(p.SPIs) > 0 {
		size = len(p.SPIs[0])
	}
	b = octet.AppendUint32(b, p.DOI)
	b = append(b, uint8(p.Protocol), uint8(size))
	b = octet.AppendUint16(b, uint16(len(p.SPIs)))
	for _, spi := range p.SPIs {
		b = append(b, spi...)
	}
	return b
}
