package ikev1

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ikev1/wire"
	"cygnet/internal/ipsec"
	"cygnet/internal/octet"
	"cygnet/internal/suite"
)

// The V1 lines of the adversary catalogue that a machine or its gate decides.
// TestAdv_V1_06 is in failure_test.go, those of the codec in package wire.

// digest is everything of a machine that an attack must not change.
func (s *SA) digest() string {
	text := fmt.Sprintf("%d %x %x %s %s %v %d %d", s.state, s.spiR, s.iv, s.local, s.remote, s.remoteID, len(s.used), len(s.wants))
	for _, q := range s.quicks {
		text += fmt.Sprintf(" q%d %x %d", q.id, q.iv, q.state)
	}
	for _, c := range s.children {
		text += fmt.Sprintf(" c%d %t %s", c.serial, c.replaced, c.endAt)
	}
	return text + fmt.Sprint(s.lastHeard, s.dpd, s.Deadline())
}

// inject delivers octets to a node as if they came from that address.
func (n *node) inject(from netip.AddrPort, msg []byte) (sent int) {
	before := len(n.p.sent)
	n.receive(ike.Send{Local: from, Remote: n.addr, Msg: msg})
	return len(n.p.sent) - before
}

// unmoved checks that messages, one after another, change nothing in a machine
// and are not answered.
func (p *pair) unmoved(n *node, s *SA, what string, msgs ...[]byte) {
	p.t.Helper()
	before, plane, reports := s.digest(), len(n.plane), len(n.reports)
	for i, msg := range msgs {
		if sent := n.inject(p.other(n).addr, msg); sent != 0 {
			p.t.Errorf("%s, %d: answered with %d messages", what, i, sent)
		}
		if after := s.digest(); after != before {
			p.t.Fatalf("%s, %d: changes the machine\n%s\n%s", what, i, before, after)
		}
	}
	if len(n.plane) != plane {
		p.t.Errorf("%s: changes the data plane", what)
	}
	for _, r := range n.reports[reports:] {
		if _, note := r.Fact.(ike.Note); !note {
			p.t.Errorf("%s: reports %s", what, r.Fact)
		}
	}
}

// sealed makes a protected message of our choice.
func sealed(s *SA, x ike.ExchangeType, id uint32, hash func(rest []byte) []byte, ps ...wire.Payload) []byte {
	all := append([]wire.Payload{wire.HASH{Data: hash(wire.AppendPayloads(nil, ps...))}}, ps...)
	msg, _ := wire.Seal(nil, s.header(x, id), s.block, phase2IV(s.chosen.PRF, s.iv, id), all...)
	return msg
}

func (s *SA) info(id uint32, ps ...wire.Payload) []byte {
	return sealed(s, ike.InfoV1, id, func(rest []byte) []byte { return s.hash1(id, rest) }, ps...)
}

// quickMsg is a QI1 with payloads of our choice.
func (s *SA) quickMsg(id uint32, ps ...wire.Payload) []byte {
	return sealed(s, ike.QuickMode, id, func(rest []byte) []byte { return s.hash1(id, rest) }, ps...)
}

// honest is what must work after every attack.
func (p *pair) honest() {
	p.t.Helper()
	for _, n := range []*node{p.west, p.east} {
		m := n.newest()
		n.step(m, ike.Rekey{Child: m.children[len(m.children)-1].serial})
		p.settle()
	}
	p.mirrored()
	p.usable()
}

func TestAdv_V1_01(t *testing.T) {
	p := newPair(t, 110)
	p.east.cfg.Spoken = func() bool { return false }
	w := p.west.initiate()
	p.settle()
	if len(p.sent) != 1 || len(p.east.reports) != 0 || len(p.east.machines) != 0 {
		t.Error(p)
	}
	for _, x := range []ike.ExchangeType{ike.Aggressive, ike.QuickMode, ike.InfoV1, ike.Transaction} {
		if n := p.east.inject(westAddr, wire.Append(nil, w.header(x, 7), wire.VendorID{Data: []byte("x")})); n != 0 {
			t.Errorf("%s is answered", x)
		}
	}
	p.east.cfg.Spoken = nil
	p.pass(time.Minute)
	p.check(1)
}

func TestAdv_V1_04(t *testing.T) {
	p := newPair(t, 111)
	ke, nonce, id := wire.KE{Data: make([]byte, 256)}, wire.Nonce{Data: make([]byte, 16)}, wire.NewID(mustID("@west"))
	sa := offerSA(offers1(p.east.conns[0]))
	for _, ps := range [][]wire.Payload{{sa, ke, nonce, id}, {sa, nonce, id}, {sa, ke, id}, {sa, ke, nonce}, {sa}} {
		if n := p.east.inject(westAddr, wire.Append(nil, ike.Header{SPIi: 9, Major: 1, Exchange: ike.Aggressive}, ps...)); n != 0 {
			t.Error("Aggressive Mode is answered")
		}
	}
	if len(p.east.machines) != 0 || !p.east.said("unsupported exchange type AGGRESSIVE in message") {
		t.Error(p)
	}
	p.up()
}

