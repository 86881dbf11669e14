// Package reqs finds out from the tree itself which test and which scenario
// proves which requirement of the manual. Tests name the numbers they prove, as
// R2.5, in their comments; scenarios in the captions of their steps, and files
// of testdata in the text before their first section. docs/requirements.txt has
// the numbers, docs/requirements.md, written from all of that, is the page to
// read. Only tests and its generator use the package.
package reqs

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Names of the files, from the root of the tree.
const (
	DataFile = "docs/requirements.txt"
	PageFile = "docs/requirements.md"
)

// Number is the name of a requirement, such as R13.6.
type Number struct{ Group, Item int }

// String is the form in which tests and scenarios name it.
func (n Number) String() string { return fmt.Sprintf("R%d.%d", n.Group, n.Item) }

func (n Number) compare(m Number) int {
	return cmp.Or(cmp.Compare(n.Group, m.Group), cmp.Compare(n.Item, m.Item))
}

var numberForm = regexp.MustCompile(`\bR([0-9]{1,2})\.([0-9]{1,2})\b`)

// numbers finds all numbers in a text, each once, in order.
func numbers(text string) []Number {
	var list []Number
	for _, m := range numberForm.FindAllStringSubmatch(text, -1) {
		group, _ := strconv.Atoi(m[1])
		item, _ := strconv.Atoi(m[2])
		list = append(list, Number{group, item})
	}
	slices.SortFunc(list, Number.compare)
	return slices.Compact(list)
}

// Requirement is one line of the data file.
type Requirement struct {
	Number
	Done bool
	Text string
}

// Group is what the numbers with the same first part have in common.
type Group struct {
	Number int
	Title  string
	Items  []Requirement
}

// Data is the data file.
type Data struct {
	Strict bool // an open number is an error
	Groups []Group
}

var (
	groupForm = regexp.MustCompile(`^R([0-9]+) (.+)$`)
	itemForm  = regexp.MustCompile(`^R([0-9]+)\.([0-9]+) (done|open) (.+)$`)
)

// Parse reads the data file. Numbers must come in order and without gaps, so
// that none is lost.
func Parse(text []byte) (*Data, error) {
	d := &Data{}
	line := 0
	for s := bufio.NewScanner(bytes.NewReader(text)); s.Scan(); {
		line++
		t := s.Text()
		if err := d.line(t); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", DataFile, line, err)
		}
	}
	return d, nil
}

func (d *Data) line(t string) error {
	if t == "" || t[0] == '#' {
		return nil
	}
	if answer, ok := strings.CutPrefix(t, "strict "); ok {
		d.Strict = answer == "yes"
		return nil
	}
	if m := itemForm.FindStringSubmatch(t); m != nil {
		group, _ := strconv.Atoi(m[1])
		item, _ := strconv.Atoi(m[2])
		if n := len(d.Groups); n == 0 || d.Groups[n-1].Number != group || len(d.Groups[n-1].Items)+1 != item {
			return fmt.Errorf("%s is out of order", Number{group, item})
		}
		g := &d.Groups[len(d.Groups)-1]
		g.Items = append(g.Items, Requirement{Number{group, item}, m[3] == "done", m[4]})
		return nil
	}
	if m := groupForm.FindStringSubmatch(t); m != nil {
		group, _ := strconv.Atoi(m[1])
		if group != len(d.Groups)+1 {
			return fmt.Errorf("group R%d is out of order", group)
		}
		d.Groups = append(d.Groups, Group{Number: group, Title: m[2]})
		return nil
	}
	return fmt.Errorf("not understood: %s", t)
}

// All lists every requirement.
func (d *Data) All() []Requirement {
	var list []Requirement
	for _, g := range d.Groups {
		list = append(list, g.Items...)
	}
	return list
}

// Evidence is one place that names a number.
type Evidence struct {
	Number
	Scenario bool
	File     string // from the root of the tree
	Name     string // of the test, or of the scenario
}

// Problems says what is wrong between the data file and the tree: numbers that
// do not exist, claims without a proof, proofs without the claim, and, if it is
// strict, what is open.
func Problems(d *Data, found []Evidence) []string {
	known := map[Number]bool{}
	proved := map[Number]bool{}
	for _, e := range found {
		proved[e.Number] = true
	}
	var list []string
	for _, r := range d.All() {
		known[r.Number] = true
		switch {
		case r.Done && !proved[r.Number]:
			list = append(list, fmt.Sprintf("%s is said to be done, but no test and no scenario names it", r.Number))
		case !r.Done && d.Strict:
			list = append(list, fmt.Sprintf("%s is open: %s", r.Number, r.Text))
		}
	}
	for _, e := range found {
		if !known[e.Number] {
			list = append(list, fmt.Sprintf("%s: %s names %s, which does not exist", e.File, e.Name, e.Number))
		}
	}
	return list
}
