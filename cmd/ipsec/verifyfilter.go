package main

import (
	"context"
	"time"

	"cygnet/internal/check"
	"cygnet/internal/config"
	"cygnet/internal/firewall"
)

// checkNAT compares the networks of all connections with the rules that rewrite
// addresses (freeswan.md 4.15, check 6).
func checkNAT(_ context.Context, at places) []finding {
	return []finding{natFinding(at, natFacts())}
}

func natFinding(at places, rules []check.NATRule) finding {
	f := finding{Label: "Checking NAT and MASQUERADEing", Verdict: verdictOK}
	if rules == nil {
		f.Verdict, f.Advice = verdictNA, []string{"neither nft nor iptables can be asked"}
		return f
	}
	g := check.Load(config.OS{}, at.confFile(), check.Options{Now: time.Now()})
	g.Know(&check.Facts{NAT: rules})
	for _, x := range check.Run(g).Findings {
		if x.Rule == check.RuleNAT {
			f.Verdict = verdictFailed
			f.Advice = append(f.Advice, x.What, x.Mend)
		}
	}
	return f
}

// checkOldFilter looks for the old iptables, beside whose filter our rules in
// nftables cannot open anything.
func checkOldFilter(context.Context, places) []finding {
	f := finding{Label: "Checking for a filter of the old iptables", Verdict: verdictOK}
	old, err := firewall.Legacy()
	switch {
	case err != nil:
		f.Verdict, f.Advice = verdictNA, []string{err.Error()}
	case old:
		f.Verdict = verdictWarn
		f.Advice = []string{"what its FORWARD chain drops, leftfirewall=yes cannot open; move the rules to nftables, or let tunnels pass there (-i ipsec+, -o ipsec+)"}
	}
	return []finding{f}
}
