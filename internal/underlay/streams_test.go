package underlay

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"cygnet/internal/ipsec"
)

// streamPair is two hosts, of which b listens for TCP; c is where.
func streamPair(t *testing.T) (a, b *Host, addrA netip.Addr, c netip.AddrPort) {
	t.Helper()
	addrA, addrB := netip.MustParseAddr("127.50.0.5"), netip.MustParseAddr("127.50.0.6")
	open := func(addr netip.Addr, listen bool) *Host {
		h, err := Open(Options{Addrs: []netip.Addr{addr}, IKEPort: 45510, NATTPort: 45511, NoRaw: true, ListenTCP: listen})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { h.Close() })
		return h
	}
	return open(addrA, false), open(addrB, true), addrA, netip.AddrPortFrom(addrB, 45511)
}

func arrives[T any](t *testing.T, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(5 * time.Second):
		t.Fatal("nothing arrived")
	}
	return v
}

// IKE and ESP go both ways over one stream, to the address from which the
// first message came, and nothing goes by UDP.
func TestStream(t *testing.T) {
	a, b, addrA, to := streamPair(t)
	local := netip.AddrPortFrom(addrA, 45512)
	for range 2 {
		if err := a.DialTCP(local, to); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.SendStream(local, to, []byte("request")); err != nil {
		t.Fatal(err)
	}
	d := arrives(t, b.IKE())
	if string(d.Msg) != "request" || !d.Stream || d.Local != to || d.Remote != local {
		t.Fatalf("%+v", d)
	}
	if err := b.SendStream(to, local, []byte("response")); err != nil {
		t.Fatal(err)
	}
	if back := arrives(t, a.IKE()); string(back.Msg) != "response" || !back.Stream || back.Local != local || back.Remote != to {
		t.Fatalf("%+v", back)
	}
	train := append(esp(1, 700), esp(2, 300)...)
	for h, e := range map[*Host]ends{a: {local, to}, b: {to, local}} {
		if res := h.NewSender(0).Send([]Message{{Encap: true, Stream: e.local.Port(), Proto: ipsec.ESP, Local: e.local.Addr(), Remote: e.remote, Data: train, Seg: 700}}); res != (Result{}) {
			t.Fatalf("%+v", res)
		}
	}
	for _, h := range []*Host{a, b} {
		for _, want := range [][]byte{esp(1, 700), esp(2, 300)} {
			got := arrives(t, h.streams.esp)
			if !bytes.Equal(got.Data, want) || !got.Encap || !got.Stream || got.Proto != ipsec.ESP || got.Seg != len(want) {
				t.Errorf("%d octets from %s", len(got.Data), got.Remote)
			}
		}
		for _, c := range h.Drops() {
			if c.Count != 0 {
				t.Errorf("%s: %d", c.Reason, c.Count)
			}
		}
	}
}

// What is for TCP goes by no other way when the connection is over. Whoever
// opened it hears of that, once an IKE SA stood on it, and may open another.
func TestStreamLost(t *testing.T) {
	a, b, addrA, to := streamPair(t)
	for i, sure := range []bool{true, false, true} {
		local := netip.AddrPortFrom(addrA, uint16(45520+i))
		if err := a.DialTCP(local, to); err != nil {
			t.Fatal(err)
		}
		if err := a.SendStream(local, to, []byte("request")); err != nil {
			t.Fatal(err)
		}
		d, st := arrives(t, b.IKE()), a.streams.to(local, to)
		if sure {
			a.ConfirmTCP(local, to)
		}
		b.streams.to(to, d.Remote).end()
		arrives(t, st.gone)
		if sure {
			if lost := arrives(t, a.IKE()); lost.Msg != nil || !lost.Stream || lost.Local != local || lost.Remote != to {
				t.Fatalf("%+v", lost)
			}
		}
		for a.streams.to(local, to) != nil {
			runtime.Gosched()
		}
		if a.SendStream(local, to, []byte("x")) == nil {
			t.Error("sent without a connection")
		}
		if res := a.NewSender(0).Send([]Message{{Encap: true, Stream: local.Port(), Proto: ipsec.ESP, Local: addrA, Remote: to, Data: esp(1, 700), Seg: 300}}); res != (Result{Failed: 3}) {
			t.Errorf("%+v", res)
		}
		select {
		case d := <-a.IKE():
			t.Errorf("%+v", d)
		default:
		}
	}
}

// A connection that is hung up carries what waits in it, and no IKE SA hears of
// its end. Two connections to one peer are two; a port that is taken is replaced.
func TestStreamHangUp(t *testing.T) {
	a, b, addrA, to := streamPair(t)
	taken, err := net.Listen("tcp4", netip.AddrPortFrom(addrA, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	free, err := net.Listen("tcp4", netip.AddrPortFrom(addrA, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	free.Close()
	for _, local := range []netip.AddrPort{end(free.Addr()), end(taken.Addr())} {
		if err := a.DialTCP(local, to); err != nil {
			t.Fatal(err)
		}
		if err := a.SendStream(local, to, []byte("first")); err != nil {
			t.Fatal(err)
		}
		d := arrives(t, b.IKE())
		if (d.Remote == local) != (local == end(free.Addr())) {
			t.Errorf("from %s, wished for %s", d.Remote, local)
		}
		st, other := a.streams.to(local, to), b.streams.to(to, d.Remote)
		a.ConfirmTCP(local, to)
		if err := a.SendStream(local, to, []byte("last")); err != nil {
			t.Fatal(err)
		}
		a.HangUpTCP(local, to)
		if d := arrives(t, b.IKE()); string(d.Msg) != "last" {
			t.Errorf("%q", d.Msg)
		}
		arrives(t, st.gone)
		arrives(t, other.gone)
	}
	a.Close()
	for d := range a.IKE() {
		t.Errorf("%+v", d)
	}
}

// ESP-25 on the wire: who does not speak the protocol is cut off, and leaves
// nothing behind.
func TestStreamStrangers(t *testing.T) {
	_, b, _, to := streamPair(t)
	for _, in := range []string{"GET / HTTP/1.1\r\n\r\n", "IKETCP\x00\x00", "IKETCP\x00\x01", "IKETCP\x00\x02"} {
		c, err := net.Dial("tcp4", to.String())
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(time.Minute))
		io.WriteString(c, in)
		if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("%q: answered", in)
		} else if e, ok := err.(net.Error); ok && e.Timeout() {
			t.Errorf("%q: not cut off", in)
		}
		c.Close()
	}
	b.Close()
	if s := b.streams; len(s.table)+len(s.accepted)+len(s.others) != 0 {
		t.Errorf("left: %v, %v", s.table, s.accepted)
	}
}

// One host gets no more than its share; and where there is no more for anybody,
// the oldest stream without an IKE SA makes room.
func TestStreamLimit(t *testing.T) {
	s := newStreams(&Host{})
	var all []*stream
	open := func(host byte, port int) error {
		st := newStream(netip.AddrPort{}, netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, host}), uint16(1+port)), &net.TCPConn{})
		err := s.add(st)
		if err == nil {
			all = append(all, st)
		}
		return err
	}
	for port := range maxStreamsFrom + 3 {
		if err := open(1, port); (err == nil) != (port < maxStreamsFrom) {
			t.Fatalf("stream %d: %v", port, err)
		}
	}
	for n := maxStreamsFrom; n < maxStreams; n++ {
		if err := open(byte(2+n/maxStreamsFrom), n%maxStreamsFrom); err != nil {
			t.Fatal(err)
		}
	}
	all[0].sure = true
	if err := open(200, 1); err != nil {
		t.Errorf("another host: %v", err)
	}
	if s.table[all[0].ends()] == nil || s.table[all[1].ends()] != nil {
		t.Error("the wrong one made room")
	}
	for _, st := range all {
		st.sure = true
	}
	if err := open(201, 1); err == nil {
		t.Error("a peer made room for a stranger")
	}
	for _, st := range all {
		s.remove(st)
	}
	if len(s.table)+len(s.accepted)+len(s.others) != 0 {
		t.Errorf("left: %v, %v", s.table, s.accepted)
	}
}

