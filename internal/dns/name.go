package dns

import (
	"bytes"
	"errors"
	"slices"
	"strings"
)

// A name is a string: absolute, lower case, its labels as they are on the wire
// and followed by a dot each. A label that holds a dot itself has no such form;
// messages with one are refused as a whole.

// Canonical makes a name of text: absolute and in lower case.
func Canonical(text string) string {
	if text == "." || text == "" {
		return "."
	}
	return strings.TrimSuffix(lower(text), ".") + "."
}

// lower is RFC 4343: only ASCII has case. strings.ToLower would change other
// octets.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// Labels of a name, the leftmost first; the root has none.
func Labels(name string) []string {
	if name == "." {
		return nil
	}
	return strings.Split(strings.TrimSuffix(name, "."), ".")
}

// Join makes a name of labels.
func Join(labels []string) string {
	if len(labels) == 0 {
		return "."
	}
	return strings.Join(labels, ".") + "."
}

// Within reports whether name is zone or below it, by labels: ple.test. is not
// above example.test.
func Within(zone, name string) bool {
	return zone == "." || name == zone || strings.HasSuffix(name, "."+zone)
}

// Ancestor is the name of that many labels above name or name itself.
func Ancestor(name string, labels int) string {
	l := Labels(name)
	return Join(l[len(l)-labels:])
}

// compare is the canonical order of names, RFC 4034, section 6.1.
func compare(a, b string) int {
	x, y := Labels(a), Labels(b)
	slices.Reverse(x)
	slices.Reverse(y)
	return slices.Compare(x, y)
}

// common is the number of labels that two names share from the right.
func common(a, b string) int {
	x, y := Labels(a), Labels(b)
	n := 0
	for n < len(x) && n < len(y) && x[len(x)-1-n] == y[len(y)-1-n] {
		n++
	}
	return n
}

// appendName appends the wire form, RFC 1035, section 3.1.
func appendName(b []byte, name string) []byte {
	for _, l := range Labels(name) {
		b = append(append(b, byte(len(l))), l...)
	}
	return append(b, 0)
}

var errName = errors.New("name in RDATA is broken, compressed or has a dot in a label")

// cutName reads an uncompressed name off the front of RDATA.
func cutName(data []byte) (name string, rest []byte, err error) {
	var b strings.Builder
	for total := 0; ; {
		if len(data) == 0 {
			return "", nil, errName
		}
		n := int(data[0])
		if total += n + 1; n > 63 || total > 255 || len(data) < n+1 {
			return "", nil, errName
		}
		label := data[1 : n+1]
		data = data[n+1:]
		if n == 0 {
			break
		}
		if bytes.IndexByte(label, '.') >= 0 {
			return "", nil, errName
		}
		b.Write(label)
		b.WriteByte('.')
	}
	return Canonical(b.String()), data, nil
}
