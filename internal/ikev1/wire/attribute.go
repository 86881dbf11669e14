package wire

import (
	"cygnet/internal/octet"
)

// Attr is one data attribute, RFC 2408 section 3.3: basic (TV, two octets of
// value) or variable (TLV).
//
//	|A|       Attribute Type        |  AF=0: Length    AF=1: Value  |
//	.                   AF=0: Attribute Value                       .
type Attr struct {
	Type  uint16
	Basic bool
	Value []byte // two octets of a basic one
}

const basicBit = 0x8000

// NewAttr returns an attribute with a number as value, basic where that fits.
func NewAttr(typ uint16, v uint32) Attr {
	if v <= 0xffff {
		return Attr{typ, true, octet.AppendUint16(nil, uint16(v))}
	}
	return Attr{typ, false, octet.AppendUint32(nil, v)}
}

// Number is the value as a number, saturated to 64 bits: lifetimes come in any
// length (RFC 2407 section 4.5). An empty value is no number.
func (a Attr) Number() (v uint64, ok bool) {
	for _, b := range a.Value {
		if v>>56 != 0 {
			return ^uint64(0), true
		}
		v = v<<8 | uint64(b)
	}
	return v, len(a.Value) > 0
}

func parseAttr(r *octet.Reader) Attr {
	head := r.Uint16()
	if head&basicBit != 0 {
		return Attr{head &^ basicBit, true, r.Bytes(2)}
	}
	n := int(r.Uint16())
	return Attr{head, false, r.Bytes(n)}
}

func (a Attr) appendTo(b []byte) []byte {
	if a.Basic {
		b = octet.AppendUint16(b, a.Type|basicBit)
		return append(b, a.Value...)
	}
	b = octet.AppendUint16(b, a.Type)
	return octet.AppendLen16(b, 0, func(b []byte) []byte { return append(b, a.Value...) })
}

// ParseAttrs decodes a bare list of attributes, as RESPONDER-LIFETIME carries
// it (RFC 2407 section 4.6.3.1).
func ParseAttrs(b []byte) (as []Attr, ok bool) {
	r := octet.NewReader(b)
	for r.Len() > 0 && len(as) < maxAttributes {
		as = append(as, parseAttr(r))
	}
	return as, r.Err() == nil && r.Len() == 0
}
