package sim

import (
	"slices"
	"strings"
)

// Shrink cuts a plan that fails down to the shortest script found that still
// breaks the same rule: by leaving out steps, then tunnels, faults of the wire
// and options. What is left keeps its times. It runs the script at most budget
// times, and returns it with the number of runs.
func Shrink(p *Plan, rule string, budget int) (script []string, runs int) {
	s := &shrinker{plan: *p, rule: rule, budget: budget}
	s.steps()
	s.head()
	s.steps() // with less around, less is needed
	return s.plan.Lines(), s.runs
}

type shrinker struct {
	plan         Plan
	rule         string
	budget, runs int
}

// fails reports whether a candidate still breaks the rule.
func (s *shrinker) fails(p Plan) bool {
	if s.runs >= s.budget {
		return false
	}
	s.runs++
	o := Run(p.Lines(), false)
	return o.Err == nil && slices.ContainsFunc(o.World.Breaches, func(b Breach) bool { return b.Rule == s.rule })
}

// keep takes over a candidate that still fails.
func (s *shrinker) keep(p Plan) bool {
	if s.fails(p) {
		s.plan = p
		return true
	}
	return false
}

// steps is delta debugging (Zeller and Hildebrandt's ddmin) on the steps: it
// leaves out one part of n after the other; where none can go, the parts are
// made smaller.
func (s *shrinker) steps() {
	for n := 2; len(s.plan.Steps) > 0; {
		size := (len(s.plan.Steps) + n - 1) / n
		shorter := false
		for i := 0; i < len(s.plan.Steps); i += size {
			p := s.plan
			p.Steps = slices.Concat(p.Steps[:i], p.Steps[min(i+size, len(p.Steps)):])
			if s.keep(p) {
				shorter = true
				break
			}
		}
		switch {
		case shorter:
			n = max(n-1, 2)
		case size == 1 || s.runs >= s.budget:
			return
		default:
			n = min(2*n, len(s.plan.Steps))
		}
	}
}

// head tries the network without one of its tunnels, faults or options.
func (s *shrinker) head() {
	for i := 0; i < len(s.plan.Head); i++ {
		words := strings.Fields(s.plan.Head[i])
		if words[0] == "tunnel" && s.without(i, words[1]) {
			i--
			continue
		}
		for k := len(words) - 1; k > 0; k-- {
			if !strings.Contains(words[k], "=") {
				continue
			}
			p := s.plan
			p.Head = slices.Clone(p.Head)
			p.Head[i] = strings.Join(slices.Delete(slices.Clone(words), k, k+1), " ")
			if s.keep(p) {
				words = strings.Fields(s.plan.Head[i])
			}
		}
	}
}

// without tries the plan without a tunnel.
func (s *shrinker) without(i int, name string) bool {
	p := s.plan
	p.Head = slices.Concat(p.Head[:i], p.Head[i+1:])
	names := func(line string) bool { return slices.Contains(strings.Fields(line), name) }
	p.Steps = slices.DeleteFunc(slices.Clone(p.Steps), names)
	p.Tail = nil
	for _, line := range s.plan.Tail {
		words := strings.Fields(line)
		switch {
		case words[0] == "quiet":
			p.Tail = append(p.Tail, strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == name }), " "))
		case !names(line):
			p.Tail = append(p.Tail, line)
		}
	}
	return s.keep(p)
}
