// Package suite holds the algorithms: one descriptor per algorithm, in one
// file each, the proposals that IKE negotiates, and the order of preference
// with its reasons. Descriptors are read-only values; the package has no state
// and does no I/O. It knows neither IKE messages nor SAs.
package suite

import (
	"crypto/cipher"
	"hash"
	"io"
)

// TransformType is the IKEv2 transform type, RFC 7296 section 3.3.2.
type TransformType uint8

// The transform types.
const (
	TypeEncr  TransformType = 1
	TypePRF   TransformType = 2
	TypeInteg TransformType = 3
	TypeKE    TransformType = 4
	TypeESN   TransformType = 5

	// TypeAddKE1 is the first of the additional key exchanges, RFC 9370
	// section 2.2; the others follow.
	TypeAddKE1 TransformType = 6
)

// NumAddKE is how many additional key exchanges there may be.
const NumAddKE = 7

// Protocol is the IKEv2 security protocol identifier, RFC 7296 section 3.3.1.
type Protocol uint8

// The protocols.
const (
	ProtoIKE Protocol = 1
	ProtoAH  Protocol = 2
	ProtoESP Protocol = 3
)

// Transform is one transform as it stands on the wire. KeyBits is the Key
// Length attribute, 0 when absent.
type Transform struct {
	Type    TransformType
	ID      uint16
	KeyBits uint16
}

// Offer is one proposal as it stands on the wire, unknown transforms included.
type Offer struct {
	Number     uint8
	Protocol   Protocol
	SPI        []byte // 0, 4 or 8 octets
	Transforms []Transform
}

// Encr describes an encryption algorithm.
type Encr struct {
	ID       uint16   // IKEv2 transform ID
	Name     string   // IANA name in lower case, such as aes_gcm_16
	Conf     []string // names in ipsec.conf, the first one is printed
	KLIPS    string   // name in `ipsec spi`, such as ESP_AES_GCM_16
	KeyBits  []int    // allowed sizes, preferred first, without salt
	Fixed    bool     // one key size: the Key Length attribute is never sent
	Salt     int      // octets of salt after the key (RFC 4106)
	IV       int      // octets of IV in each packet
	ICV      int      // octets of ICV of an AEAD
	Block    int      // padding granularity in octets
	AEAD     bool
	Obsolete string // why a connection must ask for it by name; empty: in good standing

	NewAEAD  func(key []byte) (cipher.AEAD, error)  // key without salt; AEADs only
	NewBlock func(key []byte) (cipher.Block, error) // CBC ciphers only; nil for NULL
}

// Integ describes an integrity algorithm.
type Integ struct {
	ID       uint16
	Name     string
	Conf     []string
	KLIPS    string
	Key      int // octets
	ICV      int // octets on the wire, after truncation
	Obsolete string
	New      func(key []byte) hash.Hash
}

// PRF describes a pseudo-random function.
type PRF struct {
	ID       uint16
	Name     string
	Conf     []string
	Key      int // preferred key length in octets
	Out      int // octets
	Obsolete string
	New      func(key []byte) hash.Hash
}

// KE describes a key exchange method (Diffie-Hellman group or KEM).
type KE struct {
	ID       uint16
	Name     string
	Conf     []string
	Public   int // octets of the initiator's public value
	Answer   int // octets of the responder's, another number for a KEM only
	Obsolete string

	// New makes the initiator's half from octets of rand.
	New func(rand io.Reader) (Private, error)
	// Respond makes the responder's public value and the shared secret.
	// A bad public value is an error (RFC 6989), never a panic.
	Respond func(rand io.Reader, peer []byte) (public, shared []byte, err error)
}

// Private is the initiator's half of a key exchange in progress.
type Private interface {
	Public() []byte
	// Shared finishes the exchange with the responder's public value.
	Shared(peer []byte) ([]byte, error)
}

// EncrChoice is an encryption algorithm at one key size.
type EncrChoice struct {
	*Encr
	Bits int
}

// Proposal is one of our own proposals: for each transform type the
// algorithms we accept, preferred first.
type Proposal struct {
	Protocol Protocol
	Encr     []EncrChoice
	PRF      []*PRF
	Integ    []*Integ // empty when all of Encr are AEADs
	KE       []*KE    // for ESP and AH: PFS groups; empty means none
	ESN      []bool   // ESP and AH only

	// AddKE are the additional key exchanges, RFC 9370. An empty one is not
	// wanted; one that is not empty is demanded.
	AddKE [NumAddKE][]*KE
}

// Chosen is the outcome of a negotiation: one algorithm of each type.
type Chosen struct {
	Protocol Protocol
	Encr     EncrChoice // Encr.Encr is nil for AH
	PRF      *PRF       // IKE only
	Integ    *Integ     // nil with an AEAD
	KE       *KE        // nil without PFS
	ESN      bool
	AddKE    [NumAddKE]*KE // nil: not negotiated
}
