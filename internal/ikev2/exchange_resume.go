package ikev2

import (
	"crypto/hmac"
	"crypto/sha256"
	"net/netip"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
	"cygnet/internal/ipsec"
	"cygnet/internal/octet"
	"cygnet/internal/suite"
)

// Session resumption, RFC 5723: who has had an IKE SA with a gateway, and has a
// ticket of it, makes the next one without a key exchange and without proving
// itself again:
//
//	HDR, [N(COOKIE),] Ni, N(TICKET_OPAQUE), notifies -->
//	<-- HDR, Nr, notifies                            or N(TICKET_NACK)
//	HDR, SK {IDi, [IDr,] AUTH, SAi2, TSi, TSr, [N(TICKET_REQUEST)]} -->
//	<-- HDR, SK {IDr, AUTH, SAr2, TSi, TSr, [N(TICKET_LT_OPAQUE)]}
//
// What ends otherwise than by our own wish can be taken up so: a client that
// slept, a path that broke. How long it lasts is bounded by the ticket, and by
// the authentication that it goes back to.

// resumption is what an IKE SA knows of the one that it takes up.
type resumption struct {
	peerID  ike.ID
	auth    authClock
	ticket  ticket       // of a client
	d       ipsec.Secret // SK_d of before
	session *session     // the gateway's view
}

const (
	ticketLife     = 8 * time.Hour // at most
	resumePatience = 4 * time.Second
)

// resumeKeys computes the keys, RFC 5723 section 5.1:
//
//	SKEYSEED = prf(SK_d(old), "Resumption" | Ni | Nr)
func (s *step) resumeKeys(d ipsec.Secret) error {
	hs := s.hs
	seed := ipsec.NewSecret(s.chosen.PRF.Sum(d.Bytes(), []byte("Resumption"), hs.ni, hs.nr))
	s.keys = deriveIKE(s.chosen, seed, hs.ni, hs.nr, s.spiI, s.spiR)
	d.Wipe()
	return s.protect()
}

// resumeAuth is AUTH of an end, section 5.1: prf(SK_px, its first message).
func (s *step) resumeAuth(initiator bool) wire.AUTH {
	p, message := s.keys.pr, s.hs.response
	if initiator {
		p, message = s.keys.pi, s.hs.request
	}
	return wire.AUTH{Method: wire.AuthSharedKey, Data: s.chosen.PRF.Sum(p.Bytes(), message)}
}

// resumed reports whether AUTH is that of the other end.
func (s *step) resumed(auth wire.AUTH) bool {
	return auth.Method == wire.AuthSharedKey && hmac.Equal(auth.Data, s.resumeAuth(!s.first).Data)
}

// startResume begins with a ticket, if there is one for the connection.
func (s *step) startResume() bool {
	if !s.conn.Resume || s.cfg.tickets == nil {
		return false
	}
	t, ok := s.cfg.tickets.take(s.now, s.conn)
	if !ok {
		return false
	}
	s.hs.resume = &resumption{peerID: t.peerID, auth: t.auth, ticket: t, d: t.d}
	s.localID, s.chosen = t.localID, t.chosen
	s.state = stateKeyI
	s.sendResume()
	return true
}

func (s *step) sendResume() {
	hs := s.hs
	var ps []wire.Payload
	if hs.cookie != nil {
		ps = append(ps, wire.NewNotify(ike.NotifyCookie, hs.cookie))
	}
	ps = append(ps, wire.Nonce{Data: hs.ni}, wire.NewNotify(ike.NotifyTicketOpaque, hs.resume.ticket.opaque))
	ps = append(ps, hs.nat...)
	if s.mayFragment() {
		ps = append(ps, wire.NewNotify(ike.NotifyFragmentationSupported, nil))
	}
	h := ike.Header{SPIi: s.spiI, Major: ike.Version2, Exchange: ike.Resume, Flags: ike.FlagInitiator}
	hs.request = wire.Append(nil, h, ps...)
	s.state = stateInitI
	s.win.nextID = 1
	s.expectReply(0, ike.Resume, datagrams{hs.request})
	s.win.pending.giveUp = s.now.Add(resumePatience)
	s.transmit(s.way(), datagrams{hs.request})
}

// fullInstead begins anew without the ticket: the gateway does not know it, or
// does not answer to it. Neither proves anything, and neither costs more than
// the exchange that there would have been anyway.
func (s *step) fullInstead(why string) {
	s.note("cannot resume the session: %s", why)
	s.hs.resume, s.hs.cookie, s.hs.cookies = nil, nil, 0
	s.win.pending = nil
	s.localID, s.chosen = s.conn.Local.ID, suite.Chosen{}
	s.begin()
}

