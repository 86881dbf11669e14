package pluto

import (
	"fmt"

	"cygnet/internal/config"
	"cygnet/internal/whack"
	"cygnet/internal/why"
)

// why is the answer to `ipsec why`; nil if there is no connection of that name.
func (d *Daemon) why(name string) *why.Document {
	doc := &why.Document{Schema: whack.Schema, Connections: []*why.Connection{}}
	for _, b := range d.table.Blames(name) {
		doc.Connections = append(doc.Connections, why.Explain(b, d.lineOf(b.Name)))
	}
	if name != "" && len(doc.Connections) == 0 {
		return nil
	}
	return doc
}

// lineOf finds where a keyword of a connection stands, or where the connection
// begins if the keyword is not given.
func (d *Daemon) lineOf(name string) func(key string) (string, int) {
	var c *config.Conn
	if f := d.loaded[name]; f != nil {
		c = f.Conn(name)
	}
	return func(key string) (string, int) {
		if c == nil {
			return "", 0
		}
		at, ok := c.Keys[key]
		if !ok {
			at = c.Where
		}
		return at.File, at.Line
	}
}

// noSuch is the refusal of a name that no connection has.
func noSuch(name string) whack.Reply {
	return failed(whack.ExitNoConn, whack.CodeUnknown, fmt.Sprintf("no connection named %q", name))
}