// V1-07: methods that do not exist here are not chosen, nor are weak ciphers
// and groups.
func TestAdv_V1_07(t *testing.T) {
	good := offers1(newPair(t, 112).west.conns[0])[0].wire(1)
	with := func(typ uint16, v uint32) wire.Transform {
		t := wire.Transform{Number: 1, ID: good.ID}
		for _, a := range good.Attrs {
			if a.Type == typ {
				a = wire.NewAttr(typ, v)
			}
			t.Attrs = append(t.Attrs, a)
		}
		return t
	}
	for name, bad := range map[string]wire.Transform{
		"DSS": with(attrMethod, 2), "RSA encryption": with(attrMethod, 4), "revised RSA encryption": with(attrMethod, 5),
		"hybrid": with(attrMethod, 64221), "XAUTH": with(attrMethod, 65001), "method 0": with(attrMethod, 0),
		"DES": with(attrEncr, 1), "MODP-768": with(attrGroup, 1), "MODP-1024": with(attrGroup, 2), "group 22": with(attrGroup, 22),
		"group 0": with(attrGroup, 0), "hash 3": with(attrHash, 3), "key length 0": with(attrKeyLength, 0), "key length 255": with(attrKeyLength, 255),
		"too long": with(attrLife, 86401), "much too long": with(attrLife, 0xffffffff), "life type 3": with(attrLifeType, 3),
		"transform 2": {Number: 1, ID: 2, Attrs: good.Attrs}, "nothing": {Number: 1, ID: 1},
		"unknown attribute": {Number: 1, ID: 1, Attrs: append(slices.Clone(good.Attrs), wire.NewAttr(99, 1))},
		"twice":             {Number: 1, ID: 1, Attrs: append(slices.Clone(good.Attrs), good.Attrs[0])},
		"an empty value":    {Number: 1, ID: 1, Attrs: append(slices.Clone(good.Attrs), wire.Attr{Type: attrLife})},
	} {
		p := newPair(t, 112)
		h := ike.Header{SPIi: 9, Major: 1, Exchange: ike.MainMode}
		pad := wire.VendorID{Data: make([]byte, 40)}
		sa := func(ts ...wire.Transform) wire.SA {
			return wire.SA{Proposals: []wire.Proposal{{Number: 1, Protocol: wire.ProtoISAKMP, Transforms: ts}}}
		}
		n := p.east.inject(westAddr, wire.Append(nil, h, sa(bad), pad))
		if n != 1 || headOf(p.sent[0]).Exchange != ike.InfoV1 {
			t.Errorf("%s: %d answers\n%s", name, n, p)
			continue
		}
		if len(p.sent[0].Msg) > ike.HeaderLen+12 || p.east.gate.greetings.Len() != 0 {
			t.Errorf("%s: a long answer, or it is remembered", name)
		}
		// Beside a good one it is passed over.
		if n := p.east.inject(westAddr, wire.Append(nil, h, sa(bad, good), pad)); n != 1 || headOf(p.sent[1]).Exchange != ike.MainMode {
			t.Errorf("%s: the good one beside it is not taken", name)
		}
	}
	p := newPair(t, 112)
	two := offerSA(offers1(p.east.conns[0]))
	two.Proposals = append(two.Proposals, two.Proposals[0])
	p.east.inject(westAddr, wire.Append(nil, ike.Header{SPIi: 9, Major: 1, Exchange: ike.MainMode}, two))
	if len(p.sent) != 1 || headOf(p.sent[0]).Exchange != ike.InfoV1 {
		t.Error("two proposals are taken")
	}
}

func TestAdv_V1_08(t *testing.T) {
	p := newPair(t, 113)
	w, e := p.up()
	for _, end := range []struct {
		n *node
		s *SA
	}{{p.west, w}, {p.east, e}} {
		s := end.s
		h := s.header(ike.InfoV1, 0x77)
		p.unmoved(end.n, s, "in the clear",
			wire.Append(nil, h, wire.NewDelete(wire.ProtoISAKMP, cookiesOf(s.spiI, s.spiR))),
			wire.Append(nil, h, wire.NewDelete(wire.ProtoESP, spiOctets(ipsec.ESP, s.children[0].out[0].SPI))),
			wire.Append(nil, h, wire.NewNotify(wire.ProtoISAKMP, ike.NotifyV1InvalidCookie, cookiesOf(s.spiI, s.spiR), nil)),
			wire.Append(nil, h, wire.NewNotify(wire.ProtoISAKMP, ike.NotifyV1AuthenticationFailed, nil, nil)),
			wire.Append(nil, h, wire.NewNotify(wire.ProtoISAKMP, ike.NotifyV1InitialContact, cookiesOf(s.spiI, s.spiR), nil)),
			wire.Append(nil, h, wire.HASH{Data: s.hash1(0x77, nil)}, wire.NewNotify(wire.ProtoISAKMP, ike.NotifyV1NoProposalChosen, nil, nil)),
		)
	}
	p.honest()
	// While negotiating, an error in the clear is kept in mind and no more.
	p = newPair(t, 114)
	w = p.west.initiate()
	p.west.inject(eastAddr, wire.Append(nil, ike.Header{SPIi: w.spiI, Major: 1, Exchange: ike.InfoV1, MessageID: 5}, wire.NewNotify(wire.ProtoISAKMP, ike.NotifyV1NoProposalChosen, nil, nil)))
	if w.state != stateMainI1 || len(facts[ike.Failed](p.west)) != 0 {
		t.Error("one unauthenticated datagram ends an attempt")
	}
	p.settle()
	p.check(1)
}

func TestAdv_V1_09(t *testing.T) {
	p := newPair(t, 115)
	w, e := p.up()
	del := wire.NewDelete(wire.ProtoISAKMP, cookiesOf(e.spiI, e.spiR))
	iv := func(id uint32) []byte { return phase2IV(e.chosen.PRF, e.iv, id) }
	seal := func(id uint32, ps ...wire.Payload) []byte {
		m, _ := wire.Seal(nil, e.header(ike.InfoV1, id), e.block, iv(id), ps...)
		return m
	}
	good := e.hash1(0x10, wire.AppendPayloads(nil, del))
	p.unmoved(p.east, e, "HASH",
		seal(0x10, del),
		seal(0x10, wire.HASH{Data: make([]byte, len(good))}, del),
		seal(0x10, wire.HASH{Data: good[:16]}, del),
		seal(0x11, wire.HASH{Data: good}, del),                         // of another message ID
		seal(0x10, del, wire.HASH{Data: good}),                         // not first
		seal(0x10, wire.HASH{Data: good}, wire.HASH{Data: good}, del),  // two
		seal(0x10, wire.HASH{Data: good}, del, wire.VendorID{}),        // more than it covers
		seal(0x10, wire.HASH{Data: good}, wire.Nonce{Data: good}, del), // what does not belong there
	)
	p.honest()
	p.east.inject(westAddr, seal(0x10, wire.HASH{Data: good}, del)) // the twin
	if e.state == stateUp {
		t.Error("the good one does nothing")
	}
	_ = w
}

