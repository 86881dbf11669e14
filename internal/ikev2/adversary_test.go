package ikev2

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
	"cygnet/internal/ipsec"
	"cygnet/internal/octet"
	"cygnet/internal/suite"
)

// A rude peer holds the keys of one end and says what it likes.
type rude struct {
	p      *pair
	victim *node
	sa     *SA // the victim's machine
}

// rudeTo takes the place of the peer of a machine that is up.
func rudeTo(p *pair, victim *node, sa *SA) *rude { return &rude{p, victim, sa} }

// ask sends a request and returns what was in the response, nil if there was
// none.
func (r *rude) ask(x ike.ExchangeType, ps ...wire.Payload) wire.Payloads {
	r.p.t.Helper()
	return r.askID(r.sa.win.expect, x, ps...)
}

func (r *rude) askID(id uint32, x ike.ExchangeType, ps ...wire.Payload) wire.Payloads {
	r.p.t.Helper()
	keys, chosen := r.sa.keys, r.sa.chosen
	i, resp, err := keys.ciphers(chosen)
	if err != nil {
		r.p.t.Fatal(err)
	}
	h := ike.Header{SPIi: r.sa.spiI, SPIr: r.sa.spiR, Major: 2, Exchange: x, MessageID: id}
	sealer, opener := i, resp
	if r.sa.first {
		sealer, opener = resp, i
	} else {
		h.Flags = ike.FlagInitiator
	}
	msg := wire.Seal(nil, h, ps, sealer)
	sent := len(r.p.sent)
	r.victim.step(r.sa, ike.Received{Local: r.sa.local, Remote: r.sa.remote, Msg: msg})
	for _, d := range r.p.sent[sent:] {
		dh, _ := ike.ParseHeader(d.Msg)
		if dh.Response() && dh.MessageID == id {
			r.p.flying = nil
			// By hand, because wire.Open refuses exchanges that do not exist.
			plain, err := opener.Open(d.Msg, ike.HeaderLen+4)
			if err != nil {
				r.p.t.Fatal(err)
			}
			plain = plain[:len(plain)-1-int(plain[len(plain)-1])]
			out, err := wire.ParsePayloads(ike.PayloadType(d.Msg[ike.HeaderLen]), plain)
			if err != nil {
				r.p.t.Fatal(err)
			}
			return append(wire.Payloads{}, out...)
		}
	}
	return nil
}

// errorOf is the error in a response, 0 if there is none.
func errorOf(ps wire.Payloads) uint16 {
	if n, ok := ps.Failure(); ok {
		return n.Kind
	}
	return 0
}

// childRequest is a request for a Child SA as west would send it.
func childRequest(p *pair, spi uint32, change ...func(*childParts)) []wire.Payload {
	parts := childParts{
		sa:    saPayload(suite.DefaultESP(false), octet.AppendUint32(nil, spi)),
		nonce: wire.Nonce{Data: make([]byte, 32)},
		tsi:   wire.NewTSi(p.west.conns[0].Local.TS), tsr: wire.NewTSr(p.west.conns[0].Remote.TS),
	}
	for _, f := range change {
		f(&parts)
	}
	return append(parts.more, parts.sa, parts.nonce, parts.tsi, parts.tsr)
}

type childParts struct {
	sa    wire.SA
	nonce wire.Nonce
	tsi   wire.TSi
	tsr   wire.TSr
	more  []wire.Payload
}

// withoutPFS makes east content without key exchange in Child SAs.
func withoutPFS(p *pair) {
	for _, n := range []*node{p.west, p.east} {
		n.conns[0].ESP, n.conns[0].PFS = suite.DefaultESP(false), false
	}
}

func rudePair(t *testing.T) (*pair, *rude) {
	p := newPair(t, 41)
	withoutPFS(p)
	_, e := p.up()
	return p, rudeTo(p, p.east, e)
}

// INFORMATIONAL and CREATE_CHILD_SA with good keys before IKE_AUTH: dropped,
// and the honest IKE_AUTH still works.
// R5.7: nothing acts before authentication.
func TestAdv_V2S_02_BeforeAuth(t *testing.T) {
	p, n, sa := inState(t, stateInitR)
	r := rudeTo(p, n, sa)
	auth := p.flying
	before := digest(sa)
	for _, x := range []ike.ExchangeType{ike.Informational, ike.CreateChild, ike.Intermediate, ike.SAInit, 240} {
		if r.ask(x, wire.Delete{Protocol: suite.ProtoIKE}) != nil || digest(sa) != before {
			t.Errorf("%s acts before authentication", x)
		}
	}
	p.flying = auth
	p.settle()
	p.check(1)
}

// The same message ID with other octets and a good ICV: the first answer stands.
func TestAdv_V2S_04_OtherOctets(t *testing.T) {
	_, r := rudePair(t)
	if r.ask(ike.Informational) == nil {
		t.Fatal("no answer")
	}
	before := digest(r.sa)
	if r.askID(r.sa.win.expect-1, ike.Informational, wire.Delete{Protocol: suite.ProtoIKE}) != nil || digest(r.sa) != before {
		t.Error("the second one was answered")
	}
}

