package ikev1

import (
	"bytes"
	"crypto/cipher"
	"testing"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ikev1/wire"
	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

// FuzzStep plays a script on a pair of machines: each octet is something that
// happens to them, on the wire, in time or by command. Nothing panics, every
// fact has its counterpart, and in the end all is quiet.
func FuzzStep(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 255, 8, 0, 0, 0})
	f.Add([]byte{0, 0, 1, 5, 12, 0, 0, 2, 0, 0, 3, 40, 0, 0, 0, 0, 0})
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 8, 12, 28, 0, 0, 0, 1, 3, 4, 0, 1, 0, 0, 16, 1})
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 7, 1, 7, 2, 7, 3, 5, 200, 5, 200, 0, 0, 0})
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 2, 6, 1, 1, 60, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 4, 17})
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) > 400 {
			return
		}
		p := newPair(t, 200)
		p.both(func(c *ike.Conn) {
			c.IKE, c.ESP = parsed(suite.ParseIKE, "aes128-sha1-ecp256"), withKE(parsed(suite.ParseESP, "aes128-sha1"), 19)
			c.DPDDelay, c.IKELife, c.ChildLife = 5*time.Minute, 20*time.Minute, 40*time.Minute
		})
		p.west.initiate()
		r := &reader{script}
		for r.left() {
			p.play(r)
		}
		p.fate = nil
		p.pass(time.Hour)
		for _, n := range []*node{p.west, p.east} {
			n.balanced()
			if n.gate.HalfOpen() != 0 {
				t.Fatalf("%s: half-open for ever\n%s", n.name, p)
			}
			for _, m := range append([]ike.Machine(nil), n.machines...) {
				n.step(m, ike.Delete{})
			}
		}
		p.pass(time.Hour)
		for _, n := range []*node{p.west, p.east} {
			n.balanced()
			if len(n.machines) != 0 || len(n.cfg.machines) != 0 || len(n.plane) != 0 {
				t.Fatalf("%s: %d machines, %d registered, %d SAs are left\n%s", n.name, len(n.machines), len(n.cfg.machines), len(n.plane), p)
			}
		}
	})
}

type reader struct{ b []byte }

func (r *reader) left() bool { return len(r.b) > 0 }

func (r *reader) next() byte {
	if len(r.b) == 0 {
		return 0
	}
	x := r.b[0]
	r.b = r.b[1:]
	return x
}

func (r *reader) take(n int) []byte {
	n = min(n, len(r.b))
	x := r.b[:n]
	r.b = r.b[n:]
	return x
}

// play does one thing.
func (p *pair) play(r *reader) {
	fly := func() (d datagram, ok bool) {
		if len(p.flying) == 0 {
			return d, false
		}
		d = p.flying[0]
		p.flying = p.flying[1:]
		return d, true
	}
	op, n := r.next(), p.west
	if op&0x80 != 0 {
		n = p.east
	}
	switch op & 0x0f {
	case 0: // delivered
		if d, ok := fly(); ok {
			d.to.receive(d.Send)
		}
	case 1: // lost
		fly()
	case 2: // twice
		if d, ok := fly(); ok {
			d.to.receive(d.Send)
			d.to.receive(d.Send)
		}
	case 3: // damaged
		if d, ok := fly(); ok {
			d.Msg = bytes.Clone(d.Msg)
			d.Msg[int(r.next())*len(d.Msg)/256] ^= 1 | r.next()
			d.to.receive(d.Send)
		}
	case 4: // late
		if d, ok := fly(); ok {
			p.flying = append(p.flying, d)
		}
	case 5:
		p.pass(time.Duration(r.next()) * time.Second)
	case 6: // what a peer with the keys says
		if len(n.machines) > 0 {
			p.say(n, n.machines[int(r.next())%len(n.machines)].(*SA), r)
		}
	case 7:
		p.command(n, r)
	case 8: // an old word
		if len(p.sent) > 0 {
			d := p.sent[int(r.next())%len(p.sent)]
			d.to.receive(d.Send)
		}
	case 9: // anything at all
		n.inject(p.other(n).addr, r.take(int(r.next())))
	case 10:
		if len(n.machines) < 6 {
			n.initiate()
		}
	case 11:
		n.noSPI = !n.noSPI
	case 12: // with a header of that machine
		if len(n.machines) > 0 {
			s := n.machines[0].(*SA)
			h := s.header(ike.ExchangeType(r.next()), uint32(r.next()))
			h.Flags, h.Next = ike.Flags(r.next()), ike.PayloadType(r.next())
			body := r.take(int(r.next()))
			h.Length = uint32(ike.HeaderLen + len(body))
			n.inject(p.other(n).addr, append(h.Append(nil), body...))
		}
	}
}

