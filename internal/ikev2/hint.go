package ikev2

import (
	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
)

// hint takes a message in the clear with the SPIs of an established IKE SA.
// INVALID_IKE_SPI or INVALID_SPI in it may come from a peer that has lost its
// state, or from anybody. It proves nothing (RFC 7296, 2.4 and 2.21.4) and is
// worth one liveness check in a while, in which silence or an answer tells
// (trust.md section 5).
func (s *step) hint(in inbound) {
	m, err := wire.Parse(in.msg)
	if err != nil || m.Encrypted() || s.reborn(m.Payloads) || s.state != stateUp {
		return
	}
	_, ikeSPI := m.Notify(ike.NotifyInvalidIKESPI)
	_, spi := m.Notify(ike.NotifyInvalidSPI)
	if (ikeSPI || spi) && s.hints.Take(s.now, 1, hintsPerSec) {
		s.probe()
	}
}

// clear reports a message that pretends to no protection: its first payload is
// neither SK nor SKF.
func (in inbound) clear() bool {
	return in.Next != ike.PayloadSK && in.Next != ike.PayloadSKF
}
