package klips

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"

	"cygnet/internal/tun"
)

// slowSegments takes a superpacket apart by building every segment from
// nothing: the model of segmenter.
func slowSegments(b []byte, size int) (out [][]byte) {
	p, _ := parse(b)
	head := b[:p.l4+udpHeaderLen]
	if p.proto == protoTCP {
		head = b[:p.l4+int(b[p.l4+12]>>4)*4]
	}
	src, dst := p.key.addrs()
	f := p.key.flow()
	for off := len(head); off < len(b); off += size {
		payload := b[off:min(off+size, len(b))]
		last := off+size >= len(b)
		var d []byte
		if p.proto == protoUDP {
			d = udp(netip.AddrPortFrom(src, f.SrcPort), netip.AddrPortFrom(dst, f.DstPort), len(payload))
			copy(d[len(head):], payload)
		} else {
			flags := b[p.l4+13]
			if !last {
				flags &^= tcpPSH | tcpFIN
			}
			if off > len(head) {
				flags &^= tcpCWR
			}
			seq := binary.BigEndian.Uint32(b[p.l4+4:]) + uint32(off-len(head))
			d = tcp(netip.AddrPortFrom(src, f.SrcPort), netip.AddrPortFrom(dst, f.DstPort), seq, flags, head[p.l4+tcpHeaderLen:], payload)
		}
		if !p.v6 {
			binary.BigEndian.PutUint16(d[4:], uint16((off-len(head))/size))
			sumIPv4(d, ipv4HeaderLen)
		}
		x := uint64(0)
		at := 16
		if p.proto == protoUDP {
			at = 6
		}
		d[p.l4+at], d[p.l4+at+1] = 0, 0
		x = sum(d[p.l4:], pseudo(d, p.proto, len(d)-p.l4))
		if p.proto == protoUDP {
			putUDPSum(d[p.l4+at:], x)
		} else {
			putSum(d[p.l4+at:], x)
		}
		out = append(out, d)
	}
	return out
}

// super builds a superpacket with its virtio header.
func super(v6, isTCP bool, payload, size int, flags byte) (tun.Header, []byte) {
	a, b := ports(inner4)
	if v6 {
		a, b = ports(inner6)
	}
	data := make([]byte, payload)
	for i := range data {
		data[i] = byte(rand.Uint32())
	}
	h := tun.Header{NeedsCsum: true, Size: uint16(size), GSO: tun.GSOUDP, CsumOffset: 6}
	var p []byte
	if isTCP {
		p = tcp(a, b, 0xfffffff0, flags, []byte{1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8}, data)
		h.GSO, h.CsumOffset = tun.GSOTCP4, 16
		if v6 {
			h.GSO = tun.GSOTCP6
		}
	} else {
		p = udp(a, b, payload)
		copy(p[len(p)-payload:], data)
	}
	q, _ := parse(p)
	h.CsumStart = uint16(q.l4)
	return h, p
}

func TestSegmenterAgainstModel(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		for _, isTCP := range []bool{false, true} {
			for _, payload := range []int{1, 999, 1000, 1001, 2000, 30000, 64000} {
				h, b := super(v6, isTCP, payload, 1000, tcpACK|tcpPSH|tcpFIN|tcpCWR)
				want := slowSegments(b, 1000)
				buf := append(bytes.Clone(b), make([]byte, slack)...)[:len(b)]
				p, _ := parse(buf)
				var s segmenter
				if !s.begin(buf, p, h) {
					t.Fatalf("v6 %v tcp %v %d: refused", v6, isTCP, payload)
				}
				if s.count() != len(want) {
					t.Errorf("v6 %v tcp %v %d: count %d, want %d", v6, isTCP, payload, s.count(), len(want))
				}
				for i, w := range want {
					if got := s.next(); !bytes.Equal(got, w) {
						t.Fatalf("v6 %v tcp %v %d: segment %d\n got %x\nwant %x", v6, isTCP, payload, i, got[:60], w[:60])
					}
				}
				if s.next() != nil {
					t.Error("one segment too many")
				}
			}
		}
	}
}

// TestSuperpacketLies: virtio headers that contradict the packet are refused.
func TestSuperpacketLies(t *testing.T) {
	h, b := super(false, true, 3000, 1000, tcpACK)
	for name, f := range map[string]func(h *tun.Header, b []byte){
		"no size":          func(h *tun.Header, _ []byte) { h.Size = 0 },
		"UDP":              func(h *tun.Header, _ []byte) { h.GSO = tun.GSOUDP },
		"IPv6":             func(h *tun.Header, _ []byte) { h.GSO = tun.GSOTCP6 },
		"unknown kind":     func(h *tun.Header, _ []byte) { h.GSO = 3 },
		"fragment":         func(_ *tun.Header, b []byte) { b[6] |= 0x20 },
		"TCP header short": func(_ *tun.Header, b []byte) { b[32] = 0x40 },
		"TCP header long":  func(_ *tun.Header, b []byte) { b[2], b[3], b[32] = 0, 60, 0xf0 },
	} {
		h, b := h, bytes.Clone(b)
		f(&h, b)
		p, ok := parse(b)
		var s segmenter
		if ok && s.begin(b[:p.len], p, h) {
			t.Errorf("%s: accepted", name)
		}
	}
}

