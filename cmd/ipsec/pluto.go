package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/coreos/go-systemd/v22/journal"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"cygnet"
	"cygnet/internal/config"
	"cygnet/internal/pluto"
	"cygnet/internal/walls"
	"cygnet/internal/whack"
)

// exitLocked is pluto's own: another one runs (freeswan.md 4.5).
const exitLocked whack.Exit = 10

func newPluto() *cobra.Command {
	var background, boot bool
	c := &cobra.Command{
		Use:   "pluto",
		Short: "Run the key daemon in the foreground",
		Long: `pluto reads ipsec.conf and ipsec.secrets, attaches ipsec0 and its siblings, and
negotiates what the connections ask for, until SIGTERM. It logs on standard
error, reads its files again on SIGHUP, and tells systemd when it is ready.
` + "`ipsec setup start'" + ` runs it in the background.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			at := where()
			o := daemonOptions{background: background || boot}
			if boot { // R12.11
				o.noIKE = !config.Load(at.conf).Setup.Pluto
			}
			return runDaemon(cmd.Context(), at, o, cmd.ErrOrStderr())
		},
	}
	f := c.Flags()
	f.BoolVar(&background, "background", false, "log to logfile= or the journal instead of standard error")
	f.BoolVar(&boot, "boot", false, "for service managers: with --background, and without IKE if pluto=no")
	f.Bool("nofork", true, "accepted for old scripts: pluto never forks")
	f.Bool("stderrlog", true, "accepted for old scripts")
	return c
}

// daemonOptions are how a daemon is run: in the background, without IKE.
type daemonOptions struct{ background, noIKE bool }

func runDaemon(ctx context.Context, at places, o daemonOptions, stderr io.Writer) error {
	file := config.Load(at.conf) // what is wrong with it is said by Start
	setup := &file.Setup
	if p := exampleKey(file, config.LoadSecrets(at.conf, setup)); p != nil {
		return fail(whack.ExitConfig, "%w", *p)
	}
	out, err := logOutput(setup, at, o.background, stderr)
	if err != nil {
		return fail(whack.ExitFailed, "%w", err)
	}
	// A reload that comes before we can serve it must not end us.
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	// Nor must a log that nobody reads any more: without this, writing to a
	// broken pipe on standard error ends a Go program.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	log := slog.New(out)
	if err := keepSecrets(setup.DumpDir, log); err != nil {
		return fail(whack.ExitFailed, "%w", err)
	}
	if !o.noIKE {
		runHook(ctx, "prepluto", setup.PrePluto, log)
	}
	if setup.Walls { // prepluto= is before them: it may load modules
		if err := walls.Raise(); err != nil {
			log.Warn("the daemon has more privileges than it needs: " + strings.ReplaceAll(err.Error(), "\n", "; "))
		}
	}
	h, err := cygnet.Start(ctx, cygnet.Options{Version: version(), Confs: at.conf, RunDir: at.run, StateDir: at.state, NoIKE: o.noIKE, Log: log, Ipsec: self()})
	if err != nil {
		log.Error(err.Error())
		if o.background {
			fmt.Fprintln(stderr, err)
		}
		return &exitError{code: plutoExit(err)}
	}
	if !o.noIKE {
		runHook(ctx, "postpluto", setup.PostPluto, log)
	}
	for {
		select {
		case <-reload:
			if err := h.Reload(ctx); err != nil {
				log.Error("reload: " + err.Error())
			}
		case <-h.Done():
			if err := h.Wait(); err != nil {
				return fail(whack.ExitFailed, "%w", err)
			}
			return nil
		}
	}
}

func plutoExit(err error) whack.Exit {
	switch {
	case errors.Is(err, cygnet.ErrRunning):
		return exitLocked
	case errors.Is(err, cygnet.ErrConfig):
		return whack.ExitConfig
	case errors.Is(err, fs.ErrPermission):
		return whack.ExitPermission
	}
	return whack.ExitFailed
}

// logOutput is where the log goes: standard error in the foreground; in the
// background logfile=, else the journal, else a file beside the socket.
func logOutput(s *config.Setup, at places, background bool, stderr io.Writer) (slog.Handler, error) {
	level := slog.LevelInfo
	switch {
	case !background:
		return pluto.NewLogHandler(stderr, s.LogTime, level), nil
	case s.LogFile == "" && journal.Enabled():
		return pluto.NewLogHandler(journalWriter{}, false, level), nil
	}
	name := s.LogFile
	if name == "" {
		if err := os.MkdirAll(at.run, 0o700); err != nil {
			return nil, fmt.Errorf("make run-time directory: %w", err)
		}
		name = filepath.Join(at.run, "pluto.log")
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	return pluto.NewLogHandler(f, s.LogTime, level), nil
}

// journalWriter sends each line to the journal.
type journalWriter struct{}

func (journalWriter) Write(b []byte) (int, error) {
	return len(b), journal.Send(strings.TrimRight(string(b), "\n"), journal.PriInfo, journalFields)
}

// journalFields label the daemon's lines. syslog= is not for them (R12.7):
// their facility is authpriv, which syslog(3) numbers 10.
var journalFields = map[string]string{"SYSLOG_IDENTIFIER": "pluto", "SYSLOG_FACILITY": "10"}

// keepSecrets makes sure that no dump of our memory is written, nor read by
// others, unless dumpdir= asks for one.
func keepSecrets(dumpDir string, log *slog.Logger) error {
	var err error
	if dumpDir != "" {
		if err = os.Chdir(dumpDir); err != nil { // R12.9: said, and ignored
			log.Warn("dumpdir=: no core dumps will be written: " + err.Error())
		}
	}
	if dumpDir != "" && err == nil {
		return unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY})
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("forbid core dumps: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("forbid memory dumps: %w", err)
	}
	return nil
}
