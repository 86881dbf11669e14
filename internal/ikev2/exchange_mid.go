package ikev2

import (
	"encoding/binary"

	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
	"cygnet/internal/ipsec"
	"cygnet/internal/octet"
	"cygnet/internal/suite"
)

// intermediate is what the exchanges between IKE_SA_INIT and IKE_AUTH leave
// behind: the additional key exchanges still to come, and the two chains of
// IntAuth that AUTH covers, RFC 9242 section 3.3.
type intermediate struct {
	left   []*suite.KE
	rounds uint32 // exchanges that are done
	i, r   []byte // IntAuth_i and IntAuth_r so far
}

// midAgreed reports whether IKE_SA_INIT has agreed on exchanges before IKE_AUTH.
func (s *SA) midAgreed() bool {
	return s.hs != nil && (len(s.hs.mid.left) > 0 || s.hs.mid.rounds > 0)
}

// goOn follows IKE_SA_INIT and each IKE_INTERMEDIATE: the next additional key
// exchange, RFC 9370 section 2.2.2, or in the end IKE_AUTH.
//
//	HDR, SK {KEi(n)} -->
//	<-- HDR, SK {KEr(n)}
func (s *step) goOn() {
	if len(s.hs.mid.left) == 0 {
		s.startAuth()
		return
	}
	s.state = stateMidI
	k := s.hs.mid.left[0]
	s.startJob(ike.MakeKey{KE: k}, func(s *step, result any, err error) {
		if err != nil {
			s.fail(&ike.Failure{Reason: ike.ReasonOther, Why: "cannot make a key: " + err.Error()})
			return
		}
		s.hs.private = result.(suite.Private)
		ke := wire.KE{Group: k.ID, Data: s.hs.private.Public()}
		s.hs.mid.i = s.intAuth(s.keys.pi, s.hs.mid.i, s.covers(ike.Intermediate, s.win.nextID, 0, ke))
		s.request(ike.Intermediate, ke)
		s.enter(stateMidI)
	})
}

// intermediateResponse takes the responder's half.
func (s *step) intermediateResponse(in inbound) {
	k := s.hs.mid.left[0]
	ke, ok := in.KE()
	if n, bad := in.Failure(); bad {
		s.fail(refusedBy(n, "the additional key exchange"))
		return
	}
	if !ok || ke.Group != k.ID {
		s.fail(&ike.Failure{Reason: ike.ReasonProtocol, Why: "the peer answered IKE_INTERMEDIATE without " + k.Name})
		return
	}
	s.hs.mid.r = s.intAuth(s.keys.pr, s.hs.mid.r, in.covered())
	s.startJob(ike.FinishKey{Private: s.hs.private, Peer: clone(ke.Data)}, func(s *step, result any, err error) {
		if err == nil {
			err = s.nextKeys(result.(ipsec.Secret))
		}
		if err != nil {
			s.fail(&ike.Failure{Reason: ike.ReasonProtocol, Why: "the additional key exchange: " + err.Error()})
			return
		}
		s.goOn()
	})
}

// intermediateRequest answers the initiator's half. The answer goes out under
// the keys of the request; the new ones are for what follows.
func (s *step) intermediateRequest(in inbound) {
	ke, ok := in.KE()
	if len(s.hs.mid.left) == 0 || !ok || ke.Group != s.hs.mid.left[0].ID || len(ke.Data) != s.hs.mid.left[0].Public {
		s.fatal(&ike.NotifyError{Type: ike.NotifyInvalidSyntax, Why: "IKE_INTERMEDIATE without the key exchange whose turn it is"})
		return
	}
	k := s.hs.mid.left[0]
	s.hs.mid.i = s.intAuth(s.keys.pi, s.hs.mid.i, in.covered())
	s.startJob(ike.AnswerKey{KE: k, Peer: clone(ke.Data)}, func(s *step, result any, err error) {
		if err != nil {
			s.fatal(&ike.NotifyError{Type: ike.NotifyInvalidSyntax, Why: "the peer's additional key exchange: " + err.Error()})
			return
		}
		a := result.(ike.Answered)
		ke := wire.KE{Group: k.ID, Data: a.Public}
		s.hs.mid.r = s.intAuth(s.keys.pr, s.hs.mid.r, s.covers(ike.Intermediate, s.win.expect, ike.FlagResponse, ke))
		s.respond(ke)
		if err := s.nextKeys(a.Shared); err != nil {
			s.fail(&ike.Failure{Reason: ike.ReasonOther, Why: err.Error()})
		}
	})
}

