package ike

import (
	"fmt"

	"cygnet/internal/octet"
)

// HeaderLen is the length of the IKE header in octets.
const HeaderLen = 28

// Major versions of IKE.
const (
	Version1 uint8 = 1
	Version2 uint8 = 2
)

// Header is the fixed header of every IKE message, RFC 7296 section 3.1 and
// RFC 2408 section 3.1, which share one layout:
//
//	 0                   1                   2                   3
//	+---------------------------------------------------------------+
//	|            IKE SA Initiator's SPI (v1: initiator cookie)      |
//	|                                                               |
//	|            IKE SA Responder's SPI (v1: responder cookie)      |
//	|                                                               |
//	| Next Payload  | MjVer | MnVer | Exchange Type |     Flags     |
//	|                          Message ID                           |
//	|                            Length                             |
//	+---------------------------------------------------------------+
type Header struct {
	SPIi, SPIr   uint64
	Next         PayloadType
	Major, Minor uint8
	Exchange     ExchangeType
	Flags        Flags
	MessageID    uint32
	Length       uint32 // of the whole message in octets
}

// ParseHeader reads the header of msg, a whole datagram without the non-ESP
// marker. Errors are of type *DropError: such a message is never answered.
// The version is not judged here; see Gate and the machines.
func ParseHeader(msg []byte) (Header, error) {
	if len(msg) < HeaderLen {
		return Header{}, &DropError{"short", fmt.Sprintf("IKE header: %d octets, need %d", len(msg), HeaderLen)}
	}
	r := octet.NewReader(msg)
	h := Header{SPIi: r.Uint64(), SPIr: r.Uint64(), Next: PayloadType(r.Uint8())}
	version := r.Uint8()
	h.Major, h.Minor = version>>4, version&15
	h.Exchange = ExchangeType(r.Uint8())
	h.Flags = Flags(r.Uint8()) & flagsOf(h.Major)
	h.MessageID, h.Length = r.Uint32(), r.Uint32()
	switch {
	case uint64(h.Length) != uint64(len(msg)):
		return Header{}, &DropError{"length", fmt.Sprintf("IKE header: length %d in a datagram of %d octets", h.Length, len(msg))}
	case h.SPIi == 0: // RFC 7296, 3.1: MUST NOT be zero
		return Header{}, &DropError{"spi", "IKE header: initiator SPI is zero"}
	}
	return h, nil
}

// Append appends the 28 octets of the header to b.
func (h Header) Append(b []byte) []byte {
	b = octet.AppendUint64(b, h.SPIi)
	b = octet.AppendUint64(b, h.SPIr)
	b = append(b, uint8(h.Next), h.Major<<4|h.Minor&15, uint8(h.Exchange), uint8(h.Flags))
	b = octet.AppendUint32(b, h.MessageID)
	return octet.AppendUint32(b, h.Length)
}

// Response reports whether the message answers another (IKEv2).
func (h Header) Response() bool { return h.Flags&FlagResponse != 0 }

// FromInitiator reports whether the original initiator of the IKE SA sent it
// (IKEv2).
func (h Header) FromInitiator() bool { return h.Flags&FlagInitiator != 0 }

// String is like "IKE_AUTH request 1".
func (h Header) String() string {
	kind := "request"
	if h.Response() {
		kind = "response"
	}
	if h.Major == Version1 {
		return fmt.Sprintf("%s %08x", h.Exchange, h.MessageID)
	}
	return fmt.Sprintf("%s %s %d", h.Exchange, kind, h.MessageID)
}

// Flags are the flag bits of the header.
type Flags uint8

// The flags. IKEv1 and IKEv2 use different bits.
const (
	FlagEncryption Flags = 0x01 // v1: what follows the header is encrypted
	FlagCommit     Flags = 0x02 // v1
	FlagAuthOnly   Flags = 0x04 // v1
	FlagInitiator  Flags = 0x08 // v2: sent by the original initiator of the IKE SA
	FlagVersion    Flags = 0x10 // v2: a higher major version is possible; ignored
	FlagResponse   Flags = 0x20 // v2
)

// flagsOf is the set of flags that a version defines. The others are reserved
// and ignored on reading; FlagVersion says nothing to us either.
func flagsOf(major uint8) Flags {
	if major == Version1 {
		return FlagEncryption | FlagCommit | FlagAuthOnly
	}
	return FlagInitiator | FlagResponse
}

// ExchangeType is the exchange a message belongs to. The numbers of both
// versions share one registry.
type ExchangeType uint8

// Exchange types, IANA "IKEv2 Exchange Types" and RFC 2408 section 3.1.
const (
	MainMode      ExchangeType = 2 // v1 Identity Protection
	Aggressive    ExchangeType = 4
	InfoV1        ExchangeType = 5
	Transaction   ExchangeType = 6
	QuickMode     ExchangeType = 32
	NewGroup      ExchangeType = 33
	SAInit        ExchangeType = 34
	Auth          ExchangeType = 35
	CreateChild   ExchangeType = 36
	Informational ExchangeType = 37
	Resume        ExchangeType = 38 // RFC 5723
	Intermediate  ExchangeType = 43 // RFC 9242
	FollowupKE    ExchangeType = 44 // RFC 9370
)

