package check

import (
	"slices"
	"strings"

	"cygnet/internal/config"
)

// ruleOf returns the rule that tells a problem of the parser; empty for those
// that CFG001 to CFG005 tell.
func ruleOf(p *config.Problem) string {
	switch key := strings.ToLower(p.Key); {
	case p.Rule != "":
		return p.Rule
	case slices.Contains([]string{"aggressive", "aggrmode"}, key):
		return "FW108"
	case strings.Contains(key, "spi") && strings.Contains(p.Text, "manual keying"):
		return "FW012"
	case slices.Contains([]string{"ike", "esp", "phase2alg", "pfsgroup"}, key) && strings.HasPrefix(p.Text, "algorithm "):
		return "FW101" // named, but broken
	}
	return ""
}

// fromParser records the problems that the parser has for a rule.
func fromParser(g *Gateway, out *found) {
	for _, list := range [][]config.Problem{g.Conf.Errors, g.Conf.Warnings, g.Secrets.Errors, g.Secrets.Warnings} {
		for i := range list {
			if ruleOf(&list[i]) == out.rule.ID {
				out.problem(&list[i])
			}
		}
	}
}

func cfgGeneral(g *Gateway, out *found) {
	for i := range g.Conf.Errors {
		if p := &g.Conf.Errors[i]; p.Conn == "" && ruleOf(p) == "" {
			out.problem(p)
		}
	}
}

func cfgConn(g *Gateway, out *found) {
	for i := range g.Conf.Errors {
		if p := &g.Conf.Errors[i]; p.Conn != "" && ruleOf(p) == "" {
			out.problem(p)
		}
	}
}

func cfgWarning(g *Gateway, out *found) { others(g.Conf.Warnings, out) }

func secretsError(g *Gateway, out *found) { others(g.Secrets.Errors, out) }

func secretsWarning(g *Gateway, out *found) { others(g.Secrets.Warnings, out) }

// others records the problems that no rule tells.
func others(list []config.Problem, out *found) {
	for i := range list {
		if ruleOf(&list[i]) == "" {
			out.problem(&list[i])
		}
	}
}
