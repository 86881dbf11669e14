package ikev1

import (
	"crypto/hmac"
	"fmt"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ikev1/wire"
	"cygnet/internal/ipsec"
)

// Main Mode as its responder sees it. The gate has answered MI1 and made this
// machine when MI2 came back with the right cookie.

// newResponder makes the machine for a greeting whose initiator is proven to be
// where it says.
func newResponder(cfg *Config, g *greeting, in inbound) *SA {
	s := newSA(cfg, g.conn, in.local, in.remote)
	s.spiI, s.spiR = g.spiI, g.spiR
	s.chosen = g.choice
	s.natPeerKnows, s.natDraft, s.dpd.peer = g.can.nat, g.can.natDraft, g.can.dpd
	s.localID = g.conn.Local.ID
	s.hs = &handshake{saBody: g.saBody}
	return s
}

// answerMI2 computes the responder's half and answers.
//
//	--> HDR, KE, Ni[, NAT-D, NAT-D]
//	<-- HDR, KE, Nr[, NAT-D, NAT-D]
func (s *step) answerMI2(in inbound, giveUp time.Time) {
	s.note("responding to Main Mode")
	s.enter(stateMainR1)
	s.giveUp = giveUp
	s.accepted(in)
	s.heedRequests(in.Payloads)
	ke, _ := in.KE()
	nonce, _ := in.Nonce()
	hs := s.hs
	hs.busy = true
	hs.ni = clone(nonce.Data)
	hs.peer = half{clone(ke.Data), s.spiI}
	s.startJob(ike.AnswerKey{KE: s.chosen.KE, Peer: hs.peer.public}, func(s *step, result any, err error) {
		if err != nil {
			s.fail(&ike.Failure{Reason: ike.ReasonProtocol, Why: "the peer's key exchange: " + err.Error()})
			return
		}
		k := result.(ike.Answered)
		hs.own, hs.shared, hs.nr = half{k.Public, s.spiR}, k.Shared, s.random(nonceLen)
		s.natDetect(in.NATDs())
		s.withKeys(s.guesses(), func(s *step) {
			ps := append([]wire.Payload{wire.KE{Data: hs.own.public}, wire.Nonce{Data: hs.nr}}, s.certRequest()...)
			ps = append(ps, s.natPayloads()...)
			hs.busy = false
			s.answerMain(wire.Append(nil, s.header(ike.MainMode, 0), ps...))
			s.enter(stateMainR2)
		})
	})
}

// guesses are the identities under which to look for the pre-shared key of a
// peer that has not said who it is (freeswan.md 3.4, R6.5): whom the
// connection names that belongs to its address, or the address itself. A
// template belongs to no address, so there the address goes first.
func (s *SA) guesses() []ike.ID {
	addr, named := ike.IDOfAddr(s.remote.Addr()), s.conn.Remote.ID
	switch {
	case named.Kind == ike.IDNone:
		return []ike.ID{addr}
	case s.conn.Template:
		return []ike.ID{addr, named}
	}
	return []ike.ID{named, addr}
}

// answerMain sends the answer to the message being worked on, to where that
// came from, and keeps it for those who ask again.
func (s *step) answerMain(msg []byte) {
	s.main.reply = msg
	s.send(msg)
}

// gotMI3 checks who is calling.
//
//	--> HDR*, IDii, HASH_I or [CERT,] SIG_I
//	<-- HDR*, IDir, HASH_R or [CERT,] SIG_R
func (s *step) gotMI3(in inbound) {
	id := in.IDs()[0]
	if why := badIdentity(id); why != "" {
		s.noteLimited("%s", why)
		return
	}
	peer := id.Identity()
	if s.chosen.method == ike.AuthPSK {
		h, _ := in.HASH()
		if !hmac.Equal(h.Data, s.peersHash(id)) {
			s.noteLimited("the HASH of peer '%s' is wrong", peer)
			return
		}
		s.gotPeer(in, peer)
		return
	}
	// Whose key is it? The connections that admit the identity say. Nothing is
	// proven yet, so a wrong one is not final: the job decides.
	c, why := s.caller(peer)
	if c == nil {
		s.gotStranger(in, why)
		return
	}
	sig, _ := in.SIG()
	s.heedRequests(in.Payloads)
	s.hs.busy = true
	s.startJob(ike.VerifyV1{
		Conn: c, Hash: s.peersHash(id), Remote: peer, Signature: clone(sig.Data), Certs: certsOf(in.Payloads), Now: s.cfg.Wall.At(s.now),
	}, func(s *step, result any, err error) {
		s.hs.busy = false
		v, ok := result.(ike.Verified)
		if err != nil || !ok || !v.Proves(peer) {
			s.gotStranger(in, &ike.Failure{Reason: ike.ReasonAuth, Why: unverified(peer, err), Notify: ike.NotifyV1AuthenticationFailed})
			return
		}
		s.conn = c
		s.proved(v)
		s.responderUp(in, peer)
	})
}

