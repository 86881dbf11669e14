// Package eap is the Extensible Authentication Protocol, RFC 3748, with the
// methods that road warriors have: MSCHAPv2 by a password and TLS by
// certificates. Both ends are here, the server that asks and the peer that
// answers.
//
// It is pure. A conversation is a Talk, which is handed one packet and returns
// the next; how packets travel is the caller's business, and so are passwords
// and the handshake of TLS, which are handed in. A Talk is used by one goroutine
// at a time. It forgets nothing by itself: whoever drops it ends it.
package eap

import (
	"errors"
	"io"

	"cygnet/internal/ipsec"
)

// Talk is one end of a conversation.
type Talk interface {
	// Next takes the other end's packet and returns what follows from it. The
	// server's first call has no packet. An error means that the packet cannot
	// be; the conversation is then over.
	Next(packet []byte) (Reply, error)
}

// Outcome is how far a conversation has come.
type Outcome uint8

// The outcomes.
const (
	Going Outcome = iota
	Succeeded
	Failed
)

// Reply is what follows from a packet.
type Reply struct {
	Packet  []byte // to be sent, if any
	Outcome Outcome
	Why     string // of Failed, for a log

	Proven // of Succeeded
}

// Proven is what a method that has come to its end has given.
type Proven struct {
	// MSK is the key that both ends have now, of 64 octets (RFC 3748 section
	// 7.10).
	MSK ipsec.Secret

	// Name is whom the peer has proven to be, at the server.
	Name string

	// Of EAP-TLS: the other end's chain of certificates in DER, its own first, and
	// what is worth a line in the log about it.
	Chain    [][]byte
	Warnings []string
}

// Errors of Next that a caller may test for.
var (
	ErrPacket   = errors.New("not an EAP packet that can follow")
	ErrTooLong  = errors.New("the EAP conversation does not end")
	ErrUnproven = errors.New("EAP-Success before the method has ended")
)

// Limits of one conversation: a peer that is not authenticated yet decides how
// long it goes on.
const (
	maxRounds  = 100       // packets from the other end; a chain of 64 KiB in fragments of 1 KiB takes 70
	maxTLS     = 64 * 1024 // octets of one flight of TLS messages
	maxName    = 253       // octets of an identity: that of RFC 4282, section 2.2
	mskLen     = 64
	tlsPerPart = 1024 // octets of TLS data in one packet, as others have it
)

// random returns n octets; a source that fails panics, for no key would be
// safe.
func random(r io.Reader, n int) []byte {
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		panic("eap: random source: " + err.Error())
	}
	return b
}
