package reqs

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Page writes docs/requirements.md.
func Page(d *Data, found []Evidence) []byte {
	var b strings.Builder
	done, part, open := count(d, found)
	fmt.Fprintf(&b, `# Requirements, and what proves them

Written by %sgo run ./internal/reqs/gen%s from [requirements.txt](requirements.txt)
and from what tests and scenarios say of themselves; do not edit it. The numbers
are those of the manual's "Other configuration possibilities", each section of
which is a group here.

%d requirements: %d done, %d in part, %d open.
`, "`", "`", done+part+open, done, part, open)
	for _, g := range d.Groups {
		fmt.Fprintf(&b, "\n## R%d %s\n\n| | requirement | tests | scenarios |\n| --- | --- | --- | --- |\n", g.Number, g.Title)
		for _, r := range g.Items {
			tests, scenarios := lists(r.Number, found)
			fmt.Fprintf(&b, "| %s | %s%s | %s | %s |\n", r.Number, state(r, tests+scenarios != ""), r.Text, tests, scenarios)
		}
	}
	return []byte(b.String())
}

// state marks what is not done.
func state(r Requirement, some bool) string {
	switch {
	case r.Done:
		return ""
	case some:
		return "*In part:* "
	}
	return "**Open:** "
}

func count(d *Data, found []Evidence) (done, part, open int) {
	for _, r := range d.All() {
		tests, scenarios := lists(r.Number, found)
		switch {
		case r.Done:
			done++
		case tests+scenarios != "":
			part++
		default:
			open++
		}
	}
	return done, part, open
}

// lists are the links to all that names a number.
func lists(n Number, found []Evidence) (tests, scenarios string) {
	var t, s []string
	for _, e := range found {
		switch {
		case e.Number != n:
		case e.Scenario:
			s = append(s, fmt.Sprintf("[%s](../%s)", e.Name, e.File))
		default:
			t = append(t, fmt.Sprintf("[%s.%s](../%s)", path.Base(path.Dir(e.File)), e.Name, e.File))
		}
	}
	return strings.Join(slices.Compact(t), ", "), strings.Join(slices.Compact(s), ", ")
}
