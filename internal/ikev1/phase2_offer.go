package ikev1

import (
	"fmt"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ikev1/wire"
	"cygnet/internal/ipsec"
	"cygnet/internal/octet"
	"cygnet/internal/suite"
)

// modeNumber is the encapsulation mode attribute for terms.
func (s *SA) modeNumber(t terms) uint32 {
	n := uint32(modeTunnel)
	switch {
	case t.udp && t.mode == ipsec.Tunnel && s.natDraft:
		n = modeDraftUDPTunnel
	case t.udp && t.mode == ipsec.Tunnel:
		n = modeUDPTunnel
	case t.udp && s.natDraft:
		n = modeDraftUDPTransport
	case t.udp:
		n = modeUDPTransport
	case t.mode == ipsec.Transport:
		n = modeTransport
	}
	return n
}

// transform2 is one transform of a proposal. Attributes stand in FreeS/WAN's
// order; those of IPComp are the common ones alone.
func (s *SA) transform2(number int, p ipsec.Proto, c suite.Chosen, t terms) wire.Transform {
	w := wire.Transform{Number: uint8(number)}
	add := func(typ uint16, v uint32) { w.Attrs = append(w.Attrs, wire.NewAttr(typ, v)) }
	if t.group != nil {
		add(attr2Group, uint32(t.group.ID))
	}
	add(attr2Mode, s.modeNumber(t))
	add(attr2LifeType, lifeSeconds)
	add(attr2Life, uint32(t.life/time.Second))
	if t.kilobytes > 0 {
		add(attr2LifeType, lifeKilobytes)
		add(attr2Life, uint32(min(t.kilobytes, 0xffffffff)))
	}
	switch p {
	case ipsec.Comp:
		w.ID = transformDeflate
	case ipsec.AH:
		auth, ah := integNumbers(c.Integ)
		w.ID = uint8(ah)
		add(attr2Auth, uint32(auth))
	default:
		w.ID = uint8(encrESP(c.Encr.Encr))
		if !c.Encr.Fixed {
			add(attr2KeyLength, uint32(c.Encr.Bits))
		}
		if c.Integ != nil {
			auth, _ := integNumbers(c.Integ)
			add(attr2Auth, uint32(auth))
		}
	}
	return w
}

// offers2 is the SA payload for a connection. parts have the SPIs; the bundle
// with IPComp comes first, then the same without it. The order of protocols
// within a number is FreeS/WAN's: AH, ESP, IPComp.
func (s *SA) offers2(c *ike.Conn, parts []part, t terms) wire.SA {
	var sa wire.SA
	number := uint8(1)
	add := func(parts []part) {
		for i := len(parts) - 1; i >= 0; i-- {
			p := parts[i]
			o := wire.Proposal{Number: number, Protocol: p.protocol(), SPI: spiOctets(p.proto, p.in)}
			if p.proto == ipsec.Comp {
				o.Transforms = []wire.Transform{s.transform2(1, p.proto, suite.Chosen{}, t)}
			}
			for n, ch := range choices(c, p.proto) {
				if p.proto != ipsec.Comp {
					o.Transforms = append(o.Transforms, s.transform2(n+1, p.proto, ch, t))
				}
			}
			sa.Proposals = append(sa.Proposals, o)
		}
		number++
	}
	add(parts)
	if parts[0].proto == ipsec.Comp {
		add(parts[1:])
	}
	return sa
}

// spiOctets is an SPI as a proposal carries it: CPIs have two octets.
func spiOctets(p ipsec.Proto, spi ipsec.SPI) []byte {
	if p == ipsec.Comp {
		return octet.AppendUint16(nil, uint16(spi))
	}
	return octet.AppendUint32(nil, uint32(spi))
}

// readSPI checks the SPI of a proposal. A CPI may also come in four octets
// (RFC 3173, 4.1).
func readSPI(p ipsec.Proto, b []byte) (ipsec.SPI, error) {
	r := octet.NewReader(b)
	var spi ipsec.SPI
	switch {
	case p == ipsec.Comp && len(b) == 2:
		spi = ipsec.SPI(r.Uint16())
	case len(b) != 4:
		return 0, fmt.Errorf("SPI of %d octets", len(b))
	default:
		spi = ipsec.SPI(r.Uint32())
	}
	if p == ipsec.Comp && !spi.IsCPI() || p != ipsec.Comp && spi < ipsec.MinSPI {
		return 0, fmt.Errorf("SPI %#x is not possible", uint32(spi)) // RFC 4303, 2.1
	}
	return spi, nil
}
