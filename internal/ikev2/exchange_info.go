package ikev2

import (
	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

// infoRequest answers INFORMATIONAL, RFC 7296 section 1.4. An empty one asks
// whether we live.
//
//	--> HDR, SK {[N,] [D,] ...}
//	<-- HDR, SK {[D]}
func (s *step) infoRequest(in inbound) {
	if _, ok := in.Notify(ike.NotifyAuthenticationFailed); ok {
		// 2.21.2: the initiator does not accept who we are.
		s.respond()
		s.end(&ike.Failure{Reason: ike.ReasonAuth, Why: "the peer does not accept our authentication", Notify: ike.NotifyAuthenticationFailed, ByPeer: true}, true)
		return
	}
	if deletesIKE(in.Payloads) {
		s.respond()
		s.peerDeletes()
		return
	}
	s.claim()
	s.takeAuthLifetime(in.Payloads)
	s.redirectedLater(in.Payloads)
	if s.mobike && !s.began && says(in.Payloads, ike.NotifyUpdateSAAddresses) {
		s.updateRequest(in)
		return
	}
	answer := append(s.deleteChildren(in.Payloads), s.pathReply(in)...)
	if s.takeToken(in.Payloads) {
		answer = append(answer, s.ourToken()...)
	}
	s.respond(answer...)
}

func deletesIKE(ps wire.Payloads) bool {
	for _, d := range ps.Deletes() {
		if d.Protocol == suite.ProtoIKE {
			return true
		}
	}
	return false
}

// peerDeletes ends the IKE SA at the peer's request. If the peer's rekeying of
// it crossed ours, its successor goes on (RFC 7296, 2.25.2).
func (s *step) peerDeletes() {
	if t, ok := s.active.(*rekeyTask); ok && t.rival != nil {
		t.lose(s)
	}
	s.end(nil, true)
}

// deleteChildren drops the pairs that the peer deletes and returns the Delete
// payloads of our half. A pair that we are deleting ourselves is left out
// (RFC 7296, 1.4.1), and so are SPIs that we do not know.
func (s *step) deleteChildren(ps wire.Payloads) []wire.Payload {
	var esp, ah []ipsec.SPI
	for _, d := range ps.Deletes() {
		for _, spi := range d.SPIs {
			c := s.childByPeer(d.Protocol, spi)
			if c == nil {
				s.stillborn(spi)
				continue
			}
			s.peerDeletesChild(c)
			if c.state == childClosing {
				continue
			}
			if d.Protocol == suite.ProtoAH {
				ah = append(ah, c.in.SPI)
			} else {
				esp = append(esp, c.in.SPI)
			}
		}
	}
	var out []wire.Payload
	if len(esp) > 0 {
		out = append(out, wire.Delete{Protocol: suite.ProtoESP, SPIs: esp})
	}
	if len(ah) > 0 {
		out = append(out, wire.Delete{Protocol: suite.ProtoAH, SPIs: ah})
	}
	return out
}

// peerDeletesChild drops one pair. If the peer has rekeyed it, its Delete says
// that the successor may be used.
func (s *step) peerDeletesChild(c *child) {
	s.rivalGone(c)
	if c.state != childUp {
		s.useSuccessor(c)
	}
	s.dropChild(c, nil, true)
}

// probeTask is a liveness check: any answer will do, RFC 7296 section 2.4. It
// brings our token of crash detection along, so that the IKE SAs which replace
// each other have theirs, and so that the check is longer than what a peer
// without state answers.
//
//	HDR, SK {[N(QCD_TOKEN)]} -->
//	<-- HDR, SK {[N(QCD_TOKEN)]}
type probeTask struct{ tell bool }

func (t *probeTask) begin(s *step) {
	ps := s.ourToken()
	if s.watchesPath() {
		ps = append(ps, s.natNotifies(s.spiR)...)
	}
	s.request(ike.Informational, ps...)
}

func (t *probeTask) answer(s *step, ps wire.Payloads) {
	s.finish(t)
	if t.tell {
		s.report(ike.Alive{})
	}
	s.takeToken(ps)
	if s.watchesPath() {
		s.sees(ps)
	}
}

func (t *probeTask) abandon(*step, *ike.Failure) {}

// probe asks for a liveness check, unless the peer has something to answer
// already.
func (s *step) probe() {
	if s.state == stateUp && s.active == nil && s.win.pending == nil && len(s.tasks) == 0 {
		s.queue(&probeTask{})
	}
}