// resumeResponse takes the answer.
func (s *step) resumeResponse(in inbound, ps wire.Payloads) {
	hs := s.hs
	nonce, ok := ps.Nonce()
	switch {
	case says(ps, ike.NotifyTicketNack):
		hs.resume.d.Wipe()
		s.fullInstead("the peer does not accept our ticket")
		return
	case !ok || in.SPIr == 0 || checkNonce(s.chosen.PRF, nonce.Data) != nil:
		return
	}
	hs.nr, hs.response = clone(nonce.Data), in.msg
	s.spiR = in.SPIr
	if err := s.resumeKeys(hs.resume.d); err != nil {
		s.fail(&ike.Failure{Reason: ike.ReasonOther, Why: err.Error()})
		return
	}
	s.natDetect(s.spiR, ps)
	s.fragments = s.mayFragment() && says(ps, ike.NotifyFragmentationSupported)
	s.win.pending = nil
	if s.encap || s.natPeerKnows && s.conn.MOBIKE { // RFC 4555, 3.3
		s.float()
	}
	s.state = stateAuthI
	auth := s.resumeAuth(true)
	s.sendAuth(wire.NewIDi(s.localID), ike.Signature{Method: auth.Method, Data: auth.Data})
}

// resumedResponse checks the gateway's AUTH. Only who could open the ticket has
// the keys.
func (s *step) resumedResponse(in inbound, idr wire.IDr, auth wire.AUTH) {
	if idr.ID != s.hs.resume.peerID || !s.resumed(auth) {
		s.notThem("the peer that takes up the session is another", s.hs.resume.peerID.String(), idr.ID.String())
		return
	}
	s.remoteID, s.auth = idr.ID, s.hs.resume.auth
	s.note("resumed a session without authenticating again")
	s.initiatorUp(in)
}

// wantTicket is what IKE_AUTH says to get one.
func (s *step) wantTicket() []wire.Payload {
	if !s.conn.Resume {
		return nil
	}
	return []wire.Payload{wire.NewNotify(ike.NotifyTicketRequest, nil)}
}

// takeTicket keeps the gateway's ticket for the next time.
func (s *step) takeTicket(ps wire.Payloads) {
	n, ok := ps.Notify(ike.NotifyTicketLTOpaque)
	const lifetime = 4
	if !ok || !s.isUp || !s.conn.Resume || len(n.Data) <= lifetime || len(n.Data) > lifetime+maxTicket {
		return
	}
	life := min(time.Duration(octet.NewReader(n.Data).Uint32())*time.Second, ticketLife)
	if s.cfg.tickets == nil {
		s.cfg.tickets = ticketBox{}
	}
	s.cfg.tickets.put(ticket{
		opaque: clone(n.Data[lifetime:]), expires: s.now.Add(life), conn: s.conn, localID: s.localID, peerID: s.remoteID,
		chosen: s.chosen, d: ipsec.NewSecret(clone(s.keys.d.Bytes())), auth: s.auth,
	})
}

// giveTicket answers TICKET_REQUEST (section 4.2): with none, if the connection
// does not want that. Who has proven himself by a certificate gets none: it may be
// revoked before he comes back, and a ticket is no place for chains.
func (s *step) giveTicket(ps wire.Payloads, base *ike.Conn) []wire.Payload {
	if !says(ps, ike.NotifyTicketRequest) {
		return nil
	}
	life := ticketLife
	if s.conn.IKELife > 0 {
		life = min(life, s.conn.IKELife)
	}
	if r := s.hs.resume; r != nil && !r.auth.end.IsZero() {
		life = min(life, r.auth.end.Sub(s.now))
	}
	if !base.Resume || base.Stranger != nil || s.peerMethod == ike.AuthNULL || s.certified() || s.gate == nil || life < time.Second {
		return []wire.Payload{wire.NewNotify(ike.NotifyTicketNack, nil)}
	}
	t := session{
		expires: s.now.Add(life), conn: base.Name, method: s.peerMethod, ppk: s.hs.ppk.name != "", localID: s.localID, peerID: s.remoteID, saidID: s.saidID,
		chosen: s.chosen.Offer(1, nil), group: s.chosen.KE.ID, d: s.keys.d,
	}
	if s.conn.Reauth {
		t.authEnd = s.now.Add(s.conn.IKELife)
	}
	if r := s.hs.resume; r != nil {
		t.ppk, t.authEnd = r.session.ppk, r.auth.end
	}
	sealed := s.gate.tickets.seal(s.now, t)
	return []wire.Payload{wire.NewNotify(ike.NotifyTicketLTOpaque, append(octet.AppendUint32(nil, uint32(life/time.Second)), sealed...))}
}

