package updown

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// recorder keeps what a Runner tells.
type recorder struct {
	mu      sync.Mutex
	lines   []string
	results chan Result
}

func newRunner(t *testing.T, o Options) (*Runner, *recorder) {
	t.Helper()
	rec := &recorder{results: make(chan Result, 10000)}
	o.Done = func(r Result) { rec.results <- r }
	o.Output = func(c Call, line string) {
		rec.mu.Lock()
		rec.lines = append(rec.lines, line)
		rec.mu.Unlock()
	}
	r := New(o)
	t.Cleanup(r.Close)
	return r, rec
}

func (rec *recorder) result(t *testing.T) Result {
	t.Helper()
	select {
	case r := <-rec.results:
		return r
	case <-time.After(time.Minute):
		t.Fatal("no result")
		return Result{}
	}
}

func (rec *recorder) output() []string {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	return rec.lines
}

// script writes an executable shell script and returns its path.
func script(t *testing.T, body string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+body+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return file
}

// call is one call of a script, without variables.
func call(verb string, command ...string) Call {
	return Call{Name: "west-east", Verb: verb, Command: command, Env: [][]string{nil}}
}

func submit(t *testing.T, r *Runner, c Call) {
	t.Helper()
	if err := r.Submit(c); err != nil {
		t.Fatal(err)
	}
}

func TestStatus(t *testing.T) {
	for _, c := range []struct {
		verb, body string
		line       string
		aborts     bool
	}{
		{"up-client", "exit 0", "", false},
		{"up-client", "exit 7", "up-client command exited with status 7", true},
		{"route-host-v6", "exit 1", "route-host-v6 command exited with status 1", true},
		{"prepare-client", "exit 1", "prepare-client command exited with status 1", false},
		{"down-client", "exit 3", "down-client command exited with status 3", false},
		{"up-host", "kill -TERM $$", "up-host command exited with signal 15", true},
	} {
		r, rec := newRunner(t, Options{})
		submit(t, r, call(c.verb, script(t, c.body)))
		got := rec.result(t)
		if got.Line() != c.line || got.Aborts() != c.aborts {
			t.Errorf("%s with %q: %q, aborts %v; want %q, %v", c.verb, c.body, got.Line(), got.Aborts(), c.line, c.aborts)
		}
	}
}

func TestCommandsThatCannotRun(t *testing.T) {
	plain := filepath.Join(t.TempDir(), "plain")
	os.WriteFile(plain, nil, 0o644)
	for name, command := range map[string][]string{
		"it is empty":                   nil,
		"is not an absolute path":       {"./x"},
		`there is no "no-such-command"`: {"no-such-command"},
		"permission denied":             {plain},
	} {
		r, rec := newRunner(t, Options{})
		submit(t, r, call("up-client", command...))
		if got := rec.result(t); got.Err == nil || !strings.Contains(got.Err.Error(), name) {
			t.Errorf("%q: %v, want %q", command, got.Err, name)
		}
	}
}

func TestCommandsAreFound(t *testing.T) {
	self := script(t, `echo "called $0 with $1"`)
	r, rec := newRunner(t, Options{Ipsec: self})
	submit(t, r, call("up-client", "ipsec", "_updown"))
	submit(t, r, call("up-client", "echo", "plain", "a;b", "$HOME"))
	for range 2 {
		if got := rec.result(t); got.Err != nil {
			t.Error(got.Err)
		}
	}
	want := []string{"called " + self + " with _updown", "plain a;b $HOME"} // arguments are not for a shell
	if got := rec.output(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("output %q, want %q", got, want)
	}
}