// recorder is a queue that notes what is written.
type recorder struct {
	headers []tun.Header
	packets [][]byte
}

func (r *recorder) Read([]byte, bool) (int, error) { panic("not read") }

func (r *recorder) Write(parts [][]byte) error {
	b := bytes.Join(parts, nil)
	r.headers = append(r.headers, tun.ParseHeader(b))
	r.packets = append(r.packets, b[tun.HeaderLen:])
	return nil
}

// apart returns the packets that the kernel will make of what was written.
func (r *recorder) apart(t *testing.T) (out [][]byte) {
	t.Helper()
	for i, b := range r.packets {
		if r.headers[i].GSO == tun.GSONone {
			out = append(out, b)
			continue
		}
		p, ok := parse(b)
		var s segmenter
		if !ok || !s.begin(b, p, r.headers[i]) {
			t.Fatalf("superpacket %d does not make sense: %+v", i, r.headers[i])
		}
		if int(r.headers[i].CsumStart) != p.l4 || !r.headers[i].NeedsCsum {
			t.Errorf("superpacket %d: header %+v", i, r.headers[i])
		}
		for d := s.next(); d != nil; d = s.next() {
			out = append(out, bytes.Clone(d))
		}
	}
	return out
}

// TestCoalescerIsTransparent: segments of a superpacket are joined into one
// write, and what the kernel makes of it are the same segments.
func TestCoalescerIsTransparent(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		for _, isTCP := range []bool{false, true} {
			_, b := super(v6, isTCP, 30500, 1000, tcpACK|tcpPSH)
			segs := slowSegments(b, 1000)
			var r recorder
			var c coalescer
			var d drops
			c.init(&r, tun.Offloads{TCP: true, UDP: true}, &d)
			for _, s := range segs {
				s = bytes.Clone(s)
				p, _ := parse(s)
				c.add(s, p)
			}
			c.flush()
			if len(r.packets) != 1 {
				t.Errorf("v6 %v tcp %v: %d writes", v6, isTCP, len(r.packets))
			}
			got := r.apart(t)
			if len(got) != len(segs) {
				t.Fatalf("v6 %v tcp %v: %d packets, want %d", v6, isTCP, len(got), len(segs))
			}
			for i := range segs {
				if !bytes.Equal(got[i], segs[i]) {
					t.Fatalf("v6 %v tcp %v: packet %d\n got %x\nwant %x", v6, isTCP, i, got[i][:60], segs[i][:60])
				}
			}
		}
	}
}