// nextKeys mixes the secret of an additional key exchange into the keys, RFC
// 9370 section 2.2.2:
//
//	SKEYSEED(n) = prf(SK_d(n-1), SK(n) | Ni | Nr)
func (s *step) nextKeys(shared ipsec.Secret) error {
	hs, old := s.hs, s.keys
	s.keys = deriveIKE(s.chosen, rekeySeed(s.chosen.PRF, old.d, shared, hs.ni, hs.nr), hs.ni, hs.nr, s.spiI, s.spiR)
	shared.Wipe()
	old.wipe()
	hs.mid.left = hs.mid.left[1:]
	hs.mid.rounds++
	s.openerBefore = s.opener
	return s.protect()
}

// intAuth is one link of a chain, RFC 9242 section 3.3.2:
//
//	IntAuth_i(n) = prf(SK_pi(n), [IntAuth_i(n-1) |] A | P)
//
// with the SK_p that stands when the exchange begins.
func (s *step) intAuth(p ipsec.Secret, before, covers []byte) []byte {
	return s.chosen.PRF.Sum(p.Bytes(), before, covers)
}

// covers is what IntAuth covers of a message of ours.
func (s *step) covers(x ike.ExchangeType, id uint32, flags ike.Flags, payloads ...wire.Payload) []byte {
	h := s.header(x, id, flags).Append(nil)
	return midOctets(h, 0, opened{payloads[0].Type(), wire.AppendPayloads(nil, payloads)})
}

// covered is the same of a message of the peer.
func (in inbound) covered() []byte {
	return midOctets(clone(in.msg[:ike.HeaderLen]), in.msg[ike.HeaderLen+1], in.inner)
}

// midOctets is A | P: the header of the message and of its SK payload, with
// lengths as if neither IV, padding nor ICV were there and nothing had been cut
// into fragments, and then the payloads inside.
func midOctets(header []byte, flags uint8, inner opened) []byte {
	n := 4 + len(inner.plain) // the generic header of SK and what is inside
	header[nextAt] = uint8(ike.PayloadSK)
	binary.BigEndian.PutUint32(header[lengthAt:], uint32(ike.HeaderLen+n))
	b := append(header, uint8(inner.next), flags)
	b = octet.AppendUint16(b, uint16(n))
	return append(b, inner.plain...)
}

// Offsets in the IKE header.
const (
	nextAt   = 16
	lengthAt = 24
)

// initiatorOctets and responderOctets are what the AUTH payloads cover: after
// IKE_INTERMEDIATE also both chains and the message ID of IKE_AUTH (RFC 9242,
// 3.3.2), so that what was said in between is as authentic as IKE_SA_INIT.
func (s *step) initiatorOctets(id []byte) []byte {
	return concat(signedOctets(s.chosen.PRF, s.hs.request, s.hs.nr, s.keys.pi, id), s.hs.mid.tail())
}

// responderOctets is initiatorOctets for the other end.
func (s *step) responderOctets(id []byte) []byte {
	return concat(signedOctets(s.chosen.PRF, s.hs.response, s.hs.ni, s.keys.pr, id), s.hs.mid.tail())
}

func (m *intermediate) tail() []byte {
	if m.rounds == 0 {
		return nil
	}
	return octet.AppendUint32(concat(m.i, m.r), m.rounds+1)
}
