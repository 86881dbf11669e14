package check

import (
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"cygnet/internal/config"
)

// Whatever stands in the files, rules find places that exist, and the edits
// they offer can be made, once: the second time there is nothing left to mend
// by them.
func FuzzRules(f *testing.F) {
	names, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		a, err := txtar.ParseFile(name)
		if err != nil {
			f.Fatal(err)
		}
		var conf, secrets string
		for _, file := range a.Files {
			switch {
			case strings.HasSuffix(file.Name, ".conf") && conf == "":
				conf = string(file.Data)
			case strings.HasSuffix(file.Name, ".secrets") && secrets == "":
				secrets = string(file.Data)
			}
		}
		f.Add(conf, secrets)
	}
	f.Fuzz(func(t *testing.T, conf, secrets string) {
		fsys := config.MapFS{Files: map[string]string{"a.conf": conf, "a.secrets": secrets, "b.conf": conf, "b.secrets": secrets}}
		report := Run(Load(fsys, "a.conf", Options{Now: clock}), Load(fsys, "b.conf", Options{Now: clock}))
		for _, found := range report.Findings {
			if found.What == "" || found.Why == "" || found.Line > strings.Count(fsys.Files[found.File], "\n")+1 {
				t.Errorf("%+v", found)
			}
		}
		for name, text := range fsys.Files {
			mended, _, err := Apply(text, name, report.Findings)
			if err != nil {
				t.Fatal(err)
			}
			fsys.Files[name] = mended
		}
		for _, found := range Run(Load(fsys, "a.conf", Options{Now: clock})).Findings {
			if found.Edit != nil {
				t.Errorf("still to be mended: %+v %+v", found, *found.Edit)
			}
		}
	})
}
