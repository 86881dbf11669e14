package config

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// placed is an item with its place, or the end of an included file.
type placed struct {
	at   Pos
	item item // nil: a border between files, which ends a section
	err  *lexError
}

// reader expands includes into one sequence of items.
type reader struct {
	fsys     FS
	out      []placed
	fatal    []Problem // without which nothing can be trusted
	warnings []Problem
	infos    map[string]Info
	files    int
	copy     func(at Pos, line string) // called for every line that is not an include
}

// readAll reads a file and what it includes. A missing main file is an empty
// configuration (freeswan.md 2.2).
func (r *reader) readAll(name string) {
	data, info, err := r.fsys.Read(name, maxConfSize)
	if errors.Is(err, fs.ErrNotExist) {
		r.warnings = append(r.warnings, Problem{File: name, Text: "no such file, so the configuration is empty"})
		return
	}
	r.read(name, data, info, err, Pos{File: name}, 0)
}

func (r *reader) read(name string, data []byte, info Info, err error, from Pos, depth int) {
	if err != nil {
		r.fatal = append(r.fatal, *problemAt(from, "", fmt.Sprintf("cannot open configuration file %q: %s", name, reason(err)), ""))
		return
	}
	r.files++
	r.infos[name] = info
	text := string(data)
	if strings.HasPrefix(text, "\xef\xbb\xbf") {
		r.fatal = append(r.fatal, Problem{File: name, Line: 1, Text: "file begins with a byte order mark", Mend: "save it without one"})
		return
	}
	if before, _, dos := strings.Cut(text, "\r\n"); dos {
		r.fatal = append(r.fatal, Problem{File: name, Line: 1 + strings.Count(before, "\n"), Text: "line ends in a carriage return", Mend: "convert the file from DOS to Unix line ends"})
		return
	}
	number := 0
	for line := range strings.Lines(text) {
		number++
		r.line(Pos{name, number}, strings.TrimSuffix(line, "\n"), depth)
	}
}

func (r *reader) line(at Pos, line string, depth int) {
	if len(r.fatal) > 0 {
		return
	}
	var it item
	var err *lexError
	if len(line) > maxLine {
		err = &lexError{text: fmt.Sprintf("line is longer than %d octets", maxLine)}
	} else {
		it, err = lexLine(line)
	}
	if inc, ok := it.(includeItem); ok {
		r.out = append(r.out, placed{at: at})
		r.include(at, inc.pattern, depth+1)
		r.out = append(r.out, placed{at: at})
		return
	}
	if err != nil && err.key == "include" {
		r.fatal = append(r.fatal, *problemAt(at, "", err.text, err.mend))
		return
	}
	if r.copy != nil {
		r.copy(at, line)
	}
	if it != nil || err != nil {
		r.out = append(r.out, placed{at, it, err})
	}
}

// include reads the files that one include line names.
func (r *reader) include(at Pos, pattern string, depth int) {
	fail := func(text, mend string) { r.fatal = append(r.fatal, *problemAt(at, "include", text, mend)) }
	if depth > maxDepth {
		fail(fmt.Sprintf("includes are nested deeper than %d", maxDepth), "does a file include itself?")
		return
	}
	target := relativeTo(at.File, pattern)
	names := []string{target}
	if hasWildcard(pattern) {
		var err error
		if names, err = r.fsys.Glob(target); err != nil {
			fail(fmt.Sprintf("bad pattern %q: %v", pattern, err), "")
			return
		}
		if len(names) == 0 {
			r.warnings = append(r.warnings, *problemAt(at, "include", fmt.Sprintf("no file matches %q", target), ""))
		}
	}
	for _, name := range names {
		if r.files >= maxFiles {
			fail(fmt.Sprintf("more than %d files", maxFiles), "")
			return
		}
		if len(r.fatal) > 0 {
			return
		}
		data, info, err := r.fsys.Read(name, maxConfSize)
		r.read(name, data, info, err, at, depth)
		r.out = append(r.out, placed{at: at})
	}
}
