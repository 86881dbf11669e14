package interop

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cygnet/internal/lab"
)

// The daemon has no descriptors left: nobody can connect, ipsec0 cannot be made
// again when it is deleted, and no script can be run. It lives, what stands carries
// on, and all of that is there again once there are descriptors (RES-15).
func TestAdv_RES_15_NoDescriptors(t *testing.T) {
	west := ours(t)
	open, err := os.ReadDir("/proc/" + strconv.Itoa(west.pid) + "/fd")
	if err != nil {
		t.Fatal(err)
	}
	// The limit is on the number of a new descriptor; those that are open stay.
	var before unix.Rlimit
	if err := unix.Prlimit(west.pid, unix.RLIMIT_NOFILE, nil, &before); err != nil {
		t.Fatal(err)
	}
	if err := unix.Prlimit(west.pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: before.Max}, nil); err != nil {
		t.Fatal(err)
	}
	ping := func(when string) {
		t.Helper()
		r, err := west.lab.Host("sunset").Ping(t.Context(), lab.Echo{Dst: lab.Sunrise, Count: 3})
		if err != nil || r.Received != 3 {
			t.Errorf("%s: %d of %d answered, %v\n%s", when, r.Received, r.Sent, err, west.said(t))
		}
	}
	ping("without descriptors")
	refused := make(chan int, 1)
	go func() { // waits in the kernel until somebody can accept it
		r, err := west.gate.Ipsec(t.Context(), "status")
		if err != nil {
			refused <- -1
			return
		}
		refused <- r.Exit
	}()
	if r, err := west.lab.Host("west").Run(t.Context(), nil, "ip", "link", "del", "ipsec0"); err != nil || r.Exit != 0 {
		t.Fatalf("%v %+v", err, r)
	}
	failed := lab.WaitFor(15*time.Second, func() bool { return strings.Contains(west.said(t), "too many open files") })
	if !failed {
		t.Errorf("of %d descriptors none was missed\n%s", len(open), west.said(t))
	}
	if err := unix.Prlimit(west.pid, unix.RLIMIT_NOFILE, &before, nil); err != nil {
		t.Fatal(err)
	}
	if exit := <-refused; exit != 0 {
		t.Errorf("who waited was told %d", exit)
	}
	back := lab.WaitFor(30*time.Second, func() bool {
		dev, err := west.lab.Host("west").RouteDevice(lab.EastNet)
		return err == nil && dev == "ipsec0"
	})
	if !back {
		t.Fatalf("ipsec0 did not come back\n%s", west.said(t))
	}
	ping("with descriptors again")
}
