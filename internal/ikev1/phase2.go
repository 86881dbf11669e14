package ikev1

import (
	"errors"
	"fmt"
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
	switch {
	case p == ipsec.Comp && len(b) == 2:
		return ipsec.SPI(r.Uint16()), nil
	case len(b) != 4:
		return 0, fmt.Errorf("SPI of %d octets", len(b))
	}
	spi := ipsec.SPI(r.Uint32())
	if p == ipsec.Comp && spi > 0xffff || p != ipsec.Comp && spi < ipsec.MinSPI {
		return 0, fmt.Errorf("SPI %#x is not possible", uint32(spi)) // RFC 4303, 2.1
	}
	return spi, nil
}

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

// byNumber groups proposals into bundles.
func byNumber(ps []wire.Proposal) [][]wire.Proposal {
	var out [][]wire.Proposal
	for i, p := range ps {
		if i == 0 || p.Number != ps[i-1].Number {
			out = append(out, nil)
		}
		out[len(out)-1] = append(out[len(out)-1], p)
	}
	return out
}

// select2 is the responder's choice for a connection: the first bundle, and in
// each of its protocols the first transform, that the connection takes.
func (s *SA) select2(c *ike.Conn, sa wire.SA, hasKE bool) ([]part, terms, error) {
	var reasons []string
	for _, b := range byNumber(sa.Proposals) {
		parts, t, err := s.selectBundle(c, b, hasKE)
		if err == nil {
			return parts, t, nil
		}
		reasons = addLine(reasons, err.Error())
	}
	text := ""
	for i, r := range reasons {
		if i > 0 {
			text += "; "
		}
		text += r
	}
	return nil, terms{}, errors.New(text)
}

func (s *SA) selectBundle(c *ike.Conn, b []wire.Proposal, hasKE bool) ([]part, terms, error) {
	find := func(p ipsec.Proto) (found *wire.Proposal, n int) {
		for i := range b {
			if protoOf(b[i].Protocol) == p && b[i].Protocol != wire.ProtoISAKMP {
				found, n = &b[i], n+1
			}
		}
		return found, n
	}
	_, comp := find(ipsec.Comp)
	wanted := bundle(c, comp > 0)
	if len(wanted) != len(b) {
		return nil, terms{}, fmt.Errorf("a bundle of %d protocols, not %d", len(b), len(wanted))
	}
	if len(wanted) > 1 && !s.cfg.Bundles {
		return nil, terms{}, errors.New("the data plane has no bundles")
	}
	var parts []part
	var common *terms
	for _, p := range wanted {
		o, n := find(p)
		if n != 1 {
			return nil, terms{}, fmt.Errorf("no %s proposal", p)
		}
		pt, t, err := s.selectPart(c, p, *o, common, hasKE)
		if err != nil {
			return nil, terms{}, err
		}
		parts, common = append(parts, pt), &t
	}
	return parts, *common, nil
}

// selectPart chooses one protocol's transform. common are the terms of those
// chosen before, if any.
func (s *SA) selectPart(c *ike.Conn, p ipsec.Proto, o wire.Proposal, common *terms, hasKE bool) (part, terms, error) {
	spi, err := readSPI(p, o.SPI)
	if err != nil {
		return part{}, terms{}, err
	}
	var reasons error
	for _, t := range o.Transforms {
		a, err := read2(o.Protocol, t)
		if err == nil {
			err = allows2(c, p, a, p == ipsec.ESP && len(c.AH) > 0)
		}
		if err == nil {
			err = s.allowsTerms(c, a.terms, hasKE)
		}
		if err == nil && common != nil && !common.agree(a.terms) {
			err = errors.New("the protocols of a bundle disagree about mode or group")
		}
		if err != nil {
			if reasons == nil {
				reasons = err
			}
			continue
		}
		if common != nil {
			a.life, a.kilobytes = shorter(a.life, common.life), lesser(a.kilobytes, common.kilobytes)
			a.shortened = a.shortened || common.shortened
		}
		return part{
			proto: p, chosen: a.chosen, out: spi, number: o.Number, answer: t, wideCPI: p == ipsec.Comp && len(o.SPI) == 4,
		}, a.terms, nil
	}
	return part{}, terms{}, reasons
}

func (t terms) agree(u terms) bool { return t.mode == u.mode && t.udp == u.udp && t.group == u.group }

// shorter is the shorter of two lifetimes, where 0 is none.
func shorter(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

func lesser(a, b uint64) uint64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

func (s *SA) allowsTerms(c *ike.Conn, t terms, hasKE bool) error {
	switch {
	case t.mode != c.Mode:
		return fmt.Errorf("the peer asks for %s mode, the connection is for %s mode", t.mode, c.Mode)
	case t.udp != s.encap:
		return errors.New("encapsulation in UDP does not fit what NAT detection found")
	case c.PFS && t.group == nil:
		return errors.New("we require PFS but Quick I1 SA specifies no GROUP_DESCRIPTION")
	case (t.group != nil) != hasKE:
		return errors.New("the group and the KE payload do not go together")
	case t.group != nil && !groupAllowed(c, t.group):
		return fmt.Errorf("policy does not allow group %s", t.group.Name)
	}
	return nil
}

// groupAllowed accepts the groups of the connection, and with pfs=no those that
// are good enough for its ISAKMP SA.
func groupAllowed(c *ike.Conn, k *suite.KE) bool {
	for _, list := range [][]suite.Proposal{c.ESP, c.AH, c.IKE} {
		for _, p := range list {
			if contains(p.KE, k) {
				return true
			}
		}
	}
	return false
}

// check2 is the initiator's look at the answer: one bundle of those offered,
// one transform in each protocol, on our terms. It returns the parts with both
// SPIs.
func (s *SA) check2(c *ike.Conn, offered []part, t terms, sa wire.SA) ([]part, terms, error) {
	bs := byNumber(sa.Proposals)
	if len(bs) != 1 {
		return nil, t, fmt.Errorf("the peer's answer has %d proposals, one must be chosen", len(bs))
	}
	if len(bs[0]) == len(offered)-1 && offered[0].proto == ipsec.Comp {
		offered = offered[1:] // without compression
	}
	if len(bs[0]) != len(offered) {
		return nil, t, fmt.Errorf("the peer's answer has %d protocols, not %d", len(bs[0]), len(offered))
	}
	var parts []part
	for _, p := range offered {
		var err error
		if p, t, err = s.checkPart(c, p, t, bs[0]); err != nil {
			return nil, t, err
		}
		parts = append(parts, p)
	}
	return parts, t, nil
}

func (s *SA) checkPart(c *ike.Conn, p part, t terms, answer []wire.Proposal) (part, terms, error) {
	for _, o := range answer {
		if o.Protocol != p.protocol() {
			continue
		}
		if len(o.Transforms) != 1 {
			return p, t, fmt.Errorf("the peer's answer has %d transforms, one must be chosen", len(o.Transforms))
		}
		a, err := read2(o.Protocol, o.Transforms[0])
		if err != nil {
			return p, t, err
		}
		if !t.agree(a.terms) || p.proto != ipsec.Comp && !contains(choices(c, p.proto), a.chosen) {
			return p, t, fmt.Errorf("the peer chose %s, which we did not offer", a.chosen)
		}
		p.out, err = readSPI(p.proto, o.SPI)
		p.chosen = a.chosen
		t.life, t.kilobytes = shorter(t.life, a.life), lesser(t.kilobytes, a.kilobytes)
		return p, t, err
	}
	return p, t, fmt.Errorf("the peer's answer has no %s", p.protocol())
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
