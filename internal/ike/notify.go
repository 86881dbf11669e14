package ike

import "fmt"

// Notify message types of IKEv2: errors, RFC 7296 section 3.10.1.
const (
	NotifyUnsupportedCritical    uint16 = 1
	NotifyInvalidIKESPI          uint16 = 4
	NotifyInvalidMajorVersion    uint16 = 5
	NotifyInvalidSyntax          uint16 = 7
	NotifyInvalidMessageID       uint16 = 9
	NotifyInvalidSPI             uint16 = 11
	NotifyNoProposalChosen       uint16 = 14
	NotifyInvalidKEPayload       uint16 = 17
	NotifyAuthenticationFailed   uint16 = 24
	NotifySinglePairRequired     uint16 = 34
	NotifyNoAdditionalSAs        uint16 = 35
	NotifyInternalAddressFailure uint16 = 36
	NotifyFailedCPRequired       uint16 = 37
	NotifyTSUnacceptable         uint16 = 38
	NotifyInvalidSelectors       uint16 = 39
	NotifyUnacceptableAddresses  uint16 = 40
	NotifyUnexpectedNAT          uint16 = 41 // RFC 4555
	NotifyTemporaryFailure       uint16 = 43
	NotifyChildSANotFound        uint16 = 44
	NotifyStateNotFound          uint16 = 47 // RFC 9370
)

// FirstStatusNotify is the lowest status type; all types below it are errors,
// known or not.
const FirstStatusNotify uint16 = 16384

// Notify message types of IKEv2: status.
const (
	NotifyInitialContact           uint16 = 16384
	NotifySetWindowSize            uint16 = 16385
	NotifyAdditionalTSPossible     uint16 = 16386
	NotifyIPCompSupported          uint16 = 16387
	NotifyNATDetectionSource       uint16 = 16388
	NotifyNATDetectionDestination  uint16 = 16389
	NotifyCookie                   uint16 = 16390
	NotifyUseTransportMode         uint16 = 16391
	NotifyHTTPCertLookup           uint16 = 16392
	NotifyRekeySA                  uint16 = 16393
	NotifyESPTFCPaddingUnsupported uint16 = 16394
	NotifyNonFirstFragmentsAlso    uint16 = 16395
	NotifyMOBIKESupported          uint16 = 16396 // RFC 4555
	NotifyAdditionalIP4Address     uint16 = 16397
	NotifyAdditionalIP6Address     uint16 = 16398
	NotifyNoAdditionalAddresses    uint16 = 16399
	NotifyUpdateSAAddresses        uint16 = 16400
	NotifyCookie2                  uint16 = 16401
	NotifyNoNATsAllowed            uint16 = 16402
	NotifyAuthLifetime             uint16 = 16403 // RFC 4478
	NotifyMultipleAuthSupported    uint16 = 16404 // RFC 4739
	NotifyRedirectSupported        uint16 = 16406 // RFC 5685
	NotifyRedirect                 uint16 = 16407
	NotifyTicketLTOpaque           uint16 = 16409 // RFC 5723
	NotifyTicketRequest            uint16 = 16410
	NotifyTicketAck                uint16 = 16411
	NotifyTicketNack               uint16 = 16412
	NotifyTicketOpaque             uint16 = 16413
	NotifyRedirectedFrom           uint16 = 16408
	NotifyEAPOnly                  uint16 = 16417 // RFC 5998
	NotifyChildlessSupported       uint16 = 16418 // RFC 6023
	NotifyQCDToken                 uint16 = 16419 // RFC 6290
	NotifyFragmentationSupported   uint16 = 16430 // RFC 7383
	NotifySignatureHashAlgorithms  uint16 = 16431 // RFC 7427
	NotifyPuzzle                   uint16 = 16434 // RFC 8019
	NotifyUsePPK                   uint16 = 16435 // RFC 8784
	NotifyPPKIdentity              uint16 = 16436
	NotifyNoPPKAuth                uint16 = 16437
	NotifyIntermediateSupported    uint16 = 16438 // RFC 9242
	NotifyAdditionalKeyExchange    uint16 = 16441 // RFC 9370
)

