package ikev2

import "cygnet/internal/ike"

// refused takes back a pair of Child SAs of which the data plane did not take
// one. The peer is told, lest it send into the void.
func (s *step) refused(ev ike.Refused) {
	c := s.childByID(ev.ID)
	if c == nil {
		return
	}
	why := &ike.Failure{Reason: ike.ReasonPlane, Why: "the data plane refuses SA " + ev.ID.String() + ": " + ev.Why}
	if c.state == childUp {
		s.deleteChild(c, why)
	} else {
		s.dropChild(c, why, false)
	}
}
