package underlay

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"cygnet/internal/ipsec"
)

// memoryDepth is how many arrivals wait in a Memory; more are lost, as on any
// wire.
const memoryDepth = 4096

// Memory is an Underlay without sockets, one end of a wire.
type Memory struct {
	addrs []netip.Addr
	peer  *Memory
	mtu   int
	in    chan Arrival
	ike   chan Datagram
	clear chan []byte
	drops counters
	tcp   *memoryTCP // of both ends

	mu        sync.Mutex
	closed    bool
	intercept func(Arrival) []Arrival
	tooBig    func(TooBig)
	done      chan struct{}
}

// NewPair returns the two ends of a wire with an MTU of 1500, which own the
// addresses given.
func NewPair(a, b []netip.Addr) (*Memory, *Memory) {
	end := func(addrs []netip.Addr) *Memory {
		return &Memory{addrs: addrs, mtu: 1500, in: make(chan Arrival, memoryDepth),
			ike: make(chan Datagram, ikeQueue), clear: make(chan []byte, memoryDepth), done: make(chan struct{})}
	}
	x, y := end(a), end(b)
	x.peer, y.peer = y, x
	x.tcp = &memoryTCP{conns: make(map[ends]*memoryConn)}
	y.tcp = x.tcp
	return x, y
}

// Intercept sets what happens to each arrival on its way to this end: f
// returns what arrives instead. It may keep and change what it is given.
func (m *Memory) Intercept(f func(Arrival) []Arrival) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.intercept = f
}

// SetMTU sets the MTU of this end's device; longer messages with DF fail.
func (m *Memory) SetMTU(mtu int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mtu = mtu
}

// ReportTooBig plays an ICMP report.
func (m *Memory) ReportTooBig(t TooBig) {
	m.mu.Lock()
	f := m.tooBig
	m.mu.Unlock()
	if f != nil {
		f(t)
	}
}

// Clear delivers what this end was sent by SendClear of the other.
func (m *Memory) Clear() <-chan []byte { return m.clear }

// MTU implements Underlay.
func (m *Memory) MTU() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mtu
}

// NotifyTooBig implements Underlay.
func (m *Memory) NotifyTooBig(f func(TooBig)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tooBig = f
}

// Receivers implements Underlay.
func (m *Memory) Receivers() []Receiver { return []Receiver{(*memoryReceiver)(m)} }

// Listen implements Underlay. A Memory receives everything anyway.
func (m *Memory) Listen(ipsec.Proto) ([]Receiver, error) { return nil, nil }

// NewSender implements Underlay.
func (m *Memory) NewSender(int) Sender { return (*memorySender)(m) }

// IKE implements Underlay.
func (m *Memory) IKE() <-chan Datagram { return m.ike }

// Drops implements Underlay.
func (m *Memory) Drops() []ipsec.Counter { return m.drops.list() }

// SendIKE implements Underlay.
func (m *Memory) SendIKE(local, remote netip.AddrPort, msg []byte) error {
	if slices.Contains(m.peer.addrs, remote.Addr()) {
		m.peer.arrive(Datagram{Local: remote, Remote: local, Msg: bytes.Clone(msg)})
	}
	return nil
}

// arrive takes a datagram for whoever reads IKE.
func (m *Memory) arrive(d Datagram) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return
	}
	select {
	case m.ike <- d:
	default:
		m.drops.ikeFull.Add(1)
	}
}

// SendKeepalive implements Underlay; the other end drops it.
func (m *Memory) SendKeepalive(_, _ netip.AddrPort) error { return nil }

// Close implements Underlay.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed {
		m.closed = true
		close(m.done)
		close(m.ike)
	}
	return nil
}

// Deliver makes a arrive at this end, whatever the other end does.
func (m *Memory) Deliver(a Arrival) {
	m.mu.Lock()
	f := m.intercept
	m.mu.Unlock()
	list := []Arrival{a}
	if f != nil {
		list = f(a)
	}
	for _, a := range list {
		select {
		case m.in <- a:
		default:
		}
	}
}

type memoryReceiver Memory

func (r *memoryReceiver) Read() ([]Arrival, error) {
	select {
	case a := <-r.in:
		return []Arrival{a}, nil
	case <-r.done:
		return nil, os.ErrClosed
	}
}

type memorySender Memory

func (s *memorySender) Send(msgs []Message) (res Result) {
	m := (*Memory)(s)
	for i := range msgs {
		msg := &msgs[i]
		if msg.Whole {
			m.sendWhole(msg, &res)
			continue
		}
		if msg.Stream == 0 && msg.DF && min(msg.Seg, len(msg.Data))+overhead(msg) > m.MTU() {
			res.TooBig++
			continue
		}
		if !slices.Contains(m.peer.addrs, msg.Remote.Addr()) {
			continue
		}
		a := Arrival{Proto: msg.Proto, Encap: msg.Encap, Local: msg.Remote.Addr(), TOS: msg.TOS,
			Data: bytes.Clone(msg.Data), Seg: msg.Seg, Remote: netip.AddrPortFrom(msg.Local, 0)}
		if msg.Encap {
			a.Remote = netip.AddrPortFrom(msg.Local, 4500)
		}
		if msg.Stream != 0 {
			a.Stream, a.Remote = true, netip.AddrPortFrom(msg.Local, msg.Stream)
			if m.tcp.find(a.Remote, msg.Remote) == nil {
				res.Failed += packets(msgs[i : i+1])
				continue
			}
		}
		m.peer.Deliver(a)
	}
	return res
}

// sendWhole carries an IP packet to the other end. There is nobody there who
// would put fragments together, so they are lost.
func (m *Memory) sendWhole(msg *Message, res *Result) {
	if len(msg.Data) > m.MTU() {
		res.TooBig++
		return
	}
	a := Arrival{Local: msg.Remote.Addr(), Data: bytes.Clone(msg.Data), Seg: len(msg.Data)}
	if a.Local.Is4() {
		if binary.BigEndian.Uint16(a.Data[6:])&0x3fff != 0 {
			return
		}
		a.Head, a.TOS, a.Proto = headLen4(a.Data), a.Data[1], ipsec.Proto(a.Data[9])
		a.Remote = netip.AddrPortFrom(netip.AddrFrom4([4]byte(a.Data[12:16])), 0)
	} else {
		if a.Data[6] == unix.IPPROTO_FRAGMENT {
			return
		}
		a.Head, a.TOS, a.Proto = ipv6HeaderLen, a.Data[0]<<4|a.Data[1]>>4, ipsec.Proto(a.Data[6])
		a.Remote = netip.AddrPortFrom(netip.AddrFrom16([16]byte(a.Data[8:24])), 0)
	}
	if a.Proto == unix.IPPROTO_IPV6 {
		a.Proto = ipsec.Tun
	}
	if slices.Contains(m.peer.addrs, a.Local) {
		m.peer.Deliver(a)
	}
}

func overhead(m *Message) int {
	n := 20
	if m.Remote.Addr().Is6() {
		n = 40
	}
	if m.Encap {
		n += 8
	}
	return n
}

func (s *memorySender) SendClear(packets [][]byte) (res Result) {
	for _, p := range packets {
		select {
		case s.peer.clear <- bytes.Clone(p):
		default:
			res.Failed++
		}
	}
	return res
}
