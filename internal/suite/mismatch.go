package suite

import (
	"fmt"
	"slices"
	"strings"
)

// Mismatch says that two sides have no algorithms in common, and where the
// nearest pair of their proposals differs.
type Mismatch struct {
	Ours    []Proposal
	Theirs  []Offer
	Differs []Difference
}

// Difference is one transform type in which the nearest pair differs.
type Difference struct {
	Type         TransformType // 0: the protocol itself
	Ours, Theirs []string      // in Transform.String form; empty means none
}

// Error implements error, in one line.
func (m *Mismatch) Error() string {
	if len(m.Theirs) == 0 {
		return "the peer's SA payload has no proposal"
	}
	var parts []string
	for _, d := range m.Differs {
		what := d.Type.String()
		if d.Type == 0 {
			what = "protocol"
		}
		parts = append(parts, fmt.Sprintf("%s: ours %s, theirs %s", what, listing(d.Ours), listing(d.Theirs)))
	}
	return "no common proposal: " + strings.Join(parts, "; ")
}

// OursText is what we accept, one proposal after another.
func (m *Mismatch) OursText() string {
	var out []string
	for _, p := range m.Ours {
		out = append(out, p.String())
	}
	return strings.Join(out, ", ")
}

// TheirsText is what the peer sent.
func (m *Mismatch) TheirsText() string {
	var out []string
	for _, o := range m.Theirs[:min(len(m.Theirs), maxListed)] {
		out = append(out, o.String())
	}
	if n := len(m.Theirs) - len(out); n > 0 {
		out = append(out, fmt.Sprintf("and %d more", n))
	}
	return strings.Join(out, ", ")
}

// maxListed bounds how many names a peer can put into one line of ours: more
// than any honest proposal has of one kind.
const maxListed = 16

func listing(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// mismatch finds the pair of proposals that differs in the fewest types.
func mismatch(ours []Proposal, theirs []Offer) *Mismatch {
	m := &Mismatch{Ours: ours, Theirs: theirs}
	fewest := -1
	for _, p := range ours {
		for _, o := range theirs {
			_, missing := p.meet(o)
			if fewest < 0 || distance(missing) < fewest {
				fewest = distance(missing)
				m.Differs = differences(p, o, missing)
			}
		}
	}
	return m
}

// distance counts differing types; another protocol is farther than anything.
func distance(missing []TransformType) int {
	if slices.Contains(missing, 0) {
		return 1 << 16
	}
	return len(missing)
}

func differences(p Proposal, o Offer, missing []TransformType) []Difference {
	var out []Difference
	own := p.Offer(0, nil)
	for _, t := range missing[:min(len(missing), maxListed)] {
		d := Difference{Type: t, Ours: own.names(t), Theirs: o.names(t)}
		if t == 0 {
			d.Ours, d.Theirs = []string{p.Protocol.String()}, []string{o.Protocol.String()}
		}
		out = append(out, d)
	}
	return out
}

// names lists o's transforms of one type, bounded.
func (o Offer) names(t TransformType) []string {
	var out []string
	for _, x := range o.Transforms {
		if x.Type != t {
			continue
		}
		if len(out) == maxListed {
			return append(out, "…")
		}
		out = append(out, x.String())
	}
	return out
}
