package ikev2

import (
	"net/netip"

	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
)

// Opportunistic encryption, as far as a responder's exchanges know of it: who
// calls is known by what the DNS says, and gets no more than one pair of hosts
// that the DNS says it may speak for (opportunistic.md 5, steps 3 to 7).

// stranger is what an IKE SA with a stranger knows of it.
type stranger struct {
	proof   ike.Proof
	refused *ike.Failure // why the newest request for a Child SA is not granted
	granted *ike.Conn    // the flow of that request
}

// strangers is the PAD, if it knows of strangers and this IKE SA is with one.
func (s *SA) strangers() ike.Strangers {
	if s.conn == nil || s.conn.Stranger == nil {
		return nil
	}
	p, _ := s.cfg.PAD.(ike.Strangers)
	return p
}

// instantiate makes the connection of the peer, which has proved itself, out of
// the template that it was met by.
func (s *step) instantiate() *ike.Conn {
	if p := s.strangers(); p != nil {
		return p.Admit(s.conn, s.remote, s.remoteID, s.stranger.proof)
	}
	return s.cfg.PAD.Instantiate(s.conn, s.remote, s.remoteID)
}

// vouched goes on with then once it is known whether a stranger may speak for
// the host that it wants to protect, and we for ours. Who speaks for itself
// alone is known by the exchange, for its answers went there; who is behind a NAT
// may only mean the NAT's address (10.5).
func (s *step) vouched(ps wire.Payloads, then func(*step)) {
	s.stranger.refused, s.stranger.granted = nil, nil
	if s.strangers() == nil {
		then(s)
		return
	}
	pair, ok := s.askedPair(ps)
	if !ok {
		s.stranger.refused = &ike.Failure{Reason: ike.ReasonTS, Why: "the peer asks for nets, of which strangers get single hosts only"}
		then(s)
		return
	}
	job := ike.Vouch{Conn: s.conn, Peer: s.remoteID, Addr: s.remote.Addr(), Proof: s.stranger.proof}
	if pair.Remote != s.remote.Addr().Unmap() {
		job.Client = pair.Remote
	}
	if pair.Local != s.local.Addr().Unmap() {
		job.Ours = pair.Local
	}
	if job.Client == (netip.Addr{}) && job.Ours == (netip.Addr{}) {
		then(s)
		return
	}
	s.startJob(job, func(s *step, _ any, err error) {
		if err != nil {
			s.stranger.refused = &ike.Failure{Reason: ike.ReasonTS, Why: err.Error()}
		}
		then(s)
	})
}

func (s *step) askedPair(ps wire.Payloads) (ike.Pair, bool) {
	tsi, _ := ps.TSi()
	tsr, _ := ps.TSr()
	return ike.HostPair(tsr.Selectors, tsi.Selectors, s.local.Addr(), s.remote.Addr())
}

// grant lists the one connection that a stranger may use for the Child SA it
// asks for; none, if it may not have it.
func (s *step) grant(p ike.Strangers, ps wire.Payloads) []*ike.Conn {
	pair, ok := s.askedPair(ps)
	if s.stranger.refused != nil || !ok {
		return nil
	}
	c, why := p.Grant(s.conn, pair, s.stranger.proof)
	if c == nil {
		s.stranger.refused = why
		return nil
	}
	s.stranger.granted = c
	return []*ike.Conn{c}
}
