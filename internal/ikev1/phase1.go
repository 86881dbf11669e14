package ikev1

import (
	"fmt"
	"strings"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ikev1/wire"
	"cygnet/internal/suite"
)

// Negotiation of the ISAKMP SA, freeswan.md 6.2: one proposal, whose transforms
// each fix everything. A connection's proposals, in which IKEv2 would choose
// type by type, are multiplied out.

// phase1 is one such transform. Encr, PRF and KE of Chosen are set; in IKEv1
// the hash is the PRF's and there is no integrity algorithm of its own.
type phase1 struct {
	suite.Chosen
	method ike.AuthMethod
	life   time.Duration // 0: not said
}

// same reports whether two are alike but for the lifetime.
func (p phase1) same(q phase1) bool {
	return p.Encr == q.Encr && p.PRF == q.PRF && p.KE == q.KE && p.method == q.method
}

// String is like AES_CBC_256/PRF_HMAC_SHA2_256/MODP_2048, the method first.
func (p phase1) String() string {
	return methodName(uint64(methodNumber(p.method))) + "/" + p.Chosen.String()
}

// methods are those by which both ends of a connection may prove themselves,
// signatures first (freeswan.md 6.2).
func methods(c *ike.Conn) []ike.AuthMethod {
	var out []ike.AuthMethod
	for _, m := range []ike.AuthMethod{ike.AuthPubkey, ike.AuthPSK} {
		if accepts(&c.Local, m) && accepts(&c.Remote, m) {
			out = append(out, m)
		}
	}
	return out
}

func accepts(e *ike.End, m ike.AuthMethod) bool {
	for _, a := range e.Auth {
		if a == m {
			return true
		}
	}
	return false
}

// usable is a proposal reduced to what IKEv1 has numbers for.
func usable(p suite.Proposal) suite.Proposal {
	var u suite.Proposal
	for _, e := range p.Encr {
		if encrPhase1(e.Encr) != 0 && e.NewBlock != nil {
			u.Encr = append(u.Encr, e)
		}
	}
	for _, f := range p.PRF {
		if hashPhase1(f) != 0 {
			u.PRF = append(u.PRF, f)
		}
	}
	for _, k := range p.KE {
		if groupOf(uint64(k.ID)) != nil {
			u.KE = append(u.KE, k)
		}
	}
	return u
}

// offers1 are the transforms that we send for a connection, preferred first.
func offers1(c *ike.Conn) []phase1 {
	ms := methods(c)
	var out []phase1
	for _, p := range thin(c.IKE, len(ms)) {
		for _, k := range p.KE {
			for _, e := range p.Encr {
				for _, f := range p.PRF {
					for _, m := range ms {
						out = append(out, phase1{suite.Chosen{Protocol: suite.ProtoIKE, Encr: e, PRF: f, KE: k}, m, lifeOf(c.IKELife, defaultIKE)})
					}
				}
			}
		}
	}
	return out[:min(len(out), maxOffers)]
}

// thin drops alternatives until what is left makes at most maxOffers
// transforms: first hashes beyond the first, then key sizes, both of which
// every peer that has the first has as well. As responder we accept them all.
func thin(proposals []suite.Proposal, methods int) []suite.Proposal {
	var out []suite.Proposal
	count := func() (n int) {
		for _, p := range out {
			n += len(p.Encr) * len(p.PRF) * len(p.KE) * methods
		}
		return n
	}
	for _, p := range proposals {
		out = append(out, usable(p))
	}
	for i := range out {
		if count() > maxOffers {
			out[i].PRF = out[i].PRF[:min(len(out[i].PRF), 1)]
		}
	}
	for i := range out {
		if count() > maxOffers {
			out[i].Encr = out[i].Encr[:min(len(out[i].Encr), 1)]
		}
	}
	return out
}

// lifeOf is a lifetime of ours within what is possible.
func lifeOf(d, otherwise time.Duration) time.Duration {
	if d <= 0 {
		d = otherwise
	}
	return min(max(d, minLife), maxLife)
}

