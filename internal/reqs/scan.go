package reqs

import (
	"cmp"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Scan looks through a tree, from its root, for what names a number.
func (c *Catalogue) Scan(root fs.FS) ([]Evidence, error) {
	var found []Evidence
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "bin"):
			return fs.SkipDir
		case d.IsDir():
			return nil
		}
		scan := c.scanner(name)
		if scan == nil {
			return nil
		}
		text, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		list, err := scan(name, text)
		found = append(found, list...)
		return err
	})
	slices.SortFunc(found, func(a, b Evidence) int {
		return cmp.Or(a.Number.compare(b.Number), cmp.Compare(a.File, b.File), cmp.Compare(a.Name, b.Name))
	})
	return slices.Compact(found), err
}

// scanner is how a file is read; nil: not at all.
func (c *Catalogue) scanner(name string) func(string, []byte) ([]Evidence, error) {
	dir := path.Dir(name)
	switch {
	case strings.HasPrefix(name, "internal/reqs/"):
		return nil // numbers of examples
	case strings.HasSuffix(name, "_test.go"):
		return c.scanTests
	case dir == "scenarios" && path.Ext(name) == ".txt":
		return c.scanScenario
	case path.Ext(name) == ".txt" && strings.Contains("/"+dir+"/", "/testdata/"):
		return c.scanExample
	}
	return nil
}

// scanTests takes the comments of every test, benchmark and fuzz function: the
// one above it and those inside. What helpers and tables say proves nothing by
// itself.
func (c *Catalogue) scanTests(name string, text []byte) ([]Evidence, error) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	var found []Evidence
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Recv != nil || !runs(fn.Name.Name) {
			continue
		}
		from := fn.Pos()
		if fn.Doc != nil {
			from = fn.Doc.Pos()
		}
		for _, n := range c.named(fn.Name.Name) {
			found = append(found, Evidence{n, false, name, fn.Name.Name})
		}
		for _, comment := range f.Comments {
			if comment.Pos() < from || comment.End() > fn.End() {
				continue
			}
			for _, n := range c.numbers(comment.Text()) {
				found = append(found, Evidence{n, false, name, fn.Name.Name})
			}
		}
	}
	return found, nil
}

func runs(name string) bool {
	for _, kind := range []string{"Test", "Benchmark", "Fuzz"} {
		if strings.HasPrefix(name, kind) {
			return true
		}
	}
	return false
}

// scanScenario takes the captions of a scenario's steps.
func (c *Catalogue) scanScenario(name string, text []byte) ([]Evidence, error) {
	var found []Evidence
	in := ""
	for line := range strings.Lines(string(text)) {
		if section, ok := strings.CutPrefix(line, "-- "); ok {
			in, _, _ = strings.Cut(section, " --")
			continue
		}
		if in != "steps" || line[0] != '#' {
			continue
		}
		for _, n := range c.numbers(line) {
			found = append(found, Evidence{n, true, name, strings.TrimSuffix(path.Base(name), ".txt")})
		}
	}
	return found, nil
}

// scanExample takes the text before the first section of an archive of
// examples.
func (c *Catalogue) scanExample(name string, text []byte) ([]Evidence, error) {
	head := string(text)
	if i := strings.Index("\n"+head, "\n-- "); i >= 0 {
		head = head[:i]
	}
	var found []Evidence
	for _, n := range c.numbers(head) {
		found = append(found, Evidence{n, false, name, path.Base(name)})
	}
	return found, nil
}
