package ikev1

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ikev1/wire"
	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

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
	if s.encap && hasAH(c) {
		return nil, terms{}, errors.New(ike.AHThroughNAT)
	}
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
	if len(bs) == 2 && repeats(bs[0], bs[1]) {
		bs = bs[:1]
	}
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

// repeats reports whether the second bundle of an answer is the first without
// IPComp. strongSwan, having chosen compression, answers with both; it means the
// first.
func repeats(first, second []wire.Proposal) bool {
	rest := slices.DeleteFunc(slices.Clone(first), func(o wire.Proposal) bool { return o.Protocol == wire.ProtoIPComp })
	return len(rest) < len(first) && slices.EqualFunc(rest, second, func(a, b wire.Proposal) bool {
		b.Number = a.Number
		return reflect.DeepEqual(a, b)
	})
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
