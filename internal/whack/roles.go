package whack

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// role is what a client may ask for.
type role uint8

const (
	nobody role = iota
	reader      // operations that are Reading
	master      // all
)

// role tells what p, on connection c, may do: root and the daemon's own user
// everything, members of the group Readers only look (adversary.md CTL-02). The
// kernel says who it is; nothing that the client sends is believed.
func (s *Server) role(c *net.UnixConn, p Peer) role {
	if p.UID == 0 || p.UID == uint32(os.Geteuid()) {
		return master
	}
	if s.Readers == 0 {
		return nobody
	}
	groups, err := peerGroups(c)
	if err == nil && (p.GID == s.Readers || slices.Contains(groups, s.Readers)) {
		return reader
	}
	return nobody
}

// admit lets the group of readers, if there is one, through the directory to the
// socket. They can neither list the directory nor make anything in it.
func (s *Server) admit(path string) error {
	if s.Readers == 0 {
		return nil
	}
	for _, x := range []struct {
		name string
		mode os.FileMode
	}{{path, 0o660}, {filepath.Dir(path), 0o710}} {
		// The group first: the mode must never be for another one.
		if err := errors.Join(os.Lchown(x.name, -1, int(s.Readers)), os.Chmod(x.name, x.mode)); err != nil {
			return fmt.Errorf("open control socket to group %d: %w", s.Readers, err)
		}
	}
	return nil
}

// peerGroups asks the kernel for the supplementary groups of who connected.
func peerGroups(c *net.UnixConn) (groups []uint32, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("ask for groups: %w", err)
	}
	fault := raw.Control(func(fd uintptr) {
		for n := uint32(64); ; {
			groups = make([]uint32, n)
			size := 4 * n
			_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_PEERGROUPS,
				uintptr(unsafe.Pointer(&groups[0])), uintptr(unsafe.Pointer(&size)), 0)
			if errno == unix.ERANGE && size/4 > n {
				n = size / 4 // it says how many there are
				continue
			}
			if errno != 0 {
				groups, err = nil, errno
				return
			}
			groups = groups[:size/4]
			return
		}
	})
	if err := errors.Join(fault, err); err != nil {
		return nil, fmt.Errorf("ask for groups: %w", err)
	}
	return groups, nil
}
