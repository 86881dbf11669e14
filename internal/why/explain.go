package why

import (
	"fmt"
	"strings"

	"cygnet/internal/connection"
	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

type explainer struct {
	*Explanation
	d *connection.Description
	f *ike.Failure
}

// sides names the ends as our file does: which of left and right we are.
func (x *explainer) sides() (ours, theirs string) {
	if x.d.Right {
		return "right", "left"
	}
	return "left", "right"
}

func (x *explainer) here(key, value, note string) {
	x.Mends = append(x.Mends, Mend{Here: true, Key: key, Value: value, Note: note})
}

func (x *explainer) there(key, value, note string) {
	x.Mends = append(x.Mends, Mend{Key: key, Value: value, Note: note})
}

// askThere is for what the peer knows and we do not: a refusal tells its kind
// only (RFC 7296, 2.21).
func (x *explainer) askThere(what string) {
	x.there("", "", fmt.Sprintf("the peer does not tell %s; its own `ipsec why', or its log, does", what))
}

// algorithms compares proposals. What we offered is known; what the peer takes
// only where it was we who refused.
func (x *explainer) algorithms() {
	m := x.f.Detail.Algorithms
	if m == nil {
		if x.f.ByPeer {
			offered, key := x.d.IKE, "ike"
			if strings.Contains(x.f.Why, "IPsec SA") || strings.Contains(x.f.Why, "Child") {
				offered, key = x.d.ESP, "esp"
			}
			x.Ours = proposals(offered)
			x.askThere("which algorithms it takes")
			x.here(key, "...", "once they are known; without a value of its own, what both offer by default")
		}
		return
	}
	for _, d := range m.Differs {
		what := d.Type.String()
		if d.Type == 0 {
			what = "protocol"
		}
		x.Differences = append(x.Differences, Difference{what, list(d.Ours), list(d.Theirs)})
	}
	key := "esp"
	if len(m.Ours) > 0 {
		switch m.Ours[0].Protocol {
		case suite.ProtoIKE:
			key = "ike"
		case suite.ProtoAH:
			key = "ah"
		}
	}
	if key != "ike" && len(m.Differs) == 1 && m.Differs[0].Type == suite.TypeKE && len(m.Differs[0].Theirs) == 0 {
		x.here("pfs", "no", "does without a key exchange of its own for the IPsec SA")
		x.there("pfs", "yes", "brings one along")
		return
	}
	if text := nearestConf(m.Theirs, m.Ours); text != "" {
		x.here(key, text, "takes what the peer offers"+obsolete(key, text))
	}
	for _, p := range m.Ours {
		if text := p.Offer(1, nil).Conf(); text != "" {
			x.there(key, text, "offers what we take")
			break
		}
	}
}

// nearestConf is the first of their offers that ipsec.conf can express, those
// of our protocol only.
func nearestConf(theirs []suite.Offer, ours []suite.Proposal) string {
	for _, o := range theirs {
		if len(ours) == 0 || o.Protocol != ours[0].Protocol {
			continue
		}
		if text := o.Conf(); text != "" {
			return text
		}
	}
	return ""
}

// obsolete warns of an edit that would bring in what should not be used.
func obsolete(key, text string) string {
	parse := suite.ParseESP
	switch key {
	case "ike":
		parse = suite.ParseIKE
	case "ah":
		parse = suite.ParseAH
	}
	ps, err := parse(text)
	if err != nil || len(ps) == 0 || len(ps[0].Obsolete()) == 0 {
		return ""
	}
	return ", but is obsolete: better mend the other side"
}

// selectors compares what is to be protected.
func (x *explainer) selectors() {
	ours, theirs := x.f.Detail.Ours, x.f.Detail.Theirs
	us, peer := x.sides()
	if len(theirs.Local) == 0 {
		if x.f.ByPeer {
			x.Ours = texts(x.d.Local.TS) + " === " + texts(x.d.Remote.TS)
			x.askThere("which nets it has")
			x.there("", "", "leftsubnet= and rightsubnet= are the same nets in both files; an end without one is its own address")
		}
		return
	}
	for _, end := range []struct {
		what, key string
		ours, got []ipsec.TS
	}{{"our net", us + "subnet", ours.Local, theirs.Local}, {"the peer's net", peer + "subnet", ours.Remote, theirs.Remote}} {
		if texts(end.ours) == texts(end.got) || len(ours.Local) == 0 {
			continue
		}
		x.Differences = append(x.Differences, Difference{end.what, texts(end.ours), texts(end.got)})
		if v := subnets(end.got); v != "" {
			x.here(end.key, v, "what the peer asks for")
		}
		if v := subnets(end.ours); v != "" {
			x.there(end.key, v, "what we have; left and right may be exchanged there")
		}
	}
	if !x.d.Narrow && overlap(ours.Local, theirs.Local) && overlap(ours.Remote, theirs.Remote) {
		x.here("narrowing", "yes", "takes what both have in common, if that will do")
	}
}

// overlap reports whether two lists of nets have addresses in common.
func overlap(a, b []ipsec.TS) bool {
	for _, x := range a {
		for _, y := range b {
			if x.Start.Is4() == y.Start.Is4() && x.Start.Compare(y.End) <= 0 && y.Start.Compare(x.End) <= 0 {
				return true
			}
		}
	}
	return false
}

// identities compares names, then keys.
func (x *explainer) identities() {
	us, peer := x.sides()
	d := x.f.Detail
	if !d.Declared.IsZero() {
		var names []string
		known := false
		for _, id := range d.Expected {
			names = append(names, id.String())
			known = known || id.Admits(d.Declared)
		}
		if !known {
			x.Differences = append(x.Differences, Difference{"the peer's identity", list(names), d.Declared.String()})
			x.here(peer+"id", d.Declared.String(), "if that is whom you mean")
			if len(names) > 0 {
				x.there("its own id", names[0], "as we expect it")
			}
			return
		}
	}
	names := fmt.Sprintf("%s %s", x.d.Local.ID, x.d.Remote.ID)
	if x.f.ByPeer {
		x.Ours = fmt.Sprintf("we are %s, and expect %s", x.d.Local.ID, x.d.Remote.ID)
		x.askThere("whether it was the name or the proof")
	}
	if contains(x.d.Local.Auth, ike.AuthPSK) || contains(x.d.Remote.Auth, ike.AuthPSK) {
		x.here("", "", "ipsec.secrets: the line for "+names+" has the same secret on both machines; then ipsec auto --rereadsecrets, which says what cannot be used")
		x.there("", "", "the same line, octet for octet")
		return
	}
	x.here(peer+"rsasigkey", "...", "what `ipsec showhostkey --"+peer+"' prints on the peer")
	x.there(us+"rsasigkey", "...", "what `ipsec showhostkey --"+us+"' prints here")
}

// silence has no second side.
func (x *explainer) silence(b connection.Blame) {
	if !b.Ours && len(x.f.Ours) == 0 {
		x.there("", "", "the peer began and did not go on: its log says why")
		return
	}
	x.here("", "", fmt.Sprintf("can %s be reached at all (ping), and do UDP ports 500 and 4500 pass every firewall on the way, in both directions?", x.d.Remote.Addr))
	x.there("", "", "does IPsec run there (ipsec setup status), and has it a connection for "+x.d.Local.Addr.String()+"?")
}

func contains(list []ike.AuthMethod, m ike.AuthMethod) bool {
	for _, x := range list {
		if x == m {
			return true
		}
	}
	return false
}

func list(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

func proposals(ps []suite.Proposal) string {
	var out []string
	for _, p := range ps {
		out = append(out, p.String())
	}
	return strings.Join(out, ", ")
}

func texts(ts []ipsec.TS) string {
	var out []string
	for _, t := range ts {
		out = append(out, t.String())
	}
	return strings.Join(out, ",")
}

// subnets is a value for leftsubnet=; empty where that cannot say it.
func subnets(ts []ipsec.TS) string {
	var out []string
	for _, t := range ts {
		p := t.Prefixes()
		if len(p) != 1 || t.Proto != 0 || !t.Ports.Any() {
			return ""
		}
		out = append(out, p[0].String())
	}
	return strings.Join(out, ",")
}
