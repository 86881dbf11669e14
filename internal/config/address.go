package config

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"strconv"
	"strings"

	"cygnet/internal/ipsec"
)

// ParseAddress reads an address as FreeS/WAN does, freeswan.md 2.6: dotted
// decimal, perhaps short (10 is 10.0.0.0) and with leading zeros that mean
// nothing; 0x and eight digits in network order; 0h and eight digits in host
// order; IPv6. A zone is an error.
func ParseAddress(text string) (netip.Addr, error) {
	bad := fmt.Errorf("%q is not an address", text)
	if strings.Contains(text, ":") {
		a, err := netip.ParseAddr(text)
		if err != nil || a.Zone() != "" {
			return netip.Addr{}, bad
		}
		return a.Unmap(), nil
	}
	if rest, ok := strings.CutPrefix(text, "0x"); ok {
		return hexAddress(rest, false, bad)
	}
	if rest, ok := strings.CutPrefix(text, "0h"); ok {
		return hexAddress(rest, true, bad)
	}
	parts := strings.Split(text, ".")
	if len(parts) > 4 {
		return netip.Addr{}, bad
	}
	var a [4]byte
	for i, p := range parts {
		v, err := strconv.ParseUint(p, 10, 8)
		if err != nil || !digits(p) {
			return netip.Addr{}, bad
		}
		a[i] = byte(v)
	}
	return netip.AddrFrom4(a), nil
}

// hexAddress reads eight digits. Host order is that of the little-endian
// machines this runs on.
func hexAddress(digits string, host bool, bad error) (netip.Addr, error) {
	v, err := strconv.ParseUint(digits, 16, 32)
	if err != nil || len(digits) != 8 {
		return netip.Addr{}, bad
	}
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], uint32(v))
	if host {
		binary.LittleEndian.PutUint32(a[:], uint32(v))
	}
	return netip.AddrFrom4(a), nil
}

// ParseSubnet reads address/bits or address/mask; an address alone is a host,
// %default is 0.0.0.0/0. Host bits are cleared; cleared says that there were
// any.
func ParseSubnet(text string) (p netip.Prefix, cleared bool, err error) {
	if text == "%default" {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0), false, nil
	}
	addrText, mask, found := strings.Cut(text, "/")
	a, err := ParseAddress(addrText)
	if err != nil {
		return netip.Prefix{}, false, fmt.Errorf("%q is not a subnet: %w", text, err)
	}
	n := a.BitLen()
	if found {
		if n, err = maskBits(mask, a); err != nil {
			return netip.Prefix{}, false, fmt.Errorf("%q is not a subnet: %w", text, err)
		}
	}
	p = netip.PrefixFrom(a, n)
	return p.Masked(), p != p.Masked(), nil
}

func maskBits(mask string, a netip.Addr) (int, error) {
	if digits(mask) {
		n, err := strconv.Atoi(mask)
		if err != nil || n > a.BitLen() {
			return 0, fmt.Errorf("/%s is not 0 to %d", mask, a.BitLen())
		}
		return n, nil
	}
	m, err := ParseAddress(mask)
	if err != nil || !m.Is4() || !a.Is4() {
		return 0, fmt.Errorf("%q is not a mask", mask)
	}
	b := m.As4()
	v := binary.BigEndian.Uint32(b[:])
	n := bits.LeadingZeros32(^v)
	if bits.OnesCount32(v) != n {
		return 0, fmt.Errorf("mask %s has holes", mask)
	}
	return n, nil
}

// protocols are the names of IP protocols in selectors.
var protocols = []struct {
	name   string
	number uint8
	ports  bool
}{
	{"icmp", 1, true}, {"tcp", 6, true}, {"udp", 17, true}, {"ipv6-icmp", 58, true}, {"icmpv6", 58, true},
	{"sctp", 132, true}, {"dccp", 33, true}, {"udplite", 136, true}, {"mh", 135, false}, {"igmp", 2, false}, {"ipip", 4, false}, {"ipv4", 4, false},
	{"ipv6", 41, false}, {"gre", 47, false}, {"esp", 50, false}, {"ah", 51, false}, {"ospf", 89, false},
	{"pim", 103, false}, {"vrrp", 112, false}, {"l2tp", 115, false},
}

