package ikev2

import (
	"errors"
	"slices"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
	"cygnet/internal/ipsec"
	"cygnet/internal/octet"
	"cygnet/internal/suite"
)

// rekeyTask replaces the IKE SA, RFC 7296 sections 1.3.2 and 2.18:
//
//	HDR, SK {SA, Ni, KEi} -->
//	<-- HDR, SK {SA, Nr, KEr}
type rekeyTask struct {
	group   *suite.KE
	tried   []*suite.KE
	private suite.Private
	spi     uint64
	nonce   []byte
	sent    bool
	tries   int
	rival   *rival     // the peer rekeys this IKE SA as well
	more    *followUps // additional key exchanges, once they have begun
}

// rekeyIKE asks for the replacement of the IKE SA, unless that is coming. One that
// the peer has made while our own rekeying was under way has yet to be chosen: if
// it were replaced first, two IKE SAs would hand over to one.
func (s *step) rekeyIKE() {
	if s.predecessor != nil {
		return
	}
	if _, ok := s.active.(*rekeyTask); ok {
		return
	}
	for _, w := range s.tasks {
		if _, ok := w.task.(*rekeyTask); ok {
			return
		}
	}
	s.queue(&rekeyTask{})
}

func (t *rekeyTask) begin(s *step) {
	if s.state != stateUp {
		s.finish(t)
		return
	}
	t.group, t.tried, t.more = s.chosen.KE, nil, nil
	t.exchangeKeys(s)
}

func (t *rekeyTask) exchangeKeys(s *step) {
	t.sent = false
	t.spi, t.nonce = s.newSPI(), s.random(nonceLen)
	t.tried = append(t.tried, t.group)
	s.startJob(ike.MakeKey{KE: t.group}, func(s *step, result any, err error) {
		if s.active != t {
			return
		}
		if err != nil {
			t.failed(s, &ike.Failure{Reason: ike.ReasonOther, Why: "cannot make a key: " + err.Error()})
			return
		}
		t.private = result.(suite.Private)
		t.send(s)
	})
}

func (t *rekeyTask) send(s *step) {
	t.sent = true
	s.request(ike.CreateChild,
		saPayload(s.conn.IKE, octet.AppendUint64(nil, t.spi)),
		wire.Nonce{Data: t.nonce},
		wire.KE{Group: t.group.ID, Data: t.private.Public()})
	s.win.pending.state = "STATE_V2_REKEY_IKE_I1"
	s.report(ike.State{Code: codeRekeyI, Name: "STATE_V2_REKEY_IKE_I1", Text: "sent CREATE_CHILD_SA request to rekey IKE SA"})
}

const codeRekeyI = 141

func (t *rekeyTask) answer(s *step, ps wire.Payloads) {
	if n, bad := ps.Failure(); bad {
		t.refused(s, n)
		return
	}
	if t.more != nil {
		t.more.answer(s, ps)
		return
	}
	chosen, spi, err := t.check(s, ps)
	if err != nil {
		t.rejected(s, err)
		return
	}
	nonce, _ := ps.Nonce()
	ke, _ := ps.KE()
	nr := clone(nonce.Data)
	s.startJob(ike.FinishKey{Private: t.private, Peer: clone(ke.Data)}, func(s *step, result any, err error) {
		if s.active != t {
			return
		}
		if err != nil {
			t.rejected(s, err)
			return
		}
		shared := result.(ipsec.Secret)
		if len(chosen.Additional()) == 0 {
			t.complete(s, chosen, spi, nr, shared, ipsec.Secret{})
			return
		}
		t.follow(s, ps, chosen, shared, func(s *step, shared, more ipsec.Secret) { t.complete(s, chosen, spi, nr, shared, more) })
	})
}

// follow begins the additional key exchanges. The old IKE SA stays in use until
// they are done, and if they come to nothing.
func (t *rekeyTask) follow(s *step, ps wire.Payloads, c suite.Chosen, shared ipsec.Secret, done func(s *step, shared, more ipsec.Secret)) {
	link, ok := ps.Notify(ike.NotifyAdditionalKeyExchange)
	if !ok {
		t.rejected(s, errNoLink)
		return
	}
	t.more = &followUps{
		task: t, state: "STATE_V2_REKEY_IKE_I1", link: clone(link.Data), left: c.Additional(), shared: shared,
		done: done, broken: t.rejected,
		failed: func(s *step, why string) { t.failed(s, &ike.Failure{Reason: ike.ReasonOther, Why: why}) },
	}
	t.more.next(s)
}