// clear makes an unprotected answer to west's IKE_SA_INIT.
func clearAnswer(w *SA, ps ...wire.Payload) ike.Received {
	h := ike.Header{SPIi: w.spiI, Major: 2, Exchange: ike.SAInit, Flags: ike.FlagResponse}
	return ike.Received{Local: w.local, Remote: w.remote, Msg: wire.Append(nil, h, ps...)}
}

// COOKIE: the same request with it in front, three times at most, and never for
// nonsense (V2C-35). INVALID_KE_PAYLOAD: once for each group we offered (V2S-06,
// V2S-07). Both together end (V2S-08).
func TestAdv_V2S_05_06_07_08_InitLoops(t *testing.T) {
	p := newPair(t, 3)
	w := p.west.initiate()
	spi, nonce := w.spiI, w.hs.ni
	for _, bad := range [][]byte{{}, make([]byte, 65)} {
		p.west.step(w, clearAnswer(w, wire.NewNotify(ike.NotifyCookie, bad)))
	}
	for _, group := range [][]byte{{0, 31}, {0, 2}, {4, 1}, {31}, {}} { // tried, not offered, private, malformed
		p.west.step(w, clearAnswer(w, wire.NewNotify(ike.NotifyInvalidKEPayload, group)))
	}
	if len(p.sent) != 1 {
		t.Fatalf("%d messages after nonsense", len(p.sent))
	}
	offered := suite.DefaultIKE()[0].KE
	for i := range 100 {
		p.west.step(w, clearAnswer(w, wire.NewNotify(ike.NotifyCookie, []byte{1, byte(i)})))
		p.west.step(w, clearAnswer(w, wire.NewNotify(ike.NotifyInvalidKEPayload, groupOctets(offered[i%len(offered)]))))
	}
	if want := 1 + maxCookieRounds + len(offered) - 1; len(p.sent) != want {
		t.Errorf("%d messages, want %d", len(p.sent), want)
	}
	for _, d := range p.sent {
		m, err := wire.Parse(d.Msg)
		if err != nil {
			t.Fatal(err)
		}
		if n, _ := m.Nonce(); m.Header.SPIi != spi || !bytes.Equal(n.Data, nonce) {
			t.Error("SPI or nonce changed")
		}
	}
	giveUp := w.win.pending.giveUp
	if giveUp.After(p.now.Add(defaultRetransmitTotal)) {
		t.Error("the attempt was prolonged")
	}
}

// Errors in the clear by anybody, then the genuine response: it counts. Nothing
// leads to IKEv1 (V2S-11).
func TestAdv_V2S_09_11_ForgedErrors(t *testing.T) {
	p := newPair(t, 3)
	w := p.west.initiate()
	for _, kind := range []uint16{ike.NotifyNoProposalChosen, ike.NotifyInvalidSyntax, ike.NotifyAuthenticationFailed, ike.NotifyInvalidMajorVersion, 9999} {
		p.west.step(w, clearAnswer(w, wire.NewNotify(kind, nil)))
	}
	// A forged answer with a proposal that we did not make, and one with a key
	// of small order.
	nonce := wire.Nonce{Data: make([]byte, 32)}
	p.west.step(w, clearAnswer(w, saPayload(suite.DefaultESP(false)[:1], nil), wire.KE{Group: 31, Data: make([]byte, 32)}, nonce))
	c := suite.DefaultIKE()[0]
	answer := suite.Chosen{Protocol: suite.ProtoIKE, Encr: c.Encr[0], PRF: c.PRF[0], KE: c.KE[0]}.Offer(1, nil)
	forged := clearAnswer(w, wire.SA{Proposals: []suite.Offer{answer}}, wire.KE{Group: 31, Data: make([]byte, 32)}, nonce)
	forged.Msg[15] = 9 // a responder SPI
	p.west.step(w, forged)
	p.settle()
	if w.state != stateUp {
		t.Fatalf("not up\n%s", p)
	}
	p.check(1)
}

// Unprotected errors and Deletes instead of protected answers: dropped.
func TestAdv_V2S_10_UnprotectedAnswers(t *testing.T) {
	for _, st := range []state{stateAuthI, stateUp} {
		p, n, sa := inState(t, st)
		if st == stateUp {
			n.step(sa, ike.Probe{})
		}
		held := p.flying
		before := digest(sa)
		for _, x := range []ike.ExchangeType{ike.Auth, ike.Informational} {
			for _, pl := range []wire.Payload{wire.NewNotify(ike.NotifyAuthenticationFailed, nil), wire.Delete{Protocol: suite.ProtoIKE}, wire.NewNotify(ike.NotifyInvalidIKESPI, nil)} {
				h := ike.Header{SPIi: sa.spiI, SPIr: sa.spiR, Major: 2, Exchange: x, Flags: ike.FlagResponse, MessageID: sa.win.pending.id}
				n.step(sa, ike.Received{Local: sa.local, Remote: sa.remote, Msg: wire.Append(nil, h, pl)})
			}
		}
		if digest(sa) != before {
			t.Errorf("%s: state changed", states[st].name)
		}
		p.flying = held
		p.settle()
		p.check(1)
	}
}

