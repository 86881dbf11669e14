package main

import (
	"encoding"
	"reflect"
	"strings"
	"time"

	"cygnet/internal/whack"
	"cygnet/internal/why"
)

// document is one form of what --json prints.
type document struct {
	commands string
	value    any    // of the type that is printed
	notes    []item // keys that do not say themselves what they are
}

// documents lists them. Their shapes are taken from the types themselves, so the
// page cannot lag behind.
var documents = []document{
	{"ipsec status, ipsec auto --status, ipsec whack --status", whack.Status{}, []item{
		{"connections[].routing", "the word of `ipsec status': unrouted, prospective erouted, erouted, ..."},
		{"connections[].eroute_owner", "serial number of the state that owns the eroute"},
		{"connections[].ike_life, ipsec_life, rekey_margin", "seconds"},
		{"connections[].rekey_fuzz", "percent"},
		{"connections[].prio", "lengths of the prefixes of our client and the peer's"},
		{"states[].event_in, used_ago", "seconds"},
		{"states[].ike", "an IKE SA; otherwise an IPsec SA, with parent, sa_out and what follows"},
		{"states[].local_ts, remote_ts", "traffic selectors"},
		{"captive", "seconds for which a captive portal is still borne with"},
	}},
	{"ipsec trafficstatus", whack.Traffic{}, []item{{"connections[].established", "Unix time"}}},
	{"ipsec eroute", whack.Eroutes{}, []item{
		{"eroutes[].said", "the SA or the shunt, as in the text"},
		{"eroutes[].bundle", "all SAs that are applied, the innermost first"},
		{"eroutes[].selector", "the eroute in one text"},
	}},
	{"ipsec spi", whack.SAs{}, []item{
		{"sas[].age, idle, hard_time", "seconds; idle counts where used is true"},
		{"sas[].window", "hexadecimal, the newest packet last"},
		{"sas[].errors", "packets that this SA has refused"},
	}},
	{"ipsec spigrp", whack.Groups{}, []item{{"groups", "SAs that are applied together, the innermost first"}}},
	{"ipsec tncfg", whack.Devices{}, []item{{"devices[].physical", "empty: attached to nothing"}}},
	{"ipsec klipsdebug", whack.KlipsFlags{}, []item{{"on", "the classes that are logged"}}},
	{"ipsec look", whack.Look{}, []item{
		{"drops", "packets that went nowhere, by reason"},
		{"filter", "packets that our rules in the packet filter have let pass"},
		{"routes", "as `ip route' prints them"},
	}},
	{"ipsec policy", whack.Policy{}, []item{
		{"groups[].without", "what a packet meets without a tunnel"},
		{"flows[].seconds", "since when it is in that state"},
		{"captive", "seconds for which a captive portal is still borne with"},
		{"explain", "with --explain, which entry decides"},
	}},
	{"ipsec leases", whack.Leases{}, []item{
		{"pools[].kept", "addresses that wait for their owner"},
		{"leases[].since", "Unix time"},
	}},
	{"ipsec why", why.Document{}, []item{
		{"connections[].failures[].refusedBy", "us, peer or nobody"},
		{"connections[].failures[].reason", "one of the words below"},
		{"connections[].failures[].mends[].here", "on this machine, rather than the peer's"},
	}},
	{"ipsec verify, ipsec livetest", verified{}, []item{{"checks[].verdict", "the word in brackets"}}},
	{"ipsec check", checked{}, []item{
		{"findings[].edit", "what --fix would change"},
		{"not_applicable", "rules for which something is not known"},
	}},
	{"ipsec oe check", explanation{}, []item{{"reachable", "a tunnel would be tried with somebody"}}},
	{"ipsec showhostkey", shownKey{}, []item{{"keyword", "the parameter of a conn, without left or right"}}},
	{"ipsec setup status", state{}, []item{{"but", "what does not fit together"}}},
	{"ipsec auto --listcerts, ipsec auto --listcacerts", whack.Certs{}, nil},
	{"ipsec auto --listcrls", whack.CRLs{}, nil},
	{"Commands that do something: ipsec up, ipsec auto --up, ipsec manual --up, ipsec setup start, ...", outcome{}, []item{
		{"exit", "the exit code"}, {"reason", "the same in a word, where it is not 0"}, {"text", "what is said of it"},
	}},
}

// jsonPage tells what --json prints.
func jsonPage() page {
	p := page{name: "ipsec-json", section: 7, about: "what ipsec commands print with --json", parts: []part{{
		heading: "Form", text: []string{
			"Answers are one JSON value on standard output; messages go to standard error. The number of `schema' (in some `version') is that of the form. Under one number keys may be added; it rises when one changes its meaning or goes away. Keys with a ? are left out where there is nothing to say.",
		}}}}
	for _, d := range documents {
		p.parts = append(p.parts, part{heading: d.commands, example: shape(reflect.TypeOf(d.value), ""), items: d.notes})
	}
	reasons := part{heading: "Reasons"}
	for _, e := range whack.Exits() {
		if e.String() != "" {
			reasons.items = append(reasons.items, item{e.String(), e.Meaning()})
		}
	}
	p.parts = append(p.parts, reasons)
	return p
}

var (
	textual = reflect.TypeFor[encoding.TextMarshaler]()
	instant = reflect.TypeFor[time.Time]()
)

// shape draws the JSON of a type in lines.
func shape(t reflect.Type, indent string) []string {
	switch {
	case t.Kind() == reflect.Pointer:
		return shape(t.Elem(), indent)
	case t == instant:
		return []string{"time (RFC 3339)"}
	case t.Implements(textual):
		return []string{"text"}
	}
	switch t.Kind() {
	case reflect.Bool:
		return []string{"true or false"}
	case reflect.String:
		return []string{"text"}
	case reflect.Slice, reflect.Array:
		lines := shape(t.Elem(), indent)
		lines[0] = "[" + lines[0]
		lines[len(lines)-1] += ", ...]"
		return lines
	case reflect.Struct:
		return append(append([]string{"{"}, members(t, indent+"  ")...), indent+"}")
	}
	return []string{"number"}
}

func members(t reflect.Type, indent string) []string {
	var lines []string
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-" || !f.IsExported():
			continue
		case name == "" && f.Anonymous: // its keys are among ours
			embedded := f.Type
			if embedded.Kind() == reflect.Pointer {
				embedded = embedded.Elem()
			}
			lines = append(lines, members(embedded, indent)...)
			continue
		case strings.Contains(options, "omit"):
			name += "?"
		}
		inner := shape(f.Type, indent)
		inner[0] = indent + name + ": " + inner[0]
		lines = append(lines, inner...)
	}
	return lines
}
