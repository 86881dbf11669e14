package whack

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cygnet/internal/ike"
)

// serve starts a server on a socket of its own.
func serve(t *testing.T, h Handler) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "run", "pluto.ctl")
	s := &Server{Handle: h, Refused: func(p Peer, why string) { t.Logf("refused %v: %s", p, why) }}
	if err := s.Listen(path); err != nil {
		t.Fatal(err)
	}
	go s.Serve()
	t.Cleanup(func() { s.Close() })
	return path
}

func TestAsk(t *testing.T) {
	path := serve(t, func(_ context.Context, p Peer, r Request, send func(Reply) error) {
		if p.PID != int32(os.Getpid()) || p.UID != uint32(os.Getuid()) {
			t.Errorf("the client is %+v", p)
		}
		send(Reply{Code: 104, Text: fmt.Sprintf("%q\nforged", r.Args.Name)})
		send(Reply{Final: true, Exit: ExitSilent, Reason: ExitSilent.String(), JSON: json.RawMessage(`{"x":1}`)})
	})
	var lines []Reply
	final, err := Ask(t.Context(), path, Request{Op: OpUp, Args: Args{Name: `a";$(x)`}}, func(r Reply) { lines = append(lines, r) })
	if err != nil {
		t.Fatal(err)
	}
	if len(lines) != 1 || lines[0].Code != 104 || lines[0].Text != `"a\";$(x)"\nforged` {
		t.Errorf("replies %+v", lines)
	}
	if final.Exit != ExitSilent || final.Reason != "silent" || string(final.JSON) != `{"x":1}` || ExitFor(final, err) != ExitSilent {
		t.Errorf("final reply %+v", final)
	}
}

func TestNotRunning(t *testing.T) {
	for _, path := range []string{filepath.Join(t.TempDir(), "none"), stale(t)} {
		_, err := Ask(t.Context(), path, Request{Op: OpStatus}, nil)
		if !errors.Is(err, ErrNotRunning) || ExitFor(Reply{}, err) != ExitNotRunning {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// stale makes a socket that nobody listens on.
func stale(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "run")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "pluto.ctl")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	ln.Close()
	return path
}

// CTL-01: what is in the way of the socket.
func TestListen(t *testing.T) {
	t.Run("stale socket is replaced", func(t *testing.T) {
		var s Server
		path := stale(t)
		if err := s.Listen(path); err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("socket has mode %v, %v", info.Mode(), err)
		}
		if info, _ := os.Stat(filepath.Dir(path)); info.Mode().Perm() != 0o700 {
			t.Errorf("directory has mode %v", info.Mode())
		}
	})
	refused := func(name string, prepare func(t *testing.T, path string), want string) {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "run")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "pluto.ctl")
			prepare(t, path)
			var s Server
			err := s.Listen(path)
			if err == nil {
				s.Close()
			}
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want one with %q", err, want)
			}
		})
	}
	refused("file", func(t *testing.T, path string) { os.WriteFile(path, []byte("precious"), 0o600) }, "in the way")
	refused("link", func(t *testing.T, path string) { os.Symlink("/etc/passwd", path) }, "in the way")
	refused("open directory", func(t *testing.T, path string) { os.Chmod(filepath.Dir(path), 0o777) }, "written by others")
	refused("live daemon", func(t *testing.T, path string) {
		var s Server
		if err := s.Listen(path); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
	}, "another daemon")
}

// CTL-03: bad requests are answered or cut off, and hurt nobody.
func TestBadRequests(t *testing.T) {
	path := serve(t, func(_ context.Context, _ Peer, _ Request, send func(Reply) error) { send(Reply{Final: true}) })
	for _, line := range []string{
		"", "{", "null", `{"op":"explode"}`, `{"op":"up"}`, `{"op":"up","args":{"name":""}}`, `{"op":"crash"}`,
		`{"op":"deletestate"}`, `{"op":"status","extra":1}`, `{"op":"add","args":{"name":"x","config":"../x"}}`,
		`{"op":"status"}{"op":"shutdown"}`, `{"op":"up","args":{"name":"` + strings.Repeat("x", maxName+1) + `"}}`,
	} {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "%s\n", line)
		c.SetReadDeadline(time.Now().Add(5 * time.Second))
		answer, _ := bufio.NewReader(c).ReadString('\n')
		var r Reply
		if err := json.Unmarshal([]byte(answer), &r); err != nil || !r.Final || r.Exit != ExitUsage {
			t.Errorf("%.60s was answered %.100q", line, answer)
		}
		c.Close()
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	go c.Write([]byte(strings.Repeat("x", 16<<20)))
	c.SetReadDeadline(time.Now().Add(5 * time.Second))
	if n, err := c.Read(make([]byte, 10)); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("16 MiB without a line end: read %d octets, %v", n, err)
	}
	if _, err := Ask(t.Context(), path, Request{Op: OpStatus}, nil); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// A client that hangs up ends its handler's context; so does Close.
