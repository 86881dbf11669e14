package dhcp

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
)

var (
	t0     = time.Date(2026, 11, 25, 3, 0, 0, 0, time.UTC)
	outer  = netip.MustParseAddr("203.0.113.7")
	giaddr = netip.MustParseAddr("192.168.100.1")
	from   = netip.AddrPortFrom(outer, ClientPort)
)

// server answers what a relay has passed on.
func server(t *testing.T, request []byte, kind dhcpv4.MessageType, change ...dhcpv4.Modifier) []byte {
	t.Helper()
	m, err := dhcpv4.FromBytes(request)
	if err != nil {
		t.Fatal(err)
	}
	all := append([]dhcpv4.Modifier{dhcpv4.WithMessageType(kind), dhcpv4.WithYourIP(net.IPv4(192, 168, 100, 150)),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IPv4(192, 168, 100, 10))), dhcpv4.WithLeaseTime(3600)}, change...)
	r, err := dhcpv4.NewReplyFromRequest(m, all...)
	if err != nil {
		t.Fatal(err)
	}
	return r.ToBytes()
}

// A client, the relay and a server, message by message.
func TestExchange(t *testing.T) {
	s := NewSession(outer, "@road", netip.Addr{}, 0x01020304)
	var p Pending
	relayed := p.Request(t0, from, s.Message(), giaddr)
	m, err := dhcpv4.FromBytes(relayed)
	if err != nil || m.MessageType() != dhcpv4.MessageTypeDiscover || m.HWType != iana.HWTypeIPsec || m.HopCount != 1 ||
		!m.GatewayIPAddr.Equal(net.IPv4(192, 168, 100, 1)) || m.ClientHWAddr.String() != "40:00:cb:00:71:07" {
		t.Fatalf("%v, %v", m, err)
	}
	client, offer, ok := p.Answer(t0, server(t, relayed, dhcpv4.MessageTypeOffer))
	if !ok || client != from {
		t.Fatalf("%v, %v", client, ok)
	}
	if lease, err := s.Answer(offer); lease != nil || err != nil {
		t.Fatalf("%v, %v", lease, err)
	}
	relayed = p.Request(t0, from, s.Message(), giaddr)
	if m, err = dhcpv4.FromBytes(relayed); err != nil || m.MessageType() != dhcpv4.MessageTypeRequest || m.ServerIdentifier() == nil {
		t.Fatalf("%v, %v", m, err)
	}
	_, ack, ok := p.Answer(t0, server(t, relayed, dhcpv4.MessageTypeAck, dhcpv4.WithDNS(net.IPv4(192, 168, 100, 53), net.IPv4zero),
		dhcpv4.WithOption(dhcpv4.OptDomainName("example.org"))))
	lease, err := s.Answer(ack)
	if !ok || err != nil || lease == nil {
		t.Fatalf("%v, %v, %v", lease, ok, err)
	}
	if lease.Addr != netip.MustParseAddr("192.168.100.150") || lease.Life != time.Hour || lease.Renew != 30*time.Minute ||
		!slices.Equal(lease.DNS, []netip.Addr{netip.MustParseAddr("192.168.100.53")}) || !slices.Equal(lease.Domains, []string{"example.org"}) {
		t.Errorf("%+v", lease)
	}
}

