package config

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "rewrite the expectations in testdata")

// Each file of testdata/conf is a txtar archive: what it shows, the files of a
// configuration (ipsec.conf first), and what is made of them: the model as
// ipsec.conf text, then the errors and warnings.
func TestConf(t *testing.T) {
	golden(t, "testdata/conf/*.txt", func(fsys MapFS) string {
		f := Parse(fsys, "ipsec.conf")
		var b strings.Builder
		if err := f.Write(&b); err != nil {
			t.Fatal(err)
		}
		for _, p := range f.Errors {
			fmt.Fprintf(&b, "error%s: %v\n", of(p), p)
		}
		for _, p := range f.Warnings {
			fmt.Fprintf(&b, "warning%s: %v\n", of(p), p)
		}
		return b.String()
	})
}

// Likewise for ipsec.secrets in testdata/secrets: entries, errors, warnings.
func TestSecrets(t *testing.T) {
	golden(t, "testdata/secrets/*.txt", func(fsys MapFS) string {
		s := ParseSecrets(fsys, "ipsec.secrets", SecretsOptions{PrivateDir: "private"})
		var b strings.Builder
		for _, e := range s.Entries {
			fmt.Fprintln(&b, describeSecret(e))
		}
		for _, p := range s.Errors {
			fmt.Fprintf(&b, "error: %v\n", p)
		}
		for _, p := range s.Warnings {
			fmt.Fprintf(&b, "warning: %v\n", p)
		}
		return b.String()
	})
}

func of(p Problem) string {
	if p.Conn == "" {
		return ""
	}
	return " of " + p.Conn
}

func golden(t *testing.T, pattern string, result func(MapFS) string) {
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) == 0 {
		t.Fatalf("no files %s: %v", pattern, err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			a, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			fsys := MapFS{Files: make(map[string]string)}
			want, at := "", -1
			for i, f := range a.Files {
				if f.Name == "want" {
					want, at = string(f.Data), i
					continue
				}
				fsys.Files[f.Name] = string(f.Data)
			}
			got := result(fsys)
			if got == want {
				return
			}
			if !*update {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
				return
			}
			if at < 0 {
				a.Files, at = append(a.Files, txtar.File{Name: "want"}), len(a.Files)
			}
			a.Files[at].Data = []byte(got)
			if err := os.WriteFile(name, bytes.TrimLeft(txtar.Format(a), "\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		})
	}
}
