package updown

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// lines cuts what a command prints into lines for the log. It takes all that
// comes, so that no command waits for us, but passes on a bounded part.
type lines struct {
	emit    func(string)
	partial []byte // the line in the making, up to maxLine octets
	cut     bool   // and there was more of it
	passed  int
	silent  bool // the bound is reached
}

// Write implements io.Writer and never fails.
func (l *lines) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 && !l.silent {
		line, rest, whole := bytes.Cut(b, []byte{'\n'})
		room := maxLine - len(l.partial)
		l.cut = l.cut || len(line) > room
		l.partial = append(l.partial, line[:min(len(line), room)]...)
		if whole {
			l.end()
		}
		b = rest
	}
	return n, nil
}

// flush passes on a last line that has no end.
func (l *lines) flush() {
	if len(l.partial) > 0 && !l.silent {
		l.end()
	}
}

func (l *lines) end() {
	line := printable(l.partial)
	if l.cut {
		line += "..."
	}
	if l.passed += len(l.partial) + 1; l.passed > maxOutput {
		l.silent = true
		line = fmt.Sprintf("(more than %d octets of output; the rest is not shown)", maxOutput)
	}
	l.partial, l.cut = l.partial[:0], false
	l.emit(line)
}

// printable escapes what could forge or spoil a line of a log.
func printable(b []byte) string {
	var s strings.Builder
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&s, `\x%02x`, b[0])
		case r == '\t':
			s.WriteByte(' ')
		case r == '\\':
			s.WriteString(`\\`)
		case !unicode.IsPrint(r):
			for _, c := range b[:n] {
				fmt.Fprintf(&s, `\x%02x`, c)
			}
		default:
			s.WriteRune(r)
		}
		b = b[n:]
	}
	return s.String()
}