// wire is the transform as it is sent.
func (p phase1) wire(number int) wire.Transform {
	t := wire.Transform{Number: uint8(number), ID: transformKeyIKE}
	add := func(typ uint16, v uint32) { t.Attrs = append(t.Attrs, wire.NewAttr(typ, v)) }
	add(attrEncr, uint32(encrPhase1(p.Encr.Encr)))
	if !p.Encr.Fixed {
		add(attrKeyLength, uint32(p.Encr.Bits))
	}
	add(attrHash, uint32(hashPhase1(p.PRF)))
	add(attrMethod, methodNumber(p.method))
	add(attrGroup, uint32(p.KE.ID))
	add(attrLifeType, lifeSeconds)
	add(attrLife, uint32(p.life/time.Second))
	return t
}

func offerSA(offers []phase1) wire.SA {
	p := wire.Proposal{Number: 1, Protocol: wire.ProtoISAKMP}
	for i, o := range offers {
		p.Transforms = append(p.Transforms, o.wire(i+1))
	}
	return wire.SA{Proposals: []wire.Proposal{p}}
}

// readPhase1 says what a transform asks for. The error, in FreeS/WAN's words
// where it had some, says why it cannot be had.
func readPhase1(t wire.Transform) (p phase1, err error) {
	var bits, group uint64
	var encr *suite.Encr
	if t.ID != transformKeyIKE {
		return p, fmt.Errorf("transform %d is not KEY_IKE", t.ID)
	}
	var lifeType uint64
	seen := map[uint16]bool{}
	for _, a := range t.Attrs {
		v, ok := a.Number()
		if seen[a.Type] && a.Type != attrLifeType && a.Type != attrLife {
			return p, fmt.Errorf("attribute %d twice", a.Type)
		}
		seen[a.Type] = true
		if !ok {
			return p, fmt.Errorf("attribute %d is empty", a.Type)
		}
		switch a.Type {
		case attrEncr:
			if encr = encrOfPhase1(v); encr == nil {
				return p, fmt.Errorf("%s is not supported.  Attribute OAKLEY_ENCRYPTION_ALGORITHM", encrName(v))
			}
		case attrHash:
			if p.PRF = prfOfPhase1(v); p.PRF == nil {
				return p, fmt.Errorf("hash %d is not supported.  Attribute OAKLEY_HASH_ALGORITHM", v)
			}
		case attrMethod:
			if p.method, ok = methodOf(v); !ok {
				return p, fmt.Errorf("%s is not supported.  Attribute OAKLEY_AUTHENTICATION_METHOD", methodName(v))
			}
		case attrGroup:
			group = v
			if p.KE = groupOf(v); p.KE == nil {
				return p, fmt.Errorf("group %d is not supported.  Attribute OAKLEY_GROUP_DESCRIPTION", v)
			}
		case attrLifeType:
			lifeType = v
		case attrLife:
			if p.life, err = p.readLife(lifeType, v); err != nil {
				return p, err
			}
			lifeType = 0
		case attrKeyLength:
			bits = v
		default:
			return p, fmt.Errorf("attribute %d is not supported", a.Type)
		}
	}
	if encr == nil || p.PRF == nil || p.method == ike.AuthNever || group == 0 {
		return p, fmt.Errorf("the transform lacks an attribute")
	}
	p.Protocol = suite.ProtoIKE
	p.Encr, err = sized(encr, bits)
	return p, err
}

func encrName(v uint64) string {
	names := [...]string{1: "OAKLEY_DES_CBC", 2: "OAKLEY_IDEA_CBC", 3: "OAKLEY_BLOWFISH_CBC", 4: "OAKLEY_RC5_R16_B64_CBC", 6: "OAKLEY_CAST_CBC"}
	if v < uint64(len(names)) && names[v] != "" {
		return names[v]
	}
	return fmt.Sprintf("encryption %d", v)
}

// readLife reads a lifetime; kilobytes mean nothing for an ISAKMP SA that
// carries a few messages.
func (p phase1) readLife(typ, v uint64) (time.Duration, error) {
	switch {
	case typ == lifeKilobytes:
		return p.life, nil
	case typ != lifeSeconds:
		return 0, fmt.Errorf("lifetime of type %d", typ)
	case v > uint64(maxLife/time.Second):
		return 0, fmt.Errorf("peer requested %d seconds which exceeds our limit %d seconds", v, maxLife/time.Second)
	}
	return max(time.Duration(v)*time.Second, minLife), nil
}

