package ikev1

import (
	"slices"
	"strings"
	"testing"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ikev1/wire"
	"cygnet/internal/ipsec"
	"cygnet/internal/octet"
	"cygnet/internal/suite"
)

// A responder that holds the keys and says what it likes: east, with its
// messages changed on the way.

// lastBlock is the IV that the next message of an exchange has.
func lastBlock(msg []byte) []byte { return msg[len(msg)-16:] }

// lying has east's message of an exchange changed once, before it is encrypted
// and its HASH computed.
func (p *pair) lying(x ike.ExchangeType, change func(wire.Payloads) wire.Payloads) {
	var asked datagram
	done := false
	p.fate = func(d datagram) []datagram {
		h := headOf(d)
		if d.from == p.west {
			asked = d
			return []datagram{d}
		}
		if h.Exchange != x || done {
			return []datagram{d}
		}
		if h.Flags&ike.FlagEncryption == 0 {
			if m, err := wire.Parse(d.Msg); err == nil {
				d.Msg = wire.Append(nil, h, change(m.Payloads)...)
			}
			return []datagram{d}
		}
		done = true
		e := p.east.machines[0].(*SA)
		o, err := wire.Open(d.Msg, e.block, lastBlock(asked.Msg))
		if err != nil {
			p.t.Fatal(err)
		}
		ps := o.Payloads
		if x == ike.MainMode {
			ps = change(ps)
		} else {
			ps = change(ps[1:])
			q := p.west.machines[0].(*SA).quickByMessage(h.MessageID)
			hash := e.hash2(h.MessageID, q.ni, wire.AppendPayloads(nil, ps...))
			ps = append(wire.Payloads{wire.HASH{Data: hash}}, ps...)
		}
		d.Msg, _ = wire.Seal(nil, h, e.block, lastBlock(asked.Msg), ps...)
		return []datagram{d}
	}
}

// with replaces payloads of one kind.
func with[P wire.Payload](ps wire.Payloads, change func(P) wire.Payload) (out wire.Payloads) {
	for _, p := range ps {
		if q, ok := p.(P); ok {
			p = change(q)
		}
		if p != nil {
			out = append(out, p)
		}
	}
	return out
}

// transformOf changes the one transform of an SA payload.
func transformOf(change func(*wire.Proposal)) func(wire.Payloads) wire.Payloads {
	return func(ps wire.Payloads) wire.Payloads {
		return with(ps, func(sa wire.SA) wire.Payload {
			var prop []wire.Proposal
			for _, o := range sa.Proposals {
				o.Transforms = slices.Clone(o.Transforms)
				o.Transforms[0].Attrs = slices.Clone(o.Transforms[0].Attrs)
				change(&o)
				prop = append(prop, o)
			}
			return wire.SA{Proposals: prop}
		})
	}
}

func setAttr(typ uint16, v uint32) func(*wire.Proposal) {
	return func(o *wire.Proposal) {
		for i, a := range o.Transforms[0].Attrs {
			if a.Type == typ {
				o.Transforms[0].Attrs[i] = wire.NewAttr(typ, v)
			}
		}
	}
}

