package main

import (
	"io"
	"strings"

	"cygnet/internal/config"
)

// reference lists the pages on files and forms, beside those on commands.
func reference() []page { return []page{confPage(), secretsPage(), jsonPage()} }

// explain writes the page of that name, if there is one.
func explain(w io.Writer, topic string) bool {
	for _, p := range reference() {
		if topic == p.name || topic == strings.TrimPrefix(p.name, "ipsec-") {
			p.writeText(w)
			return true
		}
	}
	return false
}

// confPage is ipsec.conf(5). Its parameters are the tables by which the file is
// read, so the page cannot tell of others.
func confPage() page {
	p := page{name: "ipsec.conf", section: 5, about: "configuration of IPsec connections", parts: []part{
		{heading: "Form", text: []string{
			"A line in column 1 begins a section, `config setup', `conn NAME' or `ca NAME'. The indented lines after it are its parameters, NAME=VALUE. What follows a # after white space is a comment. A value with blanks stands between double quotes. An empty value means the default. `conn %default', before all others, has what every connection gets that does not say otherwise.",
			"`include FILE' in column 1 takes in another file, or several where the name has wildcards, named from the directory of this one. `also=NAME' in a section takes in the parameters of another, and `alsoflip=NAME' with left and right exchanged.",
			"Names of parameters that begin with x- are yours. Unknown ones are errors, with what may be meant. A section in error is not used, and the others are; `ipsec check' reads the file over.",
			"Durations are numbers with s, m, h or d; without one, seconds. Subnets are ADDRESS/BITS or ADDRESS/MASK. Keys are 0x and hexadecimal digits, with _ between them where it helps, 0s and base64, or 0t and text.",
			"The same connection may stand on both gateways: each finds by its own addresses whether it is left or right. Every parameter that begins with left exists with right too. `version 2.0' comes first; without it, and with parameters of FreeS/WAN 1.x, the defaults are those of 1.x.",
		}, example: []string{
			"version 2.0", "",
			"config setup", "        interfaces=%defaultroute", "",
			"conn west-east", "        left=101.101.101.101", "        leftsubnet=192.168.100.0/24", "        right=202.202.202.202", "        rightsubnet=192.168.200.0/24", "        authby=secret", "        auto=start",
		}},
	}}
	parts := []part{
		{heading: "Parameters of config setup"}, {heading: "Parameters of conn"},
		{heading: "Parameters of the ends of a conn"}, {heading: "Manual keying"}, {heading: "Parameters of ca"},
		{heading: "Read, but without effect", text: []string{"These are known from other programs. They change nothing, and are warned of where they ask for something else than what happens."}},
		{heading: "Refused", text: []string{"These would matter, and are not there: what asks for them is an error."}},
	}
	for _, k := range config.Keywords() {
		s := &parts[partOf(k)]
		s.items = append(s.items, itemOf(k))
	}
	p.parts = append(p.parts, parts...)
	p.parts = append(p.parts, part{heading: "See also", text: []string{"ipsec(8), ipsec-check(8), ipsec.secrets(5). `ipsec help NAME' shows one parameter."}})
	return p
}

// partOf tells under which of confPage's headings a parameter stands.
func partOf(k config.Keyword) int {
	switch {
	case k.Refused:
		return 6
	case k.Note != "":
		return 5
	case k.Section == "ca":
		return 4
	case k.Section == "config":
		return 0
	case strings.HasPrefix(k.Doc, "Manual:"):
		return 3
	case strings.HasPrefix(k.Name, "left"):
		return 2
	}
	return 1
}

func itemOf(k config.Keyword) item {
	i := item{term: k.Name + "=", text: k.Doc}
	if len(k.Aliases) > 0 {
		i.term += " (" + strings.Join(k.Aliases, "=, ") + "=)"
	}
	if k.Note != "" {
		i.text += " Here: " + k.Note + "."
		return i
	}
	i.text += " Value: " + k.Kind + "."
	if k.Default != "" {
		i.text += " Default: " + k.Default + "."
	}
	return i
}

// explainParameter writes what a parameter of ipsec.conf means, if there is one
// of that name. One that is called as a command is asked for with a =.
func explainParameter(w io.Writer, name string) bool {
	items := parameter(name)
	for _, i := range items {
		i.writeText(w)
	}
	return len(items) > 0
}

// parameter finds the items of all sections that have a parameter of that name,
// each with its section.
func parameter(name string) []item {
	name = strings.ToLower(strings.TrimSuffix(name, "="))
	if rest, ok := strings.CutPrefix(name, "right"); ok {
		name = "left" + rest
	}
	var list []item
	for _, k := range config.Keywords() {
		for _, n := range append([]string{k.Name}, k.Aliases...) {
			if strings.EqualFold(strings.ReplaceAll(n, "_", "-"), strings.ReplaceAll(name, "_", "-")) {
				i := itemOf(k)
				i.term += " in " + sectionTitle(k.Section)
				if k.Refused {
					i.term += ", refused"
				} else if k.Note != "" {
					i.term += ", without effect"
				}
				list = append(list, i)
				break
			}
		}
	}
	return list
}

// sectionTitle is the section as one writes it.
func sectionTitle(kind string) string {
	if kind == "config" {
		return "config setup"
	}
	return kind
}
