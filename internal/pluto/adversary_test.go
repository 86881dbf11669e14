package pluto

import (
	"encoding/binary"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"cygnet/internal/connection"
	"cygnet/internal/tun"
	"cygnet/internal/underlay"
	"cygnet/internal/whack"
)

// A name that a client makes up is data: it is not found, it is shown quoted in
// one line, and it opens no file and runs nothing.
func TestAdv_CTL_05_NamesOfClients(t *testing.T) {
	d, dir := live(t, setup+tunnel("net", "auto=add"))
	canary := filepath.Join(t.TempDir(), "canary")
	socket := filepath.Join(dir, "pluto.ctl")
	for _, name := range []string{"x;touch " + canary, "x\ntouch " + canary, "x\r\n2026-01-01 forged", "%n%s%!x(int=1)", "../../etc/passwd", "$(touch " + canary + ")", "`touch " + canary + "`", "\x1b[2J", "net\u202e"} {
		for _, op := range []whack.Op{whack.OpAdd, whack.OpReplace, whack.OpUp, whack.OpDown, whack.OpRoute, whack.OpUnroute, whack.OpDelete, whack.OpRekey, whack.OpWhy, whack.OpManualUp, whack.OpManualDown} {
			var lines []whack.Reply
			final, err := whack.Ask(t.Context(), socket, whack.Request{Op: op, Args: whack.Args{Name: name}}, func(r whack.Reply) { lines = append(lines, r) })
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range append(lines, final) {
				if strings.ContainsFunc(r.Text, func(c rune) bool { return c < ' ' || c == 0x7f || c == 0x202e }) || strings.Contains(r.Text, "%!n") {
					t.Errorf("%s %q is answered %q", op, name, r.Text)
				}
			}
			if op != whack.OpWhy && final.Exit == whack.ExitDone && (op == whack.OpUp || op == whack.OpAdd) {
				t.Errorf("%s %q succeeds", op, name)
			}
		}
	}
	if _, err := os.Stat(canary); err == nil {
		t.Error("a name was run")
	}
	if len(d.serials()) != 0 {
		t.Error("a name made a machine")
	}
}

// A loop that hangs says nothing to systemd, which then starts another daemon
// (WatchdogSec= and Restart= of the unit); the data plane is other goroutines,
// and answers meanwhile. When it goes on, so does the word.
func TestAdv_CTL_17_StuckLoop(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "100000")
	t.Setenv("WATCHDOG_PID", "")
	wire, _ := underlay.NewPair([]netip.Addr{westAddr}, []netip.Addr{eastAddr})
	g := newGateway(t, "west", westAddr, wire)
	g.start(setup)
	defer func() {
		g.stop()
		g.plane.Close()
	}()
	word := func(limit time.Duration) string {
		b := make([]byte, 100)
		c.SetReadDeadline(time.Now().Add(limit))
		n, _ := c.Read(b)
		return string(b[:n])
	}
	if w := word(5 * time.Second); w != "READY=1" {
		t.Fatalf("first %q", w)
	}
	stuck, goOn := make(chan struct{}), make(chan struct{})
	go g.call(t.Context(), func() { close(stuck); <-goOn })
	<-stuck
	for word(time.Millisecond) != "" { // what was said before
	}
	if w := word(300 * time.Millisecond); w != "" {
		t.Errorf("a loop that hangs says %q", w)
	}
	before := dropped(g)
	frame := append(make([]byte, tun.HeaderLen), packet(netip.MustParseAddr("10.1.0.1"), netip.MustParseAddr("10.9.0.1"), "for nobody")...)
	if err := g.plane.kernel().Queues()[0].Write([][]byte{frame}); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(5 * time.Second); dropped(g) == before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the data plane hangs as well")
		}
	}
	close(goOn)
	if w := word(5 * time.Second); w != "WATCHDOG=1" {
		t.Errorf("afterwards %q", w)
	}
	unit, err := os.ReadFile("../../packaging/ipsec.service.in")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"\nWatchdogSec=60\n", "\nRestart=on-failure\n", "\nType=notify\n"} {
		if !strings.Contains(string(unit), line) {
			t.Errorf("the unit has no %q", line)
		}
	}
}

