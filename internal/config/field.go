package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"cygnet/internal/ike"
)

// value is one parameter's value on its way into the model.
type value struct {
	name string // as spelled, for messages
	text string
	at   Pos
}

// field reads and prints one typed member of T (a Conn, End or Setup). What
// print returns reads as the same member.
type field[T any] struct {
	parse func(t *T, v value) error
	print func(t *T) string
}

// notYet is the error for what is understood and not acted on.
type notYet struct{ why string }

func (e notYet) Error() string { return e.why }

// mendable is an error that knows what would mend it.
type mendable struct {
	error
	mend string
}

func yesNo[T any](at func(*T) *bool) field[T] {
	return field[T]{
		parse: func(t *T, v value) (err error) {
			*at(t), err = parseBool(v)
			return err
		},
		print: func(t *T) string { return boolText(*at(t)) },
	}
}

// noYes is yesNo for a keyword that says the opposite of its member.
func noYes[T any](at func(*T) *bool) field[T] {
	return field[T]{
		parse: func(t *T, v value) error {
			b, err := parseBool(v)
			*at(t) = !b
			return err
		},
		print: func(t *T) string { return boolText(!*at(t)) },
	}
}

func parseBool(v value) (bool, error) {
	switch strings.ToLower(v.text) {
	case "yes", "on", "true", "1":
		return true, nil
	case "no", "off", "false", "0":
		return false, nil
	}
	return false, fmt.Errorf(`parameter %q must be "yes" or "no"`, v.name)
}

func boolText(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// span is a duration; its unit is what a bare number means.
func span[T any](at func(*T) *time.Duration, unit time.Duration) field[T] {
	return field[T]{
		parse: func(t *T, v value) error {
			d, err := parseSpan(v.text, unit)
			if err != nil {
				return fmt.Errorf("parameter %q not valid time, must be nnn[smhd]", v.name)
			}
			*at(t) = d
			return nil
		},
		print: func(t *T) string { return spanText(*at(t)) },
	}
}

var errSpan = errors.New("not a duration")

// parseSpan reads an integer with or without s (or ms), or a decimal number
// with m, h or d, cut to whole seconds.
func parseSpan(text string, unit time.Duration) (time.Duration, error) {
	if n, ok := strings.CutSuffix(text, "ms"); ok {
		text, unit = n, time.Millisecond
	} else if text != "" {
		fraction := true
		switch text[len(text)-1] {
		case 's':
			unit, fraction = time.Second, false
		case 'm':
			unit = time.Minute
		case 'h':
			unit = time.Hour
		case 'd':
			unit = 24 * time.Hour
		default:
			return wholeSpan(text, unit)
		}
		text = text[:len(text)-1]
		if fraction && strings.Contains(text, ".") {
			return decimalSpan(text, unit)
		}
	}
	return wholeSpan(text, unit)
}

func wholeSpan(text string, unit time.Duration) (time.Duration, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || !digits(text) || n > int64(math.MaxInt64/unit) {
		return 0, errSpan
	}
	return time.Duration(n) * unit, nil
}

func decimalSpan(text string, unit time.Duration) (time.Duration, error) {
	whole, part, _ := strings.Cut(text, ".")
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || !digits(whole) || !digits(part) || f*float64(unit) >= math.MaxInt64/2 {
		return 0, errSpan
	}
	return time.Duration(f * float64(unit)).Truncate(time.Second), nil
}

func spanText(d time.Duration) string {
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}} {
		if d != 0 && d%u.unit == 0 {
			return strconv.FormatInt(int64(d/u.unit), 10) + u.name
		}
	}
	if d%time.Second != 0 {
		return strconv.FormatInt(d.Milliseconds(), 10) + "ms"
	}
	return strconv.FormatInt(int64(d/time.Second), 10) + "s"
}

// integer is a whole number within bounds. words are texts for numbers.
func integer[T any](at func(*T) *int, low, high int, words ...word[int]) field[T] {
	return field[T]{
		parse: func(t *T, v value) error {
			if n, ok := lookup(words, v.text); ok {
				*at(t) = n.value
				return nil
			}
			n, err := strconv.Atoi(v.text)
			if err != nil || !digits(v.text) || n < low || n > high {
				return fmt.Errorf("parameter %q must be a number from %d to %d%s", v.name, low, high, orWords(words))
			}
			*at(t) = n
			return nil
		},
		print: func(t *T) string {
			for _, w := range words {
				if w.value == *at(t) {
					return w.text
				}
			}
			return strconv.Itoa(*at(t))
		},
	}
}

