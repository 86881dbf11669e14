// Package oe reads what the DNS says about who may speak IPsec for an address
// and with which key: the records IPSECKEY (RFC 4025), TXT X-IPsec-Server and
// KEY, and the decisions that follow from them (opportunistic.md 4.2, 6 and 7).
//
// It asks nothing itself. An Inquiry names the queries it wants and is told the
// answers; internal/resolve carries them to a resolver, tests and simulations
// answer them from a table. What an Inquiry ends with, a Finding, is plain data
// with absolute times, so the package needs no clock. An Inquiry belongs to one
// goroutine; all else is values.
package oe

import (
	"context"
	"fmt"
	"time"
)

// Security is how far an answer of the DNS can be believed, RFC 4033 section 5.
type Security uint8

// The states. Only a Secure answer gives keys or authority, and only a Secure
// negative answer proves that there are none (opportunistic.md 8.1).
const (
	Indeterminate Security = iota // no answer, or the server could not say
	Bogus                         // should have been signed and is not, or wrongly
	Insecure                      // provably unsigned, or nobody validated it
	Secure
)

// String is the name of the state as commands print it.
func (s Security) String() string {
	switch s {
	case Bogus:
		return "BOGUS"
	case Insecure:
		return "INSECURE"
	case Secure:
		return "SECURE"
	}
	return "INDETERMINATE"
}

// Types of records, from the registry of RFC 6895.
const (
	TypeA        uint16 = 1
	TypeSOA      uint16 = 6
	TypeTXT      uint16 = 16
	TypeKEY      uint16 = 25
	TypeAAAA     uint16 = 28
	TypeIPSECKEY uint16 = 45

	typeDS     uint16 = 43 // of interest to who validates
	typeDNSKEY uint16 = 48
)

// Query is a question to the DNS, class IN. Name is absolute and lower case.
type Query struct {
	Name string
	Type uint16
}

// String is like 10.2.0.192.in-addr.arpa. IPSECKEY.
func (q Query) String() string { return q.Name + " " + TypeName(q.Type) }

// TypeName is the mnemonic of a record type.
func TypeName(t uint16) string {
	switch t {
	case TypeA:
		return "A"
	case TypeSOA:
		return "SOA"
	case TypeTXT:
		return "TXT"
	case TypeKEY:
		return "KEY"
	case TypeAAAA:
		return "AAAA"
	case TypeIPSECKEY:
		return "IPSECKEY"
	case typeDS:
		return "DS"
	case typeDNSKEY:
		return "DNSKEY"
	}
	return fmt.Sprintf("TYPE%d", t)
}

// Answer is what a resolver found.
type Answer struct {
	Security Security
	Found    bool      // there are records; without them a Secure answer proves that there are none
	NXDomain bool      // the name itself does not exist
	Raw      [][]byte  // RDATA in the order of the answer; the resolver has checked whose they are
	Expires  time.Time // the lowest TTL of the chain from now; of a negative answer by RFC 2308
	ProofEnd time.Time // when the first signature ends; zero: unknown
	Why      string    // the rcode, the extended error or what was wrong
}

// Resolver answers questions. Lookup may be called from any goroutine. Whatever
// the DNS says or fails to say is an Answer; an error means that ctx ended or
// that the resolver is closed.
type Resolver interface {
	Lookup(ctx context.Context, name string, rrtype uint16) (Answer, error)
}

// Resolve asks r what i wants to know, one question after the other.
// resolve.Ask does the same with questions in parallel.
func Resolve(ctx context.Context, r Resolver, i *Inquiry) Finding {
	for q, ok := i.Next(); ok; q, ok = i.Next() {
		a, err := r.Lookup(ctx, q.Name, q.Type)
		if err != nil {
			a = Answer{Why: err.Error()}
		}
		i.Answered(q, a)
	}
	return i.Finding()
}
