package wire

import (
	"fmt"

	"cygnet/internal/ike"
	"cygnet/internal/suite"
)

// rule says how often a payload may stand in a message. kind is the notify that
// breaking it earns.
type rule struct {
	payload  ike.PayloadType
	min, max int
	kind     uint16
}

const (
	syntax = ike.NotifyInvalidSyntax
	refuse = ike.NotifyAuthenticationFailed
)

// shape is what one kind of message must carry. Payloads without a rule are
// ignored wherever they stand, as RFC 7296 section 2.5 has it for unknown
// ones: peers add them (CP, V, N, CERTREQ) and nothing of ours reads them.
type shape []rule

// The shapes, RFC 7296 section 1.2 to 1.4 and appendix C.
var (
	// HDR, SAi1, KEi, Ni -->
	// <-- HDR, SAr1, KEr, Nr, [CERTREQ]
	initShape = shape{
		{ike.PayloadSA, 1, 1, syntax}, {ike.PayloadKE, 1, 1, syntax}, {ike.PayloadNonce, 1, 1, syntax},
	}

	// HDR, SK {IDi, [CERT,] [CERTREQ,] [IDr,] AUTH, SAi2, TSi, TSr} -->
	// AUTH is missing when the initiator asks for EAP (2.16), and SA, TSi and
	// TSr are when it asks for no Child SA (RFC 6023). Both are for the
	// machine to grant.
	authRequest = shape{
		{ike.PayloadIDi, 1, 1, syntax}, {ike.PayloadIDr, 0, 1, syntax}, {ike.PayloadAUTH, 0, 1, syntax},
		{ike.PayloadSA, 0, 1, syntax}, {ike.PayloadTSi, 0, 1, syntax}, {ike.PayloadTSr, 0, 1, syntax},
		{ike.PayloadCP, 0, 1, syntax}, {ike.PayloadCERT, 0, maxCerts, refuse}, {ike.PayloadCERTREQ, 0, maxCertReqs, syntax},
	}

	// <-- HDR, SK {IDr, [CERT,] AUTH, SAr2, TSi, TSr}
	authResponse = shape{
		{ike.PayloadIDr, 1, 1, syntax}, {ike.PayloadIDi, 0, 0, syntax}, {ike.PayloadAUTH, 0, 1, syntax},
		{ike.PayloadSA, 0, 1, syntax}, {ike.PayloadTSi, 0, 1, syntax}, {ike.PayloadTSr, 0, 1, syntax},
		{ike.PayloadCP, 0, 1, syntax}, {ike.PayloadCERT, 0, maxCerts, refuse}, {ike.PayloadEAP, 0, 1, syntax},
	}

	// Further IKE_AUTH messages carry EAP, and in the end AUTH (2.16).
	authMore = shape{
		{ike.PayloadEAP, 0, 1, syntax}, {ike.PayloadAUTH, 0, 1, syntax}, {ike.PayloadCP, 0, 1, syntax},
		{ike.PayloadSA, 0, 1, syntax}, {ike.PayloadTSi, 0, 1, syntax}, {ike.PayloadTSr, 0, 1, syntax},
	}

	// HDR, SK {SA, Ni, [KEi,] TSi, TSr} <--> HDR, SK {SA, Nr, [KEr,] TSi, TSr}
	childShape = shape{
		{ike.PayloadSA, 1, 1, syntax}, {ike.PayloadNonce, 1, 1, syntax}, {ike.PayloadKE, 0, 1, syntax},
		{ike.PayloadTSi, 1, 1, syntax}, {ike.PayloadTSr, 1, 1, syntax}, {ike.PayloadCP, 0, 1, syntax},
	}

	// HDR, SK {SA, Ni, KEi} <--> HDR, SK {SA, Nr, KEr}
	rekeyIKEShape = shape{
		{ike.PayloadSA, 1, 1, syntax}, {ike.PayloadNonce, 1, 1, syntax}, {ike.PayloadKE, 1, 1, syntax},
	}

	// HDR, SK {[KEi(n)]} <--> HDR, SK {[KEr(n)]}, RFC 9242 and 9370, 2.2.2
	intermediateShape = shape{{ike.PayloadKE, 0, 1, syntax}}

	// HDR, SK {KEi(n), N(ADDITIONAL_KEY_EXCHANGE)} <-->
	// HDR, SK {KEr(n), [N(ADDITIONAL_KEY_EXCHANGE)]}, RFC 9370, 2.2.4
	followUpShape = shape{{ike.PayloadKE, 1, 1, syntax}}

	// HDR, [N(COOKIE),] Ni, N(TICKET_OPAQUE) --> <-- HDR, Nr, RFC 5723, 4.3.2
	resumeShape = shape{{ike.PayloadNonce, 1, 1, syntax}}

	// HDR, SK {[N,] [D,] [CP,] ...}
	infoShape = shape{{ike.PayloadCP, 0, 1, syntax}}
)

