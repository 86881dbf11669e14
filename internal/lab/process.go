package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Result is what a finished command left.
type Result struct {
	Exit           int
	Stdout, Stderr string
}

// Output is what the command printed, standard error last.
func (r Result) Output() string { return r.Stdout + r.Stderr }

// Run runs a command in the host's namespace and waits for it. env is added to
// the environment of this process. An exit code other than 0 is not an error;
// a command that cannot be started, or was ended because ctx was done, is.
//
// Output goes through files, so a daemon that the command leaves behind with
// the same standard error does not keep Run waiting.
func (h *Host) Run(ctx context.Context, env []string, name string, args ...string) (Result, error) {
	out, err := os.CreateTemp("", "lab-out-")
	if err != nil {
		return Result{}, err
	}
	defer removeClosed(out)
	diag, err := os.CreateTemp("", "lab-err-")
	if err != nil {
		return Result{}, err
	}
	defer removeClosed(diag)

	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = out, diag
	if err := h.start(cmd); err != nil {
		return Result{}, err
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		return Result{}, fmt.Errorf("run %s on %s: %w", filepath.Base(name), h.Name, errors.Join(err, ctx.Err()))
	}
	r := Result{Exit: cmd.ProcessState.ExitCode()}
	r.Stdout, r.Stderr = contentOf(out), contentOf(diag)
	return r, nil
}

func (h *Host) start(cmd *exec.Cmd) error {
	err := h.Do(cmd.Start)
	if err != nil {
		return fmt.Errorf("start %s on %s: %w", filepath.Base(cmd.Path), h.Name, err)
	}
	return nil
}

func contentOf(f *os.File) string {
	b, err := os.ReadFile(f.Name())
	if err != nil {
		return ""
	}
	return string(b)
}

func removeClosed(f *os.File) {
	f.Close()
	os.Remove(f.Name())
}

// Process is a program that runs in a host until it is ended.
type Process struct {
	Pid  int
	Log  string // file with its output
	cmd  *exec.Cmd
	done chan struct{}
}

// Start starts cmd in the host's namespace with its output in the file log.
func (h *Host) Start(cmd *exec.Cmd, log string) (*Process, error) {
	if err := os.MkdirAll(filepath.Dir(log), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	cmd.Stdout, cmd.Stderr = f, f
	if err := h.start(cmd); err != nil {
		return nil, err
	}
	p := &Process{Pid: cmd.Process.Pid, Log: log, cmd: cmd, done: make(chan struct{})}
	go func() {
		cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Stop asks the process to end (SIGTERM), and after grace makes it.
func (p *Process) Stop(grace time.Duration) {
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(grace):
		p.Kill()
	}
}

// Kill ends the process as a crash would.
func (p *Process) Kill() {
	p.cmd.Process.Kill()
	<-p.done
}

// Processes lists the processes of other programs that live in the host's
// namespace.
func (h *Host) Processes() ([]int, error) {
	var ours unix.Stat_t
	if err := unix.Fstat(int(h.ns), &ours); err != nil {
		return nil, fmt.Errorf("namespace %s: %w", h.Netns, err)
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		var st unix.Stat_t
		if unix.Stat(fmt.Sprintf("/proc/%d/ns/net", pid), &st) == nil && st.Ino == ours.Ino && st.Dev == ours.Dev && !Gone(pid) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// EndProcesses ends whatever still runs in the host's namespace: first by
// SIGTERM, after three seconds by SIGKILL.
func (h *Host) EndProcesses() error {
	pids, err := h.Processes()
	if err != nil {
		return err
	}
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		for _, pid := range pids {
			syscall.Kill(pid, sig)
		}
		if waitGone(pids, 3*time.Second) {
			return nil
		}
	}
	return fmt.Errorf("processes on %s do not end: %v", h.Name, pids)
}

func waitGone(pids []int, limit time.Duration) bool {
	return WaitFor(limit, func() bool {
		for _, pid := range pids {
			if !Gone(pid) {
				return false
			}
		}
		return true
	})
}

// Gone reports whether a process has ended. One that only waits to be reaped
// has: the init of a container may take seconds over that.
func Gone(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, after, ok := bytes.Cut(b[max(0, bytes.LastIndexByte(b, ')')):], []byte(") "))
	return ok && strings.HasPrefix(string(after), "Z")
}

// WaitFor polls cond until it holds, and reports whether it did within limit.
func WaitFor(limit time.Duration, cond func() bool) bool {
	for end := time.Now().Add(limit); ; time.Sleep(10 * time.Millisecond) {
		if cond() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}

func isClosed(err error) bool {
	return errors.Is(err, os.ErrClosed) || errors.Is(err, net.ErrClosed)
}
