package ikev2

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

// handshake is what an IKE SA remembers until it is established.
type handshake struct {
	ni, nr            []byte
	request, response []byte   // the IKE_SA_INIT messages, which AUTH covers
	hashes            []uint16 // the peer's SIGNATURE_HASH_ALGORITHMS
	asked             []ike.CertRequest
	mid               intermediate
	eap               *eapRun // an end proves itself by EAP
	ppk               ppkRun
	resume            *resumption
	redirectable      bool // the initiator goes where we send it
	childless         bool // IKE_AUTH may come without a Child SA; as initiator, ours does

	// Initiator.
	trigger   *ipsec.Flow
	group     *suite.KE
	tried     []*suite.KE
	private   suite.Private
	cookie    []byte
	cookies   int
	puzzled   bool           // a puzzle came with a cookie
	nat       []wire.Payload // our NAT_DETECTION notifies, the same in every try
	finishing bool           // a response is being computed on
	giveUp    time.Time
	refused   *ike.Failure // what an unauthenticated error said
	offer     *offer       // of the first Child SA

	// Responder.
	came time.Time // when the first message did
	ask  inbound   // the IKE_AUTH request
}

// initiate begins. The initiator's part of the exchange, RFC 7296 section 1.2:
//
//	HDR, [N(COOKIE),] SAi1, KEi, Ni, N(NAT_DETECTION…), N(SIGNATURE_HASH_ALGORITHMS) -->
//	<-- HDR, SAr1, KEr, Nr, [CERTREQ], notifies
func (s *step) initiate(ev ike.Initiate) {
	if s.state != stateNew || !s.first {
		return
	}
	s.hs.trigger = ev.Trigger
	s.localID = s.conn.Local.ID
	if len(s.conn.IKE) == 0 || len(s.conn.IKE[0].KE) == 0 {
		s.fail(&ike.Failure{Reason: ike.ReasonProposal, Why: "the connection has no IKE proposal"})
		return
	}
	s.hs.ni = s.random(nonceLen + s.childlessRoom())
	s.hs.nat = s.natNotifies(0)
	if !s.startResume() {
		s.begin()
	}
}

// begin is the full exchange.
func (s *step) begin() {
	s.enter(stateKeyI)
	s.makeInitKey(s.conn.IKE[0].KE[0])
}

// makeInitKey makes our half for a group, then sends the request with it.
func (s *step) makeInitKey(k *suite.KE) {
	s.hs.tried = append(s.hs.tried, k)
	s.startJob(ike.MakeKey{KE: k}, func(s *step, result any, err error) {
		if s.state != stateKeyI && s.state != stateInitI || s.hs.finishing {
			return // an answer to an earlier try was good enough
		}
		if err != nil {
			s.fail(&ike.Failure{Reason: ike.ReasonOther, Why: "cannot make a key: " + err.Error()})
			return
		}
		s.hs.group, s.hs.private = k, result.(suite.Private)
		s.sendInit()
	})
}

// sendInit sends the request with whatever cookie and group stand now. The SPI
// and nonce stay (RFC 7296, 2.6), and so does the time to give up: no answer
// may prolong the attempt.
func (s *step) sendInit() {
	hs := s.hs
	var ps []wire.Payload
	if hs.cookie != nil {
		ps = append(ps, wire.NewNotify(ike.NotifyCookie, hs.cookie)) // must come first
	}
	ps = append(ps, saPayload(s.conn.IKE, nil), wire.KE{Group: hs.group.ID, Data: hs.private.Public()}, wire.Nonce{Data: hs.ni})
	ps = append(ps, hs.nat...)
	ps = append(ps, hashesNotify())
	if s.mayFragment() {
		ps = append(ps, wire.NewNotify(ike.NotifyFragmentationSupported, nil))
	}
	if slices.ContainsFunc(s.conn.IKE, suite.Proposal.Hybrid) {
		ps = append(ps, wire.NewNotify(ike.NotifyIntermediateSupported, nil))
	}
	if s.conn.PPK != ike.PPKNo {
		ps = append(ps, ppkOffer())
	}
	ps = append(ps, s.redirectOffer()...)
	h := ike.Header{SPIi: s.spiI, Major: ike.Version2, Exchange: ike.SAInit, Flags: ike.FlagInitiator}
	hs.request = wire.Append(nil, h, ps...)
	if s.state == stateKeyI {
		s.enter(stateInitI)
	}
	s.win.nextID = 1
	s.expectReply(0, ike.SAInit, datagrams{hs.request})
	if hs.giveUp.IsZero() {
		hs.giveUp = s.win.pending.giveUp
	}
	s.win.pending.giveUp = hs.giveUp
	s.transmit(s.way(), datagrams{hs.request})
}

