package ikev2

import (
	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
)

// Who is under attack may ask for the solution of a puzzle beside its cookie
// (RFC 8019, 4.4). We solve none: whoever can forge an answer could have us
// compute, and a gateway has better things to do. As RFC 8019 has it for who does
// not know puzzles, the cookie alone is returned (7.1.2); the responder then
// serves us as it can, after those who have worked for it.

// puzzled remembers, and says once, that a puzzle came with a cookie.
func (s *step) puzzled(ps wire.Payloads) {
	if s.hs.puzzled || !says(ps, ike.NotifyPuzzle) {
		return
	}
	s.hs.puzzled = true
	s.report(ike.Note{Text: s.remote.String() + " asks for the solution of a puzzle (unauthenticated); returning its cookie alone", Serious: true})
}

// unsolved is why nobody answered after that.
func unsolved() *ike.Failure {
	return &ike.Failure{Reason: ike.ReasonSilent, Notify: ike.NotifyPuzzle, ByPeer: true,
		Why: "the peer, under load, asks for the solution of a puzzle (RFC 8019), which is not computed here, and did not answer to its cookie alone: try again later"}
}
