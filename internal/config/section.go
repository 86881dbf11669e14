package config

import (
	"fmt"
	"slices"
	"strings"
)

// param is one parameter of a section.
type param struct {
	side  string // left, right or empty
	key   string // keyword without its side, synonyms resolved
	name  string // as spelled
	value string
	at    Pos
}

// id names a param within a section: a section has each once.
func (p param) id() string { return p.side + p.key }

// flipped is p with left and right exchanged.
func (p param) flipped() param {
	switch p.side {
	case "left":
		p.side, p.name = "right", "right"+p.name[len("left"):]
	case "right":
		p.side, p.name = "left", "left"+p.name[len("right"):]
	}
	return p
}

// also is one also= or alsoflip= line.
type also struct {
	name string
	flip bool
	at   Pos
}

// section is what stands under one header.
type section struct {
	kind, name string
	at         Pos
	params     []param
	also       []also
	err        *Problem // the first error in it
	implicit   bool
}

func (s *section) fail(p *Problem) {
	if s.err == nil {
		s.err = p
	}
}

// document is a configuration in sections, before any value is read.
type document struct {
	sections map[string][]*section // by kind, in reading order
	byName   map[string]*section   // by kind and name, without %default
	used     map[string]bool       // conn sections that an also= names
	version  string                // of the version line; empty: none
	errors   []Problem             // outside sections, or of headers
}

func (d *document) general(p *Problem) { d.errors = append(d.errors, *p) }

// collect sorts the items into sections.
func collect(items []placed) *document {
	d := &document{sections: make(map[string][]*section), byName: make(map[string]*section), used: make(map[string]bool)}
	var current *section
	for _, it := range items {
		switch x := it.item.(type) {
		case headerItem:
			current = d.header(x, it.at)
		case versionItem:
			d.versionLine(x, it.at)
		case paramItem:
			if current == nil {
				d.general(problemAt(it.at, x.name, "parameter is not within a section", "an include ends the section before it"))
				continue
			}
			current.add(x, it.at)
		case nil:
			switch {
			case it.err == nil:
				current = nil
			case current != nil && !it.err.column1:
				current.fail(problemAt(it.at, it.err.key, it.err.text, it.err.mend))
			default:
				d.general(problemAt(it.at, it.err.key, it.err.text, it.err.mend))
				current = &section{} // what follows may belong to it
			}
		}
	}
	return d
}

func (d *document) versionLine(v versionItem, at Pos) {
	switch {
	case v.number != "2" && v.number != "2.0":
		d.general(problemAt(at, "version", fmt.Sprintf("we only support version 2.0 ipsec.conf files, not %q", v.number), "write version 2"))
	case len(d.sections) > 0:
		d.general(problemAt(at, "version", "version line stands after a section", "make it the first line"))
	}
	d.version = v.number
}

// header opens a section. What follows a bad header is read into a section
// that nobody sees.
func (d *document) header(h headerItem, at Pos) *section {
	s := &section{kind: h.kind, name: h.name, at: at}
	switch h.kind {
	case "conn", "config", "ca":
	default:
		d.general(problemAt(at, h.kind, fmt.Sprintf("section type %q not recognized", h.kind), didYouMean(h.kind, []string{"conn", "config", "ca", "include", "version"})))
		return s
	}
	if h.name == "%default" {
		if list := d.sections[h.kind]; len(list) > 0 && list[len(list)-1].name != "%default" {
			first := list[slices.IndexFunc(list, func(s *section) bool { return s.name != "%default" })]
			s.fail(problemAt(at, "", fmt.Sprintf(`"%s %%default" sections must precede non-default ones`, h.kind),
				fmt.Sprintf("%s %s stands at %s:%d", h.kind, first.name, first.at.File, first.at.Line)))
		}
	} else if other := d.find(h.kind, h.name); other != nil {
		// Which of the two is meant cannot be known.
		other.fail(problemAt(at, "", fmt.Sprintf("duplicate %s section %q", h.kind, h.name), fmt.Sprintf("the first is at %s:%d", other.at.File, other.at.Line)))
		return s
	}
	d.insert(s)
	return s
}

func (d *document) insert(s *section) {
	d.sections[s.kind] = append(d.sections[s.kind], s)
	if s.name != "%default" {
		d.byName[s.kind+" "+s.name] = s
	}
}

