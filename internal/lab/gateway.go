package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Gateway is a host that runs our ipsec command with files of its own.
type Gateway struct {
	*Host
	Binary string // path of the ipsec command
}

// NewGateway gives h directories for configuration, run-time files and state.
func NewGateway(h *Host, binary string) (*Gateway, error) {
	g := &Gateway{h, binary}
	for _, d := range []string{g.Confs(), filepath.Join(g.Confs(), "ipsec.d"), g.runDir(), g.stateDir()} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("gateway %s: %w", h.Name, err)
		}
	}
	return g, nil
}

// Confs is the directory with ipsec.conf, ipsec.secrets and ipsec.d.
func (g *Gateway) Confs() string    { return filepath.Join(g.Dir, "etc") }
func (g *Gateway) runDir() string   { return filepath.Join(g.Dir, "run") }
func (g *Gateway) stateDir() string { return filepath.Join(g.Dir, "state") }

// Log is where a configuration should send the daemon's log.
func (g *Gateway) Log() string { return filepath.Join(g.Dir, "pluto.log") }

// Env is the environment that makes every ipsec command work on this gateway.
func (g *Gateway) Env() []string {
	return []string{
		"IPSEC_CONFS=" + g.Confs(),
		"IPSEC_RUNDIR=" + g.runDir(),
		"IPSEC_STATEDIR=" + g.stateDir(),
	}
}

// CommandDir is a directory in which our command is called ipsec, whatever the
// binary's own name, for the PATH of shells.
func (g *Gateway) CommandDir() (string, error) {
	bin := filepath.Join(g.Dir, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return "", err
	}
	err := os.Symlink(g.Binary, filepath.Join(bin, "ipsec"))
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	return bin, nil
}

// Write puts a file into the configuration directory, readable by its owner.
func (g *Gateway) Write(name, content string) error {
	path := filepath.Join(g.Confs(), name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(content), 0o600)
}

// Ipsec runs an ipsec command on the gateway.
func (g *Gateway) Ipsec(ctx context.Context, args ...string) (Result, error) {
	return g.Run(ctx, g.Env(), g.Binary, args...)
}

// PlutoPid is the process number of the gateway's running daemon, or 0.
func (g *Gateway) PlutoPid() int {
	b, err := os.ReadFile(filepath.Join(g.runDir(), "pluto.pid"))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || Gone(pid) {
		return 0
	}
	return pid
}

// KillPluto ends the daemon at once, as a crash would (SIGKILL).
func (g *Gateway) KillPluto() error {
	pid := g.PlutoPid()
	if pid == 0 {
		return fmt.Errorf("no daemon runs on %s", g.Name)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill daemon of %s: %w", g.Name, err)
	}
	if !waitGone([]int{pid}, 5*time.Second) {
		return fmt.Errorf("daemon %d of %s does not end", pid, g.Name)
	}
	return nil
}