var exchangeNames = map[ExchangeType]string{
	MainMode: "MAIN_MODE", Aggressive: "AGGRESSIVE", InfoV1: "INFORMATIONAL_V1",
	Transaction: "TRANSACTION", QuickMode: "QUICK_MODE", NewGroup: "NEW_GROUP",
	SAInit: "IKE_SA_INIT", Auth: "IKE_AUTH", CreateChild: "CREATE_CHILD_SA",
	Informational: "INFORMATIONAL", Resume: "IKE_SESSION_RESUME",
	Intermediate: "IKE_INTERMEDIATE", FollowupKE: "IKE_FOLLOWUP_KE",
}

// String is the name of the RFC, or exchange(n).
func (x ExchangeType) String() string {
	if name, ok := exchangeNames[x]; ok {
		return name
	}
	return fmt.Sprintf("exchange(%d)", uint8(x))
}

// PayloadType numbers a payload. Versions 1 and 2 use distinct numbers.
type PayloadType uint8

// NoPayload ends a chain of payloads.
const NoPayload PayloadType = 0

// Payload types of IKEv2, RFC 7296 section 3.2.
const (
	PayloadSA       PayloadType = 33
	PayloadKE       PayloadType = 34
	PayloadIDi      PayloadType = 35
	PayloadIDr      PayloadType = 36
	PayloadCERT     PayloadType = 37
	PayloadCERTREQ  PayloadType = 38
	PayloadAUTH     PayloadType = 39
	PayloadNonce    PayloadType = 40
	PayloadNotify   PayloadType = 41
	PayloadDelete   PayloadType = 42
	PayloadVendorID PayloadType = 43
	PayloadTSi      PayloadType = 44
	PayloadTSr      PayloadType = 45
	PayloadSK       PayloadType = 46
	PayloadCP       PayloadType = 47
	PayloadEAP      PayloadType = 48
	PayloadSKF      PayloadType = 53 // RFC 7383
)

// Payload types of IKEv1, RFC 2408 section 3.1 and RFC 3947.
const (
	PayloadV1SA        PayloadType = 1
	PayloadV1Proposal  PayloadType = 2
	PayloadV1Transform PayloadType = 3
	PayloadV1KE        PayloadType = 4
	PayloadV1ID        PayloadType = 5
	PayloadV1CERT      PayloadType = 6
	PayloadV1CERTREQ   PayloadType = 7
	PayloadV1Hash      PayloadType = 8
	PayloadV1Signature PayloadType = 9
	PayloadV1Nonce     PayloadType = 10
	PayloadV1Notify    PayloadType = 11
	PayloadV1Delete    PayloadType = 12
	PayloadV1VendorID  PayloadType = 13
	PayloadV1Attrs     PayloadType = 14 // mode config
	PayloadV1NATD      PayloadType = 20
	PayloadV1NATOA     PayloadType = 21
)

var payloadNames = map[PayloadType]string{
	NoPayload: "none",
	PayloadSA: "SA", PayloadKE: "KE", PayloadIDi: "IDi", PayloadIDr: "IDr", PayloadCERT: "CERT",
	PayloadCERTREQ: "CERTREQ", PayloadAUTH: "AUTH", PayloadNonce: "Nonce", PayloadNotify: "N",
	PayloadDelete: "D", PayloadVendorID: "V", PayloadTSi: "TSi", PayloadTSr: "TSr", PayloadSK: "SK",
	PayloadCP: "CP", PayloadEAP: "EAP", PayloadSKF: "SKF",
	PayloadV1SA: "v1-SA", PayloadV1Proposal: "v1-P", PayloadV1Transform: "v1-T", PayloadV1KE: "v1-KE",
	PayloadV1ID: "v1-ID", PayloadV1CERT: "v1-CERT", PayloadV1CERTREQ: "v1-CR", PayloadV1Hash: "v1-HASH",
	PayloadV1Signature: "v1-SIG", PayloadV1Nonce: "v1-NONCE", PayloadV1Notify: "v1-N",
	PayloadV1Delete: "v1-D", PayloadV1VendorID: "v1-VID", PayloadV1Attrs: "v1-ATTR",
	PayloadV1NATD: "v1-NAT-D", PayloadV1NATOA: "v1-NAT-OA",
}

// String is the RFC's notation (SA, KE, IDi, N, ...), or payload(n).
func (p PayloadType) String() string {
	if name, ok := payloadNames[p]; ok {
		return name
	}
	return fmt.Sprintf("payload(%d)", uint8(p))
}
