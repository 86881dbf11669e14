package ikev2

import (
	"slices"
	"strings"
	"testing"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

// Whoever asks, the pair compresses, and goes on to when either end rekeys it;
// compress= of who answers does not matter (freeswan.md 2.9). RFC 7296, 2.22.
func TestIPComp(t *testing.T) {
	both(t, func(t *testing.T, p *pair, actor, other *node, am, om *SA) {
		p.check(1) // of both, without
		actor.conns[0].Compress = true
		actor.step(am, ike.Rekey{Child: am.children[0].serial})
		p.settle()
		p.pass(grace)
		p.compressed = true
		p.check(1)
		for _, n := range []*node{actor, other} {
			up := facts[ike.ChildUp](n)
			last := up[len(up)-1]
			if len(last.InBundle) != 2 || last.InBundle[0].Proto != ipsec.Comp || last.InBundle[1] != last.In || last.OutBundle[1] != last.Out ||
				!strings.HasSuffix(last.Suite, "+DEFLATE") {
				t.Errorf("%s: %+v", n.name, last)
			}
		}
		// The other end has compress=no. What compresses goes on to.
		first := am.children[0].comp
		other.step(om, ike.Rekey{Child: om.children[0].serial})
		p.settle()
		p.pass(grace)
		p.check(1)
		if am.children[0].comp == first {
			t.Error("the CPIs are those of the pair before")
		}
		actor.step(am, ike.Delete{Child: am.children[0].serial})
		p.settle()
		p.check(0)
	})
}

// IPComp agreed on in IKE_AUTH, with ESP and with AH.
func TestIPCompInAuth(t *testing.T) {
	for _, esp := range [][]suite.Proposal{suite.DefaultESP(true), suite.DefaultAH(true)} {
		p := newPair(t, 3)
		compress(p)
		for _, n := range []*node{p.west, p.east} {
			n.conns[0].ESP, n.conns[0].Encap = esp, ike.No
		}
		p.up()
		for _, sa := range p.east.plane {
			if sa.ID.Proto == ipsec.Comp && (sa.EncrKey.Len()+sa.IntegKey.Len()+sa.Replay != 0 || sa.Dir == ipsec.In && len(sa.Selectors) == 0) {
				t.Errorf("%+v", sa)
			}
		}
	}
}

// An end without numbers for IPComp goes without, whichever it is.
func TestNoCPI(t *testing.T) {
	for _, who := range []func(*pair) *node{func(p *pair) *node { return p.west }, func(p *pair) *node { return p.east }} {
		p := newPair(t, 4)
		compress(p)
		p.compressed = false
		who(p).noCPI = true
		p.up()
	}
}

// Loss, duplicates and reordering leave no half of a bundle behind.
func TestLossyWireCompressed(t *testing.T) { lossyLife(t, 50, compress) }

// Both ends rekey a pair that compresses at once.
func TestCompressedCollisions(t *testing.T) {
	for _, seed := range []byte{5, 8} {
		for with := noTrouble; with <= slowJobs; with++ {
			explore(t, seed, with, func(p *pair) {
				compress(p)
				p.compressed = false // the first pair is there already
				w, e := p.west.machines[0].(*SA), p.east.machines[0].(*SA)
				wev, eev := rekeyChild.ev(w), rekeyChild.ev(e)
				p.west.step(w, wev)
				p.east.step(e, eev)
			}, func(p *pair) {
				p.compressed = true
				one(1)(p)
			})
		}
	}
}

// What IPCOMP_SUPPORTED may say. Other algorithms, and what is malformed or no
// CPI, are passed over: the pair comes up without compression.
func TestAdv_IPCompRequest(t *testing.T) {
	deflate := func(cpi uint16, more ...byte) wire.Payload {
		return wire.NewNotify(ike.NotifyIPCompSupported, append([]byte{byte(cpi >> 8), byte(cpi), compDeflate}, more...))
	}
	raw := func(b ...byte) wire.Payload { return wire.NewNotify(ike.NotifyIPCompSupported, b) }
	for name, test := range map[string]struct {
		says []wire.Payload
		want ipsec.SPI // the CPI we send with; 0: no compression
	}{
		"DEFLATE":          {[]wire.Payload{deflate(0x1234)}, 0x1234},
		"well-known":       {[]wire.Payload{deflate(2)}, 2},
		"private use":      {[]wire.Payload{deflate(0xffff)}, 0xffff},
		"after LZS":        {[]wire.Payload{raw(0x12, 0x33, 3), deflate(0x1234)}, 0x1234},
		"twice":            {[]wire.Payload{deflate(0x1234), deflate(0x1235)}, 0x1234},
		"LZS":              {[]wire.Payload{raw(0x12, 0x34, 3)}, 0},
		"OUI":              {[]wire.Payload{raw(0x12, 0x34, 1, 9, 9, 9, 9)}, 0},
		"empty":            {[]wire.Payload{raw()}, 0},
		"short":            {[]wire.Payload{raw(0x12, 0x34)}, 0},
		"attributes":       {[]wire.Payload{deflate(0x1234, 0x80, 1, 0, 1)}, 0},
		"no CPI":           {[]wire.Payload{deflate(0)}, 0},
		"reserved CPI":     {[]wire.Payload{deflate(255)}, 0},
		"another's number": {[]wire.Payload{deflate(3)}, 0},
	} {
		p, r := rudePair(t)
		answer := r.ask(ike.CreateChild, childRequest(p, 0x7777, func(c *childParts) { c.more = test.says })...)
		if e := errorOf(answer); e != 0 {
			t.Errorf("%s: refused with %s", name, ike.NotifyName(e))
			continue
		}
		list := answer.NotifyAll(ike.NotifyIPCompSupported)
		c := p.east.machines[0].(*SA).children[1]
		switch {
		case len(list) != map[bool]int{true: 1}[test.want != 0]:
			t.Errorf("%s: answered with %d IPCOMP_SUPPORTED", name, len(list))
		case c.comp.out != test.want:
			t.Errorf("%s: we send with CPI %#x, want %#x", name, uint32(c.comp.out), uint32(test.want))
		case test.want != 0:
			if cpi, ok := readComp(list[0]); !ok || cpi != c.comp.in || cpi < ipsec.MinSPI {
				t.Errorf("%s: our CPI is %#x, told as %x", name, uint32(c.comp.in), list[0].Data)
			}
		}
	}
}

// A responder that accepts a compression which was not offered, or accepts
// twice, gets a Delete; nothing of the pair stays behind.
func TestAdv_IPCompAnswer(t *testing.T) {
	deflate := wire.NewNotify(ike.NotifyIPCompSupported, []byte{0x12, 0x34, compDeflate})
	for name, test := range map[string]struct {
		asked bool
		says  []wire.Payload
	}{
		"not asked":     {false, []wire.Payload{deflate}},
		"twice":         {true, []wire.Payload{deflate, deflate}},
		"LZS":           {true, []wire.Payload{wire.NewNotify(ike.NotifyIPCompSupported, []byte{0x12, 0x34, 3})}},
		"reserved CPI":  {true, []wire.Payload{wire.NewNotify(ike.NotifyIPCompSupported, []byte{0, 3, compDeflate})}},
		"nothing in it": {true, []wire.Payload{wire.NewNotify(ike.NotifyIPCompSupported, nil)}},
	} {
		p := newPair(t, 42)
		withoutPFS(p)
		w, _ := p.up()
		reserved := p.west.nextSPI
		p.west.conns[0].Compress = test.asked
		p.fate = func(datagram) []datagram { return nil }
		p.west.step(w, ike.AddChild{Conn: p.west.conns[0]})
		o := w.active.(*createTask).offer
		r := rudeTo(p, p.west, w)
		a := &agreement{conn: o.conn, chosen: suite.Chosen{Protocol: suite.ProtoESP, Encr: o.proposals[0].Encr[0], ESN: true}, number: 1, spiIn: 0x5555,
			sides: sides{local: o.sides.remote, remote: o.sides.local}, asked: sides{local: o.sides.remote, remote: o.sides.local}}
		r.answer(append(a.reply(make([]byte, 32), nil), test.says...)...)
		if f := p.west.failure(); f == nil || f.Reason != ike.ReasonProposal || !strings.Contains(f.Why, "compression") {
			t.Errorf("%s: %+v", name, f)
		}
		if w.state != stateUp || len(w.children) != 1 || len(p.west.plane) != 2 {
			t.Errorf("%s: %d children, %d SAs\n%s", name, len(w.children), len(p.west.plane), p)
		}
		if want := p.west.nextSPI - reserved; want != map[bool]ipsec.SPI{false: 1, true: 2}[test.asked] {
			t.Errorf("%s: %d SPIs were reserved", name, want)
		}
	}
}

// AH does not pass a NAT: neither end agrees to it there.
func TestAHThroughNAT(t *testing.T) {
	p := newPair(t, 1)
	for _, n := range []*node{p.west, p.east} {
		n.conns[0].ESP, n.conns[0].Encap = suite.DefaultAH(true), ike.Yes
	}
	p.west.initiate()
	p.pass(time.Minute)
	if f := p.west.failure(); f == nil || !strings.Contains(f.Why, "phase2=esp") {
		t.Errorf("initiator: %+v\n%s", f, p)
	}
	p = newPair(t, 2)
	withoutPFS(p)
	p.west.conns[0].Encap, p.east.conns[0].Encap = ike.Yes, ike.Yes
	_, e := p.up()
	ah := *p.east.conns[0]
	ah.ESP = suite.DefaultAH(false)
	p.east.conns[0], e.conn = &ah, &ah
	answer := rudeTo(p, p.east, e).ask(ike.CreateChild, childRequest(p, 0x7777, func(c *childParts) {
		c.sa = saPayload(ah.ESP, spiOctets(0x7777))
	})...)
	if errorOf(answer) != ike.NotifyNoProposalChosen || p.east.failure() == nil || p.east.failure().Why != ike.AHThroughNAT {
		t.Errorf("responder: %v %+v", answer, p.east.failure())
	}
}

// A connection of AH beside one of ESP that goes in UDP by default: the caller
// says by its NAT detection whether it wants UDP, and the other does not insist.
func TestAHBesideESP(t *testing.T) {
	for _, ah := range []bool{false, true} {
		p := newPair(t, 5)
		withoutPFS(p)
		hosts := func(local, remote *node, l, r string) *ike.Conn {
			c := connection("ah", local, remote, l, r)
			c.ESP, c.PFS, c.Encap = suite.DefaultAH(false), false, ike.No
			return c
		}
		p.east.conns = append(p.east.conns, hosts(p.east, p.west, "192.168.200.5/32", "192.168.100.5/32"))
		if ah {
			p.west.conns[0] = hosts(p.west, p.east, "192.168.100.5/32", "192.168.200.5/32")
		}
		p.west.initiate()
		p.settle()
		p.check(1)
		if got := facts[ike.ChildUp](p.east)[0].Encap != (ipsec.Encap{}); got == ah {
			t.Errorf("AH %v: in UDP %v\n%s", ah, got, p)
		}
	}
}

// The SAs of a pair, innermost first.
func TestBundleOfAPair(t *testing.T) {
	c := &child{in: ipsec.SAID{Proto: ipsec.ESP, SPI: 0x1001}, out: ipsec.SAID{Proto: ipsec.ESP, SPI: 0x2001}}
	if !slices.Equal(c.ins(), []ipsec.SAID{c.in}) || !slices.Equal(c.outs(), []ipsec.SAID{c.out}) {
		t.Errorf("%v %v", c.ins(), c.outs())
	}
	c.comp = cpis{in: 0x4001, out: 2}
	for _, id := range []ipsec.SAID{c.in, c.out, {Proto: ipsec.Comp, SPI: 0x4001}, {Proto: ipsec.Comp, SPI: 2}} {
		if !c.has(id) {
			t.Errorf("%s is not of the pair", id)
		}
	}
}

// R20.1: a peer that proposes nothing but ESP without encryption is refused,
// unless the connection asks for that by name.
func TestNullIsNotAccepted(t *testing.T) {
	null, err := suite.ParseESP("null-sha2_256")
	if err != nil {
		t.Fatal(err)
	}
	for _, asked := range []bool{false, true} {
		p := newPair(t, 6)
		p.west.conns[0].ESP = null
		if asked {
			p.east.conns[0].ESP = null
		}
		p.west.initiate()
		p.settle()
		if asked {
			p.check(1)
		} else if why := p.west.failure(); len(p.east.plane) != 0 || why == nil || why.Notify != ike.NotifyNoProposalChosen {
			t.Errorf("%+v\n%s", why, p)
		}
	}
}
