package wire

import (
	"fmt"

	"cygnet/internal/ike"
	"cygnet/internal/octet"
)

// Notify is the Notification payload, RFC 2408 section 3.14.
//
//	|              Domain of Interpretation  (DOI)                  |
//	|  Protocol-ID  |   SPI Size    |      Notify Message Type      |
//	~                Security Parameter Index (SPI)                 ~
//	~                       Notification Data                       ~
type Notify struct {
	DOI      uint32
	Protocol Protocol
	Kind     uint16
	SPI      []byte
	Data     []byte
}

// NewNotify returns a notification of the IPsec DOI.
func NewNotify(p Protocol, kind uint16, spi, data []byte) Notify {
	return Notify{DOI, p, kind, spi, data}
}

// Type implements Payload.
func (Notify) Type() ike.PayloadType { return ike.PayloadV1Notify }

// Error reports whether the notification is of an error type, known or not.
func (p Notify) Error() bool { return p.Kind > 0 && p.Kind < ike.FirstStatusNotify }

// parseNotify accepts DOI 0 beside ours: RFC 2408 gives it to notifications of
// ISAKMP itself, and peers use either.
func parseNotify(r *octet.Reader) Notify {
	p := Notify{DOI: r.Uint32(), Protocol: Protocol(r.Uint8())}
	size := int(r.Uint8())
	p.Kind = r.Uint16()
	p.SPI = r.Bytes(size)
	p.Data = r.Rest()
	if r.Err() == nil && p.DOI > DOI {
		r.Fail(fmt.Errorf("DOI %d", p.DOI))
	}
	return p
}

func (p Notify) appendTo(b []byte) []byte {
	b = octet.AppendUint32(b, p.DOI)
	b = append(b, uint8(p.Protocol), uint8(len(p.SPI)))
	b = octet.AppendUint16(b, p.Kind)
	b = append(b, p.SPI...)
	return append(b, p.Data...)
}