// Notify message types of IKEv1, RFC 2408 section 3.14.1, RFC 2407 section
// 4.6.3 and RFC 3706. Below 16384 they are errors.
const (
	NotifyV1InvalidPayloadType      uint16 = 1
	NotifyV1DOINotSupported         uint16 = 2
	NotifyV1SituationNotSupported   uint16 = 3
	NotifyV1InvalidCookie           uint16 = 4
	NotifyV1InvalidMajorVersion     uint16 = 5
	NotifyV1InvalidMinorVersion     uint16 = 6
	NotifyV1InvalidExchangeType     uint16 = 7
	NotifyV1InvalidFlags            uint16 = 8
	NotifyV1InvalidMessageID        uint16 = 9
	NotifyV1InvalidProtocolID       uint16 = 10
	NotifyV1InvalidSPI              uint16 = 11
	NotifyV1InvalidTransformID      uint16 = 12
	NotifyV1AttributesNotSupported  uint16 = 13
	NotifyV1NoProposalChosen        uint16 = 14
	NotifyV1BadProposalSyntax       uint16 = 15
	NotifyV1PayloadMalformed        uint16 = 16
	NotifyV1InvalidKeyInformation   uint16 = 17
	NotifyV1InvalidIDInformation    uint16 = 18
	NotifyV1InvalidCertEncoding     uint16 = 19
	NotifyV1InvalidCertificate      uint16 = 20
	NotifyV1CertTypeUnsupported     uint16 = 21
	NotifyV1InvalidCertAuthority    uint16 = 22
	NotifyV1InvalidHashInformation  uint16 = 23
	NotifyV1AuthenticationFailed    uint16 = 24
	NotifyV1InvalidSignature        uint16 = 25
	NotifyV1AddressNotification     uint16 = 26
	NotifyV1NotifySALifetime        uint16 = 27
	NotifyV1CertificateUnavailable  uint16 = 28
	NotifyV1UnsupportedExchangeType uint16 = 29
	NotifyV1UnequalPayloadLengths   uint16 = 30
	NotifyV1Connected               uint16 = 16384
	NotifyV1ResponderLifetime       uint16 = 24576
	NotifyV1ReplayStatus            uint16 = 24577
	NotifyV1InitialContact          uint16 = 24578
	NotifyV1RUThere                 uint16 = 36136
	NotifyV1RUThereAck              uint16 = 36137
)

var notifyNames = map[uint16]string{
	NotifyUnsupportedCritical: "UNSUPPORTED_CRITICAL_PAYLOAD", NotifyInvalidIKESPI: "INVALID_IKE_SPI",
	NotifyInvalidMajorVersion: "INVALID_MAJOR_VERSION", NotifyInvalidSyntax: "INVALID_SYNTAX",
	NotifyInvalidMessageID: "INVALID_MESSAGE_ID", NotifyInvalidSPI: "INVALID_SPI",
	NotifyNoProposalChosen: "NO_PROPOSAL_CHOSEN", NotifyInvalidKEPayload: "INVALID_KE_PAYLOAD",
	NotifyAuthenticationFailed: "AUTHENTICATION_FAILED", NotifySinglePairRequired: "SINGLE_PAIR_REQUIRED",
	NotifyNoAdditionalSAs: "NO_ADDITIONAL_SAS", NotifyInternalAddressFailure: "INTERNAL_ADDRESS_FAILURE",
	NotifyFailedCPRequired: "FAILED_CP_REQUIRED", NotifyTSUnacceptable: "TS_UNACCEPTABLE",
	NotifyInvalidSelectors: "INVALID_SELECTORS", NotifyUnacceptableAddresses: "UNACCEPTABLE_ADDRESSES",
	NotifyTemporaryFailure: "TEMPORARY_FAILURE", NotifyChildSANotFound: "CHILD_SA_NOT_FOUND",

	NotifyUnexpectedNAT: "UNEXPECTED_NAT_DETECTED", NotifyStateNotFound: "STATE_NOT_FOUND",

	NotifyInitialContact: "INITIAL_CONTACT", NotifySetWindowSize: "SET_WINDOW_SIZE",
	NotifyAdditionalTSPossible: "ADDITIONAL_TS_POSSIBLE", NotifyIPCompSupported: "IPCOMP_SUPPORTED",
	NotifyNATDetectionSource: "NAT_DETECTION_SOURCE_IP", NotifyNATDetectionDestination: "NAT_DETECTION_DESTINATION_IP",
	NotifyCookie: "COOKIE", NotifyUseTransportMode: "USE_TRANSPORT_MODE",
	NotifyHTTPCertLookup: "HTTP_CERT_LOOKUP_SUPPORTED", NotifyRekeySA: "REKEY_SA",
	NotifyESPTFCPaddingUnsupported: "ESP_TFC_PADDING_NOT_SUPPORTED", NotifyNonFirstFragmentsAlso: "NON_FIRST_FRAGMENTS_ALSO",
	NotifyMOBIKESupported: "MOBIKE_SUPPORTED", NotifyAdditionalIP4Address: "ADDITIONAL_IP4_ADDRESS",
	NotifyAdditionalIP6Address: "ADDITIONAL_IP6_ADDRESS", NotifyNoAdditionalAddresses: "NO_ADDITIONAL_ADDRESSES",
	NotifyUpdateSAAddresses: "UPDATE_SA_ADDRESSES", NotifyCookie2: "COOKIE2", NotifyNoNATsAllowed: "NO_NATS_ALLOWED",
	NotifyMultipleAuthSupported: "MULTIPLE_AUTH_SUPPORTED", NotifyRedirectSupported: "REDIRECT_SUPPORTED",
	NotifyRedirect: "REDIRECT", NotifyChildlessSupported: "CHILDLESS_IKEV2_SUPPORTED",
	NotifyFragmentationSupported: "IKEV2_FRAGMENTATION_SUPPORTED", NotifySignatureHashAlgorithms: "SIGNATURE_HASH_ALGORITHMS",
	NotifyPuzzle: "PUZZLE", NotifyUsePPK: "USE_PPK", NotifyPPKIdentity: "PPK_IDENTITY", NotifyNoPPKAuth: "NO_PPK_AUTH",
	NotifyIntermediateSupported: "INTERMEDIATE_EXCHANGE_SUPPORTED", NotifyAdditionalKeyExchange: "ADDITIONAL_KEY_EXCHANGE",
	NotifyAuthLifetime: "AUTH_LIFETIME", NotifyRedirectedFrom: "REDIRECTED_FROM", NotifyEAPOnly: "EAP_ONLY_AUTHENTICATION",
	NotifyTicketLTOpaque: "TICKET_LT_OPAQUE", NotifyTicketRequest: "TICKET_REQUEST", NotifyTicketAck: "TICKET_ACK",
	NotifyTicketNack: "TICKET_NACK", NotifyTicketOpaque: "TICKET_OPAQUE", NotifyQCDToken: "QCD_TOKEN",
}

