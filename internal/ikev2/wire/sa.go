package wire

import (
	"errors"
	"fmt"

	"cygnet/internal/ike"
	"cygnet/internal/octet"
	"cygnet/internal/suite"
)

// SA is the Security Association payload, RFC 7296 section 3.3. Proposals and
// transforms that we do not know are kept; choosing is package suite's work.
type SA struct{ Proposals []suite.Offer }

// Type implements Payload.
func (SA) Type() ike.PayloadType { return ike.PayloadSA }

func parseSA(r *octet.Reader) SA {
	var p SA
	total := 0
	for more := true; more && r.Err() == nil; {
		if len(p.Proposals) == maxProposals {
			r.Fail(fmt.Errorf("more than %d proposals", maxProposals))
			break
		}
		var o suite.Offer
		o, more = parseProposal(r, &total)
		// Section 3.3.1: numbers count up by one. A response repeats the
		// number of the chosen one, so the first need not be 1 here.
		if k := len(p.Proposals); k > 0 && int(o.Number) != int(p.Proposals[k-1].Number)+1 {
			r.Fail(fmt.Errorf("proposal %d follows %d", o.Number, p.Proposals[k-1].Number))
		}
		p.Proposals = append(p.Proposals, o)
	}
	return p
}

// Values of the "last substructure" octets, kept from IKEv1.
const (
	lastOne       uint8 = 0
	moreProposal  uint8 = 2
	moreTransform uint8 = 3
)

// parseProposal reads one proposal substructure and tells whether another
// follows. total counts transforms of the whole payload.
//
//	| Last Substruc |   RESERVED    |         Proposal Length       |
//	| Proposal Num  |  Protocol ID  |    SPI Size   |Num  Transforms|
//	~                        SPI (variable)                         ~
//	~                        <Transforms>                           ~
func parseProposal(r *octet.Reader, total *int) (o suite.Offer, more bool) {
	last := r.Uint8()
	r.Skip(1) // RESERVED
	n := int(r.Uint16())
	s := r.Sub(n - 4)
	o = suite.Offer{Number: s.Uint8(), Protocol: suite.Protocol(s.Uint8())}
	size, count := int(s.Uint8()), int(s.Uint8())
	o.SPI = s.Bytes(size)
	if last != lastOne && last != moreProposal {
		s.Fail(fmt.Errorf("last substructure octet is %d", last))
	}
	if !spiFits(o.Protocol, size) {
		s.Fail(fmt.Errorf("SPI of %d octets for protocol %d", size, o.Protocol))
	}
	if *total += count; *total > maxTransforms {
		s.Fail(fmt.Errorf("more than %d transforms", maxTransforms))
	}
	for i := range count {
		if s.Err() != nil {
			break
		}
		o.Transforms = append(o.Transforms, parseTransform(s, i == count-1))
	}
	if s.Err() == nil && s.Len() > 0 {
		s.Fail(fmt.Errorf("%d octets after the last transform", s.Len()))
	}
	if s.Err() != nil {
		r.Fail(fmt.Errorf("proposal %d: %w", o.Number, s.Err()))
	}
	return o, last == moreProposal
}

// spiFits tells whether an SPI of that size may stand in a proposal: an IKE SA
// has none at first and 8 octets when it is rekeyed, RFC 7296 section 3.3.1.
func spiFits(p suite.Protocol, size int) bool {
	if p == suite.ProtoIKE {
		return size == 0 || size == 8
	}
	n := spiLen(p)
	return n < 0 || n == size
}

// UnknownTransform is the ID given to a transform whose attributes we do not
// understand. Section 3.3.6 has us reject that transform alone; a number that
// no algorithm of ours has does so, and keeps the transform type in sight.
const UnknownTransform uint16 = 0xffff

const attrKeyLength uint16 = 14

// parseTransform reads one transform substructure:
//
//	| Last Substruc |   RESERVED    |        Transform Length       |
//	|Transform Type |   RESERVED    |          Transform ID         |
//	~                      Transform Attributes                     ~
func parseTransform(r *octet.Reader, isLast bool) suite.Transform {
	last := r.Uint8()
	r.Skip(1) // RESERVED
	n := int(r.Uint16())
	s := r.Sub(n - 4)
	t := suite.Transform{Type: suite.TransformType(s.Uint8())}
	s.Skip(1) // RESERVED
	t.ID = s.Uint16()
	if isLast != (last == lastOne) || !isLast && last != moreTransform {
		s.Fail(errors.New("transform count and last substructure octet disagree"))
	}
	for s.Len() > 0 {
		if bits, ok := parseKeyLength(s); !ok || t.KeyBits != 0 {
			t.ID, t.KeyBits = UnknownTransform, 0
		} else if t.ID != UnknownTransform {
			t.KeyBits = bits
		}
	}
	if s.Err() != nil {
		r.Fail(s.Err())
	}
	return t
}

// parseKeyLength reads one attribute, RFC 7296 section 3.3.5, and returns its
// value if it is a Key Length in the only format it may have. A length of zero
// is refused, lest it pass for an absent one.
func parseKeyLength(r *octet.Reader) (bits uint16, ok bool) {
	head, value := r.Uint16(), r.Uint16()
	if head&0x8000 == 0 { // TLV: value is the length
		r.Skip(int(value))
		return 0, false
	}
	return value, head&0x7fff == attrKeyLength && value != 0
}

func (p SA) appendTo(b []byte) []byte {
	for i, o := range p.Proposals {
		last := moreProposal
		if i == len(p.Proposals)-1 {
			last = lastOne
		}
		b = append(b, last, 0)
		b = octet.AppendLen16(b, 4, func(b []byte) []byte { return appendProposal(b, o) })
	}
	return b
}

func appendProposal(b []byte, o suite.Offer) []byte {
	b = append(b, o.Number, uint8(o.Protocol), uint8(len(o.SPI)), uint8(len(o.Transforms)))
	b = append(b, o.SPI...)
	for i, t := range o.Transforms {
		last := moreTransform
		if i == len(o.Transforms)-1 {
			last = lastOne
		}
		b = append(b, last, 0)
		b = octet.AppendLen16(b, 4, func(b []byte) []byte {
			b = append(b, uint8(t.Type), 0)
			b = octet.AppendUint16(b, t.ID)
			if t.KeyBits != 0 {
				b = octet.AppendUint16(b, 0x8000|attrKeyLength)
				b = octet.AppendUint16(b, t.KeyBits)
			}
			return b
		})
	}
	return b
}
