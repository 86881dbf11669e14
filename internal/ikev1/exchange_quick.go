package ikev1

import (
	"fmt"
	"slices"
	"strings"

	"cygnet/internal/ike"
	"cygnet/internal/ikev1/wire"
	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

// Quick Mode, RFC 2409 section 5.5:
//
//	HDR*, HASH(1), SA, Ni[, KE][, IDci, IDcr] -->     QI1
//	<-- HDR*, HASH(2), SA, Nr[, KE][, IDci, IDcr]     QR1
//	HDR*, HASH(3) -->                                 QI2
//
// The responder installs its inbound SA before it sends QR1 and its outbound
// one when QI2 has come; the initiator installs both before it sends QI2
// (freeswan.md 6.4).

// begins starts a Quick Mode of ours.
func (s *step) begins(w want) {
	if w.old != nil && (w.old.replaced || s.childWhere(func(c *child) bool { return c == w.old }) == nil) {
		w.old.rekeying = false
		return // gone, or replaced by the peer
	}
	q := &quick{serial: s.cfg.NextSerial(), first: true, conn: w.conn, old: w.old, trigger: w.trigger}
	if why := s.prepare(q); why != nil {
		if q.old != nil {
			q.old.rekeying = false
		}
		s.reportOf(q.conn, q.serial, ike.Failed{Why: why, Child: true})
		return
	}
	q.id = s.newMessageID()
	q.iv = phase2IV(s.chosen.PRF, s.iv, q.id)
	q.ni = s.random(nonceLen)
	s.quicks = append(s.quicks, q)
	text := "initiating Quick Mode " + s.policyText(q)
	if q.old != nil {
		text += fmt.Sprintf(" to replace #%d", q.old.serial)
	}
	s.reportOf(q.conn, q.serial, ike.Note{Text: text + fmt.Sprintf(" {using isakmp#%d}", s.serial)})
	if q.terms.group == nil {
		s.sendQI1(q, nil)
		return
	}
	s.startJob(ike.MakeKey{KE: q.terms.group}, func(s *step, result any, err error) {
		if s.quickByMessage(q.id) != q {
			return
		}
		if err != nil {
			s.quickFailed(q, &ike.Failure{Reason: ike.ReasonOther, Why: "cannot make a key: " + err.Error()})
			return
		}
		q.private = result.(suite.Private)
		s.sendQI1(q, q.private.Public())
	})
}

// prepare fills in what we ask for.
func (s *step) prepare(q *quick) *ike.Failure {
	c := q.conn
	if len(c.ESP) == 0 || len(choices(c, espOrAH(c.ESP))) == 0 || len(c.AH) > 0 && len(choices(c, ipsec.AH)) == 0 {
		return &ike.Failure{Reason: ike.ReasonProposal, Why: "the connection has no ESP or AH proposal that exists in IKEv1"}
	}
	if len(c.AH) > 0 && !s.cfg.Bundles {
		return &ike.Failure{Reason: ike.ReasonPlane, Why: "the data plane has no AH around ESP"}
	}
	if s.encap && hasAH(c) {
		return &ike.Failure{Reason: ike.ReasonPlane, Why: ike.AHThroughNAT}
	}
	want, err := s.sidesWanted(q)
	if err != nil {
		return &ike.Failure{Reason: ike.ReasonTS, Why: "cannot initiate: " + err.Error()}
	}
	if c.Mode == ipsec.Transport && !want.within(s.hosts()) {
		return &ike.Failure{Reason: ike.ReasonTS, Why: "cannot initiate: transport mode is for the two hosts themselves, not for " + want.String()}
	}
	q.sides = want
	q.terms = terms{
		mode: c.Mode, udp: s.encap, group: s.pfsGroup(c),
		life: lifeOf(c.ChildLife, defaultESP), kilobytes: (c.LifeBytes + 1023) / 1024,
	}
	for _, p := range bundle(c, c.Compress && s.cfg.Bundles) {
		q.parts = append(q.parts, part{proto: p})
	}
	if err := s.reserve(q.parts); err != nil {
		q.parts = nil
		return &ike.Failure{Reason: ike.ReasonPlane, Why: err.Error()}
	}
	return nil
}

// sidesWanted are the sides of a new pair; a replaced one keeps its own.
func (s *step) sidesWanted(q *quick) (sides, error) {
	if q.old != nil {
		return q.old.sides, nil
	}
	want, err := s.sidesOf(q.conn)
	if err == nil && len(want.selectors()) == 0 {
		err = fmt.Errorf("%s comes to no usable selector", want)
	}
	return want, err
}

// policyText is FreeS/WAN's word for what is asked for, such as
// RSASIG+ENCRYPT+TUNNEL+PFS+UP.
func (s *SA) policyText(q *quick) string {
	words := []string{"RSASIG"}
	if s.chosen.method == ike.AuthPSK {
		words[0] = "PSK"
	}
	for _, w := range []struct {
		proto ipsec.Proto
		word  string
	}{{ipsec.ESP, "ENCRYPT"}, {ipsec.AH, "AUTHENTICATE"}, {ipsec.Comp, "COMPRESS"}} {
		if slices.ContainsFunc(q.parts, func(p part) bool { return p.proto == w.proto }) {
			words = append(words, w.word)
		}
	}
	if q.terms.mode == ipsec.Tunnel {
		words = append(words, "TUNNEL")
	}
	if q.terms.group != nil {
		words = append(words, "PFS")
	}
	if !q.conn.Rekey {
		words = append(words, "DONTREKEY")
	}
	return strings.Join(append(words, "UP"), "+")
}

// sendQI1 sends the request.
func (s *step) sendQI1(q *quick, public []byte) {
	ps := []wire.Payload{s.offers2(q.conn, q.parts, q.terms), wire.Nonce{Data: q.ni}}
	if public != nil {
		ps = append(ps, wire.KE{Data: public})
	}
	ids, err := s.clientIDs(q.sides)
	if err != nil {
		s.quickFailed(q, &ike.Failure{Reason: ike.ReasonTS, Why: "cannot initiate: " + err.Error()})
		return
	}
	for _, id := range ids {
		q.ids = append(q.ids, byteID(id.Body()))
		ps = append(ps, id)
	}
	ps = append(ps, s.originals(q.terms, true)...)
	msg := s.sealQuick(q, s.hash1(q.id, wire.AppendPayloads(nil, ps...)), ps...)
	q.state = quickOpen
	q.pending = s.expect(q.conn, msg, quickI1.Name)
	s.send(msg)
	s.reportOf(q.conn, q.serial, quickI1)
}

// sealQuick makes the next message of a Quick Mode and moves its chain on.
func (s *SA) sealQuick(q *quick, hash []byte, ps ...wire.Payload) []byte {
	msg, iv := wire.Seal(nil, s.header(ike.QuickMode, q.id), s.block, q.iv, append([]wire.Payload{wire.HASH{Data: hash}}, ps...)...)
	q.iv = iv
	return msg
}

// receiveQuick takes a message of Quick Mode.
func (s *step) receiveQuick(in inbound, msg []byte) {
	if !s.protected() || in.MessageID == 0 { // V1-16
		return
	}
	s.noteCommit(in.Header)
	q := s.quickByMessage(in.MessageID)
	if q == nil {
		s.receiveQI1(in, msg)
		return
	}
	if in.digest == q.seen {
		if q.reply != nil && q.replays.Take(s.now, replayBurst, replayPerSec) {
			s.sendTo(in.local, in.remote, q.reply)
		}
		return
	}
	switch q.state {
	case quickOpen:
		if s.open(&in, msg, q.iv) && wire.Quick.Check(in.Payloads, s.natDraft) == nil &&
			in.hashIs(s.hash2(q.id, q.ni, in.after)) {
			s.heard(in)
			s.gotQR1(q, in)
		}
	case quickWaits:
		if s.open(&in, msg, q.iv) && wire.QuickLast.Check(in.Payloads, s.natDraft) == nil &&
			in.hashIs(s.hash3(q.id, q.ni, q.nr)) {
			s.heard(in)
			s.confirmed(q)
			q.seen = in.digest
		}
	}
}

// gotQR1 checks the responder's choice.
func (s *step) gotQR1(q *quick, in inbound) {
	sa, _ := in.SA()
	nonce, _ := in.Nonce()
	ke, hasKE := in.KE()
	parts, t, err := s.check2(q.conn, q.parts, q.terms, sa)
	reason := ike.ReasonProposal
	switch {
	case err != nil:
	case hasKE != (t.group != nil), hasKE && len(ke.Data) != t.group.Answer:
		reason, err = ike.ReasonProtocol, fmt.Errorf("the peer's answer has a KE payload that does not fit")
	case !sameIDs(q.ids, in.IDs()):
		reason, err = ike.ReasonTS, fmt.Errorf("the peer's answer has other client IDs")
	}
	if err != nil {
		s.rejectQR1(q, &ike.Failure{Reason: reason, Why: "the answer to our Quick Mode message: " + err.Error()})
		return
	}
	// A repetition of QR1 is answered with QI2 from now on.
	q.seen, q.iv, q.pending = in.digest, in.iv, nil
	q.state = quickMaking
	q.nr, q.oas = clone(nonce.Data), in.NATOAs()
	if len(parts) < len(q.parts) { // no compression after all
		s.remove(ipsec.SAID{Dst: s.local.Addr(), Proto: q.parts[0].proto, SPI: q.parts[0].in})
	}
	q.parts, q.terms = parts, t
	if n, ok := in.Notify(ike.NotifyV1ResponderLifetime); ok {
		q.terms.hear(n)
	}
	if !hasKE {
		s.sendQI2(q)
		return
	}
	s.startJob(ike.FinishKey{Private: q.private, Peer: clone(ke.Data)}, func(s *step, result any, err error) {
		if s.quickByMessage(q.id) != q {
			return
		}
		if err != nil {
			s.rejectQR1(q, &ike.Failure{Reason: ike.ReasonProtocol, Why: "the peer's key exchange: " + err.Error()})
			return
		}
		q.shared = result.(ipsec.Secret)
		s.sendQI2(q)
	})
}

// hear takes the lifetime that a responder says it will really keep, RFC 2407
// section 4.6.3.1.
func (t *terms) hear(n wire.Notify) {
	// Attributes are encoded as in a transform.
	a, ok := wire.ParseAttrs(n.Data)
	if !ok {
		return
	}
	var h asked2
	var typ uint64
	for _, at := range a {
		v, ok := at.Number()
		switch {
		case !ok:
		case at.Type == attr2LifeType:
			typ = v
		case at.Type == attr2Life && h.readLife(typ, v) == nil:
			t.life, t.kilobytes = shorter(t.life, h.life), lesser(t.kilobytes, h.kilobytes)
		}
	}
}

// rejectQR1 ends a Quick Mode whose answer we cannot live with. The responder
// waits for QI2 and gives up by itself; the notification tells it why.
func (s *step) rejectQR1(q *quick, why *ike.Failure) {
	s.tell(wire.NewNotify(q.parts[len(q.parts)-1].protocol(), ike.NotifyV1NoProposalChosen, spiOctets(q.parts[len(q.parts)-1].proto, q.parts[len(q.parts)-1].in), nil))
	s.quickFailed(q, why)
}

func sameIDs(ours []byteID, theirs []wire.ID) bool {
	if len(ours) != len(theirs) {
		return false
	}
	for i, id := range theirs {
		if byteID(id.Body()) != ours[i] {
			return false
		}
	}
	return true
}

// sendQI2 installs both directions and says that the responder may use them.
func (s *step) sendQI2(q *quick) {
	s.install(q, ipsec.In)
	s.install(q, ipsec.Out)
	msg := s.sealQuick(q, s.hash3(q.id, q.ni, q.nr))
	q.reply = msg
	s.send(msg)
	s.childUp(q)
	s.done(q)
}