// dropped is how many packets the data plane has dropped.
func dropped(g *gateway) (n uint64) {
	for _, c := range g.plane.Drops() {
		n += c.Count
	}
	return n
}

// 62,000 hostile datagrams of all kinds leave less than an octet of log each, and
// a daemon that serves; so it does when its log cannot be written at all. Nor do
// they make more goroutines than the workers there were before (RES-18).
func TestAdv_CTL_12_LogOfAFlood(t *testing.T) {
	first := firstMessage(t)
	g := newGateway(t, "east", eastAddr, silentWire(eastAddr))
	g.start(setup + "conn any\n\tleft=" + eastAddr.String() + "\n\tright=%any\n\tauthby=secret\n\tauto=add\n")
	defer func() {
		g.stop()
		g.plane.Close()
	}()
	before := len(g.log.String())
	random := rand.New(rand.NewPCG(12, 12))
	goroutines := runtime.NumGoroutine()
	flood := func(datagrams int) {
		for range datagrams / 100 {
			g.call(t.Context(), func() {
				for range 100 {
					g.received(underlay.Datagram{Local: netip.AddrPortFrom(eastAddr, 500), Remote: stranger(random), Msg: hostile(random, first)})
					g.drain()
				}
			})
			if n := runtime.NumGoroutine(); n > goroutines {
				t.Fatalf("%d goroutines, %d before", n, goroutines)
			}
		}
	}
	const datagrams = 62_000
	flood(datagrams)
	g.must(whack.OpStatus, "")
	logged := g.log.String()[before:]
	if len(logged) > datagrams || !strings.Contains(logged, "STATE_V2_PARENT_R1") {
		t.Errorf("%d octets of log for %d datagrams:\n%.4000s", len(logged), datagrams, logged)
	}

	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	g.call(t.Context(), func() { g.Daemon.log = slog.New(NewLogHandler(full, true, slog.LevelDebug)) })
	flood(1000)
	g.must(whack.OpStatus, "")
}

func stranger(r *rand.Rand) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{byte(1 + r.IntN(223)), byte(r.IntN(256)), byte(r.IntN(256)), byte(1 + r.IntN(254))}), uint16(1024+r.IntN(60000)))
}

// hostile makes a datagram of a good first message: the same with another SPI,
// with a few octets changed, cut, of another version or exchange, or only noise.
func hostile(r *rand.Rand, good []byte) []byte {
	b := slices.Clone(good)
	binary.BigEndian.PutUint64(b, r.Uint64()|1)
	switch r.IntN(6) {
	case 0:
	case 1:
		for range 1 + r.IntN(4) {
			b[r.IntN(len(b))] = byte(r.Uint32())
		}
	case 2:
		b = b[:r.IntN(len(b))]
		if len(b) >= 28 {
			binary.BigEndian.PutUint32(b[24:], uint32(len(b)))
		}
	case 3:
		b[17], b[18] = byte(r.Uint32()), byte(r.Uint32())
	case 4:
		binary.BigEndian.PutUint64(b[8:], r.Uint64())
		b[18] = byte(34 + r.IntN(6))
	default:
		for i := range b {
			b[i] = byte(r.Uint32())
		}
	}
	return b
}

// firstMessage is what an initiator with our proposals sends first.
func firstMessage(t *testing.T) []byte {
	t.Helper()
	near, far := underlay.NewPair([]netip.Addr{westAddr}, []netip.Addr{eastAddr})
	g := newGateway(t, "west", westAddr, near)
	g.start(setup + tunnel("net", "auto=start"))
	defer func() {
		g.stop()
		g.plane.Close()
	}()
	select {
	case d := <-far.IKE():
		return slices.Clone(d.Msg)
	case <-time.After(5 * time.Second):
		t.Fatal("nothing is sent")
		return nil
	}
}

