package suite

import (
	"fmt"
	"strconv"
)

// gone are algorithms that users may still name, and why they will not work.
var gone = []struct{ name, why string }{
	{"des", "DES is broken by trying all keys"},
	{"modp768", "a 768-bit group is broken"},
	{"dh1", "a 768-bit group is broken"},
	{"dh22", "the group may have a trapdoor (RFC 8247)"},
	{"modp1024s160", "the group may have a trapdoor (RFC 8247)"},
	{"dh23", "groups of RFC 5114 are not implemented"},
	{"dh24", "groups of RFC 5114 are not implemented"},
	{"blowfish", "its blocks have 64 bits; use aes"},
	{"cast", "its blocks have 64 bits; use aes"},
	{"cast128", "its blocks have 64 bits; use aes"},
	{"idea", "its blocks have 64 bits; use aes"},
	{"twofish", "it is not implemented; use aes"},
	{"serpent", "it is not implemented; use aes"},
	{"camellia", "it is not implemented; use aes"},
}

// unknown is the error for a word that names nothing.
func (p *parser) unknown(word string) error {
	where := ""
	if word != p.word {
		where = fmt.Sprintf(" in %q", p.word)
	}
	for _, g := range gone {
		if fold(word) == g.name {
			return fmt.Errorf("algorithm %q%s: %s", word, where, g.why)
		}
	}
	if near := nearest(fold(word)); near != "" {
		return fmt.Errorf("unknown algorithm %q%s, did you mean %q?", word, where, near)
	}
	return fmt.Errorf("unknown algorithm %q%s", word, where)
}

// nearest returns the name of an algorithm in good standing that differs from
// word in few letters, or "".
func nearest(word string) string {
	best, at := "", 3
	try := func(obsolete string, names ...string) {
		for _, name := range names {
			if d := edits(word, fold(name)); obsolete == "" && d < at && d*2 <= len(word) {
				best, at = name, d
			}
		}
	}
	for _, e := range encrs {
		try(e.Obsolete, e.Conf...)
		for _, b := range e.KeyBits {
			if !e.Fixed {
				try(e.Obsolete, e.Conf[0]+strconv.Itoa(b))
			}
		}
	}
	for _, i := range integs {
		try(i.Obsolete, i.Conf...)
	}
	for _, k := range kes {
		try(k.Obsolete, k.Conf...)
	}
	return best
}

// edits is Levenshtein's distance. Words longer than any name of ours are far
// from everything, which bounds the work.
func edits(a, b string) int {
	if len(a) > 32 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
