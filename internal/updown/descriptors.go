package updown

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// keepFiles marks all open files of this process, but the standard ones, to be
// closed when a program is executed. Those that Go opens are marked already;
// this is for what the process was started with, which would otherwise go on
// to every command.
func keepFiles() error {
	err := unix.CloseRange(3, ^uint(0)>>1, unix.CLOSE_RANGE_CLOEXEC)
	if err == nil {
		return nil
	}
	// Kernels before 5.11.
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("list open files: %w", err)
	}
	for _, e := range list {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}