func TestLyingQuickMode(t *testing.T) {
	drop := func(wire.KE) wire.Payload { return nil }
	for name, c := range map[string]struct {
		change func(wire.Payloads) wire.Payloads
		reason ike.Reason
	}{
		"another cipher": {transformOf(func(o *wire.Proposal) { o.Transforms[0].ID = 3 }), ike.ReasonProposal},
		"a shorter key":  {transformOf(setAttr(attr2KeyLength, 128)), ike.ReasonProposal},
		"another hash":   {transformOf(setAttr(attr2Auth, 1)), ike.ReasonProposal},
		"transport mode": {transformOf(setAttr(attr2Mode, 2)), ike.ReasonProposal},
		"in UDP":         {transformOf(setAttr(attr2Mode, 3)), ike.ReasonProposal},
		"another group":  {transformOf(setAttr(attr2Group, 15)), ike.ReasonProposal},
		"no group":       {transformOf(func(o *wire.Proposal) { o.Transforms[0].Attrs = o.Transforms[0].Attrs[1:] }), ike.ReasonProposal},
		"two transforms": {transformOf(func(o *wire.Proposal) { o.Transforms = append(o.Transforms, o.Transforms[0]) }), ike.ReasonProposal},
		"AH":             {transformOf(func(o *wire.Proposal) { o.Protocol = wire.ProtoAH }), ike.ReasonProposal},
		"SPI 0":          {transformOf(func(o *wire.Proposal) { o.SPI = make([]byte, 4) }), ike.ReasonProposal},
		"a long SPI":     {transformOf(func(o *wire.Proposal) { o.SPI = make([]byte, 8) }), ike.ReasonProposal},
		"two proposals": {func(ps wire.Payloads) wire.Payloads {
			return with(ps, func(sa wire.SA) wire.Payload {
				two := sa.Proposals[0]
				two.Number++
				return wire.SA{Proposals: append(slices.Clone(sa.Proposals), two)}
			})
		}, ike.ReasonProposal},
		"a bundle": {func(ps wire.Payloads) wire.Payloads {
			return with(ps, func(sa wire.SA) wire.Payload {
				return wire.SA{Proposals: append(slices.Clone(sa.Proposals), sa.Proposals[0])}
			})
		}, ike.ReasonProposal},
		"no KE": {func(ps wire.Payloads) wire.Payloads { return with(ps, drop) }, ike.ReasonProtocol},
		"short KE": {func(ps wire.Payloads) wire.Payloads {
			return with(ps, func(wire.KE) wire.Payload { return wire.KE{Data: []byte{1}} })
		}, ike.ReasonProtocol},
		"KE of 1": {func(ps wire.Payloads) wire.Payloads {
			return with(ps, func(k wire.KE) wire.Payload { k.Data = append(make([]byte, 255), 1); return k })
		}, ike.ReasonProtocol},
		"no IDs": {func(ps wire.Payloads) wire.Payloads { return with(ps, func(wire.ID) wire.Payload { return nil }) }, ike.ReasonTS},
		"wider IDs": {func(ps wire.Payloads) wire.Payloads {
			return with(ps, func(wire.ID) wire.Payload { return wire.ID{Kind: wire.IDIPv4Subnet, Data: make([]byte, 8)} })
		}, ike.ReasonTS},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, 140)
			p.lying(ike.QuickMode, c.change)
			p.west.initiate()
			p.pass(5 * time.Minute)
			if why := p.west.failure(); why.Reason != c.reason || why.ByPeer {
				t.Errorf("%+v", why)
			}
			if len(p.west.plane)+len(p.east.plane) != 0 {
				t.Errorf("SAs are left\n%s", p)
			}
			p.fate = nil
			p.west.step(p.west.newest(), ike.AddChild{Conn: p.west.conns[0]})
			p.settle()
			p.check(1)
		})
	}
}

// RESPONDER-LIFETIME, RFC 2407, 4.6.3.1: the shorter one counts.
func TestResponderLifetime(t *testing.T) {
	p := newPair(t, 141)
	life := wire.NewAttr(attr2LifeType, 1)
	var data []byte
	for _, a := range []wire.Attr{life, wire.NewAttr(attr2Life, 1200)} {
		data = octet.AppendUint16(data, a.Type|0x8000)
		data = append(data, a.Value...)
	}
	p.lying(ike.QuickMode, func(ps wire.Payloads) wire.Payloads {
		return append(slices.Clone(ps), wire.NewNotify(wire.ProtoESP, ike.NotifyV1ResponderLifetime, nil, data))
	})
	w := p.west.initiate()
	p.settle() // east's own chain of IVs knows nothing of the change, so it stays in R1
	if got := w.children[0].endAt.Sub(p.now); got != 20*time.Minute {
		t.Errorf("ends after %s", got)
	}
	for _, bad := range [][]byte{nil, {1}, {0x80, 1, 0, 1, 0, 2, 0, 200, 1}} {
		var u terms
		u.hear(wire.Notify{Data: bad})
		if u != (terms{}) {
			t.Errorf("%x: %+v", bad, u)
		}
	}
}

