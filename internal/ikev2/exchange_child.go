package ikev2

import (
	"bytes"
	"errors"
	"slices"

	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

// createTask asks for a Child SA, RFC 7296 sections 1.3.1 and 1.3.3:
//
//	HDR, SK {[N(REKEY_SA),] SA, Ni, [KEi,] TSi, TSr} -->
//	<-- HDR, SK {SA, Nr, [KEr,] TSi, TSr}
//
// Additional key exchanges follow, see followUps.
type createTask struct {
	conn    *ike.Conn
	trigger *ipsec.Flow
	old     *child // to be replaced, or nil

	offer   *offer
	private suite.Private
	sent    bool
	tries   int
	rival   *rival     // the peer rekeys the same pair
	more    *followUps // additional key exchanges, once they have begun

	stillborn []ipsec.SPI // deleted by the peer while our request is out
}

// rekeyChild asks for the replacement of a pair, unless that is coming already.
func (s *step) rekeyChild(c *child) {
	is := func(t task) bool {
		k, ok := t.(*createTask)
		return ok && k.old == c
	}
	for _, w := range s.tasks {
		if is(w.task) {
			return
		}
	}
	if s.active == nil || !is(s.active) {
		s.queue(&createTask{conn: c.conn, old: c})
	}
}

func (t *createTask) begin(s *step) {
	if t.old != nil && (t.old.state != childUp || s.childBySerial(t.old.serial) != t.old) {
		s.finish(t) // deleted, or replaced by the peer
		if t.offer != nil {
			s.release(t.offer)
		}
		return
	}
	if t.old != nil && s.follows(t.old) { // the peer's comes to an end first
		s.later(t, t.tries)
		return
	}
	if t.offer == nil {
		o, err := s.newOffer(t.conn, t.trigger, t.old, false)
		if err != nil {
			s.finish(t)
			s.reportOf(t.conn, s.serial, ike.Failed{Child: true, Why: &ike.Failure{Reason: ike.ReasonPlane, Why: "cannot ask for an IPsec SA: " + err.Error()}})
			return
		}
		t.offer = o
	}
	t.exchangeKeys(s)
}

// exchangeKeys makes our half of the key exchange first, if there is one.
func (t *createTask) exchangeKeys(s *step) {
	t.sent, t.more = false, nil
	t.offer.nonce = s.random(nonceLen) // every exchange has its own
	if t.offer.group == nil {
		t.send(s, nil)
		return
	}
	t.offer.tried = append(t.offer.tried, t.offer.group)
	s.startJob(ike.MakeKey{KE: t.offer.group}, func(s *step, result any, err error) {
		if s.active != t {
			return
		}
		if err != nil {
			t.failed(s, &ike.Failure{Reason: ike.ReasonOther, Why: "cannot make a key: " + err.Error()})
			return
		}
		t.private = result.(suite.Private)
		t.send(s, t.private.Public())
	})
}

func (t *createTask) send(s *step, public []byte) {
	var ps []wire.Payload
	text := "sent CREATE_CHILD_SA request for a new IPsec SA"
	if t.old != nil {
		ps = append(ps, wire.NotifySA(ike.NotifyRekeySA, t.old.protocol(), t.old.in.SPI))
		text = "sent CREATE_CHILD_SA request to rekey IPsec SA"
	}
	t.sent = true
	s.request(ike.CreateChild, append(ps, t.offer.payloads(public)...)...)
	s.win.pending.state = t.state()
	s.reportOf(t.conn, t.offer.serial, ike.State{Code: codeChildI, Name: t.state(), Text: text})
}

// state is Libreswan's name of what the task does.
func (t *createTask) state() string {
	if t.old != nil {
		return "STATE_V2_REKEY_CHILD_I1"
	}
	return "STATE_V2_NEW_CHILD_I1"
}

// codeChildI is the code of Libreswan's states of a CREATE_CHILD_SA request.
const codeChildI = 140

func (t *createTask) answer(s *step, ps wire.Payloads) {
	if n, bad := ps.Failure(); bad {
		t.refused(s, n)
		return
	}
	if t.more != nil {
		t.more.answer(s, ps)
		return
	}
	nonce, _ := ps.Nonce()
	a, r := s.accept(t.offer, ps, t.offer.nonce, nonce.Data)
	if r != nil {
		s.finish(t)
		s.reject(t.offer, r)
		return
	}
	if a.group == nil {
		t.complete(s, a, ipsec.Secret{}, ipsec.Secret{})
		return
	}
	s.startJob(ike.FinishKey{Private: t.private, Peer: a.peerPublic}, func(s *step, result any, err error) {
		if s.active != t {
			return
		}
		if err != nil {
			t.broken(s, errors.New("the peer's key exchange: "+err.Error()))
			return
		}
		t.follow(s, ps, a, result.(ipsec.Secret))
	})
}

// follow begins the additional key exchanges, if any were chosen. What is to be
// replaced stays in use until they are done, and if they come to nothing.
func (t *createTask) follow(s *step, ps wire.Payloads, a *agreement, shared ipsec.Secret) {
	left := a.chosen.Additional()
	link, linked := ps.Notify(ike.NotifyAdditionalKeyExchange)
	switch {
	case len(left) == 0:
		t.complete(s, a, shared, ipsec.Secret{})
		return
	case t.rival != nil: // the peer's own rekeying went through; this one has only begun
		shared.Wipe()
		s.finish(t)
		s.release(t.offer)
		return
	case !linked:
		shared.Wipe()
		t.broken(s, errNoLink)
		return
	}
	t.more = &followUps{
		task: t, state: t.state(), link: clone(link.Data), left: left, shared: shared,
		done:   func(s *step, shared, more ipsec.Secret) { t.complete(s, a, shared, more) },
		failed: func(s *step, why string) { t.failed(s, &ike.Failure{Reason: ike.ReasonOther, Why: why}) },
		broken: t.broken,
	}
	t.more.next(s)
}

// broken ends the IKE SA of a peer that does not keep to the protocol.
func (t *createTask) broken(s *step, err error) {
	t.more.forget()
	s.finish(t)
	s.reject(t.offer, broken(err.Error()))
}

// refused deals with an error notify in the response, of CREATE_CHILD_SA or of
// IKE_FOLLOWUP_KE.
func (t *createTask) refused(s *step, n wire.Notify) {
	t.more.forget()
	if t.rival != nil { // the peer's own rekeying went through, so that stands
		s.finish(t)
		s.release(t.offer)
		return
	}
	switch n.Kind {
	case ike.NotifyInvalidKEPayload:
		if k := otherGroup(t.offer.proposals, t.offer.tried, n.Data); k != nil && t.more == nil {
			t.offer.group = k
			t.exchangeKeys(s)
			return
		}
	case ike.NotifyTemporaryFailure, // RFC 7296, 2.25: collisions pass
		ike.NotifyStateNotFound: // RFC 9370, 2.2.4: the peer has not waited; from the beginning
		if t.tries++; t.tries <= maxRetries {
			s.later(t, t.tries)
			return
		}
	case ike.NotifyChildSANotFound: // 2.25: it is gone; make a new one
		if t.old != nil {
			t.startOver(s)
			return
		}
	}
	why := refusedBy(n, "the IPsec SA")
	if n.Kind == ike.NotifyNoProposalChosen && t.offer.group != nil {
		why.Why += "; if it wants no key exchange of each, the mend is pfs=no"
	}
	t.failed(s, why)
}

// startOver replaces a pair that the peer does not have.
func (t *createTask) startOver(s *step) {
	s.finish(t)
	s.release(t.offer)
	if t.old.state == childUp && s.childBySerial(t.old.serial) == t.old {
		s.dropChild(t.old, &ike.Failure{Reason: ike.ReasonOther, Why: "the peer does not have this IPsec SA any more", Notify: ike.NotifyChildSANotFound, ByPeer: true}, true)
		s.queue(&createTask{conn: t.conn})
	}
}

// complete installs what was agreed, unless the peer's simultaneous rekeying
// wins. more are the secrets of additional key exchanges.
func (t *createTask) complete(s *step, a *agreement, shared, more ipsec.Secret) {
	s.finish(t)
	if t.rival.beats(a.ni, a.nr) {
		// RFC 7296, 2.8.1: who made the redundant SA closes it. Nothing was
		// ever sent on it, so it need not be installed first.
		s.release(t.offer)
		s.queue(&deleteTask{protocol: a.chosen.Protocol, spi: a.spiIn})
		return
	}
	if slices.Contains(t.stillborn, a.spiOut) {
		t.buried(s)
		return
	}
	c := s.install(a, shared, more)
	s.announce(a, c, true)
	if t.rival != nil && t.rival.child != nil {
		s.superseded(t.rival.child)
	}
	if old := t.old; old != nil && s.childBySerial(old.serial) == old {
		s.superseded(old)
		s.deleteReplaced(old)
	}
}

// buried ends an exchange whose pair the peer has made, and deleted before its
// answer was here. To the peer, a pair that it was to replace is as good as gone.
func (t *createTask) buried(s *step) {
	why := &ike.Failure{Reason: ike.ReasonDeleted, Why: "the peer has deleted the IPsec SA before its answer was here", ByPeer: true}
	if old := t.old; old == nil {
		s.childFailed(t.offer, why)
	} else if s.release(t.offer); s.childBySerial(old.serial) == old {
		s.deleteChild(old, why)
	}
}

func (t *createTask) failed(s *step, why *ike.Failure) {
	t.more.forget()
	s.finish(t)
	s.childFailed(t.offer, why)
}

func (t *createTask) abandon(s *step, why *ike.Failure) {
	serial := s.serial
	t.more.forget()
	if t.offer != nil {
		serial = t.offer.serial
		s.release(t.offer)
	}
	if t.old == nil { // of a rekeyed pair ChildDown is word enough
		s.reportOf(t.conn, serial, ike.Failed{Why: why, Child: s.state == stateUp})
	}
}

// createChildRequest answers CREATE_CHILD_SA.
//
//	--> HDR, SK {[N(REKEY_SA),] SA, Ni, [KEi,] TSi, TSr}
//	<-- HDR, SK {SA, Nr, [KEr,] TSi, TSr}
func (s *step) createChildRequest(in inbound) {
	s.claim()
	if sa, _ := in.SA(); sa.Proposals[0].Protocol == suite.ProtoIKE {
		s.rekeyIKERequest(in)
		return
	}
	if _, ok := s.active.(*rekeyTask); ok { // RFC 7296, 2.25.2
		s.refuse(&ike.NotifyError{Type: ike.NotifyTemporaryFailure})
		return
	}
	old, ok := s.toRekey(in)
	if !ok {
		return
	}
	if old == nil && len(s.children) >= maxChildren {
		s.refuse(&ike.NotifyError{Type: ike.NotifyNoAdditionalSAs})
		return
	}
	if old != nil {
		s.grantChild(in, old, nil)
		return
	}
	s.vouched(in.Payloads, func(s *step) { s.grantChild(in, nil, s.siblings(in.Payloads)) })
}

// grantChild goes on once it is known which connections the peer may use.
func (s *step) grantChild(in inbound, old *child, conns []*ike.Conn) {
	a, no := s.agree(in.Payloads, conns, old, false)
	if no == nil {
		no = s.admit(a)
	}
	if no != nil {
		s.refuseChild(no)
		return
	}
	nonce, _ := in.Nonce()
	a.ni, a.nr = clone(nonce.Data), s.random(nonceLen)
	if a.group == nil {
		s.answerChild(a, nil, ipsec.Secret{})
		return
	}
	s.startJob(ike.AnswerKey{KE: a.group, Peer: clone(a.peerPublic)}, func(s *step, result any, err error) {
		if err != nil {
			s.giveBack(a)
			s.fatal(&ike.NotifyError{Type: ike.NotifyInvalidSyntax, Why: "the peer's key exchange: " + err.Error()})
			return
		}
		k := result.(ike.Answered)
		s.answerChild(a, k.Public, k.Shared)
	})
}

// toRekey finds the pair that REKEY_SA names. ok is false when the request has
// been answered.
func (s *step) toRekey(in inbound) (old *child, ok bool) {
	n, rekey := in.Notify(ike.NotifyRekeySA)
	if !rekey {
		return nil, true
	}
	spi, ok := n.ChildSPI()
	if !ok {
		s.fatal(&ike.NotifyError{Type: ike.NotifyInvalidSyntax, Why: "REKEY_SA without the SPI of a Child SA"})
		return nil, false
	}
	old = s.childByPeer(n.Protocol, spi)
	switch {
	case old == nil && s.creating(): // it may be the one whose answer is on its way
		s.refuse(&ike.NotifyError{Type: ike.NotifyTemporaryFailure})
		return nil, false
	case old == nil && s.deleting(n.Protocol, spi): // RFC 7296, 2.25.1
		s.refuse(&ike.NotifyError{Type: ike.NotifyTemporaryFailure})
		return nil, false
	case old == nil: // 2.25.1
		s.respond(wire.NotifySA(ike.NotifyChildSANotFound, n.Protocol, spi))
		return nil, false
	case old.state != childUp: // we are closing it
		s.refuse(&ike.NotifyError{Type: ike.NotifyTemporaryFailure})
		return nil, false
	}
	return old, true
}

func (s *step) refuseChild(no *no) {
	if no.Type == ike.NotifyInvalidSyntax {
		s.fatal(no.NotifyError)
		return
	}
	s.refuse(no.NotifyError)
	s.report(ike.Failed{Why: no.why, Child: true})
}

func (s *step) giveBack(a *agreement) {
	s.remove(ipsec.SAID{Dst: a.at, Proto: a.proto(), SPI: a.spiIn})
	if a.comp.in != 0 {
		s.remove(ipsec.SAID{Dst: a.at, Proto: ipsec.Comp, SPI: a.comp.in})
	}
}

// answerChild answers, unless the world has changed during the key exchange.
func (s *step) answerChild(a *agreement, public []byte, shared ipsec.Secret) {
	if !s.standing(a) {
		shared.Wipe()
		return
	}
	answer := a.reply(a.nr, public)
	if left := a.chosen.Additional(); len(left) > 0 {
		link := s.expectFollowUps(left, a, shared, func(s *step, shared, more ipsec.Secret, last wire.KE) {
			if !s.standing(a) {
				shared.Wipe()
				more.Wipe()
				return
			}
			s.grantedChild(a, shared, more, last)
		})
		s.respond(append(answer, link)...)
		return
	}
	s.grantedChild(a, shared, ipsec.Secret{}, answer...)
}

// standing reports whether what was agreed on can still be. Otherwise the request
// is answered.
func (s *step) standing(a *agreement) bool {
	old := a.replaces
	switch {
	case s.state != stateUp, s.crosses(a):
		s.giveBack(a)
		s.refuse(&ike.NotifyError{Type: ike.NotifyTemporaryFailure})
		return false
	case old != nil && s.childBySerial(old.serial) != old:
		s.giveBack(a)
		s.respond(wire.NotifySA(ike.NotifyChildSANotFound, old.protocol(), old.out.SPI))
		return false
	}
	return true
}

// grantedChild installs the pair and answers. Our old outbound SA stays in use
// until the peer shows that it has the new one, by its Delete of the old or by
// its first packet (RFC 7296, 2.8). shared and more are what deriveChild takes.
func (s *step) grantedChild(a *agreement, shared, more ipsec.Secret, answer ...wire.Payload) {
	old := a.replaces
	c := s.install(a, shared, more)
	s.respond(answer...)
	s.announce(a, c, old == nil)
	if old != nil {
		c.replaces = old.serial
		s.collideChild(old, c, a)
		s.superseded(old)
	}
}

// tooLate answers CREATE_CHILD_SA on an IKE SA that is on its way out.
func (s *step) tooLate(inbound) {
	s.refuse(&ike.NotifyError{Type: ike.NotifyTemporaryFailure})
}

// lowest is the lower of the two nonces of an exchange. RFC 7296, 2.8.1 compares
// octet by octet, and a nonce that is the beginning of another is lower.
func lowest(ni, nr []byte) []byte {
	if bytes.Compare(ni, nr) < 0 {
		return ni
	}
	return nr
}