// sized is a cipher at the size that a Key Length attribute names, which is
// there if and only if there are several (V1-14).
func sized(e *suite.Encr, bits uint64) (suite.EncrChoice, error) {
	if e.Fixed {
		if bits != 0 && bits != uint64(e.KeyBits[0]) {
			return suite.EncrChoice{}, fmt.Errorf("%s has no keys of %d bits", e.Name, bits)
		}
		return suite.EncrChoice{Encr: e, Bits: e.KeyBits[0]}, nil
	}
	for _, b := range e.KeyBits {
		if uint64(b) == bits {
			return suite.EncrChoice{Encr: e, Bits: b}, nil
		}
	}
	return suite.EncrChoice{}, fmt.Errorf("%s has no keys of %d bits", e.Name, bits)
}

// allows1 says why a connection does not take a transform, or nil.
func allows1(c *ike.Conn, p phase1) error {
	if !accepts(&c.Local, p.method) || !accepts(&c.Remote, p.method) {
		return fmt.Errorf("policy does not allow %s authentication.  Attribute OAKLEY_AUTHENTICATION_METHOD", methodName(uint64(methodNumber(p.method))))
	}
	for _, ours := range c.IKE {
		if contains(ours.Encr, p.Encr) && contains(ours.PRF, p.PRF) && contains(ours.KE, p.KE) {
			return nil
		}
	}
	return fmt.Errorf("policy does not allow %s", p.Chosen)
}

func contains[T comparable](list []T, x T) bool {
	for _, y := range list {
		if x == y {
			return true
		}
	}
	return false
}

// select1 is the responder's choice: the first transform in the initiator's
// order that one of the connections takes.
func select1(conns []*ike.Conn, sa wire.SA) (c *ike.Conn, p phase1, t wire.Transform, why *ike.Failure) {
	f := &ike.Failure{Reason: ike.ReasonProposal, Notify: ike.NotifyV1NoProposalChosen}
	if len(sa.Proposals) != 1 || sa.Proposals[0].Protocol != wire.ProtoISAKMP {
		f.Why = fmt.Sprintf("no acceptable Oakley Transform: %d proposals, exactly one for ISAKMP is allowed", len(sa.Proposals))
		return nil, p, t, f
	}
	var reasons, theirs []string
	var read []phase1
	for _, t := range sa.Proposals[0].Transforms {
		p, err := readPhase1(t)
		if err != nil {
			reasons = addLine(reasons, err.Error())
			continue
		}
		theirs, read = addLine(theirs, p.String()), append(read, p)
		for _, c := range conns {
			if err := allows1(c, p); err != nil {
				reasons = addLine(reasons, err.Error())
				continue
			}
			return c, p, t, nil
		}
	}
	f.Ours, f.Theirs = offersText(conns), strings.Join(theirs, ", ")
	f.Why = "no acceptable Oakley Transform: " + strings.Join(reasons, "; ")
	f.Detail.Algorithms = mismatch1(conns, read)
	return nil, p, t, f
}

// maxListed bounds how much of a peer's list gets into one line of ours.
const maxListed = 8

func addLine(lines []string, line string) []string {
	if len(lines) < maxListed && !contains(lines, line) {
		lines = append(lines, line)
	}
	return lines
}

func offersText(conns []*ike.Conn) string {
	var lines []string
	for _, c := range conns {
		for _, o := range offers1(c) {
			lines = addLine(lines, o.String())
		}
	}
	return strings.Join(lines, ", ")
}

// check1 is the initiator's look at the answer, which must be one of its own
// transforms. A peer may shorten the lifetime, though RFC 2409 does not say so.
func check1(offers []phase1, sa wire.SA) (phase1, error) {
	if len(sa.Proposals) != 1 || sa.Proposals[0].Protocol != wire.ProtoISAKMP || len(sa.Proposals[0].Transforms) != 1 {
		return phase1{}, fmt.Errorf("the peer's answer is not one transform")
	}
	p, err := readPhase1(sa.Proposals[0].Transforms[0])
	if err != nil {
		return p, err
	}
	for _, o := range offers {
		if o.same(p) {
			if p.life == 0 || p.life > o.life {
				p.life = o.life
			}
			return p, nil
		}
	}
	return p, fmt.Errorf("the peer chose %s, which we did not offer", p)
}