func TestLyingMainMode(t *testing.T) {
	for name, c := range map[string]struct {
		change func(wire.Payloads) wire.Payloads
		reason ike.Reason
		text   string
	}{
		"HASH_R": {func(ps wire.Payloads) wire.Payloads {
			return with(ps, func(wire.HASH) wire.Payload { return wire.HASH{Data: make([]byte, 32)} })
		}, ike.ReasonAuth, "the HASH of peer '@east' is wrong"},
		"identity": {func(ps wire.Payloads) wire.Payloads {
			return with(ps, func(wire.ID) wire.Payload { return wire.NewID(mustID("@mallory")) })
		}, ike.ReasonAuth, "the HASH of peer '@mallory' is wrong"},
		"port of the identity": {func(ps wire.Payloads) wire.Payloads {
			return with(ps, func(i wire.ID) wire.Payload { i.Proto, i.Port = 17, 99; return i })
		}, ike.ReasonAuth, "must be 0/0 or 17/500"},
		"kind of the identity": {func(ps wire.Payloads) wire.Payloads {
			return with(ps, func(i wire.ID) wire.Payload { i.Kind = 200; return i })
		}, ike.ReasonAuth, "identity of unknown kind"},
		"choice of cipher":          {transformOf(setAttr(attrKeyLength, 128)), ike.ReasonProposal, "which we did not offer"},
		"choice of method":          {transformOf(setAttr(attrMethod, 3)), ike.ReasonProposal, "which we did not offer"},
		"choice of nothing we know": {transformOf(setAttr(attrMethod, 65001)), ike.ReasonProposal, "not supported"},
		"two choices":               {transformOf(func(o *wire.Proposal) { o.Transforms = append(o.Transforms, o.Transforms[0]) }), ike.ReasonProposal, "not one transform"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, 142)
			p.lying(ike.MainMode, c.change)
			p.west.initiate()
			p.pass(2 * time.Minute)
			if why := facts[ike.Failed](p.west); len(facts[ike.IKEUp](p.west)) == 0 {
				if len(why) != 1 || why[0].Why.Reason != c.reason || !strings.Contains(why[0].Why.Why, c.text) {
					t.Errorf("%+v\n%s", why, p)
				}
			} else if !p.west.said(c.text) {
				t.Errorf("does not say %q\n%s", c.text, p)
			}
		})
	}
	// A KE that is no public value is ignored, and the true one taken.
	p := newPair(t, 143)
	n := 0
	p.lying(ike.MainMode, func(ps wire.Payloads) wire.Payloads {
		return with(ps, func(k wire.KE) wire.Payload {
			if n++; n == 1 {
				return wire.KE{Data: make([]byte, len(k.Data))}
			}
			return k
		})
	})
	p.west.initiate()
	p.pass(time.Minute)
	p.check(1)
}

// A QI1 whose HASH is wrong makes nothing, whoever sends it.
func TestQuickModeWithoutProof(t *testing.T) {
	p := newPair(t, 144)
	p.both(func(c *ike.Conn) { c.PFS = false })
	w, e := p.up()
	ps := quickParts(w)
	bad := sealed(w, ike.QuickMode, 0x900, func([]byte) []byte { return make([]byte, 32) }, ps...)
	p.unmoved(p.east, e, "zero HASH", bad)
	p.unmoved(p.east, e, "HASH of another message", sealed(w, ike.QuickMode, 0x901, func(rest []byte) []byte { return w.hash1(0x900, rest) }, ps...))
	if n := p.east.inject(westAddr, sealed(w, ike.QuickMode, 0x900, func(rest []byte) []byte { return w.hash1(0x900, rest) }, ps...)); n != 1 {
		t.Errorf("honest twin: %d answers", n)
	}
}

// ESP that nothing authenticates is not taken, even by a connection that names
// it.
func TestNakedESP(t *testing.T) {
	p := newPair(t, 145)
	p.both(func(c *ike.Conn) {
		c.ESP = parsed(suite.ParseESP, "aes256-sha2_256")
		c.ESP[0].Integ = nil
		c.PFS = false
	})
	p.west.initiate()
	p.settle()
	if why := p.west.failure(); why.Reason != ike.ReasonProposal || !p.east.said("ESP without authentication") {
		t.Error(p)
	}
}

