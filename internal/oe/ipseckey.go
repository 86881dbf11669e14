package oe

import (
	"fmt"
	"net/netip"

	"cygnet/internal/octet"
	"cygnet/internal/rawkey"
)

// Kinds of gateway, RFC 4025, section 2.3.
const (
	gatewayNone = iota
	gatewayIPv4
	gatewayIPv6
	gatewayName
)

// parseIPSECKEY reads the RDATA of RFC 4025, section 2.1, as strictly as
// opportunistic.md 7.5 rules: precedence, kind of gateway, algorithm, gateway,
// key.
func parseIPSECKEY(rdata []byte, maxRSA int) (Record, error) {
	r := octet.NewReader(rdata)
	rec := Record{Type: TypeIPSECKEY, Precedence: uint16(r.Uint8())}
	kind, alg := r.Uint8(), r.Uint8()
	if r.Err() != nil {
		return Record{}, malformed("IPSECKEY of %d octets", len(rdata))
	}
	if kind > gatewayName {
		// Where its gateway ends and its key begins is unknown.
		return Record{}, unusable("IPSECKEY with gateway of kind %d", kind)
	}
	rec.Gateway = readGateway(r, kind)
	field := r.Rest()
	switch {
	case r.Err() != nil:
		return Record{}, malformed("gateway of an IPSECKEY: %w", r.Err())
	case kind == gatewayName && rec.Gateway.Name == "":
		return Record{}, malformed("IPSECKEY whose gateway is the root of the DNS")
	case kind == gatewayName && !hostName(rec.Gateway.Name):
		return Record{}, unusable("IPSECKEY whose gateway %q is no host name", rec.Gateway.Name)
	case alg == 0 && len(field) > 0:
		return Record{}, unusable("IPSECKEY of no algorithm with a key")
	case alg == 0:
		return rec, nil
	case len(field) == 0:
		return Record{}, malformed("IPSECKEY of algorithm %d without its key", alg)
	}
	var err error
	rec.Key, err = parseKey(alg, field, maxRSA)
	return rec, err
}

func readGateway(r *octet.Reader, kind uint8) (g Gateway) {
	switch kind {
	case gatewayIPv4:
		g.Addr, _ = netip.AddrFromSlice(r.Bytes(4))
	case gatewayIPv6:
		g.Addr, _ = netip.AddrFromSlice(r.Bytes(16))
	case gatewayName:
		g.Name = readName(r)
	}
	return g
}

// AppendIPSECKEY appends the RDATA of an IPSECKEY record. A precedence above
// 255 does not fit, and neither does a key of an unknown kind.
func (rec Record) AppendIPSECKEY(b []byte) ([]byte, error) {
	if rec.Precedence > 255 {
		return nil, fmt.Errorf("precedence %d does not fit into an IPSECKEY record, 255 does", rec.Precedence)
	}
	var field []byte
	var alg uint8
	if rec.Key != nil {
		var err error
		if field, alg, err = rawkey.DNSKey(rec.Key); err != nil {
			return nil, err
		}
	}
	b = append(b, byte(rec.Precedence))
	switch g := rec.Gateway; {
	case g.Name != "" && !hostName(g.Name):
		return nil, fmt.Errorf("gateway %q is no host name", g.Name)
	case g.Name != "":
		b = appendName(append(b, gatewayName, alg), g.Name)
	case g.Addr.Is4():
		b = append(append(b, gatewayIPv4, alg), g.Addr.AsSlice()...)
	case g.Addr.Is6():
		b = append(append(b, gatewayIPv6, alg), g.Addr.AsSlice()...)
	default:
		b = append(b, gatewayNone, alg)
	}
	return append(b, field...), nil
}
