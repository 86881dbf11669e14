package ikev1

import (
	"bytes"
	"fmt"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ikev1/wire"
	"cygnet/internal/ipsec"
	"cygnet/internal/octet"
)

// receiveInfo takes an Informational message, RFC 2409 section 5.7:
//
//	HDR*, HASH(1), N/D
//
// In the clear it proves nothing and changes nothing (V1-08); an error in it
// is kept in mind as the likely reason why no better answer comes.
func (s *step) receiveInfo(in inbound, msg []byte) {
	if in.Flags&ike.FlagEncryption == 0 {
		s.infoInClear(in, msg)
		return
	}
	if !s.keyed() || s.state == stateRefused || s.hs != nil && s.hs.busy {
		return
	}
	if _, seen := s.used[in.MessageID]; seen || len(s.used) >= maxMessageIDs { // V1-16
		return
	}
	if !s.asks.Peek(s.now, requestBurst, requestPerSec) {
		return
	}
	if !s.open(&in, msg, phase2IV(s.chosen.PRF, s.iv, in.MessageID)) {
		return
	}
	if wire.Info.Check(in.Payloads, s.natDraft) != nil || !in.hashIs(s.hash1(in.MessageID, in.after)) {
		return
	}
	s.asks.Take(s.now, requestBurst, requestPerSec)
	s.remembered(in.MessageID)
	if s.state == stateMainI3 {
		s.refusedInI3(in)
		return
	}
	s.info(in)
}

func (s *step) infoInClear(in inbound, msg []byte) {
	if s.hs == nil || !s.first || s.hs.busy {
		return
	}
	m, err := wire.Parse(msg)
	if err != nil || wire.InfoClear.Check(m.Payloads, false) != nil {
		return
	}
	n, ok := m.Failure()
	if !ok || s.hs.refused != nil {
		return
	}
	s.report(infoClear)
	s.hs.refused = refusedBy(n, "to negotiate (unauthenticated)", ike.ReasonAuth)
	s.report(ike.Note{Text: fmt.Sprintf("ignoring informational payload, type %s: it is not authenticated, waiting for something better", ike.NotifyNameV1(n.Kind)), Serious: true})
}

// refusedInI3 is the responder's protected word that it does not take us.
func (s *step) refusedInI3(in inbound) {
	if n, ok := in.Failure(); ok {
		s.report(infoProtected)
		s.fail(refusedBy(n, fmt.Sprintf("us, '%s'", s.localID), ike.ReasonAuth))
	}
}

// info acts on a proven message.
func (s *step) info(in inbound) {
	if s.deadPeerDetection(in) {
		return
	}
	s.heard(in)
	for _, p := range in.Payloads {
		switch p := p.(type) {
		case wire.Delete:
			if s.peerDeletes(p) {
				return // the ISAKMP SA is gone, and with it our trust in the rest (V1-12)
			}
		case wire.Notify:
			s.notified(p)
		}
	}
}

// notified acts on a notification.
func (s *step) notified(n wire.Notify) {
	switch {
	case n.Kind == ike.NotifyV1InitialContact:
		s.contacted()
	case n.Error():
		if q := s.quickRefused(n); q != nil {
			s.quickFailed(q, refusedBy(n, "the IPsec SA", ike.ReasonTS))
			return
		}
		fallthrough
	default:
		s.noteLimited("ignoring informational payload, type %s", ike.NotifyNameV1(n.Kind))
	}
}

// quickRefused finds the Quick Mode of ours that an error is about: the one
// that offered its SPI, or the only one there is. Peers put what they like into
// the SPI field.
func (s *SA) quickRefused(n wire.Notify) *quick {
	var open []*quick
	for _, q := range s.quicks {
		if q.state != quickOpen {
			continue
		}
		for _, p := range q.parts {
			if bytes.Equal(n.SPI, spiOctets(p.proto, p.in)) {
				return q
			}
		}
		open = append(open, q)
	}
	if len(open) == 1 {
		return open[0]
	}
	return nil
}

// refusedBy is the failure that a peer's error notification means. badID is the
// reason behind INVALID-ID-INFORMATION: of a peer or of its clients.
func refusedBy(n wire.Notify, what string, badID ike.Reason) *ike.Failure {
	f := &ike.Failure{Reason: ike.ReasonProtocol, Notify: n.Kind, ByPeer: true, Why: "the peer refuses " + what + ": " + ike.NotifyNameV1(n.Kind)}
	switch n.Kind {
	case ike.NotifyV1NoProposalChosen, ike.NotifyV1BadProposalSyntax, ike.NotifyV1AttributesNotSupported, ike.NotifyV1InvalidTransformID:
		f.Reason = ike.ReasonProposal
	case ike.NotifyV1AuthenticationFailed, ike.NotifyV1InvalidSignature, ike.NotifyV1InvalidHashInformation, ike.NotifyV1InvalidKeyInformation,
		ike.NotifyV1PayloadMalformed: // what a peer makes of a message under another pre-shared key
		f.Reason = ike.ReasonAuth
	case ike.NotifyV1InvalidIDInformation:
		f.Reason = badID
	}
	return f
}