// A peer that is not there costs no one's time, and the next call tries again.
func TestStreamRefused(t *testing.T) {
	a, _, addrA, _ := streamPair(t)
	local, nobody := netip.AddrPortFrom(addrA, 45540), netip.MustParseAddrPort("127.50.0.7:45511")
	for range 2 {
		if err := a.DialTCP(local, nobody); err != nil {
			t.Fatal(err)
		}
		for st := a.streams.to(local, nobody); st != nil; st = a.streams.to(local, nobody) {
			arrives(t, st.gone)
		}
	}
}

// slowConn is a connection that does not take everything at once, and notes
// until when each write may last.
type slowConn struct {
	net.Conn
	until  time.Time
	writes []time.Time
}

func (c *slowConn) SetWriteDeadline(t time.Time) error { c.until = t; return nil }
func (c *slowConn) Close() error                       { return nil }

func (c *slowConn) Write(b []byte) (int, error) {
	c.writes = append(c.writes, c.until)
	c.until = time.Time{} // as good as over when the next one comes
	return len(b), nil
}

// Each write has its own time: a burst of long ago does not end the stream.
func TestStreamWriteTime(t *testing.T) {
	c := &slowConn{}
	st := newStream(netip.AddrPort{}, netip.AddrPort{}, c)
	for range 3 * writeBuffer / 1500 { // more than one write
		st.send(make([]byte, 1500))
	}
	st.hangUp()
	st.write()
	if len(c.writes) < 3 {
		t.Fatalf("%d writes", len(c.writes))
	}
	for i, until := range c.writes {
		if until.IsZero() {
			t.Errorf("write %d has no time", i)
		}
	}
}

// What waits in a stream that never opens is lost, and counted.
func TestStreamLostWaiting(t *testing.T) {
	a, _, addrA, _ := streamPair(t)
	local, nobody := netip.AddrPortFrom(addrA, 45541), netip.MustParseAddrPort("127.50.0.7:45511")
	st := newStream(local, nobody, nil)
	if err := a.streams.add(st); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := a.SendStream(local, nobody, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	st.end()
	a.streams.remove(st)
	if n := a.drops.stream.Load(); n != 3 {
		t.Errorf("%d counted, want 3", n)
	}
}