// receiveInitResponse takes an answer to IKE_SA_INIT. Anybody may have sent
// it, so one that we cannot use is ignored and the wait goes on (2.21.1).
func (s *step) receiveInitResponse(in inbound) {
	m, err := wire.Parse(in.msg)
	if err != nil || s.hs.finishing {
		return
	}
	if n, ok := m.Notify(ike.NotifyCookie); ok {
		s.puzzled(m.Payloads)
		s.useCookie(n.Data)
		return
	}
	if n, ok := m.Failure(); ok {
		s.initRefused(n)
		return
	}
	if in.Exchange == ike.Resume {
		s.resumeResponse(in, m.Payloads)
		return
	}
	if s.redirectedInit(m.Payloads) || in.SPIr == 0 {
		return
	}
	s.acceptInit(in, m.Payloads)
}

// useCookie sends the request again with the cookie, a few times at most.
func (s *step) useCookie(cookie []byte) {
	hs := s.hs
	if len(cookie) == 0 || len(cookie) > maxCookie || hs.cookies >= maxCookieRounds || bytes.Equal(cookie, hs.cookie) {
		return
	}
	hs.cookies++
	hs.cookie = clone(cookie)
	if hs.resume != nil {
		s.sendResume()
		return
	}
	s.sendInit()
}

// initRefused deals with an error. Only INVALID_KE_PAYLOAD leads us elsewhere,
// once for each group; others are remembered for the day nothing better has
// come. Who resumes a session has sent no KE, and must not be led into a key
// exchange: AUTH of a resumption would prove nothing about the other end of that.
func (s *step) initRefused(n wire.Notify) {
	hs := s.hs
	if n.Kind == ike.NotifyInvalidKEPayload && hs.resume == nil {
		if k := otherGroup(s.conn.IKE, hs.tried, n.Data); k != nil {
			s.makeInitKey(k)
		}
		return
	}
	if hs.refused == nil {
		hs.refused = refusedBy(n, "to negotiate (unauthenticated)")
		s.report(ike.Note{Text: fmt.Sprintf("%s answers %s in the clear; waiting for something better", s.remote, ike.NotifyName(n.Kind)), Serious: true})
	}
}

// acceptInit checks the responder's choice and finishes the key exchange.
func (s *step) acceptInit(in inbound, ps wire.Payloads) {
	hs := s.hs
	sa, _ := ps.SA()
	ke, _ := ps.KE()
	nonce, _ := ps.Nonce()
	chosen, err := suite.Check(s.conn.IKE, sa.Proposals[0])
	if err == nil && (chosen.KE != hs.group || ke.Group != hs.group.ID) {
		err = errGroup
	}
	if err == nil && len(chosen.Additional()) > 0 && !says(ps, ike.NotifyIntermediateSupported) {
		err = errNoIntermediate
	}
	if err == nil {
		err = checkNonce(chosen.PRF, nonce.Data)
	}
	if err != nil {
		if hs.refused == nil {
			hs.refused = mismatchFailure("the peer's answer to IKE_SA_INIT", err)
			s.note("ignored an answer to IKE_SA_INIT: %v", err)
		}
		return
	}
	hs.finishing = true
	s.startJob(ike.FinishKey{Private: hs.private, Peer: clone(ke.Data)}, func(s *step, result any, err error) {
		hs.finishing = false
		if err != nil {
			s.note("ignored an answer to IKE_SA_INIT: the peer's key exchange: %v", err)
			return
		}
		hs.nr, hs.response, hs.hashes, hs.asked = clone(nonce.Data), in.msg, peerHashes(ps), askedOf(ps)
		s.spiR, s.chosen = in.SPIr, chosen
		if err := s.derive(result.(ipsec.Secret)); err != nil {
			s.fail(&ike.Failure{Reason: ike.ReasonOther, Why: err.Error()})
			return
		}
		s.natDetect(s.spiR, ps)
		s.fragments = s.mayFragment() && says(ps, ike.NotifyFragmentationSupported)
		hs.ppk.agreed = says(ps, ike.NotifyUsePPK)
		if !s.goChildless(ps) {
			s.fail(&ike.Failure{Reason: ike.ReasonProtocol, Why: "the peer cannot begin without a Child SA, as childless=force wants"})
			return
		}
		s.win.pending = nil
		if s.encap || s.natPeerKnows && s.conn.MOBIKE { // RFC 4555, 3.3
			s.float()
		}
		hs.mid.left = chosen.Additional()
		s.goOn()
	})
}

