// Package reqs finds out from the tree itself which test and which scenario
// proves what: the requirements of the manual, the cases of the adversary
// catalogue, those of opportunistic encryption, and the exchanges of strongSwan's
// public tests. Tests name the numbers they prove, as R2.5 or V2S-13, in their
// comments, those of the catalogue also in their own names, as
// TestAdv_V2S_13_Both; scenarios in the captions of their steps, and files of
// testdata in the text before their first section. A data file in docs has the
// numbers; a page, written from all of that, is there to be read. Only tests and
// its generator use the package.
package reqs

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// Number is the name of a requirement: a group, from 1, and an item of it. Its
// Catalogue knows how it is written.
type Number struct{ Group, Item int }

func (n Number) compare(m Number) int {
	return cmp.Or(cmp.Compare(n.Group, m.Group), cmp.Compare(n.Item, m.Item))
}

// Requirement is one line of the data file.
type Requirement struct {
	Number
	Done bool
	Text string
	Why  string // it is open, where the catalogue asks for a reason
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

// Parse reads the data file. Numbers must come in order and without gaps, so
// that none is lost.
func (c *Catalogue) Parse(text []byte) (*Data, error) {
	d := &Data{}
	line := 0
	for s := bufio.NewScanner(bytes.NewReader(text)); s.Scan(); {
		line++
		t := s.Text()
		if err := c.line(d, t); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", c.DataFile, line, err)
		}
	}
	return d, nil
}

func (c *Catalogue) line(d *Data, t string) error {
	if t == "" || t[0] == '#' {
		return nil
	}
	if answer, ok := strings.CutPrefix(t, "strict "); ok {
		d.Strict = answer == "yes"
		return nil
	}
	if m := c.itemForm.FindStringSubmatch(t); m != nil {
		return c.item(d, m)
	}
	if m := c.groupForm.FindStringSubmatch(t); m != nil {
		group := c.group(m[1])
		if group != len(d.Groups)+1 {
			return fmt.Errorf("group %s is out of order", m[1])
		}
		d.Groups = append(d.Groups, Group{Number: group, Title: m[2]})
		return nil
	}
	return fmt.Errorf("not understood: %s", t)
}

func (c *Catalogue) item(d *Data, m []string) error {
	item, _ := strconv.Atoi(m[2])
	n := Number{c.group(m[1]), item}
	if k := len(d.Groups); k == 0 || d.Groups[k-1].Number != n.Group || len(d.Groups[k-1].Items)+1 != item {
		return fmt.Errorf("%s is out of order", c.Label(n))
	}
	r := Requirement{Number: n, Done: m[3] == "done", Text: m[4]}
	if c.Reasons && !r.Done {
		var ok bool
		if r.Text, r.Why, ok = strings.Cut(m[4], " || "); !ok {
			return fmt.Errorf("%s is open without a reason after ||", c.Label(n))
		}
	}
	g := &d.Groups[len(d.Groups)-1]
	g.Items = append(g.Items, r)
	return nil
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
func (c *Catalogue) Problems(d *Data, found []Evidence) []string {
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
			list = append(list, fmt.Sprintf("%s is said to be done, but no test and no scenario names it", c.Label(r.Number)))
		case !r.Done && d.Strict:
			list = append(list, fmt.Sprintf("%s is open: %s", c.Label(r.Number), r.Text))
		}
	}
	for _, e := range found {
		if !known[e.Number] {
			list = append(list, fmt.Sprintf("%s: %s names %s, which does not exist", e.File, e.Name, c.Label(e.Number)))
		}
	}
	return list
}