var notifyNamesV1 = map[uint16]string{
	NotifyV1InvalidPayloadType: "INVALID-PAYLOAD-TYPE", NotifyV1DOINotSupported: "DOI-NOT-SUPPORTED",
	NotifyV1SituationNotSupported: "SITUATION-NOT-SUPPORTED", NotifyV1InvalidCookie: "INVALID-COOKIE",
	NotifyV1InvalidMajorVersion: "INVALID-MAJOR-VERSION", NotifyV1InvalidMinorVersion: "INVALID-MINOR-VERSION",
	NotifyV1InvalidExchangeType: "INVALID-EXCHANGE-TYPE", NotifyV1InvalidFlags: "INVALID-FLAGS",
	NotifyV1InvalidMessageID: "INVALID-MESSAGE-ID", NotifyV1InvalidProtocolID: "INVALID-PROTOCOL-ID",
	NotifyV1InvalidSPI: "INVALID-SPI", NotifyV1InvalidTransformID: "INVALID-TRANSFORM-ID",
	NotifyV1AttributesNotSupported: "ATTRIBUTES-NOT-SUPPORTED", NotifyV1NoProposalChosen: "NO-PROPOSAL-CHOSEN",
	NotifyV1BadProposalSyntax: "BAD-PROPOSAL-SYNTAX", NotifyV1PayloadMalformed: "PAYLOAD-MALFORMED",
	NotifyV1InvalidKeyInformation: "INVALID-KEY-INFORMATION", NotifyV1InvalidIDInformation: "INVALID-ID-INFORMATION",
	NotifyV1InvalidCertEncoding: "INVALID-CERT-ENCODING", NotifyV1InvalidCertificate: "INVALID-CERTIFICATE",
	NotifyV1CertTypeUnsupported: "CERT-TYPE-UNSUPPORTED", NotifyV1InvalidCertAuthority: "INVALID-CERT-AUTHORITY",
	NotifyV1InvalidHashInformation: "INVALID-HASH-INFORMATION", NotifyV1AuthenticationFailed: "AUTHENTICATION-FAILED",
	NotifyV1InvalidSignature: "INVALID-SIGNATURE", NotifyV1AddressNotification: "ADDRESS-NOTIFICATION",
	NotifyV1NotifySALifetime: "NOTIFY-SA-LIFETIME", NotifyV1CertificateUnavailable: "CERTIFICATE-UNAVAILABLE",
	NotifyV1UnsupportedExchangeType: "UNSUPPORTED-EXCHANGE-TYPE", NotifyV1UnequalPayloadLengths: "UNEQUAL-PAYLOAD-LENGTHS",
	NotifyV1Connected: "CONNECTED", NotifyV1ResponderLifetime: "RESPONDER-LIFETIME",
	NotifyV1ReplayStatus: "REPLAY-STATUS", NotifyV1InitialContact: "INITIAL-CONTACT",
	NotifyV1RUThere: "R-U-THERE", NotifyV1RUThereAck: "R-U-THERE-ACK",
}

// NotifyName is the name of an IKEv2 notify type, or error(n) or status(n).
func NotifyName(t uint16) string { return notifyName(notifyNames, t) }

// NotifyNameV1 is the name of an IKEv1 notify type, or error(n) or status(n).
func NotifyNameV1(t uint16) string { return notifyName(notifyNamesV1, t) }

func notifyName(names map[uint16]string, t uint16) string {
	if name, ok := names[t]; ok {
		return name
	}
	if t < FirstStatusNotify {
		return fmt.Sprintf("error(%d)", t)
	}
	return fmt.Sprintf("status(%d)", t)
}

// NotifyError is a protocol failure that is answered with the notify it names.
// Why is for people on our side and never sent.
type NotifyError struct {
	Type uint16
	Data []byte // notification data
	Why  string
}

// Error implements error.
func (e *NotifyError) Error() string { return NotifyName(e.Type) + ": " + e.Why }

// DropError is a message that must be ignored without an answer and without
// any change of state. Reason is the label of the counter: short, length, spi,
// version, trailing, missing, too_many, malformed, protected, icv.
type DropError struct{ Reason, Why string }

// Error implements error.
func (e *DropError) Error() string { return "dropped (" + e.Reason + "): " + e.Why }
