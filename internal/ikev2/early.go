package ikev2

import "cygnet/internal/ike"

// A responder is done when it answers IKE_AUTH, and may delete the IKE SA before
// the initiator has that answer: the user takes it down, or both ends have
// initiated at once and it is the surplus one. If the initiator got the answer
// after the Delete was given up, it would hold an IKE SA with nobody. So the
// initiator takes a Delete while it waits, and the responder goes on telling for
// as long as the initiator asks.

// earlyRequest takes a request that is protected by the keys of IKE_SA_INIT while
// the answer to our IKE_AUTH is not here. Who sent it has not proven who it is:
// a Delete ends the attempt, which whoever has those keys could do by any error in
// place of the answer. Everything else is as good as lost and comes again.
func (s *step) earlyRequest(in inbound) {
	if !deletesIKE(in.Payloads) {
		s.win.busy = false
		return
	}
	s.respond()
	s.end(&ike.Failure{Reason: ike.ReasonDeleted, Why: "the peer deleted the IKE SA before its answer to IKE_AUTH came", ByPeer: true}, true)
}

// answerAgain repeats our last answer. An initiator that has not had the one to
// IKE_AUTH holds an IKE SA that we are deleting for established from now on, and
// gets the whole time to hear of it.
func (s *step) answerAgain(in inbound) {
	s.goesOn()
	s.replay(in.way())
	if p := s.win.pending; p != nil && s.state == stateClosing && s.win.exchange == ike.Auth && p.count < maxByes {
		p.giveUp = s.now.Add(byeTotal)
	}
}
