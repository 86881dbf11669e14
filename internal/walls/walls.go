// Package walls takes from a process what a key daemon never needs: privileges
// that a program might gain by exec, capabilities, and system calls that open
// the kernel rather than the network. What the process starts afterwards, as
// the scripts of leftupdown=, lives inside the same walls.
package walls

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// Raise raises all walls around every thread of the process; they cannot be
// taken down again. Where the kernel or the way the program was built does not
// permit one, the others still stand, and the error says which is missing.
func Raise() error {
	return errors.Join(limitCapabilities(), noNewPrivileges(), loadFilter())
}

// noNewPrivileges keeps set-user-id programs and file capabilities from giving
// anything to what we execute.
func noNewPrivileges() error {
	if err := everyThread(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	return nil
}

// everyThread makes a system call in every thread: what it changes is a thread's
// own. A program with cgo has threads that Go does not know, and gets ENOTSUP.
func everyThread(call, a1, a2, a3 uintptr) error {
	if _, _, errno := syscall.AllThreadsSyscall(call, a1, a2, a3); errno != 0 {
		return errno
	}
	return nil
}
