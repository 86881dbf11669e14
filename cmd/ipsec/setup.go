package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/syslog"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"cygnet/internal/config"
	"cygnet/internal/whack"
)

const (
	startLimit = 30 * time.Second // a start that takes longer has failed
	stopLimit  = 10 * time.Second // for Deletes and clean-up, before a signal
	killLimit  = 5 * time.Second  // after SIGTERM, before SIGKILL
	pollEvery  = 20 * time.Millisecond
)

var setupOperations = []string{"start", "stop", "restart", "force-reload", "status"}

func newSetup() *cobra.Command {
	c := &cobra.Command{
		Use:   "setup [--show|--showonly] start|stop|restart|status",
		Short: "Start and stop the whole system, as at boot",
		Long: `setup starts the key daemon in the background, with everything that auto= asks
for, or stops it and removes its devices, routes and firewall rules.`,
		ValidArgs: setupOperations,
		Args:      cobra.MaximumNArgs(1),
	}
	var how setupOptions
	c.Flags().BoolVar(&how.json, "json", false, "print the state, or the outcome, as JSON")
	c.Flags().BoolVar(&how.show, "show", false, "print the actions as well")
	c.Flags().BoolVar(&how.only, "showonly", false, "print the actions and do nothing")
	c.Flags().StringVar(&how.unit, "unit", "", "stop on behalf of systemd, which may be about to start this unit again")
	for _, op := range setupOperations {
		c.Flags().Bool(op, false, "the same as the word "+op)
		c.Flags().MarkHidden(op)
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		op, err := setupOperation(cmd, args)
		if err != nil {
			return err
		}
		return told(cmd, how.json && !how.only && op != "status", how.run(cmd, op))
	}
	return c
}

// setupVerbs are `ipsec start` and its siblings.
func setupVerbs() []*cobra.Command {
	var list []*cobra.Command
	for _, v := range []struct{ op, help string }{
		{"start", "start the whole system, as at boot"},
		{"stop", "stop it, and remove its devices, routes and firewall rules"},
		{"restart", "stop it and start it again"},
	} {
		list = append(list, &cobra.Command{
			Use:   v.op,
			Short: "Short for `ipsec setup " + v.op + "': " + v.help,
			Args:  cobra.NoArgs,
			RunE:  func(cmd *cobra.Command, _ []string) error { return setupOptions{}.run(cmd, v.op) },
		})
	}
	return list
}

type setupOptions struct {
	json, show, only bool
	unit             string
}

// run does one operation.
func (o setupOptions) run(cmd *cobra.Command, op string) error {
	at := where()
	s := &setup{ctx: cmd.Context(), at: at, conf: &config.Load(at.conf).Setup, out: cmd.OutOrStdout(), diag: cmd.ErrOrStderr()}
	switch {
	case op == "status" && (o.show || o.only):
		return fail(whack.ExitUsage, "status does nothing that --show could print")
	case op == "status":
		return s.status(o.json)
	case o.only:
		s.show(op, config.Load(at.conf))
		return nil
	}
	if os.Geteuid() != 0 {
		return fail(whack.ExitPermission, "permission denied (must be superuser)")
	}
	if o.show {
		s.show(op, config.Load(at.conf))
	}
	switch op {
	case "start":
		return s.noted(s.start())
	case "stop":
		if o.unit != "" && os.Getenv("MAINPID") == "" {
			return nil // it has ended by itself, and another may run by now
		}
		return s.noted(s.stop(o.unit != "" && restarting(s.ctx, o.unit)))
	}
	return s.noted(s.restart())
}

// setupOperation is the one operation that the words name, with or without
// dashes.
func setupOperation(cmd *cobra.Command, args []string) (string, error) {
	given := slices.Clone(args)
	for _, op := range setupOperations {
		if on, err := cmd.Flags().GetBool(op); err == nil && on {
			given = append(given, op)
		}
	}
	if len(given) != 1 || !slices.Contains(setupOperations, given[0]) {
		return "", fail(whack.ExitUsage, "exactly one of start, stop, restart and status is needed")
	}
	return given[0], nil
}

type setup struct {
	ctx       context.Context
	at        places
	conf      *config.Setup
	out, diag io.Writer

	syslogNet, syslogAddr string // empty: this machine's
}

// progress tells what is being done, on standard error and to syslog.
func (s *setup) progress(format string, args ...any) {
	fmt.Fprintf(s.diag, format+"\n", args...)
	s.note(format, args...)
}

// note tells syslog alone, labelled as syslog= says (R12.7). Where there is
// none, as in most containers, nothing is lost: standard error has it too.
func (s *setup) note(format string, args ...any) {
	w, err := syslog.Dial(s.syslogNet, s.syslogAddr, syslog.Priority(s.conf.SyslogNumber()), "ipsec_setup")
	if err != nil {
		return
	}
	defer w.Close()
	fmt.Fprintf(w, format, args...)
}

func (s *setup) say(format string, args ...any) { fmt.Fprintf(s.out, format+"\n", args...) }

// noted passes on an error, and tells syslog of it.
func (s *setup) noted(err error) error {
	if err != nil {
		s.note("%v", err)
	}
	return err
}

// running reports whether a daemon answers.
func (s *setup) running() bool {
	ctx, cancel := context.WithTimeout(s.ctx, 2*time.Second)
	defer cancel()
	return answers(ctx, s.at)
}