// V1-10 and the gate as a whole: no answer is longer than its question, nothing
// is sent by timer to an address that has not answered, and floods are bounded.
func TestAdv_V1_10(t *testing.T) {
	p := newPair(t, 116)
	road := *p.east.conns[0]
	road.Template, road.Remote.Addr, road.Remote.ID = true, netip.IPv4Unspecified(), ike.ID{}
	p.east.conns = append(p.east.conns, &road)
	asked, answered := 0, 0
	for i := range 20000 {
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 11), byte(i >> 3), byte(i)}), 500)
		h := ike.Header{SPIi: uint64(i + 1), Major: 1, Exchange: ike.MainMode}
		ps := []wire.Payload{offerSA(offers1(p.east.conns[0]))}
		for _, v := range ourVendorIDs {
			ps = append(ps, wire.VendorID{Data: []byte(v)})
		}
		msg := wire.Append(nil, h, ps...)
		before := len(p.sent)
		p.east.inject(from, msg)
		for _, d := range p.sent[before:] {
			answered++
			if len(d.Msg) > len(msg) {
				t.Fatalf("answered %d octets with %d", len(msg), len(d.Msg))
			}
			if d.Remote != from {
				t.Fatalf("%s is answered at %s", from, d.Remote)
			}
		}
		asked++
	}
	p.flying = nil
	if answered > asked || answered == 0 {
		t.Errorf("%d answers to %d messages", answered, asked)
	}
	if n := p.east.gate.greetings.Len(); n > 4096 || len(p.east.gate.byCaller) != n {
		t.Errorf("%d greetings, %d by caller", n, len(p.east.gate.byCaller))
	}
	if len(p.east.machines) != 0 || p.east.gate.HalfOpen() != 0 || len(p.east.jobs) != 0 {
		t.Error("a first message makes a machine")
	}
	// An honest peer gets through the flood.
	p.up()
	p.pass(time.Hour)
	p.east.inject(westAddr, []byte("wake"))
	p.east.gate.sweep(p.now)
	if n := p.east.gate.greetings.Len() + len(p.east.gate.greeted) + len(p.east.gate.byCaller) + len(p.east.gate.bySrc); n != 0 {
		t.Errorf("%d leftovers", n)
	}
	// A second message without the cookie, or from elsewhere, makes nothing.
	p = newPair(t, 117)
	p.fate = func(d datagram) []datagram { return nil }
	w := p.west.initiate()
	p.east.inject(westAddr, p.sent[0].Msg)
	mr1 := p.sent[len(p.sent)-1].Msg
	p.west.inject(eastAddr, mr1)
	mi2 := p.sent[len(p.sent)-1].Msg
	if headOf(p.sent[len(p.sent)-1]).SPIr == 0 || w.state != stateMainI2 {
		t.Fatal(p)
	}
	p.east.inject(netip.MustParseAddrPort("101.101.101.102:500"), mi2)
	p.east.inject(netip.MustParseAddrPort("101.101.101.101:501"), mi2)
	forged := bytes.Clone(mi2)
	forged[15] ^= 1
	p.east.inject(westAddr, forged)
	if len(p.east.machines) != 0 {
		t.Error("a machine without a cookie")
	}
	p.east.inject(westAddr, mi2)
	if len(p.east.machines) != 1 || p.east.gate.HalfOpen() != 1 {
		t.Error("no machine with a cookie")
	}
	for _, n := range []int{1, 2} { // repeated: the same answer
		sent := len(p.sent)
		if p.east.inject(westAddr, mi2) != 1 || !bytes.Equal(p.sent[sent].Msg, p.sent[sent-1].Msg) {
			t.Errorf("repetition %d", n)
		}
	}
	p.fate = nil
	p.pass(2 * time.Minute)
}

func TestHalfOpenIsBounded(t *testing.T) {
	p := newPair(t, 118)
	road := *p.east.conns[0]
	road.Template, road.Remote.Addr, road.Remote.ID = true, netip.IPv4Unspecified(), ike.ID{}
	p.east.conns = []*ike.Conn{&road}
	p.east.gate = NewGate(p.east.cfg, Limits{MaxHalfOpen: 20, MaxPerSource: 8})
	public := bytes.Repeat([]byte{7}, 256)
	for i := range 200 {
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i / 40), byte(i)}), 500)
		h := ike.Header{SPIi: uint64(i + 1), Major: 1, Exchange: ike.MainMode}
		if p.east.inject(from, wire.Append(nil, h, offerSA(offers1(&road)))) == 0 {
			continue
		}
		h.SPIr = headOf(p.sent[len(p.sent)-1]).SPIr
		p.east.inject(from, wire.Append(nil, h, wire.KE{Data: public}, wire.Nonce{Data: make([]byte, 16)}))
	}
	p.flying = nil
	if n := p.east.gate.HalfOpen(); n != 20 || len(p.east.machines) != 20 {
		t.Errorf("%d half-open, %d machines", n, len(p.east.machines))
	}
	for src, n := range p.east.gate.bySrc {
		if n > 8 {
			t.Errorf("%s has %d", src, n)
		}
	}
	p.pass(2 * time.Minute)
	if p.east.gate.HalfOpen() != 0 || len(p.east.machines) != 0 || len(p.east.gate.bySrc) != 0 {
		t.Error("half-open for ever")
	}
	p.up()
}