// CTL-10: nothing of this process gets into a command.
func TestNothingIsInherited(t *testing.T) {
	t.Setenv("SECRET_OF_THE_DAEMON", "x")
	file, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := syscall.Dup(int(file.Fd())); err != nil { // one that exec would leave open
		t.Fatal(err)
	}
	r, rec := newRunner(t, Options{Env: []string{"IPSEC_RUNDIR=/run/lab"}})
	c := call("up-client", script(t, `/usr/bin/env; pwd; for f in /proc/self/fd/*; do echo "fd ${f##*/}"; done; read x || echo end of input`))
	c.Env = [][]string{{"PLUTO_VERB=up-client"}}
	submit(t, r, c)
	if got := rec.result(t); got.Err != nil {
		t.Fatal(got.Err)
	}
	allowed := map[string]bool{"PATH=" + path: true, "IPSEC_RUNDIR=/run/lab": true, "PLUTO_VERB=up-client": true,
		"PWD=/": true, "_=/usr/bin/env": true, "OLDPWD=/": true, "/": true, "end of input": true}
	seen := map[string]bool{}
	for _, line := range rec.output() {
		seen[line] = true
		if n, ok := strings.CutPrefix(line, "fd "); ok {
			// The shell has its script open, and the directory that it lists.
			if fd, _ := strconv.Atoi(n); fd > 3 && fd != 10 {
				t.Errorf("descriptor %s is open", n)
			}
			continue
		}
		if !allowed[line] {
			t.Errorf("found %q", line)
		}
	}
	for _, want := range []string{"PATH=" + path, "IPSEC_RUNDIR=/run/lab", "PLUTO_VERB=up-client", "/", "end of input"} {
		if !seen[want] {
			t.Errorf("%q is missing", want)
		}
	}
}

// Calls of one connection keep their order; a slow one does not hold up
// another connection.
func TestOrder(t *testing.T) {
	r, rec := newRunner(t, Options{})
	gate := filepath.Join(t.TempDir(), "gate")
	wait := script(t, `while [ ! -e `+gate+` ]; do /bin/sleep 0.02; done; echo slow "$1"`)
	for i := range 3 {
		submit(t, r, call("up-client", wait, strconv.Itoa(i)))
	}
	other := call("up-client", script(t, "echo other"))
	other.Name = "other"
	submit(t, r, other)
	instance := call("up-client", script(t, "echo instance"))
	instance.Instance = 2
	submit(t, r, instance)
	for range 2 {
		if got := rec.result(t); got.Name == "west-east" && got.Instance == 0 {
			t.Fatal("a command that waits has ended")
		}
	}
	os.WriteFile(gate, nil, 0o600)
	for i := range 3 {
		if got := rec.result(t); got.Err != nil || got.Command[1] != strconv.Itoa(i) {
			t.Errorf("%d: %+v", i, got)
		}
	}
	out := rec.output()
	if got := strings.Join(out[2:], ","); got != "slow 0,slow 1,slow 2" {
		t.Errorf("output %q", out)
	}
}

func TestOnceForEachEnvironment(t *testing.T) {
	r, rec := newRunner(t, Options{})
	c := call("up-client", script(t, `echo "$N"; [ "$N" != 2 ]`))
	c.Env = [][]string{{"N=1"}, {"N=2"}, {"N=3"}}
	submit(t, r, c)
	if got := rec.result(t); !got.Aborts() {
		t.Errorf("%v", got.Err)
	}
	if got := strings.Join(rec.output(), ","); got != "1,2" {
		t.Errorf("ran for %s, want 1,2", got)
	}
	c.Env = make([][]string, maxEnvironments+1)
	submit(t, r, c)
	if got := rec.result(t); got.Err == nil {
		t.Error("no bound of environments")
	}
}

// CTL-09: a command that hangs is killed with what it has started.
func TestTimeLimit(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pids")
	r, rec := newRunner(t, Options{Limit: 300 * time.Millisecond})
	start := time.Now()
	submit(t, r, call("up-client", script(t, `trap "" TERM; /bin/sleep 600 & echo $! $$ > `+pids+`; wait; wait`)))
	got := rec.result(t)
	if want := "up-client command was killed: it took longer than 300ms"; got.Line() != want || !got.Aborts() {
		t.Errorf("%q, want %q", got.Line(), want)
	}
	if d := time.Since(start); d > 20*time.Second {
		t.Errorf("it took %v", d)
	}
	b, err := os.ReadFile(pids)
	if err != nil {
		t.Skip("the machine was too slow for the script to start") // the limit held all the same
	}
	for _, p := range strings.Fields(string(b)) {
		pid, _ := strconv.Atoi(p)
		if !gone(pid) {
			t.Errorf("process %d still runs", pid)
		}
	}
}

