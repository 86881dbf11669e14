package lab_test

import (
	"context"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cygnet/internal/lab"
	"cygnet/internal/lab/labtest"
)

func TestMain(m *testing.M) { labtest.Main(m) }

var inside = []netip.Prefix{lab.WestNet, lab.EastNet}

func manual(t *testing.T, guests ...string) *lab.Lab {
	t.Helper()
	l := labtest.New(t, "kl")
	if err := lab.BuildManual(l, guests); err != nil {
		t.Fatal(err)
	}
	return l
}

func ping(t *testing.T, from *lab.Host, e lab.Echo) lab.PingResult {
	t.Helper()
	r, err := from.Ping(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The gateways reach each other; the inside networks do not, because nic does
// not route them, and what was tried shows in the clear on the wire.
func TestManualNetwork(t *testing.T) {
	l := manual(t)
	wire, err := l.Capture(l.Host("nic"), "west", inside, "")
	if err != nil {
		t.Fatal(err)
	}
	var r lab.PingResult
	tried := uint64(0)
	if !lab.WaitFor(20*time.Second, func() bool { // neighbours may not know each other yet
		r = ping(t, l.Host("west"), lab.Echo{Dst: lab.East, Count: 3, Interval: 5 * time.Millisecond})
		tried++
		return r.Received == 3
	}) {
		t.Errorf("west to east: %+v", r)
	}
	before, err := wire.Counts()
	if err != nil {
		t.Fatal(err)
	}
	if n := before.Frames[lab.Clear]; n < 3*tried+3 || n > 6*tried || before.Frames[lab.Link] == 0 {
		t.Errorf("wire after %d readable pings of 3: %+v", tried, before)
	}
	if r := ping(t, l.Host("sunset"), lab.Echo{Dst: lab.Sunrise, Wait: 200 * time.Millisecond}); r.Received != 0 {
		t.Errorf("sunset reached sunrise without a tunnel: %+v", r)
	}
	after, err := wire.Counts()
	if err != nil {
		t.Fatal(err)
	}
	// The echo request. nic knows no way back to sunset for an ICMP error.
	if d := after.Sub(before); d.Frames[lab.Clear] != 1 {
		t.Errorf("wire after an inner address: %+v; %v", d, wire.Suspects())
	}
}

func TestGuests(t *testing.T) {
	l := manual(t, "world", "north", "road")
	if r := ping(t, l.Host("road"), lab.Echo{Dst: lab.World}); r.Received != 1 {
		t.Errorf("road to world through north: %+v", r)
	}
	if r := ping(t, l.Host("world"), lab.Echo{Dst: netip.MustParseAddr("10.77.0.7"), Wait: 100 * time.Millisecond}); r.Received != 0 {
		t.Errorf("world reached road behind the NAT box: %+v", r)
	}
}

func TestSendArrivesAndIsReadable(t *testing.T) {
	l := manual(t)
	pcap := filepath.Join(t.TempDir(), "wire.pcap")
	wire, err := l.Capture(l.Host("nic"), "east", inside, pcap)
	if err != nil {
		t.Fatal(err)
	}
	const size = 3<<20 + 17
	got, err := l.Host("west").Send(t.Context(), l.Host("east"), lab.East, size, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got.Bytes != size || got.Mbps() <= 0 {
		t.Errorf("transfer: %+v", got)
	}
	c, err := wire.Counts()
	if err != nil {
		t.Fatal(err)
	}
	if c.Frames[lab.Clear] == 0 || c.Lost != 0 {
		t.Errorf("a TCP stream in the clear was not seen: %+v", c)
	}
	if err := wire.Close(); err != nil {
		t.Error(err)
	}
	if fi, err := os.Stat(pcap); err != nil || fi.Size() < 24+int64(c.Frames[lab.Clear])*16 {
		t.Errorf("capture file: %v, %v", fi, err)
	}
}

func TestLossyLink(t *testing.T) {
	l := labtest.New(t, "kl")
	a, err := l.AddHost("a")
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.AddHost("b")
	if err != nil {
		t.Fatal(err)
	}
	port := func(h *lab.Host, addr string) lab.Port {
		return lab.Port{Host: h, Dev: "eth0", Addrs: []netip.Prefix{netip.MustParsePrefix(addr)}}
	}
	wire, err := l.LossyLink(port(a, "10.0.0.1/24"), port(b, "10.0.0.2/24"), lab.Loss{})
	if err != nil {
		t.Fatal(err)
	}
	dst := netip.MustParseAddr("10.0.0.2")
	echo := lab.Echo{Dst: dst, Count: 200, Interval: time.Millisecond, Wait: 300 * time.Millisecond}
	if r := ping(t, a, echo); r.Received != 200 {
		t.Errorf("a perfect wire lost packets: %+v", r)
	}
	if _, err := a.Send(t.Context(), b, dst, 1<<20, nil); err != nil {
		t.Error(err)
	}
	wire.SetLoss(lab.Loss{Drop: 0.3, Seed: 7})
	// Both ways must survive: 0.49 of 200.
	if r := ping(t, a, echo); r.Received < 60 || r.Received > 140 {
		t.Errorf("with 30%% loss each way: %+v", r)
	}
	wire.SetLoss(lab.Loss{Duplicate: 1})
	if r := ping(t, a, echo); r.Received != 200 || r.Duplicates < 200 {
		t.Errorf("with every frame twice: %+v", r)
	}
	wire.Cut(true)
	if r := ping(t, a, lab.Echo{Dst: dst, Count: 2, Interval: time.Millisecond, Wait: 50 * time.Millisecond}); r.Received != 0 {
		t.Errorf("through a cut wire: %+v", r)
	}
}

// Two wires with one seed treat the same sequence of frames alike.
func TestLossIsSeeded(t *testing.T) {
	fates := func() (lost []int) {
		l := labtest.New(t, "kl")
		a, err := l.AddHost("a")
		if err != nil {
			t.Fatal(err)
		}
		b, err := l.AddHost("b")
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range []*lab.Host{a, b} {
			if err := h.Sysctl("net/ipv6/conf/default/disable_ipv6", "1"); err != nil {
				t.Fatal(err)
			}
		}
		w, err := l.LossyLink(lab.Port{Host: a, Dev: "eth0"}, lab.Port{Host: b, Dev: "eth0"}, lab.Loss{Drop: 0.5, Seed: 99})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 64 {
			_, before := w.Counts()
			total := func() uint64 { p, d := w.Counts(); return p + d }
			n := total()
			if err := a.SendFrame("eth0", make([]byte, 60)); err != nil {
				t.Fatal(err)
			}
			if !lab.WaitFor(time.Second, func() bool { return total() > n }) {
				t.Fatal("frame not seen on the wire")
			}
			if _, after := w.Counts(); after > before {
				lost = append(lost, i)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return lost
	}
	first, second := fates(), fates()
	if len(first) < 16 || len(first) > 48 {
		t.Errorf("%d of 64 frames lost at 50%%", len(first))
	}
	if !slices.Equal(first, second) {
		t.Errorf("same seed, other losses: %v and %v", first, second)
	}
}

// A command that leaves a daemon behind does not block Run, and Close ends the
// daemon though nobody knows its process number.
func TestCloseEndsProcesses(t *testing.T) {
	l := labtest.New(t, "kl")
	h, err := l.AddHost("a")
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	r, err := h.Run(t.Context(), []string{"GREETING=hello"}, "/bin/sh", "-c", "sleep 1000 & echo $GREETING; exit 3")
	if err != nil {
		t.Fatal(err)
	}
	if r.Exit != 3 || strings.TrimSpace(r.Stdout) != "hello" || time.Since(start) > 5*time.Second {
		t.Errorf("run: %+v after %v", r, time.Since(start))
	}
	pids, err := h.Processes()
	if err != nil || len(pids) != 1 {
		t.Fatalf("processes: %v, %v", pids, err)
	}
	p, err := h.Start(exec.Command("/bin/sh", "-c", "echo up; exec sleep 1000"), filepath.Join(l.Dir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.Done():
	case <-time.After(5 * time.Second):
		t.Error("started process still runs")
	}
	if !lab.Gone(pids[0]) {
		t.Error("left-over process still runs")
	}
	if _, err := os.Stat("/run/netns/" + h.Netns); !os.IsNotExist(err) {
		t.Errorf("namespace still there: %v", err)
	}
}

func TestRunIsCancelled(t *testing.T) {
	l := labtest.New(t, "kl")
	h, err := l.AddHost("a")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := h.Run(ctx, nil, "/bin/sleep", "1000"); err == nil {
		t.Error("no error from a cancelled command")
	}
}