// REKEY_SA with protocols and SPIs that mean nothing: the answer carries only
// what was checked.
func TestAdv_V2S_19_RekeyOfNothing(t *testing.T) {
	for _, c := range []struct {
		n    wire.Notify
		want uint16
		ends bool
	}{
		{wire.NotifySA(ike.NotifyRekeySA, suite.ProtoESP, 0xdeadbeef), ike.NotifyChildSANotFound, false},
		{wire.NotifySA(ike.NotifyRekeySA, suite.ProtoAH, 0xdeadbeef), ike.NotifyChildSANotFound, false},
		{wire.NewNotify(ike.NotifyRekeySA, nil), ike.NotifyInvalidSyntax, true},
		{wire.Notify{Protocol: suite.ProtoIKE, SPI: []byte{1, 2, 3, 4}, Kind: ike.NotifyRekeySA}, ike.NotifyInvalidSyntax, true},
		{wire.Notify{Protocol: 7, SPI: []byte{1, 2, 3}, Kind: ike.NotifyRekeySA}, ike.NotifyInvalidSyntax, true},
	} {
		p, r := rudePair(t)
		got := r.ask(ike.CreateChild, childRequest(p, 0x5555, func(c2 *childParts) { c2.more = []wire.Payload{c.n} })...)
		if errorOf(got) != c.want || (r.sa.state == stateLinger) != c.ends {
			t.Errorf("%+v: %s, state %s", c.n, ike.NotifyName(errorOf(got)), r.sa.stateName())
		}
	}
}

// The responder answers with selectors that we did not ask for: no SA, a Delete
// for the SPI, and the IKE SA stays.
func TestAdv_V2S_22_WiderAnswer(t *testing.T) {
	for name, spoil := range map[string]func(e *ike.Conn, c *child){
		"wider":   func(_ *ike.Conn, c *child) { c.sides.local = parseTS("192.168.0.0/16") },
		"other":   func(_ *ike.Conn, c *child) { c.sides.remote = parseTS("10.0.0.0/8") },
		"nothing": func(_ *ike.Conn, c *child) { c.sides.remote = nil },
	} {
		p := newPair(t, 41)
		w, _ := p.up()
		o, err := (&step{SA: w, now: p.now}).newOffer(p.west.conns[0], nil, nil, false)
		if err != nil {
			t.Fatal(err)
		}
		c := &child{sides: o.sides}
		// In our view as responder; turn it round for the answer.
		c.sides = sides{local: o.sides.remote, remote: o.sides.local}
		spoil(p.east.conns[0], c)
		a := &agreement{conn: o.conn, chosen: suite.Chosen{Protocol: suite.ProtoESP, Encr: o.proposals[0].Encr[0], ESN: true, KE: o.group}, number: 1, spiIn: 0x5555, sides: c.sides, asked: c.sides, group: o.group}
		answer := wire.Payloads(a.reply(make([]byte, 32), make([]byte, 32)))
		got, refused := (&step{SA: w, now: p.now}).accept(o, answer, nil, nil)
		if refused == nil || refused.malformed || refused.why.Reason != ike.ReasonTS {
			t.Errorf("%s: accepted %+v", name, got)
			continue
		}
		st := &step{SA: w, now: p.now}
		st.reject(o, refused)
		st.settle()
		p.west.perform(w, st.out)
		d := open(t, w, p.sent[len(p.sent)-1].Msg, true)
		if ds := d.Deletes(); len(ds) != 1 || len(ds[0].SPIs) != 1 || ds[0].SPIs[0] != o.spi || w.state != stateUp {
			t.Errorf("%s: no Delete for the SPI: %v", name, d)
		}
	}
}

func parseTS(prefix string) []ipsec.TS {
	return []ipsec.TS{ipsec.TSOf(netip.MustParsePrefix(prefix), 0, ipsec.Ports{})}
}

// Rekeying with narrower selectors than in use: refused, the old pair stays.
func TestAdv_V2S_25_NarrowerRekey(t *testing.T) {
	p, r := rudePair(t)
	old := r.sa.children[0]
	got := r.ask(ike.CreateChild, childRequest(p, 0x5555, func(c *childParts) {
		c.more = []wire.Payload{wire.NotifySA(ike.NotifyRekeySA, suite.ProtoESP, old.out.SPI)}
		c.tsi = wire.NewTSi(parseTS("192.168.100.0/25"))
	})...)
	if errorOf(got) != ike.NotifyTSUnacceptable || old.state != childUp || len(r.sa.children) != 1 {
		t.Errorf("%s, old pair in state %d", ike.NotifyName(errorOf(got)), old.state)
	}
	// Wider is cut down to what is in use.
	got = r.ask(ike.CreateChild, childRequest(p, 0x5555, func(c *childParts) {
		c.more = []wire.Payload{wire.NotifySA(ike.NotifyRekeySA, suite.ProtoESP, old.out.SPI)}
		c.tsi, c.tsr = wire.NewTSi(parseTS("0.0.0.0/0")), wire.NewTSr(parseTS("0.0.0.0/0"))
	})...)
	tsi, _ := got.TSi()
	if textOf(tsi.Selectors) != "192.168.100.0/24" {
		t.Errorf("agreed on %v", tsi)
	}
}