func TestAdv_V1_11(t *testing.T) {
	p := newPair(t, 119)
	p.both(func(c *ike.Conn) { c.DPDDelay = 30 * time.Second })
	w, e := p.up()
	cookies := cookiesOf(e.spiI, e.spiR)
	rut := func(seq uint32, spi []byte) wire.Payload {
		return wire.NewNotify(wire.ProtoISAKMP, ike.NotifyV1RUThere, spi, octet.AppendUint32(nil, seq))
	}
	if n := p.east.inject(westAddr, e.info(0x100, rut(1000, cookies))); n != 1 {
		t.Errorf("R-U-THERE has %d answers", n)
	}
	for i, msg := range [][]byte{
		e.info(0x101, rut(1000, cookies)),
		e.info(0x102, rut(999, cookies)),
		e.info(0x103, rut(2000, cookiesOf(1, 2))),
		e.info(0x104, rut(2000, nil)),
		e.info(0x105, wire.NewNotify(wire.ProtoISAKMP, ike.NotifyV1RUThere, cookies, []byte{1, 2, 3})),
		e.info(0x106, wire.NewNotify(wire.ProtoISAKMP, ike.NotifyV1RUThereAck, cookies, octet.AppendUint32(nil, 5))),
		e.info(0x100, rut(3000, cookies)),
		wire.Append(nil, e.header(ike.InfoV1, 0x107), rut(3000, cookies)),
		wire.Append(nil, ike.Header{SPIi: 77, SPIr: 78, Major: 1, Exchange: ike.InfoV1, MessageID: 5}, rut(3000, cookiesOf(77, 78))),
	} {
		before, heard := e.dpd, e.lastHeard
		p.now = p.now.Add(time.Second)
		if n := p.east.inject(westAddr, msg); n != 0 {
			t.Errorf("%d: answered", i)
		}
		if e.dpd != before || e.lastHeard != heard {
			t.Errorf("%d: counts", i)
		}
	}
	p.settle()
	// The honest twin: an hour of it, and a peer that is gone.
	p.pass(20 * time.Minute)
	if len(facts[ike.IKEDown](p.west)) != 0 || w.dpd.seq == 0 && e.dpd.seq == 0 { // the less patient one asks
		t.Error(p)
	}
	p.fate = func(datagram) []datagram { return nil }
	p.pass(2 * time.Minute)
	for _, n := range []*node{p.west, p.east} {
		d := facts[ike.IKEDown](n)
		if len(d) != 1 || d[0].Why == nil || d[0].Why.Reason != ike.ReasonSilent || len(n.plane) != 0 {
			t.Errorf("%s: %+v\n%s", n.name, d, p)
		}
	}
}

func TestAdv_V1_12(t *testing.T) {
	p := newPair(t, 120)
	_, e := p.up()
	msg := e.info(0x200,
		wire.NewDelete(wire.ProtoISAKMP, cookiesOf(e.spiI, e.spiR)),
		wire.NewDelete(wire.ProtoESP, spiOctets(ipsec.ESP, e.children[0].out[0].SPI)),
		wire.NewDelete(wire.ProtoISAKMP, cookiesOf(e.spiI, e.spiR)),
		wire.NewNotify(wire.ProtoISAKMP, ike.NotifyV1InitialContact, cookiesOf(e.spiI, e.spiR), nil))
	p.east.inject(westAddr, msg)
	if e.state != stateBare || len(e.children) != 1 {
		t.Errorf("state %d, %d children", e.state, len(e.children))
	}
	p.unmoved(p.east, e, "again", msg)
}

// A Delete only reaches SAs of the peer that sent it.
func TestDeleteOfStrangers(t *testing.T) {
	p := newPair(t, 121)
	w, e := p.up()
	p.west.inject(eastAddr, e.info(0x300, wire.NewDelete(wire.ProtoESP, []byte{1, 2, 3, 4}, []byte{0, 0, 0, 0})))
	p.west.inject(eastAddr, e.info(0x301, wire.NewDelete(wire.ProtoAH, spiOctets(ipsec.ESP, w.children[0].out[0].SPI))))
	p.west.inject(eastAddr, e.info(0x302, wire.NewDelete(wire.ProtoISAKMP, cookiesOf(1, 2))))
	p.west.inject(eastAddr, e.info(0x303, wire.NewDelete(wire.ProtoISAKMP, []byte{1, 2, 3, 4})))
	p.west.inject(eastAddr, e.info(0x304, wire.NewDelete(wire.ProtoESP, []byte{1, 2, 3})))
	p.check(1)
	if w.state != stateUp {
		t.Error(p)
	}
	// The inbound SPI is ours to name, not the peer's.
	p.west.inject(eastAddr, e.info(0x305, wire.NewDelete(wire.ProtoESP, spiOctets(ipsec.ESP, w.children[0].in[0].SPI))))
	p.check(1)
}

// quickParts is an honest QI1 to east, for attacks to change.
func quickParts(w *SA) []wire.Payload {
	c := w.conn
	q := &quick{conn: c}
	st := &step{SA: w, now: epoch, out: new([]ike.Action)}
	if why := st.prepare(q); why != nil {
		panic(why)
	}
	q.terms.group = nil
	ps := []wire.Payload{w.offers2(c, q.parts, q.terms), wire.Nonce{Data: make([]byte, 16)}}
	ids, err := w.clientIDs(q.sides)
	if err != nil {
		panic(err)
	}
	for _, id := range ids {
		ps = append(ps, id)
	}
	return ps
}