// peerDeletes acts on a Delete payload; gone says that it was about the ISAKMP
// SA that carried it. The SPIs may be of any SA with that peer.
func (s *step) peerDeletes(d wire.Delete) (gone bool) {
	for _, spi := range d.SPIs {
		switch {
		case d.Protocol == wire.ProtoISAKMP:
			if s.peerDeletesISAKMP(spi) {
				return true
			}
		case d.Protocol == wire.ProtoESP && len(spi) == 4, d.Protocol == wire.ProtoAH && len(spi) == 4:
			s.peerDeletesChild(protoOf(d.Protocol), ipsec.SPI(octet.NewReader(spi).Uint32()))
		default:
			s.noteLimited("ignoring Delete SA payload: %s with an SPI of %d octets", d.Protocol, len(spi))
		}
	}
	return false
}

func (s *step) peerDeletesISAKMP(cookies []byte) (gone bool) {
	if bytes.Equal(cookies, cookiesOf(s.spiI, s.spiR)) {
		s.note("received Delete SA payload: deleting ISAKMP State #%d", s.serial)
		s.lose(true)
		return true
	}
	for _, o := range s.kin() {
		if o.protected() && bytes.Equal(cookies, cookiesOf(o.spiI, o.spiR)) {
			s.note("received Delete SA payload: deleting ISAKMP State #%d", o.serial)
			o.peerGone = true
			s.wake(o)
			return false
		}
	}
	s.noteLimited("ignoring Delete SA payload: ISAKMP SA not found")
	return false
}

// peerDeletesChild drops a pair, whichever ISAKMP SA it belongs to.
func (s *step) peerDeletesChild(p ipsec.Proto, spi ipsec.SPI) {
	for _, o := range append([]*SA{s.SA}, s.kin()...) {
		for _, c := range o.children {
			if c.hasOut(p, spi) {
				s.in(o).dropChild(c, nil, true)
				return
			}
		}
	}
	s.noteLimited("ignoring Delete SA payload: %s SA(0x%08x) not found (maybe expired)", p, uint32(spi))
}

// Dead peer detection, RFC 3706.
type dpd struct {
	peer   bool   // the peer announced it
	seq    uint32 // of our last R-U-THERE
	begun  bool   // seq is set
	tries  int    // questions without an answer
	again  time.Time
	theirs uint32 // the highest sequence number that the peer has used
	asked  bool
}

// probe asks whether the peer lives, if it knows how to answer:
//
//	HDR*, HASH(1), N(R-U-THERE, cookies, sequence number) -->
func (s *step) probe() {
	if !s.dpd.peer || s.state != stateUp {
		return
	}
	if !s.dpd.begun { // RFC 3706, 7: random, and without its high bit
		s.dpd.begun = true
		s.dpd.seq = octet.NewReader(s.random(4)).Uint32() >> 1
	}
	s.dpd.seq++
	s.dpd.tries++
	s.dpd.again = s.now.Add(dpdRetry)
	s.tell(wire.NewNotify(wire.ProtoISAKMP, ike.NotifyV1RUThere, cookiesOf(s.spiI, s.spiR), octet.AppendUint32(nil, s.dpd.seq)))
}

// deadPeerDetection handles its two notifications; handled says that this was
// one. Wrong cookies and numbers are dropped (V1-11).
func (s *step) deadPeerDetection(in inbound) (handled bool) {
	if n, ok := in.Notify(ike.NotifyV1RUThere); ok {
		seq, ok := s.dpdNumber(n)
		if !ok || s.dpd.asked && seq <= s.dpd.theirs {
			return true
		}
		s.dpd.asked, s.dpd.theirs = true, seq
		s.heard(in)
		s.tell(wire.NewNotify(wire.ProtoISAKMP, ike.NotifyV1RUThereAck, n.SPI, n.Data))
		return true
	}
	if n, ok := in.Notify(ike.NotifyV1RUThereAck); ok {
		if seq, ok := s.dpdNumber(n); ok && s.dpd.begun && s.dpd.tries > 0 && seq == s.dpd.seq {
			s.heard(in)
		}
		return true
	}
	return false
}

func (s *SA) dpdNumber(n wire.Notify) (seq uint32, ok bool) {
	return octet.NewReader(n.Data).Uint32(), len(n.Data) == 4 && bytes.Equal(n.SPI, cookiesOf(s.spiI, s.spiR))
}

// probeAt is when silence calls for a question, or for the next one.
func (s *SA) probeAt() time.Time {
	if s.conn.DPDDelay <= 0 || !s.dpd.peer || s.state != stateUp {
		return time.Time{}
	}
	if s.dpd.tries > 0 {
		return s.dpd.again
	}
	return s.lastHeard.Add(ike.Patience(s.ownSPI(), s.conn.DPDDelay))
}
