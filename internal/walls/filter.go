package walls

import (
	"fmt"
	"unsafe"

	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// denied are the system calls that neither the daemon nor a script of
// leftupdown= needs, and that are known for what they do to a kernel when a
// process is taken over. They fail with EPERM, as they do without privilege.
var denied = []string{
	// other processes
	"ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "kcmp", "pidfd_getfd",
	// another kernel, or more of this one
	"kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "reboot", "bpf", "perf_event_open",
	// memory and rings that exploits are built with
	"userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register", "modify_ldt", "vmsplice",
	// keys of the kernel
	"add_key", "request_key", "keyctl",
	// the tree of files
	"mount", "umount2", "pivot_root", "chroot", "open_tree", "move_mount", "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr",
	"open_by_handle_at", "quotactl", "quotactl_fd", "swapon", "swapoff", "acct",
	// other namespaces
	"unshare", "setns",
	// the machine
	"clock_settime", "clock_adjtime", "adjtimex", "settimeofday", "sethostname", "setdomainname", "iopl", "ioperm", "syslog", "vhangup", "personality",
}

// Where struct seccomp_data has the number and the architecture of a call.
const (
	numberOffset = 0
	archOffset   = 4
)

// firstX32 is the lowest number of a call by the x32 table of amd64, which goes
// by amd64's own architecture. No architecture has others so high.
const firstX32 = 0x40000000

// program is the filter for a machine. Calls by the table of another architecture
// (32-bit programs on a 64-bit machine) do not exist at all: their numbers are
// others, and would lead around the list.
func program(machine *arch.Info) ([]bpf.RawInstruction, error) {
	absent := bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)}
	code := []bpf.Instruction{
		bpf.LoadAbsolute{Off: archOffset, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(machine.ID), SkipTrue: 1},
		absent,
		bpf.LoadAbsolute{Off: numberOffset, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpLessThan, Val: firstX32, SkipTrue: 1},
		absent,
	}
	for _, name := range denied {
		if n, ok := machine.SyscallNames[name]; ok { // iopl, for one, is x86
			code = append(code,
				bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(n), SkipTrue: 1},
				bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)})
		}
	}
	return bpf.Assemble(append(code, bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW}))
}

// loadFilter loads the filter for all threads; no_new_privs must be set.
func loadFilter() error {
	machine, err := arch.GetInfo("")
	if err != nil {
		return fmt.Errorf("filter system calls: %w", err)
	}
	code, err := program(machine)
	if err != nil {
		return fmt.Errorf("filter system calls: %w", err)
	}
	filter := make([]unix.SockFilter, len(code))
	for i, c := range code {
		filter[i] = unix.SockFilter{Code: c.Op, Jt: c.Jt, Jf: c.Jf, K: c.K}
	}
	load := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	thread, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&load)))
	switch {
	case errno != 0:
		return fmt.Errorf("filter system calls: %w", errno)
	case thread != 0:
		return fmt.Errorf("filter system calls: thread %d has a filter of its own", thread)
	}
	return nil
}
