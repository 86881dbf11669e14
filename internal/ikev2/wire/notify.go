package wire

import (
	"fmt"

	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
	"cygnet/internal/octet"
	"cygnet/internal/suite"
)

// Notify is the Notify payload, RFC 7296 section 3.10.
//
//	|  Protocol ID  |   SPI Size    |      Notify Message Type      |
//	~                Security Parameter Index (SPI)                 ~
//	~                       Notification Data                       ~
type Notify struct {
	Protocol suite.Protocol // 0 unless there is an SPI
	SPI      []byte
	Kind     uint16 // ike.Notify…
	Data     []byte
}

// NewNotify returns a Notify about no SA in particular.
func NewNotify(kind uint16, data []byte) Notify { return Notify{Kind: kind, Data: data} }

// NotifySA returns a Notify about a Child SA: REKEY_SA, CHILD_SA_NOT_FOUND.
func NotifySA(kind uint16, p suite.Protocol, spi ipsec.SPI) Notify {
	return Notify{Protocol: p, SPI: octet.AppendUint32(nil, uint32(spi)), Kind: kind}
}

// Type implements Payload.
func (Notify) Type() ike.PayloadType { return ike.PayloadNotify }

// Error reports whether the type lies in the range of errors.
func (p Notify) Error() bool { return p.Kind < ike.FirstStatusNotify }

// ChildSPI returns the SPI of the Child SA it is about, false when there is none.
func (p Notify) ChildSPI() (ipsec.SPI, bool) {
	if len(p.SPI) != spiLen(p.Protocol) || len(p.SPI) != 4 {
		return 0, false
	}
	return ipsec.SPI(octet.NewReader(p.SPI).Uint32()), true
}

func parseNotify(r *octet.Reader) Notify {
	p := Notify{Protocol: suite.Protocol(r.Uint8())}
	n := int(r.Uint8())
	p.Kind = r.Uint16()
	p.SPI = r.Bytes(n)
	p.Data = r.Rest()
	if n == 0 {
		// Section 3.10: without an SPI the protocol is ignored. Several
		// peers put 1 there.
		p.Protocol, p.SPI = 0, nil
		return p
	}
	// An IKE SA is known by the header, its SPI size must be zero (3.10). SPIs
	// of protocols we do not know are somebody else's business.
	if want := spiLen(p.Protocol); want >= 0 && want != n || p.Protocol <= suite.ProtoIKE {
		r.Fail(fmt.Errorf("SPI of %d octets for protocol %d", n, p.Protocol))
	}
	return p
}

func (p Notify) appendTo(b []byte) []byte {
	b = append(b, uint8(p.Protocol), uint8(len(p.SPI)))
	b = octet.AppendUint16(b, p.Kind)
	b = append(b, p.SPI...)
	return append(b, p.Data...)
}

// spiLen is the length of the SPI of a Child SA in octets, 0 for IKE, -1 for
// protocols we do not know.
func spiLen(p suite.Protocol) int {
	switch p {
	case suite.ProtoESP, suite.ProtoAH:
		return 4
	case suite.ProtoIKE:
		return 0
	}
	return -1
}
