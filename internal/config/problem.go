package config

import (
	"fmt"
	"strings"
)

// Problem is one error or warning about a configuration file.
type Problem struct {
	File string
	Line int    // 0: about the whole file
	Conn string // the connection it makes unusable; empty: outside connections
	Key  string // the keyword it is about; may be empty
	Text string // what is wrong
	Mend string // what would mend it; may be empty
	// Rule is the id of the rule of `ipsec check` that this is about, for what
	// the parser sees as well; may be empty.
	Rule string
}

// ofRule is p as a finding of that rule.
func (p *Problem) ofRule(id string) *Problem {
	p.Rule = id
	return p
}

// Error is FILE:LINE: key: text (mend), in one line.
func (p Problem) Error() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d", p.Line)
		}
		b.WriteString(": ")
	}
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	b.WriteString(p.Text)
	if p.Mend != "" {
		b.WriteString(" (" + p.Mend + ")")
	}
	return b.String()
}

// String is Error.
func (p Problem) String() string { return p.Error() }

// problemAt makes a Problem at a place.
func problemAt(at Pos, key, text, mend string) *Problem {
	return &Problem{File: at.File, Line: at.Line, Key: key, Text: text, Mend: mend}
}