func TestAdv_V1_13(t *testing.T) {
	p := newPair(t, 122)
	p.both(func(c *ike.Conn) { c.PFS = false })
	w, e := p.up()
	good := quickParts(w)
	sa, nonce, idi, idr := good[0], good[1], good[2].(wire.ID), good[3].(wire.ID)
	id := func(kind uint8, data ...byte) wire.ID { return wire.ID{Kind: kind, Data: data} }
	before := len(p.east.plane)
	n := uint32(0x400)
	try := func(what string, answers int, ps ...wire.Payload) {
		t.Helper()
		n++
		quicks := len(e.quicks)
		if got := p.east.inject(westAddr, w.quickMsg(n, ps...)); got != answers {
			t.Errorf("%s: %d answers, want %d", what, got, answers)
		}
		if len(e.quicks) != quicks || len(p.east.plane) != before {
			t.Errorf("%s: makes state", what)
		}
		p.flying = nil
	}
	try("no nonce", 0, sa, idi, idr)
	try("no SA", 0, nonce, idi, idr)
	try("short nonce is the codec's", 0, sa, wire.Nonce{Data: make([]byte, 4)}, idi, idr)
	try("one ID", 1, sa, nonce, idi)
	try("three IDs", 0, sa, nonce, idi, idr, idr)
	try("a range", 1, sa, nonce, id(wire.IDIPv4Range, 192, 168, 100, 0, 192, 168, 100, 255), idr)
	try("a name", 1, sa, nonce, idi, wire.NewID(mustID("@east")))
	try("other net", 1, sa, nonce, id(wire.IDIPv4Subnet, 10, 0, 0, 0, 255, 0, 0, 0), idr)
	try("everything", 1, sa, nonce, id(wire.IDIPv4Subnet, 0, 0, 0, 0, 0, 0, 0, 0), id(wire.IDIPv4Subnet, 0, 0, 0, 0, 0, 0, 0, 0))
	try("a mask with a hole", 1, sa, nonce, id(wire.IDIPv4Subnet, 192, 168, 100, 0, 255, 255, 0, 255), idr)
	try("host bits", 1, sa, nonce, id(wire.IDIPv4Subnet, 192, 168, 100, 1, 255, 255, 255, 0), idr)
	try("a port", 1, sa, nonce, wire.ID{Kind: idi.Kind, Proto: 6, Port: 80, Data: idi.Data}, idr)
	try("two protocols", 1, sa, nonce, wire.ID{Kind: idi.Kind, Proto: 6, Data: idi.Data}, wire.ID{Kind: idr.Kind, Proto: 17, Data: idr.Data})
	try("KE without group", 1, sa, nonce, wire.KE{Data: make([]byte, 256)}, idi, idr)
	msg, _ := wire.Seal(nil, w.header(ike.QuickMode, 0x500), w.block, phase2IV(w.chosen.PRF, w.iv, 0x500), good...)
	p.unmoved(p.east, e, "no HASH", msg)
	if n := p.east.inject(westAddr, w.quickMsg(0x501, good...)); n != 1 || len(e.quicks) != 2 {
		t.Errorf("honest twin: %d answers\n%s", n, p)
	}
}

func TestAdv_V1_14(t *testing.T) {
	p := newPair(t, 123)
	p.both(func(c *ike.Conn) {
		c.PFS = false
		c.ESP = append(parsed(suite.ParseESP, "aes256-sha2_256"), parsed(suite.ParseESP, "null-sha2_256")...)
	})
	w, e := p.up()
	rest := quickParts(w)[1:]
	attrs := func(as ...wire.Attr) []wire.Attr {
		return append([]wire.Attr{wire.NewAttr(attr2Mode, modeTunnel), wire.NewAttr(attr2LifeType, 1), wire.NewAttr(attr2Life, 3600)}, as...)
	}
	auth, bits := wire.NewAttr(attr2Auth, 5), func(n uint32) wire.Attr { return wire.NewAttr(attr2KeyLength, n) }
	n := uint32(0x600)
	try := func(what string, want bool, id uint8, as []wire.Attr) {
		t.Helper()
		n++
		spi := spiOctets(ipsec.ESP, ipsec.SPI(0x10000+n))
		sa := wire.SA{Proposals: []wire.Proposal{{Number: 1, Protocol: wire.ProtoESP, SPI: spi, Transforms: []wire.Transform{{Number: 1, ID: id, Attrs: as}}}}}
		quicks := len(e.quicks)
		p.east.inject(westAddr, w.quickMsg(n, append([]wire.Payload{sa}, rest...)...))
		last := p.sent[len(p.sent)-1]
		if got := len(e.quicks) > quicks; got != want || got != (headOf(last).Exchange == ike.QuickMode) {
			t.Errorf("%s: taken %t\n%s", what, got, p.east.reports[len(p.east.reports)-1].Fact)
		}
		p.flying = nil
	}
	try("honest", true, 12, attrs(bits(256), auth))
	try("honest NULL", true, 11, attrs(auth))
	try("AES-GMAC", false, 23, attrs(bits(256)))
	try("NULL and NULL", false, 11, attrs())
	try("no authentication", false, 12, attrs(bits(256)))
	try("key length missing", false, 12, attrs(auth))
	try("key length 0", false, 12, attrs(bits(0), auth))
	try("key length 255", false, 12, attrs(bits(255), auth))
	try("key length 192", false, 12, attrs(bits(192), auth))
	try("DES", false, 2, attrs(auth))
	try("3DES", false, 3, attrs(auth))
	try("no mode", false, 12, []wire.Attr{bits(256), auth})
	try("transport mode", false, 12, []wire.Attr{wire.NewAttr(attr2Mode, modeTransport), bits(256), auth})
	try("UDP where there is no NAT", false, 12, []wire.Attr{wire.NewAttr(attr2Mode, modeUDPTunnel), bits(256), auth})
	try("mode 9", false, 12, []wire.Attr{wire.NewAttr(attr2Mode, 9), bits(256), auth})
	try("unknown attribute", false, 12, attrs(bits(256), auth, wire.NewAttr(77, 1)))
	try("life type 9", false, 12, []wire.Attr{wire.NewAttr(attr2LifeType, 9), wire.NewAttr(attr2Life, 1), wire.NewAttr(attr2Mode, 1), bits(256), auth})
	for what, spi := range map[string][]byte{"SPI of 2 octets": {1, 2}, "SPI 5": {0, 0, 0, 5}, "no SPI": {}} {
		n++
		sa := wire.SA{Proposals: []wire.Proposal{{Number: 1, Protocol: wire.ProtoESP, SPI: spi, Transforms: []wire.Transform{{Number: 1, ID: 12, Attrs: attrs(bits(256), auth)}}}}}
		quicks := len(e.quicks)
		p.east.inject(westAddr, w.quickMsg(n, append([]wire.Payload{sa}, rest...)...))
		if len(e.quicks) != quicks {
			t.Errorf("%s is taken", what)
		}
		p.flying = nil
	}
}

