package wire

import (
	"errors"
	"fmt"
	"net/netip"

	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
	"cygnet/internal/octet"
)

// TSi is the Traffic Selector - Initiator payload, RFC 7296 section 3.13.
type TSi struct{ Selectors }

// TSr is the Traffic Selector - Responder payload.
type TSr struct{ Selectors }

// NewTSi returns the payload that proposes ts for the initiator's side.
func NewTSi(ts []ipsec.TS) TSi { return TSi{ts} }

// NewTSr returns the payload that proposes ts for the responder's side.
func NewTSr(ts []ipsec.TS) TSr { return TSr{ts} }

// Type implements Payload.
func (TSi) Type() ike.PayloadType { return ike.PayloadTSi }

// Type implements Payload.
func (TSr) Type() ike.PayloadType { return ike.PayloadTSr }

// Selectors is the body of both payloads. A decoded one holds the selectors
// that can match a packet; it is empty when none of those sent can, and the
// answer is then TS_UNACCEPTABLE. Any port is always the zero Ports.
//
//	| Number of TSs |                 RESERVED                      |
//	~                       <Traffic Selectors>                     ~
type Selectors []ipsec.TS

// Traffic selector types, RFC 7296 section 3.13.1.
const (
	tsIPv4 uint8 = 7
	tsIPv6 uint8 = 8
)

func parseTS(r *octet.Reader) Selectors {
	n := int(r.Uint8())
	r.Skip(3) // RESERVED
	if n == 0 {
		r.Fail(errors.New("no traffic selectors"))
	}
	var list Selectors
	for i := 0; i < n && r.Err() == nil; i++ {
		if ts, usable := parseSelector(r, i); usable {
			list = append(list, ts)
		}
	}
	return list
}

// parseSelector reads one selector:
//
//	|   TS Type     |IP Protocol ID*|       Selector Length         |
//	|           Start Port*         |           End Port*           |
//	~                         Starting Address*                     ~
//	~                         Ending Address*                       ~
//
// Unknown types are skipped (section 2.9 lets a responder narrow), and so are
// selectors that match nothing we could express: a start after its end, and
// ports 0 to 0. The latter would become ipsec's "any port" and widen the
// selector; only with protocol "any", which has no ports, it is read as such.
func parseSelector(r *octet.Reader, i int) (ts ipsec.TS, usable bool) {
	typ, proto, n := r.Uint8(), r.Uint8(), int(r.Uint16())
	if r.Err() == nil && n < 8 {
		r.Fail(fmt.Errorf("selector %d: length %d", i+1, n))
	}
	s := r.Sub(n - 4)
	size := map[uint8]int{tsIPv4: 4, tsIPv6: 16}[typ]
	if size == 0 || r.Err() != nil {
		return ts, false
	}
	if n != 8+2*size {
		r.Fail(fmt.Errorf("selector %d: length %d for type %d", i+1, n, typ))
		return ts, false
	}
	ports := ipsec.Ports{Lo: s.Uint16(), Hi: s.Uint16()}
	start, _ := netip.AddrFromSlice(s.Bytes(size))
	end, _ := netip.AddrFromSlice(s.Bytes(size))
	switch {
	case ports == ipsec.Ports{}:
		usable = proto == 0
	case ports.Any():
		ports, usable = ipsec.Ports{}, true
	default:
		// 65535 to 0 is OPAQUE (RFC 7296, 3.13.1): ports nobody can see.
		usable = ports.Lo <= ports.Hi || ports == ipsec.Ports{Lo: 0xffff, Hi: 0}
	}
	return ipsec.TS{Start: start, End: end, Proto: proto, Ports: ports}, usable && !end.Less(start)
}

func (p Selectors) appendTo(b []byte) []byte {
	b = append(b, uint8(len(p)), 0, 0, 0)
	for _, ts := range p {
		typ := tsIPv6
		if ts.Start.Is4() {
			typ = tsIPv4
		}
		lo, hi := ts.Ports.Lo, ts.Ports.Hi
		if ts.Ports.Any() {
			lo, hi = 0, 0xffff
		}
		b = append(b, typ, ts.Proto)
		b = octet.AppendLen16(b, 4, func(b []byte) []byte {
			b = octet.AppendUint16(b, lo)
			b = octet.AppendUint16(b, hi)
			b = append(b, ts.Start.AsSlice()...)
			return append(b, ts.End.AsSlice()...)
		})
	}
	return b
}
