package demo

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

// step is one line "HOST: WORDS", with the indented lines below it that say
// what must be seen:
//
//	west: ipsec auto --up west-east
//		> 004 "west-east" #...: IPsec SA established ...
//
// Below a command, "> LINE" must be among the lines it prints, "! LINE" must
// not, and "exit N" is its exit code (0 without). In a LINE, "..." stands for
// any text and runs of blanks are one. A line that starts with # is a caption.
type step struct {
	line    int
	caption string // the only field of a caption
	keep    string // variable that takes the output
	host    string
	words   []string
	exit    int
	want    []pattern
	absent  []pattern
}

// text is the step as the timeline shows it.
func (s step) text() string { return strings.Join(s.words, " ") }

func parseSteps(text string) ([]step, error) {
	var steps []step
	for i, line := range strings.Split(text, "\n") {
		var err error
		switch trimmed := strings.TrimSpace(line); {
		case trimmed == "":
		case strings.HasPrefix(line, "#"):
			steps = addCaption(steps, i+1, strings.TrimSpace(line[1:]))
		case unicode.IsSpace(rune(line[0])):
			if len(steps) == 0 || steps[len(steps)-1].caption != "" {
				err = fmt.Errorf("expectation without a step")
				break
			}
			err = steps[len(steps)-1].expect(trimmed)
		default:
			var s step
			s, err = parseStep(trimmed)
			s.line = i + 1
			steps = append(steps, s)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
	}
	return steps, nil
}

// addCaption joins the lines of one caption.
func addCaption(steps []step, line int, text string) []step {
	if n := len(steps); n > 0 && steps[n-1].caption != "" {
		steps[n-1].caption += "\n" + text
		return steps
	}
	return append(steps, step{line: line, caption: text})
}

func parseStep(line string) (step, error) {
	var s step
	if strings.HasPrefix(line, "$") {
		name, rest, ok := strings.Cut(line[1:], " = ")
		if !ok {
			return s, fmt.Errorf("%q: $NAME is not followed by ' = '", line)
		}
		s.keep, line = name, rest
	}
	host, rest, ok := strings.Cut(line, ": ")
	if !ok {
		return s, fmt.Errorf("%q does not begin with HOST and a colon", line)
	}
	s.host, s.words = host, strings.Fields(rest)
	return s, nil
}

func (s *step) expect(line string) (err error) {
	kind, rest, _ := strings.Cut(line, " ")
	switch kind {
	case ">":
		s.want = append(s.want, newPattern(rest))
	case "!":
		s.absent = append(s.absent, newPattern(rest))
	case "exit":
		s.exit, err = strconv.Atoi(rest)
	default:
		err = fmt.Errorf("%q is none of '> LINE', '! LINE', 'exit N'", line)
	}
	return err
}

// pattern matches a whole line.
type pattern struct {
	text string
	re   *regexp.Regexp
}

func newPattern(text string) pattern {
	parts := strings.Split(oneBlank(text), "...")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return pattern{text, regexp.MustCompile("^" + strings.Join(parts, ".*") + "$")}
}

func oneBlank(s string) string { return strings.Join(strings.Fields(s), " ") }

// in reports whether some line of output matches.
func (p pattern) in(output string) bool {
	for line := range strings.Lines(output) {
		if p.re.MatchString(oneBlank(line)) {
			return true
		}
	}
	return false
}

// check compares what a command did with what the step expects.
func (s step) check(exit int, output string) error {
	if exit != s.exit {
		return fmt.Errorf("exit code %d, expected %d", exit, s.exit)
	}
	for _, p := range s.want {
		if !p.in(output) {
			return fmt.Errorf("expected but not printed: %s", p.text)
		}
	}
	for _, p := range s.absent {
		if p.in(output) {
			return fmt.Errorf("printed, but must not be: %s", p.text)
		}
	}
	return nil
}