func TestSessionIgnores(t *testing.T) {
	start := func() *Session { return NewSession(outer, "@road", netip.Addr{}, 7) }
	offered := func() *Session {
		s := start()
		s.Answer(server(t, s.Message(), dhcpv4.MessageTypeOffer))
		return s
	}
	other := NewSession(outer, "@road", netip.Addr{}, 8)
	for name, c := range map[string]struct {
		s *Session
		b []byte
	}{
		"rubbish":                    {start(), []byte("not DHCP")},
		"a request":                  {start(), start().Message()},
		"another exchange":           {start(), server(t, other.Message(), dhcpv4.MessageTypeOffer)},
		"an ACK that nobody awaits":  {start(), server(t, start().Message(), dhcpv4.MessageTypeAck)},
		"no address":                 {start(), server(t, start().Message(), dhcpv4.MessageTypeOffer, dhcpv4.WithYourIP(net.IPv4zero))},
		"multicast":                  {start(), server(t, start().Message(), dhcpv4.MessageTypeOffer, dhcpv4.WithYourIP(net.IPv4(224, 0, 0, 1)))},
		"another address than asked": {offered(), server(t, offered().Message(), dhcpv4.MessageTypeAck, dhcpv4.WithYourIP(net.IPv4(192, 168, 100, 151)))},
	} {
		before := string(c.s.Message())
		if lease, err := c.s.Answer(c.b); lease != nil || err != nil || string(c.s.Message()) != before {
			t.Errorf("%s: %v, %v", name, lease, err)
		}
	}
	s := offered()
	if _, err := s.Answer(server(t, s.Message(), dhcpv4.MessageTypeNak)); !errors.Is(err, ErrRefused) {
		t.Errorf("NAK: %v", err)
	}
}

func TestLeaseBounds(t *testing.T) {
	s := NewSession(outer, "@road", netip.MustParseAddr("192.168.100.150"), 7)
	if m, err := dhcpv4.FromBytes(s.Message()); err != nil || !m.RequestedIPAddress().Equal(net.IPv4(192, 168, 100, 150)) {
		t.Errorf("the wish is not said: %v, %v", m, err)
	}
	s.Answer(server(t, s.Message(), dhcpv4.MessageTypeOffer))
	lease, err := s.Answer(server(t, s.Message(), dhcpv4.MessageTypeAck, dhcpv4.WithLeaseTime(1), dhcpv4.WithOption(dhcpv4.OptDomainName("a; rm -rf /"))))
	if err != nil || lease.Life != leastLife || lease.Renew < leastLife/2 || len(lease.Domains) != 0 {
		t.Errorf("%+v, %v", lease, err)
	}
}

func TestPendingRefuses(t *testing.T) {
	var p Pending
	m := NewSession(outer, "@road", netip.Addr{}, 7).Message()
	for i := range 2 {
		if p.Request(t0, from, m, giaddr) == nil {
			t.Fatalf("a request that was sent %d times before is not relayed", i)
		}
	}
	if p.Request(t0, netip.MustParseAddrPort("203.0.113.8:68"), m, giaddr) != nil {
		t.Error("another client takes over an exchange")
	}
	relayed := p.Request(t0, from, m, giaddr)
	if p.Request(t0, from, relayed, giaddr) != nil {
		t.Error("what a relay has passed on is passed on again")
	}
	answer := server(t, relayed, dhcpv4.MessageTypeOffer)
	if p.Request(t0, from, answer, giaddr) != nil {
		t.Error("a reply is relayed as a request")
	}
	if _, _, ok := p.Answer(t0.Add(pendingLife), answer); ok {
		t.Error("an answer comes too late and is relayed")
	}
	for i := range uint32(maxPending) {
		p.Request(t0.Add(2*pendingLife), from, NewSession(outer, "@road", netip.Addr{}, i).Message(), giaddr)
	}
	if p.Request(t0.Add(2*pendingLife), from, NewSession(outer, "@road", netip.Addr{}, maxPending).Message(), giaddr) != nil {
		t.Error("there is no end of exchanges")
	}
}

func FuzzMessages(f *testing.F) {
	f.Add(NewSession(outer, "@road", netip.Addr{}, 7).Message())
	f.Fuzz(func(t *testing.T, b []byte) {
		var p Pending
		if out := p.Request(t0, from, b, giaddr); out != nil {
			if p.Request(t0, from, out, giaddr) != nil {
				t.Fatal("relayed twice")
			}
		}
		p.Answer(t0, b)
		s := NewSession(outer, "@road", netip.Addr{}, 7)
		if lease, _ := s.Answer(b); lease != nil {
			t.Fatal("a lease without an offer")
		}
	})
}
