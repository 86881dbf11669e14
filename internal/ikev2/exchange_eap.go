package ikev2

import (
	"fmt"

	"cygnet/internal/eap"
	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
)

// EAP in IKE_AUTH, RFC 7296 section 2.16. The initiator asks for it by leaving
// AUTH out; the exchange then has several requests, and the last two messages
// have AUTH payloads made with the key that EAP gave both ends:
//
//	HDR, SK {IDi, [IDr,] SAi2, TSi, TSr} -->
//	<-- HDR, SK {IDr, [CERT,] AUTH, EAP}
//	HDR, SK {EAP} -->
//	<-- HDR, SK {EAP (success)}
//	HDR, SK {AUTH} -->
//	<-- HDR, SK {AUTH, SAr2, TSi, TSr}
//
// With EAP_ONLY_AUTHENTICATION the responder proves itself inside EAP as well
// and its first AUTH is missing (RFC 5998); that takes a method in which both
// ends do, which EAP-TLS is.

// eapRun is one conversation, until the IKE SA is up.
type eapRun struct {
	talk     eap.Talk
	idi, idr []byte     // bodies of the identification payloads, which AUTH covers
	proven   eap.Proven // once EAP has succeeded
}

// eapMethods are the methods that need it.
var eapMethods = []ike.AuthMethod{ike.AuthEAPTLS, ike.AuthEAPMSCHAPv2}

// eapBoth reports whether EAP proves both ends of a connection.
func eapBoth(c *ike.Conn) bool {
	return c.Local.Auth[0] == ike.AuthEAPTLS && accepts(&c.Remote, ike.AuthEAPTLS)
}

// eapOnly goes on where the responder offers to prove itself by EAP and nothing
// else, as we have agreed to. It reports whether that is so.
func (s *step) eapOnly(in inbound) bool {
	idr, hasID := in.IDr()
	_, hasEAP := in.EAP()
	c := s.conn
	if s.hs.eap == nil || !hasEAP || !hasID || !eapBoth(c) {
		return false
	}
	if want := c.Remote.ID; !want.Admits(idr.ID) {
		s.notThem(fmt.Sprintf("we require peer to have ID '%s', but peer declares '%s'", want, idr.ID), want.String(), idr.ID.String())
		return true
	}
	s.remoteID, s.hs.eap.idr = idr.ID, idr.Body()
	s.eapAnswer(in)
	return true
}

// eapAnswer takes the server's packet of a response of IKE_AUTH.
func (s *step) eapAnswer(in inbound) {
	p, ok := in.EAP()
	if !ok {
		if n, bad := in.Failure(); bad {
			s.fail(s.authRefused(n))
			return
		}
		s.authFailed(&ike.Failure{Reason: ike.ReasonProtocol, Why: "the peer answered IKE_AUTH without EAP, by which we are to prove ourselves"})
		return
	}
	run := s.hs.eap
	s.startJob(ike.TalkEAP{Conn: s.conn, Remote: s.remoteID, Talk: run.talk, Packet: clone(p.Message), Now: s.cfg.Wall.At(s.now)}, func(s *step, result any, err error) {
		if err != nil {
			s.authFailed(&ike.Failure{Reason: ike.ReasonAuth, Why: "EAP: " + err.Error()})
			return
		}
		said := result.(ike.EAPSaid)
		run.talk = said.Talk
		switch said.Outcome {
		case eap.Going:
			s.request(ike.Auth, wire.EAP{Message: said.Packet})
		case eap.Failed:
			s.authFailed(&ike.Failure{Reason: ike.ReasonAuth, Why: "EAP: " + said.Why, Ours: ike.UserName(s.localID)})
		case eap.Succeeded:
			run.proven = said.Proven
			s.eapProve(s.initiatorOctets(run.idi), func(s *step, auth wire.AUTH) { s.request(ike.Auth, auth) })
		}
	})
}