// gone waits for a process to be dead; a zombie is.
func gone(pid int) bool {
	for range 200 {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(b), ") Z ") {
			return true
		}
		time.Sleep(10 * time.Millisecond)
	}
	return false
}

// A command may leave something running, which is not waited for.
func TestBackground(t *testing.T) {
	pidFile := filepath.Join(t.TempDir(), "pid")
	r, rec := newRunner(t, Options{})
	start := time.Now()
	submit(t, r, call("up-client", script(t, `/bin/sleep 600 & echo $! > `+pidFile+`; echo started`)))
	got := rec.result(t)
	if got.Err != nil {
		t.Error(got.Err)
	}
	if d := time.Since(start); d > 20*time.Second {
		t.Errorf("the result came after %v", d)
	}
	b, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Errorf("what it left running: %v", err)
	}
}

// CTL-09: output without end neither fills our memory nor the log.
func TestMuchOutput(t *testing.T) {
	r, rec := newRunner(t, Options{Limit: 2 * time.Second})
	submit(t, r, call("up-client", "yes", strings.Repeat("x", 100)))
	submit(t, r, call("up-client", "head", "-c", "20000000", "/dev/zero")) // one line of 20 MB
	rec.result(t)
	if got := rec.result(t); got.Err != nil {
		t.Error(got.Err)
	}
	total := 0
	out := rec.output()
	for _, line := range out {
		total += len(line)
	}
	if total > 2*maxOutput {
		t.Errorf("%d octets were passed on", total)
	}
	if last := out[len(out)-1]; len(last) != 4*maxLine+3 || !strings.HasSuffix(last, `\x00...`) {
		t.Errorf("a long line ends as %q", last[len(last)-20:])
	}
	if note := out[len(out)-2]; !strings.Contains(note, "the rest is not shown") {
		t.Errorf("what is left out is not said: %q", note)
	}
}

func TestBounds(t *testing.T) {
	r, rec := newRunner(t, Options{})
	gate := filepath.Join(t.TempDir(), "gate")
	wait := script(t, `while [ ! -e `+gate+` ]; do /bin/sleep 0.02; done`)
	for range maxPerConnection {
		submit(t, r, call("up-client", wait))
	}
	start := time.Now()
	if err := r.Submit(call("up-client", wait)); !errors.Is(err, ErrFull) {
		t.Errorf("one too many: %v", err)
	}
	if d := time.Since(start); d > time.Second {
		t.Errorf("Submit took %v", d)
	}
	os.WriteFile(gate, nil, 0o600)
	for range maxPerConnection {
		if got := rec.result(t); got.Err != nil {
			t.Error(got.Err)
		}
	}
	submit(t, r, call("up-client", wait)) // there is room again
	rec.result(t)
}

func TestDrain(t *testing.T) {
	r, rec := newRunner(t, Options{})
	for range 3 {
		submit(t, r, call("down-client", script(t, "/bin/sleep 0.05")))
	}
	r.Drain(context.Background())
	if err := r.Submit(call("up-client", "true")); !errors.Is(err, ErrClosed) {
		t.Errorf("after Drain: %v", err)
	}
	for range 3 {
		if got := rec.result(t); got.Err != nil {
			t.Error(got.Err)
		}
	}
}

func TestClose(t *testing.T) {
	r, rec := newRunner(t, Options{})
	for range 3 {
		submit(t, r, call("up-client", "sleep", "600"))
	}
	start := time.Now()
	r.Close()
	if d := time.Since(start); d > 20*time.Second {
		t.Errorf("Close took %v", d)
	}
	for range 3 {
		if got := rec.result(t); got.Err == nil {
			t.Error("a command that was killed, or never ran, ended well")
		}
	}
}
