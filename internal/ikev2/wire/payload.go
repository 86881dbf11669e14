// Package wire is the codec of IKEv2 messages, RFC 7296 section 3: one struct
// and one file per payload, and the table of which payloads an exchange may
// carry. It is pure: it knows nothing of states, keys are handed in as an
// SKCipher, and it is called by package ikev2 and its gate from whichever
// goroutine owns them.
//
// What a decoder returns aliases the message it was given.
//
// Two kinds of error tell the caller what to do. A *ike.DropError comes from
// octets nobody has authenticated: ignore the message. A *ike.NotifyError is
// answered with its notify; apart from UNSUPPORTED_CRITICAL_PAYLOAD it only
// comes from what was inside a verified SK payload.
//
// Reserved fields are ignored on reading and zero on writing, as section 2.5
// asks. So is the critical bit of payloads that RFC 7296 defines.
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

// Unknown is a payload of a type that this package does not know and whose
// critical bit was clear. It is to be ignored, RFC 7296 section 2.5. To send
// one with the bit set is what tests do.
type Unknown struct {
	Number   ike.PayloadType
	Critical bool
	Data     []byte
}

// Type implements Payload.
func (p Unknown) Type() ike.PayloadType { return p.Number }

func (p Unknown) appendTo(b []byte) []byte { return append(b, p.Data...) }

// genericLen is the length of the generic payload header, RFC 7296, 3.2:
//
//	| Next Payload  |C|  RESERVED   |         Payload Length        |
const genericLen = 4

const criticalBit = 0x80

// fault is malformed input, before it is decided whether that is dropped or
// answered.
type fault struct{ reason, why string }

func (f *fault) Error() string { return f.why }

func malformed(format string, args ...any) error {
	return &fault{"malformed", fmt.Sprintf(format, args...)}
}

// ParsePayloads decodes what was inside an SK payload (or the fragments of
// one): a chain of payloads whose first has type first. Every error is a
// *ike.NotifyError. Which payloads may be there is for Legal to say.
func ParsePayloads(first ike.PayloadType, b []byte) (Payloads, error) {
	ps, err := parseChain(first, octet.NewReader(b), true)
	if err != nil {
		return nil, answered(err)
	}
	return ps, nil
}

// answered turns an error met inside a verified payload into its notify.
func answered(err error) error {
	if ne, ok := errors.AsType[*ike.NotifyError](err); ok {
		return ne
	}
	return &ike.NotifyError{Type: ike.NotifyInvalidSyntax, Why: err.Error()}
}

// parseChain decodes payloads until the one that names no successor, which
// must be the end of r. Encrypted payloads end a chain too and are refused
// inside another (no recursion).
func parseChain(next ike.PayloadType, r *octet.Reader, inner bool) (Payloads, error) {
	var ps Payloads
	for next != ike.NoPayload {
		if len(ps) == maxPayloads {
			return nil, &fault{"too_many", fmt.Sprintf("more than %d payloads", maxPayloads)}
		}
		typ, at := next, r.Offset()
		next = ike.PayloadType(r.Uint8())
		critical := r.Uint8()&criticalBit != 0
		n := int(r.Uint16()) - genericLen
		if r.Err() != nil {
			return nil, malformed("%s payload at offset %d: header is cut short", typ, at)
		}
		if n < 0 || n > r.Len() {
			return nil, malformed("%s payload at offset %d: length %d with %d octets left", typ, at, n+genericLen, r.Len()+genericLen)
		}
		body := r.Sub(n)
		if typ == ike.PayloadSK || typ == ike.PayloadSKF {
			if inner {
				return nil, malformed("%s payload at offset %d: encrypted payload inside another", typ, at)
			}
			// RFC 7296, 3.14: its Next Payload is that of the first one inside.
			p, err := parseEncrypted(typ, next, body)
			if err != nil {
				return nil, fmt.Errorf("%s payload at offset %d: %w", typ, at, err)
			}
			ps = append(ps, p)
			break
		}
		p, err := parsePayload(typ, critical, body)
		if err != nil {
			return nil, inPayload(typ, at, err)
		}
		ps = append(ps, p)
	}
	if r.Len() > 0 {
		return nil, &fault{"trailing", fmt.Sprintf("%d octets after the last payload", r.Len())}
	}
	return ps, nil
}

// inPayload says where err happened without changing what is to be done.
func inPayload(typ ike.PayloadType, at int, err error) error {
	where := fmt.Sprintf("%s payload at offset %d: ", typ, at)
	if ne, ok := errors.AsType[*ike.NotifyError](err); ok {
		return &ike.NotifyError{Type: ne.Type, Data: ne.Data, Why: where + ne.Why}
	}
	return malformed("%s%v", where, err)
}

// parsers holds the decoder of every payload type but the encrypted ones.
var parsers = map[ike.PayloadType]func(*octet.Reader) Payload{
	ike.PayloadSA:       func(r *octet.Reader) Payload { return parseSA(r) },
	ike.PayloadKE:       func(r *octet.Reader) Payload { return parseKE(r) },
	ike.PayloadIDi:      func(r *octet.Reader) Payload { return IDi{parseID(r)} },
	ike.PayloadIDr:      func(r *octet.Reader) Payload { return IDr{parseID(r)} },
	ike.PayloadCERT:     func(r *octet.Reader) Payload { return parseCERT(r) },
	ike.PayloadCERTREQ:  func(r *octet.Reader) Payload { return parseCERTREQ(r) },
	ike.PayloadAUTH:     func(r *octet.Reader) Payload { return parseAUTH(r) },
	ike.PayloadNonce:    func(r *octet.Reader) Payload { return parseNonce(r) },
	ike.PayloadNotify:   func(r *octet.Reader) Payload { return parseNotify(r) },
	ike.PayloadDelete:   func(r *octet.Reader) Payload { return parseDelete(r) },
	ike.PayloadVendorID: func(r *octet.Reader) Payload { return VendorID{r.Rest()} },
	ike.PayloadTSi:      func(r *octet.Reader) Payload { return TSi{parseTS(r)} },
	ike.PayloadTSr:      func(r *octet.Reader) Payload { return TSr{parseTS(r)} },
	ike.PayloadCP:       func(r *octet.Reader) Payload { return parseCP(r) },
	ike.PayloadEAP:      func(r *octet.Reader) Payload { return parseEAP(r) },
}

func parsePayload(typ ike.PayloadType, critical bool, r *octet.Reader) (Payload, error) {
	parse, known := parsers[typ]
	if !known {
		if critical { // RFC 7296, 2.5: the one-octet type is the data
			return nil, &ike.NotifyError{Type: ike.NotifyUnsupportedCritical, Data: []byte{uint8(typ)}, Why: "unknown critical payload"}
		}
		return Unknown{Number: typ, Data: r.Rest()}, nil
	}
	p := parse(r)
	if r.Err() == nil && r.Len() > 0 {
		r.Fail(fmt.Errorf("%d octets too many", r.Len()))
	}
	return p, r.Err()
}

// appendChain appends payloads, each with its generic header.
func appendChain(b []byte, payloads []Payload) []byte {
	for i, p := range payloads {
		next := first(payloads[i+1:])
		flags := uint8(0)
		switch p := p.(type) {
		case SK:
			next = p.Next
		case SKF:
			next = p.Next
		case Unknown:
			if p.Critical {
				flags = criticalBit
			}
		}
		b = append(b, uint8(next), flags)
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
