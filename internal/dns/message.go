// Package dns is what this program knows of the DNS itself: messages (RFC 1035,
// 6891, 8914), and the proofs of DNSSEC over them (RFC 4033 to 4035, 5155,
// 6840, 9276), verified over the RDATA as they came, for a library that reads
// and rewrites them changes what was signed. It sends nothing and knows no
// clock; times are handed in. Used by internal/resolve.
package dns

import (
	"errors"
	"fmt"

	"golang.org/x/net/dns/dnsmessage"

	"cygnet/internal/octet"
)

// Types of records that the proofs need.
const (
	TypeNS     uint16 = 2
	TypeCNAME  uint16 = 5
	TypeSOA    uint16 = 6
	TypePTR    uint16 = 12
	TypeDNAME  uint16 = 39
	TypeDS     uint16 = 43
	TypeRRSIG  uint16 = 46
	TypeNSEC   uint16 = 47
	TypeDNSKEY uint16 = 48
	TypeNSEC3  uint16 = 50
)

// Response codes, RFC 1035, section 4.1.1.
const (
	RCodeSuccess  = 0
	RCodeFormErr  = 1
	RCodeServFail = 2
	RCodeNXDomain = 3
	RCodeRefused  = 5
)

// RCodeName is the mnemonic of a response code.
func RCodeName(code uint16) string {
	switch code {
	case RCodeSuccess:
		return "NOERROR"
	case RCodeFormErr:
		return "FORMERR"
	case RCodeServFail:
		return "SERVFAIL"
	case RCodeNXDomain:
		return "NXDOMAIN"
	case RCodeRefused:
		return "REFUSED"
	}
	return fmt.Sprintf("rcode %d", code)
}

// RR is a record of class IN. Data is its RDATA; names of the types of RFC 1035
// in it are spelled out and in lower case (RFC 4034, section 6.2).
type RR struct {
	Name string
	Type uint16
	TTL  uint32 // seconds
	Data []byte
}

// Question of a message.
type Question struct {
	ID   uint16
	Name string
	Type uint16
	CD   bool // checking disabled: the resolver shall not validate
	DO   bool // DNSSEC OK: signatures are wanted
}

// udpSize is the EDNS buffer that we announce: what passes any path in one
// packet.
const udpSize = 1232

// Pack makes the query: RD for recursion, AD because the state of validation is
// wanted (RFC 6840, section 5.7), and EDNS.
func (q Question) Pack() ([]byte, error) {
	name, err := dnsmessage.NewName(q.Name)
	if err != nil {
		return nil, fmt.Errorf("name %q cannot be asked for: %w", q.Name, err)
	}
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{ID: q.ID, RecursionDesired: true, AuthenticData: true, CheckingDisabled: q.CD})
	var opt dnsmessage.ResourceHeader
	err = errors.Join(
		b.StartQuestions(),
		b.Question(dnsmessage.Question{Name: name, Type: dnsmessage.Type(q.Type), Class: dnsmessage.ClassINET}),
		b.StartAdditionals(),
		opt.SetEDNS0(udpSize, dnsmessage.RCodeSuccess, q.DO),
		b.OPTResource(opt, dnsmessage.OPTResource{}))
	if err != nil {
		return nil, fmt.Errorf("query for %q: %w", q.Name, err)
	}
	return b.Finish()
}

// Message is an answer.
type Message struct {
	RCode     uint16
	AD        bool
	Truncated bool
	Answer    []RR
	Authority []RR
	Errors    []ExtendedError
}

// ExtendedError is an option of RFC 8914.
type ExtendedError struct {
	Code uint16
	Text string
}

// ErrNotAnAnswer says that a datagram has nothing to do with the question.
var ErrNotAnAnswer = errors.New("not an answer to the question")

