package suite

import "slices"

// Without returns the proposals of list without broken algorithms. A proposal
// that has none left of a type that it had is left out: it would offer less than
// was asked for.
func Without(list []Proposal, broken []Broken) (out []Proposal) {
	for _, p := range list {
		if p, ok := p.without(broken); ok {
			out = append(out, p)
		}
	}
	return out
}

func (p Proposal) without(broken []Broken) (Proposal, bool) {
	bad := func(t TransformType, id uint16) bool {
		return slices.ContainsFunc(broken, func(b Broken) bool { return b.Type == t && b.ID == id })
	}
	whole := true
	p.Encr = keep(p.Encr, func(e EncrChoice) bool { return !bad(TypeEncr, e.ID) }, &whole)
	p.PRF = keep(p.PRF, func(f *PRF) bool { return !bad(TypePRF, f.ID) }, &whole)
	p.Integ = keep(p.Integ, func(i *Integ) bool { return !bad(TypeInteg, i.ID) }, &whole)
	good := func(k *KE) bool { return k == nil || !bad(TypeKE, k.ID) }
	p.KE = keep(p.KE, good, &whole)
	for i := range p.AddKE {
		p.AddKE[i] = keep(p.AddKE[i], good, &whole)
	}
	return p, whole
}

// keep returns those of list that are good. It clears whole where none is left of
// some.
func keep[T any](list []T, good func(T) bool, whole *bool) (out []T) {
	for _, x := range list {
		if good(x) {
			out = append(out, x)
		}
	}
	if len(list) > 0 && len(out) == 0 {
		*whole = false
	}
	return out
}

// Uses reports whether an SA of transform IDs encr and integ, 0 for none, would
// need the broken algorithm.
func (b Broken) Uses(encr, integ uint16) bool {
	return b.Type == TypeEncr && b.ID == encr && encr != 0 || b.Type == TypeInteg && b.ID == integ && integ != 0
}
