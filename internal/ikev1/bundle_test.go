package ikev1

import (
	"slices"
	"strings"
	"testing"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ikev1/wire"
	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

// whole checks that each SA of a node belongs to a pair that is up, and that
// each inbound SA of a bundle names all of it.
func (n *node) whole(t *testing.T, size int) {
	t.Helper()
	known := map[ipsec.SAID]bool{}
	for _, m := range n.machines {
		for _, c := range m.(*SA).children {
			if len(c.in) != size || len(c.out) != size {
				t.Errorf("%s: bundles %v and %v, want %d SAs", n.name, c.in, c.out, size)
			}
			for _, id := range c.in {
				known[id] = true
				if sa, ok := n.plane[id]; !ok || !slices.Equal(sa.Bundle, c.in) {
					t.Errorf("%s: inbound SA %s has bundle %v, want %v", n.name, id, sa.Bundle, c.in)
				}
			}
			for _, id := range c.out {
				known[id] = true
				if sa, ok := n.plane[id]; !ok || size == 1 && sa.Bundle != nil || size > 1 && !slices.Equal(sa.Bundle, c.out) {
					t.Errorf("%s: outbound SA %s has bundle %v, want %v", n.name, id, sa.Bundle, c.out)
				}
			}
		}
		for _, g := range m.(*SA).graves {
			for _, id := range g.ids {
				known[id] = true
			}
		}
	}
	for id := range n.plane {
		if !known[id] {
			t.Errorf("%s: %s belongs to nothing", n.name, id)
		}
	}
}

func allThree(c *ike.Conn) {
	c.IKE, c.ESP = suite.FreeSWANIKE(), suite.FreeSWANESP(true)
	c.AH, c.Compress = parsed(suite.ParseAH, "md5,sha1"), true
}

// A bundle of AH, ESP and IPComp lives and dies as one: when it is made, over
// the rekeyings of a day, and when the peer deletes it.
func TestBundlesLiveAsOne(t *testing.T) {
	p := newPair(t, 50)
	p.both(allThree)
	p.west.initiate()
	p.settle()
	p.check(3)
	for range 24 {
		p.pass(time.Hour)
		p.west.whole(t, 3)
		p.east.whole(t, 3)
	}
	if n := len(facts[ike.ChildUp](p.west)); n < 3 {
		t.Fatalf("%d pairs in a day", n)
	}
	w := p.west.newest()
	for _, c := range slices.Clone(w.home().children) {
		p.west.step(w, ike.Delete{Child: c.serial})
	}
	p.pass(10 * time.Minute)
	if len(p.west.plane)+len(p.east.plane) != 0 {
		t.Errorf("SAs are left: %v %v", p.west.plane, p.east.plane)
	}
}

// A pair whose compression the peer takes back at a rekeying goes on without.
func TestRekeyWithoutCompression(t *testing.T) {
	p := newPair(t, 51)
	p.west.conns[0].Compress = true
	p.west.initiate()
	p.settle()
	p.west.whole(t, 2)
	p.east.cfg.Bundles = false
	p.pass(8 * time.Hour)
	ups := facts[ike.ChildUp](p.west)
	last := ups[len(ups)-1]
	if len(ups) < 2 || last.Rekeyed == 0 || len(last.Outs()) != 1 {
		t.Errorf("after the rekeying: %+v", last)
	}
}

// AH is refused by both roles where a NAT is in the way: the packets would never
// arrive.
func TestAHThroughNAT(t *testing.T) {
	for _, change := range []func(*ike.Conn){
		func(c *ike.Conn) { c.ESP = withKE(parsed(suite.ParseAH, "sha1"), 14) },
		func(c *ike.Conn) { c.AH = parsed(suite.ParseAH, "sha1") },
	} {
		p := newPair(t, 52)
		p.useNAT()
		p.both(change)
		p.west.initiate()
		p.settle()
		if why := p.west.failure(); why.Reason != ike.ReasonPlane || !strings.Contains(why.Why, "phase2=esp") {
			t.Errorf("initiator: %+v", why)
		}
		p = newPair(t, 53)
		p.useNAT()
		change(p.east.conns[0])
		p.west.initiate()
		p.settle()
		if !p.east.said(ike.AHThroughNAT) {
			t.Errorf("responder\n%s", p)
		}
	}
}

// strongSwan answers an offer of compression with its choice, and with the same
// once more without IPComp. Any other second choice is refused.
func TestRepeatedAnswer(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(*wire.SA)
		ok    bool
	}{
		"as strongSwan does": {func(*wire.SA) {}, true},
		"other SPI":          {func(sa *wire.SA) { sa.Proposals[2].SPI = []byte{1, 2, 3, 4} }, false},
		"other terms":        {func(sa *wire.SA) { sa.Proposals[2].Transforms[0].ID++ }, false},
		"a third":            {func(sa *wire.SA) { o := sa.Proposals[2]; o.Number++; sa.Proposals = append(sa.Proposals, o) }, false},
		"without IPComp":     {func(sa *wire.SA) { sa.Proposals = append(sa.Proposals[:1], sa.Proposals[2]) }, false},
	} {
		p := newPair(t, 54)
		w, _ := p.up()
		c := p.west.conns[0]
		offered := []part{{proto: ipsec.Comp, in: 0x4001}, {proto: ipsec.ESP, in: 0x5001}}
		tm := terms{group: w.pfsGroup(c), life: time.Hour}
		esp := wire.Proposal{Number: 1, Protocol: wire.ProtoESP, SPI: []byte{9, 9, 9, 9}, Transforms: []wire.Transform{w.transform2(1, ipsec.ESP, choices(c, ipsec.ESP)[0], tm)}}
		comp := wire.Proposal{Number: 1, Protocol: wire.ProtoIPComp, SPI: []byte{0x12, 0x34}, Transforms: []wire.Transform{w.transform2(1, ipsec.Comp, suite.Chosen{}, tm)}}
		again := esp
		again.Number, again.Transforms = 2, slices.Clone(esp.Transforms)
		sa := wire.SA{Proposals: []wire.Proposal{esp, comp, again}}
		test.spoil(&sa)
		parts, _, err := w.check2(c, offered, tm, sa)
		if (err == nil) != test.ok || test.ok && (len(parts) != 2 || parts[0].out != 0x1234 || parts[1].out != 0x09090909) {
			t.Errorf("%s: %+v, %v", name, parts, err)
		}
	}
}

