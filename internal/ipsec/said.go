// Package ipsec is the vocabulary of RFC 4301: SPI, SAID, selectors, policies,
// SAs, lifetimes, and Backend, the one door to a data plane. It does no I/O.
// Everything here is a value that may be copied and compared.
package ipsec

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Proto is what an SPI belongs to: an IP protocol number, or one of the two
// pseudo protocols of KLIPS (tun, int).
type Proto uint8

// Protocols of SAs. The numbers are those of IP.
const (
	Tun  Proto = 4   // IP-in-IP; its SPI is book-keeping only, never on the wire
	ESP  Proto = 50  // RFC 4303
	AH   Proto = 51  // RFC 4302
	Int  Proto = 61  // shunts; the SPI is a magic number
	Comp Proto = 108 // RFC 3173; the SPI is a CPI of 16 bits
)

// String returns the FreeS/WAN name: tun, esp, ah, int, comp.
func (p Proto) String() string {
	switch p {
	case Tun:
		return "tun"
	case ESP:
		return "esp"
	case AH:
		return "ah"
	case Int:
		return "int"
	case Comp:
		return "comp"
	}
	return "proto" + strconv.Itoa(int(p))
}

// SPI is a security parameters index, RFC 4301 section 4.1.
type SPI uint32

// Ranges of SPIs (freeswan.md 5.3).
const (
	MinSPI      SPI = 0x100  // below: reserved by IANA, refused everywhere
	MinAutoSPI  SPI = 0x1000 // below, from MinSPI: manual keying
	FirstTunSPI SPI = 0x1001 // pseudo SPIs of IP-in-IP count up from here
)

// IsCPI reports whether a receiver may name s as its CPI, RFC 3173 section 3.3:
// the well-known one of DEFLATE, or one for negotiation or private use.
func (s SPI) IsCPI() bool { return s == deflateCPI || s >= MinSPI && s <= 0xffff }

// deflateCPI is what DEFLATE has without negotiation.
const deflateCPI SPI = 2

// SAID names one SA: protocol, SPI and outer destination.
type SAID struct {
	Dst   netip.Addr
	Proto Proto
	SPI   SPI
}

// String is the KLIPS form, such as esp0x5f3c9a11@198.51.100.1; shunts print
// as %pass and so on.
func (s SAID) String() string {
	if s.Proto == Int {
		return shuntName(s.SPI)
	}
	return fmt.Sprintf("%s0x%x@%s", s.Proto, uint32(s.SPI), s.Dst)
}

// Status is the form Pluto's status uses: esp.5f3c9a11@198.51.100.1, or with a
// colon for IPv6.
func (s SAID) Status() string {
	sep := "."
	if s.Dst.Is6() {
		sep = ":"
	}
	return fmt.Sprintf("%s%s%x@%s", s.Proto, sep, uint32(s.SPI), s.Dst)
}

// IsZero reports whether s names nothing.
func (s SAID) IsZero() bool { return s == SAID{} }

// ParseSAID reads any of the forms tun0x1002@1.2.3.4, tun.1002@1.2.3.4,
// esp:5@2001:db8::1, %trap, %passthrough.
func ParseSAID(text string) (SAID, error) {
	if strings.HasPrefix(text, "%") {
		return parseShunt(text)
	}
	head, addr, ok := strings.Cut(text, "@")
	if !ok {
		return SAID{}, fmt.Errorf("SAID %q has no @", text)
	}
	dst, err := netip.ParseAddr(addr)
	if err != nil {
		return SAID{}, fmt.Errorf("SAID %q: bad address %q", text, addr)
	}
	for _, p := range []Proto{Tun, ESP, AH, Comp, Int} {
		rest, ok := strings.CutPrefix(head, p.String())
		if !ok {
			continue
		}
		digits, ok := cutSep(rest)
		if !ok {
			break
		}
		n, err := strconv.ParseUint(digits, 16, 32)
		if err != nil {
			return SAID{}, fmt.Errorf("SAID %q: SPI %q is not a hexadecimal number of at most 32 bits", text, digits)
		}
		return SAID{dst, p, SPI(n)}, nil
	}
	return SAID{}, fmt.Errorf("SAID %q does not begin with tun, esp, ah, comp or int and an SPI", text)
}

func cutSep(s string) (string, bool) {
	for _, sep := range []string{"0x", ".", ":"} {
		if rest, ok := strings.CutPrefix(s, sep); ok {
			return rest, true
		}
	}
	return "", false
}