// check looks at the peer's choice.
func (t *rekeyTask) check(s *step, ps wire.Payloads) (suite.Chosen, uint64, error) {
	sa, _ := ps.SA()
	chosen, err := suite.Check(s.conn.IKE, sa.Proposals[0])
	if err != nil {
		return chosen, 0, err
	}
	spi, err := ikeSPI(sa.Proposals[0])
	if err != nil {
		return chosen, 0, err
	}
	ke, _ := ps.KE()
	nonce, _ := ps.Nonce()
	if chosen.KE != t.group || ke.Group != t.group.ID {
		return chosen, 0, errGroup
	}
	return chosen, spi, checkNonce(chosen.PRF, nonce.Data)
}

var (
	errGroup          = errors.New("the key exchange is not the one that was chosen")
	errNoIntermediate = errors.New("additional key exchanges were chosen without INTERMEDIATE_EXCHANGE_SUPPORTED")
	errNoSPI          = errors.New("no SPI for the new IKE SA")
)

func ikeSPI(o suite.Offer) (uint64, error) {
	if len(o.SPI) != 8 {
		return 0, errNoSPI
	}
	spi := octet.NewReader(o.SPI).Uint64()
	if spi == 0 {
		return 0, errNoSPI
	}
	return spi, nil
}

// refused deals with an error notify.
func (t *rekeyTask) refused(s *step, n wire.Notify) {
	if t.rival != nil {
		t.lose(s)
		return
	}
	switch n.Kind {
	case ike.NotifyInvalidKEPayload:
		if k := otherGroup(s.conn.IKE, t.tried, n.Data); k != nil {
			t.group = k
			t.exchangeKeys(s)
			return
		}
	case ike.NotifyTemporaryFailure:
		if t.tries++; t.tries <= maxRetries && !s.deleteWanted {
			s.later(t, t.tries)
			return
		}
	}
	t.failed(s, refusedBy(n, "to rekey the IKE SA"))
}

// rejected ends the IKE SA: the peer holds a successor for established that we
// cannot use.
func (t *rekeyTask) rejected(s *step, err error) {
	s.finish(t)
	s.close(&ike.Failure{Reason: ike.ReasonProtocol, Why: "rekeying of the IKE SA: " + err.Error()})
}

// failed leaves the IKE SA as it is; its lifetime ends it.
func (t *rekeyTask) failed(s *step, why *ike.Failure) {
	s.finish(t)
	s.note("rekeying of the IKE SA failed: %s", why.Why)
	if s.deleteWanted {
		s.close(nil)
		return
	}
	if rest := s.endAt.Sub(s.now) / 2; rest > minRekey {
		s.replaceAt = s.now.Add(rest)
	}
}

func (t *rekeyTask) abandon(*step, *ike.Failure) { t.more.forget() }

// complete makes the successor and settles which of two it is.
func (t *rekeyTask) complete(s *step, chosen suite.Chosen, spi uint64, nr []byte, shared, more ipsec.Secret) {
	n, err := s.heir(chosen, true, t.spi, spi, t.nonce, nr, shared, more)
	if err != nil {
		t.rejected(s, err)
		return
	}
	s.finish(t)
	if t.rival.beats(t.nonce, nr) {
		// RFC 7296, 2.8.2: ours is the redundant one, and ours to close.
		n.tasks = append(n.tasks, waiting{task: &byeTask{}})
		n.state = stateClosing
		n.kick = s.now
		s.emit(ike.Adopt{Machine: n})
		t.lose(s)
		return
	}
	s.handOver(n)
	s.queue(&byeTask{})
	s.startSuccessor()
}

// lose lets the peer's rekeying stand.
func (t *rekeyTask) lose(s *step) {
	if t.concede(s) {
		s.startSuccessor()
	}
}

// concede hands everything to the peer's successor. It returns false, and
// closes this IKE SA, when that one has been closed already.
func (t *rekeyTask) concede(s *step) bool {
	s.finish(t)
	r := t.rival.sa
	t.rival = nil
	for r.successor != nil {
		r = r.successor // it was rekeyed itself meanwhile
	}
	if r.state != stateUp {
		s.close(&ike.Failure{Reason: ike.ReasonProtocol, Why: "the peer has closed what replaces this IKE SA"})
		return false
	}
	s.handOver(r)
	return true
}

