package ikev2

import (
	"crypto/subtle"
	"errors"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

var errNoLink = errors.New("additional key exchanges were chosen without ADDITIONAL_KEY_EXCHANGE")

// followUps are the additional key exchanges of an IKE SA or Child SA that we asked
// for in CREATE_CHILD_SA, one IKE_FOLLOWUP_KE each, RFC 9370 section 2.2.4:
//
//	HDR, SK {KEi(n), N(ADDITIONAL_KEY_EXCHANGE)} -->
//	<-- HDR, SK {KEr(n), [N(ADDITIONAL_KEY_EXCHANGE)]}
//
// The notify carries the responder's link, by which it knows what goes on.
type followUps struct {
	task    task   // that they are part of, which is active
	state   string // its name, for the log
	link    []byte
	left    []*suite.KE
	private suite.Private
	shared  ipsec.Secret // SK(0), of CREATE_CHILD_SA
	secrets []byte       // SK(1) | SK(2) ...
	done    func(s *step, shared, more ipsec.Secret)
	failed  func(s *step, why string) // nothing was agreed on
	broken  func(s *step, err error)  // the peer may hold it for done
}

// next begins the next exchange, or ends with all the secrets.
func (f *followUps) next(s *step) {
	if len(f.left) == 0 {
		f.done(s, f.shared, ipsec.NewSecret(f.secrets))
		return
	}
	k := f.left[0]
	s.startJob(ike.MakeKey{KE: k}, func(s *step, result any, err error) {
		if s.active != f.task {
			return
		}
		if err != nil {
			f.failed(s, "cannot make a key: "+err.Error())
			return
		}
		f.private = result.(suite.Private)
		s.request(ike.FollowupKE,
			wire.KE{Group: k.ID, Data: f.private.Public()},
			wire.NewNotify(ike.NotifyAdditionalKeyExchange, f.link))
		s.win.pending.state = f.state
	})
}

// answer takes the response. An error in it has gone to the task.
func (f *followUps) answer(s *step, ps wire.Payloads) {
	k := f.left[0]
	ke, ok := ps.KE()
	link, linked := ps.Notify(ike.NotifyAdditionalKeyExchange)
	if !ok || ke.Group != k.ID || linked != (len(f.left) > 1) {
		f.broken(s, errors.New("the peer answered IKE_FOLLOWUP_KE with something else than "+k.Name))
		return
	}
	f.link = clone(link.Data)
	s.startJob(ike.FinishKey{Private: f.private, Peer: clone(ke.Data)}, func(s *step, result any, err error) {
		if s.active != f.task {
			return
		}
		if err != nil {
			f.broken(s, err)
			return
		}
		f.add(result.(ipsec.Secret))
		f.next(s)
	})
}

func (f *followUps) add(shared ipsec.Secret) {
	f.secrets = append(f.secrets, shared.Bytes()...)
	shared.Wipe()
	f.left = f.left[1:]
}

// forget wipes what was agreed on so far. Without follow-ups there is nothing.
func (f *followUps) forget() {
	if f != nil {
		clear(f.secrets)
		f.shared.Wipe()
	}
}

// expected is the same for what the peer asked for. While it rekeys the IKE SA
// requests of ours wait for the successor, as peerRekeys says; a Child SA holds
// up nothing but our own rekeying of the pair that it replaces.
type expected struct {
	followUps
	until    time.Time
	child    *agreement // nil: the IKE SA is rekeyed
	conclude func(s *step, shared, more ipsec.Secret, last wire.KE)
}

// expectFollowUps waits for the additional key exchanges and returns the notify
// that links them to the exchange being answered. child is the Child SA that they
// are for, nil when the IKE SA is rekeyed. One exchange is waited for at a time: a
// peer that begins another has given up the one before.
// conclude answers the last.
func (s *step) expectFollowUps(left []*suite.KE, child *agreement, shared ipsec.Secret, conclude func(s *step, shared, more ipsec.Secret, last wire.KE)) wire.Notify {
	s.dropFollowUps()
	s.follow = &expected{
		followUps: followUps{link: s.random(linkLen), left: left, shared: shared},
		until:     s.now.Add(replacedLife), child: child, conclude: conclude,
	}
	s.peerRekeys = child == nil
	return wire.NewNotify(ike.NotifyAdditionalKeyExchange, s.follow.link)
}

// dropFollowUps gives up waiting; what was to be replaced stays in use.
func (s *step) dropFollowUps() {
	f := s.follow
	if f == nil {
		return
	}
	f.forget()
	s.follow = nil
	if f.child == nil {
		s.peerRekeys = false
	} else {
		s.giveBack(f.child)
	}
}

// follows reports whether the peer's replacement of c waits for additional key
// exchanges.
func (s *SA) follows(c *child) bool {
	return s.follow != nil && s.follow.child != nil && s.follow.child.replaces == c
}

// noFollowUp answers IKE_FOLLOWUP_KE that nothing is known of.
func (s *step) noFollowUp(inbound) {
	s.refuse(&ike.NotifyError{Type: ike.NotifyStateNotFound})
}

// followUpRequest answers one additional key exchange.
func (s *step) followUpRequest(in inbound) {
	f := s.follow
	link, _ := in.Notify(ike.NotifyAdditionalKeyExchange)
	if f == nil || subtle.ConstantTimeCompare(link.Data, f.link) != 1 {
		s.noFollowUp(in)
		return
	}
	ke, _ := in.KE()
	k := f.left[0]
	if ke.Group != k.ID || len(ke.Data) != k.Public {
		s.fatal(&ike.NotifyError{Type: ike.NotifyInvalidSyntax, Why: "IKE_FOLLOWUP_KE without the key exchange whose turn it is"})
		return
	}
	s.startJob(ike.AnswerKey{KE: k, Peer: clone(ke.Data)}, func(s *step, result any, err error) {
		if err != nil {
			s.fatal(&ike.NotifyError{Type: ike.NotifyInvalidSyntax, Why: "the peer's additional key exchange: " + err.Error()})
			return
		}
		if s.follow != f || s.state != stateUp { // given up meanwhile
			s.noFollowUp(in)
			return
		}
		s.answerFollowUp(k, result.(ike.Answered))
	})
}

func (s *step) answerFollowUp(k *suite.KE, a ike.Answered) {
	f := s.follow
	f.add(a.Shared)
	ke := wire.KE{Group: k.ID, Data: a.Public}
	if len(f.left) > 0 {
		f.link, f.until = s.random(linkLen), s.now.Add(replacedLife)
		s.respond(ke, wire.NewNotify(ike.NotifyAdditionalKeyExchange, f.link))
		return
	}
	s.follow = nil
	if f.child == nil {
		s.peerRekeys = false
	}
	f.conclude(s, f.shared, ipsec.NewSecret(f.secrets), ke)
}