// What stands in the SPI of a proposal, RFC 4303 section 2.1 and RFC 3173
// section 3.3.
func TestReadSPI(t *testing.T) {
	for _, test := range []struct {
		proto ipsec.Proto
		spi   []byte
		want  ipsec.SPI // 0: refused
	}{
		{ipsec.ESP, []byte{0, 0, 1, 0}, 0x100}, {ipsec.ESP, []byte{0, 0, 0, 255}, 0}, {ipsec.ESP, []byte{1, 0}, 0}, {ipsec.AH, nil, 0},
		{ipsec.Comp, []byte{0x10, 1}, 0x1001}, {ipsec.Comp, []byte{0, 0, 0x10, 1}, 0x1001}, {ipsec.Comp, []byte{0, 2}, 2}, {ipsec.Comp, []byte{0xff, 0xff}, 0xffff},
		{ipsec.Comp, []byte{0, 0}, 0}, {ipsec.Comp, []byte{0, 3}, 0}, {ipsec.Comp, []byte{0, 63}, 0}, {ipsec.Comp, []byte{0, 255}, 0}, {ipsec.Comp, []byte{0, 1, 0, 0}, 0},
		{ipsec.Comp, []byte{1}, 0}, {ipsec.Comp, nil, 0}, {ipsec.Comp, []byte{0, 0x10, 1}, 0},
	} {
		got, err := readSPI(test.proto, test.spi)
		if (err != nil) != (test.want == 0) || got != test.want {
			t.Errorf("%s %x: %#x, %v", test.proto, test.spi, uint32(got), err)
		}
	}
}

// R20.1: a peer that proposes nothing but ESP without encryption is refused,
// unless the connection asks for that by name.
func TestNullIsNotAccepted(t *testing.T) {
	null := withKE(parsed(suite.ParseESP, "null-sha2_256"), 14)
	for _, asked := range []bool{false, true} {
		p := newPair(t, 55)
		p.west.conns[0].ESP, p.east.conns[0].ESP = null, withKE(suite.DefaultESP(false), 14)
		if asked {
			p.east.conns[0].ESP = null
		}
		p.west.initiate()
		p.settle()
		if asked {
			p.check(1)
		} else if why := p.west.failure(); len(p.east.plane) != 0 || why == nil || !strings.Contains(why.Why, "NO-PROPOSAL-CHOSEN") {
			t.Errorf("%+v\n%s", why, p)
		}
	}
}
