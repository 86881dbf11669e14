package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"cygnet/internal/lab"
)

// wallsOf reads what /proc says of every thread of a process: the values of
// fields of its status, without repetition.
func wallsOf(t *testing.T, pid int) map[string][]string {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(files) < 2 {
		t.Fatalf("threads of %d: %v, %v", pid, files, err)
	}
	found := map[string][]string{}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			continue // it has ended
		}
		for line := range strings.Lines(string(text)) {
			name, value, _ := strings.Cut(line, ":")
			if value = strings.TrimSpace(value); !slices.Contains(found[name], value) {
				found[name] = append(found[name], value)
			}
		}
	}
	return found
}

// The six of packaging/ipsec.service.in, by their numbers in capability.h:
// CHOWN 0, DAC_OVERRIDE 1, KILL 5, NET_BIND_SERVICE 10, NET_ADMIN 12, NET_RAW 13.
const sixCapabilities = 1<<0 | 1<<1 | 1<<5 | 1<<10 | 1<<12 | 1<<13

// A running daemon is behind its walls in every thread, as root and in a user
// namespace alike; leftupdown= commands are behind them too, and sh, ip, nft and
// ipsec go on working there.
func TestAdv_CTL_16_Walls(t *testing.T) {
	script := filepath.Join(t.TempDir(), "updown")
	text := `#!/bin/sh
grep -E '^(NoNewPrivs|Seccomp|CapEff):' /proc/self/status | tr '\t' ' '
ip link show ipsec0 && nft list tables && ipsec version
unshare -n true || echo no namespace of its own
exec ipsec _updown
`
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	west := oursWith(t, "", "\tleftupdown="+script+"\n")
	found := wallsOf(t, west.pid)
	if !slices.Equal(found["NoNewPrivs"], []string{"1"}) || !slices.Equal(found["Seccomp"], []string{"2"}) {
		t.Errorf("no_new_privs %v, seccomp %v", found["NoNewPrivs"], found["Seccomp"])
	}
	want := fmt.Sprintf("%016x", sixCapabilities)
	for _, name := range []string{"CapEff", "CapPrm", "CapBnd"} {
		if !slices.Equal(found[name], []string{want}) {
			t.Errorf("%s is %v, not %s", name, found[name], want)
		}
	}
	for _, name := range []string{"CapInh", "CapAmb"} {
		if n, err := strconv.ParseUint(found[name][0], 16, 64); err != nil || n != 0 || len(found[name]) != 1 {
			t.Errorf("%s is %v", name, found[name])
		}
	}
	// The tunnel may be up before the first script has spoken to its end.
	lab.WaitFor(20*time.Second, func() bool { return strings.Contains(west.said(t), "no namespace of its own") })
	said := west.said(t)
	if strings.Contains(said, "more privileges than it needs") {
		t.Error("the walls are not complete")
	}
	for _, part := range []string{"NoNewPrivs: 1", "Seccomp: 2", "CapEff: " + want, "ipsec0: ", "table inet ", "output: Linux Cygnet ", "no namespace of its own"} {
		if !strings.Contains(said, part) {
			t.Errorf("the script does not say %q", part)
		}
	}
	if t.Failed() {
		t.Log(said)
	}
}

// seccomp=disabled is for scripts that need more than that.
func TestWallsDisabled(t *testing.T) {
	west := oursWith(t, "\tseccomp=disabled\n", "")
	found := wallsOf(t, west.pid)
	if !slices.Equal(found["NoNewPrivs"], []string{"0"}) || slices.Equal(found["CapBnd"], []string{fmt.Sprintf("%016x", sixCapabilities)}) {
		t.Errorf("no_new_privs %v, bounding set %v", found["NoNewPrivs"], found["CapBnd"])
	}
}
