package ikev1

import (
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ikev1/wire"
	"cygnet/internal/ipsec"
	"cygnet/internal/octet"
	"cygnet/internal/suite"
)

// Negotiation of IPsec SAs, freeswan.md 6.3. Proposals of one number are a
// bundle: AH around ESP around IPComp, each with its own SPI.

// part is one protocol of a bundle.
type part struct {
	proto   ipsec.Proto
	chosen  suite.Chosen // empty for IPComp
	in, out ipsec.SPI

	// Of the peer's proposal that a responder took: what it sends back.
	number  uint8
	wideCPI bool // the CPI came in four octets
	answer  wire.Transform
}

// reply is the proposal that a responder sends back for a part.
func (p part) reply() wire.Proposal {
	spi := spiOctets(p.proto, p.in)
	if p.wideCPI {
		spi = octet.AppendUint32(nil, uint32(p.in))
	}
	return wire.Proposal{Number: p.number, Protocol: p.protocol(), SPI: spi, Transforms: []wire.Transform{p.answer}}
}

func (p part) protocol() wire.Protocol {
	switch p.proto {
	case ipsec.AH:
		return wire.ProtoAH
	case ipsec.Comp:
		return wire.ProtoIPComp
	}
	return wire.ProtoESP
}

func protoOf(p wire.Protocol) ipsec.Proto {
	switch p {
	case wire.ProtoAH:
		return ipsec.AH
	case wire.ProtoIPComp:
		return ipsec.Comp
	}
	return ipsec.ESP
}

// terms are what all transforms of a bundle must agree about.
type terms struct {
	mode      ipsec.Mode
	udp       bool
	group     *suite.KE // nil without PFS
	life      time.Duration
	kilobytes uint64
	shortened bool // the peer asked for longer than we grant
}

// bundle lists the protocols of a connection, innermost first.
func bundle(c *ike.Conn, compress bool) []ipsec.Proto {
	var out []ipsec.Proto
	if compress {
		out = append(out, ipsec.Comp)
	}
	if len(c.ESP) > 0 {
		out = append(out, espOrAH(c.ESP))
	}
	if len(c.AH) > 0 {
		out = append(out, ipsec.AH)
	}
	return out
}

// hasAH reports whether AH protects the packets of a connection, alone or
// around ESP.
func hasAH(c *ike.Conn) bool { return len(c.AH) > 0 || espOrAH(c.ESP) == ipsec.AH }

func espOrAH(ps []suite.Proposal) ipsec.Proto {
	if ps[0].Protocol == suite.ProtoAH {
		return ipsec.AH
	}
	return ipsec.ESP
}

// proposalsFor are the algorithms of one protocol of a connection's bundle.
func proposalsFor(c *ike.Conn, p ipsec.Proto) []suite.Proposal {
	if p == ipsec.AH && len(c.AH) > 0 {
		return c.AH
	}
	return c.ESP
}

// choices multiplies the proposals of a protocol out, preferred first.
func choices(c *ike.Conn, p ipsec.Proto) []suite.Chosen {
	var out []suite.Chosen
	for _, o := range proposalsFor(c, p) {
		if p == ipsec.AH {
			for _, i := range o.Integ {
				out = append(out, suite.Chosen{Protocol: suite.ProtoAH, Integ: i})
			}
			continue
		}
		for _, e := range o.Encr {
			if encrESP(e.Encr) == 0 {
				continue
			}
			if len(o.Integ) == 0 {
				out = append(out, suite.Chosen{Protocol: suite.ProtoESP, Encr: e})
			}
			for _, i := range o.Integ {
				out = append(out, suite.Chosen{Protocol: suite.ProtoESP, Encr: e, Integ: i})
			}
		}
	}
	return out[:min(len(out), maxTransforms)]
}

// pfsGroup is the group of a Quick Mode that we begin: that of phase 1 where
// the connection has it (freeswan.md 6.3), else its first.
func (s *SA) pfsGroup(c *ike.Conn) *suite.KE {
	if !c.PFS {
		return nil
	}
	var firstOf *suite.KE
	for _, p := range c.ESP {
		for _, k := range p.KE {
			if k == s.chosen.KE {
				return k
			}
			if firstOf == nil && groupOf(uint64(k.ID)) != nil {
				firstOf = k
			}
		}
	}
	if firstOf == nil {
		return s.chosen.KE
	}
	return firstOf
}

// suiteText is how a bundle is shown, the outermost first.
func suiteText(parts []part, group *suite.KE) string {
	text := ""
	for i := len(parts) - 1; i >= 0; i-- {
		if text != "" {
			text += "+"
		}
		if parts[i].proto == ipsec.Comp {
			text += "DEFLATE"
			continue
		}
		c := parts[i].chosen
		if i == len(parts)-1 {
			c.KE = group
		}
		text += c.String()
	}
	return text
}