func TestHangUp(t *testing.T) {
	var began, ended atomic.Int32
	path := serve(t, func(ctx context.Context, _ Peer, _ Request, _ func(Reply) error) {
		began.Add(1)
		<-ctx.Done()
		ended.Add(1)
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := Ask(ctx, path, Request{Op: OpUp, Args: Args{Name: "x"}}, nil)
		done <- err
	}()
	waitFor(t, "the handler", func() bool { return began.Load() == 1 })
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("the client got %v", err)
	}
	waitFor(t, "the end of the handler", func() bool { return ended.Load() == 1 })
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 500 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("waited in vain for %s", what)
}

// CTL-03: more clients than there are seats.
func TestManyClients(t *testing.T) {
	release := make(chan struct{})
	path := serve(t, func(ctx context.Context, _ Peer, _ Request, send func(Reply) error) {
		select {
		case <-release:
		case <-ctx.Done():
		}
		send(Reply{Final: true})
	})
	var clients []net.Conn
	for range maxClients + 50 {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintln(c, `{"op":"status"}`)
		clients = append(clients, c)
	}
	last := clients[len(clients)-1]
	last.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := last.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("one too many was not turned away: %v", err)
	}
	close(release)
	clients[0].SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := bufio.NewReader(clients[0]).ReadString('\n'); err != nil {
		t.Errorf("the first was not served: %v", err)
	}
}

func TestExitCodes(t *testing.T) {
	for _, e := range Exits() {
		if e.Meaning() == "" || e != ExitDone && e.String() == "" {
			t.Errorf("exit code %d has no words", e)
		}
	}
	for r, want := range map[ike.Reason]Exit{
		ike.ReasonProposal: 10, ike.ReasonAuth: 11, ike.ReasonSilent: 12, ike.ReasonTS: 13, ike.ReasonPlane: 14,
		ike.ReasonOther: 1, ike.ReasonProtocol: 1, ike.ReasonDeleted: 1,
	} {
		if got := ExitOf(r); got != want {
			t.Errorf("%s is exit code %d, want %d", r, got, want)
		}
	}
}

// freeswan.md 4.4: the last significant line wins.
func TestWhackExit(t *testing.T) {
	for _, tc := range []struct {
		codes []int
		want  int
	}{{nil, 0}, {[]int{0, 2}, 0}, {[]int{104, 106, 4}, 0}, {[]int{104, 10, 2, 0}, 10}, {[]int{4, 21}, 21}, {[]int{104, 224}, 224}} {
		if got := WhackExit(tc.codes); got != tc.want {
			t.Errorf("%v: %d, want %d", tc.codes, got, tc.want)
		}
	}
}

func FuzzDecodeRequest(f *testing.F) {
	for op := range ops {
		b, _ := json.Marshal(Request{Op: op, Args: Args{Name: "x", Serial: 1, Addr: netipAddr}})
		f.Add(b)
	}
	f.Add([]byte(`{"op":"up","args":{"name":"\u0000\n"}}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := DecodeRequest(line)
		if err != nil {
			return
		}
		again, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if len(again) > maxRequest { // escapes made it longer than a request may be
			return
		}
		s, err := DecodeRequest(again)
		if err != nil {
			t.Fatalf("%s: %v", again, err)
		}
		if fmt.Sprint(r) != fmt.Sprint(s) {
			t.Fatalf("%v became %v", r, s)
		}
	})
}
