package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"cygnet/internal/config"
	"cygnet/internal/lab/labtest"
)

// R12.19: an installation has all that starts the service at boot, and a
// configuration that is right as it stands.
func TestInstall(t *testing.T) {
	_, err := exec.LookPath("make")
	labtest.Need(t, err == nil, "make")
	dir, bin := t.TempDir(), filepath.Join(t.TempDir(), "ipsec")
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	install := exec.Command("make", "-C", "../..", "install-files", "DESTDIR="+dir, "PREFIX=/usr", "BIN="+bin)
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for file, want := range map[string]string{
		"usr/sbin/ipsec":                                 "",
		"usr/lib/systemd/system/ipsec.service":           "ExecStart=/usr/sbin/ipsec pluto --boot\n",
		"etc/init.d/ipsec":                               "ipsec=/usr/sbin/ipsec\n",
		"etc/ipsec.conf":                                 "interfaces=%defaultroute\n",
		"usr/share/man/man8/ipsec.8":                     "ipsec",
		"usr/share/man/man8/ipsec-setup.8":               "start",
		"usr/share/man/man5/ipsec.conf.5":                "keylife",
		"usr/share/man/man5/ipsec.secrets.5":             "PSK",
		"usr/share/man/man7/ipsec-json.7":                "schema",
		"usr/share/bash-completion/completions/ipsec":    "ipsec",
		"usr/share/zsh/site-functions/_ipsec":            "#compdef",
		"usr/share/fish/vendor_completions.d/ipsec.fish": "ipsec",
	} {
		b, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Error(err)
		} else if !strings.Contains(string(b), want) {
			t.Errorf("%s does not contain %q", file, want)
		}
	}
	if f := config.Load(filepath.Join(dir, "etc")); f.Err() != nil || len(f.Errors)+len(f.Warnings) > 0 {
		t.Errorf("ipsec.conf: %v %v %v", f.Err(), f.Errors, f.Warnings)
	}
	init := filepath.Join(dir, "etc/init.d/ipsec")
	if out, err := exec.Command("sh", "-n", init).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if err := exec.Command(init, "frobnicate").Run(); err == nil || !strings.Contains(err.Error(), "exit status") {
		t.Errorf("init script with a word that it does not know: %v", err)
	}
}
