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

// A script may come from a file: what is wrong in it is an error with its line,
// never a panic.
func TestBadScripts(t *testing.T) {
	head := "node west 192.0.2.1\nnode east 192.0.2.2\ntunnel net west 10.1.0.0/16 east 10.2.0.0/16\n"
	for _, line := range []string{
		"node north 192.0.2", "node west 192.0.2.9", "node north 192.0.2.1", "nat 1.2.3 west", "nat 192.0.2.7 north",
		"tunnel other west 10.1.0.0 east 10.2.0.0/16", "tunnel other west 10.1.0.0/16 west 10.2.0.0/16", "tunnel net west 10.1.0.0/16 east 10.2.0.0/16",
		"tunnel other west 10.1.0.0/16 east 10.2.0.0/16 life=long", "tunnel other west 10.1.0.0/16 east 10.2.0.0/16 colour=blue",
		"link loss=much", "link weather=bad", "west up other", "west dance net", "west move nowhere", "west move 192.0.2.2", "west suspend long", "west",
		"next west east burn", "cut west north", "forge west east insult", "stream net north 1s", "run soon", "at noon run 1s", "expect miracles net", "quiet other", "seed x",
		"pool north 10.0.0.0/8", "pool west 10", "secret west north x",
	} {
		if _, err := RunScript(head+line+"\n", IKEv2); err == nil || !strings.HasPrefix(err.Error(), "line 4: ") {
			t.Errorf("%s: %v", line, err)
		}
	}
}
