package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSimulate(t *testing.T) {
	if r := runIpsec(t, "simulate", "--seeds", "3"); r.code != 0 || !strings.Contains(r.out, "3 seeds, ") || !strings.Contains(r.out, "violations  0") {
		t.Errorf("%+v", r)
	}
	r := runIpsec(t, "simulate", "--seeds", "2", "--seed", "7", "--json")
	var got struct {
		Schema int
		Seeds  int
		First  int `json:"first_seed"`
		Counts map[string]int64
		Failed []any `json:"violations"`
	}
	if err := json.Unmarshal([]byte(r.out), &got); err != nil || got.Schema != 1 || got.Seeds != 2 || got.First != 7 || got.Counts["exchanges"] == 0 || got.Failed == nil {
		t.Errorf("%v: %+v of %s", err, got, r.out)
	}
}

// A script is told message by message; what it breaks, and what is no command,
// are errors that name it.
func TestSimulateScripts(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return file
	}
	up := "node west 192.0.2.1\nnode east 198.51.100.2\ntunnel net west 10.1.0.0/24 east 10.2.0.0/24\nwest up net\nrun 1s\n"
	if r := runIpsec(t, "simulate", write("up", up)); r.code != 0 || !strings.Contains(r.out, "IKE_AUTH request 1") {
		t.Errorf("%+v", r)
	}
	if r := runIpsec(t, "simulate", write("bad", up+"cut west east\nquiet net\n")); r.code != 1 || !strings.Contains(r.err, "I10") {
		t.Errorf("%+v", r)
	}
	if r := runIpsec(t, "simulate", write("odd", "west dance\n")); r.code != 1 || !strings.Contains(r.err, "line 1: west dance: no such command or node") {
		t.Errorf("%+v", r)
	}
	if r := runIpsec(t, "simulate", "--seed", "5", "--trace"); r.code != 0 || !strings.HasPrefix(r.out, "seed 5\nnode west") {
		t.Errorf("%.200s", r.out)
	}
}
