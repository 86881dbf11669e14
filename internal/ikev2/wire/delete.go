package wire

import (
	"fmt"

	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
	"cygnet/internal/octet"
	"cygnet/internal/suite"
)

// Delete is the Delete payload, RFC 7296 section 3.11. Without SPIs and with
// protocol IKE it means the IKE SA that carries it.
//
//	| Protocol ID   |   SPI Size    |          Num of SPIs          |
//	~               Security Parameter Index(es) (SPI)              ~
type Delete struct {
	Protocol suite.Protocol
	SPIs     []ipsec.SPI // those the sender of the payload receives on
}

// Type implements Payload.
func (Delete) Type() ike.PayloadType { return ike.PayloadDelete }

func parseDelete(r *octet.Reader) Delete {
	p := Delete{Protocol: suite.Protocol(r.Uint8())}
	size, count := int(r.Uint8()), int(r.Uint16())
	want := spiLen(p.Protocol)
	switch {
	case r.Err() != nil:
		return p
	case want < 0:
		r.Fail(fmt.Errorf("unknown protocol %d", p.Protocol))
	case size != want || want == 0 && count != 0:
		r.Fail(fmt.Errorf("%d SPIs of %d octets for protocol %d", count, size, p.Protocol))
	case count*size != r.Len():
		r.Fail(fmt.Errorf("%d SPIs in %d octets", count, r.Len()))
	case count > 0:
		p.SPIs = make([]ipsec.SPI, count)
		for i := range p.SPIs {
			p.SPIs[i] = ipsec.SPI(r.Uint32())
		}
	}
	return p
}

func (p Delete) appendTo(b []byte) []byte {
	b = append(b, uint8(p.Protocol), uint8(spiLen(p.Protocol)))
	b = octet.AppendUint16(b, uint16(len(p.SPIs)))
	for _, spi := range p.SPIs {
		b = octet.AppendUint32(b, uint32(spi))
	}
	return b
}
