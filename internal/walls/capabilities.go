package walls

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// kept are the capabilities of the daemon, the same as in its systemd unit, and
// what each is for.
var kept = []struct {
	number uintptr
	why    string
}{
	{unix.CAP_CHOWN, "the control socket belongs to statusgroup="},
	{unix.CAP_DAC_OVERRIDE, "secrets that belong to somebody else are read, and sysctls of devices written"},
	{unix.CAP_KILL, "scripts that take too long are ended"},
	{unix.CAP_NET_ADMIN, "devices, routes, sysctls, the packet filter"},
	{unix.CAP_NET_BIND_SERVICE, "UDP ports 500, 67 and 68"},
	{unix.CAP_NET_RAW, "ESP and AH without UDP; sockets bound to a device"},
}

// set is a set of capabilities, by number.
type set uint64

func keptSet() (s set) {
	for _, k := range kept {
		s |= 1 << k.number
	}
	return s
}

// limitCapabilities gives up all capabilities but those that are kept, for the
// process and for what it executes. It adds none: a process that was given fewer
// has fewer.
func limitCapabilities() error {
	held, err := permitted()
	if err != nil {
		return fmt.Errorf("read the capabilities: %w", err)
	}
	if held&(1<<unix.CAP_SETPCAP) != 0 { // without it the bounding set cannot be changed; no_new_privs has the same effect
		if err := limitBounding(); err != nil {
			return fmt.Errorf("limit the bounding set: %w", err)
		}
	}
	if err := everyThread(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0); err != nil {
		return fmt.Errorf("clear ambient capabilities: %w", err)
	}
	header, data := capabilities(held & keptSet())
	if err := everyThread(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])), 0); err != nil {
		return fmt.Errorf("limit the capabilities: %w", err)
	}
	return nil
}

// limitBounding takes every other capability that this kernel knows out of the
// bounding set.
func limitBounding() error {
	for c := uintptr(0); ; c++ {
		in, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, c, 0, 0, 0)
		switch {
		case err != nil: // one behind the last
			return nil
		case in == 0 || keptSet()&(1<<c) != 0:
			continue
		}
		if err := everyThread(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, c, 0); err != nil {
			return err
		}
	}
}

// permitted reads which capabilities this thread may have.
func permitted() (set, error) {
	header, data := capabilities(0)
	if err := unix.Capget(&header, &data[0]); err != nil {
		return 0, err
	}
	return set(data[0].Permitted) | set(data[1].Permitted)<<32, nil
}

// capabilities is what capset(2) takes: these effective and permitted, and none
// inheritable.
func capabilities(s set) (unix.CapUserHeader, [2]unix.CapUserData) {
	low, high := uint32(s), uint32(s>>32)
	return unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3},
		[2]unix.CapUserData{{Effective: low, Permitted: low}, {Effective: high, Permitted: high}}
}
