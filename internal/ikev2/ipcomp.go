package ikev2

import (
	"slices"

	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
	"cygnet/internal/ipsec"
	"cygnet/internal/octet"
)

// IP compression, RFC 7296 section 2.22. It is agreed on beside the algorithms:
// the initiator names the CPI that it receives compressed packets with, and who
// accepts answers with its own. Each pair has CPIs of its own, so a rekeying
// agrees anew. Only DEFLATE (RFC 2394) is offered and accepted.

// compDeflate is the transform ID of DEFLATE, RFC 7296 section 2.22.
const compDeflate = 2

// cpis are the numbers of a pair that compresses; zero: it does not.
type cpis struct{ in, out ipsec.SPI }

// around lists the SAs of both directions of a pair, innermost first: IPComp, if
// there is any, and what protects it.
func (n cpis) around(c *child) (in, out []ipsec.SAID) {
	in, out = []ipsec.SAID{c.in}, []ipsec.SAID{c.out}
	if n != (cpis{}) {
		in = append([]ipsec.SAID{{Dst: c.in.Dst, Proto: ipsec.Comp, SPI: n.in}}, in...)
		out = append([]ipsec.SAID{{Dst: c.out.Dst, Proto: ipsec.Comp, SPI: n.out}}, out...)
	}
	return in, out
}

// ins and outs are those of one direction.
func (c *child) ins() []ipsec.SAID  { in, _ := c.comp.around(c); return in }
func (c *child) outs() []ipsec.SAID { _, out := c.comp.around(c); return out }

// has reports whether an SA is one of the pair's.
func (c *child) has(id ipsec.SAID) bool {
	return slices.Contains(c.ins(), id) || slices.Contains(c.outs(), id)
}

// wantComp reserves a CPI for an offer that shall ask for compression. A rekeyed
// pair that compresses goes on to. Without a CPI the pair is asked for all the
// same.
func (s *step) wantComp(o *offer) {
	if !o.conn.Compress && (o.replaces == nil || o.replaces.comp == cpis{}) {
		return
	}
	cpi, err := s.reserve(ipsec.Comp)
	if err != nil {
		s.note("asking for no compression: the data plane gives no CPI: %v", err)
		return
	}
	o.cpi = cpi
}

// notifyComp is IPCOMP_SUPPORTED: CPI and transform ID, section 3.10.1.
func notifyComp(cpi ipsec.SPI) wire.Notify {
	return wire.NewNotify(ike.NotifyIPCompSupported, append(octet.AppendUint16(nil, uint16(cpi)), compDeflate))
}

// readComp reads IPCOMP_SUPPORTED. ok is false for other algorithms than
// DEFLATE, and for what is malformed or cannot be a CPI. DEFLATE has no
// attributes.
func readComp(n wire.Notify) (cpi ipsec.SPI, ok bool) {
	if len(n.Data) != 3 || n.Data[2] != compDeflate {
		return 0, false
	}
	cpi = ipsec.SPI(octet.NewReader(n.Data).Uint16())
	return cpi, cpi.IsCPI()
}

// acceptedComp is the responder's word on compression. It may take one of the
// algorithms offered and must take none that was not (2.22): an SA on which
// the peer compresses and we cannot expand is of no use.
func (o *offer) acceptedComp(ps wire.Payloads) (cpis, *refusal) {
	list := ps.NotifyAll(ike.NotifyIPCompSupported)
	if len(list) == 0 {
		return cpis{}, nil
	}
	cpi, ok := readComp(list[0])
	if len(list) > 1 || !ok || o.cpi == 0 {
		return cpis{}, &refusal{why: &ike.Failure{Reason: ike.ReasonProposal, Why: "the peer accepted a compression that we did not offer"}}
	}
	return cpis{in: o.cpi, out: cpi}, nil
}

// askedComp is the first CPI under which the peer asks for DEFLATE; 0 if it does
// not. It is granted whatever compress= says here (freeswan.md 2.9).
func askedComp(ps wire.Payloads) ipsec.SPI {
	for _, n := range ps.NotifyAll(ike.NotifyIPCompSupported) {
		if cpi, ok := readComp(n); ok {
			return cpi
		}
	}
	return 0
}

// grantComp reserves our CPI for a pair that the peer wants compressed. Without
// one the pair comes up uncompressed.
func (s *step) grantComp(a *agreement) {
	if a.comp.out == 0 {
		return
	}
	cpi, err := s.reserve(ipsec.Comp)
	if err != nil {
		s.note("accepting no compression: the data plane gives no CPI: %v", err)
		a.comp = cpis{}
		return
	}
	a.comp.in = cpi
}

// installComp puts the IPComp SAs of a pair into the data plane; in and out are
// the pair's other SAs. IPComp compresses what they protect (RFC 3173, 2).
func (s *step) installComp(c *child, in, out ipsec.SA) {
	for _, sa := range []ipsec.SA{in, out} {
		sa.ID = c.ins()[0]
		if sa.Dir == ipsec.Out {
			sa.ID = c.outs()[0]
		}
		sa.Transform, sa.EncrKey, sa.IntegKey, sa.Encap = ipsec.Transform{}, ipsec.Secret{}, ipsec.Secret{}, ipsec.Encap{}
		sa.Replay, sa.Life = 0, ipsec.Lifetime{}
		s.emit(ike.Install{SA: sa})
	}
}

// returnCPI gives a CPI back that came to nothing.
func (s *step) returnCPI(o *offer) {
	if o.cpi != 0 {
		s.remove(ipsec.SAID{Dst: o.at, Proto: ipsec.Comp, SPI: o.cpi})
		o.cpi = 0
	}
}