// gotPeer is reached when the pre-shared key is proven: the connection must
// admit the identity, or another with the same key must (freeswan.md 6.8).
func (s *step) gotPeer(in inbound, peer ike.ID) {
	c, why := s.caller(peer)
	if c == nil {
		s.gotStranger(in, why)
		return
	}
	if c == s.conn {
		s.responderUp(in, peer)
		return
	}
	s.hs.busy = true
	s.startJob(s.sharedKey(c, []ike.ID{peer, ike.IDOfAddr(s.remote.Addr())}), func(s *step, result any, err error) {
		s.hs.busy = false
		skeyid, ok := result.(ipsec.Secret)
		if err != nil || !ok || !skeyid.Equal(s.keys.id) {
			s.gotStranger(in, &ike.Failure{
				Reason: ike.ReasonAuth, Notify: ike.NotifyV1InvalidIDInformation, Theirs: peer.String(),
				Why: fmt.Sprintf("connection %q of peer '%s' has another pre-shared key than %q, which its address led to", c.Name, peer, s.conn.Name),
			})
			return
		}
		s.conn = c
		s.responderUp(in, peer)
	})
}

// caller finds the connection of a peer by its identity, the method and the
// algorithms chosen while only addresses were known. The one chosen then is
// preferred.
func (s *step) caller(peer ike.ID) (*ike.Conn, *ike.Failure) {
	why := &ike.Failure{Reason: ike.ReasonAuth, Notify: ike.NotifyV1InvalidIDInformation, Theirs: peer.String(), Why: fmt.Sprintf("no suitable connection for peer '%s'", peer), Detail: s.expects(peer)}
	var found *ike.Conn
	for _, c := range s.cfg.PAD.Identified(s.local.Addr(), s.remote.Addr(), peer, ike.ID{}) {
		switch {
		case c.Version != ike.Version1:
		case allows1(c, s.chosen) != nil:
			why.Why = fmt.Sprintf("connection %q of peer '%s': %v", c.Name, peer, allows1(c, s.chosen))
		case c == s.conn:
			return c, nil
		case found == nil:
			found = c
		}
	}
	return found, why
}

// gotStranger refuses a peer. It can decrypt our answer, so that is protected;
// whoever has the wrong pre-shared key never gets here and hears nothing
// (V1-06).
func (s *step) gotStranger(in inbound, why *ike.Failure) {
	s.accepted(in)
	s.iv = in.iv
	s.reportOf(nil, s.serial, ike.Failed{Why: why})
	s.state = stateRefused
	s.local, s.remote = in.local, in.remote
	s.answerMain(s.sealInfo(wire.NewNotify(wire.ProtoISAKMP, why.Notify, cookiesOf(s.spiI, s.spiR), nil)))
	s.giveUp = s.now.Add(lingerLife)
}

// responderUp answers with our own proof and establishes the ISAKMP SA. The
// peer's message is the first that is proven, so it says where the peer is:
// behind a NAT that has moved it, or on port 4500.
func (s *step) responderUp(in inbound, peer ike.ID) {
	s.accepted(in)
	s.iv = in.iv
	s.remoteID = peer
	s.localID = s.conn.Local.ID
	_, s.hs.contact = in.Notify(ike.NotifyV1InitialContact)
	s.note("Peer ID is %s", idText(peer))
	id := wire.NewID(s.localID)
	s.hs.busy = true
	s.prove(s.ourHash(id), func(s *step, proof []wire.Payload) {
		s.hs.busy = false
		s.local, s.remote = in.local, in.remote
		msg, iv := wire.Seal(nil, s.header(ike.MainMode, 0), s.block, s.iv, append([]wire.Payload{id}, proof...)...)
		s.iv = iv
		s.conn = s.cfg.PAD.Instantiate(s.conn, s.remote, peer)
		s.answerMain(msg)
		s.up()
	})
}
