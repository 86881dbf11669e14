package demo

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// step is one line "HOST: WORDS", with the indented lines below it that say
// what must be seen:
//
//	west: ipsec auto --up west-east
//		> 004 "west-east" #...: IPsec SA established ...
//
// Several hosts, as in "west,east: ipsec setup start", take the step one after
// the other. Below a command, "> LINE" must be among the lines it prints,
// "! LINE" must not, and "exit N" is its exit code (0 without). "within N"
// repeats the command until all that holds, for at most N seconds. In a LINE,
// "..." stands for any text and runs of blanks are one. A line that starts with
// # is a caption; the numbers in captions, such as R13.6, are those of
// docs/requirements.md.
type step struct {
	line    int
	caption string // the only field of a caption
	keep    string // variable that takes the output
	host    string
	words   []string
	raw     string // the words with the blanks between them, for a shell
	exit    int
	within  time.Duration
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
	s.host, s.words, s.raw = host, strings.Fields(rest), rest
	if len(s.words) == 0 {
		return s, fmt.Errorf("%q says nothing to do", line)
	}
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
	case "within":
		var seconds float64
		seconds, err = strconv.ParseFloat(rest, 64)
		s.within = time.Duration(seconds * float64(time.Second))
	default:
		err = fmt.Errorf("%q is none of '> LINE', '! LINE', 'exit N', 'within N'", line)
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

// expand writes out the ranges of a word: "10.{1..2}.0.{7..9}" is six words,
// the last range counting fastest.
func expand(word string) ([]string, error) {
	before, rest, ok := strings.Cut(word, "{")
	if !ok {
		return []string{word}, nil
	}
	inside, after, ok := strings.Cut(rest, "}")
	from, to, dots := strings.Cut(inside, "..")
	first, err := strconv.Atoi(from)
	last, err2 := strconv.Atoi(to)
	if !ok || !dots || err != nil || err2 != nil || last < first || last-first > maxRange {
		return nil, fmt.Errorf("%q: a range is {FROM..TO}, of at most %d", word, maxRange)
	}
	tails, err := expand(after)
	if err != nil {
		return nil, err
	}
	var all []string
	for i := first; i <= last; i++ {
		for _, t := range tails {
			all = append(all, before+strconv.Itoa(i)+t)
		}
	}
	return all, nil
}

// maxRange keeps a slip of the pen from becoming a million addresses.
const maxRange = 1000

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