// say has n receive a protected message with a good HASH and any payloads.
func (p *pair) say(n *node, s *SA, r *reader) {
	x, next, id := ike.InfoV1, ike.PayloadType(r.next()), uint32(r.next())
	if id&1 != 0 {
		x = ike.QuickMode
	}
	rest := r.take(int(r.next()))
	if !s.protected() {
		return
	}
	hash := s.hash1(id, rest)
	text := append([]byte{uint8(next), 0, 0, byte(4 + len(hash))}, hash...)
	text = append(text, rest...)
	for len(text)%s.block.BlockSize() != 0 {
		text = append(text, 0)
	}
	cipher.NewCBCEncrypter(s.block, phase2IV(s.chosen.PRF, s.iv, id)).CryptBlocks(text, text)
	h := s.header(x, id)
	h.Next, h.Flags, h.Length = ike.PayloadV1Hash, ike.FlagEncryption, uint32(ike.HeaderLen+len(text))
	n.inject(p.other(n).addr, append(h.Append(nil), text...))
}

func (p *pair) command(n *node, r *reader) {
	if len(n.machines) == 0 {
		return
	}
	s := n.machines[int(r.next())%len(n.machines)].(*SA)
	var serial uint32
	var id ipsec.SAID
	if len(s.children) > 0 {
		c := s.children[int(r.next())%len(s.children)]
		serial, id = c.serial, c.in[0]
	}
	switch r.next() % 9 {
	case 0:
		n.step(s, ike.Rekey{})
	case 1:
		n.step(s, ike.Rekey{Child: serial})
	case 2:
		n.step(s, ike.Delete{Child: serial})
	case 3:
		n.step(s, ike.AddChild{Conn: n.conns[0]})
	case 4:
		n.step(s, ike.Probe{})
	case 5:
		n.step(s, ike.Plane{Event: ipsec.Expire{ID: id}})
	case 6:
		n.step(s, ike.Plane{Event: ipsec.Expire{ID: id, Hard: true}})
	case 7:
		n.step(s, ike.Plane{Event: ipsec.FirstUse{ID: id}})
	case 8:
		n.step(s, ike.Initiate{})
	}
}

// balanced checks that every IKEUp and ChildUp has at most one end, and none
// before its beginning.
func (n *node) balanced() {
	n.p.t.Helper()
	ikes, children := map[uint32]int{}, map[uint32]int{}
	count := func(m map[uint32]int, serial uint32, d int) {
		if m[serial] += d; m[serial] < 0 || m[serial] > 1 {
			n.p.t.Fatalf("%s: #%d is up %d times\n%s", n.name, serial, m[serial], n.p)
		}
	}
	for _, r := range n.reports {
		switch r.Fact.(type) {
		case ike.IKEUp:
			count(ikes, r.Serial, 1)
		case ike.IKEDown:
			count(ikes, r.Serial, -1)
		case ike.ChildUp:
			count(children, r.Serial, 1)
		case ike.ChildDown:
			count(children, r.Serial, -1)
		}
	}
	if len(n.machines) == 0 {
		for _, m := range []map[uint32]int{ikes, children} {
			for serial, up := range m {
				if up != 0 {
					n.p.t.Fatalf("%s: #%d has no end\n%s", n.name, serial, n.p)
				}
			}
		}
	}
}

// FuzzGate is what anybody may send.
func FuzzGate(f *testing.F) {
	p := newPair(f, 201)
	p.west.initiate()
	p.settle()
	for _, d := range p.sent {
		f.Add(d.Msg)
	}
	h := ike.Header{SPIi: 1, Major: 1, Exchange: ike.MainMode}
	f.Add(wire.Append(nil, h, wire.SA{Proposals: []wire.Proposal{{Number: 1, Protocol: wire.ProtoISAKMP, Transforms: []wire.Transform{{Number: 1, ID: 1}}}}}))
	f.Fuzz(func(t *testing.T, msg []byte) {
		p := newPair(t, 202)
		if n := p.east.inject(westAddr, msg); n > 1 {
			t.Fatalf("%d answers", n)
		}
		for _, d := range p.sent {
			if len(d.Msg) > len(msg) {
				t.Fatalf("answered %d octets with %d", len(msg), len(d.Msg))
			}
		}
		if len(p.east.machines) != 0 {
			t.Fatal("a machine out of nothing")
		}
	})
}
