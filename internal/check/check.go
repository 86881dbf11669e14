// Package check is the written advice of the manual, and of today, as rules
// with stable ids. It looks at configuration files, of one gateway or of both
// ends together, and returns findings: where, what, why, and the edit that
// mends it. It is pure: files are read through config.FS, what it must know of
// a machine is handed in as Facts, and Apply returns text instead of writing.
// It knows no daemon; `ipsec check` calls it.
package check

import (
	"cmp"
	"fmt"
	"slices"

	"cygnet/internal/config"
)

// Severity is how much a finding matters.
type Severity uint8

// The severities. Info alone is a clean result.
const (
	Info Severity = iota
	Warning
	Error
)

// String is the word in the output.
func (s Severity) String() string { return [...]string{"info", "warning", "error"}[s] }

// MarshalText implements encoding.TextMarshaler.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Finding is one thing that a rule found.
type Finding struct {
	Rule     string   `json:"id"`
	Severity Severity `json:"severity"`
	File     string   `json:"file"`
	Line     int      `json:"line,omitempty"` // 0: about the whole file
	Conn     string   `json:"conn,omitempty"`
	What     string   `json:"what"`
	Why      string   `json:"why"`
	Mend     string   `json:"mend,omitempty"` // the edit, for people
	Edit     *Edit    `json:"edit,omitempty"` // the same, where it is safe to make without asking
}

// String is the finding in one line, without why and mend.
func (f Finding) String() string {
	at := f.File
	if f.Line > 0 {
		at = fmt.Sprintf("%s:%d", f.File, f.Line)
	}
	conn := ""
	if f.Conn != "" {
		conn = fmt.Sprintf("%q: ", f.Conn)
	}
	return fmt.Sprintf("%s %s: %s: %s%s", f.Rule, f.Severity, at, conn, f.What)
}

// Skipped is a rule that could not be applied to a gateway.
type Skipped struct {
	Rule  string `json:"id"`
	File  string `json:"file"`
	Needs string `json:"needs"` // what would have to be known
}

// Report is the result of all rules.
type Report struct {
	Findings []Finding `json:"findings"`
	Skipped  []Skipped `json:"not_applicable"`
}

// Worst is the severity of the worst finding; Info if there is none.
func (r *Report) Worst() Severity {
	worst := Info
	for _, f := range r.Findings {
		worst = max(worst, f.Severity)
	}
	return worst
}

// Run applies every rule to every gateway, and those about both ends to every
// two. Findings come by file and line; one that several connections share, for
// the line stands in a section they all take in, comes once.
func Run(gateways ...*Gateway) *Report {
	r := &Report{Findings: []Finding{}, Skipped: []Skipped{}}
	for i := range rules {
		rule := &rules[i]
		out := &found{rule: rule, of: len(gateways)}
		for n, g := range gateways {
			switch {
			case rule.each == nil:
			case rule.needs != nil && !rule.needs(g):
				r.Skipped = append(r.Skipped, Skipped{rule.ID, g.Conf.Name, rule.wants})
			default:
				rule.each(g, out)
			}
			for _, other := range gateways[n+1:] {
				if rule.pair != nil {
					rule.pair(g, other, out)
				}
			}
		}
		for _, f := range out.list {
			r.add(*f)
		}
	}
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Rule, b.Rule))
	})
	return r
}

func (r *Report) add(f Finding) {
	same := func(g Finding) bool {
		return f.Line > 0 && f.Rule == g.Rule && f.File == g.File && f.Line == g.Line && f.What == g.What
	}
	if !slices.ContainsFunc(r.Findings, same) {
		r.Findings = append(r.Findings, f)
	}
}

// found collects what one rule finds.
type found struct {
	rule *Rule
	of   int // gateways that are looked at
	list []*Finding
}

// at records a finding with the severity and the reason of its rule, which the
// caller may still change.
func (f *found) at(pos config.Pos, conn, what, mend string) *Finding {
	n := &Finding{Rule: f.rule.ID, Severity: f.rule.Severity, File: pos.File, Line: pos.Line, Conn: conn, What: what, Why: f.rule.Why, Mend: mend}
	f.list = append(f.list, n)
	return n
}

// problem records what the parser said.
func (f *found) problem(p *config.Problem) *Finding {
	what := p.Text
	if p.Key != "" {
		what = p.Key + ": " + what
	}
	return f.at(config.Pos{File: p.File, Line: p.Line}, p.Conn, what, p.Mend)
}