// INITIAL_CONTACT anywhere but in IKE_AUTH means nothing.
func TestAdv_V2S_29_InitialContactLater(t *testing.T) {
	_, r := rudePair(t)
	n := len(r.victim.reports)
	if got := r.ask(ike.Informational, wire.NewNotify(ike.NotifyInitialContact, nil)); len(got) != 0 || got == nil {
		t.Errorf("answered with %v", got)
	}
	if len(r.victim.reports) != n || r.sa.state != stateUp {
		t.Error("it did something")
	}
}

// INVALID_IKE_SPI and INVALID_SPI in the clear, many: nothing is torn down, and
// there is one liveness check in an interval.
func TestAdv_V2S_30_InvalidSPI(t *testing.T) {
	p, r := rudePair(t)
	reports, sent := len(r.victim.reports), len(p.sent)
	storm := func() {
		for i := range 10000 {
			h := ike.Header{SPIi: r.sa.spiI, SPIr: r.sa.spiR, Major: 2, Exchange: ike.Informational, Flags: ike.FlagInitiator | ike.Flags(i%2)*ike.FlagResponse, MessageID: uint32(i % 3)}
			n := []uint16{ike.NotifyInvalidSPI, ike.NotifyInvalidIKESPI}[i%2]
			r.victim.step(r.sa, ike.Received{Local: r.sa.local, Remote: r.sa.remote, Msg: wire.Append(nil, h, wire.NewNotify(n, []byte{1, 2, 3, 4}))})
			p.settle()
		}
	}
	storm()
	if n := len(p.sent) - sent; n != 2 {
		t.Errorf("%d messages, want one liveness check and its answer", n)
	}
	before := digest(r.sa)
	storm()
	if len(p.sent) != sent+2 || len(r.victim.reports) != reports || digest(r.sa) != before {
		t.Error("hints are worth more than one liveness check in an interval")
	}
	p.pass(11 * time.Second)
	storm()
	if len(p.sent) != sent+4 {
		t.Error("a hint is worth nothing in the next interval")
	}
	p.check(1)
}

// Deletes: of the IKE SA followed by more, twice the same SPI, an unknown SPI.
func TestAdv_V2S_31_OddDeletes(t *testing.T) {
	t.Run("IKE and more", func(t *testing.T) {
		p, r := rudePair(t)
		c := r.sa.children[0]
		got := r.ask(ike.Informational, wire.Delete{Protocol: suite.ProtoIKE},
			wire.Delete{Protocol: suite.ProtoESP, SPIs: []ipsec.SPI{c.out.SPI}}, wire.Delete{Protocol: suite.ProtoIKE})
		if got == nil || len(got) != 0 || len(p.east.plane) != 0 || len(facts[ike.IKEDown](p.east)) != 1 || len(facts[ike.ChildDown](p.east)) != 1 {
			t.Errorf("%v\n%s", got, p)
		}
	})
	t.Run("twice and unknown", func(t *testing.T) {
		p, r := rudePair(t)
		c := r.sa.children[0]
		got := r.ask(ike.Informational, wire.Delete{Protocol: suite.ProtoESP, SPIs: []ipsec.SPI{c.out.SPI, 0x12345678, c.out.SPI}},
			wire.Delete{Protocol: suite.ProtoESP, SPIs: []ipsec.SPI{c.out.SPI}}, wire.Delete{Protocol: suite.ProtoAH, SPIs: []ipsec.SPI{c.out.SPI}})
		if ds := got.Deletes(); len(ds) != 1 || len(ds[0].SPIs) != 1 || ds[0].SPIs[0] != c.in.SPI {
			t.Errorf("%v", got)
		}
		if len(facts[ike.ChildDown](p.east)) != 1 {
			t.Error("deleted more than once")
		}
	})
}

