package updown

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// run runs a call with each of its environments.
func (r *Runner) run(c Call) error {
	argv, err := r.resolve(c.Command)
	if err != nil {
		return err
	}
	if len(c.Env) > maxEnvironments {
		return fmt.Errorf("not run for %d pairs of nets: more than %d", len(c.Env), maxEnvironments)
	}
	for _, env := range c.Env {
		if err := r.once(c, argv, env); err != nil {
			return err
		}
	}
	return nil
}

// once runs one command. It gets an environment of ours, no open files, a
// directory that is always there, and a process group by which it ends when
// its time is over, children and all (adversary.md CTL-09 and CTL-10).
func (r *Runner) once(c Call, argv, env []string) error {
	if err := keepFiles(); err != nil {
		return fmt.Errorf("could not be run: %w", err)
	}
	ctx, cancel := context.WithTimeout(r.ctx, r.o.Limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Args[0] = c.Command[0]
	cmd.Env = append(append([]string{"PATH=" + r.path}, r.o.Env...), env...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = drainTime
	out := &lines{emit: func(line string) { r.o.Output(c, line) }}
	cmd.Stdout, cmd.Stderr = out, out
	err := cmd.Run()
	out.flush()
	return r.explain(ctx, err)
}

// explain says how a command ended; its words follow "VERB command ".
func (r *Runner) explain(ctx context.Context, err error) error {
	var exit *exec.ExitError
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay):
		return nil
	case r.ctx.Err() != nil:
		return errors.New("was ended: the daemon stops")
	case ctx.Err() != nil:
		return fmt.Errorf("was killed: it took longer than %v", r.o.Limit)
	case !errors.As(err, &exit):
		return fmt.Errorf("could not be run: %w", err)
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return fmt.Errorf("exited with signal %d", status.Signal())
	}
	return fmt.Errorf("exited with status %d", exit.ExitCode())
}

// resolve finds the program of a command. A name without a slash is looked for
// in our own path; one with must be absolute, since we are in no directory.
func (r *Runner) resolve(command []string) ([]string, error) {
	if len(command) == 0 {
		return nil, errors.New("could not be run: it is empty")
	}
	name := command[0]
	switch {
	case name == "ipsec" && r.o.Ipsec != "":
		name = r.o.Ipsec
	case filepath.IsAbs(name):
	case strings.Contains(name, "/"):
		return nil, fmt.Errorf("could not be run: %q is not an absolute path", name)
	default:
		found, err := find(name)
		if err != nil {
			return nil, err
		}
		name = found
	}
	return append([]string{name}, command[1:]...), nil
}

// pathOf begins with the directory of our own command, so that `ipsec` in a
// script is the one that runs it even where another IPsec system is installed.
// A directory that others write to, as /tmp, is no place for commands of root.
func pathOf(ipsec string) string {
	dir := filepath.Dir(ipsec)
	info, err := os.Stat(dir)
	if filepath.Base(ipsec) != "ipsec" || !filepath.IsAbs(dir) || err != nil || info.Mode()&0o022 != 0 {
		return path
	}
	return dir + ":" + path
}

func find(name string) (string, error) {
	for _, dir := range filepath.SplitList(path) {
		file := filepath.Join(dir, name)
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return file, nil
		}
	}
	return "", fmt.Errorf("could not be run: there is no %q in %s", name, path)
}