// V1-15: QI2 lost, doubled, late; the outbound SA waits for it, or for traffic.
func TestAdv_V1_15(t *testing.T) {
	start := func() (p *pair, e *SA, qi2 *datagram) {
		p = newPair(t, 124)
		qi2 = new(datagram)
		p.fate = func(d datagram) []datagram {
			if d.from == p.west && headOf(d).Exchange == ike.QuickMode {
				if len(p.west.plane) == 2 { // both SAs are in: this is QI2
					*qi2 = d
					return nil
				}
			}
			return []datagram{d}
		}
		p.west.initiate()
		p.settle()
		e = p.east.machines[0].(*SA)
		if len(p.east.plane) != 1 || len(facts[ike.ChildUp](p.east)) != 0 || len(e.quicks) != 1 {
			t.Fatalf("half an installation\n%s", p)
		}
		return p, e, qi2
	}
	p, _, qi2 := start()
	for range 3 { // late and tripled
		p.east.receive(qi2.Send)
	}
	p.check(1)
	p.once()

	p, e, _ := start()
	p.east.step(e, ike.Plane{Event: ipsec.FirstUse{ID: e.quicks[0].in[0]}})
	p.east.step(e, ike.Plane{Event: ipsec.FirstUse{ID: e.quicks[0].in[0]}})
	p.check(1)
	p.once()

	p, _, _ = start() // lost: QR1 comes again, and QI2 with it
	p.fate = nil
	p.pass(15 * time.Second)
	p.check(1)
	p.once()

	p, e, _ = start() // lost for ever
	p.pass(3 * time.Minute)
	if len(p.east.plane) != 0 || len(e.quicks) != 0 {
		t.Errorf("something is left\n%s", p)
	}
	if why := p.east.failure(); why.Reason != ike.ReasonSilent {
		t.Errorf("%+v", why)
	}

	p, e, qi2 = start()
	forged := bytes.Clone(qi2.Msg)
	forged[len(forged)-20] ^= 1
	p.unmoved(p.east, e, "a forged QI2", forged)
	commit := bytes.Clone(qi2.Msg)
	commit[19] |= uint8(ike.FlagCommit)
	p.east.inject(westAddr, commit)
	p.check(1)
	if !p.east.said("ignoring the Commit Bit") {
		t.Error(p)
	}
}

func TestAdv_V1_16(t *testing.T) {
	p := newPair(t, 125)
	p.both(func(c *ike.Conn) { c.PFS = false })
	w, e := p.up()
	ps := quickParts(w)
	p.unmoved(p.east, e, "message ID 0", w.quickMsg(0, ps...), e.info(0, wire.NewDelete(wire.ProtoISAKMP, cookiesOf(e.spiI, e.spiR))))
	p.unmoved(p.east, e, "message ID of a Quick Mode", w.quickMsg(w.quicks[0].id, ps...), e.info(w.quicks[0].id, wire.NewDelete(wire.ProtoISAKMP, cookiesOf(e.spiI, e.spiR))))
	msg := e.info(0x700, wire.NewNotify(wire.ProtoISAKMP, 40000, nil, nil))
	p.east.inject(westAddr, msg)
	p.unmoved(p.east, e, "message ID used", msg, e.info(0x700, wire.NewDelete(wire.ProtoISAKMP, cookiesOf(e.spiI, e.spiR))), w.quickMsg(0x700, ps...))
	p.unmoved(p.west, w, "our own words come back", p.sent[len(p.sent)-1].Msg, p.sent[6].Msg)
	p.honest()
}

// V1-19: INITIAL-CONTACT counts when it is proven and said at once.
func TestAdv_V1_19(t *testing.T) {
	p := newPair(t, 126)
	w, e := p.up()
	ic := wire.NewNotify(wire.ProtoISAKMP, ike.NotifyV1InitialContact, cookiesOf(e.spiI, e.spiR), nil)
	p.east.inject(westAddr, e.info(0x800, ic)) // late
	p.check(1)
	// A peer that has started anew: a new Main Mode, then the word.
	n := NewInitiator(p.west.cfg, p.west.conns[0], westAddr, eastAddr)
	p.west.machines = append(p.west.machines, n)
	p.west.cfg.UseInitialContact = nil
	n.state = stateNew
	st := &step{SA: n, now: p.now, out: new([]ike.Action)}
	st.begin() // without a Quick Mode
	p.west.perform(n, *st.out)
	p.settle()
	f := p.east.newest()
	if f == e || len(f.children) != 1 {
		t.Fatal(p)
	}
	p.east.inject(westAddr, f.info(0x801, wire.NewNotify(wire.ProtoISAKMP, ike.NotifyV1InitialContact, cookiesOf(f.spiI, f.spiR), nil)))
	p.pass(time.Second)
	if len(f.children) != 0 || len(p.east.plane) != 0 || f.state != stateUp {
		t.Error(p)
	}
	_ = w
}

