package ikev1

import (
	"errors"
	"fmt"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ikev1/wire"
	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

// asked2 is what a transform asks for: its algorithms and terms.
type asked2 struct {
	chosen suite.Chosen
	terms
}

var errNoMode = errors.New("the transform has no encapsulation mode")

// read2 reads a transform of a protocol.
func read2(proto wire.Protocol, t wire.Transform) (a asked2, err error) {
	var bits, lifeType, mode uint64
	seen := map[uint16]bool{}
	for _, at := range t.Attrs {
		v, ok := at.Number()
		if !ok || seen[at.Type] && at.Type != attr2LifeType && at.Type != attr2Life {
			return a, fmt.Errorf("attribute %d is empty or stands twice", at.Type)
		}
		seen[at.Type] = true
		switch at.Type {
		case attr2LifeType:
			lifeType = v
		case attr2Life:
			if err := a.readLife(lifeType, v); err != nil {
				return a, err
			}
			lifeType = 0
		case attr2Group:
			if a.group = groupOf(v); a.group == nil {
				return a, fmt.Errorf("group %d is not supported", v)
			}
		case attr2Mode:
			mode = v
		case attr2Auth:
			if a.chosen.Integ = integOfAuth(v); a.chosen.Integ == nil {
				return a, fmt.Errorf("authentication algorithm %d is not supported", v)
			}
		case attr2KeyLength:
			bits = v
		default:
			return a, fmt.Errorf("attribute %d is not supported", at.Type)
		}
	}
	if err := a.readMode(mode); err != nil {
		return a, err
	}
	return a, a.readTransform(proto, t.ID, bits)
}

// readLife reads a lifetime. Seconds beyond our limit are cut in silence, for
// an IPsec SA that ends early is replaced early (freeswan.md 6.3).
func (a *asked2) readLife(typ, v uint64) error {
	switch typ {
	case lifeSeconds:
		a.shortened = v > uint64(maxLife/time.Second)
		a.life = max(time.Duration(min(v, uint64(maxLife/time.Second)))*time.Second, minLife)
	case lifeKilobytes:
		a.kilobytes = min(v, 1<<53) // in octets that still fits 64 bits
	default:
		return fmt.Errorf("lifetime of type %d", typ)
	}
	return nil
}

func (a *asked2) readMode(v uint64) error {
	switch v {
	case modeTunnel, modeUDPTunnel, modeDraftUDPTunnel:
		a.mode = ipsec.Tunnel
	case modeTransport, modeUDPTransport, modeDraftUDPTransport:
		a.mode = ipsec.Transport
	case 0:
		return errNoMode
	default:
		return fmt.Errorf("encapsulation mode %d", v)
	}
	a.udp = v > modeTransport
	return nil
}

func (a *asked2) readTransform(proto wire.Protocol, id uint8, bits uint64) error {
	switch proto {
	case wire.ProtoAH:
		a.chosen.Protocol = suite.ProtoAH
		if i := integOfAH(id); i == nil || a.chosen.Integ != i {
			return fmt.Errorf("AH transform %d and its authentication algorithm disagree", id)
		}
		return nil
	case wire.ProtoESP:
		e := encrOfESP(id)
		if e == nil {
			return fmt.Errorf("ESP transform %d is not supported", id)
		}
		a.chosen.Protocol = suite.ProtoESP
		var err error
		if e.NewBlock == nil && !e.AEAD { // NULL
			if bits != 0 {
				return fmt.Errorf("%s has no keys", e.Name)
			}
			a.chosen.Encr = suite.EncrChoice{Encr: e}
			return nil
		}
		a.chosen.Encr, err = sized(e, bits)
		return err
	case wire.ProtoIPComp:
		if id != transformDeflate {
			return fmt.Errorf("IPCOMP transform %d is not supported", id)
		}
		return nil
	}
	return fmt.Errorf("%s is not supported", proto)
}

// allows2 says why a connection does not take a transform for one protocol of
// a bundle, or nil. ESP that nothing authenticates is never taken
// (freeswan.md 6.3, V1-14).
func allows2(c *ike.Conn, p ipsec.Proto, a asked2, insideAH bool) error {
	if p == ipsec.Comp {
		return nil // whatever compress= says
	}
	ch := a.chosen
	if p == ipsec.ESP && ch.Integ == nil && !ch.Encr.AEAD && !insideAH {
		return errors.New("ESP without authentication")
	}
	for _, o := range proposalsFor(c, p) {
		integ := ch.Integ == nil && len(o.Integ) == 0 || ch.Integ != nil && contains(o.Integ, ch.Integ)
		encr := p == ipsec.AH || hasEncr(o.Encr, ch.Encr)
		if integ && encr {
			return nil
		}
	}
	return fmt.Errorf("policy does not allow %s", ch)
}

func hasEncr(list []suite.EncrChoice, e suite.EncrChoice) bool {
	for _, o := range list {
		if o.Encr == e.Encr && (o.Bits == e.Bits || e.Encr.NewBlock == nil && !e.AEAD) {
			return true
		}
	}
	return false
}
