package sim

import (
	"encoding/binary"

	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

// tap reads protected messages. It sees every Diffie-Hellman secret, because
// the jobs that make them run here, and every message, and derives the keys by
// itself after RFC 7296 sections 2.14 and 2.18. So the trace shows what was
// said, and a message it cannot read was protected by keys that are wrong.
type tap struct {
	secrets map[string][]byte // initiator's public value and responder's
	sas     map[[2]uint64]*tapped
	opening map[uint64][]*wire.Message // IKE_SA_INIT and IKE_SESSION_RESUME requests by SPIi
	tickets map[string]*tapped         // by what they belong to
}

// tapped is an IKE SA under observation.
type tapped struct {
	encr       suite.EncrChoice
	integ      *suite.Integ
	prf        *suite.PRF
	ni, nr     []byte
	spiI, spiR uint64

	d        []byte
	i, r     wire.SKCipher
	half     *halfRekeyed
	before   *tapped // with the keys before the last IKE_INTERMEDIATE
	requests map[request]wire.Payloads
	pieces   map[request]*pieces
}

// pieces are the fragments of a message that have been seen so far.
type pieces struct {
	next ike.PayloadType
	list [][]byte
}

// request names one of an IKE SA.
type request struct {
	byInitiator bool
	id          uint32
	response    bool // of fragments only
}

func newTap() *tap {
	return &tap{map[string][]byte{}, map[[2]uint64]*tapped{}, map[uint64][]*wire.Message{}, map[string]*tapped{}}
}

// job learns what a key exchange came to.
func (t *tap) job(j ike.Job, result any) {
	switch j := j.(type) {
	case ike.AnswerKey:
		if r, ok := result.(ike.Answered); ok {
			t.secrets[string(j.Peer)+string(r.Public)] = clone(r.Shared.Bytes())
		}
	case ike.FinishKey:
		if s, ok := result.(ipsec.Secret); ok {
			t.secrets[string(j.Private.Public())+string(j.Peer)] = clone(s.Bytes())
		}
	}
}

// read decodes a message and, if it can, what is inside. Without the keys the
// payloads are those outside.
func (t *tap) read(msg []byte) (h ike.Header, ps wire.Payloads, readable bool, err error) {
	m, err := wire.Parse(msg)
	if err != nil {
		h, _ = ike.ParseHeader(msg)
		return h, nil, false, err
	}
	h = m.Header
	if !m.Encrypted() {
		t.init(m)
		return h, m.Payloads, true, nil
	}
	sa := t.sas[[2]uint64{h.SPIi, h.SPIr}]
	if sa == nil {
		return h, m.Payloads, false, nil
	}
	c := sa.cipher(h, msg)
	if f, ok := m.Payloads[0].(wire.SKF); ok {
		ps, err = sa.join(h, msg, c)
		if err != nil || ps == nil {
			return h, wire.Payloads{f}, err == nil, err
		}
	} else if ps, err = wire.Open(msg, c); err != nil {
		return h, m.Payloads, false, err
	}
	sa.follow(t, h, ps)
	return h, ps, true, nil
}

// cipher is what protects a message: the newest keys, or those before for what
// is repeated.
func (sa *tapped) cipher(h ike.Header, msg []byte) wire.SKCipher {
	c := sa.r
	if h.FromInitiator() {
		c = sa.i
	}
	if sa.before == nil {
		return c
	}
	_, err1 := wire.OpenSK(msg, c)
	_, err2 := wire.OpenFragment(msg, c)
	if err1 != nil && err2 != nil {
		return sa.before.cipher(h, msg)
	}
	return c
}

// join takes a fragment, and returns what it completes.
func (sa *tapped) join(h ike.Header, msg []byte, c wire.SKCipher) (wire.Payloads, error) {
	f, err := wire.OpenFragment(msg, c)
	if err != nil {
		return nil, err
	}
	key := request{h.FromInitiator() != h.Response(), h.MessageID, h.Response()}
	p := sa.pieces[key]
	if p == nil || len(p.list) != int(f.Total) {
		p = &pieces{list: make([][]byte, f.Total)}
		sa.pieces[key] = p
	}
	if f.Number == 1 {
		p.next = f.Next
	}
	p.list[f.Number-1] = append([]byte{}, f.Body...)
	var plain []byte
	for _, b := range p.list {
		if b == nil {
			return nil, nil
		}
		plain = append(plain, b...)
	}
	return wire.Decode(h, p.next, plain)
}

// init follows IKE_SA_INIT.
func (t *tap) init(m *wire.Message) {
	h := m.Header
	switch {
	case h.Exchange != ike.SAInit && h.Exchange != ike.Resume:
		return
	case !h.Response():
		t.opening[h.SPIi] = append(t.opening[h.SPIi], m)
		return
	case h.Exchange == ike.Resume:
		t.resumed(m)
		return
	}
	ke, ok := m.KE()
	if !ok {
		return
	}
	for _, req := range t.opening[h.SPIi] {
		keI, _ := req.KE()
		secret := t.secrets[string(keI.Data)+string(ke.Data)]
		if secret == nil {
			continue
		}
		ni, _ := req.Nonce()
		nr, _ := m.Nonce()
		prf := prfOf(m.Payloads)
		if prf == nil {
			return
		}
		seed := prf.Sum(cat(ni.Data, nr.Data), secret)
		t.add(m.Payloads, prf, seed, ni.Data, nr.Data, h.SPIi, h.SPIr)
		return
	}
}

// resumed follows IKE_SESSION_RESUME, RFC 5723, 5.1: the new keys come from those
// of the IKE SA that the ticket belongs to.
func (t *tap) resumed(m *wire.Message) {
	nr, ok := m.Nonce()
	if !ok {
		return
	}
	for _, req := range t.opening[m.Header.SPIi] {
		ni, _ := req.Nonce()
		opaque, _ := req.Notify(ike.NotifyTicketOpaque)
		old := t.tickets[string(opaque.Data)]
		if old == nil {
			continue
		}
		sa := &tapped{
			encr: old.encr, integ: old.integ, prf: old.prf, ni: ni.Data, nr: nr.Data, spiI: m.Header.SPIi, spiR: m.Header.SPIr,
			requests: map[request]wire.Payloads{}, pieces: map[request]*pieces{},
		}
		if sa.derive(old.prf.Sum(old.d, []byte("Resumption"), ni.Data, nr.Data)) {
			t.sas[[2]uint64{m.Header.SPIi, m.Header.SPIr}] = sa
		}
		return
	}
}

// follow remembers requests and sees IKE SAs being rekeyed.
func (sa *tapped) follow(t *tap, h ike.Header, ps wire.Payloads) {
	key := request{h.FromInitiator() != h.Response(), h.MessageID, false}
	if !h.Response() {
		sa.requests[key] = ps
		return
	}
	req := sa.requests[key]
	delete(sa.requests, key)
	if n, ok := ps.Notify(ike.NotifyTicketLTOpaque); ok && len(n.Data) > 4 { // after its lifetime
		t.tickets[string(n.Data[4:])] = sa
	}
	switch h.Exchange {
	case ike.CreateChild:
		sa.rekeyed(t, req, ps)
	case ike.Intermediate:
		sa.mixed(t, req, ps)
	case ike.FollowupKE:
		sa.followedUp(t, req, ps)
	}
}

// halfRekeyed is a rekeying that goes on with IKE_FOLLOWUP_KE.
type halfRekeyed struct {
	chosen     wire.Payloads
	ni, nr     []byte
	secrets    [2][]byte // of the first exchange, and of the others together
	spiI, spiR uint64
}

// followedUp follows an additional key exchange of a rekeying, RFC 9370, 2.2.4.
func (sa *tapped) followedUp(t *tap, req, ps wire.Payloads) {
	keI, _ := req.KE()
	keR, _ := ps.KE()
	secret, half := t.secrets[string(keI.Data)+string(keR.Data)], sa.half
	if secret == nil || half == nil {
		return
	}
	half.secrets[1] = append(half.secrets[1], secret...)
	if _, more := ps.Notify(ike.NotifyAdditionalKeyExchange); !more {
		sa.half = nil
		seed := sa.prf.Sum(sa.d, half.secrets[0], half.ni, half.nr, half.secrets[1])
		t.add(half.chosen, prfOf(half.chosen), seed, half.ni, half.nr, half.spiI, half.spiR)
	}
}

// mixed follows an additional key exchange of IKE_INTERMEDIATE, RFC 9370, 2.2.2.
func (sa *tapped) mixed(t *tap, req, ps wire.Payloads) {
	keI, _ := req.KE()
	keR, _ := ps.KE()
	secret := t.secrets[string(keI.Data)+string(keR.Data)]
	if secret == nil {
		return
	}
	before := *sa
	sa.before = &before
	sa.derive(sa.prf.Sum(sa.d, secret, sa.ni, sa.nr))
}

// rekeyed follows the rekeying of an IKE SA.
func (sa *tapped) rekeyed(t *tap, req, ps wire.Payloads) {
	keI, ok1 := req.KE()
	keR, ok2 := ps.KE()
	offer, ok3 := ps.SA()
	asked, ok4 := req.SA()
	if !ok1 || !ok2 || !ok3 || !ok4 || offer.Proposals[0].Protocol != suite.ProtoIKE {
		return
	}
	secret := t.secrets[string(keI.Data)+string(keR.Data)]
	spiI, spiR := asked.Proposals[0].SPI, offer.Proposals[0].SPI
	if secret == nil || len(spiI) != 8 || len(spiR) != 8 {
		return
	}
	ni, _ := req.Nonce()
	nr, _ := ps.Nonce()
	if _, more := ps.Notify(ike.NotifyAdditionalKeyExchange); more {
		sa.half = &halfRekeyed{ps, ni.Data, nr.Data, [2][]byte{secret}, binary.BigEndian.Uint64(spiI), binary.BigEndian.Uint64(spiR)}
		return
	}
	seed := sa.prf.Sum(sa.d, secret, ni.Data, nr.Data)
	t.add(ps, prfOf(ps), seed, ni.Data, nr.Data, binary.BigEndian.Uint64(spiI), binary.BigEndian.Uint64(spiR))
}

// add derives the keys of an IKE SA from SKEYSEED and the chosen proposal.
func (t *tap) add(chosen wire.Payloads, prf *suite.PRF, seed, ni, nr []byte, spiI, spiR uint64) {
	encr, integ := ciphersOf(chosen)
	if encr.Encr == nil || prf == nil {
		return
	}
	sa := &tapped{
		encr: encr, integ: integ, prf: prf, ni: ni, nr: nr, spiI: spiI, spiR: spiR,
		requests: map[request]wire.Payloads{}, pieces: map[request]*pieces{},
	}
	if sa.derive(seed) && t.sas[[2]uint64{spiI, spiR}] == nil {
		t.sas[[2]uint64{spiI, spiR}] = sa
	}
}

// derive computes the keys from SKEYSEED.
func (sa *tapped) derive(seed []byte) bool {
	prf, encr, integ := sa.prf, sa.encr, sa.integ
	il := 0
	if integ != nil {
		il = integ.Key
	}
	s := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(cat(sa.ni, sa.nr), sa.spiI), sa.spiR)
	keys := prf.Plus(seed, s, 3*prf.Key+2*il+2*encr.KeyLen())
	take := func(n int) ipsec.Secret {
		k := ipsec.NewSecret(clone(keys[:n]))
		keys = keys[n:]
		return k
	}
	d, ai, ar, ei, er := take(prf.Key), take(il), take(il), take(encr.KeyLen()), take(encr.KeyLen())
	sa.d = d.Bytes()
	var err1, err2 error
	sa.i, err1 = wire.NewCipher(encr, integ, ei, ai)
	sa.r, err2 = wire.NewCipher(encr, integ, er, ar)
	return err1 == nil && err2 == nil
}

func prfOf(ps wire.Payloads) *suite.PRF {
	for _, tr := range transforms(ps) {
		if tr.Type == suite.TypePRF {
			return suite.PRFByID(tr.ID)
		}
	}
	return nil
}

func ciphersOf(ps wire.Payloads) (encr suite.EncrChoice, integ *suite.Integ) {
	for _, tr := range transforms(ps) {
		switch tr.Type {
		case suite.TypeEncr:
			encr.Encr, encr.Bits = suite.EncrByID(tr.ID), int(tr.KeyBits)
			if encr.Encr != nil && encr.Bits == 0 {
				encr.Bits = encr.Encr.KeyBits[0]
			}
		case suite.TypeInteg:
			integ = suite.IntegByID(tr.ID)
		}
	}
	return encr, integ
}

func transforms(ps wire.Payloads) []suite.Transform {
	sa, ok := ps.SA()
	if !ok {
		return nil
	}
	return sa.Proposals[0].Transforms
}

func cat(a, b []byte) []byte { return append(clone(a), b...) }
