package eap

import (
	"fmt"

	"cygnet/internal/octet"
)

// Code says what a packet is, RFC 3748 section 4.
type Code uint8

// The codes.
const (
	Request  Code = 1
	Response Code = 2
	Success  Code = 3
	Failure  Code = 4
)

// Type is the method of a request or response, RFC 3748 section 5.
type Type uint8

// The types that are known here.
const (
	TypeIdentity     Type = 1
	TypeNotification Type = 2
	TypeNak          Type = 3
	TypeTLS          Type = 13
	TypeMSCHAPv2     Type = 26
)

// Packet is one packet, RFC 3748 section 4.
//
//	|     Code      |  Identifier   |            Length             |
//	|     Type      |  Type-Data ...
type Packet struct {
	Code Code
	ID   uint8
	Type Type // of requests and responses only
	Data []byte
}

// Parse reads a packet that fills b. Data is part of b.
func Parse(b []byte) (Packet, error) {
	r := octet.NewReader(b)
	p := Packet{Code: Code(r.Uint8()), ID: r.Uint8()}
	n := int(r.Uint16())
	switch p.Code {
	case Request, Response:
		p.Type = Type(r.Uint8())
	case Success, Failure:
	default:
		return Packet{}, fmt.Errorf("%w: code %d", ErrPacket, p.Code)
	}
	p.Data = r.Rest()
	switch {
	case r.Err() != nil:
		return Packet{}, fmt.Errorf("%w: %w", ErrPacket, r.Err())
	case n != len(b):
		return Packet{}, fmt.Errorf("%w: length %d in %d octets", ErrPacket, n, len(b))
	}
	return p, nil
}

// Append appends the packet to b.
func (p Packet) Append(b []byte) []byte {
	n := 4 + len(p.Data)
	if p.typed() {
		n++
	}
	b = append(b, uint8(p.Code), p.ID)
	b = octet.AppendUint16(b, uint16(n))
	if p.typed() {
		b = append(b, uint8(p.Type))
	}
	return append(b, p.Data...)
}

func (p Packet) typed() bool { return p.Code == Request || p.Code == Response }
