package updown

import (
	"os"
	"path/filepath"
	"testing"
)

// `ipsec` within a script is our own, not that of another system on the PATH;
// a command that lies where others write does not bring its directory along.
func TestPath(t *testing.T) {
	for _, x := range []struct {
		name string
		mode os.FileMode
		want bool
	}{{"ipsec", 0o755, true}, {"ipsec", 0o777, false}, {"ipsec", 0o775, false}, {"cygnet", 0o755, false}} {
		dir := t.TempDir()
		if err := os.Chmod(dir, x.mode); err != nil {
			t.Fatal(err)
		}
		want := path
		if x.want {
			want = dir + ":" + path
		}
		file := filepath.Join(dir, x.name)
		if err := os.WriteFile(file, []byte("#!/bin/sh\necho ours\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		if got := pathOf(file); got != want {
			t.Errorf("%s in a directory of mode %o: %s", x.name, x.mode, got)
		}
		if !x.want {
			continue
		}
		r, rec := newRunner(t, Options{Ipsec: file})
		submit(t, r, call("up-client", script(t, "ipsec")))
		if got := rec.result(t); got.Err != nil || len(rec.output()) != 1 || rec.output()[0] != "ours" {
			t.Errorf("a script's ipsec: %v, %q", got.Err, rec.output())
		}
	}
	if got := pathOf(""); got != path {
		t.Errorf("no command of our own: %s", got)
	}
}
