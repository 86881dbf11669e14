package archtest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	module = "cygnet"
	root   = "../.."
)

// testOnly is the layer of packages that only tests and tools may import.
const testOnly = 100

// row is a line of the table in ARCHITECTURE.md.
type row struct {
	layer int
	pure  bool
}

var rowForm = regexp.MustCompile("^\\| `([^`]+)` \\| .+ \\| (\\d+|test) \\| (yes)? ?\\|$")

func table(t *testing.T) map[string]row {
	t.Helper()
	rows := map[string]row{}
	s := bufio.NewScanner(bytes.NewReader(page(t)))
	for s.Scan() {
		m := rowForm.FindStringSubmatch(s.Text())
		if m == nil {
			continue
		}
		layer := testOnly
		if m[2] != "test" {
			layer, _ = strconv.Atoi(m[2])
		}
		if _, twice := rows[m[1]]; twice {
			t.Errorf("ARCHITECTURE.md has %s twice", m[1])
		}
		rows[m[1]] = row{layer, m[3] == "yes"}
	}
	if len(rows) < 10 {
		t.Fatalf("only %d rows found in the table of ARCHITECTURE.md", len(rows))
	}
	return rows
}

func page(t *testing.T) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// pkg is what go list tells of a package.
type pkg struct {
	ImportPath, Dir, Doc string
	Imports              []string
	GoFiles              []string
	CgoFiles             []string
}

// name is the import path without the module: cmd/ipsec; the module's own
// package keeps its name.
func (p pkg) name() string { return strings.TrimPrefix(p.ImportPath, module+"/") }

// local is the name of an imported package, if it is one of this module's.
func local(imp string) (name string, ours bool) {
	if imp == module {
		return module, true
	}
	return strings.CutPrefix(imp, module+"/")
}

func packages(t *testing.T) []pkg {
	t.Helper()
	visit(t)
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Dir,Doc,Imports,GoFiles,CgoFiles", "./...")
	cmd.Dir = root
	var diag bytes.Buffer
	cmd.Stderr = &diag
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, diag.String())
	}
	var all []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// visit looks at every directory. go test remembers what this process reads,
// not what go list reads, and must not take an old result for a changed tree.
func visit(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.Name() == ".git" || d.Name() == "bin":
			return fs.SkipDir
		case strings.HasSuffix(path, ".go"):
			_, err = os.Stat(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestTableNamesEveryPackage(t *testing.T) {
	rows := table(t)
	found := map[string]bool{}
	for _, p := range packages(t) {
		found[p.name()] = true
		if _, ok := rows[p.name()]; !ok {
			t.Errorf("package %s is not in ARCHITECTURE.md", p.name())
		}
	}
	for name := range rows {
		if !found[name] {
			t.Errorf("ARCHITECTURE.md has %s, which does not exist", name)
		}
	}
}

func TestEveryPackageIsDocumented(t *testing.T) {
	for _, p := range packages(t) {
		if p.Doc == "" && len(p.GoFiles) > 0 {
			t.Errorf("package %s has no documentation", p.name())
		}
	}
}

func TestArrowsPointDown(t *testing.T) {
	rows := table(t)
	for _, p := range packages(t) {
		for _, imp := range p.Imports {
			name, ours := local(imp)
			if !ours {
				continue
			}
			from, to := rows[p.name()].layer, rows[name].layer
			if to > from {
				t.Errorf("%s (layer %d) imports %s (layer %d)", p.name(), from, name, to)
			}
		}
	}
}

// forbidden is what a pure package must not import, prefixes ending in a
// slash.
var forbidden = []string{
	"os", "os/", "net", "net/", "syscall", "golang.org/x/sys/", "io/ioutil",
	"log", "log/", "sync", "sync/", "context", "runtime", "runtime/", "time/",
	"crypto/rand", "math/rand", "math/rand/", "testing", "plugin", "embed", "C",
}

// exceptions are imports that a pure package needs all the same.
var exceptions = map[string]string{
	"internal/ipsec context":    "Backend's methods take a context; ipsec itself never waits",
	"internal/oe context":       "Resolver.Lookup takes a context; oe itself never waits",
	"internal/sim context":      "its data plane implements ipsec.Backend, whose methods take a context",
	"internal/sim sync":         "a Backend may be called by several goroutines; backendtest does",
	"internal/sim math/rand/v2": "streams of octets from a seed",
	"internal/esp sync/atomic":  "one SA is sealed on several cores; its sequence number must not repeat",
}

func TestPurePackagesArePure(t *testing.T) {
	rows := table(t)
	used := map[string]bool{}
	for _, p := range packages(t) {
		if !rows[p.name()].pure {
			continue
		}
		for _, imp := range p.Imports {
			name, ours := local(imp)
			if ours && !rows[name].pure && !slices.Contains(valuesOnly, p.name()+" "+name) {
				t.Errorf("pure %s imports %s, which is not", p.name(), name)
			}
			if !impure(imp) {
				continue
			}
			key := p.name() + " " + imp
			if exceptions[key] == "" {
				t.Errorf("pure %s imports %s", p.name(), imp)
			}
			used[key] = true
		}
		for _, call := range clockCalls(t, p) {
			t.Errorf("pure %s reads the clock: %s", p.name(), call)
		}
	}
	for key := range exceptions {
		if !used[key] {
			t.Errorf("exception %q is no longer needed", key)
		}
	}
}

// valuesOnly are imports of packages that can do I/O for the sake of their
// plain types.
var valuesOnly = []string{
	"internal/connection internal/config",
	"internal/pki internal/config", // its FS as well, which others implement
	"internal/manual internal/config",
	"internal/check internal/config",
	"internal/sim internal/config",
}

func impure(imp string) bool {
	if imp == "net/netip" {
		return false
	}
	for _, f := range forbidden {
		if imp == f || strings.HasSuffix(f, "/") && strings.HasPrefix(imp, f) {
			return true
		}
	}
	return false
}

var clockNames = []string{"Now", "Since", "Until", "After", "AfterFunc", "Sleep", "Tick", "NewTimer", "NewTicker"}

// clockCalls lists where a package uses what package time has beyond values.
func clockCalls(t *testing.T, p pkg) []string {
	t.Helper()
	var found []string
	fset := token.NewFileSet()
	for _, name := range p.GoFiles {
		f, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(clockNames, sel.Sel.Name) {
				found = append(found, fset.Position(sel.Pos()).String()+": time."+sel.Sel.Name)
			}
			return true
		})
	}
	return found
}

