package walls

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// TestMain is also the program behind the walls: what is raised cannot be taken
// down, so it is tried in a process of its own.
func TestMain(m *testing.M) {
	if os.Getenv("CYGNET_WALLS") != "" {
		os.Exit(behind())
	}
	os.Exit(m.Run())
}

// behind raises the walls and says what is possible behind them.
func behind() int {
	if err := Raise(); err != nil {
		fmt.Println("raise:", err)
		return 1
	}
	ids, err := os.ReadDir("/proc/self/task")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	for _, id := range ids {
		text, err := os.ReadFile("/proc/self/task/" + id.Name() + "/status")
		if err != nil {
			continue // a thread that has just ended
		}
		for line := range strings.Lines(string(text)) {
			if name, value, _ := strings.Cut(line, ":"); slices.Contains([]string{"NoNewPrivs", "Seccomp", "CapInh", "CapPrm", "CapEff", "CapAmb"}, name) {
				fmt.Printf("%s %s\n", name, strings.TrimSpace(value))
			}
		}
	}
	_, _, errno := unix.Syscall(unix.SYS_KEYCTL, 0, 0, 0)
	fmt.Println("keyctl", errno)
	out, err := exec.Command("/bin/sh", "-c", "cat /proc/self/status | grep -E '^(NoNewPrivs|Seccomp):'; unshare -U true 2>&1 || echo no").CombinedOutput()
	fmt.Printf("sh %v %s", err, out)
	return 0
}

// Every thread, and what it executes, is behind the walls, as root of the machine
// or of a user namespace; forbidden calls fail and the process lives.
func TestRaise(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "CYGNET_WALLS=1")
	out, err := cmd.CombinedOutput()
	if strings.Contains(string(out), unix.ENOTSUP.Error()) {
		const why = "built with cgo or the race detector, which have threads that Go does not know; the program is built without"
		if os.Getenv("CI") == "true" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	threads := 0
	for line := range strings.Lines(string(out)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch name {
		case "NoNewPrivs":
			threads++
			if value != "1" {
				t.Errorf("no_new_privs is %s", value)
			}
		case "Seccomp":
			if value != "2" {
				t.Errorf("seccomp is %s", value)
			}
		case "CapInh", "CapAmb":
			if strings.Trim(value, "0") != "" {
				t.Errorf("%s is %s", name, value)
			}
		case "CapPrm", "CapEff":
			var s set
			fmt.Sscanf(value, "%x", &s)
			if s&^keptSet() != 0 {
				t.Errorf("%s is %s", name, value)
			}
		case "keyctl":
			if value != unix.EPERM.Error() {
				t.Errorf("keyctl: %s", value)
			}
		case "sh":
			if !strings.HasPrefix(value, "<nil> NoNewPrivs:\t1") {
				t.Errorf("a shell: %s", value)
			}
		}
	}
	if threads < 2 || !strings.Contains(string(out), "Seccomp:\t2") || !strings.HasSuffix(string(out), "no\n") {
		t.Errorf("%d threads\n%s", threads, out)
	}
}

// call is struct seccomp_data, as a filter sees it. The BPF machine of the
// library reads in network order, as of packets.
func call(id arch.AuditArch, number int) []byte {
	b := make([]byte, 64)
	binary.BigEndian.PutUint32(b, uint32(number))
	binary.BigEndian.PutUint32(b[archOffset:], uint32(id))
	return b
}

// The filter of either architecture refuses what is listed and allows what the
// daemon and its scripts do; calls by other tables do not exist.
func TestProgram(t *testing.T) {
	const refused, none, allowed = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM), unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS), unix.SECCOMP_RET_ALLOW
	known := map[string]bool{}
	for _, machine := range []*arch.Info{arch.X86_64, arch.AARCH64} {
		raw, err := program(machine)
		if err != nil {
			t.Fatal(err)
		}
		list, ok := bpf.Disassemble(raw)
		if !ok {
			t.Fatal("not a program")
		}
		vm, err := bpf.NewVM(list)
		if err != nil {
			t.Fatal(err)
		}
		verdict := func(id arch.AuditArch, number int) uint32 {
			v, err := vm.Run(call(id, number))
			if err != nil {
				t.Fatal(err)
			}
			return uint32(v)
		}
		for _, name := range denied {
			if n, ok := machine.SyscallNames[name]; ok {
				known[name] = true
				if v := verdict(machine.ID, n); v != refused {
					t.Errorf("%s: %s is %#x", machine.Name, name, v)
				}
			}
		}
		for _, name := range []string{"read", "sendmmsg", "recvmmsg", "execve", "clone", "clone3", "futex", "ioctl", "setsockopt", "prctl", "seccomp", "capset", "kill", "fchownat"} {
			if v := verdict(machine.ID, machine.SyscallNames[name]); v != allowed {
				t.Errorf("%s: %s is %#x", machine.Name, name, v)
			}
		}
		if v := verdict(arch.I386.ID, 3); v != none {
			t.Errorf("%s: read of a 32-bit program is %#x", machine.Name, v)
		}
		if v := verdict(machine.ID, firstX32|101); v != none {
			t.Errorf("%s: ptrace of x32 is %#x", machine.Name, v)
		}
	}
	for _, name := range denied {
		if !known[name] {
			t.Errorf("no architecture has %s", name)
		}
	}
}

// What the kernel refuses is an error, in whatever thread.
func TestErrors(t *testing.T) {
	if err := everyThread(unix.SYS_PRCTL, ^uintptr(0), 0, 0); !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOTSUP) {
		t.Error(err)
	}
}
