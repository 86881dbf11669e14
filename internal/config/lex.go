package config

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// item is one significant line of ipsec.conf, freeswan.md 2.1.
type item interface{ isItem() }

type headerItem struct{ kind, name string }

type paramItem struct {
	name  string // as spelled
	value string
}

type includeItem struct{ pattern string }

type versionItem struct{ number string }

func (headerItem) isItem()  {}
func (paramItem) isItem()   {}
func (includeItem) isItem() {}
func (versionItem) isItem() {}

// lexError is what is wrong with a line; its place is added by the reader.
type lexError struct {
	key, text, mend string
	column1         bool // the line may have been a header
}

// lexLine classifies one line without its line feed. Blank and comment lines
// are nil.
func lexLine(line string) (item, *lexError) {
	body := strings.TrimLeft(line, " \t")
	switch {
	case body == "" || body[0] == '#':
		return nil, nil
	case len(body) < len(line):
		return lexParam(body)
	}
	it, err := lexColumn1(line)
	if err != nil {
		err.column1 = true
	}
	return it, err
}

// lexColumn1 reads what may stand in column 1: include, version or a header.
func lexColumn1(line string) (item, *lexError) {
	if bad := unprintable(line); bad {
		return nil, &lexError{text: "line contains unprintable character"}
	}
	fields := strings.Fields(stripTrail(line))
	first := strings.ToLower(fields[0])
	switch {
	case first == "include":
		if len(fields) != 2 {
			return nil, &lexError{key: "include", text: fmt.Sprintf("include syntax error in %q", line), mend: "write include and one file name without blanks"}
		}
		return includeItem{fields[1]}, nil
	case first == "version":
		if len(fields) != 2 {
			return nil, &lexError{key: "version", text: fmt.Sprintf("version syntax error in %q", line), mend: "write version 2"}
		}
		return versionItem{fields[1]}, nil
	case strings.Contains(fields[0], "="):
		return nil, &lexError{text: fmt.Sprintf("parameter %q begins in column 1", cutName(fields[0])), mend: "indent the parameters of a section"}
	case len(fields) != 2:
		return nil, &lexError{text: fmt.Sprintf("section header %q has wrong number of fields (%d)", stripTrail(line), len(fields)), mend: "write conn NAME or config setup"}
	case !sectionName(fields[1]):
		return nil, &lexError{text: fmt.Sprintf("illegal section name %q", fields[1]), mend: "use a letter, then letters, digits, . _ and -"}
	}
	return headerItem{first, fields[1]}, nil
}

func cutName(s string) string {
	name, _, _ := strings.Cut(s, "=")
	return name
}

// lexParam reads a line of a section from its first character on.
func lexParam(body string) (item, *lexError) {
	name, rest, ok := strings.Cut(body, "=")
	name = strings.TrimRight(name, " \t")
	if !ok {
		return nil, &lexError{text: fmt.Sprintf("parameter line %q has no =", stripTrail(body)), mend: "write name=value"}
	}
	if !paramName(name) {
		return nil, &lexError{text: fmt.Sprintf("syntax error in parameter name %q", name)}
	}
	value, err := lexValue(name, strings.TrimLeft(rest, " \t"))
	if err != nil {
		err.key = name
		return nil, err
	}
	if unprintable(value) {
		return nil, &lexError{key: name, text: fmt.Sprintf("parameter %q contains unprintable character", name)}
	}
	return paramItem{name, value}, nil
}

// lexValue reads a value with its quotes and what follows it. A list in braces
// may contain blanks without quotes, as Libreswan's leftsubnets= has it.
func lexValue(name, s string) (string, *lexError) {
	mismatch := &lexError{text: "mismatched quotes in parameter value", mend: "quotes must enclose the whole value"}
	switch {
	case strings.HasPrefix(s, `"`):
		value, tail, ok := strings.Cut(s[1:], `"`)
		if !ok || !isTrail(tail) {
			return "", mismatch
		}
		return value, nil
	case strings.HasPrefix(s, "{"):
		value, tail, ok := strings.Cut(s, "}")
		if !ok || !isTrail(tail) {
			return "", &lexError{text: "mismatched braces in parameter value"}
		}
		return value + "}", nil
	case strings.HasPrefix(s, "#"):
		return "", nil
	}
	value := stripTrail(s)
	switch {
	case strings.Contains(value, `"`):
		return "", mismatch
	case strings.ContainsAny(value, " \t"):
		return "", &lexError{text: fmt.Sprintf("white space within non-quoted parameter %q", name), mend: `put the value between " "`}
	}
	return value, nil
}

// isTrail reports whether only blanks and a comment follow a quoted value.
func isTrail(s string) bool {
	t := strings.TrimLeft(s, " \t")
	return t == "" || t[0] == '#' && len(t) < len(s)
}

// stripTrail cuts a trailing comment (# after white space) and trailing blanks.
func stripTrail(s string) string {
	for i := 1; i < len(s); i++ {
		if s[i] == '#' && (s[i-1] == ' ' || s[i-1] == '\t') {
			s = s[:i]
			break
		}
	}
	return strings.TrimRight(s, " \t")
}

// sectionName accepts a name and, for what leftsubnets= makes, name/NxM.
func sectionName(s string) bool {
	if s == "%default" {
		return true
	}
	base, instance, found := strings.Cut(s, "/")
	if found {
		n, m, ok := strings.Cut(instance, "x")
		if !ok || !digits(n) || !digits(m) {
			return false
		}
	}
	return len(s) <= 128 && base != "" && nameChars(base, ".") && base[0] != '-' && base[0] != '.'
}

func paramName(s string) bool {
	return s != "" && nameChars(s, "") && s[0] != '-' && (s[0] < '0' || s[0] > '9')
}

func nameChars(s, extra string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-' || strings.IndexByte(extra, c) >= 0) {
			return false
		}
	}
	return true
}

func digits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// unprintable reports control characters (1 to 31 and 127 to 159, and NUL). In
// valid UTF-8 the octets 128 to 159 are part of letters and allowed. A tab is a
// control character too, but column 1 lines use it between fields.
func unprintable(s string) bool {
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 && s[i] < 160 || r < ' ' && r != '\t' || 127 <= r && r < 160 {
			return true
		}
		i += n
	}
	return false
}
