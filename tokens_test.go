package cygnet

import (
	"os"
	"path/filepath"
	"testing"
)

// The secret of crash detection is made once, readable by nobody else, and
// outlives the daemon; one that was cut short is replaced.
func TestTokenSecret(t *testing.T) {
	if openTokens(Options{}) != nil {
		t.Error("a secret without a place")
	}
	dir := filepath.Join(t.TempDir(), "state")
	name := filepath.Join(dir, tokenFile)
	read := func() string {
		t.Helper()
		if _, err := openTokens(Options{StateDir: dir})(); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(name)
		if err != nil || len(b) != tokenSecretLen {
			t.Fatalf("%d octets, %v", len(b), err)
		}
		return string(b)
	}
	first := read()
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if read() != first {
		t.Error("it changes")
	}
	if err := os.WriteFile(name, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if read() == first {
		t.Error("the old one came back")
	}
	if left, err := filepath.Glob(name + ".*"); err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
}