// Requests beyond the window and responses to nothing.
func TestAdv_V2S_33_34_OutOfWindow(t *testing.T) {
	p, r := rudePair(t)
	before := digest(r.sa)
	next := r.sa.win.expect
	for _, id := range []uint32{next + 1, next + 1000, next - 2, 1 << 31, 0xffffffff} {
		if r.askID(id, ike.Informational) != nil {
			t.Errorf("message ID %d is answered", id)
		}
	}
	i, _, _ := r.sa.keys.ciphers(r.sa.chosen)
	for id := range uint32(5) {
		h := ike.Header{SPIi: r.sa.spiI, SPIr: r.sa.spiR, Major: 2, Exchange: ike.Informational, Flags: ike.FlagInitiator | ike.FlagResponse, MessageID: id}
		p.east.step(r.sa, ike.Received{Local: r.sa.local, Remote: r.sa.remote, Msg: wire.Seal(nil, h, nil, i)})
	}
	if digest(r.sa) != before {
		t.Error("state changed")
	}
}

// Good AUTH with a broken Child SA part: nothing is installed. Malformed ends
// the IKE SA, an error notify leaves it.
func TestAdv_V2S_42_BrokenChildInAuth(t *testing.T) {
	for _, c := range []struct {
		name  string
		drop  []ike.PayloadType
		add   wire.Payload
		stays bool
	}{
		{"error notify", []ike.PayloadType{ike.PayloadSA, ike.PayloadTSi, ike.PayloadTSr}, wire.NewNotify(ike.NotifyNoAdditionalSAs, nil), true},
		{"no Child SA and no error", []ike.PayloadType{ike.PayloadSA, ike.PayloadTSi, ike.PayloadTSr}, nil, false},
		{"SPI 0", []ike.PayloadType{ike.PayloadSA}, saPayload(suite.DefaultESP(false)[:1], make([]byte, 4)), false},
		{"all transforms", []ike.PayloadType{ike.PayloadSA}, saPayload(suite.DefaultESP(false)[:1], []byte{9, 9, 9, 9}), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPair(t, 41)
			p.fate = func(d datagram) []datagram {
				if exchangeOf(d) != ike.Auth || !responseOf(d) {
					return []datagram{d}
				}
				e := p.east.machines[0].(*SA)
				var ps []wire.Payload
				for _, x := range open(t, e, d.Msg, false) {
					keep := true
					for _, typ := range c.drop {
						keep = keep && x.Type() != typ
					}
					if keep {
						ps = append(ps, x)
					}
				}
				if c.add != nil {
					ps = append(ps, c.add)
				}
				h, _ := ike.ParseHeader(d.Msg)
				_, r, _ := e.keys.ciphers(e.chosen)
				d.Msg = wire.Seal(nil, h, ps, r)
				return []datagram{d}
			}
			w := p.west.initiate()
			p.settle()
			if len(p.west.plane) != 0 {
				t.Error("west installed something")
			}
			if got := w.state == stateUp; got != c.stays {
				t.Errorf("the IKE SA is in %s\n%s", w.stateName(), p)
			}
			if f := facts[ike.Failed](p.west); len(f) != 1 || !f[0].Child {
				t.Errorf("%+v", f)
			}
		})
	}
}

// Children without end: NO_ADDITIONAL_SAS at the cap, paced as RES-14 has it.
func TestAdv_V2S_43_ManyChildren(t *testing.T) {
	p, r := rudePair(t)
	made := len(r.sa.children)
	for i := range maxChildren + 10 {
		p.now = p.now.Add(time.Second)
		got := r.ask(ike.CreateChild, childRequest(p, uint32(0x10000+i))...)
		if errorOf(got) == ike.NotifyNoAdditionalSAs {
			continue
		}
		if errorOf(got) != 0 {
			t.Fatalf("%s", ike.NotifyName(errorOf(got)))
		}
		made++
	}
	if made != maxChildren || len(p.east.plane) != 2*maxChildren {
		t.Errorf("%d children, %d SAs", made, len(p.east.plane))
	}
}

// A storm of requests from an authenticated peer is slowed, then ended.
func TestAdv_RES_14_RequestStorm(t *testing.T) {
	p, r := rudePair(t)
	answered := 0
	for range 100000 {
		if r.sa.state != stateUp {
			break
		}
		if r.ask(ike.Informational) != nil {
			answered++
		}
	}
	if answered != requestBurst || r.sa.state != stateClosing {
		t.Errorf("%d answered, state %s", answered, r.sa.stateName())
	}
	if d := facts[ike.IKEDown](p.east); len(d) != 1 || d[0].Why == nil {
		t.Errorf("%+v", d)
	}
}

// Message IDs do not run out.
func TestAdv_V2S_46_MessageIDs(t *testing.T) {
	p := newPair(t, 41)
	w, _ := p.up()
	e := p.east.machines[0].(*SA)
	w.win.nextID, e.win.expect = lastMessageID-1, lastMessageID-1
	p.west.step(w, ike.Probe{})
	p.settle()
	if w.successor == nil {
		t.Error("not rekeyed in time")
	}
	p.pass(time.Minute)
	p.check(1)
}

