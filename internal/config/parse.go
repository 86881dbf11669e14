package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Parse reads a configuration file and what it includes. It always returns a
// File: with the sound connections, and the first error of each that is not.
// Errors outside connections are in the File too; Err returns the first.
func Parse(fsys FS, name string) *File {
	r := &reader{fsys: fsys, infos: make(map[string]Info)}
	r.readAll(name)
	b := &builder{File: &File{Name: name, Warnings: r.warnings}, doc: collect(r.out), infos: r.infos, warned: make(map[Problem]bool)}
	b.Errors = append(b.Errors, r.fatal...)
	b.Errors = append(b.Errors, b.doc.errors...)
	if b.Dialect = b.doc.dialect(); b.Dialect == Dialect1 {
		b.warn(&Problem{File: name, Text: "no version line, and keywords of FreeS/WAN 1.x: its defaults apply", Mend: "write version 2 and auto= in the connections"}, "")
	}
	b.setup()
	if len(r.fatal) == 0 {
		b.authorities()
		b.conns()
		b.autoload()
	}
	return b.File
}

// ParseText is Parse of one text that includes nothing.
func ParseText(name, text string) *File {
	return Parse(MapFS{Files: map[string]string{name: text}}, name)
}

// Err returns the first error outside connections, or nil. A daemon does not
// start with one: what it would have said may have been about everything.
func (f *File) Err() error {
	for _, p := range f.Errors {
		if p.Conn == "" {
			return p
		}
	}
	return nil
}

// builder makes the model of a document.
type builder struct {
	*File
	doc    *document
	infos  map[string]Info
	warned map[Problem]bool // without Conn
}

// dialect is 1.x if there is no version line and a keyword only 1.x had
// (freeswan.md 2.3).
func (d *document) dialect() Dialect {
	if d.version != "" {
		return Dialect2
	}
	for _, s := range d.sections["config"] {
		for _, p := range s.params {
			if slices.Contains([]string{"plutoload", "plutostart", "plutobackgroundload", "dump", "no_eroute_pass", "opportunistic", "packetdefault"}, p.key) {
				return Dialect1
			}
		}
	}
	for _, s := range d.sections["conn"] {
		for _, p := range s.params {
			if n := fold(p.name); n == "rekeystart" || n == "rekeytries" {
				return Dialect1
			}
		}
	}
	return Dialect2
}

// fail records a problem of a connection, or outside connections.
func (b *builder) fail(p *Problem, conn string) {
	q := *p
	q.Conn = conn
	b.Errors = append(b.Errors, q)
}

// warn records a warning once: one that also= or %default brings into many
// connections is about the one line it stands on.
func (b *builder) warn(p *Problem, conn string) {
	q := *p
	q.Conn = ""
	if p.Line > 0 && b.warned[q] {
		return
	}
	b.warned[q] = true
	q.Conn = conn
	b.Warnings = append(b.Warnings, q)
}

// setup reads config setup. Every wrong line is an error outside connections.
func (b *builder) setup() {
	b.Setup = newSetup(b.Dialect)
	defaults, problem := b.doc.defaults("config")
	if problem != nil {
		b.fail(problem, "")
		return
	}
	e := &expansion{first: make(map[string]Pos)}
	if s := b.doc.find("config", "setup"); s != nil {
		b.Setup.Where = s.at
		if e, problem = b.doc.expand(s); problem != nil {
			b.fail(problem, "")
			return
		}
	}
	for _, s := range b.doc.sections["config"] {
		if s.name != "setup" && s.name != "%default" && !e.seen[s.name] {
			b.fail(problemAt(s.at, "", fmt.Sprintf("unknown config section %q", s.name), didYouMean(s.name, []string{"setup"})), "")
		}
	}
	e.withDefaults(defaults)
	for _, p := range e.params {
		if p.value == "" {
			if p.key == "interfaces" { // explicitly nothing
				b.Setup.Interfaces = nil
				b.Setup.Keys[p.id()] = p.at
			}
			continue
		}
		next := b.Setup
		next.Options = maps.Clone(next.Options)
		warning, problem := keywords().setup[fold(p.key)].apply(&next, value{p.name, p.value, p.at})
		if problem != nil { // and nothing of the value is kept
			b.fail(problem, "")
			continue
		}
		b.Setup = next
		if warning != nil {
			b.warn(warning, "")
		}
		b.Setup.Keys[p.id()] = p.at
	}
}

// conns reads every connection. Nothing can be said of any of them when the
// defaults are in error.
func (b *builder) conns() {
	defaults, problem := b.doc.defaults("conn")
	if problem != nil {
		b.fail(problem, "")
		return
	}
	b.replaced = b.doc.addImplicit()
	for _, s := range b.doc.sections["conn"] {
		for _, a := range s.also {
			b.doc.used[a.name] = true
		}
	}
	taken := make(map[string]bool)
	for _, s := range b.doc.sections["conn"] {
		if s.name == "%default" {
			continue
		}
		c, problem := b.conn(s, defaults)
		if problem != nil {
			if b.doc.fragment(s) {
				problem.Conn = s.name
				b.fragments = append(b.fragments, *problem)
			} else {
				b.fail(problem, s.name)
			}
			continue
		}
		list, problem := instances(c)
		if problem != nil {
			b.fail(problem, s.name)
			continue
		}
		for _, c := range list {
			if taken[c.Name] {
				b.fail(problemAt(s.at, "", fmt.Sprintf("another connection is called %q already", c.Name), "rename one of them"), s.name)
				continue
			}
			taken[c.Name] = true
			b.Conns = append(b.Conns, c)
		}
	}
}

