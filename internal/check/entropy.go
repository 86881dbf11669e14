package check

import (
	"math"
	"regexp"
	"strings"
	"unicode"

	"cygnet/internal/config"
)

// wordBits is what one word of a phrase is worth: a pick from 8192 words, as
// generous as lists for dice are long.
const wordBits = 13

var (
	hexForm = regexp.MustCompile(`^(0[xX])?[0-9a-fA-F_]+$`)
	b64Form = regexp.MustCompile(`^(0[sS])?[0-9A-Za-z+/]+=*$`)
	word    = regexp.MustCompile(`^([a-z]{3,}|[A-Z][a-z]{2,}|[A-Z]{3,})$`)
)

// entropy estimates in bits what a guesser must try for a secret: never less
// than for one that a generator made, far less for words and repetitions. It
// cannot know how a secret came about; it can see that a short or plain one did
// not come from 128 random bits.
func entropy(secret []byte) float64 {
	text := string(secret)
	if !printable(text) {
		return min(8*float64(len(secret)), 2*config.Entropy(secret))
	}
	bits := charBits(text)
	if words, rest := phrase(text); words > 0 {
		bits = min(bits, wordBits*float64(words)+4*float64(rest))
	}
	// Picks from sixteen or more signs show about the spread of a random text
	// of their length; doubled, it only catches what repeats.
	return min(bits, 2*config.Entropy(secret))
}

func printable(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r == unicode.ReplacementChar || !unicode.IsPrint(r) }) < 0
}

// charBits is the number of characters times the bits of one, by the smallest
// alphabet that holds them all.
func charBits(s string) float64 {
	switch {
	case hexForm.MatchString(s) && strings.IndexFunc(s, unicode.IsDigit) >= 0:
		body := strings.TrimPrefix(strings.TrimPrefix(s, "0x"), "0X")
		return 4 * float64(len(body)-strings.Count(body, "_"))
	case len(s) > 16 && b64Form.MatchString(s):
		return 6 * float64(len(strings.TrimRight(s, "=")))
	}
	signs := 0
	has := func(f func(rune) bool, n int) {
		if strings.IndexFunc(s, f) >= 0 {
			signs += n
		}
	}
	has(func(r rune) bool { return 'a' <= r && r <= 'z' }, 26)
	has(func(r rune) bool { return 'A' <= r && r <= 'Z' }, 26)
	has(func(r rune) bool { return '0' <= r && r <= '9' }, 10)
	has(func(r rune) bool { return r < 128 && !unicode.IsLetter(r) && !unicode.IsDigit(r) }, 33)
	has(func(r rune) bool { return r >= 128 }, 64)
	return float64(len([]rune(s))) * math.Log2(float64(max(signs, 2)))
}

// phrase counts the words of a text and its other characters; no words if the
// text does not look like a phrase.
func phrase(s string) (words, rest int) {
	letters := 0
	for _, w := range strings.FieldsFunc(s, func(r rune) bool { return !unicode.IsLetter(r) }) {
		if !word.MatchString(w) {
			rest += len(w)
			continue
		}
		words++
		letters += len(w)
	}
	if letters*2 < len(s) {
		return 0, 0
	}
	for _, r := range s {
		if !unicode.IsLetter(r) && r != ' ' {
			rest++
		}
	}
	return words, rest
}
