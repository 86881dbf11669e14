package ikev2

import (
	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
	"cygnet/internal/ipsec"
)

// refusesTFC reports whether the peer takes no padding that hides how long
// packets are, RFC 7296 section 1.3.1.
func refusesTFC(ps wire.Payloads) bool {
	_, no := ps.Notify(ike.NotifyESPTFCPaddingUnsupported)
	return no
}

// padding is the TFC padding of what we send by an agreement: in tunnels of ESP
// only, where the inner header tells the length (RFC 4303 section 2.7). Behind
// IPComp there is no such header to go by.
func (a *agreement) padding() int {
	if a.noTFC || a.mode != ipsec.Tunnel || a.proto() != ipsec.ESP || a.comp != (cpis{}) {
		return 0
	}
	return a.conn.TFC
}

// appendNoTFC says that we take no padding, where c asks us to.
func appendNoTFC(ps []wire.Payload, c *ike.Conn) []wire.Payload {
	if c.RefuseTFC {
		ps = append(ps, wire.NewNotify(ike.NotifyESPTFCPaddingUnsupported, nil))
	}
	return ps
}
