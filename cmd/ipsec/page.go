package main

import (
	"fmt"
	"io"
	"strings"
)

// page is a page of the reference: `ipsec help` shows it, and `ipsec man` makes
// a manual page of it.
type page struct {
	name    string // as it is asked for
	section int    // of the manual
	about   string // in one line
	parts   []part
}

// part is what stands under one heading: paragraphs, lines as they are, and
// words that are explained.
type part struct {
	heading string
	text    []string
	example []string
	items   []item
}

type item struct {
	term string
	text string
}

const pageWidth = 78 // columns of help on a terminal

// writeText writes the page for a terminal.
func (p *page) writeText(w io.Writer) {
	fmt.Fprintf(w, "%s - %s\n", p.name, p.about)
	for _, s := range p.parts {
		fmt.Fprintf(w, "\n%s\n", s.heading)
		for _, t := range s.text {
			fmt.Fprintln(w, "\n"+wrapped(t, "  "))
		}
		if len(s.example) > 0 {
			fmt.Fprintln(w)
		}
		for _, line := range s.example {
			fmt.Fprintln(w, strings.TrimRight("      "+line, " "))
		}
		if len(s.items) > 0 {
			fmt.Fprintln(w)
		}
		for _, i := range s.items {
			i.writeText(w)
		}
	}
}

func (i item) writeText(w io.Writer) {
	fmt.Fprintf(w, "  %s\n%s\n", i.term, wrapped(i.text, "      "))
}

// wrapped breaks text into indented lines of at most pageWidth columns.
func wrapped(text, indent string) string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len([]rune(indent+line+" "+word)) > pageWidth {
			lines = append(lines, indent+line)
			line = ""
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	return strings.Join(append(lines, indent+line), "\n")
}

// writeMan writes the page in the language of man(7).
func (p *page) writeMan(w io.Writer) {
	fmt.Fprintf(w, ".TH %s %d \"\" \"Cygnet %s\" \"Cygnet\"\n.SH NAME\n%s \\- %s\n", strings.ToUpper(p.name), p.section, release, roff(p.name), roff(p.about))
	for _, s := range p.parts {
		fmt.Fprintf(w, ".SH %s\n", roff(strings.ToUpper(s.heading)))
		for _, t := range s.text {
			fmt.Fprintf(w, ".PP\n%s\n", roff(t))
		}
		if len(s.example) > 0 {
			fmt.Fprint(w, ".PP\n.nf\n.RS\n")
			for _, line := range s.example {
				fmt.Fprintln(w, roff(line))
			}
			fmt.Fprint(w, ".RE\n.fi\n")
		}
		for _, i := range s.items {
			fmt.Fprintf(w, ".TP\n\\fB%s\\fR\n%s\n", roff(i.term), roff(i.text))
		}
	}
}

// roff keeps text from being read as requests: a backslash begins an escape, a
// hyphen becomes a dash, and a line that begins with a point or an apostrophe is
// a request. What is not ASCII is named by its number.
func roff(text string) string {
	var b strings.Builder
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		b.WriteString(`\&`)
	}
	for _, r := range text {
		switch {
		case r == '\\':
			b.WriteString(`\e`)
		case r == '-':
			b.WriteString(`\-`)
		case r > '~':
			fmt.Fprintf(&b, `\[u%04X]`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