// eapResponse takes a later response of IKE_AUTH: more EAP, or the end.
func (s *step) eapResponse(in inbound) {
	run := s.hs.eap
	if run.proven.MSK.Len() == 0 {
		s.eapAnswer(in)
		return
	}
	auth, ok := in.AUTH()
	if !ok {
		if n, bad := in.Failure(); bad {
			s.fail(s.authRefused(n))
			return
		}
		s.authFailed(&ike.Failure{Reason: ike.ReasonProtocol, Why: "the peer ended EAP without AUTH"})
		return
	}
	s.eapVerify(auth, s.responderOctets(run.idr), func(s *step, why string) {
		if why != "" {
			s.notThem(why, "", "")
			return
		}
		s.initiatorUp(in)
	})
}

// eapFirst answers a request of IKE_AUTH without AUTH: we say who we are and
// ask.
func (s *step) eapFirst(in inbound, idi wire.IDi) {
	c := s.conn
	idr := wire.NewIDr(c.Local.ID)
	s.hs.eap = &eapRun{idi: idi.Body(), idr: idr.Body()}
	if c.PPK == ike.PPKInsist {
		s.refuseAuth(&ike.Failure{Reason: ike.ReasonAuth, Why: fmt.Sprintf("connection %q insists on a PPK, which does not go with EAP", c.Name)})
		return
	}
	if c.Local.Auth[0].EAP() {
		if !says(in.Payloads, ike.NotifyEAPOnly) || !eapBoth(c) {
			s.refuseAuth(&ike.Failure{Reason: ike.ReasonAuth, Why: fmt.Sprintf("peer '%s' wants us to prove ourselves outside EAP, which connection %q does not", s.remoteID, c.Name)})
			return
		}
		s.eapAsk(nil, []wire.Payload{idr})
		return
	}
	s.startJob(ike.Prove{
		Conn: c, Method: c.Local.Auth[0], PRF: s.chosen.PRF, Local: s.localID, Remote: s.remoteID, Hashes: s.hs.hashes, Asked: s.hs.asked,
		Octets: s.responderOctets(s.hs.eap.idr), Shared: s.nullSecret(c.Local.Auth[0], s.keys.pr),
	}, func(s *step, result any, err error) {
		if err != nil {
			s.refuseAuth(&ike.Failure{Reason: ike.ReasonAuth, Why: err.Error()})
			return
		}
		s.eapAsk(nil, proofOf(idr, result.(ike.Signature)))
	})
}

// eapRequest takes a later request of IKE_AUTH: more EAP, or the end.
func (s *step) eapRequest(in inbound) {
	s.state = stateAuthR
	run := s.hs.eap
	p, hasEAP := in.EAP()
	auth, hasAuth := in.AUTH()
	switch {
	case run.proven.MSK.Len() == 0 && hasEAP:
		s.eapAsk(clone(p.Message), nil)
	case run.proven.MSK.Len() > 0 && hasAuth:
		s.eapEnd(auth)
	default:
		s.refuseAuth(&ike.Failure{Reason: ike.ReasonProtocol, Why: "IKE_AUTH that is neither the next of EAP nor its end"})
	}
}

// eapAsk takes the peer's packet, if there is one yet, and answers with ours
// after other payloads.
func (s *step) eapAsk(packet []byte, ps []wire.Payload) {
	run := s.hs.eap
	s.startJob(ike.TalkEAP{Conn: s.conn, Remote: s.remoteID, Server: true, Talk: run.talk, Packet: packet, Now: s.cfg.Wall.At(s.now)}, func(s *step, result any, err error) {
		if err != nil {
			s.refuseAuth(&ike.Failure{Reason: ike.ReasonAuth, Why: fmt.Sprintf("EAP with '%s': %v", s.remoteID, err)})
			return
		}
		said := result.(ike.EAPSaid)
		run.talk = said.Talk
		last := wire.EAP{Message: said.Packet}
		why := said.Why
		if said.Outcome == eap.Succeeded {
			why = s.eapNamed(said.Name)
		}
		switch {
		case said.Outcome == eap.Failed:
			s.refuseAuthBy(&ike.Failure{Reason: ike.ReasonAuth, Why: fmt.Sprintf("EAP with '%s': %s", s.remoteID, why), Theirs: s.remoteID.String()}, last)
			return
		case why != "":
			s.refuseAuth(&ike.Failure{Reason: ike.ReasonAuth, Why: why})
			return
		}
		run.proven = said.Proven
		s.respond(append(ps, last)...)
		s.state = stateEAPR
	})
}

