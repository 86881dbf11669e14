package ikev2

import (
	"fmt"
	"slices"

	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

// startAuth makes the IKE_AUTH request, RFC 7296 section 1.2:
//
//	HDR, SK {IDi, [N(INITIAL_CONTACT),] [IDr,] AUTH, SAi2, TSi, TSr} -->
//	<-- HDR, SK {IDr, [CERT,] AUTH, SAr2, TSi, TSr}
func (s *step) startAuth() {
	s.state = stateAuthI
	c := s.conn
	if len(c.Local.Auth) == 0 {
		s.fail(&ike.Failure{Reason: ike.ReasonAuth, Why: "the connection has no way to authenticate us"})
		return
	}
	if c.Local.Auth[0].EAP() {
		if c.PPK == ike.PPKInsist {
			s.fail(&ike.Failure{Reason: ike.ReasonAuth, Why: fmt.Sprintf("connection %q insists on a PPK, which does not go with EAP", c.Name)})
			return
		}
		idi := wire.NewIDi(c.Local.ID)
		s.hs.eap = &eapRun{idi: idi.Body()}
		s.sendAuth(idi, ike.Signature{})
		return
	}
	s.startPPK()
}

// startProof makes our AUTH with the keys that now stand.
func (s *step) startProof() {
	c := s.conn
	idi := wire.NewIDi(c.Local.ID)
	s.startJob(ike.Prove{
		Conn: c, Method: c.Local.Auth[0], PRF: s.chosen.PRF, Local: c.Local.ID, Remote: c.Remote.ID, Hashes: s.hs.hashes, Asked: s.hs.asked,
		Octets: s.initiatorOctets(idi.Body()), Shared: s.nullSecret(c.Local.Auth[0], s.keys.pi),
	}, func(s *step, result any, err error) {
		if err != nil {
			s.fail(&ike.Failure{Reason: ike.ReasonAuth, Why: err.Error()})
			return
		}
		s.sendAuth(idi, result.(ike.Signature))
	})
}

// sendAuth asks, with the proof of who we are. None at all asks for EAP.
func (s *step) sendAuth(idi wire.IDi, sig ike.Signature) {
	c := s.conn
	var o *offer
	if !s.hs.childless {
		var err error
		if o, err = s.newOffer(c, s.hs.trigger, nil, true); err != nil {
			s.fail(&ike.Failure{Reason: ike.ReasonPlane, Why: "cannot ask for an IPsec SA: " + err.Error()})
			return
		}
		s.hs.offer = o
	}
	ps := append([]wire.Payload{idi}, certPayloads(sig.Certs)...)
	ps = append(ps, s.certRequest(c)...)
	if c.Local.Auth[0] != ike.AuthNULL && s.cfg.UseInitialContact != nil && s.cfg.UseInitialContact(c) {
		ps = append(ps, wire.NewNotify(ike.NotifyInitialContact, nil))
	}
	if k := c.Remote.ID.Kind; k != ike.IDNone && k != ike.IDNULL && !c.Remote.ID.Wild() {
		ps = append(ps, wire.NewIDr(c.Remote.ID))
	}
	if s.hs.eap == nil {
		ps = append(ps, wire.AUTH{Method: sig.Method, Data: sig.Data})
	} else if eapBoth(c) {
		ps = append(ps, wire.NewNotify(ike.NotifyEAPOnly, nil))
	}
	ps = append(ps, s.ppkPayloads()...)
	ps = append(ps, s.ourToken()...)
	ps = append(ps, s.wantTicket()...)
	if c.MOBIKE {
		ps = append(ps, wire.NewNotify(ike.NotifyMOBIKESupported, nil))
	}
	if len(c.RequestIP) > 0 {
		ps = append(ps, configRequest(c.RequestIP))
	}
	if o != nil {
		ps = append(ps, o.payloads(nil)...)
	}
	s.request(ike.Auth, ps...)
	s.enter(stateAuthI)
}

// authResponse checks who answered. The response is protected but proves
// nothing before its AUTH payload does (2.21.2).
func (s *step) authResponse(in inbound) {
	if s.hs.eap != nil && s.hs.eap.talk != nil {
		s.eapResponse(in)
		return
	}
	auth, hasAuth := in.AUTH()
	if !hasAuth {
		if s.eapOnly(in) {
			return
		}
		n, _ := in.Failure()
		if n.Kind == 0 {
			s.authFailed(&ike.Failure{Reason: ike.ReasonProtocol, Why: "the peer answered IKE_AUTH without AUTH"})
			return
		}
		s.fail(s.authRefused(n))
		return
	}
	idr, hasID := in.IDr()
	if !hasID {
		s.authFailed(&ike.Failure{Reason: ike.ReasonProtocol, Why: "the peer answered IKE_AUTH without IDr"})
		return
	}
	if s.hs.resume != nil {
		s.resumedResponse(in, idr, auth)
		return
	}
	c, method := s.conn, methodOf(auth.Method)
	peer := identityOf(idr.ID, method)
	if want := c.Remote.ID; !want.Admits(peer) {
		s.authFailed(&ike.Failure{Reason: ike.ReasonAuth, Notify: ike.NotifyAuthenticationFailed, Ours: want.String(), Theirs: peer.String(),
			Why:    fmt.Sprintf("we require peer to have ID '%s', but peer declares '%s'", want, peer),
			Detail: ike.Detail{Expected: []ike.ID{want}, Declared: peer}})
		return
	}
	if !accepts(&c.Remote, method) {
		s.notThem(fmt.Sprintf("the peer authenticates by %s, which the connection does not allow", methodName(method)), "", methodName(method))
		return
	}
	if !s.ppkAnswered(in.Payloads) {
		s.notThem("the peer has not got our PPK, which the connection insists on", "", "")
		return
	}
	s.remoteID = peer
	if s.hs.eap != nil {
		s.hs.eap.idr = idr.Body()
	}
	s.startJob(ike.Verify{
		Conn: c, PRF: s.chosen.PRF, Local: s.localID, Remote: peer,
		Octets: s.responderOctets(idr.Body()),
		Auth:   ike.Signature{Method: auth.Method, Data: auth.Data, Certs: certsOf(in.Payloads)}, Now: s.cfg.Wall.At(s.now),
		Shared: s.nullSecret(method, s.keys.pr),
	}, func(s *step, result any, err error) {
		if err != nil {
			s.notThem("authentication of '"+peer.String()+"' failed: "+err.Error(), "", "")
			return
		}
		v, ok := result.(ike.Verified)
		if !ok || !v.Proves(peer) {
			s.notThem("authentication of '"+peer.String()+"' failed", "", "")
			return
		}
		s.proved(v)
		if s.hs.eap != nil { // the peer is proven, and we are not
			s.eapAnswer(in)
			return
		}
		s.initiatorUp(in)
	})
}

// notThem ends the attempt because whoever answered is not who was called.
func (s *step) notThem(why, ours, theirs string) {
	s.authFailed(&ike.Failure{Reason: ike.ReasonAuth, Why: why, Ours: ours, Theirs: theirs, Notify: ike.NotifyAuthenticationFailed})
}

// authRefused is what an error in the response means.
func (s *step) authRefused(n wire.Notify) *ike.Failure {
	f := refusedBy(n, "to authenticate")
	if n.Kind == ike.NotifyAuthenticationFailed {
		f.Why = fmt.Sprintf("the peer refuses us, '%s': AUTHENTICATION_FAILED (its log knows whether the identity or the key is wrong)", s.localID)
		f.Ours = s.localID.String()
	}
	return f
}

// authFailed ends an attempt in which the responder did not prove itself. It
// holds the IKE SA for established and is told by an exchange of its own
// (2.21.2).
func (s *step) authFailed(why *ike.Failure) {
	s.failed(why)
	s.hs = nil
	s.bye(ike.NotifyAuthenticationFailed)
}

// initiatorUp is reached when both ends are proven: the Child SA follows.
func (s *step) initiatorUp(in inbound) {
	defer s.takeTicket(in.Payloads) // when the clocks of the IKE SA run
	o, ni, nr := s.hs.offer, s.hs.ni, s.hs.nr
	s.hs.offer = nil
	s.takeToken(in.Payloads)
	s.takeAuthLifetime(in.Payloads)
	s.mobike = s.conn.MOBIKE && says(in.Payloads, ike.NotifyMOBIKESupported)
	if s.redirectedAuth(in.Payloads) {
		return
	}
	if s.hs.childless {
		s.childlessUp()
		return
	}
	if n, bad := in.Failure(); bad {
		s.up(0, false)
		s.childFailed(o, refusedBy(n, "the IPsec SA"))
		return
	}
	a, r := s.accept(o, in.Payloads, ni, nr)
	if r == nil {
		r = s.configured(in.Payloads, a)
	}
	if r != nil {
		s.up(0, false)
		s.reject(o, r)
		return
	}
	c := s.install(a, ipsec.Secret{}, ipsec.Secret{})
	s.up(0, false)
	s.announce(a, c, true)
}

// authRequest checks who is calling.
//
//	--> HDR, SK {IDi, [CERT,] [CERTREQ,] [IDr,] AUTH, SAi2, TSi, TSr}
//	<-- HDR, SK {IDr, AUTH, SAr2, TSi, TSr}
func (s *step) authRequest(in inbound) {
	idi, hasID := in.IDi()
	if !hasID || len(s.hs.mid.left) > 0 {
		s.fatal(&ike.NotifyError{Type: ike.NotifyInvalidSyntax, Why: "IKE_AUTH without IDi, or before all additional key exchanges"})
		return
	}
	s.state = stateAuthR
	want := ike.ID{}
	if idr, ok := in.IDr(); ok {
		want = idr.ID
	}
	auth, hasAuth := in.AUTH()
	if s.hs.resume != nil {
		s.resumedRequest(in, idi, auth)
		return
	}
	methods := []ike.AuthMethod{methodOf(auth.Method)}
	if !hasAuth { // RFC 7296, 2.16
		methods = eapMethods
	}
	method := methods[0]
	peer := identityOf(idi.ID, method)
	c, why := s.caller(peer, want, asksAddress(in.Payloads), methods...)
	if c == nil {
		s.refuseUnknown(in, auth, idi, why)
		return
	}
	if _, ok := in.SA(); !ok && (!s.hs.childless || c.Childless == ike.ChildlessNever) { // RFC 6023, 2
		s.fatal(&ike.NotifyError{Type: ike.NotifyInvalidSyntax, Why: "IKE_AUTH without a Child SA"})
		return
	}
	s.conn, s.remoteID, s.localID = c, peer, c.Local.ID
	s.saidID, s.peerMethod = idi.ID, provenBy(c, methods)
	s.hs.ask, s.hs.asked = in, askedOf(in.Payloads)
	if !hasAuth {
		s.eapFirst(in, idi)
		return
	}
	s.answerPPK(c, in.Payloads, auth, func(s *step, auth wire.AUTH) { s.checkInitiator(in, idi, auth) })
}

// checkInitiator checks the AUTH of the peer that a connection was found for.
func (s *step) checkInitiator(in inbound, idi wire.IDi, auth wire.AUTH) {
	peer := s.remoteID
	s.startJob(ike.Verify{
		Conn: s.conn, PRF: s.chosen.PRF, Local: s.localID, Remote: peer,
		Octets: s.initiatorOctets(idi.Body()),
		Auth:   ike.Signature{Method: auth.Method, Data: auth.Data, Certs: certsOf(in.Payloads)}, Now: s.cfg.Wall.At(s.now),
		Shared: s.nullSecret(methodOf(auth.Method), s.keys.pi), From: s.remote.Addr(),
	}, func(s *step, result any, err error) {
		if err != nil {
			s.refuseAuth(&ike.Failure{Reason: ike.ReasonAuth, Why: "authentication of '" + peer.String() + "' failed: " + err.Error()})
			return
		}
		v, ok := result.(ike.Verified)
		if !ok || !v.Proves(peer) {
			s.refuseAuth(&ike.Failure{Reason: ike.ReasonAuth, Why: "authentication of '" + peer.String() + "' failed"})
			return
		}
		s.proved(v)
		s.proveResponder()
	})
}

// caller finds the connection of a peer by the identities and the method, and
// by the algorithms that IKE_SA_INIT has fixed. Of several it takes one that gives
// an address inside to who asks for it, and to nobody else, if there is one.
func (s *step) caller(peer, want ike.ID, asks bool, methods ...ike.AuthMethod) (*ike.Conn, *ike.Failure) {
	var second *ike.Conn
	why := &ike.Failure{Reason: ike.ReasonAuth, Why: fmt.Sprintf("no suitable connection for peer '%s'", peer), Theirs: peer.String()}
	why.Detail = s.identities(peer)
	if want.Kind != ike.IDNone {
		why.Why += fmt.Sprintf(" that asks for '%s'", want)
	}
	for _, c := range s.cfg.PAD.Identified(s.local.Addr(), s.remote.Addr(), peer, want) {
		switch {
		case !accepts(&c.Remote, methods...):
			why.Why = fmt.Sprintf("peer '%s' authenticates by %s, which connection %q does not allow", peer, methodNames(methods), c.Name)
		case len(c.Local.Auth) == 0:
			why.Why = fmt.Sprintf("connection %q has no way to authenticate us", c.Name)
		case c.Local.Auth[0].EAP() && !methods[0].EAP(): // RFC 7296, 2.16: only who begins can, but for EAP alone
			why.Why = fmt.Sprintf("connection %q authenticates us by %s, which only we can begin", c.Name, methodNames(c.Local.Auth))
		case !s.allowed(c):
			why.Reason = ike.ReasonProposal
			why.Why = fmt.Sprintf("connection %q of peer '%s' does not allow %s", c.Name, peer, s.chosen)
		case c.FromPool == asks && len(c.RequestIP) == 0:
			return c, nil
		case second == nil:
			second = c
		}
	}
	if second != nil {
		why = nil
	}
	return second, why
}

// identities is whom we expect at the peer's address, beside who called.
func (s *step) identities(peer ike.ID) ike.Detail {
	d := ike.Detail{Declared: peer}
	for _, c := range s.cfg.PAD.Between(s.local.Addr(), s.remote.Addr()) {
		if id := c.Remote.ID; !id.IsZero() && !slices.Contains(d.Expected, id) {
			d.Expected = append(d.Expected, id)
		}
	}
	return d
}

// allowed reports whether a connection would have chosen what was chosen when
// only addresses were known.
func (s *step) allowed(c *ike.Conn) bool {
	_, _, no := chooseIKE(c.IKE, []suite.Offer{s.chosen.Offer(1, nil)}, s.chosen.KE.ID)
	return no == nil
}

// siblings are the connections that the peer may use on this IKE SA. One whose
// ike= forbids what was agreed here is none of them.
func (s *step) siblings(ps wire.Payloads) []*ike.Conn {
	if p := s.strangers(); p != nil {
		return s.grant(p, ps)
	}
	return slices.DeleteFunc(s.cfg.PAD.Siblings(s.conn), func(c *ike.Conn) bool { return !s.allowed(c) })
}

// refuseUnknown refuses a caller whom no connection knows, after the same work
// as one who has the wrong key: how long the answer takes must not tell which
// identities exist (V2S-12).
func (s *step) refuseUnknown(in inbound, auth wire.AUTH, idi wire.IDi, why *ike.Failure) {
	c := s.conn // the one that IKE_SA_INIT was answered for
	s.startJob(ike.Verify{
		Conn: c, PRF: s.chosen.PRF, Local: c.Local.ID, Remote: c.Remote.ID,
		Octets: s.initiatorOctets(idi.Body()),
		Auth:   ike.Signature{Method: auth.Method, Data: auth.Data, Certs: certsOf(in.Payloads)}, Now: s.cfg.Wall.At(s.now),
	}, func(s *step, _ any, _ error) { s.refuseAuth(why) })
}

// refuseAuth says AUTHENTICATION_FAILED, whatever the reason: which of them it
// was is nobody's business outside (adversary.md V2S-12).
func (s *step) refuseAuth(why *ike.Failure) {
	s.refuseAuthBy(why, wire.NewNotify(ike.NotifyAuthenticationFailed, nil))
}

// refuseAuthBy is refuseAuth with another last word.
func (s *step) refuseAuthBy(why *ike.Failure, last wire.Payload) {
	why.Notify = ike.NotifyAuthenticationFailed
	if s.gate != nil {
		s.gate.authFailed(s.now, s.remote.Addr())
		s.gate.settled(s.now, s.SA)
	}
	s.respond(last)
	s.end(why, false)
}

// proveResponder makes our AUTH, now that the peer has proven itself.
func (s *step) proveResponder() {
	c := s.conn
	idr := wire.NewIDr(c.Local.ID)
	s.startJob(ike.Prove{
		Conn: c, Method: c.Local.Auth[0], PRF: s.chosen.PRF, Local: s.localID, Remote: s.remoteID, Hashes: s.hs.hashes, Asked: s.hs.asked,
		Octets: s.responderOctets(idr.Body()), Shared: s.nullSecret(c.Local.Auth[0], s.keys.pr),
	}, func(s *step, result any, err error) {
		if err != nil {
			s.refuseAuth(&ike.Failure{Reason: ike.ReasonAuth, Why: err.Error()})
			return
		}
		s.vouched(s.hs.ask.Payloads, func(s *step) { s.responderUp(proofOf(idr, result.(ike.Signature))) })
	})
}

// proofOf are the payloads that say who we are and prove it.
func proofOf(idr wire.IDr, sig ike.Signature) []wire.Payload {
	ps := append([]wire.Payload{idr}, certPayloads(sig.Certs)...)
	return append(ps, wire.AUTH{Method: sig.Method, Data: sig.Data})
}

// responderUp establishes the IKE SA and, if they agree, its first Child SA. A
// Child SA that comes to nothing leaves the IKE SA up (1.2). ps is our proof.
func (s *step) responderUp(ps []wire.Payload) {
	in, ni, nr := s.hs.ask, s.hs.ni, s.hs.nr
	// RFC 7619, 3: nobody may end the IKE SAs of others who has not said who it is.
	contact := says(in.Payloads, ike.NotifyInitialContact) && s.remoteID.Kind != ike.IDNULL
	base := s.conn
	s.conn = s.instantiate()
	ps = append(ps, s.giveTicket(in.Payloads, base)...)
	if s.takeToken(in.Payloads) {
		ps = append(ps, s.ourToken()...)
	}
	ps = append(ps, s.authLifetime()...)
	if s.hs.ppk.name != "" {
		ps = append(ps, wire.NewNotify(ike.NotifyPPKIdentity, nil))
	}
	if s.mobike = s.conn.MOBIKE && says(in.Payloads, ike.NotifyMOBIKESupported); s.mobike {
		ps = append(ps, wire.NewNotify(ike.NotifyMOBIKESupported, nil))
	}
	away := s.redirectPeer()
	ps = append(ps, away...)
	if _, ok := in.SA(); !ok || away != nil {
		s.respond(ps...)
		s.up(0, contact)
		return
	}
	config, no := s.configure(in.Payloads)
	var a *agreement
	if no == nil {
		a, no = s.agree(in.Payloads, s.siblings(in.Payloads), nil, true)
	}
	if no == nil {
		no = s.admit(a)
	}
	if no != nil {
		s.respond(append(ps, wire.NewNotify(no.Type, no.Data))...)
		s.up(0, contact)
		s.report(ike.Failed{Why: no.why, Child: true})
		if no.Type == ike.NotifyInvalidSyntax {
			s.close(no.why)
		}
		return
	}
	a.ni, a.nr = ni, nr
	c := s.install(a, ipsec.Secret{}, ipsec.Secret{})
	ps = append(ps, config...)
	s.respond(append(ps, a.reply(nil, nil)...)...)
	s.up(0, contact)
	s.announce(a, c, true)
}
