package ikev2

import (
	"errors"
	"net/netip"
	"slices"

	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
	"cygnet/internal/ipsec"
	"cygnet/internal/octet"
	"cygnet/internal/suite"
)

// offer is a Child SA as its initiator asks for it, in IKE_AUTH or
// CREATE_CHILD_SA.
type offer struct {
	conn      *ike.Conn
	serial    uint32
	spi       ipsec.SPI
	cpi       ipsec.SPI  // 0: no compression is asked for
	at        netip.Addr // where SPI and CPI were reserved
	proposals []suite.Proposal
	sides     sides
	mode      ipsec.Mode
	nonce     []byte // IKE_AUTH has none of its own: that of IKE_SA_INIT
	group     *suite.KE
	tried     []*suite.KE
	replaces  *child
}

var (
	errNoESP = errors.New("the connection has no ESP proposal")
	errNoTS  = errors.New("the connection has no traffic selectors of its own")
)

// newOffer prepares to ask for a Child SA of c. In IKE_AUTH there is no key
// exchange; a rekeyed pair keeps its traffic selectors and mode.
func (s *step) newOffer(c *ike.Conn, trigger *ipsec.Flow, old *child, auth bool) (*offer, error) {
	switch {
	case len(c.ESP) == 0:
		return nil, errNoESP
	case s.encap && protocolOf(c) == suite.ProtoAH:
		return nil, errors.New(ike.AHThroughNAT)
	}
	o := &offer{conn: c, mode: c.Mode, replaces: old, proposals: c.ESP}
	if old != nil {
		o.sides, o.mode = old.sides, old.mode
	} else {
		o.sides = s.wants(c).withTrigger(trigger)
	}
	if len(o.sides.local) == 0 || len(o.sides.remote) == 0 {
		return nil, errNoTS
	}
	if auth {
		o.proposals = suite.WithoutKE(c.ESP)
	} else if ke := c.ESP[0].KE; len(ke) > 0 {
		o.group = ke[0]
	}
	spi, err := s.reserve(protoOf(protocolOf(c)))
	if err != nil {
		return nil, err
	}
	o.spi, o.at, o.serial = spi, s.local.Addr(), s.cfg.NextSerial()
	s.wantComp(o)
	return o, nil
}

// release gives the SPI and CPI of an offer that came to nothing back.
func (s *step) release(o *offer) {
	s.remove(ipsec.SAID{Dst: o.at, Proto: protoOf(o.proposals[0].Protocol), SPI: o.spi})
	s.returnCPI(o)
}

// sa is the SA payload of proposals, numbered from 1.
func saPayload(ps []suite.Proposal, spi []byte) wire.SA {
	var sa wire.SA
	for i, p := range ps {
		sa.Proposals = append(sa.Proposals, p.Offer(uint8(i+1), spi))
	}
	return sa
}

func spiOctets(spi ipsec.SPI) []byte { return octet.AppendUint32(nil, uint32(spi)) }

// payloads are the child's part of a request: SAi2, [Ni, [KEi,]] TSi, TSr and
// notifies.
func (o *offer) payloads(public []byte) []wire.Payload {
	ps := []wire.Payload{saPayload(o.proposals, spiOctets(o.spi))}
	if o.nonce != nil {
		ps = append(ps, wire.Nonce{Data: o.nonce})
	}
	if o.group != nil {
		ps = append(ps, wire.KE{Group: o.group.ID, Data: public})
	}
	ps = append(ps, wire.NewTSi(o.sides.local), wire.NewTSr(o.sides.remote))
	if o.mode == ipsec.Transport {
		ps = append(ps, wire.NewNotify(ike.NotifyUseTransportMode, nil))
	}
	if o.cpi != 0 {
		ps = append(ps, notifyComp(o.cpi))
	}
	return appendNoTFC(ps, o.conn)
}

// otherGroup takes the group that INVALID_KE_PAYLOAD names. It must be one we
// offered and did not try yet, or a peer could lead us round in circles.
func otherGroup(proposals []suite.Proposal, tried []*suite.KE, data []byte) *suite.KE {
	if len(data) != 2 {
		return nil
	}
	want := octet.NewReader(data).Uint16()
	for _, p := range proposals {
		for _, k := range p.KE {
			if k.ID == want && !slices.Contains(tried, k) {
				return k
			}
		}
	}
	return nil
}

// refusal is an answer that we cannot live with.
type refusal struct {
	why       *ike.Failure
	malformed bool // the peer broke the protocol: the IKE SA ends
}

func broken(why string) *refusal {
	return &refusal{&ike.Failure{Reason: ike.ReasonProtocol, Why: why, Notify: ike.NotifyInvalidSyntax}, true}
}