// Legal checks that a message carries what its exchange asks for, no more than
// once where that is the rule. ps is the content of SK, or of an IKE_SA_INIT.
// Errors are *ike.NotifyError. What the payloads say is not looked at.
func Legal(h ike.Header, ps Payloads) error {
	s, ok := shapeOf(h, ps)
	if !ok {
		return &ike.NotifyError{Type: syntax, Why: h.Exchange.String() + " is no exchange of IKEv2"}
	}
	// A response that refuses (so do COOKIE, section 2.6, and REDIRECT) need not
	// carry anything else.
	refused := h.Response() && ps.refusal()
	for _, r := range s {
		n := ps.count(r.payload)
		if n < r.min && !refused {
			return &ike.NotifyError{Type: r.kind, Why: fmt.Sprintf("%s without %s payload", h, r.payload)}
		}
		if n > r.max {
			return &ike.NotifyError{Type: r.kind, Why: fmt.Sprintf("%s with %d %s payloads, at most %d allowed", h, n, r.payload, r.max)}
		}
	}
	return ps.consistent(h)
}

func shapeOf(h ike.Header, ps Payloads) (shape, bool) {
	switch h.Exchange {
	case ike.SAInit:
		return initShape, true
	case ike.Resume:
		return resumeShape, true
	case ike.Auth:
		switch {
		case h.MessageID > 1 && ps.count(ike.PayloadIDi)+ps.count(ike.PayloadIDr) == 0:
			return authMore, true
		case h.Response():
			return authResponse, true
		}
		return authRequest, true
	case ike.CreateChild:
		if sa, ok := ps.SA(); ok && sa.Proposals[0].Protocol == suite.ProtoIKE {
			return rekeyIKEShape, true
		}
		return childShape, true
	case ike.Informational:
		return infoShape, true
	case ike.Intermediate:
		return intermediateShape, true
	case ike.FollowupKE:
		return followUpShape, true
	}
	return nil, false
}

func (ps Payloads) refusal() bool {
	if _, ok := ps.Failure(); ok {
		return true
	}
	for _, kind := range []uint16{ike.NotifyCookie, ike.NotifyRedirect, ike.NotifyTicketNack} { // RFC 5685, 3; RFC 5723, 4.3.2
		if _, ok := ps.Notify(kind); ok {
			return true
		}
	}
	return false
}

// consistent checks rules between payloads.
func (ps Payloads) consistent(h ike.Header) error {
	bad := func(why string) error {
		return &ike.NotifyError{Type: syntax, Why: h.String() + " with " + why}
	}
	sa, hasSA := ps.SA()
	tsi, tsr := ps.count(ike.PayloadTSi), ps.count(ike.PayloadTSr)
	if tsi != tsr {
		return bad("one of TSi and TSr only")
	}
	if h.Exchange == ike.Auth && hasSA != (tsi == 1) {
		return bad("SA but no traffic selectors, or the reverse")
	}
	if h.Exchange == ike.Auth && h.Response() && h.MessageID == 1 && // later ones are the machine's to judge
		ps.count(ike.PayloadAUTH) == 1 && ps.count(ike.PayloadIDr) == 0 {
		return bad("AUTH but no IDr")
	}
	switch {
	case !hasSA:
	case h.Response() && len(sa.Proposals) != 1: // section 2.7: exactly the one chosen
		return bad(fmt.Sprintf("%d proposals, one must be chosen", len(sa.Proposals)))
	case !h.Response() && sa.Proposals[0].Number != 1: // section 3.3.1
		return bad(fmt.Sprintf("first proposal numbered %d", sa.Proposals[0].Number))
	}
	return nil
}