// amount is a 64-bit number, with K, M, G or T (powers of 1024) if it has one.
func amount[T any](at func(*T) *uint64) field[T] {
	return field[T]{
		parse: func(t *T, v value) error {
			number := strings.TrimSuffix(strings.TrimSuffix(strings.ToUpper(v.text), "B"), "I")
			shift := 0
			if i := strings.IndexAny(number, "KMGT"); i >= 0 && i == len(number)-1 {
				shift = 10 * (1 + strings.IndexByte("KMGT", number[i]))
				number = number[:i]
			}
			n, err := strconv.ParseUint(number, 10, 64)
			if err != nil || !digits(number) || n > math.MaxUint64>>shift {
				return fmt.Errorf("parameter %q must be a number, perhaps with Ki, Mi, Gi or Ti", v.name)
			}
			*at(t) = n << shift
			return nil
		},
		print: func(t *T) string { return strconv.FormatUint(*at(t), 10) },
	}
}

// port is a port number; 0 is the default.
func port[T any](at func(*T) *uint16) field[T] {
	return field[T]{
		parse: func(t *T, v value) error {
			n, err := strconv.ParseUint(v.text, 10, 16)
			if err != nil || n == 0 || !digits(v.text) {
				return fmt.Errorf("parameter %q must be a port from 1 to 65535", v.name)
			}
			*at(t) = uint16(n)
			return nil
		},
		print: func(t *T) string {
			if *at(t) == 0 {
				return ""
			}
			return strconv.Itoa(int(*at(t)))
		},
	}
}

// percent is an integer and %, which may exceed 100.
func percent[T any](at func(*T) *int) field[T] {
	return field[T]{
		parse: func(t *T, v value) error {
			number, ok := strings.CutSuffix(v.text, "%")
			n, err := strconv.Atoi(number)
			if !ok || err != nil || !digits(number) || n > 1000000 {
				return fmt.Errorf("%s must be nnn%%", v.name)
			}
			*at(t) = n
			return nil
		},
		print: func(t *T) string { return strconv.Itoa(*at(t)) + "%" },
	}
}

// text keeps a value as it is.
func text[T any](at func(*T) *string) field[T] {
	return field[T]{
		parse: func(t *T, v value) error { *at(t) = v.text; return nil },
		print: func(t *T) string { return *at(t) },
	}
}

// list is blank-separated words. none, if not empty, is the word for no words.
func list[T any](at func(*T) *[]string, none string) field[T] {
	return field[T]{
		parse: func(t *T, v value) error {
			*at(t) = strings.Fields(v.text)
			if v.text == none {
				*at(t) = nil
			}
			return nil
		},
		print: func(t *T) string {
			if len(*at(t)) == 0 {
				return none
			}
			return strings.Join(*at(t), " ")
		},
	}
}

// word is one text of an enumeration. notYet, if set, is why the value is
// refused today.
type word[E any] struct {
	text   string
	value  E
	notYet string
}

func lookup[E any](words []word[E], text string) (word[E], bool) {
	for _, w := range words {
		if strings.EqualFold(w.text, text) {
			return w, true
		}
	}
	return word[E]{}, false
}

func orWords[E any](words []word[E]) string {
	var b strings.Builder
	for _, w := range words {
		b.WriteString(" or " + w.text)
	}
	return b.String()
}

// enum is one of several words; the first of each value is printed.
func enum[T any, E comparable](at func(*T) *E, words ...word[E]) field[T] {
	var texts []string
	for _, w := range words {
		texts = append(texts, w.text)
	}
	return field[T]{
		parse: func(t *T, v value) error {
			w, ok := lookup(words, v.text)
			if !ok {
				return mendable{fmt.Errorf("illegal %s value %q", v.name, v.text), "one of " + strings.Join(texts, ", ")}
			}
			if w.notYet != "" {
				return notYet{w.notYet}
			}
			*at(t) = w.value
			return nil
		},
		print: func(t *T) string {
			for _, w := range words {
				if w.value == *at(t) && w.notYet == "" {
					return w.text
				}
			}
			return ""
		},
	}
}

// tristate is yes, no, or the word for leaving it open.
func tristate[T any](at func(*T) *ike.Tristate, words ...word[ike.Tristate]) field[T] {
	return enum(at, append(words, word[ike.Tristate]{"yes", ike.Yes, ""}, word[ike.Tristate]{"no", ike.No, ""})...)
}

// option keeps the value of a keyword that later work will type.
func option[T any](at func(*T) *map[string]string, key string) field[T] {
	return field[T]{
		parse: func(t *T, v value) error {
			m := at(t)
			if *m == nil {
				*m = make(map[string]string)
			}
			(*m)[key] = v.text
			return nil
		},
		print: func(t *T) string { return (*at(t))[key] },
	}
}
