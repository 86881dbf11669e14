package klips

import (
	"bytes"
	"net/netip"
	"os"
	"testing"

	"cygnet/internal/esp"
	"cygnet/internal/ipsec"
	"cygnet/internal/tun"
	"cygnet/internal/underlay"
)

func seeds(f *testing.F, add func([]byte)) {
	a, b := ports(inner4)
	a6, b6 := ports(inner6)
	add(udp(a, b, 30))
	add(udp(a6, b6, 30))
	add(tcp(a, b, 1, tcpSYN, []byte{2, 4, 5, 180}, nil))
	add(tcp(a6, b6, 1, tcpACK, nil, make([]byte, 40)))
	add(ipHeader(inner4[0], inner4[1], protoICMP, []byte{8, 0, 0, 0, 0, 0, 0, 0}))
	add(ipHeader(inner6[0], inner6[1], protoHopByHop, []byte{60, 0, 0, 0, 0, 0, 0, 0, 44, 0, 0, 0, 0, 0, 0, 0, 17, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4}))
	add(ipHeader(inner6[0], inner6[1], protoFragment, []byte{17, 0, 1, 0, 0, 0, 0, 0, 1, 2}))
}

// FuzzFlow: parse never panics, and what it says about a packet is in bounds
// and consistent with the packet's own header.
func FuzzFlow(f *testing.F) {
	seeds(f, func(b []byte) { f.Add(b) })
	f.Fuzz(func(t *testing.T, b []byte) {
		p, ok := parse(b)
		if !ok {
			return
		}
		later := p.key.rest>>16&keyFragment != 0
		if p.len > len(b) || p.l4 > p.len || p.v6 != (b[0]>>4 == 6) || later && !p.frag {
			t.Fatalf("%+v of %d octets", p, len(b))
		}
		fl := p.key.flow()
		src, dst := netip.Addr{}, netip.Addr{}
		if p.v6 {
			src, dst = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
		} else {
			src, dst = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
		}
		if fl.Src != src || fl.Dst != dst || fl.Proto != p.proto || fl.Fragment != later {
			t.Fatalf("flow %+v of %+v", fl, p)
		}
		// Octets behind the packet change nothing.
		if q, ok := parse(append(bytes.Clone(b[:p.len:p.len]), 1, 2, 3)); !ok || q != p {
			t.Fatalf("with padding: %+v, %v, was %+v", q, ok, p)
		}
	})
}

// sink is a queue and a sender that take everything.
type sink struct{ written, sent int }

func (*sink) Read([]byte, bool) (int, error) { return 0, os.ErrClosed }
func (s *sink) Write(parts [][]byte) error {
	for _, p := range parts {
		s.written += len(p)
	}
	return nil
}

func (s *sink) Send(msgs []underlay.Message) underlay.Result {
	for _, m := range msgs {
		s.sent += len(m.Data)
	}
	return underlay.Result{}
}
func (s *sink) SendClear(list [][]byte) underlay.Result { return s.Send(nil) }

// FuzzOutbound: whatever the TUN delivers, with whatever virtio header, is
// dropped or sent under every kind of policy, and never panics.
func FuzzOutbound(f *testing.F) {
	seeds(f, func(b []byte) { f.Add(b, uint8(0), uint16(0), uint16(0), uint16(0), uint8(0)) })
	h, b := super(false, true, 3000, 1000, tcpACK)
	f.Add(b, uint8(h.GSO), h.Size, h.CsumStart, h.CsumOffset, uint8(1))
	h, b = super(true, false, 3000, 1000, 0)
	f.Add(b, uint8(h.GSO), h.Size, h.CsumStart, h.CsumOffset, uint8(2))
	g := newLab(f, Options{ClampMSS: true, CopyTOS: true})
	s := tunnel4()
	s.encap = true
	connect(f, g, s)
	all4, all6 := netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")
	bundle := []ipsec.SAID{s.sa(0, 0).ID}
	f.Fuzz(func(t *testing.T, b []byte, gso uint8, size, start, offset uint16, action uint8) {
		if len(b) > 65535 {
			return
		}
		act := ipsec.Action(action % 6)
		var list []ipsec.Policy
		for _, net := range []netip.Prefix{all4, all6} {
			p := ipsec.Policy{Selector: ipsec.Selector{Src: net, Dst: net}, Action: act}
			if act == ipsec.Protect {
				p.Bundle = bundle
			}
			list = append(list, p)
		}
		g[0].set(t, list...)
		var k sink
		w := newEgress(g[0].Plane, g[0].devices[0], &k, 0)
		w.out = &k
		w.at = now()
		tun.Header{NeedsCsum: gso&0x80 != 0, GSO: tun.GSO(gso & 7), Size: size, CsumStart: start, CsumOffset: offset}.Put(w.buf[slack:])
		n := copy(w.buf[slack+tun.HeaderLen:], b)
		w.read(tun.HeaderLen + n)
		w.flush()
		g[0].set(t) // lets go of what was held
	})
}

