package wire

import (
	"errors"

	"cygnet/internal/ike"
	"cygnet/internal/octet"
)

// SK is the Encrypted payload, RFC 7296 section 3.14, still closed:
//
//	~                     Initialization Vector                     ~
//	~                    Encrypted IKE Payloads                     ~
//	~               Padding (0-255 octets)          |  Pad Length   |
//	~                    Integrity Checksum Data                    ~
type SK struct {
	Next ike.PayloadType // of the first payload inside
	Body []byte
}

// SKF is the Encrypted Fragment payload, RFC 7383 section 2.5, still closed.
//
//	|        Fragment Number        |        Total Fragments        |
type SKF struct {
	Next   ike.PayloadType // of the first payload inside; in fragment 1 only
	Number uint16          // from 1
	Total  uint16
	Body   []byte
}

// Type implements Payload.
func (SK) Type() ike.PayloadType { return ike.PayloadSK }

// Type implements Payload.
func (SKF) Type() ike.PayloadType { return ike.PayloadSKF }

func (p SK) appendTo(b []byte) []byte { return append(b, p.Body...) }

func (p SKF) appendTo(b []byte) []byte {
	b = octet.AppendUint16(b, p.Number)
	b = octet.AppendUint16(b, p.Total)
	return append(b, p.Body...)
}

func parseEncrypted(typ, next ike.PayloadType, r *octet.Reader) (Payload, error) {
	if typ == ike.PayloadSK {
		return SK{next, r.Rest()}, nil
	}
	p := SKF{Next: next, Number: r.Uint16(), Total: r.Uint16(), Body: r.Rest()}
	switch { // RFC 7383, 2.5
	case r.Err() != nil:
		return nil, r.Err()
	case p.Number == 0 || p.Number > p.Total:
		return nil, malformed("fragment %d of %d", p.Number, p.Total)
	case p.Number > 1 && next != ike.NoPayload:
		return nil, malformed("fragment %d names a next payload", p.Number)
	}
	return p, nil
}

// skBody and skfBody are the offsets of the cipher's part in a message that
// consists of nothing else.
const (
	skBody  = ike.HeaderLen + genericLen
	skfBody = skBody + 4
)

// Seal appends a message whose payloads are all inside one SK payload. Next
// and Length of h are filled in here. The payloads together must stay below
// 65,000 octets, which is the caller's to see to.
func Seal(b []byte, h ike.Header, payloads []Payload, c SKCipher) []byte {
	return seal(b, h, SK{Next: first(payloads)}, appendChain(nil, payloads), c)
}

// SealFragment appends one fragment of a message: p without a Body, and piece,
// its part of the payloads that AppendPayloads gave.
func SealFragment(b []byte, h ike.Header, p SKF, piece []byte, c SKCipher) []byte {
	return seal(b, h, p, piece, c)
}

// AppendPayloads appends payloads as they stand inside SK, for a caller that
// cuts them into fragments.
func AppendPayloads(b []byte, payloads []Payload) []byte { return appendChain(b, payloads) }

// seal writes everything before the cipher's part with its final lengths,
// because the cipher covers those octets, and lets the cipher append the rest.
func seal(b []byte, h ike.Header, head Payload, plain []byte, c SKCipher) []byte {
	start, n := len(b), c.Size(len(plain))
	switch p := head.(type) {
	case SK:
		p.Body = make([]byte, n)
		head = p
	case SKF:
		p.Body = make([]byte, n)
		head = p
	}
	b = Append(b, h, head)
	body := len(b) - n
	return c.Seal(b[:body], start, plain)
}

// Open decrypts a message whose only payload is SK and decodes what is inside.
// A *ike.DropError means that msg is not from the peer; a *ike.NotifyError,
// that it is and broke the rules, those of Legal included.
func Open(msg []byte, c SKCipher) (Payloads, error) {
	sk, err := OpenSK(msg, c)
	if err != nil {
		return nil, err
	}
	h, err := ike.ParseHeader(msg)
	if err != nil {
		return nil, err
	}
	return Decode(h, sk.Next, sk.Body)
}

// OpenSK is Open without the decoding: it returns the SK payload with its Body
// replaced by the payloads as they stand inside.
func OpenSK(msg []byte, c SKCipher) (SK, error) {
	m, err := Parse(msg)
	if err != nil {
		return SK{}, onlyDrop(err)
	}
	sk, ok := only[SK](m.Payloads)
	if !ok {
		return SK{}, &ike.DropError{Reason: "protected", Why: "no SK payload"}
	}
	sk.Body, err = open(msg, skBody, c)
	return sk, err
}

// Decode decodes what stood inside SK, or in all fragments together, and checks
// it by Legal. next is the type of the first payload.
func Decode(h ike.Header, next ike.PayloadType, plain []byte) (Payloads, error) {
	ps, err := ParsePayloads(next, plain)
	if err != nil {
		return nil, err
	}
	return ps, Legal(h, ps)
}

// SealedLen is the length of a message with one SK payload around n octets of
// payloads.
func SealedLen(n int, c SKCipher) int { return skBody + c.Size(n) }

// FragmentLen is the length of a fragment with a piece of n octets.
func FragmentLen(n int, c SKCipher) int { return skfBody + c.Size(n) }

// OpenFragment decrypts a message whose only payload is SKF and returns the
// fragment with its Body replaced by its piece of the payloads. Pieces of one
// message in order, joined, are what ParsePayloads takes, with the Next of
// fragment 1; Legal comes after it.
func OpenFragment(msg []byte, c SKCipher) (SKF, error) {
	m, err := Parse(msg)
	if err != nil {
		return SKF{}, onlyDrop(err)
	}
	p, ok := only[SKF](m.Payloads)
	if !ok {
		return SKF{}, &ike.DropError{Reason: "protected", Why: "no SKF payload"}
	}
	p.Body, err = open(msg, skfBody, c)
	return p, err
}

// onlyDrop makes a notify out of unprotected octets a reason to drop: where
// protection is expected, nothing in the clear is answered.
func onlyDrop(err error) error {
	if ne, ok := errors.AsType[*ike.NotifyError](err); ok {
		return &ike.DropError{Reason: "protected", Why: ne.Error()}
	}
	return err
}

// open decrypts and takes the padding off.
func open(msg []byte, body int, c SKCipher) ([]byte, error) {
	plain, err := c.Open(msg, body)
	if err != nil {
		return nil, &ike.DropError{Reason: "icv", Why: err.Error()}
	}
	n := len(plain) - 1
	if n < 0 || int(plain[n]) > n {
		return nil, &ike.NotifyError{Type: ike.NotifyInvalidSyntax, Why: "pad length exceeds the content of SK"}
	}
	return plain[:n-int(plain[n])], nil
}