func (s *setup) start() error {
	if s.running() {
		return fail(whack.ExitFailed, "Cygnet IPsec apparently already running, start aborted")
	}
	if err := s.checkFiles(); err != nil {
		return err
	}
	s.progress("Starting Cygnet IPsec %s...", release)
	daemon, err := s.launch()
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- daemon.cmd.Wait() }()
	return s.awaitStart(daemon, ended)
}

// restart stops what runs, unless the files say that it could not start again:
// then it goes on. What the connections protect stays blocked in between
// (CRS-12), and after a start that fails until one succeeds or stop is said.
func (s *setup) restart() error {
	if s.running() {
		if err := s.checkFiles(); err != nil {
			return err
		}
		if err := s.stop(true); err != nil {
			return err
		}
		if err := s.start(); err != nil {
			return err
		}
		return s.dropUnnamed()
	}
	return s.start()
}

// launched is a daemon that was just started. What it prints before it logs
// where the configuration says goes into a file that has no name any more.
type launched struct {
	cmd   *exec.Cmd
	early *os.File
}

func (s *setup) launch() (*launched, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	early, err := os.CreateTemp("", "pluto-start-")
	if err != nil {
		return nil, err
	}
	os.Remove(early.Name())
	verb := "pluto"
	if !s.conf.Pluto {
		verb = "klips"
	}
	cmd := exec.Command(exe, verb, "--background")
	cmd.Stdout, cmd.Stderr = early, early
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Dir = "/"
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", verb, err)
	}
	return &launched{cmd, early}, nil
}

// awaitStart returns once the daemon has queued its start-up work, or ended.
func (s *setup) awaitStart(d *launched, ended <-chan error) error {
	defer d.early.Close()
	ctx, cancel := context.WithTimeout(s.ctx, startLimit)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		final, err := whack.Ask(ctx, s.at.socket(), whack.Request{Op: whack.OpPing}, nil)
		if err == nil && final.Exit == whack.ExitDone {
			return nil
		}
		select {
		case <-ended:
			return s.startFailed(d)
		case <-ctx.Done():
			d.cmd.Process.Signal(syscall.SIGTERM)
			return fail(whack.ExitFailed, "pluto did not become ready within %v:\n%s", startLimit, d.words())
		case <-tick.C:
		}
	}
}

func (s *setup) startFailed(d *launched) error {
	code := whack.ExitFailed
	if got := d.cmd.ProcessState.ExitCode(); whack.Exit(got).Meaning() != "" && got > 0 {
		code = whack.Exit(got)
	}
	return fail(code, "start failed: %s", d.words())
}

// words is what the daemon has printed so far.
func (d *launched) words() string {
	b, err := io.ReadAll(io.NewSectionReader(d.early, 0, 1<<16))
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(b))
}

// stop ends the daemon. With block its devices, routes and packet filter stay, so
// that nothing they protect leaves in the clear before the next one takes over.
func (s *setup) stop(block bool) error {
	s.progress("Stopping Cygnet IPsec...")
	pid := s.pid()
	if !s.running() {
		fmt.Fprintln(s.diag, "stop ordered, but IPsec does not appear to be running!")
		fmt.Fprintln(s.diag, "doing cleanup anyway...")
		s.end(pid)
		if err := s.cleanUp(); err != nil {
			return err
		}
		return ended(whack.ExitFailed)
	}
	final, err := whack.Ask(s.ctx, s.at.socket(), whack.Request{Op: whack.OpShutdown, Args: whack.Args{Block: block}}, nil)
	if err == nil && final.Exit != whack.ExitDone {
		return fail(final.Exit, "%s", final.Text)
	}
	if pid != 0 && !gone(pid, stopLimit) {
		fmt.Fprintln(s.diag, "Attempt to shut Pluto down failed!  Trying kill:")
		s.end(pid)
		if block {
			return nil
		}
		return s.cleanUp()
	}
	return nil
}

// end ends the daemon by signal, if it is there.
func (s *setup) end(pid int) {
	if pid == 0 {
		return
	}
	syscall.Kill(pid, syscall.SIGTERM)
	if !gone(pid, killLimit) {
		syscall.Kill(pid, syscall.SIGKILL)
		gone(pid, killLimit)
	}
}

// pid is the running daemon's process number, or 0. A number left by a crash
// may be another program's by now, so the program is looked at.
func (s *setup) pid() int {
	b, err := os.ReadFile(s.at.pidFile())
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || pid < 1 {
		return 0
	}
	if daemonOf(pid) == "" {
		return 0
	}
	return pid
}

// daemonOf tells which daemon of ours a process is: pluto, or klips where
// config setup says pluto=no; empty: none.
func daemonOf(pid int) string {
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return ""
	}
	words := strings.Split(string(cmdline), "\x00")
	if len(words) < 2 || words[1] != "pluto" && words[1] != "klips" {
		return ""
	}
	return words[1]
}

// gone waits until a process has ended or is only waiting to be reaped.
func gone(pid int, limit time.Duration) bool {
	for end := time.Now().Add(limit); ; time.Sleep(pollEvery) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if errors.Is(err, os.ErrNotExist) {
			return true
		}
		if _, after, ok := strings.Cut(string(stat), ") "); ok && strings.HasPrefix(after, "Z") {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}