// walls are imports that layers alone would allow.
var walls = []struct{ from, to, why string }{
	{"internal/ikev1", "internal/ikev2", "the two versions do not know each other"},
	{"internal/ikev2", "internal/ikev1", "the two versions do not know each other"},
	{"internal/klips", "internal/ike", "a data plane knows no IKE"},
	{"internal/klips", "internal/ikev2", "a data plane knows no IKE"},
	{"internal/klips", "internal/pluto", "a data plane does not know the daemon"},
	{"internal/xfrm", "internal/ike", "a data plane knows no IKE"},
	{"internal/pluto", "internal/klips", "pluto knows ipsec.Backend; the command chooses one"},
	{"internal/pluto", "internal/xfrm", "pluto knows ipsec.Backend; the command chooses one"},
	{"internal/whack", "internal/pluto", "the protocol does not know the daemon"},
	{"internal/lab", "internal/pluto", "the lab looks at real programs from outside"},
	{"internal/demo", "internal/pluto", "the demo runs real programs from outside"},
}

func TestWalls(t *testing.T) {
	imports := map[string][]string{}
	for _, p := range packages(t) {
		imports[p.name()] = p.Imports
		if len(p.CgoFiles) > 0 {
			t.Errorf("%s uses cgo: the binary is static", p.name())
		}
	}
	for _, w := range walls {
		if slices.Contains(imports[w.from], path.Join(module, w.to)) {
			t.Errorf("%s imports %s: %s", w.from, w.to, w.why)
		}
	}
}

// identifier is `package.Name` or `package.type.method`; of two words the
// second begins with a capital letter, or it is a file's name.
var identifier = regexp.MustCompile("`([a-z][a-z0-9]*)\\.(?:([A-Z]\\w*)|(\\w+\\.\\w+))`")

// Every identifier of the page exists.
func TestNamesInWalksExist(t *testing.T) {
	declared := map[string]bool{}
	known := map[string]bool{}
	for _, p := range packages(t) {
		known[path.Base(p.name())] = true
		for _, n := range declarations(t, p) {
			declared[path.Base(p.name())+"."+n] = true
		}
	}
	matches := identifier.FindAllStringSubmatch(string(page(t)), -1)
	if len(matches) < 10 {
		t.Errorf("only %d identifiers in ARCHITECTURE.md: the walks are gone", len(matches))
	}
	for _, m := range matches {
		name := m[1] + "." + m[2] + m[3]
		if !known[m[1]] {
			t.Errorf("ARCHITECTURE.md names %s, but there is no package %s", name, m[1])
		} else if !declared[name] {
			t.Errorf("ARCHITECTURE.md names %s, which does not exist", name)
		}
	}
}

// declarations lists the names of a package: X, and X.Method for the methods of
// types and interfaces.
func declarations(t *testing.T, p pkg) []string {
	t.Helper()
	var names []string
	fset := token.NewFileSet()
	for _, file := range p.GoFiles {
		f, err := parser.ParseFile(fset, filepath.Join(p.Dir, file), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				names = append(names, funcName(d))
			case *ast.GenDecl:
				for _, s := range d.Specs {
					names = append(names, specNames(s)...)
				}
			}
		}
	}
	return names
}

func funcName(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return d.Name.Name
	}
	typ := d.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	switch generic := typ.(type) {
	case *ast.IndexExpr:
		typ = generic.X
	case *ast.IndexListExpr:
		typ = generic.X
	}
	return typ.(*ast.Ident).Name + "." + d.Name.Name
}

func specNames(s ast.Spec) []string {
	switch s := s.(type) {
	case *ast.ValueSpec:
		var names []string
		for _, n := range s.Names {
			names = append(names, n.Name)
		}
		return names
	case *ast.TypeSpec:
		names := []string{s.Name.Name}
		if i, ok := s.Type.(*ast.InterfaceType); ok {
			for _, m := range i.Methods.List {
				for _, n := range m.Names {
					names = append(names, s.Name.Name+"."+n.Name)
				}
			}
		}
		return names
	}
	return nil
}
