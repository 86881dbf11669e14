package underlay

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"sync"
)

// memoryTCP are the TCP connections of a wire without sockets. Both ends listen
// on every port.
type memoryTCP struct {
	mu    sync.Mutex
	conns map[ends]*memoryConn // by the ends as who opened it sees them
}

// memoryConn is one of them.
type memoryConn struct {
	ends
	by   *Memory // who opened it
	sure bool    // by has confirmed it
}

// find returns the connection between two ends, whoever opened it, or nil.
func (t *memoryTCP) find(local, remote netip.AddrPort) *memoryConn {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.conns[ends{local, remote}]; c != nil {
		return c
	}
	return t.conns[ends{remote, local}]
}

// SendStream implements Underlay.
func (m *Memory) SendStream(local, remote netip.AddrPort, msg []byte) error {
	if m.tcp.find(local, remote) == nil {
		return fmt.Errorf("send %d octets to %s by TCP: %w", len(msg), remote, errNoStream)
	}
	m.peer.arrive(Datagram{Local: remote, Remote: local, Msg: bytes.Clone(msg), Stream: true})
	return nil
}

// DialTCP implements Underlay.
func (m *Memory) DialTCP(local, remote netip.AddrPort) error {
	m.tcp.mu.Lock()
	defer m.tcp.mu.Unlock()
	e := ends{local, remote}
	if m.tcp.conns[e] == nil && slices.Contains(m.peer.addrs, remote.Addr()) {
		m.tcp.conns[e] = &memoryConn{ends: e, by: m}
	}
	return nil
}

// ConfirmTCP implements Underlay.
func (m *Memory) ConfirmTCP(local, remote netip.AddrPort) {
	m.tcp.mu.Lock()
	defer m.tcp.mu.Unlock()
	if c := m.tcp.conns[ends{local, remote}]; c != nil && c.by == m {
		c.sure = true
	}
}

// HangUpTCP implements Underlay.
func (m *Memory) HangUpTCP(local, remote netip.AddrPort) {
	m.tcp.mu.Lock()
	defer m.tcp.mu.Unlock()
	delete(m.tcp.conns, ends{local, remote})
}

// Streams lists the local ends of the TCP connections that this end has opened.
func (m *Memory) Streams() (local []netip.AddrPort) {
	m.tcp.mu.Lock()
	defer m.tcp.mu.Unlock()
	for _, c := range m.tcp.conns {
		if c.by == m {
			local = append(local, c.local)
		}
	}
	slices.SortFunc(local, netip.AddrPort.Compare)
	return local
}

// CutTCP breaks the TCP connections that this end has opened, which hears of it.
func (m *Memory) CutTCP() {
	m.tcp.mu.Lock()
	var cut []*memoryConn
	for e, c := range m.tcp.conns {
		if c.by == m {
			cut = append(cut, c)
			delete(m.tcp.conns, e)
		}
	}
	m.tcp.mu.Unlock()
	slices.SortFunc(cut, func(a, b *memoryConn) int { return a.local.Compare(b.local) })
	for _, c := range cut {
		if c.sure {
			m.arrive(Datagram{Local: c.local, Remote: c.remote, Stream: true})
		}
	}
}
