package suite

import (
	"fmt"
	"slices"

	"cygnet/internal/ipsec"
)

// Select is the responder's choice among what the peer offered, and the offer
// it was taken from. RFC 7296, 2.7 leaves the choice to the responder: the
// first of our proposals that meets any of theirs wins, and inside it our
// order decides for each transform type. The error is a *Mismatch.
func Select(ours []Proposal, theirs []Offer) (Chosen, Offer, error) {
	for _, p := range ours {
		for _, o := range theirs {
			if c, missing := p.meet(o); len(missing) == 0 {
				return c, o, nil
			}
		}
	}
	return Chosen{}, Offer{}, mismatch(ours, theirs)
}

// Check is the initiator's look at the answer: it must be exactly one choice
// out of the proposal of ours that has its number (RFC 7296, 2.7: a violation
// ends the exchange). The error is a *Mismatch or says what is malformed.
func Check(ours []Proposal, answer Offer) (Chosen, error) {
	if answer.Number < 1 || int(answer.Number) > len(ours) {
		return Chosen{}, fmt.Errorf("answer to proposal %d, but we sent 1 to %d", answer.Number, len(ours))
	}
	seen := make(map[TransformType]bool)
	for _, t := range answer.Transforms {
		if seen[t.Type] {
			return Chosen{}, fmt.Errorf("answer has two transforms for %s", t.Type)
		}
		seen[t.Type] = true
	}
	p := ours[answer.Number-1]
	c, missing := p.meet(answer)
	if len(missing) > 0 {
		return Chosen{}, mismatch([]Proposal{p}, []Offer{answer})
	}
	return c, nil
}

// meet chooses from o what p prefers, or returns the transform types in which
// the two have nothing in common.
func (p Proposal) meet(o Offer) (c Chosen, missing []TransformType) {
	if p.Protocol != o.Protocol {
		return Chosen{}, []TransformType{0}
	}
	c.Protocol = p.Protocol
	want := func(t TransformType, ok bool) {
		if !ok {
			missing = append(missing, t)
		}
	}
	var ok bool
	c.Encr, ok = pick(p.Encr, o, TypeEncr, func(e EncrChoice) Transform {
		return Transform{TypeEncr, e.ID, e.wireBits()}
	})
	want(TypeEncr, ok)
	c.Integ, ok = pick(p.Integ, o, TypeInteg, func(i *Integ) Transform { return Transform{TypeInteg, i.ID, 0} })
	want(TypeInteg, ok)
	c.PRF, ok = pick(p.PRF, o, TypePRF, func(f *PRF) Transform { return Transform{TypePRF, f.ID, 0} })
	want(TypePRF, ok)
	c.KE, ok = pick(p.KE, o, TypeKE, func(k *KE) Transform { return Transform{TypeKE, k.ID, 0} })
	want(TypeKE, ok)
	c.ESN, ok = p.pickESN(o)
	want(TypeESN, ok)
	missing = append(missing, p.pickAddKE(o, &c)...)
	for _, t := range o.Transforms {
		// RFC 7296, 3.3.6: a proposal with a type that we do not know is
		// not acceptable.
		if (t.Type < TypeEncr || t.Type > TypeESN) && !t.Type.isAddKE() && !slices.Contains(missing, t.Type) {
			missing = append(missing, t.Type)
		}
	}
	return c, missing
}

// pick returns the first of ours that o has. Where we want nothing, o must have
// nothing of the type or allow NONE (RFC 7296, 3.3.3: no integrity transform
// and NONE are the same).
func pick[T any](ours []T, o Offer, t TransformType, wire func(T) Transform) (none T, ok bool) {
	if len(ours) == 0 {
		return none, !o.has(t) || slices.Contains(o.Transforms, Transform{Type: t})
	}
	for _, x := range ours {
		if slices.Contains(o.Transforms, wire(x)) {
			return x, true
		}
	}
	return none, false
}

// pickESN is pick for sequence numbers. Peers that leave the transform out mean
// short ones.
func (p Proposal) pickESN(o Offer) (esn, ok bool) {
	if p.Protocol == ProtoIKE {
		return false, !o.has(TypeESN)
	}
	for _, esn := range p.ESN {
		if slices.Contains(o.Transforms, Transform{Type: TypeESN, ID: esnID(esn)}) {
			return esn, true
		}
	}
	return false, !o.has(TypeESN) && slices.Contains(p.ESN, false)
}

func (o Offer) has(t TransformType) bool {
	return slices.ContainsFunc(o.Transforms, func(x Transform) bool { return x.Type == t })
}

// Transform is c for a data plane.
func (c Chosen) Transform() ipsec.Transform {
	t := ipsec.Transform{ESN: c.ESN}
	if c.Encr.Encr != nil {
		t.Encr = c.Encr.ID
		if !c.Encr.Fixed {
			t.KeyBits = c.Encr.Bits
		}
	}
	if c.Integ != nil {
		t.Integ = c.Integ.ID
	}
	return t
}