// fragment reports whether a section is no connection and not meant to be one:
// it lacks an end, and others take it in by also=, or auto=ignore says so, as
// where a built-in connection is switched off.
func (d *document) fragment(s *section) bool {
	e, problem := d.expand(s)
	if problem != nil || e.given("left") && e.given("right") {
		return false
	}
	for _, p := range e.params {
		if p.id() == "auto" && strings.EqualFold(p.value, "ignore") {
			return true
		}
	}
	return d.used[s.name]
}

func (e *expansion) given(id string) bool { _, ok := e.first[id]; return ok }

// conn reads one connection. Its first error makes it unusable.
func (b *builder) conn(s *section, defaults []param) (*Conn, *Problem) {
	e, problem := b.doc.expand(s)
	if problem != nil {
		return nil, problem
	}
	if !e.builtIn { // freeswan.md 2.4: built-in connections lose the defaults
		e.withDefaults(defaults)
	}
	dialect := b.Dialect
	if s.implicit { // the same whatever the file is
		dialect = Dialect2
	}
	c := newConn(dialect)
	c.Name, c.Where, c.Implicit = s.name, s.at, s.implicit
	var warnings []*Problem
	for _, p := range e.params {
		if p.value == "" {
			continue
		}
		w, problem := p.apply(&c)
		if problem != nil {
			return nil, problem
		}
		if w != nil {
			warnings = append(warnings, w)
		}
		c.Keys[p.id()] = p.at
	}
	k := &checker{Conn: &c, setup: &b.Setup, infos: b.infos}
	if problem := k.finish(); problem != nil {
		return nil, problem
	}
	for _, w := range append(warnings, k.warnings...) {
		b.warn(w, s.name)
	}
	return &c, nil
}

func (p param) apply(c *Conn) (warning, problem *Problem) {
	v := value{p.name, p.value, p.at}
	switch p.side {
	case "left":
		return keywords().end[fold(p.key)].apply(&c.Left, v)
	case "right":
		return keywords().end[fold(p.key)].apply(&c.Right, v)
	}
	return keywords().conn[fold(p.key)].apply(c, v)
}

// instances makes the connections that leftsubnets= and rightsubnets= ask for:
// every subnet of the left with every one of the right, called NAME/LxR with
// numbers from 1, 0 on a side without such a list.
func instances(c *Conn) ([]*Conn, *Problem) {
	left, right := c.Left.sets, c.Right.sets
	if len(left) == 0 && len(right) == 0 {
		return []*Conn{c}, nil
	}
	if max(1, len(left))*max(1, len(right)) > maxInstances {
		return nil, problemAt(c.Where, "", fmt.Sprintf("%d left and %d right subnets make more than %d connections", len(left), len(right), maxInstances), "use a subnet that covers several")
	}
	var list []*Conn
	for i := 0; i < max(1, len(left)); i++ {
		for j := 0; j < max(1, len(right)); j++ {
			d := *c
			d.Alias = c.Name
			n, m := 0, 0
			if len(left) > 0 {
				n, d.Left.Subnets = i+1, left[i:i+1:i+1]
			}
			if len(right) > 0 {
				m, d.Right.Subnets = j+1, right[j:j+1:j+1]
			}
			d.Left.sets, d.Right.sets = nil, nil
			d.Name = fmt.Sprintf("%s/%dx%d", c.Name, n, m)
			list = append(list, &d)
		}
	}
	return list, nil
}

// autoload turns plutoload= and plutostart= into auto= (R12.13 to R12.15).
// With neither of them, a 1.x file loads nothing and a 2.x file goes by auto=.
func (b *builder) autoload() {
	load, loadAt := b.Setup.AutoLoad, b.Setup.Keys["plutoload"]
	start, startAt := b.Setup.AutoStart, b.Setup.Keys["plutostart"]
	if b.Dialect == Dialect2 && loadAt == (Pos{}) && startAt == (Pos{}) {
		return
	}
	for _, c := range b.Conns {
		c.Auto = autoOf(c, load, start)
	}
	for _, l := range []struct {
		key   string
		at    Pos
		names []string
	}{{"plutoload", loadAt, load.Names}, {"plutostart", startAt, start.Names}} {
		for _, name := range l.names {
			if len(b.Named(name)) == 0 && b.doc.find("conn", name) == nil {
				b.warn(problemAt(l.at, l.key, fmt.Sprintf("there is no connection %q", name), didYouMean(name, b.doc.names("conn"))), "")
			}
		}
	}
}

func autoOf(c *Conn, load, start Autoload) Startup {
	named := func(a Autoload) bool { return slices.Contains(a.Names, c.Name) || slices.Contains(a.Names, c.Alias) }
	switch {
	case named(start), start.Search && c.Auto == AutoStart:
		return AutoStart
	case load.Search && c.Auto == AutoRoute:
		return AutoRoute
	case named(load), load.Search && (c.Auto == AutoAdd || c.Auto == AutoStart || c.Auto == AutoKeep):
		return AutoAdd
	case c.Auto == AutoManual:
		return AutoManual
	}
	return AutoIgnore
}