// accept checks the responder's answer to an offer. ni and nr are the nonces of
// the exchange.
func (s *step) accept(o *offer, ps wire.Payloads, ni, nr []byte) (*agreement, *refusal) {
	sa, hasSA := ps.SA()
	tsi, hasTS := ps.TSi()
	tsr, _ := ps.TSr()
	if !hasSA || !hasTS {
		return nil, broken("the response has neither a Child SA nor an error")
	}
	spi, err := checkSPI(sa.Proposals[0].SPI)
	if err != nil {
		return nil, broken("the response's " + err.Error())
	}
	chosen, err := suite.Check(o.proposals, sa.Proposals[0])
	if err != nil {
		return nil, &refusal{why: &ike.Failure{Reason: ike.ReasonProposal, Why: "the peer chose what we did not offer: " + err.Error()}}
	}
	comp, r := o.acceptedComp(ps)
	if r != nil {
		return nil, r
	}
	a := &agreement{
		comp: comp, conn: o.conn, chosen: chosen, spiIn: o.spi, at: o.at, spiOut: spi, initiator: true, serial: o.serial,
		ni: ni, nr: nr, replaces: o.replaces, mode: ipsec.Tunnel, noTFC: refusesTFC(ps),
		sides: sides{local: tsi.Selectors, remote: tsr.Selectors},
	}
	if _, ok := ps.Notify(ike.NotifyUseTransportMode); ok && o.mode == ipsec.Transport {
		a.mode = ipsec.Transport
	}
	if chosen.KE != nil {
		ke, ok := ps.KE()
		if !ok || chosen.KE != o.group || ke.Group != o.group.ID {
			return nil, broken("the response's key exchange is not the one that was chosen")
		}
		a.group, a.peerPublic = o.group, ke.Data
	}
	if r := s.acceptable(o, a); r != nil {
		return nil, r
	}
	if a.comp == (cpis{}) {
		s.returnCPI(o)
	}
	return a, nil
}

// acceptable checks the policy: RFC 7296, 2.9 allows the responder to take
// less than was asked for, never more or other.
func (s *step) acceptable(o *offer, a *agreement) *refusal {
	no := func(r ike.Reason, why string) *refusal {
		return &refusal{why: &ike.Failure{Reason: r, Why: why, Ours: o.sides.String(), Theirs: a.sides.String()}}
	}
	var ok bool
	switch {
	case a.mode != o.mode:
		return no(ike.ReasonTS, "the peer does not agree to "+o.mode.String()+" mode")
	case len(a.sides.local) == 0 || len(a.sides.remote) == 0 || !a.sides.within(o.sides):
		return no(ike.ReasonTS, "the peer answered with traffic selectors that we did not ask for")
	case o.replaces != nil && !o.replaces.sides.within(a.sides):
		// 2.9.2: what is in use must not shrink.
		return no(ike.ReasonTS, "the peer wants to narrow the traffic selectors on rekeying")
	}
	if a.selectors, ok = a.sides.selectors(); !ok {
		return no(ike.ReasonTS, "the traffic selectors come to no usable set of prefixes")
	}
	return nil
}

// reasonOf is the coarse reason behind an error notify.
func reasonOf(notify uint16) ike.Reason {
	switch notify {
	case ike.NotifyNoProposalChosen, ike.NotifyInvalidKEPayload:
		return ike.ReasonProposal
	case ike.NotifyAuthenticationFailed:
		return ike.ReasonAuth
	case ike.NotifyTSUnacceptable, ike.NotifySinglePairRequired:
		return ike.ReasonTS
	}
	return ike.ReasonProtocol
}

// refusedBy is the failure that a peer's error notify means.
func refusedBy(n wire.Notify, what string) *ike.Failure {
	return &ike.Failure{
		Reason: reasonOf(n.Kind), Notify: n.Kind, ByPeer: true,
		Why: "the peer refuses " + what + ": " + ike.NotifyName(n.Kind),
	}
}

// childFailed reports that an offer came to nothing while the IKE SA lives.
func (s *step) childFailed(o *offer, why *ike.Failure) {
	s.release(o)
	s.reportOf(o.conn, o.serial, ike.Failed{Why: why, Child: true})
}

// reject deals with an answer that accept refused: the peer holds a Child SA
// for established that we do not have, so it is deleted.
func (s *step) reject(o *offer, r *refusal) {
	s.childFailed(o, r.why)
	if r.malformed {
		s.close(r.why)
		return
	}
	s.queue(&deleteTask{protocol: o.proposals[0].Protocol, spi: o.spi})
}
