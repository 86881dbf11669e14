package check

import (
	"fmt"
	"slices"
	"strings"

	"cygnet/internal/config"
	"cygnet/internal/ike"
)

// weakAlgorithms tells what is named and out of use, with the reason of each;
// what is broken outright the parser has refused.
func weakAlgorithms(g *Gateway, out *found) {
	for i := range g.Conf.Errors {
		if p := &g.Conf.Errors[i]; ruleOf(p) == out.rule.ID {
			out.problem(p).Severity = Error
		}
	}
	for i := range g.Secrets.Warnings {
		if p := &g.Secrets.Warnings[i]; ruleOf(p) == out.rule.ID {
			out.problem(p)
		}
	}
	for _, c := range g.tunnels() {
		key := "esp"
		for _, k := range []string{"ike", "legacy"} {
			if _, ok := c.Keys[k]; ok {
				key = k
			}
		}
		for _, line := range c.Obsolete {
			name, why, _ := strings.Cut(line, ":")
			out.at(at(c, key), c.Name, fmt.Sprintf("%s:%s", name, why), mendSuite(c))
		}
		if c.ESP.Text == "null" || strings.HasPrefix(c.ESP.Text, "null-") {
			out.at(at(c, "esp"), c.Name, "null: packets are not encrypted", mendSuite(c))
		}
		nullAuth(c, out)
	}
}

func nullAuth(c *config.Conn, out *found) {
	for _, v := range views(c) {
		if v.local.ID.Kind == config.IdentityNull || slices.Contains(v.local.Auth, ike.AuthNULL) {
			out.at(at(c, v.localSide+"id"), c.Name, v.localSide+" does not prove who it is", "an identity with a key, or a secret").Severity = Error
		}
	}
}

func mendSuite(c *config.Conn) string {
	if manual(c) {
		return "esp=aes128-sha2_256"
	}
	return "leave ike= and esp= out for good ones"
}

// aggressive tells of IKEv1's Aggressive Mode, which the parser refuses, unless
// a comment on the line accepts it.
func aggressive(g *Gateway, out *found) {
	accepted := map[config.Pos]bool{}
	for _, w := range g.parameters() {
		if strings.Contains(strings.ToLower(w.comment), "accept") {
			accepted[w.at] = true
		}
	}
	for i := range g.Conf.Errors {
		p := &g.Conf.Errors[i]
		if ruleOf(p) != out.rule.ID {
			continue
		}
		f := out.problem(p)
		if accepted[config.Pos{File: p.File, Line: p.Line}] {
			f.Severity = Warning
		}
	}
}