// Without a NAT the peer does not move, whoever repeats its proven words from
// elsewhere.
func TestPeerMoves(t *testing.T) {
	p := newPair(t, 146)
	_, e := p.up()
	elsewhere := westAddr
	elsewhere = ipPort(elsewhere, 600)
	p.east.inject(elsewhere, e.info(0xa00, wire.NewNotify(wire.ProtoISAKMP, 40000, nil, nil)))
	if e.remote != westAddr {
		t.Errorf("moved to %s", e.remote)
	}
	p = newPair(t, 147)
	p.useNAT()
	w, e := p.up()
	p.pass(time.Minute)
	was := e.remote
	p.nat = false // deliver as given
	moved := ipPort(was, 33333)
	p.east.inject(moved, w.info(0xa01, wire.NewNotify(wire.ProtoISAKMP, 40000, nil, nil)))
	if e.remote != moved {
		t.Errorf("is at %s", e.remote)
	}
	if len(e.quicks) == 0 {
		t.Error("its IPsec SAs are not replaced")
	}
	p.east.inject(ipPort(was, 44444), w.info(0xa02, wire.NewNotify(wire.ProtoISAKMP, 40000, nil, nil)))
	if e.remote != moved {
		t.Error("moves at once again")
	}
	p = newPair(t, 148)
	p.useNAT()
	_, e = p.up()
	p.pass(time.Minute)
	p.east.step(e, ike.Plane{Event: ipsec.PeerMoved{ID: e.children[0].in[0], From: moved}})
	if e.remote != moved {
		t.Errorf("is at %s", e.remote)
	}
}

// A replacement that the peer refuses is tried again while the pair lasts.
func TestReplacementRefused(t *testing.T) {
	p := newPair(t, 149)
	p.both(func(c *ike.Conn) { c.KeyingTries = 3; c.ChildLife = time.Hour; c.IKELife = 10 * time.Hour })
	w, _ := p.up()
	good := p.east.conns[0].ESP
	p.east.conns[0].ESP = suite.FreeSWANESP(true)
	p.west.step(w, ike.Rekey{Child: w.children[0].serial})
	p.pass(5 * time.Minute)
	if !p.west.said("starting keying attempt 3 of at most 3") || p.west.said("starting keying attempt 4") {
		t.Error(p)
	}
	if len(facts[ike.ChildDown](p.west)) != 0 || len(facts[ike.Failed](p.west)) != 0 {
		t.Error(p)
	}
	p.east.conns[0].ESP = good
	p.west.step(w, ike.Rekey{Child: w.children[0].serial})
	p.settle()
	p.check(2)
	p.usable()
}

// Transport mode behind a NAT: the addresses inside are the ones outside.
func TestTransportBehindNAT(t *testing.T) {
	p := newPair(t, 150)
	p.hosts()
	p.useNAT()
	p.both(func(c *ike.Conn) { c.Mode = ipsec.Transport })
	p.east.conns[0].Remote.TS = nil
	w, e := p.up()
	if !w.encap || e.children[0].sides.remote != hostTS(natAddr.Addr()) {
		t.Errorf("%s\n%s", e.children[0].sides, p)
	}
}

// Several ISAKMP SAs with a peer: a Delete in one may name another, or an IPsec
// SA that another has made.
func TestDeleteThroughAnother(t *testing.T) {
	p := newPair(t, 151)
	w, e := p.up()
	p.west.step(w, ike.Rekey{})
	p.pass(time.Second)
	w2, e2 := w.home(), e.home()
	if w2 == w || e2 == e {
		t.Fatal(p)
	}
	p.east.inject(westAddr, e.info(0xb00, wire.NewDelete(wire.ProtoESP, spiOctets(ipsec.ESP, e2.children[0].out[0].SPI))))
	if len(e2.children) != 0 {
		t.Error("the old one cannot delete what the new one has")
	}
	p.east.inject(westAddr, e2.info(0xb01, wire.NewDelete(wire.ProtoISAKMP, cookiesOf(e.spiI, e.spiR))))
	p.pass(time.Second)
	if e.state != stateDead || e2.state != stateUp {
		t.Errorf("old in %d, new in %d", e.state, e2.state)
	}
}
