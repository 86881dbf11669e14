package whack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"cygnet/internal/lab/labtest"
)

// as runs f as another user, on a thread of its own that ends with it.
func as(uid, gid int, groups []uint32, f func()) (err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: nobody else shall run as that user
		var first unsafe.Pointer
		if len(groups) > 0 {
			first = unsafe.Pointer(&groups[0])
		}
		// The bare calls change one thread; those of package syscall change all.
		_, _, e1 := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(first), 0)
		_, _, e2 := unix.RawSyscall(unix.SYS_SETRESGID, uintptr(gid), uintptr(gid), uintptr(gid))
		_, _, e3 := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid))
		for _, e := range []unix.Errno{e1, e2, e3} {
			if e != 0 {
				err = e
				return
			}
		}
		f()
	}()
	<-done
	return err
}

// CTL-02: a stranger may do nothing; members of the group of readers, by their
// first group or a further one, only look; and who was refused what is told
// with uid and pid.
func TestAdv_CTL_02_Roles(t *testing.T) {
	labtest.Need(t, os.Geteuid() == 0, "root, who alone can be other users")
	const group, other, user = 4321, 4322, 54321
	labtest.Need(t, as(user, other, nil, func() {}) == nil, "a user namespace with more than one user")
	many := make([]uint32, 100) // more than fit at first
	for i := range many {
		many[i] = uint32(5000 + i)
	}
	many = append(many, group)

	for _, c := range []struct {
		name        string
		readers     uint32
		open        bool // what permissions of files keep out is let in, to see the next wall
		uid, gid    int
		groups      []uint32
		looks, acts bool
		refusals    int
	}{
		{name: "root", looks: true, acts: true},
		{name: "anybody, without a group of readers", uid: user, gid: other},
		{name: "the same, through open files", open: true, uid: user, gid: other, refusals: 2},
		{name: "a member", readers: group, uid: user, gid: group, looks: true, refusals: 1},
		{name: "a member by a further group", readers: group, uid: user, gid: other, groups: many, looks: true, refusals: 1},
		{name: "no member", readers: group, uid: user, gid: other},
		{name: "no member, through open files", readers: group, open: true, uid: user, gid: other, groups: []uint32{5000}, refusals: 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, err := os.MkdirTemp("", "roles")
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(dir)
			var mu sync.Mutex
			var refused []Peer
			var served []Op
			s := &Server{
				Readers: c.readers,
				Refused: func(p Peer, why string) { mu.Lock(); defer mu.Unlock(); refused = append(refused, p) },
				Handle: func(_ context.Context, _ Peer, r Request, send func(Reply) error) {
					mu.Lock()
					served = append(served, r.Op)
					mu.Unlock()
					send(Reply{Final: true})
				},
			}
			path := filepath.Join(dir, "run", "pluto.ctl")
			if err := errors.Join(os.Chmod(dir, 0o755), s.Listen(path)); err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if c.open {
				if err := errors.Join(os.Chmod(filepath.Dir(path), 0o755), os.Chmod(path, 0o666)); err != nil {
					t.Fatal(err)
				}
			}
			go s.Serve()
			exits := map[Op]Exit{}
			err = as(c.uid, c.gid, c.groups, func() {
				for _, op := range []Op{OpStatus, OpDown} {
					final, err := Ask(t.Context(), path, Request{Op: op, Args: Args{Name: "x"}}, nil)
					exits[op] = ExitFor(final, err)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			want, may := map[Op]Exit{OpStatus: ExitPermission, OpDown: ExitPermission}, []Op(nil)
			if c.looks {
				want[OpStatus], may = ExitDone, append(may, OpStatus)
			}
			if c.acts {
				want[OpDown], may = ExitDone, append(may, OpDown)
			}
			mu.Lock()
			defer mu.Unlock()
			if fmt.Sprint(exits) != fmt.Sprint(want) || !slices.Equal(served, may) {
				t.Errorf("exit codes %v, want %v; served %v", exits, want, served)
			}
			if len(refused) != c.refusals {
				t.Errorf("refused: %v", refused)
			}
			for _, p := range refused {
				if p.UID != user || p.PID != int32(os.Getpid()) {
					t.Errorf("the refused one is told as %+v", p)
				}
			}
		})
	}
}

// Each operation has its role, and none that changes something is for readers.
func TestReadersOnlyLook(t *testing.T) {
	look := []Op{
		OpListCerts, OpListCAs, OpListCRLs, OpListKeys, OpStatus, OpTrafficStatus, OpEroutes, OpSAs, OpLook, OpLeases,
		OpWhy, OpPing, OpPolicy, OpGroups, OpDevices, OpKlipsFlags,
	}
	for op := range ops {
		if op.Reading() != slices.Contains(look, op) {
			t.Errorf("%s: Reading is %v", op, op.Reading())
		}
	}
}
