// Package labtest joins package lab to go test: tests that need network
// namespaces or foreign programs say so through it. It stays apart from lab so
// that the ipsec command, which carries the lab for its demo, does not carry
// package testing.
package labtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"cygnet/internal/lab"
)

// Main is TestMain for packages with lab tests: where this process may not
// make network namespaces, it runs the tests in a user namespace.
//
//	func TestMain(m *testing.M) { labtest.Main(m) }
func Main(m *testing.M) {
	if !lab.CanBuild() && !lab.Inside() {
		if code, err := lab.Isolate(); err == nil {
			os.Exit(code)
		}
	}
	if err := lab.Settle(); err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
	code := m.Run()
	if used.Load() {
		if path, err := built(); err == nil {
			os.RemoveAll(filepath.Dir(path))
		}
	}
	os.Exit(code)
}

// Need skips the test when a precondition is missing, and fails it instead
// when CI=true: there everything must be present.
func Need(t testing.TB, present bool, what string) {
	t.Helper()
	switch {
	case present:
	case os.Getenv("CI") == "true":
		t.Fatalf("needs %s", what)
	default:
		t.Skipf("needs %s", what)
	}
}

// serial keeps the names of labs of one process apart.
var serial atomic.Int32

// Prefix makes word unique on this machine.
func Prefix(word string) string { return fmt.Sprintf("%s%d-%d", word, os.Getpid(), serial.Add(1)) }

// New makes a lab that is closed when the test ends.
func New(t testing.TB, prefix string) *lab.Lab {
	t.Helper()
	Need(t, lab.CanBuild(), "network namespaces (root or user namespaces)")
	if err := lab.Sweep(prefix, ""); err != nil { // of runs that were killed
		t.Log("sweep:", err)
	}
	l, err := lab.New(Prefix(prefix), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error("close lab:", err)
		}
	})
	return l
}

var used atomic.Bool // somebody asked for Binary

// built is the path of the ipsec command once it is built, "" where that failed.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "cygnet-bin-")
	if err != nil {
		return "", err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // tests run it as other users too
		return "", err
	}
	path := filepath.Join(dir, "ipsec")
	cmd := exec.Command("go", "build", "-o", path, "cygnet/cmd/ipsec")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the ipsec command: %w\n%s", err, out)
	}
	return path, nil
})

// Binary is the path of the ipsec command, built from this tree.
func Binary(t testing.TB) string {
	t.Helper()
	used.Store(true)
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return path
}
