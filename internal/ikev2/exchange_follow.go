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

// followUps are the additional key exchanges of a rekeying that we asked for,
// one IKE_FOLLOWUP_KE each, RFC 9370 section 2.2.4:
//
//	HDR, SK {KEi(n), N(ADDITIONAL_KEY_EXCHANGE)} -->
//	<-- HDR, SK {KEr(n), [N(ADDITIONAL_KEY_EXCHANGE)]}
//
// The notify carries the responder's link, by which it knows what goes on.
type followUps struct {
	task    task // that they are part of, which is active
	link    []byte
	left    []*suite.KE
	private suite.Private
	secrets []byte // SK(1) | SK(2) ...
	done    func(s *step, more ipsec.Secret)
	failed  func(s *step, why string) // nothing was agreed on
	broken  func(s *step, err error)  // the peer may hold it for done
}

// next begins the next exchange, or ends with all the secrets.
func (f *followUps) next(s *step) {
	if len(f.left) == 0 {
		f.done(s, ipsec.NewSecret(f.secrets))
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
		s.win.pending.state = "STATE_V2_REKEY_IKE_I1"
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

// expected is the same for a rekeying that the peer asked for. While it is
// under way requests of ours wait for the successor, as peerRekeys says.
type expected struct {
	followUps
	until time.Time
}

// expectFollowUps waits for the additional key exchanges and returns the notify
// that links them to the exchange being answered.
func (s *step) expectFollowUps(left []*suite.KE, done func(*step, ipsec.Secret)) wire.Notify {
	s.follow = &expected{followUps{link: s.random(linkLen), left: left, done: done}, s.now.Add(replacedLife)}
	s.peerRekeys = true
	return wire.NewNotify(ike.NotifyAdditionalKeyExchange, s.follow.link)
}

// dropFollowUps gives up waiting; what was to be replaced stays in use.
func (s *step) dropFollowUps() {
	if s.follow != nil {
		clear(s.follow.secrets)
		s.follow, s.peerRekeys = nil, false
	}
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
	s.follow, s.peerRekeys = nil, false
	s.respond(ke)
	f.done(s, ipsec.NewSecret(f.secrets))
}
