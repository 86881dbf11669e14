package ikev2

import (
	"slices"
	"strings"

	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
	"cygnet/internal/ipsec"
	"cygnet/internal/octet"
	"cygnet/internal/suite"
)

// signedOctets is what one end's AUTH payload covers, RFC 7296 section 2.15:
//
//	InitiatorSignedOctets = RealMessage1 | NonceRData | prf(SK_pi, IDi')
//	ResponderSignedOctets = RealMessage2 | NonceIData | prf(SK_pr, IDr')
//
// message is that end's IKE_SA_INIT as it was on the wire, nonce the other
// end's, id the body of the signer's ID payload.
func signedOctets(prf *suite.PRF, message, nonce []byte, p ipsec.Secret, id []byte) []byte {
	return concat(message, nonce, prf.Sum(p.Bytes(), id))
}

// methodOf says which of our methods a number on the wire belongs to.
func methodOf(number uint8) ike.AuthMethod {
	switch number {
	case wire.AuthSharedKey:
		return ike.AuthPSK
	case wire.AuthRSA, wire.AuthECDSA256, wire.AuthECDSA384, wire.AuthECDSA521, wire.AuthSignature:
		return ike.AuthPubkey
	case wire.AuthNull:
		return ike.AuthNULL
	}
	return ike.AuthNever
}

// accepts reports whether an end may prove itself by one of some methods.
func accepts(e *ike.End, methods ...ike.AuthMethod) bool {
	return slices.ContainsFunc(methods, func(m ike.AuthMethod) bool {
		return m != ike.AuthNever && slices.Contains(e.Auth, m)
	})
}

// provenBy is the one of several methods that a connection accepts.
func provenBy(c *ike.Conn, methods []ike.AuthMethod) ike.AuthMethod {
	for _, m := range methods {
		if accepts(&c.Remote, m) {
			return m
		}
	}
	return ike.AuthNever
}

func methodNames(methods []ike.AuthMethod) string {
	var names []string
	for _, m := range methods {
		names = append(names, methodName(m))
	}
	return strings.Join(names, " or ")
}

func methodName(m ike.AuthMethod) string {
	switch m {
	case ike.AuthPSK:
		return "pre-shared key"
	case ike.AuthPubkey:
		return "public key"
	case ike.AuthNULL:
		return "no authentication"
	case ike.AuthEAPTLS:
		return "EAP-TLS"
	case ike.AuthEAPMSCHAPv2:
		return "EAP-MSCHAPv2"
	}
	return "an unknown method"
}

// ourHashes is what we announce in SIGNATURE_HASH_ALGORITHMS, RFC 7427 section
// 4: SHA2-256, SHA2-384, SHA2-512 and the identity of Ed25519 (RFC 8420). SHA-1
// is not among them.
var ourHashes = []uint16{2, 3, 4, 5}

func hashesNotify() wire.Notify {
	var b []byte
	for _, h := range ourHashes {
		b = octet.AppendUint16(b, h)
	}
	return wire.NewNotify(ike.NotifySignatureHashAlgorithms, b)
}

// peerHashes reads SIGNATURE_HASH_ALGORITHMS and keeps the hashes we know, in
// our order. Others, SHA-1 (1) among them, are no ground to sign on.
func peerHashes(ps wire.Payloads) []uint16 {
	n, ok := ps.Notify(ike.NotifySignatureHashAlgorithms)
	if !ok {
		return nil
	}
	said := map[uint16]bool{}
	for r := octet.NewReader(n.Data); r.Len() >= 2; {
		said[r.Uint16()] = true
	}
	var known []uint16
	for _, h := range ourHashes {
		if said[h] {
			known = append(known, h)
		}
	}
	return known
}
