package suite

import "slices"

// Additional key exchanges, RFC 9370: after the first, classical one come up to
// seven more, so that the keys are safe as long as one of all holds.

// noKE is the choice of NONE for an additional key exchange that the peer
// allowed to be left out. It must be named in the answer and takes no exchange.
var noKE = KE{ID: 0, Name: "none"}

func addKEType(i int) TransformType { return TypeAddKE1 + TransformType(i) }

func (t TransformType) isAddKE() bool { return t >= TypeAddKE1 && t < TypeAddKE1+NumAddKE }

// pickAddKE chooses the additional key exchanges and returns the types in which
// there is nothing to choose. No method may be used twice (RFC 9370, 2.2.1).
func (p Proposal) pickAddKE(o Offer, c *Chosen) (missing []TransformType) {
	used := []*KE{c.KE}
	for i, ours := range p.AddKE {
		t := addKEType(i)
		if len(ours) == 0 {
			switch {
			case !o.has(t):
			case slices.Contains(o.Transforms, Transform{Type: t}):
				c.AddKE[i] = &noKE
			default:
				missing = append(missing, t)
			}
			continue
		}
		k := firstUnused(ours, used, o, t)
		if k == nil {
			missing = append(missing, t)
			continue
		}
		c.AddKE[i] = k
		used = append(used, k)
	}
	return missing
}

func firstUnused(ours, used []*KE, o Offer, t TransformType) *KE {
	for _, k := range ours {
		if slices.Contains(o.Transforms, Transform{Type: t, ID: k.ID}) && !slices.Contains(used, k) {
			return k
		}
	}
	return nil
}

// Additional lists the additional key exchanges that take place, in order.
func (c Chosen) Additional() []*KE {
	var list []*KE
	for _, k := range c.AddKE {
		if k != nil && k != &noKE {
			list = append(list, k)
		}
	}
	return list
}

// Hybrid reports whether p demands additional key exchanges.
func (p Proposal) Hybrid() bool {
	return slices.ContainsFunc(p.AddKE[:], func(list []*KE) bool { return len(list) > 0 })
}

// Classical returns the proposals without additional key exchanges, for a peer
// that does not know them.
func Classical(ps []Proposal) []Proposal {
	return slices.DeleteFunc(clone(ps), Proposal.Hybrid)
}

// Followed is list as Child SAs are offered with by IKE SAs that ike may be of:
// if those have additional key exchanges, the same come after the key exchange of
// each proposal. list itself follows, as in DefaultIKEv2.
func Followed(list, ike []Proposal) []Proposal {
	first := slices.IndexFunc(ike, Proposal.Hybrid)
	if first < 0 {
		return list
	}
	var out []Proposal
	for _, p := range list {
		if len(p.KE) > 0 && !p.Hybrid() {
			for i, methods := range ike[first].AddKE {
				p.AddKE[i] = clone(methods)
			}
			out = append(out, p)
		}
	}
	return append(out, list...)
}

// WithoutKE is list for the Child SA that IKE_AUTH makes, each proposal once:
// those that differ in their key exchanges alone are the same there.
func WithoutKE(list []Proposal) []Proposal {
	var out []Proposal
	seen := make(map[string]bool)
	for _, p := range list {
		p = p.WithoutKE()
		if text := p.String(); !seen[text] {
			seen[text] = true
			out = append(out, p)
		}
	}
	return out
}

// DefaultIKEv2 is what an IKE SA of IKEv2 is offered with: DefaultIKE with
// ML-KEM-768 after the classical key exchange, so that what is recorded today
// cannot be read when quantum computers come, and after that DefaultIKE itself,
// for peers that do not know RFC 9370 and must turn such proposals down whole.
func DefaultIKEv2() []Proposal {
	var out []Proposal
	for _, p := range DefaultIKE() {
		p.AddKE[0] = []*KE{&mlkem768}
		out = append(out, p)
	}
	return append(out, DefaultIKE()...)
}
