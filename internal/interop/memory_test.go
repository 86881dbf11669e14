package interop

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cygnet/internal/lab"
	"cygnet/internal/lab/labtest"
)

// memoryGroup makes a control group whose processes have so much memory in octets,
// and returns how a process enters it and how much the group has used at most.
func memoryGroup(t *testing.T, limit int64) (enter func(pid int) error, most func() int64) {
	t.Helper()
	root := t.TempDir()
	err := unix.Mount("memory", root, "cgroup", 0, "memory")
	labtest.Need(t, err == nil, "a memory control group (root)")
	t.Cleanup(func() { unix.Unmount(root, unix.MNT_DETACH) })
	dir := filepath.Join(root, fmt.Sprintf("cygnet%d", os.Getpid()))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		lab.WaitFor(5*time.Second, func() bool { return os.Remove(dir) == nil }) // when the daemon is gone
	})
	if err := os.WriteFile(filepath.Join(dir, "memory.limit_in_bytes"), []byte(strconv.FormatInt(limit, 10)), 0); err != nil {
		t.Fatal(err)
	}
	enter = func(pid int) error {
		return os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0)
	}
	most = func() int64 {
		b, err := os.ReadFile(filepath.Join(dir, "memory.max_usage_in_bytes"))
		n, bad := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
		if err != nil || bad != nil {
			t.Fatal(err, bad)
		}
		return n
	}
	return enter, most
}

// The daemon has 64 MiB of memory, and 10,000 forged requests come in a second,
// each good in itself: the kernel does not have to end it, and the tunnel carries
// on (RES-15, ENOMEM).
func TestAdv_RES_15_NoMemory(t *testing.T) {
	const limit = 64 << 20
	enter, most := memoryGroup(t, limit)
	west := oursWith(t, "", "", func(west *process) {
		if err := enter(west.pid); err != nil {
			t.Fatal(err)
		}
	})
	fd := -1
	err := west.lab.Host("nic").Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	to := netip.MustParseAddr("101.101.101.101")
	frame, stop, sent := forgedRequest(t, to), make(chan struct{}), make(chan int, 1)
	go func() { sent <- flood(fd, frame, to, stop) }()
	r, err := west.lab.Host("sunset").Ping(t.Context(), lab.Echo{Dst: lab.Sunrise, Count: 100, Interval: 20 * time.Millisecond})
	close(stop)
	n := <-sent
	if err != nil || r.Received*10 < r.Sent*9 || n < 1000 {
		t.Errorf("%d forged requests: %d of %d answered, %v\n%s", n, r.Received, r.Sent, err, west.said(t))
	}
	if status, err := west.gate.Ipsec(t.Context(), "status"); err != nil || status.Exit != 0 || west.gate.PlutoPid() != west.pid {
		t.Errorf("it is %d that lives, %v %+v\n%s", west.gate.PlutoPid(), err, status, west.said(t))
	}
	t.Logf("%d forged requests: %d of %d pings answered; %.1f MiB of %d at most", n, r.Received, r.Sent, float64(most())/(1<<20), limit>>20)
}
