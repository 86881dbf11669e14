package dhcp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
)

// Ports of DHCP, RFC 2131 section 4.1.
const (
	ServerPort = 67
	ClientPort = 68
)

// Lease is what a server has granted.
type Lease struct {
	Addr    netip.Addr
	DNS     []netip.Addr
	Domains []string
	Server  netip.Addr
	Life    time.Duration // from when it was asked for
	Renew   time.Duration // when to ask again
}

// A lease shorter than that would be renewed without pause; a longer one is
// looked after once a day.
const (
	leastLife = 30 * time.Second
	mostLife  = 24 * time.Hour
	maxDNS    = 4 // servers that are taken from an answer
)

// Session is one exchange of a client: DISCOVER, OFFER, REQUEST, ACK.
type Session struct {
	hw      net.HardwareAddr
	xid     dhcpv4.TransactionID
	wish    netip.Addr
	request *dhcpv4.DHCPv4 // once an offer has been taken
}

// NewSession begins an exchange. outer is our address on the Internet, by which
// our hardware address is made (RFC 3456, 4.1), id the name by which the server
// knows us again (option 61), wish an address that we had before, if any.
func NewSession(outer netip.Addr, id string, wish netip.Addr, xid uint32) *Session {
	s := &Session{hw: hardware(outer), wish: wish}
	binary.BigEndian.PutUint32(s.xid[:], xid)
	s.request = s.discover(id)
	return s
}

// hardware is locally administered: 40:00 and the address outside.
func hardware(outer netip.Addr) net.HardwareAddr {
	hw := net.HardwareAddr{0x40, 0, 0, 0, 0, 0}
	if outer = outer.Unmap(); outer.Is4() {
		a := outer.As4()
		copy(hw[2:], a[:])
	}
	return hw
}

func (s *Session) discover(id string) *dhcpv4.DHCPv4 {
	m := &dhcpv4.DHCPv4{OpCode: dhcpv4.OpcodeBootRequest, HWType: iana.HWTypeIPsec, ClientHWAddr: s.hw, TransactionID: s.xid,
		ClientIPAddr: net.IPv4zero, YourIPAddr: net.IPv4zero, ServerIPAddr: net.IPv4zero, GatewayIPAddr: net.IPv4zero,
		Options: dhcpv4.OptionsFromList(
			dhcpv4.OptMessageType(dhcpv4.MessageTypeDiscover),
			dhcpv4.OptClientIdentifier(append([]byte{0}, id...)), // RFC 2132, 9.14: type 0 is no address
			dhcpv4.OptParameterRequestList(dhcpv4.OptionSubnetMask, dhcpv4.OptionDomainNameServer, dhcpv4.OptionDomainName))}
	m.SetBroadcast()
	if s.wish.IsValid() {
		m.UpdateOption(dhcpv4.OptRequestedIPAddress(s.wish.AsSlice()))
	}
	return m
}

// Message is what is to be sent now, and again until an answer comes.
func (s *Session) Message() []byte { return s.request.ToBytes() }

// ErrRefused says that the server has taken its offer back.
var ErrRefused = errors.New("the DHCP server refuses the address")

// Answer takes a message from a server. lease is nil as long as there is more
// to do. Messages that are not for us, or make no sense, are ignored.
func (s *Session) Answer(b []byte) (lease *Lease, err error) {
	m, err := dhcpv4.FromBytes(b)
	if err != nil || m.OpCode != dhcpv4.OpcodeBootReply || m.TransactionID != s.xid || m.ClientHWAddr.String() != s.hw.String() {
		return nil, nil
	}
	asked := s.request.MessageType()
	switch m.MessageType() {
	case dhcpv4.MessageTypeOffer:
		if asked == dhcpv4.MessageTypeDiscover && hostAddr(m.YourIPAddr).IsValid() && m.ServerIdentifier() != nil {
			s.take(m)
		}
	case dhcpv4.MessageTypeAck:
		if asked == dhcpv4.MessageTypeRequest && m.YourIPAddr.Equal(s.request.RequestedIPAddress()) {
			return leaseOf(m), nil
		}
	case dhcpv4.MessageTypeNak:
		if asked == dhcpv4.MessageTypeRequest {
			return nil, fmt.Errorf("%w: %q", ErrRefused, m.Message())
		}
	}
	return nil, nil
}

// take asks for what was offered.
func (s *Session) take(offer *dhcpv4.DHCPv4) {
	s.request.UpdateOption(dhcpv4.OptMessageType(dhcpv4.MessageTypeRequest))
	s.request.UpdateOption(dhcpv4.OptRequestedIPAddress(offer.YourIPAddr))
	s.request.UpdateOption(dhcpv4.OptServerIdentifier(offer.ServerIdentifier()))
}

func leaseOf(m *dhcpv4.DHCPv4) *Lease {
	l := &Lease{Addr: hostAddr(m.YourIPAddr), Server: hostAddr(m.ServerIdentifier()), Life: clamp(m.IPAddressLeaseTime(time.Hour))}
	l.Renew = min(max(m.IPAddressRenewalTime(l.Life/2), leastLife/2), l.Life)
	for _, ip := range m.DNS() {
		if a := hostAddr(ip); a.IsValid() && len(l.DNS) < maxDNS {
			l.DNS = append(l.DNS, a)
		}
	}
	if d := m.DomainName(); plainDomain(d) {
		l.Domains = []string{d}
	}
	return l
}

func clamp(d time.Duration) time.Duration { return min(max(d, leastLife), mostLife) }

// hostAddr is an address that a host may have; the zero Addr otherwise.
func hostAddr(ip net.IP) netip.Addr {
	a, ok := netip.AddrFromSlice(ip.To4())
	if !ok || a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return netip.Addr{}
	}
	return a
}

// plainDomain admits letters, digits, hyphens and dots: it will stand in files
// and on command lines.
func plainDomain(d string) bool {
	if d == "" || len(d) > 253 || d[0] == '-' || d[0] == '.' {
		return false
	}
	for _, c := range []byte(d) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '.':
		default:
			return false
		}
	}
	return true
}
