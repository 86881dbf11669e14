package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cygnet/internal/lab/labtest"
)

func write(t *testing.T, name, text string, mode os.FileMode) string {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, mode); err != nil { // whatever the umask
		t.Fatal(err)
	}
	return name
}

// The whole way from a directory to the model, as IPSEC_CONFS has it.
// R7.2.
func TestLoad(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("IPSEC_CONFS", dir)
	write(t, filepath.Join(dir, "ipsec.conf"), "config setup\n\tsecretsperm=strict\ninclude ipsec.d/*.conf\n", 0o644)
	if err := os.MkdirAll(filepath.Join(dir, "ipsec.d", "private"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "ipsec.d", "x.conf"), "conn x\n left=192.0.2.1\n right=198.51.100.1\n authby=secret\n", 0o644)
	write(t, filepath.Join(dir, "ipsec.secrets"), "192.0.2.1 198.51.100.1 : PSK \"of more than twenty octets\"\n", 0o600)
	f := Load("")
	if f.Err() != nil || f.Conn("x") == nil || f.Conn("x").Where.File != filepath.Join(dir, "ipsec.d", "x.conf") {
		t.Fatalf("errors %v, conns %v", f.Errors, f.Conns)
	}
	if s := LoadSecrets("", &f.Setup); len(s.Entries) != 1 || len(s.Errors) > 0 {
		t.Errorf("%d entries, %v", len(s.Entries), s.Errors)
	}
	if f := Load(t.TempDir()); f.Err() != nil || len(f.Warnings) != 1 || len(f.Conns) != len(implicitConns) {
		t.Errorf("an empty directory: errors %v, warnings %v", f.Errors, f.Warnings)
	}
}

// CFG-08 and CFG-09 on real files: what is refused, and with what reason.
func TestSecretsFileSafety(t *testing.T) {
	dir := t.TempDir()
	const text = "@a @b : PSK \"a secret of more than twenty octets\"\n"
	good := write(t, filepath.Join(dir, "good"), text, 0o600)
	open := write(t, filepath.Join(dir, "open"), text, 0o644)
	link := filepath.Join(dir, "link")
	if err := os.Symlink(good, link); err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	big := write(t, filepath.Join(dir, "big"), strings.Repeat(text, 1<<20/len(text)+1), 0o600)
	loose := filepath.Join(dir, "loose")
	if err := os.Mkdir(loose, 0o700); err != nil {
		t.Fatal(err)
	}
	inLoose := write(t, filepath.Join(loose, "secrets"), text, 0o600)
	if err := os.Chmod(loose, 0o777); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		good: "", open: "has mode 0644", link: "is a symbolic link", fifo: "is not a regular file", dir: "is not a regular file",
		big: "is longer than 1048576 octets", inLoose: "which others may write to", "/dev/zero": "is not a regular file",
	} {
		done := make(chan *Secrets, 1)
		go func() { done <- ParseSecrets(OS{}, name, SecretsOptions{}) }()
		select {
		case s := <-done:
			if want == "" && len(s.Entries) == 1 && len(s.Errors) == 0 {
				continue
			}
			if want == "" || len(s.Entries) != 0 || len(s.Errors) != 1 || !strings.Contains(s.Errors[0].Error(), want) || !strings.Contains(s.Errors[0].Error(), name) {
				t.Errorf("%s: %d entries, %v; want %q", name, len(s.Entries), s.Errors, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: reading hangs", name)
		}
	}
}

func TestSecretsForeignOwner(t *testing.T) {
	labtest.Need(t, os.Geteuid() == 0, "root, who alone can give files away")
	name := write(t, filepath.Join(t.TempDir(), "s"), "@a : PSK \"a secret of more than twenty octets\"\n", 0o600)
	labtest.Need(t, os.Chown(name, 12345, 0) == nil, "a user namespace with more than one user")
	if s := ParseSecrets(OS{}, name, SecretsOptions{}); len(s.Entries) != 0 || len(s.Errors) != 1 || !strings.Contains(s.Errors[0].Text, "belongs to user 12345") {
		t.Errorf("%d entries, %v", len(s.Entries), s.Errors)
	}
}

// CFG-10: what is said is about the file that was opened.
func TestReadJudgesTheDescriptor(t *testing.T) {
	dir := t.TempDir()
	name := write(t, filepath.Join(dir, "s"), "one", 0o640)
	data, info, err := OS{}.Read(name, 100)
	if err != nil || string(data) != "one" || info.Mode != 0o640 || info.Symlink || !info.Trusted {
		t.Errorf("%q, %+v, %v", data, info, err)
	}
	if _, _, err := (OS{}).Read(filepath.Join(dir, "none"), 100); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	st, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	other := write(t, filepath.Join(dir, "other"), "two", 0o600)
	if err := os.Rename(other, name); err != nil {
		t.Fatal(err)
	}
	if !linked(name, st) {
		t.Error("a name that another file took is not noticed")
	}
}

// looseDir looks at every directory above.
func TestLooseDir(t *testing.T) {
	top := t.TempDir()
	deep := filepath.Join(top, "a", "b")
	if err := os.MkdirAll(deep, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(deep, "s")
	if got := looseDir(file); got != "" {
		t.Fatalf("looseDir = %q before anything is loose", got)
	}
	for mode, want := range map[os.FileMode]string{0o777: filepath.Join(top, "a"), 0o770: filepath.Join(top, "a"), 0o777 | os.ModeSticky: "", 0o755: ""} {
		if err := os.Chmod(filepath.Join(top, "a"), mode); err != nil {
			t.Fatal(err)
		}
		if got := looseDir(file); got != want {
			t.Errorf("mode %v: looseDir = %q, want %q", mode, got, want)
		}
	}
}
