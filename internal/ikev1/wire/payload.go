// Package wire is the codec of IKEv1 messages, RFC 2408 section 3, with the
// IPsec DOI of RFC 2407 and the NAT traversal payloads of RFC 3947: one struct
// and one file per payload, the encryption of whole messages, and the table of
// which payloads a message may carry. It is pure: it knows nothing of states,
// ciphers and IVs are handed in, and it is called by package ikev1 and its gate
// from whichever goroutine owns them.
//
// What a decoder returns aliases the message it was given.
//
// Every error is a *ike.DropError. In IKEv1 a message must be decoded before
// its HASH can be checked, so nothing that fails here is anybody's word, and
// nothing of it is answered.
//
// Reserved fields are ignored on reading and zero on writing. FreeS/WAN refused
// what was not zero there; some Cisco releases left rubbish in them, and the
// HASH covers them anyway.
package wire

import (
	"errors"
	"fmt"

	"cygnet/internal/ike"
	"cygnet/internal/octet"
)

// Payload is one payload of a message.
type Payload interface {
	Type() ike.PayloadType
	// appendTo appends the body, without the generic header.
	appendTo(b []byte) []byte
}

// genericLen is the length of the generic payload header, RFC 2408, 3.2:
//
//	| Next Payload  |   RESERVED    |         Payload Length        |
const genericLen = 4

// Payload types of the drafts before RFC 3947 (draft-ietf-ipsec-nat-t-ike-02
// and -03), which many old peers speak.
const (
	draftNATD  ike.PayloadType = 130
	draftNATOA ike.PayloadType = 131
)

func dropped(reason, format string, args ...any) error {
	return &ike.DropError{Reason: reason, Why: fmt.Sprintf(format, args...)}
}

// chain is a decoded sequence of payloads. ends[i] is the offset in the input
// behind payload i.
type chain struct {
	payloads Payloads
	ends     []int
}

// parseChain decodes payloads until the one that names no successor. Octets
// behind it are left in r.
func parseChain(next ike.PayloadType, r *octet.Reader) (chain, error) {
	var c chain
	for next != ike.NoPayload {
		if len(c.payloads) == maxPayloads {
			return c, dropped("too_many", "more than %d payloads", maxPayloads)
		}
		typ, at := next, r.Offset()
		next = ike.PayloadType(r.Uint8())
		r.Skip(1) // RESERVED
		n := int(r.Uint16()) - genericLen
		if r.Err() != nil {
			return c, dropped("malformed", "%s payload at offset %d: header is cut short", typ, at)
		}
		if n < 0 || n > r.Len() {
			return c, dropped("malformed", "%s payload at offset %d: length %d with %d octets left", typ, at, n+genericLen, r.Len()+genericLen)
		}
		p, err := parsePayload(typ, r.Sub(n))
		if err != nil {
			return c, dropped("malformed", "%s payload at offset %d: %v", typ, at, err)
		}
		c.payloads, c.ends = append(c.payloads, p), append(c.ends, r.Offset())
	}
	return c, nil
}

// parsers holds the decoder of every payload type. Those that are missing are
// refused: IKEv1 has no bit that says whether they matter (RFC 2408, 5.3).
// Mode Config (14), fragments (132) and the payloads of GDOI (15 and 16, which
// drafts of NAT traversal used as well) are not spoken here.
var parsers = map[ike.PayloadType]func(*octet.Reader) Payload{
	ike.PayloadV1SA:        func(r *octet.Reader) Payload { return parseSA(r) },
	ike.PayloadV1KE:        func(r *octet.Reader) Payload { return parseKE(r) },
	ike.PayloadV1ID:        func(r *octet.Reader) Payload { return parseID(r) },
	ike.PayloadV1CERT:      func(r *octet.Reader) Payload { return parseCERT(r) },
	ike.PayloadV1CERTREQ:   func(r *octet.Reader) Payload { return parseCERTREQ(r) },
	ike.PayloadV1Hash:      func(r *octet.Reader) Payload { return parseHASH(r) },
	ike.PayloadV1Signature: func(r *octet.Reader) Payload { return parseSIG(r) },
	ike.PayloadV1Nonce:     func(r *octet.Reader) Payload { return parseNonce(r) },
	ike.PayloadV1Notify:    func(r *octet.Reader) Payload { return parseNotify(r) },
	ike.PayloadV1Delete:    func(r *octet.Reader) Payload { return parseDelete(r) },
	ike.PayloadV1VendorID:  func(r *octet.Reader) Payload { return VendorID{r.Rest()} },
	ike.PayloadV1NATD:      func(r *octet.Reader) Payload { return parseNATD(r, false) },
	draftNATD:              func(r *octet.Reader) Payload { return parseNATD(r, true) },
	ike.PayloadV1NATOA:     func(r *octet.Reader) Payload { return parseNATOA(r, false) },
	draftNATOA:             func(r *octet.Reader) Payload { return parseNATOA(r, true) },
}

var errUnknown = errors.New("not a payload that is spoken here")

func parsePayload(typ ike.PayloadType, r *octet.Reader) (Payload, error) {
	parse, known := parsers[typ]
	if !known {
		return nil, errUnknown
	}
	p := parse(r)
	if r.Err() == nil && r.Len() > 0 {
		r.Fail(fmt.Errorf("%d octets too many", r.Len()))
	}
	return p, r.Err()
}

// AppendPayloads appends payloads, each with its generic header: what HASH(1)
// and its kin cover.
func AppendPayloads(b []byte, payloads ...Payload) []byte {
	for i, p := range payloads {
		b = append(b, uint8(first(payloads[i+1:])), 0)
		b = octet.AppendLen16(b, genericLen, p.appendTo)
	}
	return b
}

func first(payloads []Payload) ike.PayloadType {
	if len(payloads) == 0 {
		return ike.NoPayload
	}
	return payloads[0].Type()
}