// resume answers IKE_SESSION_RESUME. Who replays one gets no further: what
// follows needs the keys.
func (g *Gate) resume(now time.Time, in inbound, digest [sha256.Size]byte, src netip.Prefix, out []ike.Action) (ike.Machine, []ike.Action) {
	refuse := func() (ike.Machine, []ike.Action) {
		m := ike.Received{Local: in.local, Remote: in.remote, Msg: in.msg}
		return nil, g.answer(now, in.Header, m, out, wire.NewNotify(ike.NotifyTicketNack, nil))
	}
	n, _ := in.Notify(ike.NotifyTicketOpaque)
	old, ok := g.tickets.open(now, n.Data)
	if !ok {
		return refuse()
	}
	c, chosen := g.resumable(in, &old)
	nonce, _ := in.Nonce()
	if c == nil || checkNonce(chosen.PRF, nonce.Data) != nil {
		return refuse()
	}
	s := newSA(g.cfg, c, in.local, in.remote)
	s.goOver(in.way())
	s.spiI, s.spiR = in.SPIi, s.newSPI()
	s.chosen, s.localID, s.state = chosen, old.localID, stateInitR
	s.hs = &handshake{came: now, ni: clone(nonce.Data), nr: s.random(nonceLen), request: in.msg, redirectable: redirectable(in.Payloads)}
	s.hs.resume = &resumption{peerID: old.peerID, auth: authClock{end: old.authEnd}, d: old.d, session: &old}
	st := &step{SA: s, now: now, out: out}
	st.answerResume(in)
	if s.state == stateDead {
		return nil, st.out
	}
	s.giveUp = g.enter(s, digest, src, now)
	return s, st.out
}

// resumable finds the connection of a ticket, if it would still accept that
// peer by that proof and these algorithms.
func (g *Gate) resumable(in inbound, old *session) (*ike.Conn, suite.Chosen) {
	for _, c := range g.cfg.PAD.Identified(in.local.Addr(), in.remote.Addr(), old.peerID, old.localID) {
		chosen, _, no := chooseIKE(c.IKE, []suite.Offer{old.chosen}, old.group)
		if c.Name == old.conn && c.Resume && no == nil && accepts(&c.Remote, old.method) && old.isFor(c) && (c.PPK != ike.PPKInsist || old.ppk) {
			return c, chosen
		}
	}
	return nil, suite.Chosen{}
}

// isFor reports whether the user that EAP has proven is the one that a
// connection is for, as eapNamed decides.
func (s *session) isFor(c *ike.Conn) bool {
	want := c.Remote.EAPName
	return !s.method.EAP() || want == "" || want == ike.UserName(s.peerID)
}

func (s *step) answerResume(in inbound) {
	s.win.take(in, ike.Resume)
	ps := []wire.Payload{wire.Nonce{Data: s.hs.nr}}
	if says(in.Payloads, ike.NotifyNATDetectionSource) {
		ps = append(ps, s.natNotifies(s.spiR)...)
	}
	if s.fragments = s.mayFragment() && says(in.Payloads, ike.NotifyFragmentationSupported); s.fragments {
		ps = append(ps, wire.NewNotify(ike.NotifyFragmentationSupported, nil))
	}
	h := ike.Header{SPIi: s.spiI, SPIr: s.spiR, Major: ike.Version2, Exchange: ike.Resume, Flags: ike.FlagResponse}
	s.hs.response = wire.Append(nil, h, ps...)
	if err := s.resumeKeys(s.hs.resume.d); err != nil {
		s.state = stateDead
		return
	}
	s.natDetect(0, in.Payloads)
	s.win.answered(datagrams{s.hs.response})
	s.transmit(s.win.from, datagrams{s.hs.response})
}

// resumedRequest checks the AUTH of a client that takes up a session. It is who
// the ticket says, and nobody else.
func (s *step) resumedRequest(in inbound, idi wire.IDi, auth wire.AUTH) {
	old := s.hs.resume
	idr, named := in.IDr()
	if !s.resumed(auth) || idi.ID != old.session.saidID || named && !idr.ID.Equal(s.localID) {
		s.refuseAuth(&ike.Failure{Reason: ike.ReasonAuth, Why: "who takes up the session of '" + old.peerID.String() + "' is another"})
		return
	}
	if _, ok := in.SA(); !ok {
		s.fatal(&ike.NotifyError{Type: ike.NotifyInvalidSyntax, Why: "IKE_AUTH without a Child SA"})
		return
	}
	s.remoteID, s.saidID, s.peerMethod, s.auth = old.peerID, idi.ID, old.session.method, old.auth
	s.hs.ask = in
	s.note("'%s' has resumed its session", s.remoteID)
	s.responderUp([]wire.Payload{wire.NewIDr(s.localID), s.resumeAuth(false)})
}
