package reqs

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Catalogue is a list of things to prove: how its numbers are written, and where
// it stands, from the root of the tree.
type Catalogue struct {
	DataFile, PageFile string
	Reasons            bool // what is open says why

	groups              []string // their names in order; nil: R1, R2 and so on
	numberForm          *regexp.Regexp
	nameForm            *regexp.Regexp // in names of tests; nil: numbers stand in comments only
	groupForm, itemForm *regexp.Regexp
	label               string // of a number in one of the groups
	intro, noun         string
}

// Catalogues are all there are.
var Catalogues = []*Catalogue{Requirements, Adversary, Opportunism, Exchanges}

// Requirements are those of the manual.
var Requirements = &Catalogue{
	DataFile: "docs/requirements.txt", PageFile: "docs/requirements.md",
	numberForm: regexp.MustCompile(`\b(R[0-9]{1,2})\.([0-9]{1,2})\b`),
	groupForm:  regexp.MustCompile(`^(R[0-9]+) (.+)$`),
	itemForm:   regexp.MustCompile(`^(R[0-9]+)\.([0-9]+) (done|open) (.+)$`),
	noun:       "requirements",
	intro: `# Requirements, and what proves them

Written by "go run ./internal/reqs/gen" from [requirements.txt](requirements.txt)
and from what tests and scenarios say of themselves; do not edit it. The numbers
are those of the manual's "Other configuration possibilities", each section of
which is a group here.
`,
}

// Adversary is the catalogue of attacks and accidents.
var Adversary = &Catalogue{
	DataFile: "docs/adversary.txt", PageFile: "docs/adversary.md", Reasons: true,
	groups:     []string{"V2C", "V2S", "V1", "CRY", "ESP", "FRG", "X509", "CFG", "CTL", "OE", "RES", "CRS", "CLK", "NET"},
	numberForm: regexp.MustCompile(`\b(V2C|V2S|V1|CRY|ESP|FRG|X509|CFG|CTL|OE|RES|CRS|CLK|NET)-([0-9]{2})\b`),
	nameForm:   regexp.MustCompile(`_(V2C|V2S|V1|CRY|ESP|FRG|X509|CFG|CTL|OE|RES|CRS|CLK|NET)((?:_[0-9]{2})+)(?:_|$)`),
	groupForm:  regexp.MustCompile(`^([A-Z0-9]+) (.+)$`),
	itemForm:   regexp.MustCompile(`^([A-Z0-9]+)-([0-9]{2}) (done|open) (.+)$`),
	label:      "%s-%02d",
	noun:       "cases",
	intro: `# What an adversary or an accident may do, and the test that it fails against

Written by "go run ./internal/reqs/gen" from [adversary.txt](adversary.txt) and
from what tests and scenarios say of themselves; do not edit it. A case that is
open says why.
`,
}

// Opportunism are the acceptance cases of opportunistic encryption.
var Opportunism = &Catalogue{
	DataFile: "docs/opportunism.txt", PageFile: "docs/opportunism.md", Reasons: true,
	groups:     []string{"A", "B", "C", "D", "E"},
	numberForm: regexp.MustCompile(`\b([A-E])([0-9]{2})\b`),
	groupForm:  regexp.MustCompile(`^([A-E]) (.+)$`),
	itemForm:   regexp.MustCompile(`^([A-E])([0-9]{2}) (done|open) (.+)$`),
	label:      "%s%02d",
	noun:       "cases",
	intro: `# What opportunistic encryption must do, and the test that it does

Written by "go run ./internal/reqs/gen" from [opportunism.txt](opportunism.txt)
and from what tests and scenarios say of themselves; do not edit it. "A" is the
gateway under test, "B" its peer; a bare number is a host of the DNS laboratory
(192.0.2.N), zN a zone of it and hN a host with a hostile record. A case that is
open says why.
`,
}

// Exchanges are those that strongSwan's public tests try.
var Exchanges = &Catalogue{
	DataFile: "docs/exchanges.txt", PageFile: "docs/exchanges.md", Reasons: true,
	groups:     []string{"XCH"},
	numberForm: regexp.MustCompile(`\b(XCH)-([0-9]{2})\b`),
	groupForm:  regexp.MustCompile(`^(XCH) (.+)$`),
	itemForm:   regexp.MustCompile(`^(XCH)-([0-9]{2}) (done|open) (.+)$`),
	label:      "%s-%02d",
	noun:       "exchanges",
	intro: `# The exchanges of strongSwan's public tests, and ours that are their equals

Written by "go run ./internal/reqs/gen" from [exchanges.txt](exchanges.txt) and
from what tests and scenarios say of themselves; do not edit it. Tests that go
through every order of delivery, as ikev2.TestCollisions, stand for several of
theirs, each of which is one order. What is open says why.
`,
}

// group is the number of a group's name, 0 if there is none.
func (c *Catalogue) group(name string) int {
	if c.groups == nil {
		n, _ := strconv.Atoi(strings.TrimPrefix(name, "R"))
		return n
	}
	return slices.Index(c.groups, name) + 1
}

// title is the name of a group.
func (c *Catalogue) title(group int) string {
	if c.groups == nil {
		return fmt.Sprintf("R%d", group)
	}
	return c.groups[group-1]
}

// Label is the form in which tests and scenarios name a number.
func (c *Catalogue) Label(n Number) string {
	if c.groups == nil {
		return fmt.Sprintf("R%d.%d", n.Group, n.Item)
	}
	return fmt.Sprintf(c.label, c.groups[n.Group-1], n.Item)
}

// numbers finds all numbers in a text, each once, in order.
func (c *Catalogue) numbers(text string) []Number {
	var list []Number
	for _, m := range c.numberForm.FindAllStringSubmatch(text, -1) {
		item, _ := strconv.Atoi(m[2])
		list = append(list, Number{c.group(m[1]), item})
	}
	return sorted(list)
}

// named finds the numbers in the name of a test, such as TestAdv_FRG_04_05.
func (c *Catalogue) named(test string) []Number {
	if c.nameForm == nil {
		return nil
	}
	var list []Number
	for _, m := range c.nameForm.FindAllStringSubmatch(test, -1) {
		for _, item := range strings.Split(m[2][1:], "_") {
			n, _ := strconv.Atoi(item)
			list = append(list, Number{c.group(m[1]), n})
		}
	}
	return sorted(list)
}

func sorted(list []Number) []Number {
	slices.SortFunc(list, Number.compare)
	return slices.Compact(list)
}
