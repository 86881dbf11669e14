package sim

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "write the traces of testdata anew")

// Every file of testdata is a scenario: what it shows in words, the commands,
// and the history that they have. No scenario may breach a rule.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { scenario(t, file) })
	}
}

func scenario(t *testing.T, file string) {
	a, err := txtar.ParseFile(file)
	if err != nil || len(a.Files) == 0 || a.Files[0].Name != "script" {
		t.Fatalf("no script in it: %v", err)
	}
	w, err := RunScript(string(a.Files[0].Data), IKEv2)
	if err != nil {
		t.Errorf("%v\n%s", err, w.Trace)
	}
	if len(w.Breaches) > 0 {
		t.Errorf("breaches: %v\n%s", w.Breaches, w.Trace)
	}
	got := w.Trace.String()
	if strings.Contains(got, "unreadable") {
		t.Errorf("a message was protected by keys that an observer of all secrets does not find\n%s", got)
	}
	if *update {
		a.Files = append(a.Files[:1:1], txtar.File{Name: "trace", Data: []byte(got)})
		if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if len(a.Files) != 2 {
		t.Fatal("no trace in it; run go test -update")
	}
	if d := cmp.Diff(strings.Split(string(a.Files[1].Data), "\n"), strings.Split(got, "\n")); d != "" {
		t.Errorf("the history differs (-want +got); -update if that is right:\n%s", d)
	}
}
