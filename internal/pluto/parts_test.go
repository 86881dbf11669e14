package pluto

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cygnet/internal/config"
	"cygnet/internal/host"
	"cygnet/internal/keys"
	"cygnet/internal/klips"
	"cygnet/internal/underlay"
	"cygnet/internal/whack"
)

func TestTimers(t *testing.T) {
	var h timers
	at := func(n int) time.Time { return time.Unix(int64(n), 0) }
	want := map[uint32]int{}
	r := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		serial, when := uint32(r.IntN(50)+1), r.IntN(100)
		if when < 20 {
			h.set(serial, time.Time{})
			delete(want, serial)
		} else {
			h.set(serial, at(when))
			want[serial] = when
		}
		first, which := h.first()
		best := 1000
		for _, w := range want {
			best = min(best, w)
		}
		switch {
		case len(want) == 0 && which != 0:
			t.Fatal("a deadline came out of nothing")
		case len(want) > 0 && (!first.Equal(at(best)) || want[which] != best):
			t.Fatalf("first is %v of %d, want %d", first, which, best)
		}
	}
}

// CTL-11: one fact is one line, whatever is in it.
func TestLogLines(t *testing.T) {
	var l lines
	log := slog.New(NewLogHandler(&l, false, slog.LevelInfo)).With("from", "a\nb")
	log.Info("peer says \"x\r\n\x1b[31m\u202eevil\xff %d\" ünï", "id", "c\nd")
	log.Debug("unseen")
	want := `peer says "x\x0d\x0a\x1b[31m\u202eevil\xff %d" ünï from=a\x0ab id=c\x0ad` + "\n"
	if l.String() != want {
		t.Errorf("got  %q\nwant %q", l.String(), want)
	}
	log.Info(strings.Repeat("x", 64<<10))
	if n := len(l.String()) - len(want); n > maxLogLine+100 {
		t.Errorf("a long record became %d octets", n)
	}
}

// live starts a daemon with a control socket, in real time.
func live(t *testing.T, conf string) (d *Daemon, dir string) {
	t.Helper()
	wire, _ := underlay.NewPair([]netip.Addr{westAddr}, []netip.Addr{eastAddr})
	g := newGateway(t, "west", westAddr, wire)
	dir = filepath.Join(t.TempDir(), "run")
	ready := make(chan struct{})
	d, err := New(Options{Plane: g.plane, Host: g.machine, Keys: ring{keys.New(keys.Options{}), g}, RunDir: dir,
		Log: slog.New(NewLogHandler(g.log, false, slog.LevelInfo)), Ready: func() { close(ready) },
		Config: func(string) (*config.File, error) { return config.ParseText("ipsec.conf", conf), nil }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	select {
	case <-ready:
	case err := <-done:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		g.plane.Close()
	})
	return d, dir
}

// adversary.md CRS-07.
func TestLock(t *testing.T) {
	_, dir := live(t, setup)
	plane := &memPlane{Plane: klips.New(klips.Options{})}
	defer plane.Close()
	d, err := New(Options{Plane: plane, Host: &host.Fake{}, Keys: ring{keys.New(keys.Options{}), &gateway{}}, RunDir: dir,
		Config: func(string) (*config.File, error) { return config.ParseText("ipsec.conf", setup), nil }})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Run(t.Context()); !errors.Is(err, ErrRunning) {
		t.Errorf("the second daemon ended with %v", err)
	}
}

// CTL-04: many clients at once; every answer is one that some order of the
// requests explains, and nothing locks up.
func TestManyClients(t *testing.T) {
	conf := setup
	names := []string{"a", "b", "c"}
	for i, n := range names {
		conf += tunnel(n, fmt.Sprintf("rightsubnet=10.2.%d.0/24", i), "auto=add")
	}
	_, dir := live(t, conf)
	path := filepath.Join(dir, "pluto.ctl")
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 0))
			for range 5 {
				op := []whack.Op{whack.OpUp, whack.OpDown, whack.OpRoute, whack.OpUnroute, whack.OpStatus, whack.OpReload, whack.OpReplace, whack.OpEroutes, whack.OpLook}[r.IntN(9)]
				req := whack.Request{Op: op, Args: whack.Args{Name: names[r.IntN(3)], Async: r.IntN(2) == 0}}
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				if op == whack.OpUp && !req.Args.Async { // nobody answers: hang up
					ctx, cancel = context.WithTimeout(t.Context(), time.Duration(r.IntN(50))*time.Millisecond)
				}
				final, err := whack.Ask(ctx, path, req, nil)
				cancel()
				switch {
				case err != nil && op == whack.OpUp:
				case err != nil:
					t.Errorf("%s: %v", op, err)
				case final.Exit != whack.ExitDone && final.Exit != whack.ExitFailed:
					t.Errorf("%s: %+v", op, final)
				}
			}
		})
	}
	wg.Wait()
	if _, err := whack.Ask(t.Context(), path, whack.Request{Op: whack.OpStatus}, nil); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestShutdownByCommand(t *testing.T) {
	d, dir := live(t, setup)
	if final, err := whack.Ask(t.Context(), filepath.Join(dir, "pluto.ctl"), whack.Request{Op: whack.OpShutdown}, nil); err != nil || final.Exit != 0 {
		t.Fatalf("%+v, %v", final, err)
	}
	select {
	case <-d.ended:
	case <-time.After(5 * time.Second):
		t.Fatal("it goes on")
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left in the run-time directory: %v", left)
	}
}

