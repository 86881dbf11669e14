package ikev1

import (
	"errors"

	"cygnet/internal/ike"
	"cygnet/internal/ikev1/wire"
	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

// What differed, for `ipsec why': as in IKEv2, though here it is read off the
// transforms that were refused one by one.

// mismatch1 compares the proposals of connections with transforms of Main Mode; nil
// if they differ in something else, as the method of authentication.
func mismatch1(conns []*ike.Conn, read []phase1) *suite.Mismatch {
	var ours []suite.Proposal
	for _, c := range conns {
		for _, p := range c.IKE {
			if len(p.Integ) > 0 { // no AEAD in IKEv1
				ours = append(ours, p)
			}
		}
	}
	var theirs []suite.Offer
	for i, p := range read {
		c := p.Chosen
		c.Integ = integOfHash(c.PRF) // ipsec.conf names the hash once for both
		theirs = append(theirs, c.Offer(uint8(i+1), nil))
	}
	return differ(ours, theirs)
}

// mismatch2 does the same for Quick Mode, protocol by protocol; without groups where
// we do not ask for PFS.
func mismatch2(c *ike.Conn, sa wire.SA) *suite.Mismatch {
	for _, proto := range bundle(c, false) {
		ours := proposalsFor(c, proto)
		if !c.PFS {
			ours = suite.WithoutKE(ours)
		}
		var theirs []suite.Offer
		for _, p := range sa.Proposals {
			if protoOf(p.Protocol) != proto || p.Protocol == wire.ProtoISAKMP {
				continue
			}
			for _, t := range p.Transforms {
				a, err := read2(p.Protocol, t)
				if err != nil {
					continue
				}
				chosen := a.chosen
				if c.PFS {
					chosen.KE = a.group
				}
				theirs = append(theirs, chosen.Offer(uint8(len(theirs)+1), nil))
			}
		}
		if m := differ(ours, theirs); m != nil {
			return m
		}
	}
	return nil
}

func differ(ours []suite.Proposal, theirs []suite.Offer) *suite.Mismatch {
	if len(ours) == 0 || len(theirs) == 0 {
		return nil
	}
	_, _, err := suite.Select(ours, theirs)
	m, _ := errors.AsType[*suite.Mismatch](err)
	return m
}

// integOfHash is the integrity algorithm of the hash that a PRF is made of.
func integOfHash(f *suite.PRF) *suite.Integ {
	for _, name := range []string{"md5", "sha1", "sha2_256", "sha2_384", "sha2_512"} {
		if f != nil && suite.PRFByName(name) == f {
			return suite.IntegByName(name)
		}
	}
	return nil
}

// pair is sides as a reason has them.
func (s sides) pair() ike.TSPair {
	return ike.TSPair{Local: []ipsec.TS{s.local}, Remote: []ipsec.TS{s.remote}}
}

// nearness counts on how many ends s and t are the same or overlap.
func (s sides) nearness(t sides) (n int) {
	for _, x := range [][2]ipsec.TS{{s.local, t.local}, {s.remote, t.remote}} {
		switch {
		case sameTS(x[0], x[1]):
			n += 2
		case insideTS(x[0], x[1]), insideTS(x[1], x[0]):
			n++
		}
	}
	return n
}

// expects is whom the connections with these addresses are for, beside who called.
func (s *SA) expects(declared ike.ID) ike.Detail {
	d := ike.Detail{Declared: declared}
	for _, c := range s.cfg.PAD.Between(s.local.Addr(), s.remote.Addr()) {
		if id := c.Remote.ID; c.Version == ike.Version1 && !id.IsZero() && !contains(d.Expected, id) {
			d.Expected = append(d.Expected, id)
		}
	}
	return d
}
