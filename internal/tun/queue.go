package tun

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// queue drives one descriptor. The closures handed to the poller are made
// once, so neither Read nor Write allocates; their arguments and results pass
// through the fields beside them.
type queue struct {
	file   *os.File
	raw    syscall.RawConn
	closed atomic.Bool

	readBuf  []byte // owned by the one reader
	readWait bool
	readLen  int
	readErr  syscall.Errno
	readFn   func(fd uintptr) bool

	writeMu  sync.Mutex
	iov      [MaxParts]unix.Iovec
	iovs     int
	writeErr syscall.Errno
	writeFn  func(fd uintptr) bool
}

func newQueue(f *os.File) (*queue, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	q := &queue{file: f, raw: raw}
	q.readFn, q.writeFn = q.tryRead, q.tryWrite
	return q, nil
}

// Read implements Queue. The attempt is made inside the poller's callback: the
// poller is edge-triggered, so an attempt made before would lose a wake-up.
func (q *queue) Read(b []byte, wait bool) (int, error) {
	q.readBuf, q.readWait = b, wait
	err := q.raw.Read(q.readFn)
	q.readBuf = nil
	switch {
	case err != nil:
		return 0, q.pollErr(err)
	case q.readErr == unix.EAGAIN:
		return 0, ErrAgain
	case q.readErr != 0:
		return 0, fmt.Errorf("read TUN: %w", q.readErr)
	case q.readLen < HeaderLen:
		return 0, fmt.Errorf("read TUN: %d octets are no header", q.readLen)
	}
	return q.readLen, nil
}

// RawSyscall is right here: the descriptor never blocks, and the scheduler
// need not hear of a call that takes less than a microsecond.
func (q *queue) tryRead(fd uintptr) bool {
	for {
		n, _, e := syscall.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&q.readBuf[0])), uintptr(len(q.readBuf)))
		if e == unix.EINTR {
			continue
		}
		q.readLen, q.readErr = int(n), e
		return e != unix.EAGAIN || !q.readWait
	}
}

// Write implements Queue.
func (q *queue) Write(parts [][]byte) error {
	if len(parts) > MaxParts {
		return fmt.Errorf("write TUN: %d parts, at most %d", len(parts), MaxParts)
	}
	q.writeMu.Lock()
	defer q.writeMu.Unlock()
	q.iovs = 0
	for _, p := range parts {
		if len(p) > 0 {
			q.iov[q.iovs].Base = &p[0]
			q.iov[q.iovs].SetLen(len(p))
			q.iovs++
		}
	}
	if q.iovs == 0 {
		return errors.New("write TUN: empty packet")
	}
	if err := q.raw.Write(q.writeFn); err != nil {
		return q.pollErr(err)
	}
	if q.writeErr != 0 {
		return fmt.Errorf("write TUN: %w", q.writeErr)
	}
	return nil
}

func (q *queue) tryWrite(fd uintptr) bool {
	for {
		_, _, e := syscall.RawSyscall(unix.SYS_WRITEV, fd, uintptr(unsafe.Pointer(&q.iov[0])), uintptr(q.iovs))
		if e == unix.EINTR {
			continue
		}
		q.writeErr = e
		return e != unix.EAGAIN
	}
}

func (q *queue) close() error {
	q.closed.Store(true)
	return q.file.Close()
}

// pollErr names the poller's own error for a closed file, which is unexported.
func (q *queue) pollErr(err error) error {
	if q.closed.Load() {
		return os.ErrClosed
	}
	return err
}
