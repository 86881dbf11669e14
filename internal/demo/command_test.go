package demo

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"cygnet/internal/lab"
	"cygnet/internal/lab/labtest"
)

func TestList(t *testing.T) {
	var out bytes.Buffer
	c := NewCommand()
	c.SetOut(&out)
	c.SetArgs([]string{"list"})
	if err := c.Execute(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"site-to-site", "site-to-site-rsa", "subnets", "four-tunnels", "internet-as-subnet"} {
		if !strings.Contains(out.String(), "\n"+name+" ") && !strings.HasPrefix(out.String(), name+" ") {
			t.Errorf("%s is not listed in\n%s", name, out.String())
		}
	}
}

func TestChoose(t *testing.T) {
	for _, tt := range []struct {
		opt   options
		names []string
		want  string // names joined, or the beginning of an error
	}{
		{options{}, nil, "site-to-site"},
		{options{}, []string{"trap", "crash"}, "trap crash"},
		{options{}, []string{"moon"}, `no scenario "moon"`},
		{options{}, []string{"../../scenarios/nat.txt"}, "nat"},
		{options{}, []string{"moon.txt"}, "open moon.txt: no such file"},
		{options{keep: true}, []string{"trap", "crash"}, "--keep works with one scenario"},
	} {
		got := ""
		chosen, err := tt.opt.choose(tt.names)
		for _, s := range chosen {
			got = strings.TrimSpace(got + " " + s.Name)
		}
		if err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, tt.want) {
			t.Errorf("%v: %s, want %s", tt.names, got, tt.want)
		}
	}
	if all, err := (options{all: true}).choose(nil); err != nil || len(all) < 5 {
		t.Errorf("--all: %d scenarios, %v", len(all), err)
	}
}

const nobody = 65534

// ordinary is the ipsec command as an ordinary user runs it.
func ordinary(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	labtest.New(t, "probe")
	cmd := exec.Command(labtest.Binary(t), args...)
	cmd.Dir = os.TempDir()
	if os.Getuid() == 0 && !lab.Inside() {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	return cmd
}

// Without any privilege the demo builds its network all the same, and what it
// prints can be read by programs.
func TestOrdinaryUser(t *testing.T) {
	cmd := ordinary(t, "demo", "--json", "site-to-site")
	var diag bytes.Buffer
	cmd.Stderr = &diag
	out, err := cmd.Output()
	if err != nil && strings.Contains(diag.String(), "user namespaces can be made") {
		labtest.Need(t, false, "user namespaces for ordinary users")
	}
	if err != nil {
		t.Fatalf("%v\n%s%s", err, out, diag.String())
	}
	var got struct {
		Version   int
		Scenarios []Outcome
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v in\n%s", err, out)
	}
	if got.Version != 1 || len(got.Scenarios) != 1 || !got.Scenarios[0].OK || len(got.Scenarios[0].Transfers) != 1 {
		t.Errorf("outcome: %s", out)
	}
}

// A demo that is left standing can be entered and removed.
func TestKeepShellStop(t *testing.T) {
	run := func(args ...string) string {
		t.Helper()
		cmd := ordinary(t, append([]string{"demo"}, args...)...)
		cmd.Env = append(os.Environ(), "TMPDIR="+shared(t))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("demo %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	if out := run("--keep", "trap"); !strings.Contains(out, "The network stands.") {
		t.Errorf("--keep: %s", out)
	}
	if out := run("shell", "west", "ipsec", "eroute"); !strings.Contains(out, "192.168.200.0/24") {
		t.Errorf("eroutes of west: %s", out)
	}
	run("stop")
	left, err := filepath.Glob(filepath.Join(shared(t), "demo*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// shared is a private directory of the user that ordinary runs as.
func shared(t *testing.T) string {
	dir := filepath.Join(os.TempDir(), "kd-"+strconv.Itoa(os.Getpid()))
	err := os.Mkdir(dir, 0o700)
	if err == nil && os.Getuid() == 0 && !lab.Inside() {
		err = os.Chown(dir, nobody, nobody)
	}
	if err != nil && !os.IsExist(err) {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// Interrupted in the middle, the demo cleans up.
func TestInterrupt(t *testing.T) {
	labtest.New(t, "probe")
	cmd := exec.Command(labtest.Binary(t), "demo", "crash")
	files := t.TempDir()
	cmd.Env = append(os.Environ(), "TMPDIR="+files)
	var out safeBuffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if !lab.WaitFor(20*time.Second, func() bool { return strings.Contains(out.String(), "setup start") }) {
		t.Errorf("does not get going:\n%s", out.String())
	}
	cmd.Process.Signal(os.Interrupt)
	if err := cmd.Wait(); err == nil {
		t.Error("exit code 0 though interrupted")
	}
	left, _ := filepath.Glob("/run/netns/demo" + strconv.Itoa(cmd.Process.Pid) + "-*")
	dirs, _ := filepath.Glob(filepath.Join(files, "demo*"))
	if len(left)+len(dirs) > 0 {
		t.Errorf("left behind: %v %v", left, dirs)
	}
}

// safeBuffer may be written and read by two goroutines.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
