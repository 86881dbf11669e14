package config

import (
	"fmt"
	"strings"
	"sync"
)

// use says what the product does with a keyword today.
type use uint8

const (
	acts     use = iota // as documented
	harmless            // nothing, and nothing is lost by it: a warning
	refused             // nothing, and it would matter: an error
)

// keyword is one row of the tables that are all there is to know about a
// parameter.
type keyword[T any] struct {
	name    string   // without left or right in the table of ends
	aliases []string // synonyms
	kind    string   // syntax of the value
	def     string   // default, as it would be written
	doc     string
	use     use
	unless  []string // values that ask for what happens anyway
	why     string   // for harmless and refused: what is the matter
	field   field[T]
}

// names lists the keyword and its synonyms.
func (k *keyword[T]) names() []string { return append([]string{k.name}, k.aliases...) }

// apply reads one value into the model. The warning is nil if there is none.
func (k *keyword[T]) apply(t *T, v value) (warning, problem *Problem) {
	if err := k.field.parse(t, v); err != nil {
		return nil, valueProblem(v, err)
	}
	if k.use == acts || k.asUsual(v.text) {
		return nil, nil
	}
	if k.use == harmless {
		return problemAt(v.at, v.name, fmt.Sprintf("%q has no effect: %s", v.text, k.why), ""), nil
	}
	return nil, refusal(v, k.why)
}

// asUsual reports whether a value asks for what happens anyway.
func (k *keyword[T]) asUsual(text string) bool {
	for _, u := range append([]string{k.def}, k.unless...) {
		if strings.EqualFold(u, text) {
			return true
		}
	}
	return false
}

func refusal(v value, why string) *Problem {
	return problemAt(v.at, v.name, fmt.Sprintf("%q is understood, but this version does not act on it: %s", v.text, why), "leave it out if you can do without")
}

func valueProblem(v value, err error) *Problem {
	if e, ok := err.(notYet); ok {
		return refusal(v, e.why)
	}
	p := problemAt(v.at, v.name, err.Error(), "")
	if e, ok := err.(mendable); ok {
		p.Mend = e.mend
	}
	return p
}

// fold is how names are compared: without regard to case, _ being -.
func fold(name string) string { return strings.ReplaceAll(strings.ToLower(name), "_", "-") }

// index finds table rows by folded name.
type index struct {
	setup map[string]*keyword[Setup]
	conn  map[string]*keyword[Conn]
	end   map[string]*keyword[End]
	ca    map[string]*keyword[CA]
}

var keywords = sync.OnceValue(func() index {
	return index{rows(setupKeys), rows(connKeys), rows(endKeys), rows(caKeys)}
})

func rows[T any](table []keyword[T]) map[string]*keyword[T] {
	m := make(map[string]*keyword[T])
	for i := range table {
		for _, n := range table[i].names() {
			m[fold(n)] = &table[i]
		}
	}
	return m
}

// resolve finds the keyword that a name in a section of that kind means.
func resolve(kind, name string) (side, key string, ok bool) {
	n := fold(name)
	switch kind {
	case "ca":
		k, ok := keywords().ca[n]
		if !ok {
			return "", "", false
		}
		return "", k.name, true
	case "config":
		k, ok := keywords().setup[n]
		if !ok {
			return "", "", false
		}
		return "", k.name, true
	}
	if k, ok := keywords().conn[n]; ok {
		return "", k.name, true
	}
	for _, side := range []string{"left", "right"} {
		if rest, found := strings.CutPrefix(n, side); found {
			if k, ok := keywords().end[strings.TrimPrefix(rest, "-")]; ok {
				return side, k.name, true
			}
		}
	}
	return "", "", false
}

// unknownName says that a parameter does not exist, and what may be meant.
func unknownName(kind, name string) (text, mend string) {
	text = fmt.Sprintf("unknown parameter name %q", name)
	other, place := "conn", "belongs in a conn"
	if kind == "conn" {
		other, place = "config", "belongs in config setup"
	}
	if _, _, ok := resolve("ca", name); ok && kind != "ca" {
		other, place = "ca", "belongs in a ca section"
	}
	switch _, _, ok := resolve(other, name); {
	case ok:
		return text, place
	case fold(name) == "reykeywindow": // a slip of the old manual
		return text, "did you mean rekeywindow or rekeymargin?"
	}
	return text, didYouMean(fold(name), KeywordNames(kind))
}

// KeywordNames lists every parameter name of a kind of section (conn, ca or
// config), synonyms included, in the order of the tables.
func KeywordNames(kind string) []string {
	var list []string
	if kind == "config" {
		for i := range setupKeys {
			list = append(list, setupKeys[i].names()...)
		}
		return list
	}
	if kind == "ca" {
		for i := range caKeys {
			list = append(list, caKeys[i].names()...)
		}
		return list
	}
	for i := range connKeys {
		list = append(list, connKeys[i].names()...)
	}
	for _, side := range []string{"left", "right"} {
		for i := range endKeys {
			for _, n := range endKeys[i].names() {
				list = append(list, side+n)
			}
		}
	}
	return list
}

// Keyword is a row of the tables for documentation.
type Keyword struct {
	Section string // config, ca or conn
	Name    string // sided ones as left…
	Aliases []string
	Kind    string
	Default string
	Doc     string
	Note    string // why it does nothing today; empty: it acts
	Refused bool
}

// Keywords lists the tables.
func Keywords() []Keyword {
	var list []Keyword
	for i := range setupKeys {
		list = append(list, describe("config", "", &setupKeys[i]))
	}
	for i := range caKeys {
		list = append(list, describe("ca", "", &caKeys[i]))
	}
	for i := range connKeys {
		list = append(list, describe("conn", "", &connKeys[i]))
	}
	for i := range endKeys {
		list = append(list, describe("conn", "left", &endKeys[i]))
	}
	return list
}

func describe[T any](section, side string, k *keyword[T]) Keyword {
	d := Keyword{Section: section, Name: side + k.name, Kind: k.kind, Default: k.def, Doc: k.doc, Note: k.why, Refused: k.use == refused}
	for _, a := range k.aliases {
		d.Aliases = append(d.Aliases, side+a)
	}
	return d
}