// silentWire is a wire with nobody at the other end.
func silentWire(at netip.Addr) underlay.Underlay {
	near, _ := underlay.NewPair([]netip.Addr{at}, []netip.Addr{westAddr})
	return near
}

// A wire without room refuses every datagram; refusing is told of now and then,
// and when there is room again, tunnels come up.
func TestNoRoomToSend(t *testing.T) {
	wa, wb := underlay.NewPair([]netip.Addr{westAddr}, []netip.Addr{eastAddr})
	full := &fullWire{Underlay: wb}
	full.on.Store(true)
	west, east := newGateway(t, "west", westAddr, wa), newGateway(t, "east", eastAddr, full)
	first := firstMessage(t)
	east.start(setup + tunnel("net", "auto=add"))
	west.start(setup + tunnel("net", "auto=add"))
	defer func() {
		for _, g := range []*gateway{west, east} {
			g.stop()
			g.plane.Close()
		}
	}()
	before := len(east.log.String())
	east.call(t.Context(), func() {
		for i := range 10_000 {
			binary.BigEndian.PutUint64(first, uint64(i)+1)
			east.received(underlay.Datagram{Local: netip.AddrPortFrom(eastAddr, 500), Remote: netip.AddrPortFrom(westAddr, 500), Msg: slices.Clone(first)})
			east.drain()
		}
	})
	if logged := east.log.String()[before:]; full.refused.Load() < 1000 || len(logged) > 10_000 || !strings.Contains(logged, "no buffer space") {
		t.Errorf("%d datagrams refused, %d octets of log\n%.2000s", full.refused.Load(), len(logged), logged)
	}
	full.on.Store(false)
	west.must(whack.OpUp, "net")
}

// fullWire is a wire whose machine has no buffers left while it is on.
type fullWire struct {
	underlay.Underlay
	on      atomic.Bool
	refused atomic.Int64
}

func (w *fullWire) SendIKE(local, remote netip.AddrPort, msg []byte) error {
	if w.on.Load() {
		w.refused.Add(1)
		return syscall.ENOBUFS
	}
	return w.Underlay.SendIKE(local, remote, msg)
}

// Expensive first messages come in a flood, from one address after the other: the
// backlog stays short, because the gate lets only so many in, and the rekeying of
// a live tunnel is the next job of all.
func TestAdv_RES_13_ExpensiveFlood(t *testing.T) {
	wa, wb := underlay.NewPair([]netip.Addr{westAddr}, []netip.Addr{eastAddr})
	west, east := newGateway(t, "west", westAddr, wa), newGateway(t, "east", eastAddr, wb)
	first := firstMessage(t)
	west.start(setup + tunnel("net", "auto=add"))
	east.start(setup + tunnel("net", "auto=add") + "conn any\n\tleft=" + eastAddr.String() + "\n\tright=%any\n\tauthby=secret\n\tauto=add\n")
	defer func() {
		for _, g := range []*gateway{west, east} {
			g.stop()
			g.plane.Close()
		}
	}()
	west.must(whack.OpUp, "net")
	random := rand.New(rand.NewPCG(13, 13))
	east.call(t.Context(), func() { // no worker takes anything meanwhile
		for i := range 20_000 {
			binary.BigEndian.PutUint64(first, uint64(i)+1)
			east.received(underlay.Datagram{Local: netip.AddrPortFrom(eastAddr, 500), Remote: stranger(random), Msg: slices.Clone(first)})
			east.drain()
		}
		if n := len(east.backlog.strangers); n == 0 || n > 200 || len(east.backlog.ours) != 0 {
			t.Errorf("%d jobs of strangers and %d of ours after the flood", n, len(east.backlog.ours))
		}
		east.stepTable(connection.Rekey{Name: "net"})
		east.drain()
		next, ok := east.backlog.first()
		if !ok || east.strange[next.serial] || len(east.backlog.ours) == 0 {
			t.Errorf("the next job is %v of #%d, with %d of ours", next.work, next.serial, len(east.backlog.ours))
		}
	})
	east.must(whack.OpStatus, "")
}
