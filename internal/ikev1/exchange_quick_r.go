package ikev1

import (
	"fmt"

	"cygnet/internal/ike"
	"cygnet/internal/ikev1/wire"
	"cygnet/internal/ipsec"
)

// receiveQI1 takes the first message of a Quick Mode of the peer.
func (s *step) receiveQI1(in inbound, msg []byte) {
	_, seen := s.used[in.MessageID]
	if seen || len(s.used) >= maxMessageIDs || s.answering() >= maxPeerQuicks || !s.asks.Peek(s.now, requestBurst, requestPerSec) {
		return
	}
	if !s.open(&in, msg, phase2IV(s.chosen.PRF, s.iv, in.MessageID)) {
		return
	}
	if wire.Quick.Check(in.Payloads, s.natDraft) != nil || !in.hashIs(s.hash1(in.MessageID, in.after)) {
		return
	}
	s.asks.Take(s.now, requestBurst, requestPerSec)
	s.remembered(in.MessageID)
	s.heard(in)
	s.gotQI1(in)
}

// answering counts the Quick Modes of the peer that are under way.
func (s *SA) answering() (n int) {
	for _, q := range s.quicks {
		if !q.first && q.state != quickDone {
			n++
		}
	}
	return n
}

// gotQI1 finds out which connection it is about, what both have in common, and
// answers.
func (s *step) gotQI1(in inbound) {
	if s.state == stateReplaced && s.home() != s.SA {
		// The peer still uses the old ISAKMP SA: so be it.
		s.noteLimited("Quick Mode in an ISAKMP SA that was replaced by #%d", s.home().serial)
	}
	nonce, _ := in.Nonce()
	ke, hasKE := in.KE()
	q, no := s.choose(in, hasKE)
	if no == nil && hasKE && len(ke.Data) != q.terms.group.Public {
		no = refuseWith(ike.NotifyV1InvalidKeyInformation, &ike.Failure{Reason: ike.ReasonProtocol, Why: "the peer's KE payload does not fit its group"})
	}
	if no == nil && len(s.home().children) >= maxChildren {
		no = refuseWith(ike.NotifyV1NoProposalChosen, &ike.Failure{Reason: ike.ReasonOther, Why: "too many IPsec SAs"})
	}
	if no == nil {
		if err := s.reserve(q.parts); err != nil {
			no = refuseWith(ike.NotifyV1NoProposalChosen, &ike.Failure{Reason: ike.ReasonPlane, Why: err.Error()})
		}
	}
	if no != nil {
		s.refuseQuick(in, no)
		return
	}
	q.serial, q.id, q.seen = s.cfg.NextSerial(), in.MessageID, in.digest
	q.iv = in.iv
	q.ni, q.nr = clone(nonce.Data), s.random(nonceLen)
	s.quicks = append(s.quicks, q)
	s.reportOf(q.conn, q.serial, ike.Note{Text: fmt.Sprintf("responding to Quick Mode {using isakmp#%d}", s.serial)})
	if !hasKE {
		s.sendQR1(q, in, nil)
		return
	}
	s.startJob(ike.AnswerKey{KE: q.terms.group, Peer: clone(ke.Data)}, func(s *step, result any, err error) {
		if s.quickByMessage(q.id) != q {
			return
		}
		if err != nil {
			s.refuseQuick(in, refuseWith(ike.NotifyV1InvalidKeyInformation, &ike.Failure{Reason: ike.ReasonProtocol, Why: "the peer's key exchange: " + err.Error()}))
			s.release(q)
			s.forgetQuick(q)
			return
		}
		k := result.(ike.Answered)
		q.shared = k.Shared
		s.sendQR1(q, in, k.Public)
	})
}

// no is why a Quick Mode is refused: what is answered and what is said at home.
type no struct {
	notify uint16
	why    *ike.Failure
}

func refuseWith(notify uint16, f *ike.Failure) *no {
	f.Notify = notify
	return &no{notify, f}
}

// refuseQuick answers with a protected notification that names the SPI of what
// was refused, so that the peer knows which of its exchanges is meant.
func (s *step) refuseQuick(in inbound, n *no) {
	sa, _ := in.SA()
	first := sa.Proposals[0]
	s.tell(wire.NewNotify(first.Protocol, n.notify, first.SPI, nil))
	s.report(ike.Failed{Why: n.why, Child: true})
}

