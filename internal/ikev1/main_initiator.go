package ikev1

import (
	"crypto/hmac"
	"errors"
	"fmt"

	"cygnet/internal/ike"
	"cygnet/internal/ikev1/wire"
	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

// Main Mode as its initiator sees it, RFC 2409 sections 5.1 and 5.4:
//
//	HDR, SA, VIDs -->                     MI1
//	<-- HDR, SA, VIDs                     MR1
//	HDR, KE, Ni[, NAT-D, NAT-D] -->       MI2
//	<-- HDR, KE, Nr[, NAT-D, NAT-D]       MR2
//	HDR*, IDii, HASH_I or [CERT,] SIG_I --> MI3
//	<-- HDR*, IDir, HASH_R or [CERT,] SIG_R MR3
//
// CERTREQ goes with MI2 and MR2, and is heeded in any message.

// handshake is what a machine remembers until its ISAKMP SA is established.
type handshake struct {
	trigger   *ipsec.Flow
	offers    []phase1
	saBody    []byte // SAi_b
	ni, nr    []byte
	private   suite.Private
	own, peer half // of the key exchange
	shared    ipsec.Secret
	busy      bool         // a message is being worked on
	refused   *ike.Failure // what an unauthenticated error said
	contact   bool         // the peer sent INITIAL-CONTACT
	asked     bool         // the peer sent CERTREQ
}

// initiate begins.
func (s *step) initiate(ev ike.Initiate) {
	if s.state != stateNew || !s.first {
		return
	}
	s.hs.trigger = ev.Trigger
	s.want(want{conn: s.conn, trigger: ev.Trigger})
	s.begin()
}

func (s *step) begin() {
	c := s.conn
	s.startAt = zeroTime
	s.localID = c.Local.ID
	s.hs.offers = offers1(c)
	if len(methods(c)) == 0 {
		s.fail(&ike.Failure{Reason: ike.ReasonAuth, Why: "cannot initiate: the connection has no way to authenticate both ends by IKEv1"})
		return
	}
	if len(s.hs.offers) == 0 {
		s.fail(&ike.Failure{Reason: ike.ReasonProposal, Why: "cannot initiate: nothing of the connection's IKE proposal exists in IKEv1 (CBC ciphers, MODP and NIST groups)"})
		return
	}
	text := "initiating Main Mode"
	if s.predecessor != nil {
		text += fmt.Sprintf(" to replace #%d", s.predecessor.serial)
	}
	s.note("%s", text)
	sa := offerSA(s.hs.offers)
	s.hs.saBody = sa.Body()
	ps := []wire.Payload{sa}
	for _, v := range ourVendorIDs {
		ps = append(ps, wire.VendorID{Data: []byte(v)})
	}
	s.state = stateMainI1
	s.sendMain(wire.Append(nil, s.header(ike.MainMode, 0), ps...))
	s.enter(stateMainI1)
}

// sendMain sends a message of ours that wants an answer.
func (s *step) sendMain(msg []byte) {
	s.main.pending = s.expect(s.conn, msg, states[s.state].name)
	s.send(msg)
}

// gotMR1 takes the responder's choice. Anybody may have sent it, so one that we
// cannot use is ignored and the wait goes on.
func (s *step) gotMR1(in inbound) {
	sa, _ := in.SA()
	p, err := check1(s.hs.offers, sa)
	if err != nil {
		s.remember(&ike.Failure{Reason: ike.ReasonProposal, Why: "the peer's answer to our first message: " + err.Error(), ByPeer: true})
		return
	}
	s.accepted(in)
	s.spiR, s.chosen = in.SPIr, p
	s.heedRequests(in.Payloads)
	a := abilitiesOf(in.VendorIDs())
	s.natPeerKnows, s.natDraft, s.dpd.peer = a.nat, a.natDraft, a.dpd
	s.state = stateMainI2
	s.hs.busy = true
	s.startJob(ike.MakeKey{KE: p.KE}, func(s *step, result any, err error) {
		if err != nil {
			s.fail(&ike.Failure{Reason: ike.ReasonOther, Why: "cannot make a key: " + err.Error()})
			return
		}
		s.hs.private = result.(suite.Private)
		s.hs.ni = s.random(nonceLen)
		s.hs.own = half{s.hs.private.Public(), s.spiI}
		s.hs.busy = false
		ps := append([]wire.Payload{wire.KE{Data: s.hs.own.public}, wire.Nonce{Data: s.hs.ni}}, s.certRequest()...)
		ps = append(ps, s.natPayloads()...)
		s.sendMain(wire.Append(nil, s.header(ike.MainMode, 0), ps...))
		s.enter(stateMainI2)
	})
}

// gotMR2 finishes the key exchange.
func (s *step) gotMR2(in inbound) {
	ke, _ := in.KE()
	nonce, _ := in.Nonce()
	hs := s.hs
	if len(ke.Data) != s.chosen.KE.Answer {
		s.remember(&ike.Failure{Reason: ike.ReasonProtocol, Why: fmt.Sprintf("the peer's KE has %d octets, %s has %d", len(ke.Data), s.chosen.KE.Name, s.chosen.KE.Answer)})
		return
	}
	hs.busy = true
	s.startJob(ike.FinishKey{Private: hs.private, Peer: clone(ke.Data)}, func(s *step, result any, err error) {
		hs.busy = false
		if err != nil {
			s.remember(&ike.Failure{Reason: ike.ReasonProtocol, Why: "the peer's key exchange: " + err.Error()})
			return
		}
		s.accepted(in)
		s.heedRequests(in.Payloads)
		hs.busy = true
		hs.nr = clone(nonce.Data)
		hs.peer = half{clone(ke.Data), s.spiR}
		hs.shared = result.(ipsec.Secret)
		s.natDetect(in.NATDs())
		s.state = stateMainI3
		s.main.pending = nil
		s.withKeys([]ike.ID{s.conn.Remote.ID}, (*step).sendMI3)
	})
}

// withKeys makes SKEYID and what follows from it, then goes on.
func (s *step) withKeys(remotes []ike.ID, then func(*step)) {
	hs := s.hs
	finish := func(s *step, skeyid ipsec.Secret) {
		if err := s.derive(skeyid); err != nil {
			s.fail(&ike.Failure{Reason: ike.ReasonOther, Why: err.Error()})
			return
		}
		then(s)
	}
	if s.chosen.method != ike.AuthPSK {
		finish(s, skeyidSig(s.chosen.PRF, hs.ni, hs.nr, hs.shared))
		return
	}
	s.startJob(s.sharedKey(s.conn, remotes), func(s *step, result any, err error) {
		if err != nil {
			s.fail(&ike.Failure{Reason: ike.ReasonAuth, Why: "Can't authenticate: " + err.Error()})
			return
		}
		finish(s, result.(ipsec.Secret))
	})
}

func (s *SA) sharedKey(c *ike.Conn, remotes []ike.ID) ike.SharedKeyV1 {
	return ike.SharedKeyV1{Conn: c, PRF: s.chosen.PRF, Local: c.Local.ID, Remotes: remotes, Ni: s.hs.ni, Nr: s.hs.nr}
}

// derive makes the keys, the cipher and Main Mode's first IV.
func (s *SA) derive(skeyid ipsec.Secret) error {
	hs := s.hs
	i, r := hs.own, hs.peer
	if !s.first {
		i, r = r, i
	}
	s.keys = deriveKeys(s.chosen.PRF, skeyid, hs.shared, s.spiI, s.spiR)
	hs.shared.Wipe()
	b, err := s.keys.block(s.chosen.Chosen)
	if err != nil {
		return err
	}
	s.block = b
	s.iv = mainIV(s.chosen.PRF, i.public, r.public, b.BlockSize())
	return nil
}

// ourHash is what proves us, peersHash what proves the peer with that ID
// payload.
func (s *SA) ourHash(id wire.ID) []byte {
	return authHash(s.chosen.PRF, s.keys.id, s.hs.own, s.hs.peer, s.hs.saBody, id.Body())
}

func (s *SA) peersHash(id wire.ID) []byte {
	return authHash(s.chosen.PRF, s.keys.id, s.hs.peer, s.hs.own, s.hs.saBody, id.Body())
}

// prove makes the payloads that prove us, then goes on with them.
func (s *step) prove(hash []byte, then func(*step, []wire.Payload)) {
	if s.chosen.method == ike.AuthPSK {
		then(s, []wire.Payload{wire.HASH{Data: hash}})
		return
	}
	s.startJob(ike.ProveV1{Conn: s.conn, Hash: hash, Asked: s.hs.asked}, func(s *step, result any, err error) {
		if err != nil {
			s.fail(&ike.Failure{Reason: ike.ReasonAuth, Why: err.Error()})
			return
		}
		sig := result.(ike.Signature)
		then(s, append(certPayloads(sig.Certs), wire.SIG{Data: sig.Data}))
	})
}

// sendMI3 says who we are. With a NAT on the way it goes to port 4500.
func (s *step) sendMI3() {
	id := wire.NewID(s.localID)
	s.prove(s.ourHash(id), func(s *step, proof []wire.Payload) {
		ps := append([]wire.Payload{id}, proof...)
		if s.cfg.UseInitialContact != nil && s.predecessor == nil && s.cfg.UseInitialContact(s.conn) {
			ps = append(ps, wire.NewNotify(wire.ProtoISAKMP, ike.NotifyV1InitialContact, cookiesOf(s.spiI, s.spiR), nil))
		}
		if s.encap {
			s.float()
		}
		msg, iv := wire.Seal(nil, s.header(ike.MainMode, 0), s.block, s.iv, ps...)
		s.iv = iv
		s.hs.busy = false
		s.sendMain(msg)
		s.enter(stateMainI3)
	})
}

// gotMR3 checks who answered. With a pre-shared key the HASH proves the whole
// message; a signature needs a job.
func (s *step) gotMR3(in inbound) {
	id := in.IDs()[0]
	peer := id.Identity()
	if why := badIdentity(id); why != "" {
		s.remember(&ike.Failure{Reason: ike.ReasonAuth, Why: why})
		return
	}
	if s.chosen.method == ike.AuthPSK {
		h, _ := in.HASH()
		if !hmac.Equal(h.Data, s.peersHash(id)) {
			s.remember(&ike.Failure{Reason: ike.ReasonAuth, Why: fmt.Sprintf("the HASH of peer '%s' is wrong", peer)})
			return
		}
		s.initiatorUp(in, peer)
		return
	}
	if !s.conn.Remote.ID.Admits(peer) {
		s.wrongPeer(in, peer)
		return
	}
	sig, _ := in.SIG()
	s.hs.busy = true
	s.startJob(ike.VerifyV1{
		Conn: s.conn, Hash: s.peersHash(id), Remote: peer, Signature: clone(sig.Data), Certs: certsOf(in.Payloads), Now: s.cfg.Wall.At(s.now),
	}, func(s *step, result any, err error) {
		s.hs.busy = false
		v, ok := result.(ike.Verified)
		if err != nil || !ok || !v.Proves(peer) {
			s.unproven(in, &ike.Failure{Reason: ike.ReasonAuth, Why: unverified(peer, err), Notify: ike.NotifyV1InvalidSignature})
			return
		}
		s.proved(v)
		s.initiatorUp(in, peer)
	})
}

// unverified is the classic line about a signature that is not the peer's.
func unverified(peer ike.ID, err error) string {
	switch {
	case errors.Is(err, ike.ErrWrongKey):
		return fmt.Sprintf("Signature check (on '%s') failed (%v)", peer, err)
	case err != nil:
		return err.Error()
	}
	return fmt.Sprintf("Signature check (on '%s') failed", peer)
}

// wrongPeer is an answer of somebody else than the connection names.
func (s *step) wrongPeer(in inbound, peer ike.ID) {
	want := s.conn.Remote.ID
	s.unproven(in, &ike.Failure{
		Reason: ike.ReasonAuth, Notify: ike.NotifyV1InvalidIDInformation, Ours: want.String(), Theirs: peer.String(),
		Why:    fmt.Sprintf("we require peer to have ID '%s', but peer declares '%s'", want, peer),
		Detail: ike.Detail{Declared: peer, Expected: []ike.ID{want}},
	})
}

// unproven ends an attempt in which the responder did not prove to be whom we
// want. It holds the ISAKMP SA for established and is told.
func (s *step) unproven(in inbound, why *ike.Failure) {
	s.iv = in.iv // the last block of the peer's Main Mode
	s.tell(wire.NewNotify(wire.ProtoISAKMP, why.Notify, cookiesOf(s.spiI, s.spiR), nil),
		wire.NewDelete(wire.ProtoISAKMP, cookiesOf(s.spiI, s.spiR)))
	s.fail(why)
}

func (s *step) initiatorUp(in inbound, peer ike.ID) {
	if !s.conn.Remote.ID.Admits(peer) {
		s.wrongPeer(in, peer)
		return
	}
	s.accepted(in)
	s.iv = in.iv
	s.main.pending, s.main.reply = nil, nil
	s.remoteID = peer
	s.note("Peer ID is %s", idText(peer))
	s.up()
}

// remember keeps the reason why an answer was of no use, for the day that
// nothing better has come. It is said once.
func (s *step) remember(why *ike.Failure) {
	if s.hs.refused == nil {
		s.hs.refused = why
		s.report(ike.Note{Text: "ignored an answer of the peer: " + why.Why, Serious: true})
	}
}

// badIdentity says why an ID payload of Main Mode cannot name anybody, or
// nothing. Protocol and port are 0 or those of IKE, freeswan.md 6.1.
func badIdentity(id wire.ID) string {
	ike4500 := id.Proto == 17 && (id.Port == portIKE || id.Port == portNATT || id.Port == 0)
	if (id.Proto != 0 || id.Port != 0) && !ike4500 {
		return fmt.Sprintf("protocol/port in Phase 1 ID Payload must be 0/0 or 17/500 but are %d/%d", id.Proto, id.Port)
	}
	if err := id.Identity().Check(); err != nil {
		return "the peer's " + err.Error()
	}
	return ""
}

// idText is like ID_FQDN: '@east', with FreeS/WAN's names of the kinds.
func idText(id ike.ID) string {
	names := map[ike.IDKind]string{
		ike.IDIPv4: "ID_IPV4_ADDR", ike.IDFQDN: "ID_FQDN", ike.IDUser: "ID_USER_FQDN",
		ike.IDIPv6: "ID_IPV6_ADDR", ike.IDDN: "ID_DER_ASN1_DN", ike.IDKeyID: "ID_KEY_ID",
	}
	return fmt.Sprintf("%s: '%s'", names[id.Kind], id)
}