// derive computes the keys of the first IKE SA.
func (s *step) derive(shared ipsec.Secret) error {
	hs := s.hs
	s.keys = deriveIKE(s.chosen, seed(s.chosen.PRF, hs.ni, hs.nr, shared), hs.ni, hs.nr, s.spiI, s.spiR)
	shared.Wipe()
	return s.protect()
}

// protect makes the ciphers of both directions from the keys.
func (s *SA) protect() error {
	i, r, err := s.keys.ciphers(s.chosen)
	if err != nil {
		return fmt.Errorf("IKE SA with %s: %w", s.chosen, err)
	}
	s.sealer, s.opener = i, r
	if !s.first {
		s.sealer, s.opener = r, i
	}
	return nil
}

var errNoKE = errors.New("an IKE SA needs a key exchange")

var errNonce = errors.New("nonce is shorter than half the key of the PRF")

// checkNonce is RFC 7296, 2.10; the limits of 16 and 256 octets are the
// codec's.
func checkNonce(prf *suite.PRF, nonce []byte) error {
	if 2*len(nonce) < prf.Key {
		return errNonce
	}
	return nil
}

// greeting is an IKE_SA_INIT request that may become an IKE SA.
type greeting struct {
	in     inbound
	conn   *ike.Conn
	chosen suite.Chosen
	offer  suite.Offer
	ke     wire.KE
	nonce  []byte
}

// greet judges an IKE_SA_INIT request without making any state: which of the
// connections that the peer may mean has algorithms in common with it.
func greet(conns []*ike.Conn, in inbound) (*greeting, *no) {
	sa, _ := in.SA()
	ke, _ := in.KE()
	nonce, _ := in.Nonce()
	var last *no
	for _, c := range conns {
		ours := c.IKE
		if !says(in.Payloads, ike.NotifyIntermediateSupported) {
			ours = suite.Classical(ours)
		}
		chosen, o, no := chooseIKE(ours, sa.Proposals, ke.Group)
		if no != nil {
			if last == nil || no.Type == ike.NotifyInvalidKEPayload && last.Type != no.Type {
				last = no
			}
			continue
		}
		if err := checkNonce(chosen.PRF, nonce.Data); err != nil {
			last = refuseWith(ike.NotifyInvalidSyntax, &ike.Failure{Reason: ike.ReasonProtocol, Why: err.Error()})
			continue
		}
		return &greeting{in: in, conn: c, chosen: chosen, offer: o, ke: ke, nonce: nonce.Data}, nil
	}
	return nil, last
}

// chooseIKE picks the algorithms of an IKE SA. The group of the peer's KE
// payload is taken if it is acceptable; otherwise INVALID_KE_PAYLOAD names the
// one to take.
func chooseIKE(ours []suite.Proposal, theirs []suite.Offer, group uint16) (suite.Chosen, suite.Offer, *no) {
	if chosen, o, err := suite.Select(onlyGroup(ours, ours, group), theirs); err == nil {
		return chosen, o, nil
	}
	chosen, o, err := suite.Select(ours, theirs)
	if err == nil && chosen.KE == nil {
		err = errNoKE
	}
	if err != nil {
		return chosen, o, refuseWith(ike.NotifyNoProposalChosen, mismatchFailure("no acceptable IKE proposal", err))
	}
	n := refuseWith(ike.NotifyInvalidKEPayload, &ike.Failure{Reason: ike.ReasonProposal, Why: "asked the peer for key exchange " + chosen.KE.Name})
	n.Data = groupOctets(chosen.KE)
	return chosen, o, n
}