// The peer's SPI is one of the reserved.
func TestAdv_V2S_47_ReservedSPI(t *testing.T) {
	for _, spi := range []uint32{0, 1, 255} {
		p, r := rudePair(t)
		got := r.ask(ike.CreateChild, childRequest(p, spi)...)
		if errorOf(got) != ike.NotifyInvalidSyntax || r.sa.state != stateLinger {
			t.Errorf("SPI %d: %s", spi, ike.NotifyName(errorOf(got)))
		}
	}
	p, r := rudePair(t)
	if got := r.ask(ike.CreateChild, childRequest(p, 256)...); errorOf(got) != 0 {
		t.Errorf("SPI 256: %s", ike.NotifyName(errorOf(got)))
	}
}

// Garbage under the right SPIs, ahead of the true message (also RES-11): it
// costs a MAC each and changes nothing; the true message is processed.
func TestAdv_V2S_50_Garbage(t *testing.T) {
	p, n, sa := inState(t, stateInitR)
	before := digest(sa)
	true1 := p.flying[0].Msg
	for i := range 1000 {
		msg := clone(true1)
		msg[ike.HeaderLen+4+i%(len(msg)-ike.HeaderLen-4)] ^= byte(1 + i%255)
		n.step(sa, ike.Received{Local: sa.local, Remote: sa.remote, Msg: msg})
	}
	if digest(sa) != before {
		t.Fatal("state changed")
	}
	p.settle()
	p.check(1)
}

// NULL authentication against a named connection, and methods that make no
// sense (V2C-41): refused alike.
func TestAdv_V2S_52_V2C_41_Methods(t *testing.T) {
	for _, method := range []uint8{0, 1, 2, 3, 9, 10, 11, 12, 13, 14, 201} {
		for _, size := range []int{0, 1, 32, 300} {
			p, n, sa := inState(t, stateInitR)
			r := rudeTo(p, n, sa)
			p.flying = nil
			ps := plausible(ike.Auth, false)
			ps[1] = wire.AUTH{Method: method, Data: bytes.Repeat([]byte{0xff}, size)}
			got := r.ask(ike.Auth, ps...)
			if errorOf(got) != ike.NotifyAuthenticationFailed || len(got) != 1 || sa.state != stateLinger || len(p.east.plane) != 0 {
				t.Errorf("method %d with %d octets: %v, %s", method, size, got, sa.stateName())
			}
			if len(facts[ike.IKEUp](p.east)) != 0 {
				t.Fatal("an IKE SA was reported")
			}
		}
	}
}

// Wrong PSK and unknown identity: the same answer of the same size (V2S-12), and
// the true reason at home only.
func TestAdv_V2S_12_EqualRefusals(t *testing.T) {
	size := 0
	for i, spoil := range []func(*pair){
		func(p *pair) { p.east.psk = "another" },
		func(p *pair) { p.west.conns[0].Local.ID = id("@waste") }, // as long as @west
		func(p *pair) { p.east.psk = "" },
	} {
		p := newPair(t, 41)
		spoil(p)
		p.west.initiate()
		p.settle()
		last := p.sent[len(p.sent)-1]
		if i == 0 {
			size = len(last.Msg)
		}
		if last.from != p.east || len(last.Msg) != size {
			t.Errorf("case %d: %d octets, not %d", i, len(last.Msg), size)
		}
	}
}

// An unknown exchange with valid keys on an established IKE SA.
func TestAdv_V2C_09_UnknownExchangeProtected(t *testing.T) {
	p, r := rudePair(t)
	if got := r.ask(240); errorOf(got) != ike.NotifyInvalidSyntax || r.sa.state != stateLinger || len(p.east.plane) != 0 {
		t.Errorf("%v, %s", got, r.sa.stateName())
	}
}

// Unknown critical payloads inside SK: the request is refused, the IKE SA stays;
// in IKE_AUTH it does not come to be. In a response the exchange fails (V2C-21).
func TestAdv_V2C_20_21_CriticalInside(t *testing.T) {
	bad := wire.Unknown{Number: 200, Critical: true}
	p, r := rudePair(t)
	for _, x := range []ike.ExchangeType{ike.Informational, ike.CreateChild} {
		got := r.ask(x, append(plausible(x, false), bad)...)
		if errorOf(got) != ike.NotifyUnsupportedCritical || r.sa.state != stateUp {
			t.Errorf("%s: %v, %s", x, got, r.sa.stateName())
		}
	}
	p2, n, half := inState(t, stateInitR)
	p2.flying = nil
	if got := rudeTo(p2, n, half).ask(ike.Auth, append(plausible(ike.Auth, false), bad)...); errorOf(got) != ike.NotifyUnsupportedCritical || half.state != stateLinger {
		t.Errorf("IKE_AUTH: %v, %s", got, half.stateName())
	}
	p.east.step(r.sa, ike.AddChild{Conn: p.east.conns[0]})
	sent := len(p.sent)
	i, _, _ := r.sa.keys.ciphers(r.sa.chosen)
	h := ike.Header{SPIi: r.sa.spiI, SPIr: r.sa.spiR, Major: 2, Exchange: ike.CreateChild, Flags: ike.FlagInitiator | ike.FlagResponse, MessageID: r.sa.win.pending.id}
	p.east.step(r.sa, ike.Received{Local: r.sa.local, Remote: r.sa.remote, Msg: wire.Seal(nil, h, []wire.Payload{bad}, i)})
	if len(p.sent) != sent || r.sa.state != stateUp || r.sa.active != nil || p.east.failure().Reason != ike.ReasonProtocol {
		t.Errorf("response: %s\n%s", r.sa.stateName(), p)
	}
}