// sd_notify: ready, alive, stopping.
func TestSystemd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "200000")
	t.Setenv("WATCHDOG_PID", fmt.Sprint(os.Getpid()))
	d, _ := live(t, setup)
	next := func(want string) {
		t.Helper()
		b := make([]byte, 100)
		c.SetReadDeadline(time.Now().Add(5 * time.Second))
		if n, err := c.Read(b); err != nil || string(b[:n]) != want {
			t.Fatalf("systemd was told %q, %v; want %q", b[:n], err, want)
		}
	}
	next("READY=1")
	next("WATCHDOG=1")
	next("WATCHDOG=1")
	d.call(t.Context(), func() { d.stop(errShutdown) })
	next("STOPPING=1")
}

// R4.6: after a run, nothing that the daemon has written, logged or answered
// holds a session key, as octets or as text.
// adversary.md CTL-13.
func TestNoKeyIsWritten(t *testing.T) {
	wa, wb := underlay.NewPair([]netip.Addr{westAddr}, []netip.Addr{eastAddr})
	dir := t.TempDir()
	t.Chdir(dir)
	west, east := newGateway(t, "west", westAddr, wa), newGateway(t, "east", eastAddr, wb)
	west.runDir, east.runDir = filepath.Join(dir, "west"), filepath.Join(dir, "east")
	for _, g := range []*gateway{west, east} {
		g.start(setup + "\tplutodebug=all\n\tklipsdebug=all\n" + tunnel("net", "auto=add"))
	}
	for range 2 {
		west.must(whack.OpUp, "net")
		west.must(whack.OpDown, "net")
	}
	said := west.log.String() + east.log.String()
	for _, op := range []whack.Op{whack.OpStatus, whack.OpSAs, whack.OpEroutes, whack.OpLook, whack.OpListKeys, whack.OpTrafficStatus} {
		lines, final := west.do(op, "")
		said += strings.Join(lines, "\n") + string(final.JSON)
	}
	defer func() {
		for _, g := range []*gateway{west, east} {
			g.stop()
			g.plane.Close()
		}
	}()
	keys := append(west.keysOf(), east.keysOf()...)
	files := 0
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(name)
		said += string(b)
		files++
		return err
	})
	if err != nil || len(keys) < 8 || files == 0 {
		t.Fatalf("%v; %d keys, %d octets said, %d files", err, len(keys), len(said), files)
	}
	for _, k := range keys {
		for _, form := range []string{string(k[:16]), hex.EncodeToString(k[:16]), base64.StdEncoding.EncodeToString(k)[:20]} {
			if strings.Contains(strings.ToLower(said), strings.ToLower(form)) {
				t.Errorf("key %x is in files, log or answers", k)
			}
		}
	}
}

// What a daemon that was killed still answers for is taken away by the next one,
// and by the clean-up without one.
func TestProxiesAfterCrash(t *testing.T) {
	wa, wb := underlay.NewPair([]netip.Addr{westAddr}, []netip.Addr{eastAddr})
	west, east := newGateway(t, "west", westAddr, wa), newGateway(t, "east", eastAddr, wb)
	west.runDir = filepath.Join(t.TempDir(), "run")
	lan := host.Interface{Name: "eth1", Index: 3, Up: true, MTU: 1500, Addrs: []netip.Prefix{netip.MustParsePrefix("10.2.0.1/16")}}
	west.machine.Links = append(west.machine.Links, lan)
	conn := tunnel("net", "auto=add", "leftproxyarp=yes", "rightsubnet=10.2.0.77/32")
	west.start(setup + conn)
	east.start(setup + tunnel("net", "auto=add", "rightsubnet=10.2.0.77/32"))
	defer func() {
		for _, g := range []*gateway{west, east} {
			g.stop()
			g.plane.Close()
		}
	}()
	west.must(whack.OpUp, "net")
	want := []host.Proxy{{Device: "eth1", Addr: netip.MustParseAddr("10.2.0.77")}}
	if got := west.machine.Proxies(); !slices.Equal(got, want) {
		t.Fatalf("up: answers for %v", got)
	}
	left, err := os.ReadFile(proxyFile(west.runDir))
	if err != nil {
		t.Fatal(err)
	}
	west.stop() // an orderly end
	if _, err := os.Stat(proxyFile(west.runDir)); !errors.Is(err, fs.ErrNotExist) || len(west.machine.Proxies()) != 0 {
		t.Errorf("after an orderly end: %v, %v", err, west.machine.Proxies())
	}
	crashed := func() {
		t.Helper()
		if err := os.WriteFile(proxyFile(west.runDir), left, 0o600); err != nil {
			t.Fatal(err)
		}
		west.machine.SetProxies(want)
	}
	gone := func(when string) {
		t.Helper()
		if _, err := os.Stat(proxyFile(west.runDir)); !errors.Is(err, fs.ErrNotExist) || len(west.machine.Proxies()) != 0 {
			t.Errorf("%s: %v, %v", when, err, west.machine.Proxies())
		}
	}
	crashed()
	west.start(setup + conn)
	gone("after the next start")
	west.stop()
	crashed()
	if err := RemoveProxies(west.machine, west.runDir); err != nil {
		t.Fatal(err)
	}
	gone("after a clean-up")
	if err := os.WriteFile(proxyFile(west.runDir), []byte("no list"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := RemoveProxies(west.machine, west.runDir); err == nil {
		t.Error("a broken file is taken")
	}
}
