package whack

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Peer is who is on the other end of a control connection.
type Peer struct {
	UID, GID uint32
	PID      int32
}

// Handler answers one request. It calls send for each reply, the last one
// with Final set, and returns when done or when ctx ends because the client
// has gone. It runs in a goroutine of its own; send is not for use after it
// has returned.
type Handler func(ctx context.Context, peer Peer, r Request, send func(Reply) error)

// Server serves one control socket.
type Server struct {
	Handle Handler
	// Refused, if not nil, is told of clients that were turned away.
	Refused func(peer Peer, why string)
	// Readers is the number of a group whose members may use the operations that
	// are Reading; 0: nobody but root and the daemon's own user may do anything.
	Readers uint32

	path string
	ln   *net.UnixListener
	ctx  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup
	seat chan struct{}

	looking atomic.Int32 // clients who may only look
}

// Listen makes the socket at path, mode 0600, and its directory, mode 0700; with
// Readers 0660 and 0710, of that group. A stale socket is replaced; a live one, or anything that is no socket of our
// own, is an error (adversary.md CTL-01).
func (s *Server) Listen(path string) error {
	if err := privateDir(filepath.Dir(path)); err != nil {
		return err
	}
	if err := clearStale(path); err != nil {
		return err
	}
	// Nobody else may enter the directory, so the moment between bind and
	// chmod belongs to us.
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return fmt.Errorf("make control socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		ln.Close()
		return fmt.Errorf("protect control socket: %w", err)
	}
	if err := s.admit(path); err != nil {
		ln.Close()
		return err
	}
	s.path, s.ln = path, ln
	s.seat = make(chan struct{}, maxClients)
	s.ctx, s.stop = context.WithCancel(context.Background())
	return nil
}

func privateDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make run-time directory: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("look at run-time directory: %w", err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.IsDir():
		return fmt.Errorf("run-time directory %s is no directory", dir)
	case ok && int(st.Uid) != os.Geteuid():
		return fmt.Errorf("run-time directory %s belongs to uid %d", dir, st.Uid)
	case info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("run-time directory %s may be written by others (mode %04o)", dir, info.Mode().Perm())
	case info.Mode().Perm()&0o077 != 0:
		if err := os.Chmod(dir, 0o700); err != nil {
			return fmt.Errorf("protect run-time directory: %w", err)
		}
	}
	return nil
}

func clearStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at control socket: %w", err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if info.Mode().Type() != fs.ModeSocket || !ok || int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%s is in the way and no socket of ours", path)
	}
	if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
		c.Close()
		return fmt.Errorf("another daemon answers on %s", path)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove stale control socket: %w", err)
	}
	return nil
}

// Serve accepts clients until Close.
func (s *Server) Serve() {
	for {
		c, err := s.ln.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			select { // out of descriptors or the like: it passes
			case <-time.After(100 * time.Millisecond):
			case <-s.ctx.Done():
				return
			}
			continue
		}
		select {
		case s.seat <- struct{}{}:
		default:
			s.refuse(Peer{}, "too many clients")
			c.Close()
			continue
		}
		s.wg.Go(func() {
			defer func() { <-s.seat }()
			s.serve(c)
		})
	}
}

// Close stops accepting, tells handlers to end, and waits for them.
func (s *Server) Close() error {
	if s.ln == nil {
		return nil
	}
	err := s.ln.Close()
	s.stop()
	s.wg.Wait()
	return err
}

func (s *Server) refuse(p Peer, why string) {
	if s.Refused != nil {
		s.Refused(p, why)
	}
}

func (s *Server) serve(c *net.UnixConn) {
	defer c.Close()
	peer, err := credentials(c)
	if err != nil {
		s.refuse(peer, err.Error())
		return
	}
	send := func(r Reply) error { return write(c, r) }
	who := s.role(c, peer)
	if who == nobody {
		s.refuse(peer, "neither root nor the daemon's own user")
		send(notPermitted("not permitted: run it as root"))
		// What it has sent must be read, or the answer is lost with it.
		c.SetReadDeadline(time.Now().Add(refusedTime))
		io.CopyN(io.Discard, c, maxRequest)
		return
	}
	if who == reader {
		if s.looking.Add(1) > maxReaders {
			s.looking.Add(-1)
			s.refuse(peer, "too many clients who look")
			return
		}
		defer s.looking.Add(-1)
	}
	c.SetReadDeadline(time.Now().Add(requestTime))
	in := bufio.NewReaderSize(c, maxRequest+1)
	line, err := in.ReadSlice('\n')
	if err != nil {
		s.refuse(peer, "no request line: "+err.Error())
		return
	}
	req, err := DecodeRequest(bytes.TrimSuffix(line, []byte("\n")))
	if err != nil {
		s.refuse(peer, err.Error())
		send(Reply{Code: CodeNever, Text: err.Error(), Final: true, Exit: ExitUsage, Reason: ExitUsage.String()})
		return
	}
	if who == reader && !req.Op.Reading() {
		s.refuse(peer, fmt.Sprintf("it may look, but not %s", req.Op))
		send(notPermitted(fmt.Sprintf("not permitted: statusgroup= may look only; %s is for root", req.Op)))
		return
	}
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	c.SetReadDeadline(time.Time{})
	s.wg.Go(func() { // a client that hangs up stops waiting
		defer cancel()
		c.Read(make([]byte, 1))
	})
	s.Handle(ctx, peer, req, send)
}

func notPermitted(text string) Reply {
	return Reply{Code: CodeSerious, Text: text, Final: true, Exit: ExitPermission, Reason: ExitPermission.String()}
}

func write(c net.Conn, r Reply) error {
	r.Text = oneLine(r.Text)
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode reply: %w", err)
	}
	c.SetWriteDeadline(time.Now().Add(writeTime))
	if _, err := c.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("send reply: %w", err)
	}
	return nil
}

// oneLine keeps a reply's text to one line whatever a caller put in.
func oneLine(s string) string {
	if strings.ContainsAny(s, "\r\n") {
		return strings.NewReplacer("\r", `\r`, "\n", `\n`).Replace(s)
	}
	return s
}

// credentials asks the kernel who connected.
func credentials(c *net.UnixConn) (Peer, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return Peer{}, fmt.Errorf("ask for credentials: %w", err)
	}
	var cred *unix.Ucred
	var fault error
	err = raw.Control(func(fd uintptr) {
		cred, fault = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err := errors.Join(err, fault); err != nil {
		return Peer{}, fmt.Errorf("ask for credentials: %w", err)
	}
	return Peer{cred.Uid, cred.Gid, cred.Pid}, nil
}
