package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// hookLimit is how long prepluto= and postpluto= may take.
const hookLimit = time.Minute

// runHook runs the text of prepluto= or postpluto=, which is the
// administrator's own, by a shell. Its output is logged, and so is a failure,
// which keeps nothing from going on (freeswan.md 2.7).
func runHook(ctx context.Context, name, text string, log *slog.Logger) {
	if text == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, hookLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", text)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	for line := range strings.Lines(string(out)) {
		log.Info(fmt.Sprintf("%s: %s", name, strings.TrimRight(line, "\n")))
	}
	switch {
	case ctx.Err() != nil:
		log.Warn(fmt.Sprintf("%s= was killed: it took longer than %v", name, hookLimit))
	case err != nil && !errors.Is(err, exec.ErrWaitDelay):
		log.Warn(fmt.Sprintf("%s= failed: %v", name, err))
	}
}

// self is the path of this program, for scripts that call ipsec.
func self() string {
	exe, err := os.Executable()
	if err != nil {
		return ""
	}
	return exe
}