// Payloads missing or doubled in protected requests: INVALID_SYNTAX and the end.
func TestAdv_V2C_24_25_ProtectedRequests(t *testing.T) {
	full := plausible(ike.CreateChild, false)
	for i := range full {
		for _, twice := range []bool{false, true} {
			ps := append([]wire.Payload(nil), full[:i]...)
			if twice {
				ps = append(ps, full[i], full[i])
			}
			ps = append(ps, full[i+1:]...)
			_, r := rudePair(t)
			if got := r.ask(ike.CreateChild, ps...); errorOf(got) != ike.NotifyInvalidSyntax || r.sa.state != stateLinger {
				t.Errorf("%s, doubled %v: %v", full[i].Type(), twice, got)
			}
		}
	}
}

// Proposals that cannot be chosen, RFC 7296, 3.3: AES without key length, AEAD
// with integrity, CBC without, no key exchange; alone and before a good one.
func TestAdv_V2C_29_30_CRY_27_BadProposals(t *testing.T) {
	tr := func(typ suite.TransformType, id, bits uint16) suite.Transform {
		return suite.Transform{Type: typ, ID: id, KeyBits: bits}
	}
	esn := tr(suite.TypeESN, 0, 0)
	spi := []byte{1, 2, 3, 4}
	for name, list := range map[string][]suite.Transform{
		"AES-GCM without key length": {tr(1, 20, 0), esn},
		"AES-GCM of 100 bits":        {tr(1, 20, 100), esn},
		"AES-GCM of 65535 bits":      {tr(1, 20, 65535), esn},
		"AES-GCM with integrity":     {tr(1, 20, 256), tr(3, 12, 0), esn},
		"AES-CBC without integrity":  {tr(1, 12, 256), esn},
		"ChaCha20 with key length":   {tr(1, 28, 256), esn},
		"AES-GMAC":                   {tr(1, 21, 256), esn},
		"NULL":                       {tr(1, 11, 0), esn},
		"nothing":                    {},
		"unknown transform type":     {tr(1, 20, 256), esn, tr(99, 1, 0)},
	} {
		p, r := rudePair(t)
		bad := suite.Offer{Number: 1, Protocol: suite.ProtoESP, SPI: spi, Transforms: list}
		got := r.ask(ike.CreateChild, childRequest(p, 0, func(c *childParts) { c.sa = wire.SA{Proposals: []suite.Offer{bad}} })...)
		if errorOf(got) != ike.NotifyNoProposalChosen || r.sa.state != stateUp {
			t.Errorf("%s alone: %v", name, got)
		}
		good := suite.DefaultESP(false)[0].Offer(2, spi)
		got = r.ask(ike.CreateChild, childRequest(p, 0, func(c *childParts) { c.sa = wire.SA{Proposals: []suite.Offer{bad, good}} })...)
		if sa, ok := got.SA(); !ok || sa.Proposals[0].Number != 2 {
			t.Errorf("%s and a good one: %v", name, got)
		}
	}
}

// A nonce shorter than half the PRF's key (V2C-31): with HMAC-SHA2-512 that is 32.
func TestAdv_V2C_31_ShortNonce(t *testing.T) {
	for _, c := range []struct {
		size int
		ok   bool
	}{{31, false}, {32, true}, {256, true}} {
		p := anyoneAtEast(t)
		p.west.conns[0].IKE = []suite.Proposal{suite.DefaultIKE()[0]}
		p.west.conns[0].IKE[0].PRF = []*suite.PRF{suite.PRFByID(7)}
		m, _ := wire.Parse(initFrom(p, 1))
		sa, _ := m.SA()
		ke, _ := m.KE()
		msg := wire.Append(nil, m.Header, sa, ke, wire.Nonce{Data: make([]byte, c.size)}, wire.VendorID{Data: make([]byte, 64)})
		if machine, _ := p.knockWith("192.0.2.1:500", msg); (machine != nil) != c.ok {
			t.Errorf("%d octets: %v", c.size, machine != nil)
		}
	}
}