// choose is the responder's choice of connection and algorithms, freeswan.md
// 6.8: a connection with exactly these sides, else one that may be asked for
// less (narrowing=yes). What the peer asks for is granted whole.
func (s *step) choose(in inbound, hasKE bool) (*quick, *no) {
	sa, _ := in.SA()
	asked, err := s.asked(in.IDs())
	if err != nil {
		return nil, refuseWith(ike.NotifyV1InvalidIDInformation, &ike.Failure{Reason: ike.ReasonTS, Why: err.Error()})
	}
	var last *no
	var known string
	var nearest *sides
	conns := s.cfg.PAD.Siblings(s.conn)
	for _, exact := range []bool{true, false} {
		for _, c := range conns {
			if c.Version != ike.Version1 || len(c.ESP) == 0 {
				continue
			}
			got := asked
			if c.Mode == ipsec.Transport {
				got = s.natOriginal(asked)
			}
			want, err := s.sidesOf(c)
			if err != nil {
				continue
			}
			if exact {
				known += "; " + want.String()
				if nearest == nil || want.nearness(got) > nearest.nearness(got) {
					nearest = &want
				}
			}
			if exact != want.equal(got) || !exact && !(c.Narrow && got.within(want)) || len(got.selectors()) == 0 {
				continue
			}
			parts, t, err := s.select2(c, sa, hasKE)
			if err != nil {
				last = refuseWith(ike.NotifyV1NoProposalChosen, noProposal(c, sa, err))
				continue
			}
			q := &quick{conn: c, sides: got, parts: parts, terms: t, oas: in.NATOAs()}
			for _, id := range in.IDs() {
				q.ids = append(q.ids, byteID(id.Body()))
			}
			return q, nil
		}
	}
	if last == nil {
		why := &ike.Failure{
			Reason: ike.ReasonTS, Theirs: asked.String(), Ours: trimSemicolon(known),
			Why: "cannot respond to IPsec SA request because no connection is known for " + s.describe(asked),
		}
		if why.Detail.Theirs = asked.pair(); nearest != nil {
			why.Detail.Ours = nearest.pair()
		}
		last = refuseWith(ike.NotifyV1InvalidIDInformation, why)
	}
	return nil, last
}

// noProposal says in what the peer's algorithms differ from c's.
func noProposal(c *ike.Conn, sa wire.SA, err error) *ike.Failure {
	f := &ike.Failure{Reason: ike.ReasonProposal, Why: fmt.Sprintf("no acceptable Proposal in IPsec SA for %q: %v", c.Name, err)}
	if m := mismatch2(c, sa); m != nil {
		f.Ours, f.Theirs, f.Detail.Algorithms = m.OursText(), m.TheirsText(), m
	}
	return f
}

func trimSemicolon(text string) string {
	if len(text) > 2 {
		return text[2:]
	}
	return text
}

// sendQR1 installs the inbound SA and answers. The answer is repeated by our
// own timer as well: an initiator whose QI2 was lost believes to be done.
func (s *step) sendQR1(q *quick, in inbound, public []byte) {
	var sa wire.SA
	for i := len(q.parts) - 1; i >= 0; i-- {
		sa.Proposals = append(sa.Proposals, q.parts[i].reply())
	}
	ps := []wire.Payload{sa, wire.Nonce{Data: q.nr}}
	if public != nil {
		ps = append(ps, wire.KE{Data: public})
	}
	for _, id := range in.IDs() {
		ps = append(ps, id)
	}
	ps = append(ps, s.originals(q.terms, false)...)
	s.install(q, ipsec.In)
	msg := s.sealQuick(q, s.hash2(q.id, q.ni, wire.AppendPayloads(nil, ps...)), ps...)
	q.state, q.reply = quickWaits, msg
	q.pending = s.expect(q.conn, msg, quickR1.Name)
	s.sendTo(in.local, in.remote, msg)
	s.reportOf(q.conn, q.serial, quickR1)
}

// confirmed is reached when the initiator is known to have both SAs: by QI2, or
// because traffic has come.
func (s *step) confirmed(q *quick) {
	s.install(q, ipsec.Out)
	q.reply = nil
	s.childUp(q)
	s.done(q)
}
