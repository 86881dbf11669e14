package underlay

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// namespace is a network namespace. A Host opens sockets later too, on whatever
// thread, and they must be where its first ones are.
type namespace struct{ f *os.File }

// threadNamespace is the one that the calling thread is in.
const threadNamespace = "/proc/thread-self/ns/net"

// currentNamespace returns the namespace of the caller's thread. It holds
// nothing where there is no /proc; then everything is in one.
func currentNamespace() namespace {
	f, err := os.Open(threadNamespace)
	if err != nil {
		return namespace{}
	}
	return namespace{f}
}

// do runs f in the namespace.
func (n namespace) do(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		elsewhere, err := n.enter()
		if err == nil {
			err = f()
		}
		if !elsewhere {
			runtime.UnlockOSThread() // else the thread ends with this goroutine
		}
		done <- err
	}()
	return <-done
}

// enter moves the calling thread there, unless it is there already.
func (n namespace) enter() (elsewhere bool, err error) {
	if n.f == nil {
		return false, nil
	}
	var here, there unix.Stat_t
	if err := unix.Fstat(int(n.f.Fd()), &there); err != nil {
		return false, fmt.Errorf("network namespace: %w", err)
	}
	if err := unix.Stat(threadNamespace, &here); err == nil && here.Dev == there.Dev && here.Ino == there.Ino {
		return false, nil
	}
	if err := unix.Setns(int(n.f.Fd()), unix.CLONE_NEWNET); err != nil {
		return true, fmt.Errorf("enter network namespace: %w", err)
	}
	return true, nil
}

func (n namespace) close() {
	if n.f != nil {
		n.f.Close()
	}
}
