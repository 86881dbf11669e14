package nameserver

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func link(device string, servers []string, domains ...string) Link {
	l := Link{Device: device, Domains: domains}
	for _, s := range servers {
		l.Servers = append(l.Servers, netip.MustParseAddr(s))
	}
	return l
}

// recorder is a resolvectl that writes down how it was called, and fails where
// it is told something about ipsec9.
func recorder(t *testing.T, dir string) (path, log string) {
	t.Helper()
	path, log = filepath.Join(dir, "resolvectl"), filepath.Join(dir, "log")
	script := "#!/bin/sh\necho \"$*\" >> " + log + "\ntest \"$2\" != ipsec9\n"
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return path, log
}

func TestMachine(t *testing.T) {
	dir := t.TempDir()
	command, log := recorder(t, dir)
	file := filepath.Join(dir, "resolv.conf")
	if err := os.WriteFile(file, []byte("nameserver 192.0.2.9\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m := New(Options{File: file, Resolvectl: command, Failed: func(err error) { t.Error(err) }}, []string{"ipsec0"})
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what a crashed daemon has left is still there: %v", err)
	}
	both := []Link{link("ipsec0", []string{"10.2.0.53", "2001:db8::53"}, "corp.example", "lab.example"), link("ipsec1", []string{"10.3.0.53"})}
	m.Set(both)
	m.Set(both)
	got, err := os.ReadFile(file)
	const want = `# Name servers that IPsec connections have brought. Written by pluto.
# by ipsec0, for corp.example lab.example
nameserver 10.2.0.53
nameserver 2001:db8::53
# by ipsec1, for all names
nameserver 10.3.0.53
`
	if err != nil || string(got) != want {
		t.Errorf("%v\n%s", err, got)
	}
	m.Set(both[1:])
	m.Close()
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file outlives the daemon: %v", err)
	}
	calls, err := os.ReadFile(log)
	const wantCalls = `revert ipsec0
dns ipsec0 10.2.0.53 2001:db8::53
domain ipsec0 ~corp.example ~lab.example
dns ipsec1 10.3.0.53
domain ipsec1 ~.
revert ipsec0
revert ipsec1
`
	if err != nil || string(calls) != wantCalls {
		t.Errorf("%v\n%s", err, calls)
	}
}

func TestFailure(t *testing.T) {
	dir := t.TempDir()
	command, _ := recorder(t, dir)
	var mu sync.Mutex // resolvectl is run by a goroutine
	var failures []string
	m := New(Options{File: filepath.Join(dir, "no", "resolv.conf"), Resolvectl: command,
		Failed: func(err error) {
			mu.Lock()
			defer mu.Unlock()
			failures = append(failures, err.Error())
		}}, []string{"ipsec9"})
	m.Set([]Link{link("ipsec9", []string{"10.2.0.53"})})
	m.Close()
	got := strings.Join(failures, "\n")
	if !strings.Contains(got, "write name servers") || !strings.Contains(got, `resolvectl ["dns" "ipsec9" "10.2.0.53"]: exit status 1`) {
		t.Errorf("%s", got)
	}
}
