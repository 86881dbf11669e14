package check

import (
	"regexp"
	"strings"

	"cygnet/internal/config"
)

// written is one parameter as it stands in a file, whatever became of it.
type written struct {
	at      config.Pos
	section string // "conn west-east"
	name    string // lower case, - for _
	value   string
	comment string
}

var paramForm = regexp.MustCompile(`^[ \t]+([A-Za-z][A-Za-z0-9_-]*)[ \t]*=[ \t]*("[^"]*"|'[^']*'|[^#"']*?)[ \t]*(#.*)?$`)

// parameters lists every parameter line of the configuration, in order. Some
// rules are about what the parser forgets, as bits beyond a mask, or refuses,
// as certificates today.
func (g *Gateway) parameters() []written {
	var list []written
	for _, file := range g.conf {
		section, number := "", 0
		for line := range strings.Lines(g.fsys.files[file].text) {
			number++
			line = strings.TrimRight(line, "\r\n")
			if line != "" && !strings.ContainsAny(line[:1], " \t#") {
				section = strings.Join(strings.Fields(line), " ")
				continue
			}
			m := paramForm.FindStringSubmatch(line)
			if m == nil {
				continue
			}
			name := strings.ReplaceAll(strings.ToLower(m[1]), "_", "-")
			list = append(list, written{config.Pos{File: file, Line: number}, section, name, strings.Trim(m[2], `"'`), strings.TrimSpace(m[3])})
		}
	}
	return list
}

// inSection finds another parameter of the section that w stands in.
func inSection(list []written, w written, name string) string {
	for _, p := range list {
		if p.at.File == w.at.File && p.section == w.section && p.name == name {
			return p.value
		}
	}
	return ""
}
