package ikev1

import "cygnet/internal/ike"

// childLost replaces a pair whose SAs have vanished from the data plane: it
// carries nothing any more, and the peer does not know. A rekeying makes a new one
// at once and ends this one at both ends. Where the connection has none, the pair
// is deleted, so that the peer at least knows.
func (s *step) childLost(c *child) {
	s.note("the data plane has lost IPsec SA #%d", c.serial)
	if c.mayRekey {
		s.rekeyChild(c)
		return
	}
	s.deleteChild(c, &ike.Failure{Reason: ike.ReasonPlane, Why: "the data plane has lost the IPsec SA"})
}
