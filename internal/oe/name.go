package oe

import (
	"fmt"
	"net/netip"
	"strings"

	"cygnet/internal/octet"
	"cygnet/internal/rawkey"
)

// ReverseName is the name under in-addr.arpa. or ip6.arpa. of an address; an
// IPv4-mapped IPv6 address counts as IPv4 (opportunistic.md 7.1).
func ReverseName(a netip.Addr) string { return rawkey.ReverseName(a) }

// ReversePrefix is the name of the zone that holds the reverse names of a
// prefix: the prefix cut to whole octets, or to whole nibbles in IPv6.
func ReversePrefix(p netip.Prefix) string {
	full, step := 4, 8
	if p.Addr().Is6() {
		full, step = 32, 4
	}
	drop := full - p.Bits()/step
	labels := strings.SplitN(ReverseName(p.Masked().Addr()), ".", drop+1)
	return labels[drop]
}

// Name makes a host name what a Query wants: absolute, in lower case.
func Name(host string) string { return strings.TrimSuffix(strings.ToLower(host), ".") + "." }

// sameName compares names as the DNS does.
func sameName(a, b string) bool { return Name(a) == Name(b) }

// readName reads an uncompressed name. Compression is not allowed in the RDATA
// of types that came after RFC 1035 (RFC 3597, section 4): a pointer would make
// the record mean something else when the message around it is another.
func readName(r *octet.Reader) string {
	var b strings.Builder
	for total := 0; r.Err() == nil; {
		n := int(r.Uint8())
		total += n + 1
		switch {
		case n > 63:
			r.Fail(fmt.Errorf("label of type %#x in a name", n&0xc0))
		case total > 255:
			r.Fail(fmt.Errorf("name longer than 255 octets"))
		case n == 0:
			return b.String()
		}
		writeLabel(&b, r.Bytes(n))
	}
	return ""
}

// writeLabel writes a label in the text form of RFC 1035, section 5.1. Octets
// that no host name has are written \DDD, so that the text can be logged and
// never means another name.
func writeLabel(b *strings.Builder, label []byte) {
	for _, c := range label {
		switch {
		case 'A' <= c && c <= 'Z':
			b.WriteByte(c + 'a' - 'A')
		case 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '/':
			b.WriteByte(c)
		default:
			fmt.Fprintf(b, `\%03d`, c)
		}
	}
	b.WriteByte('.')
}

// appendName writes a name in wire form. Names that readName would write with
// escapes are not host names and are refused by their callers before.
func appendName(b []byte, name string) []byte {
	for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
		b = append(b, byte(len(label)))
		b = append(b, label...)
	}
	return append(b, 0)
}

// hostName reports whether a gateway may be called so: labels of letters,
// digits, - and _ that fit.
func hostName(name string) bool {
	name = strings.TrimSuffix(name, ".")
	if name == "" || len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, notHost) {
			return false
		}
	}
	return true
}

func notHost(r rune) bool {
	return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_')
}
