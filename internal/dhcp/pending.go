package dhcp

import (
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// Limits of a relay.
const (
	maxPending  = 4096             // exchanges at a time
	pendingLife = 60 * time.Second // of an exchange that has got no answer
	maxHops     = 4                // RFC 1542, 4.1.1: between relays
)

// Pending is the exchanges that a relay has passed on, so that answers find
// their client again. The zero value is ready.
type Pending struct {
	clients map[exchange]waiting
}

// exchange names one by its number and the client's hardware address.
type exchange struct {
	xid dhcpv4.TransactionID
	hw  string
}

type waiting struct {
	client netip.AddrPort
	until  time.Time
}

// Request takes a message from a client in a tunnel, and returns what servers
// get. giaddr is our address in their network, to which they answer. What is no
// request of a client, or too much, gives nil.
func (p *Pending) Request(now time.Time, from netip.AddrPort, b []byte, giaddr netip.Addr) []byte {
	m, err := dhcpv4.FromBytes(b)
	if err != nil || m.OpCode != dhcpv4.OpcodeBootRequest || m.HopCount >= maxHops || !m.GatewayIPAddr.IsUnspecified() {
		return nil // what another relay has passed on does not come by a tunnel
	}
	p.expire(now)
	key := exchange{m.TransactionID, m.ClientHWAddr.String()}
	if w, ok := p.clients[key]; ok && w.client != from || !ok && len(p.clients) >= maxPending {
		return nil // two clients in one exchange: the first goes on
	}
	if p.clients == nil {
		p.clients = map[exchange]waiting{}
	}
	p.clients[key] = waiting{from, now.Add(pendingLife)}
	m.HopCount++
	m.GatewayIPAddr = net.IP(giaddr.AsSlice())
	return m.ToBytes()
}

// Answer takes a message from a server, and returns what its client gets and
// where that is. ok is false for what no client waits for.
func (p *Pending) Answer(now time.Time, b []byte) (client netip.AddrPort, out []byte, ok bool) {
	m, err := dhcpv4.FromBytes(b)
	if err != nil || m.OpCode != dhcpv4.OpcodeBootReply {
		return netip.AddrPort{}, nil, false
	}
	p.expire(now)
	w, ok := p.clients[exchange{m.TransactionID, m.ClientHWAddr.String()}]
	if !ok {
		return netip.AddrPort{}, nil, false
	}
	return w.client, b, true
}

func (p *Pending) expire(now time.Time) {
	for k, w := range p.clients {
		if !w.until.After(now) {
			delete(p.clients, k)
		}
	}
}
