package wire

import (
	"fmt"
	"net/netip"

	"cygnet/internal/ike"
	"cygnet/internal/octet"
)

// NATOA is the NAT-OA payload, RFC 3947 section 5.2: an address as its owner
// sees it. Draft says that it has the number of the drafts.
//
//	|   ID Type     |  RESERVED     |            RESERVED           |
//	~                        IPv4 or IPv6 address                   ~
type NATOA struct {
	Draft bool
	Addr  netip.Addr
}

// Type implements Payload.
func (p NATOA) Type() ike.PayloadType {
	if p.Draft {
		return draftNATOA
	}
	return ike.PayloadV1NATOA
}

func parseNATOA(r *octet.Reader, draft bool) NATOA {
	kind := ike.IDKind(r.Uint8())
	r.Skip(3)
	data := r.Rest()
	a, ok := netip.AddrFromSlice(data)
	if r.Err() == nil && (!ok || kind != kindOf(a)) {
		r.Fail(fmt.Errorf("address of type %d with %d octets", kind, len(data)))
	}
	return NATOA{draft, a}
}

func kindOf(a netip.Addr) ike.IDKind {
	if a.Is4() {
		return ike.IDIPv4
	}
	return ike.IDIPv6
}

func (p NATOA) appendTo(b []byte) []byte {
	b = append(b, uint8(kindOf(p.Addr)), 0, 0, 0)
	return append(b, p.Addr.AsSlice()...)
}