// eapNamed takes the name that EAP has proven for the peer's identity, by which
// it is known from now on: whoever proves to be one may not use what belongs to
// another (MS-12). A name that the connection is not for is refused, with the
// reason.
func (s *step) eapNamed(name string) (why string) {
	c := s.conn
	peer := s.remoteID
	if name != "" && name != ike.UserName(peer) {
		peer = ike.UserID(name)
	}
	want := c.Remote.EAPName
	switch {
	case peer.Check() != nil:
		return fmt.Sprintf("the name %q in EAP cannot be used", name)
	case want != "" && want != ike.UserName(peer):
		return fmt.Sprintf("connection %q is for user %q, and EAP has proven '%s'", c.Name, want, peer)
	case want == "" && !c.Remote.ID.Admits(peer):
		return fmt.Sprintf("connection %q is for '%s', and EAP has proven '%s'", c.Name, c.Remote.ID, peer)
	}
	s.remoteID = peer
	return ""
}

// eapEnd checks the peer's AUTH and answers with ours.
func (s *step) eapEnd(auth wire.AUTH) {
	s.eapVerify(auth, s.initiatorOctets(s.hs.eap.idi), func(s *step, why string) {
		if why != "" {
			s.refuseAuth(&ike.Failure{Reason: ike.ReasonAuth, Why: why})
			return
		}
		s.eapProve(s.responderOctets(s.hs.eap.idr), func(s *step, auth wire.AUTH) { s.responderUp([]wire.Payload{auth}) })
	})
}

// eapVerify checks an AUTH payload that was made with the key of EAP. why is
// empty if it was.
func (s *step) eapVerify(auth wire.AUTH, octets []byte, then func(s *step, why string)) {
	peer := s.remoteID
	sig := ike.Signature{Method: auth.Method, Data: auth.Data}
	if auth.Method != wire.AuthSharedKey {
		then(s, fmt.Sprintf("the peer ends EAP by AUTH of method %d", auth.Method))
		return
	}
	s.startJob(ike.Verify{Conn: s.conn, PRF: s.chosen.PRF, Local: s.localID, Remote: peer, Octets: octets, Auth: sig, Now: s.cfg.Wall.At(s.now), Shared: s.hs.eap.proven.MSK}, func(s *step, result any, err error) {
		why := ""
		if err != nil {
			why = "authentication of '" + peer.String() + "' failed: " + err.Error()
		} else if v, ok := result.(ike.Verified); !ok || !v.Proves(peer) {
			why = "authentication of '" + peer.String() + "' failed"
		} else {
			s.eapCertified()
		}
		then(s, why)
	})
}

// eapCertified keeps the certificates of EAP-TLS, so that their revocation ends
// what they have begun (X509-21). Where the peer has signed in IKE as well, its
// chain there is what it is known by.
func (s *step) eapCertified() {
	proven := s.hs.eap.proven
	if len(s.peerCerts) == 0 {
		s.peerCerts = proven.Chain
	}
	for _, w := range proven.Warnings {
		s.note("%s", w)
	}
}

// eapProve makes our AUTH with the key of EAP.
func (s *step) eapProve(octets []byte, then func(*step, wire.AUTH)) {
	s.startJob(ike.Prove{Conn: s.conn, Method: eapMethods[0], PRF: s.chosen.PRF, Local: s.localID, Remote: s.remoteID, Octets: octets, Shared: s.hs.eap.proven.MSK}, func(s *step, result any, err error) {
		if err != nil {
			s.fail(&ike.Failure{Reason: ike.ReasonAuth, Why: err.Error()})
			return
		}
		sig := result.(ike.Signature)
		then(s, wire.AUTH{Method: sig.Method, Data: sig.Data})
	})
}