// add takes a parameter line into the section.
func (s *section) add(x paramItem, at Pos) {
	if userName(x.name) {
		return
	}
	switch lower := strings.ToLower(x.name); {
	case lower == "also" || lower == "alsoflip" && s.kind == "conn":
		switch {
		case s.name == "%default":
			s.fail(problemAt(at, x.name, fmt.Sprintf("%q is not allowed in a %%default section", x.name), ""))
		case x.value == "" || !sectionName(x.value):
			s.fail(problemAt(at, x.name, fmt.Sprintf("%q is not a section name", x.value), ""))
		default:
			s.also = append(s.also, also{x.value, lower == "alsoflip", at})
		}
		return
	}
	side, key, ok := resolve(s.kind, x.name)
	if !ok {
		text, mend := unknownName(s.kind, x.name)
		s.fail(problemAt(at, x.name, text, mend))
		return
	}
	s.params = append(s.params, param{side, key, x.name, x.value, at})
}

// userName reports whether a parameter is the user's own (freeswan.md L11).
func userName(name string) bool {
	return len(name) >= 2 && (name[0] == 'x' || name[0] == 'X') && (name[1] == '-' || name[1] == '_')
}

// find returns the section of that kind and name, or nil; never a %default.
func (d *document) find(kind, name string) *section { return d.byName[kind+" "+name] }

// defaults merges the %default sections of a kind.
func (d *document) defaults(kind string) ([]param, *Problem) {
	var merged []param
	first := make(map[string]Pos)
	for _, s := range d.sections[kind] {
		if s.name != "%default" {
			continue
		}
		if s.err != nil {
			return nil, s.err
		}
		for _, p := range s.params {
			if at, dup := first[p.id()]; dup {
				return nil, problemAt(p.at, p.name, fmt.Sprintf("duplicated default parameter %q", p.name), firstAt(at))
			}
			first[p.id()] = p.at
			merged = append(merged, p)
		}
	}
	return merged, nil
}

func firstAt(at Pos) string {
	if at.File == "" {
		return ""
	}
	return fmt.Sprintf("first given at %s:%d", at.File, at.Line)
}

// expansion is a section with everything that also= brings.
type expansion struct {
	doc      *document
	seen     map[string]bool
	params   []param
	first    map[string]Pos
	implicit []param  // from built-in sections: what is written wins over them
	builtIn  bool     // a built-in section took part
	path     []string // of sections, from the first to the one being taken
}

// expand follows also= and alsoflip=, freeswan.md 2.5.
func (d *document) expand(s *section) (*expansion, *Problem) {
	e := &expansion{doc: d, seen: make(map[string]bool), first: make(map[string]Pos)}
	if p := e.take(s, false); p != nil {
		return nil, p
	}
	for _, p := range e.implicit {
		if _, given := e.first[p.id()]; !given {
			e.first[p.id()] = p.at
			e.params = append(e.params, p)
		}
	}
	return e, nil
}

func (e *expansion) take(s *section, flip bool) *Problem {
	e.seen[s.name] = true
	e.path = append(e.path, s.name)
	defer func() { e.path = e.path[:len(e.path)-1] }()
	if s.err != nil {
		return s.err
	}
	e.builtIn = e.builtIn || s.implicit
	for _, p := range s.params {
		if flip {
			p = p.flipped()
		}
		if s.implicit {
			e.implicit = append(e.implicit, p)
			continue
		}
		if at, dup := e.first[p.id()]; dup {
			return problemAt(p.at, p.name, fmt.Sprintf("duplicated parameter %q", p.name), firstAt(at))
		}
		e.first[p.id()] = p.at
		e.params = append(e.params, p)
	}
	for _, a := range s.also {
		next := e.doc.find(s.kind, a.name)
		if next == nil {
			return problemAt(a.at, "also", fmt.Sprintf("did not find %s section(s) %q", s.kind, a.name), didYouMean(a.name, e.doc.names(s.kind)))
		}
		if e.seen[a.name] {
			return problemAt(a.at, "also", fmt.Sprintf("section %q requested more than once", a.name), e.circle(a.name))
		}
		if p := e.take(next, flip != a.flip); p != nil {
			return p
		}
	}
	return nil
}

// circle says how a section came in before.
func (e *expansion) circle(name string) string {
	if i := slices.Index(e.path, name); i >= 0 {
		return "a circle: " + strings.Join(append(e.path[i:len(e.path):len(e.path)], name), " -> ")
	}
	return "another also= has brought it in already"
}

func (d *document) names(kind string) []string {
	var list []string
	for _, s := range d.sections[kind] {
		list = append(list, s.name)
	}
	return list
}

// withDefaults adds the defaults for what is absent. An empty value is not
// absent (freeswan.md L7).
func (e *expansion) withDefaults(defaults []param) {
	for _, p := range defaults {
		if _, given := e.first[p.id()]; !given {
			e.first[p.id()] = p.at
			e.params = append(e.params, p)
		}
	}
}
