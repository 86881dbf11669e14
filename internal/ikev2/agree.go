package ikev2

import (
	"errors"

	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

// no is why a responder refuses a Child SA: what it answers and what it says
// at home.
type no struct {
	*ike.NotifyError
	why *ike.Failure
}

func refuseWith(notify uint16, f *ike.Failure) *no {
	f.Notify = notify
	return &no{&ike.NotifyError{Type: notify, Why: f.Why}, f}
}

// agree is the responder's choice for a Child SA that the peer asks for: a
// connection, traffic selectors, mode and algorithms. conns are those the peer
// may use; old is the pair to be replaced, if any; auth says that the request
// is IKE_AUTH, which has no key exchange of its own.
func (s *step) agree(ps wire.Payloads, conns []*ike.Conn, old *child, auth bool) (*agreement, *no) {
	sa, _ := ps.SA()
	tsi, _ := ps.TSi()
	tsr, _ := ps.TSr()
	_, transport := ps.Notify(ike.NotifyUseTransportMode)
	asked := sides{local: tsr.Selectors, remote: tsi.Selectors}
	if len(asked.local) == 0 || len(asked.remote) == 0 {
		return nil, refuseWith(ike.NotifyTSUnacceptable, &ike.Failure{Reason: ike.ReasonTS, Why: "the peer asks for traffic selectors that match nothing"})
	}
	seen := asked
	if transport {
		seen = s.natOriginal(asked)
	}
	c, got, mode := s.match(conns, old, seen, transport)
	if c == nil {
		return nil, s.noTS(conns, old, asked, transport)
	}
	a := &agreement{conn: c, sides: got, asked: asked, mode: mode, replaces: old, comp: cpis{out: askedComp(ps)}, noTFC: refusesTFC(ps)}
	if no := a.choose(c, sa.Proposals, ps, auth); no != nil {
		return nil, no
	}
	if s.encap && a.proto() == ipsec.AH {
		return nil, refuseWith(ike.NotifyNoProposalChosen, &ike.Failure{Reason: ike.ReasonProposal, Why: ike.AHThroughNAT})
	}
	var ok bool
	if a.selectors, ok = got.selectors(); !ok {
		return nil, refuseWith(ike.NotifyTSUnacceptable, &ike.Failure{Reason: ike.ReasonTS, Why: "the traffic selectors come to no usable set of prefixes", Theirs: asked.String()})
	}
	return a, nil
}

// match finds the connection that fits best: one of the mode that the peer
// wishes for, then one with room for the packet that the peer put first, then
// one that grants all that was asked, then one that comes out whole, then the
// first in line.
func (s *SA) match(conns []*ike.Conn, old *child, asked sides, transport bool) (best *ike.Conn, got sides, mode ipsec.Mode) {
	if old != nil {
		// RFC 7296, 2.9.2: a rekeyed pair keeps its selectors.
		if !old.sides.within(asked) || transport != (old.mode == ipsec.Transport) {
			return nil, got, mode
		}
		return old.conn, old.sides, old.mode
	}
	top := -1
	for _, c := range conns {
		// Transport mode is a wish of the initiator that we need not grant; a
		// connection that is about transport mode needs it (1.3.1).
		if c.Mode == ipsec.Transport && !transport {
			continue
		}
		want := s.wants(c)
		sub, ok := narrow(c, want, asked)
		if !ok {
			continue
		}
		score := 0
		for _, good := range []bool{transport == (c.Mode == ipsec.Transport), sub.first(asked), sub.equal(asked), sub.equal(want)} {
			score *= 2
			if good {
				score++
			}
		}
		if score > top {
			top, best, got, mode = score, c, sub, c.Mode
		}
	}
	return best, got, mode
}

// noTS says what differed when no connection matched.
func (s *SA) noTS(conns []*ike.Conn, old *child, asked sides, transport bool) *no {
	f := &ike.Failure{Reason: ike.ReasonTS, Theirs: asked.String()}
	f.Detail.Theirs = ike.TSPair{Local: asked.local, Remote: asked.remote}
	nearest := -1
	switch {
	case old != nil:
		f.Ours = old.sides.String()
		f.Why = "the peer asks to rekey with other traffic selectors: " + f.Theirs + ", in use is " + f.Ours
	case s.stranger.refused != nil:
		f.Why = s.stranger.refused.Why
	default:
		for i, c := range conns {
			if i > 0 {
				f.Ours += "; "
			}
			want := s.wants(c)
			f.Ours += want.String()
			if n := want.nearness(asked); n > nearest {
				nearest, f.Detail.Ours = n, ike.TSPair{Local: want.local, Remote: want.remote}
			}
			if c.Mode == ipsec.Transport && !transport {
				f.Ours += " (transport mode)"
			}
		}
		f.Why = "cannot respond to IPsec SA request because no connection is known for " + f.Theirs + "; ours: " + f.Ours
	}
	return refuseWith(ike.NotifyTSUnacceptable, f)
}

// choose picks the algorithms, and the group with PFS. The group of the KE
// payload wins if it is acceptable at all; otherwise INVALID_KE_PAYLOAD names
// another, RFC 7296 section 1.3.
func (a *agreement) choose(c *ike.Conn, theirs []suite.Offer, ps wire.Payloads, auth bool) *no {
	ours := c.ESP
	if auth {
		ours, theirs = withoutKE(ours, theirs)
	}
	ke, hasKE := ps.KE()
	if !auth && hasKE {
		// A connection without pfs=yes still grants it to a peer that wants
		// it, in a group that is good enough for the IKE SA.
		for _, list := range [][]suite.Proposal{onlyGroup(ours, ours, ke.Group), onlyGroup(ours, c.IKE, ke.Group)} {
			if chosen, o, err := suite.Select(list, theirs); err == nil && chosen.KE != nil {
				a.group, a.peerPublic = chosen.KE, ke.Data
				return a.settle(chosen, o)
			}
		}
	}
	chosen, o, err := suite.Select(ours, theirs)
	if err != nil {
		return refuseWith(ike.NotifyNoProposalChosen, mismatchFailure("no acceptable "+protocolOf(c).String()+" proposal", err))
	}
	if chosen.KE != nil {
		n := refuseWith(ike.NotifyInvalidKEPayload, &ike.Failure{Reason: ike.ReasonProposal, Why: "asked the peer for key exchange " + chosen.KE.Name})
		n.Data = groupOctets(chosen.KE)
		return n
	}
	return a.settle(chosen, o)
}

// protocolOf is what protects the packets of a connection, ESP or AH.
func protocolOf(c *ike.Conn) suite.Protocol {
	if len(c.ESP) > 0 && c.ESP[0].Protocol == suite.ProtoAH {
		return suite.ProtoAH
	}
	return suite.ProtoESP
}

func (a *agreement) settle(chosen suite.Chosen, o suite.Offer) *no {
	spi, err := checkSPI(o.SPI)
	if err != nil {
		return refuseWith(ike.NotifyInvalidSyntax, &ike.Failure{Reason: ike.ReasonProtocol, Why: "the request's " + err.Error()})
	}
	a.chosen, a.number, a.spiOut = chosen, o.Number, spi
	return nil
}

func withoutKE(ours []suite.Proposal, theirs []suite.Offer) (o []suite.Proposal, t []suite.Offer) {
	for _, p := range theirs {
		t = append(t, p.WithoutKE())
	}
	return suite.WithoutKE(ours), t
}

// onlyGroup returns ours with the one group as key exchange, if any of allowed
// has it.
func onlyGroup(ours, allowed []suite.Proposal, group uint16) []suite.Proposal {
	var ke *suite.KE
	for _, p := range allowed {
		for _, k := range p.KE {
			if k.ID == group {
				ke = k
			}
		}
	}
	if ke == nil {
		return nil
	}
	var only []suite.Proposal
	for _, p := range ours {
		p.KE = []*suite.KE{ke}
		only = append(only, p)
	}
	return only
}

func groupOctets(k *suite.KE) []byte { return []byte{byte(k.ID >> 8), byte(k.ID)} }

// mismatchFailure says in which algorithms two sides differ.
func mismatchFailure(what string, err error) *ike.Failure {
	f := &ike.Failure{Reason: ike.ReasonProposal, Why: what + ": " + err.Error()}
	if m, ok := errors.AsType[*suite.Mismatch](err); ok {
		f.Ours, f.Theirs, f.Detail.Algorithms = m.OursText(), m.TheirsText(), m
	}
	return f
}

// natOriginal is what the peer's selectors mean on our side of a NAT in
// transport mode, RFC 7296 section 2.23.1: a host stands for the address that
// its packets really have here.
func (s *SA) natOriginal(asked sides) sides {
	swap := func(list []ipsec.TS, nat bool, a ipsec.TS) []ipsec.TS {
		if !nat || len(list) == 0 || list[0].Start != list[0].End || list[0].Start.Is4() != a.Start.Is4() {
			return list
		}
		var out []ipsec.TS
		for _, t := range list {
			t.Start, t.End = a.Start, a.End
			out = appendBox(out, t)
		}
		return out
	}
	return sides{
		local:  swap(asked.local, s.natLocal, hostTS(s.local.Addr(), 0, 0, true)),
		remote: swap(asked.remote, s.natRemote, hostTS(s.remote.Addr(), 0, 0, true)),
	}
}

// reply is the child's part of a response: SAr2, [Nr, [KEr,]] TSi, TSr and
// notifies. nonce is empty in IKE_AUTH.
func (a *agreement) reply(nonce, public []byte) []wire.Payload {
	ps := []wire.Payload{wire.SA{Proposals: []suite.Offer{a.chosen.Offer(a.number, spiOctets(a.spiIn))}}}
	if nonce != nil {
		ps = append(ps, wire.Nonce{Data: nonce})
	}
	if a.group != nil {
		ps = append(ps, wire.KE{Group: a.group.ID, Data: public})
	}
	answer := a.sides
	if a.mode == ipsec.Transport && !answer.within(a.asked) {
		answer = a.asked // 2.23.1: the peer gets its own addresses back
	}
	ps = append(ps, wire.NewTSi(answer.remote), wire.NewTSr(answer.local))
	if a.mode == ipsec.Transport {
		ps = append(ps, wire.NewNotify(ike.NotifyUseTransportMode, nil))
	}
	if a.comp != (cpis{}) {
		ps = append(ps, notifyComp(a.comp.in))
	}
	return appendNoTFC(ps, a.conn)
}

// admit gives an agreement its SPI and serial number.
func (s *step) admit(a *agreement) *no {
	spi, err := s.reserve(a.proto())
	if err != nil {
		return refuseWith(ike.NotifyNoAdditionalSAs, &ike.Failure{Reason: ike.ReasonPlane, Why: "the data plane gives no SPI: " + err.Error()})
	}
	a.spiIn, a.at, a.serial = spi, s.local.Addr(), s.cfg.NextSerial()
	s.grantComp(a)
	return nil
}