// newResponder makes the machine that answers a greeting.
//
//	--> HDR, SAi1, KEi, Ni, notifies
//	<-- HDR, SAr1, KEr, Nr, notifies
func newResponder(cfg *Config, g *greeting) *SA {
	s := newSA(cfg, g.conn, g.in.local, g.in.remote)
	s.goOver(g.in.way())
	s.spiI = g.in.SPIi
	s.spiR = s.newSPI()
	s.chosen = g.chosen
	s.state = stateKeyR
	s.hs = &handshake{
		ni: clone(g.nonce), nr: s.random(nonceLen), request: g.in.msg, hashes: peerHashes(g.in.Payloads),
	}
	s.hs.ppk.agreed = says(g.in.Payloads, ike.NotifyUsePPK) && s.ppkAccepted()
	s.hs.redirectable = redirectable(g.in.Payloads)
	return s
}

// answerInit computes the responder's half and answers.
func (s *step) answerInit(g *greeting, giveUp time.Time) {
	s.win.take(g.in, ike.SAInit)
	s.giveUp, s.hs.came = giveUp, s.now
	s.startJob(ike.AnswerKey{KE: g.chosen.KE, Peer: clone(g.ke.Data)}, func(s *step, result any, err error) {
		if err != nil {
			s.fail(&ike.Failure{Reason: ike.ReasonProtocol, Why: "the peer's key exchange: " + err.Error()})
			return
		}
		k := result.(ike.Answered)
		s.hs.response = s.initResponse(g, k.Public)
		if err := s.derive(k.Shared); err != nil {
			s.fail(&ike.Failure{Reason: ike.ReasonOther, Why: err.Error()})
			return
		}
		s.hs.mid.left = g.chosen.Additional()
		s.natDetect(0, g.in.Payloads)
		s.fragments = s.mayFragment() && says(g.in.Payloads, ike.NotifyFragmentationSupported)
		s.win.answered(datagrams{s.hs.response})
		s.enter(stateInitR)
		s.transmit(s.win.from, datagrams{s.hs.response})
	})
}

// initResponse builds the answer. It holds nothing that the request did not
// have as well, so that it is not longer than the request (trust.md T5).
func (s *step) initResponse(g *greeting, public []byte) []byte {
	ps := []wire.Payload{
		wire.SA{Proposals: []suite.Offer{g.chosen.Offer(g.offer.Number, nil)}},
		wire.KE{Group: g.chosen.KE.ID, Data: public},
		wire.Nonce{Data: s.hs.nr},
	}
	if _, ok := g.in.Notify(ike.NotifyNATDetectionSource); ok {
		ps = append(ps, s.natNotifies(s.spiR)...)
	}
	if _, ok := g.in.Notify(ike.NotifySignatureHashAlgorithms); ok {
		ps = append(ps, hashesNotify())
	}
	if says(g.in.Payloads, ike.NotifyFragmentationSupported) && s.mayFragment() {
		ps = append(ps, wire.NewNotify(ike.NotifyFragmentationSupported, nil))
	}
	if len(g.chosen.Additional()) > 0 {
		ps = append(ps, wire.NewNotify(ike.NotifyIntermediateSupported, nil))
	}
	if s.hs.ppk.agreed {
		ps = append(ps, ppkOffer())
	}
	h := ike.Header{SPIi: s.spiI, SPIr: s.spiR, Major: ike.Version2, Exchange: ike.SAInit, Flags: ike.FlagResponse}
	answer := wire.Append(nil, h, ps...)
	if more := s.childlessNotify(g.conn, len(g.in.msg)-len(answer)); more != nil {
		ps = append(ps, more...)
		answer = wire.Append(nil, h, ps...)
	}
	if more := s.initCertRequest(len(g.in.msg) - len(answer)); more != nil {
		answer = wire.Append(nil, h, append(ps, more...)...)
	}
	return answer
}