// startSuccessor lets the successor begin what waited here, or carry out a
// Delete that came while it was not known which IKE SA would be left.
func (s *step) startSuccessor() {
	var ev ike.Event = ike.TimeUp{}
	if s.deleteWanted {
		s.deleteWanted, ev = false, ike.Delete{Moved: s.moved}
	}
	s.tellSuccessor(ev)
}

// tellSuccessor leaves ev for the successor, and has its Deadline read anew. One
// that has ended before is not brought back.
func (s *step) tellSuccessor(ev ike.Event) {
	if s.successor.state == stateDead {
		if add, ok := ev.(ike.AddChild); ok {
			s.reportOf(add.Conn, s.serial, ike.Failed{Why: &ike.Failure{Reason: ike.ReasonDeleted, Why: "the IKE SA has ended"}})
		}
		return
	}
	s.successor.inbox = append(s.successor.inbox, ev)
	s.successor.kick = s.now
	s.emit(ike.Adopt{Machine: s.successor})
}

// heir is a new IKE SA made by rekeying this one; first says that we asked for
// it. It is established but has no children and was not announced.
func (s *step) heir(c suite.Chosen, first bool, spiI, spiR uint64, ni, nr []byte, shared, more ipsec.Secret) (*SA, error) {
	n := newSA(s.cfg, s.conn, s.local, s.remote)
	n.first, n.state = first, stateUp
	n.spiI, n.spiR = spiI, spiR
	n.localID, n.remoteID = s.localID, s.remoteID
	n.auth = s.auth
	n.peerCerts, n.stranger = s.peerCerts, s.stranger
	n.inheritTCP(s.SA)
	n.natPeerKnows, n.natLocal, n.natRemote, n.encap = s.natPeerKnows, s.natLocal, s.natRemote, s.encap
	n.fragments, n.mobike, n.began = s.fragments, s.mobike, s.began // settled for all that follow
	n.chosen = c
	n.keys = deriveIKE(c, rekeySeed(s.chosen.PRF, s.keys.d, shared, ni, nr, more.Bytes()), ni, nr, spiI, spiR)
	shared.Wipe()
	more.Wipe()
	if err := n.protect(); err != nil {
		return nil, err
	}
	st := &step{SA: n, now: s.now}
	st.ready()
	return n, nil
}

// handOver makes n the successor: it gets the children and whatever waits.
func (s *step) handOver(n *SA) {
	s.dropFollowUps() // of a Child SA: the peer has gone on without it
	n.predecessor = nil
	s.successor = n
	n.children, s.children = append(n.children, s.children...), nil
	n.graves, s.graves = append(n.graves, s.graves...), nil
	n.tasks, s.tasks = append(n.tasks, withoutRekey(s.tasks)...), nil
	n.tasks = append(n.tasks, s.pathWork()...)
	if n.watchesPath() && !n.waits(isMove) {
		n.tasks = append([]waiting{{task: &moveTask{}}}, n.tasks...)
	}
	if n.first && n.cfg.Tokens.has() { // it has to be said anew
		n.tasks = append(n.tasks, waiting{task: &probeTask{}})
	}
	n.giveUp = time.Time{}
	n.isUp = true
	n.virtual, n.leased, s.leased = s.virtual, s.leased, false
	s.enter(stateReplaced)
	s.giveUp = s.now.Add(replacedLife)
	s.emit(ike.Adopt{Machine: n})
	s.reportOf(n.conn, n.serial, ike.IKEUp{
		Local: n.local, Remote: n.remote, LocalID: n.localID, RemoteID: n.remoteID, PeerCerts: n.peerCerts,
		Suite: n.chosen.String(), Encap: n.encap, Stream: n.tcp != tcpNone, MOBIKE: n.mobike, Rekeyed: s.serial,
		Proof: n.stranger.proof, Virtual: n.virtual.Addrs, DNS: n.virtual.DNS, DNSDomains: n.virtual.Domains,
	})
}

// withoutRekey leaves out the wish to replace the IKE SA, which has been done.
func withoutRekey(tasks []waiting) []waiting {
	return slices.DeleteFunc(tasks, func(w waiting) bool {
		_, rekey := w.task.(*rekeyTask)
		return rekey
	})
}