// services are the port names that configurations use.
var services = map[string]uint16{
	"ftp": 21, "ssh": 22, "telnet": 23, "smtp": 25, "domain": 53, "bootps": 67, "bootpc": 68, "tftp": 69,
	"http": 80, "www": 80, "kerberos": 88, "pop3": 110, "sunrpc": 111, "ntp": 123, "netbios-ns": 137, "netbios-dgm": 138, "netbios-ssn": 139,
	"imap": 143, "imap2": 143, "snmp": 161, "bgp": 179, "ldap": 389, "https": 443, "microsoft-ds": 445, "isakmp": 500,
	"syslog": 514, "ldaps": 636, "imaps": 993, "pop3s": 995, "l2tp": 1701, "l2f": 1701, "radius": 1812, "nfs": 2049, "ipsec-nat-t": 4500,
}

// ParseProtoPort reads protocol, protocol/port or protocol/low-high. Port 0 and
// %any are all ports; the port of ICMP is its type, with any code.
func ParseProtoPort(text string) (proto uint8, ports ipsec.Ports, err error) {
	name, port, found := strings.Cut(text, "/")
	proto, takesPorts, err := parseProtocol(name)
	if err != nil || !found || port == "" || port == "%any" || port == "0" {
		return proto, ipsec.Ports{}, err
	}
	if !takesPorts {
		return 0, ipsec.Ports{}, fmt.Errorf("protocol %s has no ports", name)
	}
	if proto == 1 || proto == 58 { // RFC 7296, 3.13.1: type in the upper octet, code in the lower
		t, err := strconv.ParseUint(port, 10, 8)
		if err != nil {
			return 0, ipsec.Ports{}, fmt.Errorf("%q is not an ICMP type", port)
		}
		return proto, ipsec.Ports{Lo: uint16(t) << 8, Hi: uint16(t)<<8 | 0xff}, nil
	}
	lo, hi, ranged := strings.Cut(port, "-")
	if ports.Lo, err = parsePort(lo); err != nil {
		return 0, ipsec.Ports{}, err
	}
	ports.Hi = ports.Lo
	if ranged {
		if ports.Hi, err = parsePort(hi); err != nil {
			return 0, ipsec.Ports{}, err
		}
	}
	if ports.Hi < ports.Lo {
		return 0, ipsec.Ports{}, errors.New("port range ends before it begins")
	}
	return proto, ports, nil
}

func parseProtocol(name string) (number uint8, ports bool, err error) {
	if name == "%any" || name == "any" {
		return 0, false, nil
	}
	n, numeric := strconv.ParseUint(name, 10, 8)
	for _, p := range protocols {
		if strings.EqualFold(p.name, name) || numeric == nil && uint64(p.number) == n {
			return p.number, p.ports, nil
		}
	}
	if numeric != nil || !digits(name) {
		return 0, false, fmt.Errorf("unknown protocol %q; use its number", name)
	}
	return uint8(n), false, nil
}

func parsePort(text string) (uint16, error) {
	if p, ok := services[strings.ToLower(text)]; ok {
		return p, nil
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || !digits(text) {
		return 0, fmt.Errorf("%q is not a port from 0 to 65535 or the name of one", text)
	}
	return uint16(n), nil
}

// formatProtoPort is the numeric form that ParseProtoPort reads.
func formatProtoPort(proto uint8, ports ipsec.Ports) string {
	switch {
	case proto == 0:
		return ""
	case ports.Any():
		return strconv.Itoa(int(proto))
	case proto == 1 || proto == 58:
		return fmt.Sprintf("%d/%d", proto, ports.Lo>>8)
	case ports.Lo == ports.Hi:
		return fmt.Sprintf("%d/%d", proto, ports.Lo)
	}
	return fmt.Sprintf("%d/%d-%d", proto, ports.Lo, ports.Hi)
}
