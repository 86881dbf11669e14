package pluto

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"cygnet/internal/lab/labtest"
	"cygnet/internal/underlay"
)

// statusgroup= opens the socket to a group, by name or number; one that does not
// exist opens nothing and is told of (CTL-02).
func TestStatusGroup(t *testing.T) {
	labtest.Need(t, os.Geteuid() == 0, "root, who alone can give files away")
	for _, c := range []struct {
		line  string
		group uint32
		mode  os.FileMode
	}{
		{"", 0, 0o600}, {"\tstatusgroup=4321\n", 4321, 0o660}, {"\tstatusgroup=daemon\n", 1, 0o660}, {"\tstatusgroup=nobody-here\n", 0, 0o600},
	} {
		wire, _ := underlay.NewPair(nil, nil)
		g := newGateway(t, "west", westAddr, wire)
		g.runDir = filepath.Join(t.TempDir(), "run")
		g.start(setup + c.line)
		info, err := os.Stat(filepath.Join(g.runDir, "pluto.ctl"))
		if err != nil {
			t.Fatal(err)
		}
		if gid := info.Sys().(*syscall.Stat_t).Gid; gid != c.group || info.Mode().Perm() != c.mode {
			t.Errorf("%q: the socket has group %d and mode %v", c.line, gid, info.Mode())
		}
		if warned := strings.Contains(g.log.String(), "no such group"); warned != strings.Contains(c.line, "nobody-here") {
			t.Errorf("%q: log\n%s", c.line, g.log)
		}
		g.stop()
		g.plane.Close()
	}
}