// FuzzInbound: whatever a peer seals, or anybody sends, is dropped or
// delivered, and never panics. What is delivered lies within the selectors.
func FuzzInbound(f *testing.F) {
	seeds(f, func(b []byte) {
		f.Add(b, uint8(4), true)
		f.Add(b, uint8(41), true)
		f.Add(b, uint8(17), true)
		f.Add(b, uint8(59), false)
	})
	g := newLab(f, Options{ClampMSS: true})
	var sealers [2]*esp.Out
	transport := setup{outer: outer4, inner: nets(outer4, 32), mode: ipsec.Transport, transform: gcm, key: 20}
	for i, s := range []setup{tunnel4(), transport} {
		s.encap = true
		out, in := s.sa(0, 0), s.sa(0, 1)
		out.ID.SPI += ipsec.SPI(16 * i)
		in.ID.SPI += ipsec.SPI(16 * i)
		if err := g[1].AddSA(f.Context(), in); err != nil {
			f.Fatal(err)
		}
		var err error
		if sealers[i], err = esp.NewOut(out, nil); err != nil {
			f.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, next uint8, sealed bool) {
		if len(b) > 60000 {
			return
		}
		var r recorder
		w := newIngress(g[1].Plane, g[1].devices[0], nil, &r)
		w.at = now()
		a := underlay.Arrival{Proto: ipsec.ESP, Encap: true, Remote: netip.AddrPortFrom(outer4[0], 4500), Local: outer4[1], TOS: next}
		for _, o := range sealers {
			a.Data = bytes.Clone(b)
			if sealed {
				seq, err := o.Reserve(1)
				if err != nil {
					t.Fatal(err)
				}
				a.Data = o.Seal(new(esp.Scratch), make([]byte, o.SealedLen(len(b))), seq, next, b, 0)
			}
			a.Seg = len(a.Data)
			w.arrival(&a)
		}
		w.coalescer.flush()
		for _, p := range r.packets {
			k, ok := parse(p)
			fl := k.key.flow()
			in4 := ipsec.Selector{Src: nets(inner4, 24)[0], Dst: nets(inner4, 24)[1]}
			host := ipsec.Selector{Src: nets(outer4, 32)[0], Dst: nets(outer4, 32)[1]}
			if !ok || !in4.Contains(fl) && !host.Contains(fl) {
				t.Fatalf("delivered %x", p)
			}
		}
	})
}

// FuzzBundleOutbound: whatever the TUN delivers goes through every bundle or is
// dropped, and never panics.
func FuzzBundleOutbound(f *testing.F) {
	all := stacks()
	names := sorted(all)
	seeds(f, func(b []byte) {
		for i := range names {
			f.Add(b, uint8(i))
		}
	})
	g := newLab(f, Options{ClampMSS: true, CopyTOS: true})
	f.Fuzz(func(t *testing.T, b []byte, which uint8) {
		if len(b) > 65535 {
			return
		}
		s := all[names[int(which)%len(names)]]
		g[0].add(t, s.sas(0, 0)...)
		var list []ipsec.Policy
		for _, any := range []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")} {
			p := s.policy(0)
			p.Selector = ipsec.Selector{Src: any, Dst: any}
			list = append(list, p)
		}
		g[0].set(t, list...)
		var k sink
		w := newEgress(g[0].Plane, g[0].devices[0], &k, 0)
		w.out, w.at = &k, now()
		n := copy(w.buf[slack+tun.HeaderLen:], b)
		w.read(tun.HeaderLen + n)
		w.flush()
	})
}

// FuzzBundleInbound: whatever comes from outside as ESP, AH, IPComp or IP-in-IP,
// right up to its last layer or not, is dropped or delivered within the
// selectors.
func FuzzBundleInbound(f *testing.F) {
	all := stacks()
	names := sorted(all)
	for i, name := range names {
		s := all[name]
		g := newLab(f, Options{})
		s.connect(f, g)
		seen := make(chan underlay.Arrival, 1)
		g[1].wire.Intercept(func(a underlay.Arrival) []underlay.Arrival { seen <- a; return nil })
		a, b := s.ends()
		g[0].send(f, tun.Header{}, udp(a, b, 100))
		x := <-seen
		f.Add(x.Data, uint8(i), uint8(x.Proto), uint8(x.Head))
	}
	f.Fuzz(func(t *testing.T, b []byte, which, proto, head uint8) {
		if len(b) > 60000 || int(head) > len(b) {
			return
		}
		s := all[names[int(which)%len(names)]]
		plane := New(Options{ClampMSS: true})
		defer plane.Close()
		for _, sa := range s.sas(0, 1) {
			if err := plane.AddSA(t.Context(), sa); err != nil {
				t.Fatal(err)
			}
		}
		plane.setOwn()
		var r recorder
		w := newIngress(plane, &device{Interface: Interface{TUN: memoryTUN(t)}}, nil, &r)
		w.at = now()
		x := underlay.Arrival{Proto: ipsec.Proto(proto), Encap: head == 0, Remote: netip.AddrPortFrom(s.outer[0], 4500), Local: s.outer[1], Data: bytes.Clone(b), Head: int(head)}
		x.Seg = len(x.Data)
		w.arrival(&x)
		w.coalescer.flush()
		within := ipsec.Selector{Src: s.inner[0], Dst: s.inner[1]}
		for _, p := range r.packets {
			if k, ok := parse(p); !ok || !within.Contains(k.key.flow()) {
				t.Fatalf("delivered %x", p)
			}
		}
	})
}

func memoryTUN(t testing.TB) tun.Device {
	inside, _ := tun.Pair("ipsec0", "host")
	t.Cleanup(func() { inside.Close() })
	return inside
}
