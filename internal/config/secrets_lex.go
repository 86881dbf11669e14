package config

import (
	"errors"
	"fmt"
	"strings"
)

// record is one record of ipsec.secrets: a line in column 1 and the indented
// ones after it.
type record struct {
	at    Pos
	lines []recordLine
}

type recordLine struct {
	at   Pos
	text string
}

// token is a word of a record. A block is what stands between braces, comments
// included.
type token struct {
	at     Pos
	text   string
	toEnd  string // from the token to the end of its line, without trailing blanks
	quoted bool
	block  bool
	colon  bool
}

// placedError is an error in a record with its place.
type placedError struct {
	at Pos
	error
}

// tokens splits a record. Tokens before an error are returned as well.
func (r *record) tokens() ([]token, *placedError) {
	var out []token
	for i := 0; i < len(r.lines); i++ {
		l := r.lines[i]
		rest := l.text
		for {
			rest = strings.TrimLeft(rest, " \t")
			if rest == "" || rest[0] == '#' {
				break
			}
			if rest[0] == '{' {
				t, last, err := r.block(i, rest[1:])
				if err != nil {
					return out, &placedError{l.at, err}
				}
				out = append(out, t)
				i, rest = last.line, last.rest
				continue
			}
			list, after, err := cutToken(l.at, rest)
			if err != nil {
				return out, &placedError{l.at, err}
			}
			out = append(out, list...)
			rest = after
		}
	}
	return out, nil
}

// cutToken takes the first word of a line: quoted, or up to a blank. A colon at
// its end is a token of its own, unless the word is an address with it (2001::).
func cutToken(at Pos, s string) ([]token, string, error) {
	toEnd := strings.TrimRight(s, " \t")
	if q := s[0]; q == '"' || q == '\'' {
		end := strings.IndexByte(s[1:], q)
		if end < 0 {
			return nil, "", fmt.Errorf("missing closing %c", q)
		}
		return []token{{at: at, text: s[1 : 1+end], quoted: true}}, s[2+end:], nil
	}
	end := strings.IndexAny(s, " \t")
	if end < 0 {
		end = len(s)
	}
	word, after := s[:end], s[end:]
	name, hasColon := strings.CutSuffix(word, ":")
	if _, err := ParseAddress(word); err == nil && name != "" {
		hasColon = false
	}
	switch {
	case !hasColon:
		return []token{{at: at, text: word, toEnd: toEnd}}, after, nil
	case name == "":
		return []token{{at: at, colon: true}}, after, nil
	}
	return []token{{at: at, text: name}, {at: at, colon: true}}, after, nil
}

// place is a position inside a record.
type place struct {
	line int
	rest string // of that line
}

// block takes everything up to the closing brace, which must be the first thing
// on an indented line or stand on the same line.
func (r *record) block(line int, rest string) (token, place, error) {
	t := token{at: r.lines[line].at, block: true}
	var text strings.Builder
	for i := line; i < len(r.lines); i++ {
		if i > line {
			rest = r.lines[i].text
		}
		body := rest
		if c := strings.TrimLeft(rest, " \t"); strings.HasPrefix(c, "#") {
			body = ""
		}
		if before, after, found := strings.Cut(body, "}"); found {
			text.WriteString(before)
			t.text = text.String()
			return t, place{i, after}, nil
		}
		text.WriteString(rest + "\n")
	}
	return token{}, place{}, errors.New(`RSA block has no }: its lines and the } must be indented`)
}

// split separates the index from the key at the colon; the key has at least
// one token. A record without a colon is the old form of a PSK: indices and a
// quoted string.
func (r *record) split() (index, key []token, problem *placedError) {
	tokens, problem := r.tokens()
	if problem != nil {
		return nil, nil, problem
	}
	for i, t := range tokens {
		if !t.colon {
			continue
		}
		if i+1 == len(tokens) {
			return nil, nil, &placedError{t.at, errors.New("no key after the colon")}
		}
		return tokens[:i], tokens[i+1:], nil
	}
	if n := len(tokens); n > 0 && tokens[n-1].quoted {
		return tokens[:n-1], tokens[n-1:], nil
	}
	if strings.HasPrefix(r.lines[0].text, "}") {
		return nil, nil, &placedError{r.at, errors.New("expected record boundary in key: the } must be indented")}
	}
	return nil, nil, &placedError{r.at, errors.New("record has no colon, or no blank after it")}
}