// V1-22: NAT-D payloads in the wrong number, of the wrong length, or twisted.
func TestAdv_V1_22(t *testing.T) {
	for name, change := range map[string]func(ps wire.Payloads) []wire.Payload{
		"none": func(ps wire.Payloads) []wire.Payload { return ps[:2] },
		"one":  func(ps wire.Payloads) []wire.Payload { return ps[:3] },
		"length": func(ps wire.Payloads) []wire.Payload {
			return append(ps[:2], wire.NATD{Hash: []byte{1}}, wire.NATD{Hash: []byte{2}})
		},
		"many": func(ps wire.Payloads) []wire.Payload {
			for range 40 {
				ps = append(ps, ps[2])
			}
			return ps
		},
	} {
		p := newPair(t, 127)
		p.fate = func(d datagram) []datagram {
			if m, err := wire.Parse(d.Msg); err == nil && d.from == p.west && len(m.NATDs()) > 0 {
				d.Msg = wire.Append(nil, m.Header, change(m.Payloads)...)
			}
			return []datagram{d}
		}
		p.west.initiate()
		p.pass(2 * time.Minute)
		if name == "none" || name == "one" {
			for _, m := range p.east.machines {
				if m.(*SA).encap {
					t.Errorf("%s: encapsulation", name)
				}
			}
		}
	}
	// Draft numbers where the RFC was negotiated are not taken.
	p := newPair(t, 128)
	w := p.west.initiate()
	p.east.inject(westAddr, p.sent[0].Msg)
	p.flying = nil
	h := ike.Header{SPIi: w.spiI, SPIr: headOf(p.sent[1]).SPIr, Major: 1, Exchange: ike.MainMode}
	p.east.inject(westAddr, wire.Append(nil, h, wire.KE{Data: bytes.Repeat([]byte{3}, 256)}, wire.Nonce{Data: make([]byte, 16)}, wire.NATD{Draft: true, Hash: make([]byte, 32)}, wire.NATD{Draft: true, Hash: make([]byte, 32)}))
	if len(p.east.machines) != 0 {
		t.Error("drafts without their vendor ID")
	}
	// Before the peer is proven, a message from elsewhere moves nothing.
	p = newPair(t, 129)
	p.fate = func(d datagram) []datagram {
		if d.from == p.west && headOf(d).Flags&ike.FlagEncryption != 0 {
			return nil
		}
		return []datagram{d}
	}
	p.west.initiate()
	p.settle()
	e := p.east.machines[0].(*SA)
	before := e.digest()
	mi3 := p.sent[len(p.sent)-1].Msg
	bad := bytes.Clone(mi3)
	bad[len(bad)-40] ^= 1
	p.east.inject(netip.MustParseAddrPort("6.6.6.6:4500"), bad)
	if e.digest() != before {
		t.Error("a forged MI3 moves the peer")
	}
}

// The drafts of NAT traversal, as peers of 2004 spoke them.
func TestDraftNATTraversal(t *testing.T) {
	old := ourVendorIDs
	defer func() { ourVendorIDs = old }()
	p := newPair(t, 130)
	p.useNAT()
	p.fate = func(d datagram) []datagram {
		// West has never heard of RFC 3947.
		if m, err := wire.Parse(d.Msg); err == nil && d.from == p.west && headOf(d).SPIr == 0 {
			m.Payloads = slices.DeleteFunc(m.Payloads, func(x wire.Payload) bool {
				v, ok := x.(wire.VendorID)
				return ok && string(v.Data) == vidNATT
			})
			d.Msg = wire.Append(nil, m.Header, m.Payloads...)
		}
		return []datagram{d}
	}
	w, e := p.up()
	if !w.natDraft || !e.natDraft || !w.encap {
		t.Error(p)
	}
}

// V1-23: lifetimes of a peer are clamped.
func TestAdv_V1_23(t *testing.T) {
	for _, c := range []struct {
		value any
		life  time.Duration // 0: refused in phase 1
		phase int
	}{
		{uint32(0), minLife, 1}, {uint32(1), minLife, 1}, {uint32(86400), maxLife, 1}, {uint32(86401), 0, 1}, {uint32(0xffffffff), 0, 1},
		{bytes.Repeat([]byte{255}, 8), 0, 1}, {bytes.Repeat([]byte{255}, 20), 0, 1},
		{uint32(0), minLife, 2}, {uint32(1), minLife, 2}, {uint32(86401), maxLife, 2}, {uint32(0xffffffff), maxLife, 2}, {bytes.Repeat([]byte{255}, 20), maxLife, 2},
	} {
		attr := func(typ uint16) wire.Attr {
			if n, ok := c.value.(uint32); ok {
				return wire.NewAttr(typ, n)
			}
			return wire.Attr{Type: typ, Value: c.value.([]byte)}
		}
		var got time.Duration
		var err error
		if c.phase == 1 {
			var p phase1
			good := offers1(newPair(t, 1).west.conns[0])[0].wire(1)
			good.Attrs[len(good.Attrs)-1] = attr(attrLife)
			p, err = readPhase1(good)
			got = p.life
		} else {
			var a asked2
			a, err = read2(wire.ProtoESP, wire.Transform{ID: 12, Attrs: []wire.Attr{
				wire.NewAttr(attr2LifeType, 1), attr(attr2Life), wire.NewAttr(attr2LifeType, 2), attr(attr2Life), wire.NewAttr(attr2Mode, 1), wire.NewAttr(attr2KeyLength, 256), wire.NewAttr(attr2Auth, 5)}})
			got = a.life
			if a.kilobytes*1024 < a.kilobytes {
				t.Errorf("%v: kilobytes overflow", c.value)
			}
		}
		if (err == nil) != (c.life != 0) || err == nil && got != c.life {
			t.Errorf("phase %d, %v: %s, %v", c.phase, c.value, got, err)
		}
	}
	// No storm: a peer that asks for nothing at all.
	p := newPair(t, 131)
	p.both(func(c *ike.Conn) { c.ChildLife, c.IKELife = time.Second, time.Second })
	p.up()
	sent := len(p.sent)
	p.pass(10 * time.Minute)
	if n := len(p.sent) - sent; n > 400 {
		t.Errorf("%d messages in ten minutes", n)
	}
	p.usable()
}