// TestCoalescerKeepsApart: pairs of packets that must not be joined come out
// as they went in, in order.
func TestCoalescerKeepsApart(t *testing.T) {
	a, b := ports(inner4)
	seg := func(seq uint32, n int) []byte { return tcp(a, b, seq, tcpACK, nil, make([]byte, n)) }
	fix := func(p []byte) []byte {
		sumIPv4(p, ipv4HeaderLen)
		p[36], p[37] = 0, 0
		putSum(p[36:], sum(p[20:], pseudo(p, protoTCP, len(p)-20)))
		return p
	}
	// A second segment with the ID that follows, changed by f.
	second := func(f func([]byte)) []byte {
		p := seg(100, 100)
		p[5] = 1
		f(p)
		return fix(p)
	}
	for name, x := range map[string][2][]byte{
		"gap":             {seg(0, 100), second(func(p []byte) { p[27] = 101 })},
		"longer":          {seg(50, 50), second(func([]byte) {})},
		"after short":     {second(func([]byte) {}), seg(0, 100)},
		"other ack":       {seg(0, 100), second(func(p []byte) { p[28] = 9 })},
		"other window":    {seg(0, 100), second(func(p []byte) { p[34]++ })},
		"other TOS":       {seg(0, 100), second(func(p []byte) { p[1] = 4 })},
		"other TTL":       {seg(0, 100), second(func(p []byte) { p[8] = 9 })},
		"other ID":        {seg(0, 100), second(func(p []byte) { p[5] = 7 })},
		"DF":              {seg(0, 100), second(func(p []byte) { p[6] = 0x40 })},
		"SYN":             {seg(0, 100), second(func(p []byte) { p[33] |= tcpSYN })},
		"FIN":             {seg(0, 100), second(func(p []byte) { p[33] |= tcpFIN })},
		"CWR":             {seg(0, 100), second(func(p []byte) { p[33] |= tcpCWR })},
		"pushed before":   {tcp(a, b, 0, tcpACK|tcpPSH, nil, make([]byte, 100)), second(func([]byte) {})},
		"fragment":        {seg(0, 100), second(func(p []byte) { p[6] = 0x20 })},
		"pure ack":        {seg(0, 100), seg(100, 0)},
		"second corrupt":  {seg(0, 100), func() []byte { p := second(func([]byte) {}); p[60] ^= 1; return p }()},
		"first corrupt":   {func() []byte { p := seg(0, 100); p[60] ^= 1; return p }(), second(func([]byte) {})},
		"UDP no checksum": {func() []byte { p := udp(a, b, 10); p[26], p[27] = 0, 0; return p }(), udp(a, b, 10)},
		"UDP length lies": {func() []byte { p := udp(a, b, 10); p[25]--; return p }(), udp(a, b, 10)},
	} {
		var r recorder
		var c coalescer
		var d drops
		c.init(&r, tun.Offloads{TCP: true, UDP: true}, &d)
		for _, s := range x {
			s = bytes.Clone(s)
			p, ok := parse(s)
			if !ok {
				t.Fatalf("%s: does not parse", name)
			}
			c.add(s, p)
		}
		c.flush()
		if len(r.packets) != 2 || !bytes.Equal(r.packets[0], x[0]) || !bytes.Equal(r.packets[1], x[1]) {
			t.Errorf("%s: %d writes", name, len(r.packets))
		}
	}
	// The control: without a change they are joined.
	var r recorder
	var c coalescer
	c.init(&r, tun.Offloads{TCP: true}, new(drops))
	for _, s := range [][]byte{seg(0, 100), second(func([]byte) {})} {
		p, _ := parse(s)
		c.add(s, p)
	}
	c.flush()
	if len(r.packets) != 1 {
		t.Errorf("control: %d writes", len(r.packets))
	}
}

// TestSuperpacketsThroughTunnel: a superpacket enters one TUN, and the packets
// that leave the other are its segments, over every encapsulation.
func TestSuperpacketsThroughTunnel(t *testing.T) {
	for _, encap := range []bool{false, true} {
		for _, v6 := range []bool{false, true} {
			for _, isTCP := range []bool{false, true} {
				g := newLab(t, Options{})
				s := tunnel4()
				s.encap = encap
				if v6 {
					s.inner = nets(inner6, 64)
				}
				connect(t, g, s)
				h, b := super(v6, isTCP, 60000, 1300, tcpACK|tcpPSH)
				want := slowSegments(b, 1300)
				g[0].send(t, h, b)
				var r recorder
				for n := 0; n < len(want); {
					h, p := g[1].receive(t)
					r.headers, r.packets = append(r.headers, h), append(r.packets, bytes.Clone(p))
					n = len((&recorder{r.headers, cloneAll(r.packets)}).apart(t))
				}
				got := r.apart(t)
				if encap && len(r.packets) > 4 {
					t.Errorf("%d writes for %d packets", len(r.packets), len(want))
				}
				for i := range want {
					if !bytes.Equal(got[i], want[i]) {
						t.Fatalf("encap %v v6 %v tcp %v: packet %d differs", encap, v6, isTCP, i)
					}
				}
				if g[0].counted()+g[1].counted() != "" {
					t.Errorf("drops: %s/ %s", g[0].counted(), g[1].counted())
				}
			}
		}
	}
}

func cloneAll(in [][]byte) (out [][]byte) {
	for _, b := range in {
		out = append(out, bytes.Clone(b))
	}
	return out
}

// TestChecksumOffload: a packet whose sender left the checksum to the device
// arrives with a right one.
func TestChecksumOffload(t *testing.T) {
	g := newLab(t, Options{})
	connect(t, g, tunnel4())
	a, b := ports(inner4)
	want := udp(a, b, 77)
	p := bytes.Clone(want)
	binary.LittleEndian.PutUint16(p[26:], fold(pseudo(p, protoUDP, len(p)-20)))
	g[0].send(t, tun.Header{NeedsCsum: true, CsumStart: 20, CsumOffset: 6}, p)
	if _, got := g[1].receive(t); !bytes.Equal(got, want) {
		t.Errorf("got %x\nwant %x", got, want)
	}
	g[0].send(t, tun.Header{NeedsCsum: true, CsumStart: 20, CsumOffset: 600}, p)
	g[0].waitDrop(t, "inner", 1)
}