// claim gives a successor that the peer uses what is still with its
// predecessor, which is yet to learn that this one stands.
func (s *step) claim() {
	p := s.predecessor
	if p == nil {
		return
	}
	s.predecessor = nil
	if p.state != stateUp {
		return
	}
	st := &step{SA: p, now: s.now, out: s.out}
	if t, ok := p.active.(*rekeyTask); ok && t.rival != nil && t.rival.sa == s.SA {
		t.concede(st)
		st.emit(ike.Adopt{Machine: p})
	}
	s.out = st.out
}

// rekeyIKERequest answers the peer's wish for a new IKE SA.
//
//	--> HDR, SK {SA, Ni, KEi}
//	<-- HDR, SK {SA, Nr, KEr}
func (s *step) rekeyIKERequest(in inbound) {
	switch s.active.(type) {
	case *createTask, *deleteTask: // RFC 7296, 2.25.2
		s.refuse(&ike.NotifyError{Type: ike.NotifyTemporaryFailure})
		return
	}
	sa, _ := in.SA()
	ke, _ := in.KE()
	nonce, _ := in.Nonce()
	chosen, o, no := chooseIKE(s.conn.IKE, sa.Proposals, ke.Group)
	if no != nil {
		s.refuse(no.NotifyError)
		s.note("refused to rekey the IKE SA: %s", no.why.Why)
		return
	}
	if t, ours := s.active.(*rekeyTask); ours && (len(chosen.Additional()) > 0 || t.more != nil) {
		// 2.8.2 compares the nonces of two rekeyings that are complete. Rather
		// than let two half done ones cross, both try again later.
		s.refuse(&ike.NotifyError{Type: ike.NotifyTemporaryFailure})
		return
	}
	spi, err := ikeSPI(o)
	if err == nil {
		err = checkNonce(chosen.PRF, nonce.Data)
	}
	if err != nil {
		s.fatal(&ike.NotifyError{Type: ike.NotifyInvalidSyntax, Why: err.Error()})
		return
	}
	s.peerRekeys = true
	ni := clone(nonce.Data)
	s.startJob(ike.AnswerKey{KE: chosen.KE, Peer: clone(ke.Data)}, func(s *step, result any, err error) {
		s.peerRekeys = false
		if err != nil {
			s.fatal(&ike.NotifyError{Type: ike.NotifyInvalidSyntax, Why: "the peer's key exchange: " + err.Error()})
			return
		}
		if s.state != stateUp {
			s.refuse(&ike.NotifyError{Type: ike.NotifyTemporaryFailure})
			return
		}
		s.answerRekeyIKE(chosen, o.Number, spi, ni, result.(ike.Answered))
	})
}

func (s *step) answerRekeyIKE(c suite.Chosen, number uint8, spiI uint64, ni []byte, k ike.Answered) {
	spiR, nr := s.newSPI(), s.random(nonceLen)
	answer := []wire.Payload{
		wire.SA{Proposals: []suite.Offer{c.Offer(number, octet.AppendUint64(nil, spiR))}},
		wire.Nonce{Data: nr},
		wire.KE{Group: c.KE.ID, Data: k.Public},
	}
	if left := c.Additional(); len(left) > 0 {
		link := s.expectFollowUps(left, nil, k.Shared, func(s *step, shared, more ipsec.Secret, last wire.KE) {
			s.respond(last)
			if n, err := s.heir(c, false, spiI, spiR, ni, nr, shared, more); err == nil {
				s.inherit(n, lowest(ni, nr))
			}
		})
		s.respond(append(answer, link)...)
		return
	}
	n, err := s.heir(c, false, spiI, spiR, ni, nr, k.Shared, ipsec.Secret{})
	if err != nil {
		s.refuse(&ike.NotifyError{Type: ike.NotifyNoProposalChosen})
		return
	}
	s.respond(answer...)
	s.inherit(n, lowest(ni, nr))
}

// inherit lets the IKE SA that the peer has made take over, or wait if ours is
// under way.
func (s *step) inherit(n *SA, low []byte) {
	t, ours := s.active.(*rekeyTask)
	switch {
	case ours && t.sent:
		// 2.8.2: the nonces of ours will tell which one stands.
		t.rival = &rival{low: low, sa: n}
		n.predecessor = s.SA
		n.giveUp = s.now.Add(replacedLife)
		s.emit(ike.Adopt{Machine: n})
	default:
		if ours {
			s.finish(t) // nobody knows of it yet
		}
		s.handOver(n)
		s.startSuccessor()
	}
}