// V1-25: a bad message in a chain whose ID is known leaves the chain as it was.
func TestAdv_V1_25(t *testing.T) {
	p := newPair(t, 132)
	var held []datagram
	p.fate = func(d datagram) []datagram {
		if d.from == p.east && headOf(d).Exchange == ike.QuickMode {
			held = append(held, d)
			return nil
		}
		return []datagram{d}
	}
	w := p.west.initiate()
	p.settle()
	if len(held) != 1 || len(w.quicks) != 1 {
		t.Fatal(p)
	}
	for i := ike.HeaderLen; i < len(held[0].Msg); i += 7 {
		bad := bytes.Clone(held[0].Msg)
		bad[i] ^= 0x40
		if i >= len(bad)-32 {
			continue // may be padding
		}
		p.unmoved(p.west, w, "a flipped bit", bad)
	}
	p.unmoved(p.west, w, "cut", held[0].Msg[:len(held[0].Msg)-16])
	p.fate = nil
	p.west.receive(held[0].Send)
	p.settle()
	p.check(1)
}

// Everything that was ever on the wire, said again to both ends, changes
// nothing.
func TestReplayOfEverything(t *testing.T) {
	for seed := byte(133); seed < 136; seed++ {
		p := newPair(t, seed)
		p.both(func(c *ike.Conn) { c.DPDDelay = 10 * time.Second })
		if seed == 134 {
			p.useRSA()
		}
		p.up()
		p.pass(3 * time.Hour)
		all := slices.Clone(p.sent)
		before := map[*SA]string{}
		for _, n := range []*node{p.west, p.east} {
			for _, m := range n.machines {
				before[m.(*SA)] = m.(*SA).digest()
			}
		}
		reports := len(p.west.reports) + len(p.east.reports)
		for _, d := range all {
			for _, n := range []*node{p.west, p.east} {
				n.receive(ike.Send{Local: p.other(n).addr, Remote: n.addr, Msg: d.Msg})
			}
		}
		p.flying = nil
		for s, was := range before {
			if is := s.digest(); is != was {
				t.Fatalf("seed %d, #%d changes:\n%s\n%s", seed, s.serial, was, is)
			}
		}
		for _, n := range []*node{p.west, p.east} {
			for _, r := range n.reports {
				if _, ok := r.Fact.(ike.Failed); ok {
					t.Error(p)
				}
			}
		}
		_ = reports
		p.pass(5 * time.Minute) // half-open machines made of old words end
		p.usable()
		p.honest()
	}
}

// V1-17: fragments were never negotiated, so there are none.
func TestAdv_V1_17(t *testing.T) {
	p := newPair(t, 137)
	w, e := p.up()
	for _, s := range []ike.Header{{SPIi: 5, Major: 1, Exchange: ike.MainMode}, w.header(ike.MainMode, 0), w.header(ike.QuickMode, 9)} {
		s.Next = 132
		for _, body := range [][]byte{{0, 0, 0, 1, 0, 0}, {0, 0, 0, 1, 1, 1, 2}, {0, 0, 0, 1, 17, 1}} {
			msg := append(s.Append(nil), 0, 0, 0, byte(4+len(body)))
			msg = append(msg, body...)
			msg[27] = byte(len(msg))
			p.unmoved(p.east, e, "a fragment", msg)
		}
	}
	p.honest()
}

// V1-21: Mode Config and XAUTH do not exist, before or after.
func TestAdv_V1_21(t *testing.T) {
	p := newPair(t, 138)
	w, e := p.up()
	msg, _ := wire.Seal(nil, w.header(ike.Transaction, 9), w.block, phase2IV(w.chosen.PRF, w.iv, 9), wire.HASH{Data: make([]byte, 32)})
	p.unmoved(p.east, e, "a transaction", msg)
	if !p.east.said("unsupported exchange type TRANSACTION in message") {
		t.Error(p)
	}
	p.honest()
}

// V1-24: after an Aggressive Mode that was refused, nothing goes on.
func TestAdv_V1_24(t *testing.T) {
	p := newPair(t, 139)
	h := ike.Header{SPIi: 9, Major: 1, Exchange: ike.Aggressive}
	p.east.inject(westAddr, wire.Append(nil, h, offerSA(offers1(p.east.conns[0])), wire.KE{Data: make([]byte, 256)}, wire.Nonce{Data: make([]byte, 16)}, wire.NewID(mustID("@west"))))
	for _, cookie := range []uint64{1, 0xffffffffffffffff} {
		h.SPIr = cookie
		for _, x := range []ike.ExchangeType{ike.Aggressive, ike.MainMode, ike.QuickMode} {
			h.Exchange = x
			p.east.inject(westAddr, wire.Append(nil, h, wire.HASH{Data: make([]byte, 32)}))
		}
	}
	if len(p.sent) != 0 || len(p.east.machines) != 0 {
		t.Error(p)
	}
	p.up()
}

// One first message of Main Mode or Aggressive Mode that nobody follows up is
// answered once, with no more octets than it had, or not at all.
func TestAdv_RES_02_OneUnanswered(t *testing.T) {
	for x, answers := range map[ike.ExchangeType]int{ike.MainMode: 1, ike.Aggressive: 0} {
		p := newPair(t, 118)
		ps := []wire.Payload{offerSA(offers1(p.east.conns[0]))}
		for _, v := range ourVendorIDs {
			ps = append(ps, wire.VendorID{Data: []byte(v)})
		}
		msg := wire.Append(nil, ike.Header{SPIi: 7, Major: 1, Exchange: x}, ps...)
		p.east.inject(westAddr, msg)
		p.flying = nil
		p.pass(time.Hour)
		octets := 0
		for _, d := range p.sent {
			octets += len(d.Msg)
		}
		if len(p.sent) != answers || octets > len(msg) {
			t.Errorf("%s: %d octets get %d answers of %d octets", x, len(msg), len(p.sent), octets)
		}
	}
}
