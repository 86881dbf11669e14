package main

import (
	"os"
	"path/filepath"
	"testing"
)

// systemd's list of jobs says whether it stops us for good.
func TestRestarting(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	for _, x := range []struct {
		name, script string
		want         bool
	}{
		{"restart", "echo '4711 ipsec.service restart running'", true},
		{"stop", "echo '4711 ipsec.service stop running'", false},
		{"another's restart", "echo '4711 ssh.service restart running'; echo '4712 ipsec.service stop running'", false},
		{"no job", "echo No jobs running.", false},
		{"no systemd", "echo 'System has not been booted with systemd' >&2; exit 1", false},
	} {
		if err := os.WriteFile(filepath.Join(dir, "systemctl"), []byte("#!/bin/sh\n"+x.script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		if got := restarting(t.Context(), "ipsec.service"); got != x.want {
			t.Errorf("%s: %v", x.name, got)
		}
	}
}