// Public values that no honest peer sends: refused before there is a secret.
func TestAdv_CRY_05_06_07_PublicValues(t *testing.T) {
	for name, ke := range map[string]wire.KE{
		"X25519 zero":     {Group: 31, Data: make([]byte, 32)},
		"X25519 one":      {Group: 31, Data: append([]byte{1}, make([]byte, 31)...)},
		"P-256 off curve": {Group: 19, Data: bytes.Repeat([]byte{1}, 64)},
		"MODP 0":          {Group: 14, Data: make([]byte, 256)},
		"MODP 1":          {Group: 14, Data: append(make([]byte, 255), 1)},
		"MODP all ones":   {Group: 14, Data: bytes.Repeat([]byte{0xff}, 256)},
	} {
		p := newPair(t, 41)
		_, e := p.up()
		r := rudeTo(p, p.east, e)
		got := r.ask(ike.CreateChild, append(childRequest(p, 0x5555, func(c *childParts) {
			c.sa = saPayload(suite.DefaultESP(true), []byte{0, 0, 0x55, 0x55})
		}), ke)...)
		if errorOf(got) != ike.NotifyInvalidSyntax || len(p.east.plane) != 0 {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// Our key exchange values are used once (CRY-08).
func TestAdv_CRY_08_FreshKeys(t *testing.T) {
	p := newPair(t, 41)
	w, e := p.up()
	for range 50 {
		p.west.step(w, ike.Rekey{Child: w.children[0].serial})
		p.settle()
		p.east.step(e, ike.Rekey{Child: e.children[len(e.children)-1].serial})
		p.settle()
		p.pass(time.Minute)
	}
	seen := map[string]bool{}
	n := 0
	for _, d := range p.sent {
		var ps wire.Payloads
		if exchangeOf(d) == ike.SAInit {
			m, _ := wire.Parse(d.Msg)
			ps = m.Payloads
		} else {
			ps = open(t, w, d.Msg, d.from == p.west)
		}
		if ke, ok := ps.KE(); ok {
			n++
			if seen[string(ke.Data)] {
				t.Fatal("a public value was used twice")
			}
			seen[string(ke.Data)] = true
		}
		if nonce, ok := ps.Nonce(); ok {
			if seen[string(nonce.Data)] {
				t.Fatal("a nonce was used twice")
			}
			seen[string(nonce.Data)] = true
		}
	}
	if n < 150 {
		t.Errorf("only %d public values", n)
	}
}

// A peer that lists only SHA-1 in SIGNATURE_HASH_ALGORITHMS gets no SHA-1 by
// method 14; with nothing to sign on Ed25519 fails.
func TestAdv_CRY_15_OnlySHA1(t *testing.T) {
	if got := peerHashes(wire.Payloads{wire.NewNotify(ike.NotifySignatureHashAlgorithms, []byte{0, 1, 0, 99, 0})}); len(got) != 0 {
		t.Errorf("%v", got)
	}
	if got := peerHashes(wire.Payloads{wire.NewNotify(ike.NotifySignatureHashAlgorithms, []byte{0, 4, 0, 1, 0, 2})}); len(got) != 2 || got[0] != 2 || got[1] != 4 {
		t.Errorf("%v", got)
	}
}

// Somebody forwards our IKE_SA_INIT to another responder that would accept: its
// identity is not the one we called.
func TestAdv_V2S_55_Deviation(t *testing.T) {
	p := newPair(t, 41)
	p.east.conns[0].Local.ID = id("@elsewhere")
	p.fate = func(d datagram) []datagram { return []datagram{d} }
	p.west.conns[0].Remote.ID = ike.ID{Kind: ike.IDFQDN, Data: "east"}
	// East does not mind which identity it is called by.
	p.east.cfg.PAD = lenient{p.east}
	p.west.initiate()
	p.settle()
	f := p.west.failure()
	if f.Reason != ike.ReasonAuth || f.Ours != "@east" || f.Theirs != "@elsewhere" {
		t.Errorf("%+v", f)
	}
	if len(p.west.plane)+len(p.east.plane) != 0 || len(facts[ike.IKEDown](p.east)) != 1 {
		t.Errorf("the other end was not told\n%s", p)
	}
}

// lenient is a PAD that ignores IDr.
type lenient struct{ *node }

func (l lenient) Identified(local, remote netip.Addr, peer, _ ike.ID) []*ike.Conn {
	return l.node.Identified(local, remote, peer, ike.ID{})
}

// Lives of equal length at both ends: the jitter keeps the two from rekeying at
// the same time.
func TestAdv_V2S_51_EqualLifetimes(t *testing.T) {
	const pairs = 300
	collisions := 0
	for seed := range pairs {
		p := newPair(t, byte(seed))
		p.west.cfg.Rand, p.east.cfg.Rand = rand.NewChaCha8([32]byte{1, byte(seed), byte(seed >> 8)}), rand.NewChaCha8([32]byte{2, byte(seed), byte(seed >> 8)})
		p.up()
		p.pass(time.Hour)
		p.traffic()
		for _, n := range []*node{p.west, p.east} {
			for _, s := range facts[ike.ChildDown](n) {
				if !s.Replaced {
					t.Fatalf("seed %d: a gap\n%s", seed, p)
				}
			}
		}
		if len(facts[ike.ChildUp](p.west)) > 2 {
			collisions++
		}
	}
	if collisions*10 > pairs {
		t.Errorf("%d of %d pairs collided", collisions, pairs)
	}
}
