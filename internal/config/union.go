package config

import (
	"fmt"
	"strings"
)

// Union is Parse with one connection more: it has the parameters of all parts,
// as `ipsec manual --union` wants it. It returns that connection, or what is
// wrong with it; parts may be sections that are no connections by themselves.
func Union(fsys FS, file string, parts []string) (*File, *Conn, *Problem) {
	name := strings.Join(parts, ".")
	for _, part := range parts {
		if !sectionName(part) || strings.Contains(part, "/") {
			return nil, nil, &Problem{File: file, Text: fmt.Sprintf("%q is not the name of a connection", part)}
		}
	}
	if len(parts) > 1 {
		fsys = appended{fsys, file, "\nconn " + name + "\n\talso=" + strings.Join(parts, "\n\talso=") + "\n"}
	}
	f := Parse(fsys, file)
	if err := f.Err(); err != nil {
		return f, nil, f.Problem("")
	}
	if c := f.Conn(name); c != nil {
		return f, c, nil
	}
	if p := f.Problem(name); p != nil {
		return f, nil, p
	}
	return f, nil, &Problem{File: file, Text: fmt.Sprintf("%s makes no connection", strings.Join(parts, " and "))}
}

// appended is a file system in which one file has more text at its end.
type appended struct {
	FS
	name, text string
}

// Read implements FS.
func (a appended) Read(name string, limit int) ([]byte, Info, error) {
	b, info, err := a.FS.Read(name, limit)
	if err == nil && name == a.name {
		b = append(append(b[:len(b):len(b)], '\n'), a.text...)
	}
	return b, info, err
}
