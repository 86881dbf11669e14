package wire

import (
	"errors"
	"fmt"

	"cygnet/internal/ike"
	"cygnet/internal/octet"
)

// The IPsec DOI and its only situation that is spoken here, RFC 2407 sections
// 4.1 and 4.2.
const (
	DOI          uint32 = 1
	IdentityOnly uint32 = 1
)

// Protocol is a protocol identifier, RFC 2407 section 4.4.1. The numbers are
// not those of IKEv2 beyond ESP.
type Protocol uint8

// The protocols.
const (
	ProtoISAKMP Protocol = 1
	ProtoAH     Protocol = 2
	ProtoESP    Protocol = 3
	ProtoIPComp Protocol = 4
)

// String is the name of the RFC, or protocol(n).
func (p Protocol) String() string {
	switch p {
	case ProtoISAKMP:
		return "ISAKMP"
	case ProtoAH:
		return "AH"
	case ProtoESP:
		return "ESP"
	case ProtoIPComp:
		return "IPCOMP"
	}
	return fmt.Sprintf("protocol(%d)", uint8(p))
}

// SA is the Security Association payload, RFC 2408 section 3.4 and RFC 2407
// section 4.6.1. Transforms that we do not know are kept; choosing is the
// machine's work.
//
//	|              Domain of Interpretation  (DOI)                  |
//	|                       Situation (bits)                        |
//	~                          Proposals                            ~
type SA struct {
	Proposals []Proposal
	raw       []byte // the body as received
}

// Proposal is one Proposal payload, RFC 2408 section 3.5. Proposals of one
// number belong together: all of them or none.
type Proposal struct {
	Number     uint8
	Protocol   Protocol
	SPI        []byte
	Transforms []Transform
}

// Transform is one Transform payload, RFC 2408 section 3.6.
type Transform struct {
	Number uint8
	ID     uint8
	Attrs  []Attr
}

// Type implements Payload.
func (SA) Type() ike.PayloadType { return ike.PayloadV1SA }

// Body is the payload without its generic header, octet for octet as it was
// received: SAi_b of RFC 2409 section 5, which HASH_I and HASH_R cover.
func (p SA) Body() []byte { return p.appendTo(nil) }

func parseSA(r *octet.Reader) SA {
	all := r.Bytes(r.Len())
	p, err := decodeSA(octet.NewReader(all))
	if err != nil {
		r.Fail(err)
	}
	p.raw = all
	return p
}

func decodeSA(r *octet.Reader) (p SA, err error) {
	if doi := r.Uint32(); r.Err() == nil && doi != DOI {
		return p, fmt.Errorf("DOI %d", doi)
	}
	if situation := r.Uint32(); r.Err() == nil && situation != IdentityOnly {
		return p, fmt.Errorf("situation %#x", situation) // no secrecy, no integrity labels
	}
	total := 0
	for more := true; more && r.Err() == nil; {
		if len(p.Proposals) == maxProposals {
			return p, fmt.Errorf("more than %d proposals", maxProposals)
		}
		var o Proposal
		o, more = parseProposal(r, &total)
		// Section 4.2: numbers count up; what belongs together has one.
		if n := len(p.Proposals); n > 0 && o.Number < p.Proposals[n-1].Number && r.Err() == nil {
			return p, fmt.Errorf("proposal %d after %d", o.Number, p.Proposals[n-1].Number)
		}
		p.Proposals = append(p.Proposals, o)
	}
	if r.Err() == nil && r.Len() > 0 {
		return p, fmt.Errorf("%d octets after the last proposal", r.Len())
	}
	return p, r.Err()
}

var errCount = errors.New("the count of transforms and their chain disagree")

// parseProposal reads one Proposal payload; more says that another follows.
func parseProposal(r *octet.Reader, total *int) (p Proposal, more bool) {
	next, s := parseSub(r)
	p = Proposal{Number: s.Uint8(), Protocol: Protocol(s.Uint8())}
	size, count := int(s.Uint8()), int(s.Uint8())
	p.SPI = s.Bytes(size)
	for more := count > 0; more && s.Err() == nil; {
		if *total++; *total > maxTransforms {
			s.Fail(fmt.Errorf("more than %d transforms", maxTransforms))
			break
		}
		var t Transform
		t, more = parseTransform(s)
		p.Transforms = append(p.Transforms, t)
	}
	switch {
	case s.Err() != nil:
	case count == 0:
		s.Fail(errors.New("proposal without transforms"))
	case count != len(p.Transforms) || s.Len() > 0:
		s.Fail(errCount)
	}
	if s.Err() != nil {
		r.Fail(s.Err())
	}
	return p, wants(r, next, ike.PayloadV1Proposal)
}

func parseTransform(r *octet.Reader) (t Transform, more bool) {
	next, s := parseSub(r)
	t = Transform{Number: s.Uint8(), ID: s.Uint8()}
	s.Skip(2) // RESERVED2
	for s.Len() > 0 {
		if len(t.Attrs) == maxAttributes {
			s.Fail(fmt.Errorf("more than %d attributes", maxAttributes))
			break
		}
		t.Attrs = append(t.Attrs, parseAttr(s))
	}
	if s.Err() != nil {
		r.Fail(s.Err())
	}
	return t, wants(r, next, ike.PayloadV1Transform)
}

// parseSub reads the generic header of a payload inside another and returns its
// body.
func parseSub(r *octet.Reader) (next ike.PayloadType, body *octet.Reader) {
	next = ike.PayloadType(r.Uint8())
	r.Skip(1)
	n := int(r.Uint16()) - genericLen
	if r.Err() == nil && n < 0 {
		r.Fail(fmt.Errorf("length %d", n+genericLen))
	}
	return next, r.Sub(max(n, 0))
}

// wants reports whether next says that another of its kind follows.
func wants(r *octet.Reader, next, kind ike.PayloadType) bool {
	if next != kind && next != ike.NoPayload {
		r.Fail(fmt.Errorf("payload %d inside an SA payload", uint8(next)))
	}
	return next == kind
}

func (p SA) appendTo(b []byte) []byte {
	if p.raw != nil {
		return append(b, p.raw...)
	}
	b = octet.AppendUint32(b, DOI)
	b = octet.AppendUint32(b, IdentityOnly)
	for i, o := range p.Proposals {
		b = append(b, following(i, len(p.Proposals), ike.PayloadV1Proposal), 0)
		b = octet.AppendLen16(b, genericLen, o.appendTo)
	}
	return b
}

func (p Proposal) appendTo(b []byte) []byte {
	b = append(b, p.Number, uint8(p.Protocol), uint8(len(p.SPI)), uint8(len(p.Transforms)))
	b = append(b, p.SPI...)
	for i, t := range p.Transforms {
		b = append(b, following(i, len(p.Transforms), ike.PayloadV1Transform), 0)
		b = octet.AppendLen16(b, genericLen, t.appendTo)
	}
	return b
}

func (t Transform) appendTo(b []byte) []byte {
	b = append(b, t.Number, t.ID, 0, 0)
	for _, a := range t.Attrs {
		b = a.appendTo(b)
	}
	return b
}

// following is the Next Payload octet of member i of n.
func following(i, n int, kind ike.PayloadType) uint8 {
	if i == n-1 {
		return uint8(ike.NoPayload)
	}
	return uint8(kind)
}
