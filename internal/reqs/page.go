package reqs

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Page writes the page.
func (c *Catalogue) Page(d *Data, found []Evidence) []byte {
	var b strings.Builder
	done, part, open := count(d, found)
	fmt.Fprintf(&b, "%s\n%d %s: %d done, %d in part, %d open.\n", strings.ReplaceAll(c.intro, `"go run ./internal/reqs/gen"`, "`go run ./internal/reqs/gen`"), done+part+open, c.noun, done, part, open)
	for _, g := range d.Groups {
		fmt.Fprintf(&b, "\n## %s %s\n\n| | %s | tests | scenarios |\n| --- | --- | --- | --- |\n", c.title(g.Number), g.Title, strings.TrimSuffix(c.noun, "s"))
		for _, r := range g.Items {
			tests, scenarios := lists(r.Number, found)
			text := state(r, tests+scenarios != "") + r.Text
			if r.Why != "" {
				text += " *" + r.Why + "*"
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", c.Label(r.Number), text, tests, scenarios)
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
