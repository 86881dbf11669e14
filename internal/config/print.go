package config

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// Write prints a configuration as ipsec.conf text that reads as the same
// model: version 2, without includes, also= and defaults, only what differs
// from the defaults. Keys of manual keying are never printed, only their
// lengths; such a connection does not read again.
func (f *File) Write(w io.Writer) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "version 2\n\nconfig setup\n")
	blank := newSetup(Dialect2)
	writeFields(b, "", setupKeys, &f.Setup, &blank)
	for _, c := range f.CAs {
		fmt.Fprintf(b, "\nca %s\n", c.Name)
		writeFields(b, "", caKeys, c, &CA{})
	}
	for _, c := range f.Conns {
		if !c.Implicit {
			fmt.Fprintln(b)
			c.write(b)
		}
	}
	for _, name := range f.replaced {
		if f.Conn(name) == nil { // it was only switched off
			fmt.Fprintf(b, "\nconn %s\n\tauto=ignore\n", name)
		}
	}
	return b.Flush()
}

// String is the section of the connection as Write prints it.
func (c *Conn) String() string {
	var b strings.Builder
	c.write(&b)
	return b.String()
}

func (c *Conn) write(w io.Writer) {
	fmt.Fprintf(w, "conn %s\n", c.Name)
	blank := newConn(Dialect2)
	writeFields(w, "left", endKeys, c.endOf(&c.Left), &blank.Left)
	writeFields(w, "right", endKeys, c.endOf(&c.Right), &blank.Right)
	writeFields(w, "", connKeys, c, &blank)
	if c.Legacy && c.Version == blank.Version { // legacy= alone would mean IKEv1
		fmt.Fprintf(w, "\tkeyexchange=ikev%d\n", c.Version)
	}
}

// endOf is an end without the methods that it has from authby=.
func (c *Conn) endOf(e *End) *End {
	d := *e
	if len(d.Auth) == len(c.AuthBy) {
		same := true
		for i := range d.Auth {
			same = same && d.Auth[i] == c.AuthBy[i]
		}
		if same {
			d.Auth = nil
		}
	}
	return &d
}

// writeFields prints every member that is not as in blank.
func writeFields[T any](w io.Writer, side string, table []keyword[T], t, blank *T) {
	for i := range table {
		k := &table[i]
		text := k.field.print(t)
		if text == k.field.print(blank) {
			continue
		}
		fmt.Fprintf(w, "\t%s%s=%s\n", side, k.name, quote(text))
	}
}

// quote encloses a value that would not read as itself without quotes. Values
// never contain quotes.
func quote(text string) string {
	if text == "" || strings.ContainsAny(text, " \t#{}") {
		return `"` + text + `"`
	}
	return text
}