// Parse reads the answer to q. A message with another ID or question is
// ErrNotAnAnswer; whoever sent it, the wait goes on.
func (q Question) Parse(msg []byte) (*Message, error) {
	var p dnsmessage.Parser
	h, err := p.Start(msg)
	if err != nil || h.ID != q.ID || !h.Response {
		return nil, ErrNotAnAnswer
	}
	asked, err := p.AllQuestions()
	if err != nil || len(asked) != 1 || Canonical(asked[0].Name.String()) != Canonical(q.Name) ||
		uint16(asked[0].Type) != q.Type || asked[0].Class != dnsmessage.ClassINET {
		return nil, ErrNotAnAnswer
	}
	m := &Message{RCode: uint16(h.RCode), AD: h.AuthenticData, Truncated: h.Truncated}
	if m.Truncated {
		return m, nil // the rest is never used (RFC 2181, section 9)
	}
	return m, m.read(&p)
}

func (m *Message) read(p *dnsmessage.Parser) (err error) {
	if m.Answer, err = section(p, p.AnswerHeader); err != nil {
		return fmt.Errorf("answer section: %w", err)
	}
	if m.Authority, err = section(p, p.AuthorityHeader); err != nil {
		return fmt.Errorf("authority section: %w", err)
	}
	for {
		h, err := p.AdditionalHeader()
		switch {
		case errors.Is(err, dnsmessage.ErrSectionDone):
			return nil
		case err != nil:
			return fmt.Errorf("additional section: %w", err)
		case h.Type != dnsmessage.TypeOPT:
			err = p.SkipAdditional()
		default:
			err = m.edns(p, h)
		}
		if err != nil {
			return fmt.Errorf("additional section: %w", err)
		}
	}
}

// edns reads the OPT record, RFC 6891, section 6.1.
func (m *Message) edns(p *dnsmessage.Parser, h dnsmessage.ResourceHeader) error {
	opt, err := p.OPTResource()
	if err != nil {
		return err
	}
	m.RCode = uint16(h.ExtendedRCode(dnsmessage.RCode(m.RCode)))
	for _, o := range opt.Options {
		const extendedError = 15
		if r := octet.NewReader(o.Data); o.Code == extendedError && len(o.Data) >= 2 {
			m.Errors = append(m.Errors, ExtendedError{r.Uint16(), string(r.Rest())})
		}
	}
	return nil
}

// section reads one section; records of other classes than IN are left out.
func section(p *dnsmessage.Parser, next func() (dnsmessage.ResourceHeader, error)) ([]RR, error) {
	var rrs []RR
	for {
		h, err := next()
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			return rrs, nil
		}
		if err != nil {
			return nil, err
		}
		data, err := rdata(p, uint16(h.Type))
		if err != nil {
			return nil, err
		}
		if h.Class == dnsmessage.ClassINET {
			rrs = append(rrs, RR{Canonical(h.Name.String()), uint16(h.Type), h.TTL, data})
		}
	}
}

// rdata reads the data of the next record. Only the types of RFC 1035 may
// compress names in them; those that can be in our answers are spelled out, all
// other data are taken as they are.
func rdata(p *dnsmessage.Parser, rrtype uint16) ([]byte, error) {
	switch rrtype {
	case TypeCNAME:
		r, err := p.CNAMEResource()
		return appendName(nil, Canonical(r.CNAME.String())), err
	case TypeNS:
		r, err := p.NSResource()
		return appendName(nil, Canonical(r.NS.String())), err
	case TypePTR:
		r, err := p.PTRResource()
		return appendName(nil, Canonical(r.PTR.String())), err
	case TypeSOA:
		r, err := p.SOAResource()
		b := appendName(appendName(nil, Canonical(r.NS.String())), Canonical(r.MBox.String()))
		for _, v := range []uint32{r.Serial, r.Refresh, r.Retry, r.Expire, r.MinTTL} {
			b = octet.AppendUint32(b, v)
		}
		return b, err
	}
	r, err := p.UnknownResource()
	return r.Data, err
}
